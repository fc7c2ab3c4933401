//! The session of one connection, from the upgrade to its end.
//!
//! ```text
//!  AwaitHello ── Hello ──► Attaching ── Attached ──► Open ──► Ended
//!      │                       │                              ▲
//!      └── no Hello, bad token ┴── refused, no answer ────────┘
//! ```
//!
//! The driver calls an `on_*` method for everything that happens and carries out the [`SessionEffects`]: it writes the
//! frames, pushes the messages to the router and keeps the timer. Two rules are the driver's:
//!
//! - It asks [`Session::wants_read`] before each message that it takes from the decoder, and reads on when a later step
//!   turns the answer.
//! - A message for the router that does not fit its link waits at the connection, in order, and stops its reading.
//!
//! Every session whose Attach was asked for ends with exactly one Detach.

mod context;
mod effects;
mod from_router;
mod refusal;

use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::frame::{ClientFrame, Hello, Regarding, ServerFrame, Welcome};
use switchyard_schema::ids::{DeviceId, Millis, UserId};
use switchyard_schema::limits::{CLIENT_FRAME_BYTES_MAX, DELIVERY_WINDOW_MESSAGES, PENDING_SENDS_MAX};
use switchyard_schema::link::{Origin, SendRequest, SessionRef, ToRouter};
use switchyard_schema::{FrameError, encode, json, wire};

use crate::auth::{Claims, TokenError};
use crate::handshake::Form;
use crate::limits::{ATTACH_MS, HELLO_MS, PENDING_FETCHES_MAX, REATTACH_MS};
use crate::ws::{Event, Opcode, WsError, encode as frames};

use refusal::Refusal;

pub use context::{Context, Now, Settings};
pub use effects::SessionEffects;
pub use from_router::{FromRouter, dispatch};

/// The session of one connection.
#[derive(Debug)]
pub struct Session {
    session: SessionRef,
    form: Form,
    /// Whether a ping was sent since anything was received.
    pinged: bool,
    last_received: Millis,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The upgrade is done; who it is, is not known.
    AwaitHello {
        /// The token of the upgrade request.
        token: Option<Box<str>>,
        deadline: Millis,
    },
    /// The token is good; the router has been asked.
    Attaching { member: Member, deadline: Millis },
    /// Frames flow.
    Open(Member),
    /// The last frame was said.
    Ended,
}

/// Who a session is, and what it has under way.
#[derive(Copy, Clone, Debug)]
struct Member {
    user: UserId,
    device: DeviceId,
    /// When its token ends, by the monotonic clock.
    expires: Millis,
    /// When a session that was told to go is closed.
    drained: Option<Millis>,
    pending_sends: u16,
    pending_fetches: u16,
}

impl Session {
    /// A session whose upgrade is done. `token` is that of the `Authorization` header.
    pub fn new(
        session: SessionRef,
        form: Form,
        token: Option<Box<str>>,
        context: &Context<'_>,
        out: &mut SessionEffects,
    ) -> Self {
        let now = context.now.monotonic;
        let deadline = now.plus(HELLO_MS);
        out.timer = Some(deadline);
        let state = State::AwaitHello { token, deadline };
        Self { session, form, pinged: false, last_received: now, state }
    }

    /// How the router names it.
    #[must_use]
    pub const fn session(&self) -> SessionRef {
        self.session
    }

    /// The form of its frames.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Whose session it is, once that is known.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        self.member().map(|member| member.user)
    }

    /// Whether Welcome has been sent and the session has not ended.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether the session takes another message now. When not, an answer of the router is awaited first.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        match &self.state {
            State::AwaitHello { .. } | State::Ended => true,
            State::Attaching { .. } => false,
            State::Open(member) => member.has_room(),
        }
    }

    /// Bytes were received, whatever they are; or a peer for which much waits has taken some of it. Either is a sign of
    /// life.
    pub const fn on_received(&mut self, context: &Context<'_>) {
        self.last_received = context.now.monotonic;
        self.pinged = false;
    }

    /// Something complete was received.
    pub fn on_event(&mut self, context: &Context<'_>, event: Event<'_>, out: &mut SessionEffects) {
        if matches!(self.state, State::Ended) {
            return;
        }
        match (event, self.form) {
            (Event::Binary(bytes), Form::Binary) => self.on_frame(context, wire::parse_client(&bytes), out),
            (Event::Text(text), Form::Json) => {
                let frame = json::parse_client(&text, self.user());
                self.on_frame(context, frame, out);
            }
            (Event::Text(_), Form::Binary) => {
                self.end(context, out);
                out.close(CloseCode::Unsupported, "this session takes binary messages; ask for switchyard.v1.json");
            }
            (Event::Binary(_), Form::Json) => {
                self.end(context, out);
                out.close(CloseCode::Unsupported, "this session takes text messages; ask for switchyard.v1.fb");
            }
            (Event::Ping(payload), _) => out.control(Opcode::Pong, &payload),
            (Event::Pong(_), _) => {}
            (Event::Close { code, .. }, _) => {
                self.end(context, out);
                out.frames.push(frames::close_reply(code));
            }
        }
    }

    /// The peer broke RFC 6455, or sent more than is taken.
    pub fn on_ws_error(&mut self, context: &Context<'_>, error: WsError, out: &mut SessionEffects) {
        if self.end(context, out) {
            out.close(error.close_code(), &error.to_string());
        }
    }

    /// More waits to be written than a connection may hold: the peer does not read. The driver drops what waits before it
    /// writes the Close, but for a frame that is partly written.
    pub fn on_overflow(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        if self.end(context, out) {
            out.close(CloseCode::TooSlow, "too much waits to be read by this client; reconnect and read faster");
        }
    }

    /// The connection is gone.
    pub fn on_eof(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        self.end(context, out);
    }

    /// The gateway goes away: the client is told to connect again after `reconnect_after_ms`, and may finish what it has
    /// under way.
    pub fn on_drain(&mut self, context: &Context<'_>, reconnect_after_ms: u32, out: &mut SessionEffects) {
        let until = context.now.monotonic.plus(context.settings.drain_grace_ms);
        match &mut self.state {
            State::AwaitHello { .. } | State::Attaching { .. } => {
                let draining = Refusal { retry_after_ms: Some(reconnect_after_ms), ..ErrorCode::Draining.into() };
                self.fail(context, &draining, out);
            }
            State::Open(member) if member.drained.is_none() => {
                member.drained = Some(until);
                let user = member.user;
                out.frame(self.form, user, &ServerFrame::Drain { reconnect_after_ms });
                self.arm(context, out);
            }
            State::Open(_) | State::Ended => {}
        }
    }

    /// The time asked for has come. `held` tells that messages of this session wait for room in the router's links, so that
    /// it is the server that does not listen.
    pub fn on_timer(&mut self, context: &Context<'_>, held: bool, out: &mut SessionEffects) {
        let now = context.now.monotonic;
        match &self.state {
            State::AwaitHello { deadline, .. } if now >= *deadline => {
                self.fail(context, &ErrorCode::HelloTimeout.into(), out);
            }
            State::Attaching { deadline, .. } if now >= *deadline => {
                let overloaded = Refusal { retry_after_ms: Some(REATTACH_MS), ..ErrorCode::Overloaded.into() };
                self.fail(context, &overloaded, out);
            }
            State::Open(member) if now >= member.expires => {
                self.fail(context, &ErrorCode::TokenExpired.into(), out);
            }
            State::Open(member) if member.drained.is_some_and(|until| now >= until) => {
                self.end(context, out);
                out.close(CloseCode::GoingAway, "the server is going away");
            }
            State::Open(member) => {
                if held || !member.has_room() {
                    self.on_received(context);
                }
                self.check_heartbeat(context, out);
            }
            State::AwaitHello { .. } | State::Attaching { .. } | State::Ended => {}
        }
        self.arm(context, out);
    }

    /// The router says something to this session.
    pub fn on_router(&mut self, context: &Context<'_>, message: FromRouter<'_>, out: &mut SessionEffects) {
        let form = self.form;
        match &mut self.state {
            State::AwaitHello { .. } | State::Ended => {}
            State::Attaching { member, .. } => match message {
                FromRouter::Attached => {
                    let member = *member;
                    self.welcome(context, member, out);
                }
                FromRouter::Refused { code, retry_after_ms, regarding: Regarding::Session } => {
                    // The router knows no such session: there is nothing to detach.
                    let user = member.user;
                    self.state = State::Ended;
                    self.say_last(user, &Refusal { retry_after_ms, ..code.into() }, out);
                }
                FromRouter::Replaced => self.fail(context, &ErrorCode::SessionReplaced.into(), out),
                _ => {}
            },
            State::Open(member) => match message {
                FromRouter::Attached => {}
                FromRouter::Accepted(accepted) => {
                    member.pending_sends = member.pending_sends.saturating_sub(1);
                    out.frame(form, member.user, &ServerFrame::Accepted(accepted));
                }
                FromRouter::Page(reply) => {
                    member.pending_fetches = member.pending_fetches.saturating_sub(1);
                    out.frame(form, member.user, &ServerFrame::Page(from_router::page_for(member.user, reply)));
                }
                FromRouter::Refused { code, retry_after_ms, regarding } => {
                    match regarding {
                        Regarding::Send(_) => member.pending_sends = member.pending_sends.saturating_sub(1),
                        Regarding::Request(_) => member.pending_fetches = member.pending_fetches.saturating_sub(1),
                        Regarding::Session => {}
                    }
                    let refusal = Refusal { retry_after_ms, regarding, ..code.into() };
                    self.refuse(context, &refusal, out);
                }
                FromRouter::Deliver(frame) => out.deliver(form, member.user, frame),
                FromRouter::Receipt(receipt) => out.frame(form, member.user, &ServerFrame::Receipt(*receipt)),
                FromRouter::Replaced => self.fail(context, &ErrorCode::SessionReplaced.into(), out),
                FromRouter::Stalled => self.refuse(context, &ErrorCode::DeliveryStalled.into(), out),
            },
        }
    }

    fn on_frame(
        &mut self,
        context: &Context<'_>,
        frame: Result<ClientFrame<'_>, FrameError>,
        out: &mut SessionEffects,
    ) {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                let reason = error.to_string();
                let refusal = Refusal { reason: &reason, regarding: error.regarding(), ..error.code().into() };
                return self.refuse(context, &refusal, out);
            }
        };
        match &mut self.state {
            State::AwaitHello { token, .. } => match frame {
                ClientFrame::Hello(hello) => {
                    let from_header = token.take();
                    self.on_hello(context, &hello, from_header.as_deref(), out);
                }
                ClientFrame::Bye => self.on_bye(context, out),
                other => {
                    let refusal = Refusal { regarding: subject_of(&other), ..ErrorCode::UnexpectedFrame.into() };
                    self.fail(context, &refusal, out);
                }
            },
            State::Attaching { .. } => {
                debug_assert!(false, "the driver asks wants_read before each message");
                self.fail(context, &ErrorCode::UnexpectedFrame.into(), out);
            }
            State::Open(member) => {
                let origin = Origin { session: self.session, user: member.user, device: member.device };
                match frame {
                    ClientFrame::Hello(_) => self.fail(context, &ErrorCode::UnexpectedFrame.into(), out),
                    ClientFrame::Renew { token } => self.on_renew(context, &token, out),
                    ClientFrame::Send(send) => {
                        member.pending_sends += 1;
                        out.messages.push(ToRouter::Send(SendRequest {
                            origin,
                            conversation: send.conversation,
                            client_message_id: send.client_message_id,
                            draft: encode::deliver_draft(send.conversation, member.user, &send.body),
                        }));
                    }
                    ClientFrame::Ack(ack) => out.messages.push(ToRouter::Ack { origin, ack }),
                    ClientFrame::Fetch(fetch) => {
                        member.pending_fetches += 1;
                        out.messages.push(ToRouter::Fetch { origin, fetch });
                    }
                    ClientFrame::Ping { nonce } => out.frame(self.form, member.user, &ServerFrame::Pong { nonce }),
                    ClientFrame::Bye => self.on_bye(context, out),
                }
            }
            State::Ended => {}
        }
    }

    fn on_hello(
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
                let member = Member { user, device, expires, drained: None, pending_sends: 0, pending_fetches: 0 };
                self.state = State::Attaching { member, deadline: context.now.monotonic.plus(ATTACH_MS) };
                out.messages.push(ToRouter::Attach(Origin { session: self.session, user, device }));
                self.arm(context, out);
            }
            Err(error) => self.fail_token(context, error, out),
        }
    }

    fn on_renew(&mut self, context: &Context<'_>, token: &str, out: &mut SessionEffects) {
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

    fn on_bye(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        self.end(context, out);
        out.close(CloseCode::Normal, "");
    }

    fn welcome(&mut self, context: &Context<'_>, member: Member, out: &mut SessionEffects) {
        self.state = State::Open(member);
        let welcome = Welcome {
            user: member.user,
            device: member.device,
            heartbeat_ms: context.settings.heartbeat_ms,
            max_frame_bytes: u32::try_from(CLIENT_FRAME_BYTES_MAX).expect("a frame is smaller than 4 GiB"),
            delivery_window: DELIVERY_WINDOW_MESSAGES,
            max_pending_sends: PENDING_SENDS_MAX,
            time: context.now.unix,
        };
        out.frame(self.form, member.user, &ServerFrame::Welcome(welcome));
        // Nothing was read while the router was asked, so the silence begins now.
        self.on_received(context);
        self.arm(context, out);
    }

    fn check_heartbeat(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        let heartbeat_ms = u64::from(context.settings.heartbeat_ms);
        let silence_ms = context.now.monotonic.since(self.last_received);
        if silence_ms >= 2 * heartbeat_ms {
            self.fail(context, &ErrorCode::HeartbeatTimeout.into(), out);
        } else if silence_ms >= heartbeat_ms && !self.pinged {
            self.pinged = true;
            out.control(Opcode::Ping, &[]);
        }
    }

    /// Asks for the next time that anything can be due. Receiving only ever moves it further away, so it is not asked for
    /// then: the timer that comes too early asks again.
    fn arm(&self, context: &Context<'_>, out: &mut SessionEffects) {
        let heartbeat_ms = u64::from(context.settings.heartbeat_ms);
        out.timer = match &self.state {
            State::AwaitHello { deadline, .. } | State::Attaching { deadline, .. } => Some(*deadline),
            State::Open(member) => {
                let silent = self.last_received.plus(if self.pinged { 2 * heartbeat_ms } else { heartbeat_ms });
                let soonest = silent.min(member.expires);
                Some(member.drained.map_or(soonest, |until| soonest.min(until)))
            }
            State::Ended => None,
        };
    }

    /// Answers with an Error; a fatal one ends the session.
    fn refuse(&mut self, context: &Context<'_>, refusal: &Refusal<'_>, out: &mut SessionEffects) {
        if refusal.code.fatal() {
            self.fail(context, refusal, out);
        } else {
            let me = self.user().unwrap_or(NOBODY);
            out.frame(self.form, me, &ServerFrame::Error(refusal.frame()));
        }
    }

    fn fail_token(&mut self, context: &Context<'_>, error: TokenError, out: &mut SessionEffects) {
        let reason = error.to_string();
        self.fail(context, &Refusal { reason: &reason, ..error.code().into() }, out);
    }

    /// Ends the session with an Error and the close code that follows it.
    fn fail(&mut self, context: &Context<'_>, refusal: &Refusal<'_>, out: &mut SessionEffects) {
        let me = self.user().unwrap_or(NOBODY);
        if self.end(context, out) {
            self.say_last(me, refusal, out);
        }
    }

    fn say_last(&self, me: UserId, refusal: &Refusal<'_>, out: &mut SessionEffects) {
        out.frame(self.form, me, &ServerFrame::Error(refusal.frame()));
        out.close(CloseCode::after(refusal.code), refusal.code.name());
        out.timer = None;
    }

    /// The one way out: detaches what was attached. Answers whether the session had not ended before.
    fn end(&mut self, context: &Context<'_>, out: &mut SessionEffects) -> bool {
        out.timer = None;
        out.finish = true;
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Ended => return false,
            State::AwaitHello { .. } => {}
            State::Attaching { member, .. } | State::Open(member) => {
                let silence_ms = context.now.monotonic.since(self.last_received);
                let last_seen = Millis(context.now.unix.0.saturating_sub(silence_ms));
                let origin = Origin { session: self.session, user: member.user, device: member.device };
                out.messages.push(ToRouter::Detach { origin, last_seen });
            }
        }
        true
    }

    const fn member(&self) -> Option<&Member> {
        match &self.state {
            State::Attaching { member, .. } | State::Open(member) => Some(member),
            State::AwaitHello { .. } | State::Ended => None,
        }
    }
}

impl Member {
    /// Whether its client may ask for more before something is answered.
    fn has_room(&self) -> bool {
        u32::from(self.pending_sends) < PENDING_SENDS_MAX && self.pending_fetches < PENDING_FETCHES_MAX
    }
}

/// Stands for the user of an Error before Hello: that frame names no conversation, so nobody is seen in it.
const NOBODY: UserId = UserId::new(1).unwrap();

/// Verifies a token for a device. Also answers when it ends by the monotonic clock.
fn verify(context: &Context<'_>, token: &str, device: DeviceId) -> Result<(Claims, Millis), TokenError> {
    let Now { monotonic, unix } = context.now;
    let claims = context.keys.verify(token, unix)?;
    if claims.device.is_some_and(|claimed| claimed != device) {
        return Err(TokenError::WrongDevice);
    }
    Ok((claims, monotonic.plus(claims.expires.since(unix))))
}

const fn subject_of(frame: &ClientFrame<'_>) -> Regarding {
    match frame {
        ClientFrame::Send(send) => Regarding::Send(send.client_message_id),
        ClientFrame::Fetch(fetch) => Regarding::Request(fetch.request),
        _ => Regarding::Session,
    }
}
