//! The UDP socket of one thread: what the kernel has joined is taken apart, and datagrams of one connection leave together
//! (GRO, GSO), with the congestion marks (ECN) and the local address that a reply must come from.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use bytes::BytesMut;
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};

use crate::limits::{
    QUIC_BUFFER_BYTES, QUIC_BUFFERS, QUIC_DATAGRAMS_PER_SEND, QUIC_SOCKET_RECEIVE_BYTES, QUIC_SOCKET_SEND_BYTES,
};

/// A datagram that has arrived.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) remote: SocketAddr,
    pub(super) local_ip: Option<IpAddr>,
    pub(super) ecn: Option<EcnCodepoint>,
    pub(super) bytes: BytesMut,
}

/// The socket of one thread.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Of [`QUIC_BUFFERS`] packets.
    buffers: Vec<u8>,
}

impl Socket {
    /// # Errors
    /// When the kernel lacks what QUIC needs of a socket.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // As far as the system's limits allow; less of it loses datagrams sooner.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), QUIC_SOCKET_RECEIVE_BYTES);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), QUIC_SOCKET_SEND_BYTES);
        Ok(Self { socket, state, buffers: vec![0; QUIC_BUFFERS * QUIC_BUFFER_BYTES] })
    }

    /// Whether the kernel may cut datagrams into pieces, so that the size which a path takes cannot be found out.
    pub(super) fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// How many datagrams one send may carry.
    pub(super) fn datagrams_per_send(&self) -> usize {
        self.state.max_gso_segments().min(QUIC_DATAGRAMS_PER_SEND)
    }

    /// Takes what has arrived, as much as one call brings.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has.
    pub(super) fn receive(&mut self, mut each: impl FnMut(Datagram)) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); QUIC_BUFFERS];
        let received = {
            let mut rest = self.buffers.as_mut_slice();
            let mut slices: [IoSliceMut<'_>; QUIC_BUFFERS] = std::array::from_fn(|_| {
                let (first, others) = std::mem::take(&mut rest).split_at_mut(QUIC_BUFFER_BYTES);
                rest = others;
                IoSliceMut::new(first)
            });
            self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut metas)?
        };
        for (meta, buffer) in metas[..received].iter().zip(self.buffers.chunks(QUIC_BUFFER_BYTES)) {
            let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
            // Each is copied by itself: a connection keeps the memory of those that came out of order, and others that they were
            // joined with must not be kept with them.
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                let bytes = BytesMut::from(datagram);
                each(Datagram { remote: meta.addr, local_ip: meta.dst_ip, ecn, bytes });
            }
        }
        Ok(())
    }

    /// Sends what a connection, or the endpoint, wants to be sent. Whatever goes wrong but for a full buffer is the same as a
    /// datagram that was lost on its way.
    ///
    /// # Errors
    /// `WouldBlock` when the socket takes nothing more.
    pub(super) fn send(&self, transmit: &Transmit, contents: &[u8]) -> io::Result<()> {
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &contents[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        self.state.send(UdpSockRef::from(&self.socket), &transmit)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
