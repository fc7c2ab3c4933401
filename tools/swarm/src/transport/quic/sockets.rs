//! The UDP sockets of one thread: from each address of this machine a few, which connections share. What the kernel has joined
//! is taken apart, and datagrams of one connection leave together (GRO, GSO).

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use bytes::BytesMut;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::event::epoll;

use crate::limits::{
    UDP_BUFFER_BYTES, UDP_BUFFERS, UDP_DATAGRAMS_PER_SEND, UDP_SOCKET_BYTES, UDP_SOCKETS_MAX,
    UDP_SOCKETS_PER_ADDRESS_MAX,
};

/// What tells the data of a UDP socket's events from those of other sockets, which are few enough to be without it.
const MARK: u64 = 1 << 63;

/// The socket that an event is of.
pub(super) fn index_of(event_data: u64) -> Option<usize> {
    if event_data & MARK == 0 { None } else { usize::try_from(event_data ^ MARK).ok() }
}

/// A datagram that has arrived.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) remote: SocketAddr,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: BytesMut,
}

/// The sockets of one thread.
#[derive(Debug)]
pub(super) struct UdpSockets {
    epoll: OwnedFd,
    sockets: Vec<Socket>,
    groups: HashMap<IpAddr, Group>,
    /// Of [`UDP_BUFFERS`] packets.
    buffers: Vec<u8>,
}

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    address: IpAddr,
}

/// Those that are bound to one address.
#[derive(Debug, Default)]
struct Group {
    members: Vec<usize>,
    turn: usize,
}

impl UdpSockets {
    pub(super) fn new(epoll: OwnedFd) -> Self {
        let buffers = vec![0; UDP_BUFFERS * UDP_BUFFER_BYTES];
        Self { epoll, sockets: Vec::new(), groups: HashMap::new(), buffers }
    }

    /// What a socket is bound to.
    pub(super) fn address_of(&self, socket: usize) -> IpAddr {
        self.sockets[socket].address
    }

    /// How many datagrams one send of a socket may carry.
    pub(super) fn datagrams_per_send(&self, socket: usize) -> usize {
        self.sockets[socket].state.max_gso_segments().min(UDP_DATAGRAMS_PER_SEND)
    }

    /// A socket at this address, another than `but`: a new one, until there are enough to take turns.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub(super) fn next(&mut self, address: IpAddr, but: Option<usize>) -> io::Result<usize> {
        let group = self.groups.entry(address).or_default();
        let enough = if self.sockets.len() < UDP_SOCKETS_MAX { UDP_SOCKETS_PER_ADDRESS_MAX } else { 2 };
        if group.members.len() < enough {
            let socket = Socket::open(address)?;
            let index = self.sockets.len();
            let data = epoll::EventData::new_u64(MARK | index as u64);
            epoll::add(&self.epoll, &socket.socket, data, epoll::EventFlags::IN)?;
            self.sockets.push(socket);
            group.members.push(index);
            return Ok(index);
        }
        let mut next = || {
            group.turn = (group.turn + 1) % group.members.len();
            group.members[group.turn]
        };
        let first = next();
        Ok(if Some(first) == but { next() } else { first })
    }

    /// Takes what has arrived at a socket, as much as one call brings.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has.
    pub(super) fn receive(&mut self, socket: usize, arrived: &mut Vec<Datagram>) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); UDP_BUFFERS];
        let Socket { socket, state, .. } = &self.sockets[socket];
        let received = {
            let mut rest = self.buffers.as_mut_slice();
            let mut slices: [IoSliceMut<'_>; UDP_BUFFERS] = std::array::from_fn(|_| {
                let (first, others) = std::mem::take(&mut rest).split_at_mut(UDP_BUFFER_BYTES);
                rest = others;
                IoSliceMut::new(first)
            });
            state.recv(UdpSockRef::from(socket), &mut slices, &mut metas)?
        };
        for (meta, buffer) in metas[..received].iter().zip(self.buffers.chunks(UDP_BUFFER_BYTES)) {
            let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                arrived.push(Datagram { remote: meta.addr, ecn, bytes: BytesMut::from(datagram) });
            }
        }
        Ok(())
    }

    /// Sends from a socket. Whatever goes wrong, a full buffer included, is the same as a datagram that was lost on its way.
    pub(super) fn send(&self, socket: usize, transmit: &Transmit, packets: &[u8]) {
        let Socket { socket, state, .. } = &self.sockets[socket];
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &packets[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: None,
        };
        let _ = state.send(UdpSockRef::from(socket), &transmit);
    }
}

impl Socket {
    fn open(address: IpAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind((address, 0))?;
        // It also makes the socket one that does not block.
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // As far as the system's limits allow; less of it loses datagrams sooner.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), UDP_SOCKET_BYTES);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), UDP_SOCKET_BYTES);
        Ok(Self { socket, state, address })
    }
}
