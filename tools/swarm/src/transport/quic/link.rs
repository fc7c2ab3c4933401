//! One QUIC connection and its stream.

use std::io;
use std::time::{Duration, Instant};

use quinn_proto::{
    Connection, ConnectionError, ConnectionHandle, Dir, Endpoint, Event, ReadError, ReadableError, StreamEvent,
    StreamId, TransportErrorCode, WriteError,
};

use super::Handle;
use crate::event_loop::{Ended, SocketId};
use crate::limits::QUIC_CLOSE_MAX;

/// What the reason of a close begins with that says when to come back, in milliseconds (docs/protocol.md).
const COME_BACK: &str = "reconnect_after_ms=";
/// Where the alerts of TLS begin among the error codes of QUIC (RFC 9001 §4.8).
const ALERTS: u64 = 0x100;

/// One connection.
pub(super) struct Link {
    /// Whose it is in the event loop.
    pub(super) id: SocketId,
    pub(super) proto: Connection,
    /// The UDP socket that it sends from and is heard at.
    pub(super) socket: usize,
    /// It has moved, and nothing was heard at the new address yet.
    pub(super) unheard: bool,
    /// It is among those that were touched.
    pub(super) touched: bool,
    /// Its entry among the deadlines.
    pub(super) armed: Option<Instant>,
    /// Open once the handshake is done.
    stream: Option<StreamId>,
    move_at: Option<Instant>,
    /// The server says nothing more, and has to close by then.
    close_by: Option<Instant>,
    /// How it ended, until that is told.
    ended: Option<Ended>,
}

/// What has happened to a connection.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Happening {
    /// The handshake is done and the stream is open.
    Opened,
    /// Something may be read.
    Readable,
    /// More may be written.
    Writable,
    /// It is over.
    Ended(Ended),
}

impl Link {
    pub(super) fn new(id: SocketId, proto: Connection, socket: usize) -> Self {
        Self {
            id,
            proto,
            socket,
            unheard: false,
            touched: false,
            armed: None,
            stream: None,
            move_at: None,
            close_by: None,
            ended: None,
        }
    }

    /// The next thing that has happened.
    pub(super) fn happening(&mut self) -> Option<Happening> {
        if let Some(ended) = self.ended.take() {
            return Some(Happening::Ended(ended));
        }
        loop {
            return Some(match self.proto.poll()? {
                Event::Connected => self.on_connected(),
                Event::Stream(StreamEvent::Readable { .. }) => Happening::Readable,
                Event::Stream(StreamEvent::Writable { .. }) => Happening::Writable,
                Event::ConnectionLost { reason } => Happening::Ended(ended_by(&reason)),
                _ => continue,
            });
        }
    }

    fn on_connected(&mut self) -> Happening {
        self.stream = self.proto.streams().open(Dir::Bi);
        match self.stream {
            Some(_) => Happening::Opened,
            None => Happening::Ended(Ended::Failed(io::ErrorKind::Unsupported)),
        }
    }

    /// Reads as much as the buffer holds.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has come, or nothing more will: the close that follows tells why.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = self.stream.ok_or(io::ErrorKind::NotConnected)?;
        let mut stream = self.proto.recv_stream(stream);
        let mut chunks = match stream.read(true) {
            Ok(chunks) => chunks,
            Err(ReadableError::ClosedStream | ReadableError::IllegalOrderedRead) => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        };
        let (mut bytes, mut is_over) = (0, false);
        while bytes < buffer.len() {
            match chunks.next(buffer.len() - bytes) {
                Ok(Some(chunk)) => {
                    buffer[bytes..][..chunk.bytes.len()].copy_from_slice(&chunk.bytes);
                    bytes += chunk.bytes.len();
                }
                Err(ReadError::Blocked) => break,
                Ok(None) | Err(ReadError::Reset(_)) => {
                    is_over = true;
                    break;
                }
            }
        }
        // What this lets the server send is granted with the next packet: a link that is read was touched.
        let _ = chunks.finalize();
        if is_over && self.close_by.is_none() {
            self.close_by = Some(Instant::now() + QUIC_CLOSE_MAX);
        }
        if bytes == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(bytes) }
    }

    /// Writes as much as the server grants.
    ///
    /// # Errors
    /// `WouldBlock` when that is nothing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stream = self.stream.ok_or(io::ErrorKind::NotConnected)?;
        self.proto.send_stream(stream).write(bytes).map_err(|error| match error {
            WriteError::Blocked => io::ErrorKind::WouldBlock.into(),
            WriteError::Stopped(_) | WriteError::ClosedStream => io::ErrorKind::BrokenPipe.into(),
        })
    }

    /// Lets the connection and the endpoint tell each other what they have to.
    pub(super) fn exchange(&mut self, endpoint: &mut Endpoint, handle: Handle) {
        while let Some(event) = self.proto.poll_endpoint_events() {
            // Its end was told before, and it is forgotten when the loop has closed it.
            if !event.is_drained()
                && let Some(answer) = endpoint.handle_event(ConnectionHandle(handle as usize), event)
            {
                self.proto.handle_event(answer);
            }
        }
    }

    /// Some time has come.
    pub(super) fn on_time(&mut self, now: Instant) {
        if self.proto.poll_timeout().is_some_and(|at| at <= now) {
            self.proto.handle_timeout(now);
        }
        if self.close_by.is_some_and(|at| at <= now) {
            (self.close_by, self.ended) = (None, Some(Ended::Closed));
        }
    }

    /// When it is to be looked at next, whatever comes.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        [self.proto.poll_timeout(), self.move_at, self.close_by].into_iter().flatten().min()
    }

    /// Has it move for the first time after a part of `every` that is another for each handle.
    pub(super) fn move_some_time(&mut self, every: Duration, handle: Handle) {
        if self.move_at.is_none() {
            // Fractions of the golden ratio: however many there are, they are far from each other.
            let part = f64::from(handle.wrapping_mul(0x9E37_79B9)) / f64::from(u32::MAX);
            self.move_at = Some(Instant::now() + every.mul_f64(part));
        }
    }

    pub(super) fn is_to_move(&self, now: Instant) -> bool {
        self.move_at.is_some_and(|at| at <= now) && !self.proto.is_closed()
    }

    /// Goes on from another socket, and lets the server hear so.
    pub(super) fn on_move(&mut self, next_at: Instant, socket: usize) {
        self.move_at = Some(next_at);
        if self.socket != socket {
            (self.socket, self.unheard) = (socket, true);
            self.proto.local_address_changed();
        }
    }
}

/// Why a connection is over.
fn ended_by(reason: &ConnectionError) -> Ended {
    match reason {
        ConnectionError::ApplicationClosed(close) => {
            let reason = std::str::from_utf8(&close.reason).unwrap_or_default();
            Ended::Code {
                code: u16::try_from(close.error_code.into_inner()).ok(),
                come_back_ms: reason.strip_prefix(COME_BACK).and_then(|text| {
                    let digits = text.split(|character: char| !character.is_ascii_digit()).next();
                    digits.and_then(|number| number.parse().ok())
                }),
            }
        }
        ConnectionError::ConnectionClosed(close) => ended_with(close.error_code),
        ConnectionError::TransportError(error) => ended_with(error.code),
        ConnectionError::Reset => Ended::Failed(io::ErrorKind::ConnectionReset),
        ConnectionError::TimedOut => Ended::Failed(io::ErrorKind::TimedOut),
        ConnectionError::VersionMismatch => Ended::Failed(io::ErrorKind::Unsupported),
        ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => {
            Ended::Failed(io::ErrorKind::ConnectionAborted)
        }
    }
}

fn ended_with(code: TransportErrorCode) -> Ended {
    if code == TransportErrorCode::CONNECTION_REFUSED {
        return Ended::Failed(io::ErrorKind::ConnectionRefused);
    }
    match u64::from(code).checked_sub(ALERTS).map(u8::try_from) {
        Some(Ok(alert)) => Ended::Alert(alert),
        _ => Ended::Failed(io::ErrorKind::InvalidData),
    }
}
