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
//! - Of a session whose handshake is not done, it asks [`Session::defers`] of each message before the session gets it, and
//!   says [`Session::on_confirmed`] when it is done.
//!
//! Every session whose Attach was asked for ends with exactly one Detach.

mod bad_bytes;
mod context;
mod early;
mod effects;
mod ending;
mod from_router;
mod member;
mod opening;
mod packing;
mod refusal;

use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::frame::{ClientFrame, Regarding, Send, ServerFrame};
use switchyard_schema::ids::{Sequence, UserId};
use switchyard_schema::link::{Origin, SendRequest, SessionRef, ToRouter};
use switchyard_schema::{FrameError, encode, json, wire};

use crate::deadline::Deadline;
use crate::handshake::Form;
use crate::heartbeat::{Beat, Heartbeat};
use crate::limits::{FLOOD_PAUSE_MS, HELLO_MS};
use crate::rate::{Bucket, Kind, UserRates};
use crate::ws::{Event, Opcode, encode as frames};

use early::Peer;
use member::Member;
use refusal::Refusal;

pub use bad_bytes::BadBytes;
pub use context::{Context, Now, Settings, Surroundings};
pub use effects::{Close, SessionEffects};
pub use from_router::{FromRouter, dispatch};
pub use packing::{Packing, Transport};

/// The session of one connection.
#[derive(Debug)]
pub struct Session {
    session: SessionRef,
    packing: Packing,
    peer: Peer,
    heartbeat: Heartbeat,
    frames: Bucket,
    /// It is not read before this time, because too many frames came.
    paused_until: Deadline,
    /// When its state ends at the latest: without a Hello, without the router's answer, without the end of its handshake, or
    /// after it was told to go.
    deadline: Deadline,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The upgrade is done; who it is, is not known.
    AwaitHello {
        /// The token of the upgrade request.
        token: Option<Box<str>>,
    },
    /// The token is good; the router has been asked.
    Attaching(Member),
    /// Frames flow.
    Open(Member),
    /// The last frame was said.
    Ended,
}

impl Session {
    /// A session whose upgrade, or QUIC handshake, is done. `token` is that of the `Authorization` header.
    pub fn new(
        session: SessionRef,
        packing: impl Into<Packing>,
        token: Option<Box<str>>,
        context: &Context<'_>,
        out: &mut SessionEffects,
    ) -> Self {
        let now = context.now.monotonic;
        let hello = now.plus(HELLO_MS);
        out.timer = Some(hello);
        Self {
            session,
            packing: packing.into(),
            peer: Peer::Confirmed,
            heartbeat: Heartbeat::new(now),
            frames: Bucket::default(),
            paused_until: Deadline::NEVER,
            deadline: Deadline::at(hello),
            state: State::AwaitHello { token },
        }
    }

    /// How the router names it.
    #[must_use]
    pub const fn session(&self) -> SessionRef {
        self.session
    }

    /// The form of its frames.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.packing.form
    }

    /// Whose session it is, once that is known.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        self.member().map(|member| member.user)
    }

    /// Whether its Hello has not been read: what costs most of all that a session does, for a signature is verified.
    #[must_use]
    pub const fn awaits_hello(&self) -> bool {
        matches!(self.state, State::AwaitHello { .. })
    }

    /// Whether the router has been asked and has not answered.
    #[must_use]
    pub const fn is_attaching(&self) -> bool {
        matches!(self.state, State::Attaching { .. })
    }

    /// Whether Welcome has been sent and the session has not ended.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Whether the session takes another message now. When not, an answer of the router is awaited first, or, after too
    /// many frames, the timer.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        match &self.state {
            State::Ended => true,
            _ if self.awaits_handshake() => false,
            State::AwaitHello { .. } => !self.is_flooded(),
            State::Attaching(_) => false,
            State::Open(member) => member.has_room() && !self.is_flooded(),
        }
    }

    /// Whether it is not read because too many frames came.
    #[must_use]
    pub fn is_flooded(&self) -> bool {
        self.paused_until.is_set()
    }

    /// Bytes were received, whatever they are; or a peer for which much waits has taken some of it. Either is a sign of
    /// life.
    pub const fn on_received(&mut self, context: &Context<'_>) {
        self.heartbeat.on_sign(context.now.monotonic);
    }

    /// Something complete was received. `users` keeps the rates of the thread's users.
    pub fn on_event(
        &mut self,
        context: &Context<'_>,
        event: Event<'_>,
        users: &mut UserRates,
        out: &mut SessionEffects,
    ) {
        if matches!(self.state, State::Ended) {
            return;
        }
        self.count_frame(context, out);
        match (event, self.packing.form) {
            (Event::Binary(bytes), Form::Binary) => self.on_frame(context, wire::parse_client(&bytes), users, out),
            (Event::Text(text), Form::Json) => {
                let frame = json::parse_client(&text, self.user());
                self.on_frame(context, frame, users, out);
            }
            (Event::Text(_), Form::Binary) => {
                self.end(context, out);
                out.close(
                    self.packing.transport,
                    CloseCode::Unsupported,
                    "this session takes binary messages; ask for switchyard.v1.json",
                );
            }
            (Event::Binary(_), Form::Json) => {
                self.end(context, out);
                out.close(
                    self.packing.transport,
                    CloseCode::Unsupported,
                    "this session takes text messages; ask for switchyard.v1.fb",
                );
            }
            (Event::Ping(payload), _) => out.control(Opcode::Pong, &payload),
            (Event::Pong(_), _) => {}
            (Event::Close { code, .. }, _) => {
                self.end(context, out);
                out.push(frames::close_reply(code));
            }
        }
    }

    /// The time asked for has come. `held` tells that what the client sent waits, for room in the router's links or for its
    /// turn, so that it is the server that does not listen.
    pub fn on_timer(&mut self, context: &Context<'_>, held: bool, out: &mut SessionEffects) {
        let now = context.now.monotonic;
        if self.paused_until.is_over(now) {
            self.paused_until = Deadline::NEVER;
            self.on_received(context);
        }
        let is_over = self.deadline.is_over(now);
        if is_over && self.is_early() {
            return self.on_handshake_timeout(context, out);
        }
        match &mut self.state {
            // It may well be the Hello that waits.
            State::AwaitHello { .. } if is_over && held => self.deadline = Deadline::at(now.plus(HELLO_MS)),
            State::AwaitHello { .. } if is_over => {
                self.fail(context, &ErrorCode::HelloTimeout.into(), out);
            }
            State::Attaching(_) if is_over => {
                let retry_after_ms = Some(out.send_away(context, 0));
                let overloaded = Refusal { retry_after_ms, ..ErrorCode::Overloaded.into() };
                self.fail(context, &overloaded, out);
            }
            State::Open(member) if now >= member.expires => {
                self.fail(context, &ErrorCode::TokenExpired.into(), out);
            }
            State::Open(_) if is_over => self.go_away(context, out),
            State::Open(member) => {
                member.rest(now);
                let is_kept_waiting = held || !member.has_room() || self.is_flooded();
                self.check_heartbeat(context, is_kept_waiting, out);
            }
            State::AwaitHello { .. } | State::Attaching(_) | State::Ended => {}
        }
        self.arm(context, out);
    }

    /// The router says something to this session.
    pub fn on_router(&mut self, context: &Context<'_>, message: FromRouter<'_>, out: &mut SessionEffects) {
        let packing = self.packing;
        match &mut self.state {
            State::AwaitHello { .. } | State::Ended => {}
            State::Attaching(member) => match message {
                FromRouter::Attached => self.welcome(context, out),
                FromRouter::Occupied => self.on_occupied(context, out),
                FromRouter::Refused { code, retry_after_ms, regarding: Regarding::Session } => {
                    // The router knows no such session: there is nothing to detach.
                    let user = member.user;
                    self.state = State::Ended;
                    // The router names everybody the same time; behind it each has a place of its own.
                    let place_ms = code.retry().then(|| out.send_away(context, retry_after_ms.unwrap_or(0)));
                    let retry_after_ms = place_ms.or(retry_after_ms);
                    self.say_last(user, &Refusal { retry_after_ms, ..code.into() }, out);
                }
                FromRouter::Replaced => self.fail(context, &ErrorCode::SessionReplaced.into(), out),
                _ => {}
            },
            State::Open(member) => match message {
                FromRouter::Attached | FromRouter::Occupied => {}
                FromRouter::Accepted(accepted) => {
                    member.on_send_answered(accepted.sequence == Sequence(1));
                    out.accepted(packing, member.user, &accepted);
                }
                FromRouter::Page(reply) => {
                    member.pending_fetches = member.pending_fetches.saturating_sub(1);
                    out.page(packing, member.user, from_router::page_for(member.user, reply));
                }
                FromRouter::Refused { code, retry_after_ms, regarding } => {
                    match regarding {
                        Regarding::Send(_) => member.on_send_answered(false),
                        Regarding::Request(_) => member.pending_fetches = member.pending_fetches.saturating_sub(1),
                        Regarding::Session => {}
                    }
                    let refusal = Refusal { retry_after_ms, regarding, ..code.into() };
                    self.refuse(context, &refusal, out);
                }
                FromRouter::Deliver(frame) => out.deliver(packing, member.user, frame),
                FromRouter::Receipt(receipt) => out.receipt(packing, member.user, receipt),
                FromRouter::Replaced => self.fail(context, &ErrorCode::SessionReplaced.into(), out),
                FromRouter::Stalled => self.refuse(context, &ErrorCode::DeliveryStalled.into(), out),
            },
        }
        self.leave_when_answered(context, out);
    }

    fn on_frame(
        &mut self,
        context: &Context<'_>,
        frame: Result<ClientFrame<'_>, FrameError>,
        users: &mut UserRates,
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
            State::AwaitHello { token } => match frame {
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
            State::Attaching(_) => {
                debug_assert!(false, "the driver asks wants_read before each message");
                self.fail(context, &ErrorCode::UnexpectedFrame.into(), out);
            }
            State::Open(_) => self.on_open_frame(context, frame, users, out),
            State::Ended => {}
        }
    }

    fn on_open_frame(
        &mut self,
        context: &Context<'_>,
        frame: ClientFrame<'_>,
        users: &mut UserRates,
        out: &mut SessionEffects,
    ) {
        let State::Open(member) = &mut self.state else { return };
        let limited = kind_of(&frame).and_then(|kind| member.take(context, kind, users).err());
        if let Some(wait_ms) = limited {
            let regarding = subject_of(&frame);
            let refusal = Refusal { retry_after_ms: Some(wait_ms), regarding, ..ErrorCode::RateLimited.into() };
            return self.refuse(context, &refusal, out);
        }
        let origin = Origin { session: self.session, user: member.user, device: member.device };
        match frame {
            ClientFrame::Hello(_) => self.fail(context, &ErrorCode::UnexpectedFrame.into(), out),
            ClientFrame::Renew { token } => self.on_renew(context, &token, out),
            ClientFrame::Send(Send { conversation, client_message_id, body }) => {
                let begin_in_ms = member.on_send(context, users);
                let draft = encode::deliver_draft(conversation, member.user, &body);
                let request = SendRequest { origin, conversation, client_message_id, begin_in_ms, draft };
                out.messages.push(ToRouter::Send(request));
            }
            ClientFrame::Ack(ack) => out.messages.push(ToRouter::Ack { origin, ack }),
            ClientFrame::Fetch(fetch) => {
                member.pending_fetches += 1;
                out.messages.push(ToRouter::Fetch { origin, fetch });
            }
            ClientFrame::Ping { nonce } => out.frame(self.packing, member.user, &ServerFrame::Pong { nonce }),
            ClientFrame::Bye => self.on_bye(context, out),
        }
    }

    /// Counts what was received; too much of it, and nothing more is read for a while.
    fn count_frame(&mut self, context: &Context<'_>, out: &mut SessionEffects) {
        let now = context.now.monotonic;
        if let Err(wait_ms) = self.frames.take(now, context.settings.rates.frames) {
            self.paused_until = Deadline::at(now.plus(u64::from(wait_ms).max(FLOOD_PAUSE_MS)));
            self.arm(context, out);
        }
    }

    /// Looks at the silence. A client that is kept waiting is not heard, so it is not given up; but it is pinged, and with
    /// every heartbeat again, for it gives up a server that says nothing for two.
    fn check_heartbeat(&mut self, context: &Context<'_>, is_kept_waiting: bool, out: &mut SessionEffects) {
        match self.heartbeat.on_timer(context.now.monotonic, context.settings.heartbeat_ms) {
            Beat::Quiet => {}
            Beat::Ping | Beat::GiveUp if is_kept_waiting => {
                out.ping(self.packing.transport);
                self.on_received(context);
            }
            Beat::Ping => out.ping(self.packing.transport),
            Beat::GiveUp => self.fail(context, &ErrorCode::HeartbeatTimeout.into(), out),
        }
    }

    /// Asks for the next time that anything can be due. Receiving only ever moves it further away, so it is not asked for
    /// then: the timer that comes too early asks again.
    fn arm(&self, context: &Context<'_>, out: &mut SessionEffects) {
        let soonest = match &self.state {
            State::AwaitHello { .. } | State::Attaching(_) => Deadline::NEVER,
            State::Open(member) => {
                Deadline::at(self.heartbeat.next_look(context.settings.heartbeat_ms).min(member.expires))
            }
            State::Ended => return out.timer = None,
        };
        out.timer = soonest.min(self.deadline).min(self.paused_until).time();
    }

    const fn member(&self) -> Option<&Member> {
        match &self.state {
            State::Attaching(member) | State::Open(member) => Some(member),
            State::AwaitHello { .. } | State::Ended => None,
        }
    }
}

const fn subject_of(frame: &ClientFrame<'_>) -> Regarding {
    match frame {
        ClientFrame::Send(send) => Regarding::Send(send.client_message_id),
        ClientFrame::Fetch(fetch) => Regarding::Request(fetch.request),
        _ => Regarding::Session,
    }
}

/// What a frame uses up, beyond being one.
const fn kind_of(frame: &ClientFrame<'_>) -> Option<Kind> {
    match frame {
        ClientFrame::Send(_) => Some(Kind::Send),
        ClientFrame::Fetch(_) => Some(Kind::Fetch),
        ClientFrame::Ping { .. } => Some(Kind::Ping),
        _ => None,
    }
}
