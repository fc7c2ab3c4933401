//! One session between a client and a router that the test plays both, at a time that the test sets.

use std::borrow::Cow;

use switchyard_gateway_core::auth::{AUDIENCE_DEFAULT, Claims, KeySet, SigningKey};
use switchyard_gateway_core::comebacks::Comebacks;
use switchyard_gateway_core::framing::{self, FramingError};
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::limits::COMEBACK_MS_MIN;
use switchyard_gateway_core::rate::{RateLimits, UserRates};
use switchyard_gateway_core::session::{
    Close, Context, Now, Packing, Session, SessionEffects, Settings, Transport, dispatch,
};
use switchyard_gateway_core::ws::{Decoder, Event, Role, WsError};
use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::frame::{Ack, ClientFrame, Fetch, FetchRange, Hello, Regarding, Send, ServerFrame};
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, ShardId, UserId};
use switchyard_schema::link::{Origin, SessionRef, ToGateway, ToRouter};
use switchyard_schema::{body, encode, json, wire};

/// How the session under test is named.
pub(crate) const SESSION: SessionRef = SessionRef { gateway: 3, slot: 17, epoch: 5 };
/// After how long the first client that is sent away is told to come back.
#[expect(clippy::cast_possible_truncation, reason = "less than a minute")]
pub(crate) const COMEBACK_MS: u32 = COMEBACK_MS_MIN as u32;
/// How long after it the next one is.
pub(crate) const COMEBACK_APART_MS: u32 = 100;
/// The time every test starts at.
pub(crate) const START: Now = Now { monotonic: Millis(50_000), unix: Millis(1_800_000_000_000) };
/// How long a token is good for.
pub(crate) const TOKEN_MS: u64 = 600_000;
/// The heartbeat of every test.
pub(crate) const HEARTBEAT_MS: u64 = 30_000;

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

pub(crate) fn device(number: u64) -> DeviceId {
    DeviceId::new(number).unwrap()
}

/// The conversation of 42 and 43.
pub(crate) fn conversation() -> ConversationId {
    ConversationId::direct(user(42), user(43))
}

pub(crate) fn message(number: u64) -> MessageId {
    MessageId::new(number << 32).unwrap()
}

pub(crate) fn client_message(number: u8) -> ClientMessageId {
    ClientMessageId([number; 16])
}

/// An encoded text body.
pub(crate) fn text_body(text: &str) -> Vec<u8> {
    body::text(text)
}

pub(crate) fn send(number: u8) -> ClientFrame<'static> {
    ClientFrame::Send(Send {
        client_message_id: client_message(number),
        conversation: conversation(),
        body: Cow::Owned(text_body("hi")),
    })
}

pub(crate) fn fetch(request: u64) -> ClientFrame<'static> {
    let range = FetchRange::After(Sequence::ZERO);
    ClientFrame::Fetch(Fetch { request, conversation: conversation(), range, limit: 10 })
}

pub(crate) fn ack(delivered: u64) -> Ack {
    Ack { conversation: conversation(), delivered: Some(Sequence(delivered)), read: None }
}

/// What the client sees.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Welcome,
    Accepted(ClientMessageId),
    Deliver(Sequence),
    Receipt,
    Page(u64),
    Error { code: ErrorCode, regarding: Regarding, retry_after_ms: Option<u32> },
    Pong(u64),
    Drain(u32),
    WebSocketPing,
    TransportPing,
    WebSocketPong(Vec<u8>),
    Close(Option<u16>),
    TransportClose(CloseCode),
}

/// An Error about the session, without a time to retry.
pub(crate) fn error(code: ErrorCode) -> Seen {
    Seen::Error { code, regarding: Regarding::Session, retry_after_ms: None }
}

pub(crate) fn close(code: CloseCode) -> Seen {
    Seen::Close(Some(code as u16))
}

/// A session and everything around it.
pub(crate) struct World {
    pub(crate) session: Session,
    packing: Packing,
    pub(crate) now: Now,
    pub(crate) settings: Settings,
    /// What the last steps asked for.
    pub(crate) out: SessionEffects,
    /// When the timer is due.
    pub(crate) timer: Option<Millis>,
    pub(crate) finished: bool,
    /// Whether the driver holds messages back because they do not fit.
    pub(crate) held: bool,
    keys: KeySet,
    comebacks: Comebacks,
    users: UserRates,
    /// Pages so far that may have streams of their own.
    pub(crate) asides: usize,
    /// Texts of JSON frames, as seen.
    pub(crate) texts: Vec<String>,
    /// The reasons of errors, as seen.
    pub(crate) reasons: Vec<String>,
}

pub(crate) fn signing_key() -> SigningKey {
    SigningKey::from_seed([7; 32])
}

/// A token of the test's key.
pub(crate) fn token(user_number: u64, device_number: Option<u64>, expires: Millis) -> String {
    let device = device_number.map(device);
    signing_key().sign(AUDIENCE_DEFAULT, &Claims { user: user(user_number), device, expires })
}

/// A good token of user 42.
pub(crate) fn good_token() -> String {
    token(42, None, START.unix.plus(TOKEN_MS))
}

impl World {
    /// A connection whose upgrade is done, with the token of the header.
    pub(crate) fn upgraded(packing: impl Into<Packing>, header_token: Option<&str>) -> Self {
        let packing = packing.into();
        Self::with(packing, |context, out| Session::new(SESSION, packing, header_token.map(Into::into), context, out))
    }

    /// A QUIC connection whose client says something before its handshake is done.
    pub(crate) fn early(form: Form) -> Self {
        let packing = Packing::quic(form);
        Self::with(packing, |context, out| Session::new_early(SESSION, packing, context, out))
    }

    fn with(packing: Packing, session: impl FnOnce(&Context<'_>, &mut SessionEffects) -> Session) -> Self {
        let key = signing_key();
        let mut keys = KeySet::new(AUDIENCE_DEFAULT);
        keys.insert(key.kid(), key.public_key());
        let settings = Settings {
            heartbeat_ms: u32::try_from(HEARTBEAT_MS).unwrap(),
            drain_grace_ms: 5_000,
            rates: RateLimits::default(),
        };
        let mut out = SessionEffects::new();
        let comebacks = Comebacks::new(1_000 / COMEBACK_APART_MS);
        let context = Context { now: START, keys: &keys, settings: &settings, comebacks };
        let session = session(&context, &mut out);
        let timer = out.timer.take();
        Self {
            session,
            packing,
            now: START,
            settings,
            out,
            timer,
            finished: false,
            held: false,
            keys,
            comebacks,
            users: UserRates::new(1),
            asides: 0,
            texts: Vec::new(),
            reasons: Vec::new(),
        }
    }

    /// A session that said Hello as user 42 on device 1, and whose Attach is under way.
    pub(crate) fn attaching(packing: impl Into<Packing>) -> Self {
        let mut world = Self::upgraded(packing, None);
        let token = good_token();
        let hello = ClientFrame::Hello(Hello { token: Some(token.as_str().into()), device: device(1) });
        assert_eq!(world.client(&hello), []);
        assert!(matches!(world.take_for_router()[..], [ToRouter::Attach(_)]));
        world
    }

    /// An open session.
    pub(crate) fn open(packing: impl Into<Packing>) -> Self {
        let mut world = Self::attaching(packing);
        assert_eq!(world.router(ToGateway::Attached(SESSION)), [Seen::Welcome]);
        world
    }

    pub(crate) fn origin() -> Origin {
        Origin { session: SESSION, user: user(42), device: device(1) }
    }

    fn step(&mut self, step: impl FnOnce(&mut Session, &Context<'_>, &mut SessionEffects)) -> Vec<Seen> {
        let context = Context { now: self.now, keys: &self.keys, settings: &self.settings, comebacks: self.comebacks };
        step(&mut self.session, &context, &mut self.out);
        self.after_step()
    }

    fn after_step(&mut self) -> Vec<Seen> {
        if std::mem::take(&mut self.out.sent_away) {
            self.comebacks.reserve(self.now.monotonic);
        }
        self.timer = self.out.timer.take().or(self.timer);
        self.finished |= self.out.finish;
        if self.finished {
            self.timer = None;
        }
        self.take_seen()
    }

    /// The handshake is done.
    pub(crate) fn confirm(&mut self) -> Vec<Seen> {
        self.step(|session, context, out| session.on_confirmed(context, out))
    }

    /// Whether this frame has to wait for the handshake.
    pub(crate) fn defers(&mut self, frame: &ClientFrame<'_>) -> bool {
        let bytes = self.encoded(frame);
        let event = match self.session.form() {
            Form::Binary => Event::Binary(bytes.into()),
            Form::Json => Event::Text(String::from_utf8(bytes).unwrap().into()),
        };
        self.session.defers(&event)
    }

    fn encoded(&self, frame: &ClientFrame<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.session.form() {
            Form::Binary => wire::encode_client(frame, &mut bytes),
            Form::Json => json::encode_client(frame, user(42), &mut bytes),
        }
        bytes
    }

    /// The client sends bytes that decode to this event.
    pub(crate) fn event(&mut self, event: Event<'_>) -> Vec<Seen> {
        let context = Context { now: self.now, keys: &self.keys, settings: &self.settings, comebacks: self.comebacks };
        self.session.on_received(&context);
        self.session.on_event(&context, event, &mut self.users, &mut self.out);
        self.after_step()
    }

    /// The client sends a frame in the session's form.
    pub(crate) fn client(&mut self, frame: &ClientFrame<'_>) -> Vec<Seen> {
        let bytes = self.encoded(frame);
        match self.session.form() {
            Form::Binary => self.event(Event::Binary(bytes.into())),
            Form::Json => self.event(Event::Text(String::from_utf8(bytes).unwrap().into())),
        }
    }

    /// The client says Hello.
    pub(crate) fn hello(&mut self, token: Option<&str>, device_number: u64) -> Vec<Seen> {
        let token = token.map(Cow::Borrowed);
        self.client(&ClientFrame::Hello(Hello { token, device: device(device_number) }))
    }

    pub(crate) fn ws_error(&mut self, error: WsError) -> Vec<Seen> {
        self.step(|session, context, out| session.on_bad_bytes(context, error, out))
    }

    pub(crate) fn framing_error(&mut self, error: FramingError) -> Vec<Seen> {
        self.step(|session, context, out| session.on_bad_bytes(context, error, out))
    }

    pub(crate) fn overflow(&mut self) -> Vec<Seen> {
        self.step(|session, context, out| session.on_overflow(context, out))
    }

    pub(crate) fn too_fast(&mut self) -> Vec<Seen> {
        self.step(|session, context, out| session.on_too_fast(context, out))
    }

    pub(crate) fn eof(&mut self) -> Vec<Seen> {
        self.step(|session, context, out| session.on_eof(context, out))
    }

    pub(crate) fn drain(&mut self) -> Vec<Seen> {
        self.step(|session, context, out| session.on_drain(context, out))
    }

    /// After how long another client that is sent away now is told to come back.
    pub(crate) fn next_comeback_ms(&self) -> u32 {
        self.comebacks.next_ms(self.now.monotonic)
    }

    /// The router says something.
    pub(crate) fn router(&mut self, message: ToGateway) -> Vec<Seen> {
        self.step(|session, context, out| {
            dispatch(&message, |to, said| {
                assert_eq!(to, SESSION);
                session.on_router(context, said, out);
            });
        })
    }

    /// The router refuses a request.
    pub(crate) fn refuse(&mut self, code: ErrorCode, regarding: Regarding) -> Vec<Seen> {
        let (shard, retry_after_ms) = (ShardId(0), Some(250));
        self.router(ToGateway::Refused { session: SESSION, shard, code, retry_after_ms, regarding })
    }

    /// The router says that a Send is durable.
    pub(crate) fn accept(&mut self, number: u8) -> Vec<Seen> {
        self.accept_at(number, 9)
    }

    /// The router says that a Send is durable, and where.
    pub(crate) fn accept_at(&mut self, number: u8, sequence: u64) -> Vec<Seen> {
        self.router(ToGateway::Accepted {
            session: SESSION,
            client_message_id: client_message(number),
            conversation: conversation(),
            message: message(9),
            sequence: Sequence(sequence),
        })
    }

    /// The router delivers a message of user 43.
    pub(crate) fn deliver(&mut self, sequence: u64) -> Vec<Seen> {
        let draft = encode::deliver_draft(conversation(), user(43), &text_body("hello"));
        let (frame, _) = draft.stamp(message(sequence), Sequence(sequence));
        self.router(ToGateway::Deliver { sessions: [SESSION].into_iter().collect(), frame })
    }

    /// Time passes; the timer fires whenever it is due.
    pub(crate) fn pass(&mut self, millis: u64) -> Vec<Seen> {
        let end = self.now.monotonic.plus(millis);
        let mut seen = Vec::new();
        while let Some(due) = self.timer.filter(|due| *due <= end) {
            self.advance_to(due.max(self.now.monotonic));
            self.timer = None;
            let held = self.held;
            seen.extend(self.step(|session, context, out| session.on_timer(context, held, out)));
            assert!(
                self.timer.is_none_or(|next| next > self.now.monotonic),
                "the timer is armed for a time that is over"
            );
        }
        self.advance_to(end);
        seen
    }

    fn advance_to(&mut self, monotonic: Millis) {
        self.now.unix = self.now.unix.plus(monotonic.since(self.now.monotonic));
        self.now.monotonic = monotonic;
    }

    /// The messages for the router since the last call.
    pub(crate) fn take_for_router(&mut self) -> Vec<ToRouter> {
        std::mem::take(&mut self.out.messages)
    }

    /// Asserts that the session has ended and was detached once, as last seen at this time.
    pub(crate) fn assert_detached(&mut self, unix: Millis) {
        assert!(self.finished && self.timer.is_none());
        match &self.take_for_router()[..] {
            [ToRouter::Detach { origin, last_seen }] => assert_eq!((*origin, *last_seen), (Self::origin(), unix)),
            other => panic!("not one Detach: {other:?}"),
        }
    }

    /// Asserts that the session has ended and the router has nothing to forget.
    pub(crate) fn assert_ended_unattached(&mut self) {
        assert!(self.finished && self.timer.is_none());
        assert!(self.take_for_router().is_empty());
    }

    /// What the client sees of the frames, read with the client's decoder.
    fn take_seen(&mut self) -> Vec<Seen> {
        match self.packing.transport {
            Transport::WebSocket => self.take_seen_on_websocket(),
            Transport::Quic => self.take_seen_on_stream(),
        }
    }

    fn take_seen_on_stream(&mut self) -> Vec<Seen> {
        let mut decoder = framing::Decoder::new(self.packing.form, 1 << 20);
        let pages = std::mem::take(&mut self.out.pages);
        self.asides += pages.len();
        let bytes = [std::mem::take(&mut self.out.frames), pages].concat().concat();
        let mut rest = &bytes[..];
        let mut seen = Vec::new();
        while !rest.is_empty() {
            let step = decoder.decode(rest).unwrap();
            seen.push(match step.event.expect("effects are whole frames") {
                Event::Binary(bytes) => self.see(&wire::parse_server(&bytes).unwrap()),
                Event::Text(text) => self.see(&json::parse_server(&text, user(42)).unwrap()),
                other => panic!("a stream has no {other:?}"),
            });
            rest = &rest[step.consumed..];
        }
        assert_eq!(std::mem::take(&mut self.out.frame_count), seen.len() as u64, "a frame of two pieces is one");
        seen.extend(std::mem::take(&mut self.out.ping).then_some(Seen::TransportPing));
        seen.extend(self.out.close.take().map(|Close { code, .. }| Seen::TransportClose(code)));
        seen
    }

    fn take_seen_on_websocket(&mut self) -> Vec<Seen> {
        assert!(self.out.close.is_none() && !self.out.ping, "a WebSocket has frames for both");
        assert!(self.out.pages.is_empty(), "it has one stream");
        let mut seen = Vec::new();
        let mut decoder = Decoder::new(Role::Client, 1 << 20);
        for frame in std::mem::take(&mut self.out.frames) {
            let mut bytes = frame.to_vec();
            let step = decoder.decode(&mut bytes).unwrap();
            assert_eq!(step.consumed, frame.len(), "one effect is one WebSocket frame");
            seen.push(match step.event.expect("a whole frame") {
                Event::Binary(bytes) => self.see(&wire::parse_server(&bytes).unwrap()),
                Event::Text(text) => {
                    self.texts.push(text.to_string());
                    let frame = json::parse_server(&text, user(42)).unwrap();
                    self.see(&frame)
                }
                Event::Ping(payload) => {
                    assert!(payload.is_empty());
                    Seen::WebSocketPing
                }
                Event::Pong(payload) => Seen::WebSocketPong(payload.into_owned()),
                Event::Close { code, .. } => Seen::Close(code),
            });
        }
        seen
    }

    fn see(&mut self, frame: &ServerFrame<'_>) -> Seen {
        match frame {
            ServerFrame::Welcome(welcome) => {
                assert_eq!((welcome.user, welcome.device), (user(42), device(1)));
                assert_eq!((u64::from(welcome.heartbeat_ms), welcome.time), (HEARTBEAT_MS, self.now.unix));
                assert_eq!(
                    (welcome.max_frame_bytes, welcome.delivery_window, welcome.max_pending_sends),
                    (65536, 256, 256)
                );
                Seen::Welcome
            }
            ServerFrame::Accepted(accepted) => Seen::Accepted(accepted.client_message_id),
            ServerFrame::Deliver(deliver) => Seen::Deliver(deliver.sequence),
            ServerFrame::Receipt(_) => Seen::Receipt,
            ServerFrame::Page(page) => Seen::Page(page.request),
            ServerFrame::Error(error) => {
                self.reasons.push(error.reason.to_string());
                let (code, regarding, retry_after_ms) = (error.code, error.regarding, error.retry_after_ms);
                Seen::Error { code, regarding, retry_after_ms }
            }
            ServerFrame::Pong { nonce } => Seen::Pong(*nonce),
            ServerFrame::Drain { reconnect_after_ms } => Seen::Drain(*reconnect_after_ms),
        }
    }
}
