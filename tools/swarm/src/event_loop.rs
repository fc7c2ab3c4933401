//! One epoll for all sockets of a thread: reads into one shared buffer, one write per socket and turn.
//!
//! What is spoken on the sockets is the business of a [`Work`]: it gets the bytes that came and fills the buffers that
//! are to be written.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Registry, Token};

/// Bytes read from a socket at once.
const READ_BYTES: usize = 64 * 1024;
/// Reads from one socket in a row, so that a busy one does not starve the rest.
const READS_PER_EVENT_MAX: usize = 16;
/// Events taken from the kernel at once.
const EVENTS_PER_TURN_MAX: usize = 1024;

/// A socket's place in [`Sockets`]; free for another one once `on_closed` was called.
pub type SocketId = usize;

/// When [`Work::on_turn`] is wanted again.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// At this time, or earlier when something arrives.
    By(Instant),
    /// Never: the run is over.
    Stop,
}

/// What is done on the sockets.
pub trait Work {
    /// The socket is connected.
    fn on_open(&mut self, sockets: &mut Sockets, id: SocketId);
    /// Bytes came. They may be changed in place.
    fn on_bytes(&mut self, sockets: &mut Sockets, id: SocketId, bytes: &mut [u8]);
    /// The other side closed, or connecting failed.
    fn on_closed(&mut self, sockets: &mut Sockets, id: SocketId);
    /// Called once before each wait, with what arrived already handled.
    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn;
}

/// The sockets of a loop.
#[derive(Debug)]
pub struct Sockets {
    registry: Registry,
    places: Vec<Option<Socket>>,
    free: Vec<SocketId>,
    to_write: Vec<SocketId>,
}

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    open: bool,
    out: Vec<u8>,
    written_bytes: usize,
    in_to_write: bool,
}

impl Sockets {
    /// Begins to connect; `on_open` or `on_closed` follows.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn connect(&mut self, address: SocketAddr) -> io::Result<SocketId> {
        let mut stream = TcpStream::connect(address)?;
        let id = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.registry.register(&mut stream, Token(id), Interest::READABLE | Interest::WRITABLE)?;
        self.places[id] = Some(Socket { stream, open: false, out: Vec::new(), written_bytes: 0, in_to_write: false });
        Ok(id)
    }

    /// The buffer of what is to be written at the end of this turn. A closed socket has one that goes nowhere.
    pub fn out(&mut self, id: SocketId) -> Option<&mut Vec<u8>> {
        let socket = self.places[id].as_mut()?;
        if !socket.in_to_write {
            socket.in_to_write = true;
            self.to_write.push(id);
        }
        Some(&mut socket.out)
    }

    /// Closes without `on_closed`.
    pub fn close(&mut self, id: SocketId) {
        if let Some(mut socket) = self.places[id].take() {
            // A socket that cannot be taken out of the epoll set leaves it when it is dropped.
            let _ = self.registry.deregister(&mut socket.stream);
            self.free.push(id);
        }
    }

    /// Sockets that are connected or connecting.
    #[must_use]
    pub fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }

    fn flush(&mut self, failed: &mut Vec<SocketId>) {
        for id in std::mem::take(&mut self.to_write) {
            let Some(socket) = self.places[id].as_mut() else { continue };
            socket.in_to_write = false;
            if socket.open && socket.write().is_err() {
                failed.push(id);
            }
        }
    }
}

impl Socket {
    fn write(&mut self) -> io::Result<()> {
        while self.written_bytes < self.out.len() {
            match self.stream.write(&self.out[self.written_bytes..]) {
                Ok(bytes) => self.written_bytes += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written_bytes = 0;
        Ok(())
    }

    /// Whether a pending connect has succeeded; `None` while it is pending.
    fn connected(&self) -> Option<bool> {
        if !matches!(self.stream.take_error(), Ok(None)) {
            return Some(false);
        }
        match self.stream.peer_addr() {
            Ok(_) => Some(self.stream.set_nodelay(true).is_ok()),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(_) => Some(false),
        }
    }
}

/// Runs `work` until its `on_turn` says [`Turn::Stop`]. Sockets that are left are closed.
///
/// # Errors
/// When the kernel refuses an epoll.
pub fn run(work: &mut impl Work) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(EVENTS_PER_TURN_MAX);
    let mut buffer = vec![0; READ_BYTES];
    let mut failed = Vec::new();
    let registry = poll.registry().try_clone()?;
    let mut sockets = Sockets { registry, places: Vec::new(), free: Vec::new(), to_write: Vec::new() };
    loop {
        let Turn::By(wake) = work.on_turn(&mut sockets, Instant::now()) else { return Ok(()) };
        sockets.flush(&mut failed);
        close_failed(work, &mut sockets, &mut failed);
        let wait = wake.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
        match poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            on_event(work, &mut sockets, event, &mut buffer, &mut failed);
        }
        sockets.flush(&mut failed);
        close_failed(work, &mut sockets, &mut failed);
    }
}

fn on_event(work: &mut impl Work, sockets: &mut Sockets, event: &Event, buffer: &mut [u8], failed: &mut Vec<SocketId>) {
    let id = event.token().0;
    let Some(socket) = sockets.places[id].as_mut() else { return };
    if !socket.open {
        match socket.connected() {
            None => return,
            Some(false) => return failed.push(id),
            Some(true) => socket.open = true,
        }
        work.on_open(sockets, id);
    }
    if event.is_writable()
        && let Some(socket) = sockets.places[id].as_mut()
        && socket.write().is_err()
    {
        failed.push(id);
    }
    if event.is_readable() || event.is_read_closed() || event.is_error() {
        read(work, sockets, id, buffer, failed);
    }
}

fn read(work: &mut impl Work, sockets: &mut Sockets, id: SocketId, buffer: &mut [u8], failed: &mut Vec<SocketId>) {
    for round in 0.. {
        let Some(socket) = sockets.places[id].as_mut() else { return };
        match socket.stream.read(buffer) {
            Ok(0) => return failed.push(id),
            Ok(bytes) => {
                work.on_bytes(sockets, id, &mut buffer[..bytes]);
                // Less than was asked for means that the socket is empty, and the edge will come again.
                if bytes < buffer.len() {
                    return;
                }
                if round >= READS_PER_EVENT_MAX {
                    return rearm(sockets, id, failed);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return failed.push(id),
        }
    }
}

/// Asks for the edge again although the socket is not empty.
fn rearm(sockets: &mut Sockets, id: SocketId, failed: &mut Vec<SocketId>) {
    if let Some(socket) = sockets.places[id].as_mut()
        && sockets.registry.reregister(&mut socket.stream, Token(id), Interest::READABLE | Interest::WRITABLE).is_err()
    {
        failed.push(id);
    }
}

fn close_failed(work: &mut impl Work, sockets: &mut Sockets, failed: &mut Vec<SocketId>) {
    for id in failed.drain(..) {
        if sockets.places[id].is_some() {
            sockets.close(id);
            work.on_closed(sockets, id);
        }
    }
}
