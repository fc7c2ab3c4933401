//! One connection as its thread keeps it. Idle it owns a socket, a poll in the kernel, and its place in the table, which
//! is all of this.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use switchyard_gateway_core::framing;
use switchyard_gateway_core::limits::OUTBOUND_BYTES_MAX;
use switchyard_gateway_core::outbound::Outbound;
use switchyard_gateway_core::session::{BadBytes, Session, Transport};
use switchyard_gateway_core::ws::{Decoder, Step};
use switchyard_schema::link::ToRouter;

use crate::counters::Stage;
use crate::echo::Echo;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// What carries it. One over QUIC has no socket of its own ([`crate::quic`]).
    pub(crate) transport: Transport,
    /// `None` once the connection has ended and only its place is kept, and always over QUIC.
    pub(crate) socket: Option<OwnedFd>,
    pub(crate) phase: Phase,
    pub(crate) outbound: Outbound,
    /// What keeps its bytes from being read on.
    pub(crate) held: Option<Box<Held>>,
    /// Whether the socket may hold bytes that were not read.
    pub(crate) unread: bool,
    /// Whether the peer has closed its side, or the connection is broken: the end comes behind what is still to be read.
    pub(crate) hung_up: bool,
    /// Whether it stands in the list of connections to read on.
    pub(crate) stands_to_read: bool,
    /// Whether it stands in the list of connections to flush.
    pub(crate) dirty: bool,
    /// Whether it stands in the list of connections with something that may linger.
    pub(crate) lingers: bool,
    /// Whether the socket took no more and is watched until it does.
    pub(crate) blocked: bool,
    /// How far it is, as far as that is counted.
    pub(crate) counted: Stage,
    /// Whether its Hello waits for those before it.
    pub(crate) hello_waits: bool,
    /// Whether it is not read because the thread holds too many bytes.
    pub(crate) starved: bool,
    /// Whether TLS lies between it and its socket ([`crate::tls`]).
    pub(crate) secured: bool,
}

impl Connection {
    /// Its upgrade request is awaited.
    pub(crate) const fn new(socket: OwnedFd) -> Self {
        Self::with(Some(socket), Transport::WebSocket)
    }

    /// Its QUIC handshake is under way.
    pub(crate) const fn quic() -> Self {
        Self::with(None, Transport::Quic)
    }

    const fn with(socket: Option<OwnedFd>, transport: Transport) -> Self {
        Self {
            transport,
            socket,
            phase: Phase::Handshake(Vec::new()),
            outbound: Outbound::new(OUTBOUND_BYTES_MAX),
            held: None,
            unread: false,
            hung_up: false,
            stands_to_read: false,
            dirty: false,
            lingers: false,
            blocked: false,
            counted: Stage::Upgrading,
            hello_waits: false,
            starved: false,
            secured: false,
        }
    }
}

/// How far a connection is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The upgrade request has not arrived whole; this much of it has. Or the QUIC handshake is not done.
    Handshake(Vec<u8>),
    /// A session.
    Session(Open),
    /// `/echo`.
    Echo(Box<Echo>),
    /// Nothing more is said; the connection ends when everything is written. What arrives is ignored.
    Closing {
        /// Whether the peer was told that nothing more comes.
        half_closed: bool,
    },
    /// The connection has ended; the place is kept until its last message to the router has been pushed.
    Gone,
}

impl Phase {
    /// How far that is, for those who count.
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Handshake(_) => Stage::Upgrading,
            Self::Session(open) if open.session.is_open() => Stage::Open,
            Self::Session(open) if open.session.awaits_hello() => Stage::AwaitingHello,
            Self::Session(open) if open.session.is_attaching() => Stage::Attaching,
            Self::Echo(_) => Stage::Echoing,
            Self::Session(_) | Self::Closing { .. } | Self::Gone => Stage::Closing,
        }
    }
}

/// A session, and what takes apart the bytes that come for it.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) unpacker: Unpacker,
    pub(crate) session: Session,
}

/// Takes apart what a client sends.
#[derive(Debug)]
pub(crate) enum Unpacker {
    WebSocket(Decoder),
    /// Beside the connection, so that those with a WebSocket need not be larger.
    Stream(Box<framing::Decoder>),
}

impl Unpacker {
    /// Takes one event from the start of `input`, or all of it when more is needed.
    pub(crate) fn decode<'a>(&mut self, input: &'a mut [u8]) -> Result<Step<'a>, BadBytes> {
        match self {
            Self::WebSocket(decoder) => decoder.decode(input).map_err(BadBytes::from),
            Self::Stream(decoder) => decoder.decode(input).map_err(BadBytes::from),
        }
    }
}

/// What a connection cannot get rid of before the router has done something.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Messages that did not fit, oldest first. While there are some the connection stands in a line of its thread.
    pub(crate) messages: VecDeque<ToRouter>,
    /// Received bytes that are not handled yet.
    pub(crate) rest: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_an_idle_connection_then_its_place_is_small() {
        assert!(size_of::<Option<Connection>>() <= 184, "{}", size_of::<Option<Connection>>());
    }
}
