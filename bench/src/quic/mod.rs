//! Many QUIC connections of one thread over one socket, each from a loopback address of its own as phones have: quinn's state
//! machine and nothing else, so that a load costs little beside the server that it measures.
//!
//! Each has one stream that it opens itself. What has happened on it is told in [`Phones::turn`], which also takes what is to
//! be said next.

mod line;
pub mod tls;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, ConnectionHandle, DatagramEvent, EcnCodepoint, Endpoint, EndpointConfig, Transmit, TransportConfig,
};
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use line::Line;

/// What an echo over QUIC is asked for by, of whoever it is.
pub use switchyard_gateway_core::handshake::ECHO_PROTOCOL;

/// Packets received with one call, each of what the kernel has joined.
const BUFFERS: usize = 16;
/// Bytes of such a packet.
const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes of datagrams that the kernel keeps, as far as it is allowed to: what a server says to thousands at once.
const SOCKET_BYTES: usize = 8 * 1024 * 1024;
/// Datagrams sent with one call, as the server does.
const DATAGRAMS_PER_SEND: usize = 10;
/// How often timers are looked at: far more often than any of them matters to a load.
const LOOK: Duration = Duration::from_millis(5);
/// The name that is asked for.
const NAME: &str = "localhost";

/// Something that happened to a connection.
#[derive(Debug)]
pub enum Happened<'a> {
    /// The handshake is done, and the stream open.
    Connected,
    /// This arrived on the stream.
    Bytes(&'a [u8]),
    /// It has ended, for this reason.
    Ended(String),
}

/// Many connections of one thread.
pub struct Phones {
    wire: Wire,
    endpoint: Endpoint,
    config: ClientConfig,
    to: SocketAddr,
    /// By the endpoint's handle.
    lines: Vec<Option<Box<Line>>>,
    begun: u32,
    look_at: Instant,
    buffers: Vec<u8>,
}

/// The socket.
struct Wire {
    socket: UdpSocket,
    state: UdpSocketState,
    buffer: Vec<u8>,
}

impl Phones {
    /// Of clients to a server, which `tls` says what to trust of and which protocol to speak with.
    ///
    /// # Errors
    /// When the system gives no socket, or QUIC cannot be spoken with this configuration.
    pub fn new(to: SocketAddr, tls: Arc<rustls::ClientConfig>) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // As far as the system's limits allow.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), SOCKET_BYTES);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), SOCKET_BYTES);
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(io::Error::other)?));
        // Not the load but the server decides when a connection has been silent for too long.
        let mut transport = TransportConfig::default();
        transport.max_idle_timeout(None);
        config.transport_config(Arc::new(transport));
        Ok(Self {
            wire: Wire { socket, state, buffer: Vec::new() },
            endpoint: Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None),
            config,
            to,
            lines: Vec::new(),
            begun: 0,
            look_at: Instant::now() + LOOK,
            buffers: vec![0; BUFFERS * BUFFER_BYTES],
        })
    }

    /// Begins a connection; answers its number.
    ///
    /// # Errors
    /// When there can be no more.
    pub fn connect(&mut self) -> io::Result<usize> {
        let now = Instant::now();
        let (handle, proto) =
            self.endpoint.connect(now, self.config.clone(), self.to, NAME).map_err(io::Error::other)?;
        let ConnectionHandle(id) = handle;
        if id >= self.lines.len() {
            self.lines.resize_with(id + 1, || None);
        }
        self.lines[id] = Some(Box::new(Line::new(proto, self.next_address())));
        self.begun += 1;
        self.send_for(id, now);
        Ok(id)
    }

    /// Says something on a connection's stream.
    pub fn say(&mut self, id: usize, bytes: &[u8]) {
        if let Some(line) = &mut self.lines[id] {
            line.say(bytes);
            self.send_for(id, Instant::now());
        }
    }

    /// Closes a connection. Nothing more is told of it.
    pub fn close(&mut self, id: usize) {
        if let Some(line) = &mut self.lines[id] {
            let now = Instant::now();
            line.close(now);
            self.send_for(id, now);
        }
    }

    /// Waits for datagrams, for so long at most, and takes what there is. `on` is told what has happened to which connection;
    /// what it puts into the buffer is said on the connection's stream.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn turn(&mut self, wait: Duration, on: &mut dyn FnMut(usize, Happened<'_>, &mut Vec<u8>)) -> io::Result<()> {
        let wait = wait.min(self.look_at.saturating_duration_since(Instant::now()));
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        poll(&mut [PollFd::new(&self.wire.socket.as_fd(), PollFlags::IN)], Some(&timeout))?;
        self.receive(on)?;
        let now = Instant::now();
        if now >= self.look_at {
            for id in 0..self.lines.len() {
                if self.lines[id].as_mut().is_some_and(|line| line.handle_timeout(now)) {
                    self.tell(id, now, on);
                }
            }
            self.look_at = now + LOOK;
        }
        Ok(())
    }

    /// Takes what one receive call brings.
    fn receive(&mut self, on: &mut dyn FnMut(usize, Happened<'_>, &mut Vec<u8>)) -> io::Result<()> {
        let mut metas = [RecvMeta::default(); BUFFERS];
        let mut buffers = std::mem::take(&mut self.buffers);
        let mut slices: Vec<IoSliceMut<'_>> = buffers.chunks_mut(BUFFER_BYTES).map(IoSliceMut::new).collect();
        let received = match self.wire.state.recv(UdpSockRef::from(&self.wire.socket), &mut slices, &mut metas) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        let now = Instant::now();
        for (meta, buffer) in metas[..received].iter().zip(buffers.chunks(BUFFER_BYTES)) {
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                self.on_datagram(meta, datagram, now, on);
            }
        }
        self.buffers = buffers;
        Ok(())
    }

    fn on_datagram(
        &mut self,
        meta: &RecvMeta,
        datagram: &[u8],
        now: Instant,
        on: &mut dyn FnMut(usize, Happened<'_>, &mut Vec<u8>),
    ) {
        let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
        let event = self.endpoint.handle(now, meta.addr, meta.dst_ip, ecn, BytesMut::from(datagram), &mut Vec::new());
        if let Some(DatagramEvent::ConnectionEvent(ConnectionHandle(id), event)) = event
            && let Some(line) = &mut self.lines[id]
        {
            line.handle_event(event);
            self.tell(id, now, on);
        }
    }

    fn tell(&mut self, id: usize, now: Instant, on: &mut dyn FnMut(usize, Happened<'_>, &mut Vec<u8>)) {
        let Some(line) = &mut self.lines[id] else { return };
        line.tell(&mut |happened, out| on(id, happened, out));
        self.send_for(id, now);
    }

    /// Sends what a connection has to send.
    fn send_for(&mut self, id: usize, now: Instant) {
        let Some(line) = &mut self.lines[id] else { return };
        let handle = ConnectionHandle(id);
        let mut drained = line.exchange(&mut self.endpoint, handle);
        let datagrams_max = self.wire.state.max_gso_segments().min(DATAGRAMS_PER_SEND);
        line.send(now, datagrams_max, &mut self.wire);
        drained |= line.exchange(&mut self.endpoint, handle);
        if drained {
            self.lines[id] = None;
        }
    }

    /// Of all loopback addresses but the first few, which servers listen at.
    fn next_address(&self) -> IpAddr {
        let [_, high, middle, low] = (self.begun % (1 << 23)).to_be_bytes();
        Ipv4Addr::new(127, 128 | high, middle, low).into()
    }
}

impl Wire {
    /// Sends what lies in the buffer. What the socket does not take is lost, and sent again in time.
    fn send(&self, transmit: &Transmit, from: IpAddr) {
        let transmit = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &self.buffer[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: Some(from),
        };
        let _ = self.state.send(UdpSockRef::from(&self.socket), &transmit);
    }
}

impl std::fmt::Debug for Phones {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Phones").field("to", &self.to).field("begun", &self.begun).finish_non_exhaustive()
    }
}
