//! How sessions begin: Hello, Welcome, and the tokens that keep them.

use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Hello, ServerFrame, Welcome};
use switchyard_schema::ids::{DeviceId, Millis};
use switchyard_schema::limits::{CLIENT_FRAME_BYTES_MAX, DELIVERY_WINDOW_MESSAGES, PENDING_SENDS_MAX};

use super::member::Member;
use super::refusal::Refusal;
use super::{Context, Now, Session, SessionEffects, State};
use crate::auth::{Claims, TokenError};
use crate::deadline::Deadline;

impl Session {
    pub(super) fn on_hello(
        &mut self,
        context: &Context<'_>,
        hello: &Hello<'_>,
        from_header: Option<&str>,
        out: &mut SessionEffects,
    ) {
        let Some(token) = hello.token.as_deref().or(from_header) else {
            let reason = "hello has no token, and neither had the request (Authorization: Bearer)";
            return self.fail(context, &Refusal { reason, ..ErrorCode::InvalidToken.into() }, out);
        };
        match verify(context, token, hello.device) {
            Ok((claims, expires)) => {
                let (user, device) = (claims.user, hello.device);
                self.state = State::Attaching(Member::new(user, device, expires));
                self.attach(context, out);
            }
            Err(error) => self.fail_token(context, error, out),
        }
    }

    pub(super) fn on_renew(&mut self, context: &Context<'_>, token: &str, out: &mut SessionEffects) {
        let State::Open(member) = &mut self.state else { return };
        match verify(context, token, member.device) {
            Ok((claims, _)) if claims.user != member.user => self.fail_token(context, TokenError::WrongUser, out),
            Ok((_, expires)) => {
                member.expires = expires;
                self.arm(context, out);
            }
            Err(error) => self.fail_token(context, error, out),
        }
    }

    /// The router knows the session.
    pub(super) fn welcome(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        let State::Attaching(member) = std::mem::replace(&mut self.state, State::Ended) else { return };
        if !self.is_early() {
            self.deadline = Deadline::NEVER;
        }
        let welcome = Welcome {
            user: member.user,
            device: member.device,
            heartbeat_ms: context.settings.heartbeat_ms,
            max_frame_bytes: u32::try_from(CLIENT_FRAME_BYTES_MAX).expect("a frame is smaller than 4 GiB"),
            delivery_window: DELIVERY_WINDOW_MESSAGES,
            max_pending_sends: PENDING_SENDS_MAX,
            time: context.now.unix,
        };
        out.frame(self.packing, member.user, &ServerFrame::Welcome(welcome));
        self.state = State::Open(member);
        // Nothing was read while the router was asked, so the silence begins now.
        self.on_received(context);
        self.arm(context, out);
    }
}

/// Verifies a token for a device. Also answers when it ends by the monotonic clock.
fn verify(context: &Context<'_>, token: &str, device: DeviceId) -> Result<(Claims, Millis), TokenError> {
    let Now { monotonic, unix } = context.now;
    let claims = context.keys.verify(token, unix)?;
    if claims.device.is_some_and(|claimed| claimed != device) {
        return Err(TokenError::WrongDevice);
    }
    Ok((claims, monotonic.plus(claims.expires.since(unix))))
}
