//! The connection: opening, greeting, keeping, losing, leaving for good.

use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{ClientFrame, Hello, Welcome};
use switchyard_schema::ids::{Millis, UserId};

use super::refused::Refused;
use super::silence::{Silence, Step};
use super::{Client, ack_of};
use crate::effect::{Effect, StoreOp};
use crate::event::{ConnectionState, Event, RefusalCode, StopReason};
use crate::limits::{CONNECT_TIMEOUT_MS, STABLE_AFTER_MS};
use crate::token::{Fresh, Refusal};

/// Where the connection stands.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Link {
    /// Not started.
    Idle,
    /// Lost; the next attempt begins at `until`.
    Waiting { until: Millis },
    /// A token is needed before anything else.
    AwaitingToken,
    /// The driver opens a connection.
    Opening { deadline: Millis },
    /// Hello is sent.
    Greeting { deadline: Millis },
    /// Welcome has arrived.
    Connected(Connected),
    /// For good.
    Stopped(StopReason),
}

/// When the server wants a client back that it refused.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Wait {
    /// It does not say: the back-off decides.
    Unknown,
    /// No sooner than in so many milliseconds, and the back-off on top, because others hear the same.
    AtLeast(u64),
    /// In so many milliseconds, neither sooner nor later: the server keeps a place in time for this client alone.
    Exactly(u64),
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Connected {
    pub(super) welcome: Welcome,
    pub(super) since: Millis,
    /// The server drains: when to come back.
    pub(super) leave_at: Option<Millis>,
    silence: Silence,
}

impl Connected {
    fn next_timeout(&self) -> Millis {
        self.leave_at.unwrap_or(Millis(u64::MAX)).min(self.silence.due(self.welcome.heartbeat_ms))
    }
}

impl Link {
    pub(super) const fn state(&self) -> ConnectionState {
        match *self {
            Self::Idle | Self::Waiting { .. } => ConnectionState::Disconnected,
            Self::AwaitingToken | Self::Opening { .. } | Self::Greeting { .. } => ConnectionState::Connecting,
            Self::Connected(_) => ConnectionState::Connected,
            Self::Stopped(reason) => ConnectionState::Stopped(reason),
        }
    }

    pub(super) const fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }

    pub(super) const fn is_greeting(&self) -> bool {
        matches!(self, Self::Greeting { .. })
    }

    /// Whether the driver has a connection, or is opening one.
    const fn is_up(&self) -> bool {
        matches!(self, Self::Opening { .. } | Self::Greeting { .. } | Self::Connected(_))
    }

    pub(super) fn next_timeout(&self) -> Option<Millis> {
        match self {
            Self::Idle | Self::AwaitingToken | Self::Stopped(_) => None,
            Self::Waiting { until } => Some(*until),
            Self::Opening { deadline } | Self::Greeting { deadline } => Some(*deadline),
            Self::Connected(connected) => Some(connected.next_timeout()),
        }
    }
}

impl Client {
    /// The driver opened the connection it was asked for.
    pub fn handle_opened(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let Link::Opening { deadline } = self.link else { return };
        match self.tokens.usable(now) {
            Some(token) => {
                let token = Some(token.to_owned().into());
                out.push(Effect::Transmit(ClientFrame::Hello(Hello { token, device: self.config.device })));
                self.link = Link::Greeting { deadline };
            }
            None => {
                out.push(Effect::Disconnect);
                self.open(now, out);
            }
        }
        self.settle(now, out);
    }

    /// The connection could not be opened, or is gone.
    pub fn handle_closed(&mut self, now: Millis, out: &mut Vec<Effect>) {
        self.handle_put_off(now, Wait::Unknown, out);
    }

    /// The server answered the attempt to connect with a refusal that names a time.
    pub fn handle_put_off(&mut self, now: Millis, wait: Wait, out: &mut Vec<Effect>) {
        if self.link.is_up() {
            self.on_lost(now, wait);
        }
        self.settle(now, out);
    }

    /// Bytes arrived, whatever they are (a WebSocket ping too): the connection lives.
    pub const fn handle_received(&mut self, now: Millis) {
        if let Link::Connected(connected) = &mut self.link {
            connected.silence.on_received(now);
        }
    }

    /// Whether the driver reads what the server sends; a driver may stop while its application lags. The server's
    /// silence then means nothing, and the client says by itself that it lives, since it answers no ping. A connection
    /// begins with a driver that reads.
    pub const fn handle_listening(&mut self, now: Millis, listens: bool) {
        if let Link::Connected(connected) = &mut self.link {
            connected.silence.on_listening(now, listens);
        }
    }

    /// The server sent what no server sends: try a new connection.
    pub fn handle_protocol_error(&mut self, now: Millis, out: &mut Vec<Effect>) {
        self.drop_connection(now, Wait::Unknown, out);
        self.settle(now, out);
    }

    /// The driver brought a token, valid for so long (`None` when that is unknown).
    pub fn handle_token(&mut self, now: Millis, token: String, valid_for_ms: Option<u64>, out: &mut Vec<Effect>) {
        match (self.tokens.on_token(now, token, valid_for_ms), self.link) {
            (Fresh::GiveUp, _) => self.stop(StopReason::TokenRefused, out),
            (Fresh::Later, Link::AwaitingToken) => {
                let delay_ms = self.backoff().delay_ms(self.tokens.disputes(), &mut self.chance);
                self.tokens.ask_again(now.plus(delay_ms));
                let code = ErrorCode::TokenExpired;
                out.push(Effect::Event(Event::ServerError { code: code.into(), reason: code.reason().to_owned() }));
            }
            (Fresh::Use | Fresh::Same, Link::AwaitingToken) => self.open(now, out),
            (Fresh::Use, Link::Connected(_)) => {
                let renew = self.tokens.usable(now).map(|token| ClientFrame::Renew { token: token.to_owned().into() });
                out.extend(renew.map(Effect::Transmit));
            }
            _ => {}
        }
        self.settle(now, out);
    }

    /// The driver could not get a token: for now, or for good.
    pub fn handle_token_failed(&mut self, now: Millis, for_good: bool, out: &mut Vec<Effect>) {
        let failures = self.tokens.on_failed();
        if !for_good {
            let delay_ms = self.backoff().delay_ms(failures, &mut self.chance);
            self.tokens.ask_again(now.plus(delay_ms));
        } else if matches!(self.link, Link::AwaitingToken) {
            self.stop(StopReason::TokenRefused, out);
        }
        self.settle(now, out);
    }

    /// The application leaves: what is gathered for an Ack is sent, then Bye. Unsent messages stay in the outbox.
    pub fn close(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if self.link.is_connected() {
            let unsent = if self.takes_more() { self.acks.take_unsent() } else { Vec::new() };
            let acks = unsent.iter().filter_map(|id| self.conversations.get(id)).filter_map(ack_of);
            out.extend(acks.map(Effect::Transmit));
            out.push(Effect::Transmit(ClientFrame::Bye));
        }
        self.stop(StopReason::Closed, out);
        self.settle(now, out);
    }

    /// Connects, or asks for a token first.
    pub(super) fn open(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if self.tokens.usable(now).is_some() {
            self.link = Link::Opening { deadline: now.plus(CONNECT_TIMEOUT_MS) };
            out.push(Effect::Connect);
        } else {
            self.link = Link::AwaitingToken;
            if self.tokens.ask() {
                out.push(Effect::RequestToken);
            }
        }
    }

    pub(super) fn on_welcome(&mut self, now: Millis, welcome: Welcome, out: &mut Vec<Effect>) {
        if self.user.is_some_and(|user| user != welcome.user) {
            self.stop(StopReason::WrongUser, out);
            return;
        }
        if self.user.is_none() {
            self.user = Some(welcome.user);
            out.push(Effect::Store(StoreOp::PutUser(welcome.user)));
        }
        self.tokens.on_welcome();
        self.link = Link::Connected(Connected { welcome, since: now, leave_at: None, silence: Silence::new(now) });
        self.acknowledge_unconfirmed(now);
        self.ask_for_receipts(welcome.user);
    }

    /// Asks for the watermarks of every conversation in which somebody is not known to have read what this device sent.
    /// That may be a message whose acceptance it has not heard of: receipts for it may have come before this connection.
    fn ask_for_receipts(&mut self, user: UserId) {
        let silent = self.conversations.iter().filter(|(_, known)| known.awaits_receipt(user)).map(|(id, _)| *id);
        for conversation in silent.chain(self.outbox.may_be_in()) {
            self.fetches.want_watermarks(conversation);
        }
    }

    /// Plans an Ack for every conversation in which the server may not know how far this device is.
    fn acknowledge_unconfirmed(&mut self, now: Millis) {
        let Some(user) = self.user else { return };
        for (&conversation, _) in self.conversations.iter().filter(|(_, known)| !known.is_confirmed(user)) {
            self.acks.on_owed(now, conversation);
        }
    }

    /// The server is going away: nothing new is sent, answers still arrive, and the client comes back when told.
    pub(super) const fn on_drain(&mut self, now: Millis, reconnect_after_ms: u32) {
        if let Link::Connected(connected) = &mut self.link {
            connected.leave_at = Some(now.plus(reconnect_after_ms as u64));
        }
    }

    /// A refusal that is about the session.
    pub(super) fn on_session_refused(&mut self, now: Millis, refused: &Refused<'_>, out: &mut Vec<Effect>) {
        let known = if let RefusalCode::Known(code) = refused.code { Some(code) } else { None };
        let ends = refused.fatal || !self.link.is_connected();
        match known {
            Some(ErrorCode::InvalidToken) => self.on_token_refused(now, Refusal::Invalid, out),
            Some(ErrorCode::TokenExpired) => self.on_token_refused(now, Refusal::Expired, out),
            Some(ErrorCode::SessionReplaced) => self.stop(StopReason::Replaced, out),
            Some(ErrorCode::Draining) if self.link.is_connected() => {
                self.on_drain(now, refused.retry_after_ms.unwrap_or(0));
            }
            Some(ErrorCode::DeliveryStalled) => {
                self.acknowledge_unconfirmed(now);
                self.tell_stalled(out);
            }
            _ if ends && refused.retry => self.drop_connection(now, refused.comeback(), out),
            _ if ends => self.stop(StopReason::Refused(refused.code), out),
            _ => {
                let (code, reason) = (refused.code, refused.reason.to_owned());
                out.push(Effect::Event(Event::ServerError { code, reason }));
            }
        }
    }

    fn on_token_refused(&mut self, now: Millis, refusal: Refusal, out: &mut Vec<Effect>) {
        self.tokens.on_refused(now, refusal);
        self.disconnect(now, out);
        self.open(now, out);
    }

    pub(super) fn tell_stalled(&mut self, out: &mut Vec<Effect>) {
        if !std::mem::replace(&mut self.stall_told, true) {
            out.push(Effect::Event(Event::DeliveryStalled));
        }
    }

    pub(super) fn on_link_time(&mut self, now: Millis, out: &mut Vec<Effect>) {
        match &mut self.link {
            Link::Waiting { until } if *until <= now => self.open(now, out),
            Link::Opening { deadline } | Link::Greeting { deadline } if *deadline <= now => {
                self.drop_connection(now, Wait::Unknown, out);
            }
            Link::Connected(Connected { leave_at: Some(due), .. }) if *due <= now => {
                self.drop_connection(now, Wait::Unknown, out);
            }
            Link::Connected(connected) => match connected.silence.on_time(now, connected.welcome.heartbeat_ms) {
                Step::Wait => {}
                Step::Ping => out.push(Effect::Transmit(ClientFrame::Ping { nonce: now.0 })),
                Step::GiveUp => self.drop_connection(now, Wait::Unknown, out),
            },
            _ => {}
        }
    }

    pub(super) fn on_token_time(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let wanted = matches!(self.link, Link::AwaitingToken | Link::Connected(_));
        if wanted && self.tokens.next_timeout().is_some_and(|due| due <= now) && self.tokens.ask() {
            out.push(Effect::RequestToken);
        }
    }

    /// Closes the connection, if there is one, and tries again when the server said.
    pub(super) fn drop_connection(&mut self, now: Millis, wait: Wait, out: &mut Vec<Effect>) {
        if self.link.is_up() {
            out.push(Effect::Disconnect);
            self.on_lost(now, wait);
        }
    }

    fn disconnect(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if self.link.is_up() {
            out.push(Effect::Disconnect);
            self.forget_connection(now);
        }
    }

    fn on_lost(&mut self, now: Millis, wait: Wait) {
        let until = match self.link {
            Link::Connected(Connected { leave_at: Some(leave_at), .. }) => leave_at.max(now),
            Link::Connected(connected) if now.since(connected.since) >= STABLE_AFTER_MS => {
                self.attempts = 0;
                self.next_attempt(now, wait)
            }
            _ => self.next_attempt(now, wait),
        };
        self.forget_connection(now);
        self.link = Link::Waiting { until };
    }

    fn next_attempt(&mut self, now: Millis, wait: Wait) -> Millis {
        // To be given a place is no failure: the back-off is for what nobody steers. A place that is now would let a client
        // try without end.
        if let Wait::Exactly(wait_ms @ 1..) = wait {
            return now.plus(wait_ms);
        }
        let delay_ms = self.backoff().delay_ms(self.attempts, &mut self.chance);
        self.attempts = self.attempts.saturating_add(1);
        match wait {
            Wait::Unknown | Wait::Exactly(_) => now.plus(delay_ms),
            Wait::AtLeast(wait_ms) => now.plus(wait_ms).plus(delay_ms),
        }
    }

    fn forget_connection(&mut self, now: Millis) {
        self.outbox.on_disconnected();
        self.acks.on_disconnected();
        self.fetches.on_disconnected(now);
    }

    fn stop(&mut self, reason: StopReason, out: &mut Vec<Effect>) {
        if matches!(self.link, Link::Stopped(_)) {
            return;
        }
        if self.link.is_up() {
            out.push(Effect::Disconnect);
        }
        self.link = Link::Stopped(reason);
    }
}
