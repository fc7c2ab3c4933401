//! What the server refuses: tried again, given up, or the end of the session.
//!
//! A code of a newer server is taken for what its frame says of itself: fatal or not, to be tried again or not.

use switchyard_schema::NewerError;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{ErrorFrame, Regarding};
use switchyard_schema::ids::Millis;

use super::Client;
use super::connection::Wait;
use crate::effect::Effect;
use crate::event::{Event, RefusalCode};
use crate::fetches::Purpose;

/// A refusal, whether its code is known here or not.
pub(super) struct Refused<'a> {
    pub(super) code: RefusalCode,
    pub(super) fatal: bool,
    pub(super) retry: bool,
    pub(super) reason: &'a str,
    pub(super) retry_after_ms: Option<u32>,
    pub(super) regarding: Regarding,
}

impl Refused<'_> {
    pub(super) fn wait_ms(&self) -> u64 {
        u64::from(self.retry_after_ms.unwrap_or(0))
    }

    /// When to connect again, where this ends the session.
    pub(super) fn comeback(&self) -> Wait {
        self.retry_after_ms.map_or(Wait::Unknown, |wait_ms| Wait::Exactly(u64::from(wait_ms)))
    }
}

impl<'a> From<&'a ErrorFrame<'_>> for Refused<'a> {
    fn from(error: &'a ErrorFrame<'_>) -> Self {
        let &ErrorFrame { code, ref reason, retry_after_ms, regarding } = error;
        Self { code: code.into(), fatal: code.fatal(), retry: code.retry(), reason, retry_after_ms, regarding }
    }
}

impl<'a> From<&'a NewerError> for Refused<'a> {
    fn from(error: &'a NewerError) -> Self {
        let &NewerError { code, ref reason, fatal, retry, retry_after_ms, regarding } = error;
        Self { code: RefusalCode::Newer(code), fatal, retry, reason, retry_after_ms, regarding }
    }
}

impl Client {
    /// An error frame arrived whose code this version does not know.
    pub fn handle_newer_error(&mut self, now: Millis, error: &NewerError, out: &mut Vec<Effect>) {
        self.handle_received(now);
        if self.link.is_greeting() || self.link.is_connected() {
            self.on_refused(now, &error.into(), out);
        }
        self.settle(now, out);
    }

    pub(super) fn on_refused(&mut self, now: Millis, refused: &Refused<'_>, out: &mut Vec<Effect>) {
        let about_token = refused.code == ErrorCode::InvalidToken || refused.code == ErrorCode::TokenExpired;
        match refused.regarding {
            Regarding::Send(id) if !about_token && refused.retry => {
                if let Some(refusals) = self.outbox.refusals(id) {
                    let delay_ms = self.backoff().delay_ms(refusals, &mut self.chance);
                    self.outbox.postpone(id, now.plus(refused.wait_ms()).plus(delay_ms));
                }
            }
            Regarding::Send(id) if !about_token => {
                self.fail_send(id, refused.code, refused.reason, out);
                if refused.fatal {
                    self.drop_connection(now, refused.comeback(), out);
                }
            }
            Regarding::Request(request) if !refused.fatal => self.on_fetch_refused(now, request, refused, out),
            _ => self.on_session_refused(now, refused, out),
        }
    }

    fn on_fetch_refused(&mut self, now: Millis, request: u64, refused: &Refused<'_>, out: &mut Vec<Effect>) {
        match (self.fetches.on_answered(request), refused.retry) {
            (None | Some(Purpose::Watermarks(_)), _) => {}
            (Some(Purpose::Repair(id)), true) => self.retry_repair(now, id, refused.wait_ms()),
            (Some(Purpose::Repair(id)), false) => {
                self.fetches.on_repaired(id);
                if let Some(conversation) = self.conversations.get_mut(&id) {
                    conversation.give_up_gap();
                }
            }
            (Some(Purpose::App), true) => {
                let refusals = self.fetches.app_refusals(request);
                let delay_ms = self.backoff().delay_ms(refusals, &mut self.chance);
                self.fetches.postpone_app(request, now.plus(refused.wait_ms()).plus(delay_ms));
            }
            (Some(Purpose::App), false) => {
                self.fetches.finish_app(request);
                let (code, reason) = (refused.code, refused.reason.to_owned());
                out.push(Effect::Event(Event::FetchFailed { request, code, reason }));
            }
        }
    }
}
