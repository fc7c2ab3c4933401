//! How sessions end: by the client, by a breach of the contract, by a drain. Each says Detach once.

use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::frame::ServerFrame;
use switchyard_schema::ids::{Millis, UserId};
use switchyard_schema::link::{Origin, ToRouter};

use super::refusal::Refusal;
use super::{BadBytes, Close, Context, Session, SessionEffects, State, Transport};
use crate::auth::TokenError;
use crate::deadline::Deadline;

impl Session {
    /// The peer broke RFC 6455, or what frames on a stream look like, or sent more than is taken: it is told so.
    pub fn on_bad_bytes(&mut self, context: &Context<'_>, error: impl Into<BadBytes>, out: &mut SessionEffects) {
        if self.end(context, out) {
            let error = error.into();
            out.close(self.packing.transport, error.close_code(), &error.to_string());
        }
    }

    /// More waits to be written than a connection may hold: the peer does not read. The driver drops what waits before it
    /// writes the Close, but for a frame that is partly written.
    pub fn on_overflow(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        if self.end(context, out) {
            out.close(
                self.packing.transport,
                CloseCode::TooSlow,
                "too much waits to be read by this client; reconnect and read faster",
            );
        }
    }

    /// The client goes on sending although it is not read, and its bytes can be kept no longer.
    pub fn on_too_fast(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        if self.end(context, out) {
            out.close(
                self.packing.transport,
                CloseCode::TooFast,
                "too many frames come too fast; reconnect and send fewer",
            );
        }
    }

    /// The connection is gone.
    pub fn on_eof(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        self.end(context, out);
    }

    /// The gateway goes away: the client is told when to connect again. The session ends as soon as nothing that it asked
    /// for is unanswered, which may be now, or when the grace is over.
    pub fn on_drain(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        match &self.state {
            State::AwaitHello { .. } | State::Attaching(_) => self.send_away(context, out),
            State::Open(_) if self.is_early() => self.send_away(context, out),
            State::Open(member) if !self.deadline.is_set() => {
                self.deadline = Deadline::at(context.now.monotonic.plus(context.settings.drain_grace_ms));
                let reconnect_after_ms = out.send_away(context, 0);
                out.frame(self.packing, member.user, &ServerFrame::Drain { reconnect_after_ms });
                self.arm(context, out);
                self.leave_when_answered(context, out);
            }
            State::Open(_) | State::Ended => {}
        }
    }

    /// The gateway goes away before the session is what could be told of it.
    fn send_away(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        let retry_after_ms = Some(out.send_away(context, 0));
        let draining = Refusal { retry_after_ms, ..ErrorCode::Draining.into() };
        self.fail(context, &draining, out);
    }

    /// Ends a session that was told to go, once everything that it asked for is answered.
    pub(super) fn leave_when_answered(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        if let State::Open(member) = &self.state
            && self.deadline.is_set()
            && !self.is_early()
            && !member.awaits_answers()
        {
            self.go_away(context, out);
        }
    }

    pub(super) fn go_away(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        self.end(context, out);
        out.close(self.packing.transport, CloseCode::GoingAway, "the server is going away");
    }

    pub(super) fn on_bye(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        self.end(context, out);
        out.close(self.packing.transport, CloseCode::Normal, "");
    }

    /// Answers with an Error; a fatal one ends the session.
    pub(super) fn refuse(&mut self, context: &Context<'_>, refusal: &Refusal<'_>, out: &mut SessionEffects) {
        if refusal.code.fatal() {
            self.fail(context, refusal, out);
        } else {
            let me = self.user().unwrap_or(NOBODY);
            out.frame(self.packing, me, &ServerFrame::Error(refusal.frame()));
        }
    }

    pub(super) fn fail_token(&mut self, context: &Context<'_>, error: TokenError, out: &mut SessionEffects) {
        let reason = error.to_string();
        self.fail(context, &Refusal { reason: &reason, ..error.code().into() }, out);
    }

    /// Ends the session with an Error and the close code that follows it.
    pub(super) fn fail(&mut self, context: &Context<'_>, refusal: &Refusal<'_>, out: &mut SessionEffects) {
        let me = self.user().unwrap_or(NOBODY);
        if self.end(context, out) {
            self.say_last(me, refusal, out);
        }
    }

    pub(super) fn say_last(&self, me: UserId, refusal: &Refusal<'_>, out: &mut SessionEffects) {
        out.frame(self.packing, me, &ServerFrame::Error(refusal.frame()));
        let (code, name) = (CloseCode::after(refusal.code), refusal.code.name());
        match (self.packing.transport, refusal.retry_after_ms) {
            // The client may have no stream yet, and then the Error does not reach it.
            (Transport::Quic, Some(after_ms)) => {
                out.close_connection(Close::come_back(code, after_ms, name));
            }
            (transport, _) => out.close(transport, code, name),
        }
        out.timer = None;
    }

    /// The one way out: detaches what was attached. Answers whether the session had not ended before.
    pub(super) fn end(&mut self, context: &Context<'_>, out: &mut SessionEffects) -> bool {
        out.timer = None;
        out.finish = true;
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => return false,
            State::AwaitHello { .. } => {}
            State::Attaching(member) | State::Open(member) => {
                let silence_ms = self.heartbeat.silence_ms(context.now.monotonic);
                // A replay is nobody who was seen.
                let last_seen =
                    if self.is_early() { Millis(0) } else { Millis(context.now.unix.0.saturating_sub(silence_ms)) };
                let origin = Origin { session: self.session, user: member.user, device: member.device };
                out.messages.push(ToRouter::Detach { origin, last_seen });
            }
        }
        true
    }
}

/// Stands for the user of an Error before Hello: that frame names no conversation, so nobody is seen in it.
const NOBODY: UserId = UserId::new(1).unwrap();
