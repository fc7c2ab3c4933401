//! One epoll for all sockets of a thread: reads into one shared buffer, one write per socket and turn.
//!
//! What is spoken on the sockets is the business of a [`Work`]: it gets the bytes that came and fills the buffers that
//! are to be written. A socket owns a buffer only while something waits to be written to it, so that hundreds of
//! thousands that say nothing cost a few bytes each. All of them are closed with a reset: a run that ends leaves nothing
//! in TIME_WAIT that would stand in the way of the next.
//!
//! A socket is whatever carries bytes both ways ([`Transport`]): a TCP connection, plain or under TLS, or a stream of a QUIC
//! connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::limits::{
    EVENTS_PER_TURN_MAX, READ_BYTES, READS_PER_EVENT_MAX, SPARE_BUFFER_BYTES_MAX, SPARE_BUFFERS_MAX, TURN_PAUSE_MAX,
};
use crate::transport::quic::{self, Happening, Quic};
use crate::transport::stream::{Stream, ended_by};
use crate::transport::{Transport, tls};

/// What the kernel tells of a socket, once for each time that it happens.
const EDGES: epoll::EventFlags =
    epoll::EventFlags::IN.union(epoll::EventFlags::OUT).union(epoll::EventFlags::RDHUP).union(epoll::EventFlags::ET);
/// After which of it there is something to read, an end or an error included.
const INPUT: epoll::EventFlags =
    epoll::EventFlags::IN.union(epoll::EventFlags::RDHUP).union(epoll::EventFlags::HUP).union(epoll::EventFlags::ERR);

/// After which of it nothing more comes behind what is there to be read.
const END: epoll::EventFlags = epoll::EventFlags::RDHUP.union(epoll::EventFlags::HUP).union(epoll::EventFlags::ERR);

/// A socket's place in [`Sockets`]; free for another one once `on_closed` was called.
pub type SocketId = usize;

/// Where a connection begins and ends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The address of this machine that it comes from; the kernel's choice when missing.
    pub source: Option<IpAddr>,
    /// Where it goes.
    pub destination: SocketAddr,
}

impl From<SocketAddr> for Route {
    fn from(destination: SocketAddr) -> Self {
        Self { source: None, destination }
    }
}

/// When [`Work::on_turn`] is wanted again.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// At this time, or earlier when something arrives.
    By(Instant),
    /// Never: the run is over.
    Stop,
}

/// How a socket ended that was not closed from here.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The other side said that nothing more comes.
    Closed,
    /// Connecting, reading or writing failed.
    Failed(io::ErrorKind),
    /// The other side closed a QUIC connection.
    Code {
        /// With this code; with none that means anything, when missing.
        code: Option<u16>,
        /// When to come back, from now, if it said so.
        come_back_ms: Option<u32>,
    },
    /// One of the two sides did not like the other's TLS; an alert says why (RFC 8446 §6).
    Alert(u8),
}

/// What is done on the sockets.
pub trait Work {
    /// The socket is connected.
    fn on_open(&mut self, sockets: &mut Sockets, id: SocketId);
    /// Bytes came. They may be changed in place.
    fn on_bytes(&mut self, sockets: &mut Sockets, id: SocketId, bytes: &mut [u8]);
    /// The other side closed, or connecting failed.
    fn on_closed(&mut self, sockets: &mut Sockets, id: SocketId, ended: Ended);
    /// Called once before each wait, with what arrived already handled.
    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn;
}

/// The sockets of a loop.
#[derive(Debug)]
pub struct Sockets {
    epoll: OwnedFd,
    places: Vec<Option<Socket>>,
    free: Vec<SocketId>,
    to_write: Vec<SocketId>,
    /// Empty buffers that were written before.
    spare: Vec<Vec<u8>>,
    /// How TLS is spoken, if it is.
    tls: Option<Arc<tls::Client>>,
    /// What carries the sockets, unless it is TCP.
    quic: Option<Box<Quic>>,
}

#[derive(Debug)]
struct Socket {
    line: Line,
    open: bool,
    in_to_write: bool,
    written_bytes: usize,
    /// Without memory while nothing waits.
    out: Vec<u8>,
}

/// What carries the bytes of a socket.
#[derive(Debug)]
enum Line {
    Stream(Stream),
    Quic(quic::Handle),
}

impl Sockets {
    fn new(transport: &Transport) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (tls, quic) = match transport {
            Transport::Ws => (None, None),
            Transport::Wss(client) => (Some(Arc::clone(client)), None),
            Transport::Quic(client) => (None, Some(Box::new(Quic::new(Arc::clone(client), epoll.try_clone()?)))),
        };
        Ok(Self { epoll, places: Vec::new(), free: Vec::new(), to_write: Vec::new(), spare: Vec::new(), tls, quic })
    }

    /// Makes room for so many sockets at once, where growing by doubling would take twice as much.
    pub fn reserve(&mut self, count: usize) {
        self.places.reserve_exact(count);
    }

    /// Begins to connect; `on_open` or `on_closed` follows.
    ///
    /// # Errors
    /// When the kernel gives no socket, or refuses at once.
    pub fn connect(&mut self, route: impl Into<Route>) -> io::Result<SocketId> {
        let id = self.free.last().copied().unwrap_or(self.places.len());
        let line = match &mut self.quic {
            Some(quic) => Line::Quic(quic.connect(id, route.into())?),
            None => {
                let stream = Stream::connect(route.into(), self.tls.as_deref())?;
                epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(id as u64), EDGES)?;
                Line::Stream(stream)
            }
        };
        if self.free.pop().is_none() {
            self.places.push(None);
        }
        self.places[id] = Some(Socket { line, open: false, in_to_write: false, written_bytes: 0, out: Vec::new() });
        Ok(id)
    }

    /// The buffer of what is to be written at the end of this turn. A closed socket has none.
    pub fn out(&mut self, id: SocketId) -> Option<&mut Vec<u8>> {
        let socket = self.places[id].as_mut()?;
        if !socket.in_to_write {
            socket.in_to_write = true;
            self.to_write.push(id);
        }
        if socket.out.capacity() == 0 {
            socket.out = self.spare.pop().unwrap_or_default();
        }
        Some(&mut socket.out)
    }

    /// Whether the socket is connected or connecting.
    #[must_use]
    pub fn holds(&self, id: SocketId) -> bool {
        self.places[id].is_some()
    }

    /// Closes without `on_closed`. What waits to be written is dropped.
    pub fn close(&mut self, id: SocketId) {
        let Some(socket) = self.places[id].take() else { return };
        match socket.line {
            // It leaves the epoll set when it is closed: nobody else holds it.
            Line::Stream(stream) => drop(stream),
            Line::Quic(handle) => self.quic.as_mut().expect("it has connections").close(handle),
        }
        self.free.push(id);
    }

    /// Times that a connection has moved to another port and was answered there.
    #[must_use]
    pub fn migrations(&self) -> u64 {
        self.quic.as_ref().map_or(0, |quic| quic.migrations())
    }

    /// When something is to be done, whatever comes.
    fn next_due(&self) -> Option<Instant> {
        self.quic.as_ref().and_then(|quic| quic.next_due())
    }

    fn flush(&mut self, ended: &mut Vec<(SocketId, Ended)>) {
        let mut to_write = std::mem::take(&mut self.to_write);
        for id in to_write.drain(..) {
            if let Some(socket) = self.places[id].as_mut() {
                socket.in_to_write = false;
                self.write(id, ended);
            }
        }
        self.to_write = to_write;
        if let Some(quic) = &mut self.quic {
            quic.send();
        }
    }

    /// Writes what waits, as far as the socket takes it.
    fn write(&mut self, id: SocketId, ended: &mut Vec<(SocketId, Ended)>) {
        let Some(socket) = self.places[id].as_mut().filter(|socket| socket.open) else { return };
        match socket.write(self.quic.as_deref_mut()) {
            Ok(false) => {}
            Ok(true) => {
                let mut out = std::mem::take(&mut socket.out);
                if self.spare.len() < SPARE_BUFFERS_MAX && (1..=SPARE_BUFFER_BYTES_MAX).contains(&out.capacity()) {
                    out.clear();
                    self.spare.push(out);
                }
            }
            Err(error) => ended.push((id, ended_by(&error))),
        }
    }
}

impl Socket {
    /// `true` when nothing waits any more.
    fn write(&mut self, mut quic: Option<&mut Quic>) -> io::Result<bool> {
        while let Some(rest) = self.out.get(self.written_bytes..).filter(|rest| !rest.is_empty()) {
            let written = match (&mut self.line, quic.as_deref_mut()) {
                (Line::Stream(stream), _) => stream.write(rest),
                (Line::Quic(handle), Some(quic)) => quic.write(*handle, rest),
                (Line::Quic(_), None) => unreachable!("it has connections"),
            };
            match written {
                Ok(bytes) => self.written_bytes += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if let Line::Stream(stream) = &mut self.line {
            match stream.flush() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                flushed => flushed?,
            }
        }
        self.written_bytes = 0;
        Ok(true)
    }

    /// Its connection, when that is TCP.
    const fn stream(&mut self) -> Option<&mut Stream> {
        match &mut self.line {
            Line::Stream(stream) => Some(stream),
            Line::Quic(_) => None,
        }
    }
}

/// Runs `work` over TCP until its `on_turn` says [`Turn::Stop`]. Sockets that are left are closed.
///
/// # Errors
/// When the kernel refuses an epoll.
pub fn run(work: &mut impl Work) -> io::Result<()> {
    run_over(&Transport::Ws, work)
}

/// The same over any transport.
///
/// # Errors
/// When the kernel refuses an epoll.
pub fn run_over(transport: &Transport, work: &mut impl Work) -> io::Result<()> {
    let mut events = Vec::with_capacity(EVENTS_PER_TURN_MAX);
    let mut buffer = vec![0; READ_BYTES];
    let mut ended = Vec::new();
    let mut sockets = Sockets::new(transport)?;
    loop {
        let Turn::By(wake) = work.on_turn(&mut sockets, Instant::now()) else {
            if let Some(quic) = &mut sockets.quic {
                quic.close_all();
            }
            return Ok(());
        };
        sockets.flush(&mut ended);
        close_ended(work, &mut sockets, &mut ended);
        let wake = sockets.next_due().map_or(wake, |due| wake.min(due));
        let wait = wake.saturating_duration_since(Instant::now()).min(TURN_PAUSE_MAX);
        let timeout = Timespec::try_from(wait).expect("a short pause");
        events.clear();
        match epoll::wait(&sockets.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for event in &events {
            match (Quic::socket_of(event.data.u64()), &mut sockets.quic) {
                (Some(socket), Some(quic)) => quic.receive(socket),
                _ => {
                    let id = SocketId::try_from(event.data.u64()).expect("it was made from one");
                    on_event(work, &mut sockets, (id, event.flags), &mut buffer, &mut ended);
                }
            }
        }
        on_happenings(work, &mut sockets, &mut buffer, &mut ended);
        sockets.flush(&mut ended);
        close_ended(work, &mut sockets, &mut ended);
    }
}

fn on_event(
    work: &mut impl Work,
    sockets: &mut Sockets,
    (id, event): (SocketId, epoll::EventFlags),
    buffer: &mut [u8],
    ended: &mut Vec<(SocketId, Ended)>,
) {
    let Some(socket) = sockets.places[id].as_mut() else { return };
    if !socket.open {
        match socket.stream().and_then(|stream| stream.on_event(event)) {
            None => return,
            Some(Err(why)) => return ended.push((id, why)),
            Some(Ok(())) => socket.open = true,
        }
        work.on_open(sockets, id);
    } else if event.contains(epoll::EventFlags::OUT) {
        sockets.write(id, ended);
    }
    // Something that came before may wait to be deciphered.
    let waits = |socket: &mut Socket| socket.stream().is_some_and(|stream| !stream.reads_all_at_once());
    if event.intersects(INPUT) || sockets.places[id].as_mut().is_some_and(waits) {
        read(work, sockets, (id, event), buffer, ended);
    }
}

fn read(
    work: &mut impl Work,
    sockets: &mut Sockets,
    (id, event): (SocketId, epoll::EventFlags),
    buffer: &mut [u8],
    ended: &mut Vec<(SocketId, Ended)>,
) {
    for round in 0.. {
        let Some(stream) = sockets.places[id].as_mut().and_then(Socket::stream) else { return };
        let reads_all_at_once = stream.reads_all_at_once();
        match stream.read(buffer) {
            Ok(0) => return ended.push((id, Ended::Closed)),
            Ok(bytes) => {
                work.on_bytes(sockets, id, &mut buffer[..bytes]);
                // Less than was asked for means that the socket is empty, and the edge will come again; but not behind the
                // last bytes, whose edge told of the end too.
                if bytes < buffer.len() && reads_all_at_once && !event.intersects(END) {
                    return;
                }
                if round >= READS_PER_EVENT_MAX {
                    return rearm(sockets, id, ended);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return ended.push((id, ended_by(&error))),
        }
    }
}

/// Asks for the edge again although the socket is not empty.
fn rearm(sockets: &mut Sockets, id: SocketId, ended: &mut Vec<(SocketId, Ended)>) {
    if let Some(stream) = sockets.places[id].as_mut().and_then(Socket::stream)
        && let Err(errno) = epoll::modify(&sockets.epoll, stream, epoll::EventData::new_u64(id as u64), EDGES)
    {
        ended.push((id, Ended::Failed(io::Error::from(errno).kind())));
    }
}

/// Sees to the QUIC connections to which something has happened.
fn on_happenings(work: &mut impl Work, sockets: &mut Sockets, buffer: &mut [u8], ended: &mut Vec<(SocketId, Ended)>) {
    let Some(quic) = &mut sockets.quic else { return };
    quic.fire(Instant::now());
    for index in 0.. {
        let Some(handle) = sockets.quic.as_ref().and_then(|quic| quic.touched(index)) else { return };
        while let Some((id, happening)) = sockets.quic.as_mut().and_then(|quic| quic.happening(handle)) {
            match happening {
                Happening::Opened => {
                    sockets.places[id].as_mut().expect("its connection is open").open = true;
                    work.on_open(sockets, id);
                }
                Happening::Readable => {
                    while let Some(Ok(bytes)) = sockets.quic.as_mut().map(|quic| quic.read(handle, buffer)) {
                        work.on_bytes(sockets, id, &mut buffer[..bytes]);
                    }
                }
                Happening::Writable => sockets.write(id, ended),
                Happening::Ended(why) => ended.push((id, why)),
            }
        }
    }
}

fn close_ended(work: &mut impl Work, sockets: &mut Sockets, ended: &mut Vec<(SocketId, Ended)>) {
    // All are closed before the work hears of any: it may connect again at once, and a place is then another socket's.
    ended.retain(|&(id, _)| {
        let is_first = sockets.places[id].is_some();
        sockets.close(id);
        is_first
    });
    for (id, why) in ended.drain(..) {
        work.on_closed(sockets, id, why);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    /// How long a test waits for what must come.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Connects once, is sent a few bytes and closed, and only then looks at what came.
    struct Cut {
        server: TcpListener,
        until: Option<Instant>,
        bytes: usize,
        ended: Option<Ended>,
    }

    impl Work for Cut {
        fn on_open(&mut self, _: &mut Sockets, _: SocketId) {}

        fn on_bytes(&mut self, _: &mut Sockets, _: SocketId, bytes: &mut [u8]) {
            self.bytes += bytes.len();
        }

        fn on_closed(&mut self, _: &mut Sockets, _: SocketId, ended: Ended) {
            self.ended = Some(ended);
        }

        fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn {
            if self.until.is_none() {
                self.until = Some(now + PATIENCE);
                sockets.connect(self.server.local_addr().expect("it is bound")).expect("a socket");
                let (mut stream, _) = self.server.accept().expect("the connection");
                stream.write_all(&[7; 10]).expect("ten bytes");
            }
            match self.until {
                Some(until) if self.ended.is_none() && now < until => Turn::By(until),
                _ => Turn::Stop,
            }
        }
    }

    #[test]
    fn given_a_server_that_closes_behind_its_last_bytes_when_both_come_at_once_then_the_bytes_and_the_end_are_heard() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut work = Cut { server, until: None, bytes: 0, ended: None };
        run(&mut work).expect("an epoll");
        assert_eq!((work.bytes, work.ended), (10, Some(Ended::Closed)));
    }
}
