//! One connection as its thread keeps it. Idle it owns a socket, a poll and this.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use monoio::net::TcpStream;
use switchyard_gateway_core::outbound::Outbound;

use switchyard_gateway_core::session::Session;
use switchyard_gateway_core::ws::Decoder;
use switchyard_schema::link::ToRouter;

use crate::echo::Echo;

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// `None` once the connection has ended and only its place is kept.
    pub(crate) stream: Option<Rc<TcpStream>>,
    pub(crate) phase: Phase,
    pub(crate) outbound: Outbound,
    /// What keeps its bytes from being read on.
    pub(crate) held: Option<Box<Held>>,
    /// The connection's task, while it waits to be told to read again.
    pub(crate) reader: Option<Waker>,
    /// Whether it stands in the list of connections to flush.
    pub(crate) dirty: bool,
    /// Whether it stands in the list of connections with something that may linger.
    pub(crate) lingers: bool,
    /// Whether the socket took no more and a task waits until it does.
    pub(crate) blocked: bool,
    /// Whether it is counted as an open session.
    pub(crate) is_counted: bool,
    /// Whether its Hello waits for those before it.
    pub(crate) hello_waits: bool,
    /// Whether it is not read because the thread holds too many bytes.
    pub(crate) starved: bool,
}

/// How far a connection is.
#[derive(Debug)]
pub(crate) enum Phase {
    /// The upgrade request has not arrived whole; this much of it has.
    Handshake(Vec<u8>),
    /// A session.
    Session(Box<Open>),
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

/// A WebSocket with a session.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) decoder: Decoder,
    pub(crate) session: Session,
}

/// What a connection cannot get rid of before the router has done something.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Messages that did not fit, oldest first. While there are some the connection stands in a line of its thread.
    pub(crate) messages: VecDeque<ToRouter>,
    /// Received bytes that are not handled yet.
    pub(crate) rest: Vec<u8>,
}
