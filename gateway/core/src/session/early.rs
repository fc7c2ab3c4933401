//! What a client says before its handshake is done, in early data (0-RTT, RFC 8446 §2.3): it may be the replay of what it said
//! once, by somebody who can repeat its datagrams but not read them (§8).
//!
//! So only what may happen twice is taken: a Hello, unless it would end another session of the device; Ack; Fetch. Anything else
//! waits until the handshake is done, and what comes behind it waits with it. The end of a session whose handshake never was
//! leaves nothing behind.

use switchyard_schema::error::CloseCode;
use switchyard_schema::frame::ClientFrame;
use switchyard_schema::link::{Origin, SessionRef, ToRouter};
use switchyard_schema::{json, wire};

use super::{Context, Packing, Session, SessionEffects, State};
use crate::deadline::Deadline;
use crate::limits::{ATTACH_MS, HANDSHAKE_MS, HELLO_MS};
use crate::ws::Event;

/// Who is known to be at the other end.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Peer {
    /// The client: its handshake is done.
    Confirmed,
    /// The client, or somebody who repeats it.
    Early,
    /// The same, and something waits until that is known. Nothing more is taken before.
    Awaited,
}

impl Session {
    /// A session whose client has said something before its handshake is done.
    pub fn new_early(session: SessionRef, packing: Packing, context: &Context<'_>, out: &mut SessionEffects) -> Self {
        let mut early = Self::new(session, packing, None, context, out);
        early.peer = Peer::Early;
        early.deadline = Deadline::at(context.now.monotonic.plus(HANDSHAKE_MS));
        early.arm(context, out);
        early
    }

    /// Whether its handshake is not done.
    #[must_use]
    pub fn is_early(&self) -> bool {
        self.peer != Peer::Confirmed
    }

    /// Whether something waits until its handshake is done.
    #[must_use]
    pub fn awaits_handshake(&self) -> bool {
        self.peer == Peer::Awaited
    }

    /// Whether this has to wait until the handshake is done. The driver keeps it then, and asks again with what comes next:
    /// nothing is wanted before.
    pub fn defers(&mut self, event: &Event<'_>) -> bool {
        if !self.is_early() || matches!(self.state, State::Ended) {
            return false;
        }
        let frame = match event {
            Event::Binary(bytes) => wire::parse_client(bytes).ok(),
            Event::Text(text) => json::parse_client(text, self.user()).ok(),
            Event::Ping(_) | Event::Pong(_) | Event::Close { .. } => None,
        };
        if matches!(frame, Some(ClientFrame::Hello(_) | ClientFrame::Ack(_) | ClientFrame::Fetch(_))) {
            return false;
        }
        self.peer = Peer::Awaited;
        true
    }

    /// The handshake is done: it is the client who said all that.
    pub fn on_confirmed(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        let was = std::mem::replace(&mut self.peer, Peer::Confirmed);
        let now = context.now.monotonic;
        self.deadline = match (&self.state, was) {
            (State::AwaitHello { .. }, _) => Deadline::at(now.plus(HELLO_MS)),
            (State::Attaching(_), Peer::Awaited) => return self.attach(context, out),
            (State::Attaching(_), _) => Deadline::at(now.plus(ATTACH_MS)),
            (State::Open(_), _) => Deadline::NEVER,
            (State::Ended, _) => return,
        };
        self.arm(context, out);
    }

    /// Asks the router to know the session; once more, if it would have ended another one too early.
    pub(super) fn attach(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        let State::Attaching(member) = &self.state else { return };
        let origin = Origin { session: self.session, user: member.user, device: member.device };
        if self.is_early() {
            out.messages.push(ToRouter::AttachEarly(origin));
        } else {
            out.messages.push(ToRouter::Attach(origin));
            self.deadline = Deadline::at(context.now.monotonic.plus(ATTACH_MS));
        }
        self.arm(context, out);
    }

    /// The device has another session.
    pub(super) fn on_occupied(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        if self.is_early() {
            self.peer = Peer::Awaited;
        } else {
            // The handshake was done while the router was asked.
            self.attach(context, out);
        }
    }

    /// The handshake has taken too long.
    pub(super) fn on_handshake_timeout(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        if self.end(context, out) {
            out.close(self.packing.transport, CloseCode::Timeout, "the handshake took too long");
        }
    }
}
