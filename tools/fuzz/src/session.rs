//! One session, driven by any sequence of what a client, a router and a clock can do.

use std::sync::{Arc, LazyLock};

use switchyard_gateway_core::auth::{AUDIENCE_DEFAULT, Claims, KeySet, SigningKey};
use switchyard_gateway_core::comebacks::Comebacks;
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::rate::{Rate, RateLimits, Rates, UserRates};
use switchyard_gateway_core::session::{Context, Now, Session, SessionEffects, Settings, Surroundings, dispatch};
use switchyard_gateway_core::ws::{Decoder, Event, Role, WsError};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{
    Ack, ClientFrame, Fetch, FetchRange, Hello, Receipt, Regarding, Send, ServerFrame, VoidRange, Watermark,
};
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, ShardId, UserId};
use switchyard_schema::limits::PENDING_SENDS_MAX;
use switchyard_schema::link::{PageReply, SessionRef, ToGateway, ToRouter};
use switchyard_schema::{body, encode, json, wire};

use crate::source::Source;

const SESSION: SessionRef = SessionRef { gateway: 1, slot: 2, epoch: 3 };
const START: Now = Now { monotonic: Millis(50_000), unix: Millis(1_800_000_000_000) };
const COMEBACKS: Comebacks = Comebacks::new(1_000);
const ME: UserId = UserId::new(42).expect("not zero");
const PEER: UserId = UserId::new(43).expect("not zero");
const DEVICE: DeviceId = DeviceId::new(1).expect("not zero");
/// Operations of one sequence at most.
const STEPS_MAX: usize = 400;

/// Tokens that may come with a Hello; the last one is another user's, to renew with.
const HELLO_TOKENS: usize = 4;

/// The server's keys, and tokens: a good one, a short one, one of another device, nonsense, one of another user.
static KEYS: LazyLock<(Arc<KeySet>, Vec<String>)> = LazyLock::new(|| {
    let key = SigningKey::from_seed([7; 32]);
    let mut keys = KeySet::new(AUDIENCE_DEFAULT);
    keys.insert(key.kid(), key.public_key());
    let sign =
        |user, device, ttl_ms| key.sign(AUDIENCE_DEFAULT, &Claims { user, device, expires: START.unix.plus(ttl_ms) });
    let tokens = vec![
        sign(ME, None, 600_000),
        sign(ME, Some(DEVICE), 20_000),
        sign(ME, DeviceId::new(9), 600_000),
        "nonsense".to_owned(),
        sign(PEER, None, 600_000),
    ];
    (Arc::new(keys), tokens)
});

/// Limits low enough to be met.
fn settings() -> Settings {
    let sends = Rate::per_second(20);
    let rates = Rates { sends, fetches: Rate::per_second(5), pings: Rate::per_second(2), ..Rates::default() };
    let rates = RateLimits { frames: Rate::per_second(50), connection: rates, user: rates };
    Settings { heartbeat_ms: 30_000, drain_grace_ms: 5_000, rates }
}

/// First byte: the form, the header's token, and whether the handshake is done; then one operation after the other.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let mut world = World::new(&mut source);
    for _ in 0..STEPS_MAX {
        if source.is_empty() {
            break;
        }
        world.operation(&mut source);
    }
    world.step(|session, context, out| session.on_eof(context, out));
    assert!(world.finished && world.timer.is_none(), "a connection that is gone has ended");
    assert_eq!(world.attached, world.detached, "every Attach has one Detach, or was refused");
}

struct World {
    session: Session,
    form: Form,
    around: Surroundings,
    users: UserRates,
    out: SessionEffects,
    timer: Option<Millis>,
    finished: bool,
    attached: u32,
    detached: u32,
    welcomed: bool,
    /// The router has said that the device has another session.
    occupied: bool,
    sends: Vec<ClientMessageId>,
    fetches: Vec<u64>,
}

impl World {
    fn new(source: &mut Source<'_>) -> Self {
        let choice = source.byte();
        let form = if choice & 1 == 0 { Form::Binary } else { Form::Json };
        let (keys, tokens) = &*KEYS;
        let header = (choice & 2 != 0).then(|| tokens[usize::from(choice >> 2) % HELLO_TOKENS].as_str().into());
        let mut out = SessionEffects::new();
        let around = Surroundings { now: START, keys: keys.clone(), settings: settings(), comebacks: COMEBACKS };
        let early = choice & 0x80 != 0;
        let session = if early {
            Session::new_early(SESSION, form.into(), &around.context(), &mut out)
        } else {
            Session::new(SESSION, form, header, &around.context(), &mut out)
        };
        let timer = out.timer.take();
        assert!(timer.is_some(), "who says nothing is not waited for for ever");
        Self {
            session,
            form,
            around,
            users: UserRates::new(7),
            out,
            timer,
            finished: false,
            attached: 0,
            detached: 0,
            welcomed: false,
            occupied: false,
            sends: Vec::new(),
            fetches: Vec::new(),
        }
    }

    fn operation(&mut self, source: &mut Source<'_>) {
        match source.below(16) {
            0..=6 => self.client_frame(source),
            7 => self.raw(source),
            8 => self.control(source),
            9 => self.connection(source),
            10..=13 => self.router(source),
            _ => self.pass(u64::from(source.byte()) * [1, 50, 1000, 60_000][usize::from(source.below(4))]),
        }
    }

    fn client_frame(&mut self, source: &mut Source<'_>) {
        let tokens = &KEYS.1;
        let choice = usize::from(source.byte());
        let token = tokens[choice % tokens.len()].as_str();
        let conversation = conversation(source);
        let number = source.byte();
        let frame = match source.below(8) {
            0 => {
                let token = source.flag().then(|| tokens[choice % HELLO_TOKENS].as_str().into());
                ClientFrame::Hello(Hello { token, device: DEVICE })
            }
            1 => ClientFrame::Renew { token: token.into() },
            2 | 3 => {
                let client_message_id = ClientMessageId([number; 16]);
                ClientFrame::Send(Send { client_message_id, conversation, body: body::text("hi").into() })
            }
            4 => ClientFrame::Ack(Ack { conversation, delivered: Some(Sequence(number.into())), read: None }),
            5 => {
                let range = FetchRange::After(Sequence(0));
                ClientFrame::Fetch(Fetch { request: number.into(), conversation, range, limit: 10 })
            }
            6 => ClientFrame::Ping { nonce: number.into() },
            _ => ClientFrame::Bye,
        };
        let mut bytes = Vec::new();
        match self.form {
            Form::Binary => {
                wire::encode_client(&frame, &mut bytes);
                self.event(Event::Binary(bytes.into()));
            }
            Form::Json => {
                json::encode_client(&frame, ME, &mut bytes);
                self.event(Event::Text(String::from_utf8(bytes).expect("JSON is UTF-8").into()));
            }
        }
    }

    fn raw(&mut self, source: &mut Source<'_>) {
        let text = source.flag();
        let count = usize::from(source.byte());
        let bytes = source.take(count);
        match std::str::from_utf8(bytes) {
            Ok(as_text) if text => self.event(Event::Text(as_text.into())),
            _ => self.event(Event::Binary(bytes.into())),
        }
    }

    fn control(&mut self, source: &mut Source<'_>) {
        let count = usize::from(source.below(126));
        let payload = source.take(count);
        match source.below(3) {
            0 => self.event(Event::Ping(payload.into())),
            1 => self.event(Event::Pong(payload.into())),
            _ => self.event(Event::Close { code: source.flag().then_some(1000), reason: "".into() }),
        }
    }

    fn connection(&mut self, source: &mut Source<'_>) {
        let choice = source.below(8);
        self.step(|session, context, out| match choice {
            0 => session.on_bad_bytes(context, WsError::BadUtf8, out),
            1 => session.on_overflow(context, out),
            2 => session.on_eof(context, out),
            6 | 7 => session.on_confirmed(context, out),
            _ => session.on_drain(context, out),
        });
    }

    fn router(&mut self, source: &mut Source<'_>) {
        if self.attached == 0 {
            return; // the router speaks to sessions that it knows
        }
        let conversation = conversation(source);
        let number = source.byte();
        let sequence = Sequence(u64::from(number) + 1);
        let message = MessageId::new((u64::from(number) + 1) << 32).expect("not zero");
        let regarding = match source.below(4) {
            0 => Regarding::Session,
            1 => self.fetches.pop().map_or(Regarding::Session, Regarding::Request),
            _ => self.sends.pop().map_or(Regarding::Session, Regarding::Send),
        };
        let said = match (source.below(10), regarding) {
            (2, _) if !self.welcomed => {
                self.occupied = true;
                ToGateway::Occupied(SESSION)
            }
            (0..=2, _) => ToGateway::Attached(SESSION),
            (3 | 4, Regarding::Send(client_message_id)) => {
                ToGateway::Accepted { session: SESSION, client_message_id, conversation, message, sequence }
            }
            (3..=5, Regarding::Request(request)) => ToGateway::Page(Box::new(page(conversation, request))),
            (3..=5, _) => {
                let code = ErrorCode::ALL[usize::from(number) % ErrorCode::ALL.len()];
                if !self.welcomed && regarding == Regarding::Session && !self.finished {
                    self.detached += 1; // the router knows no such session
                }
                let retry_after_ms = source.flag().then_some(250);
                ToGateway::Refused { session: SESSION, shard: ShardId(0), code, retry_after_ms, regarding }
            }
            (6, _) => {
                let draft = encode::deliver_draft(conversation, PEER, &body::text("hello"));
                ToGateway::Deliver {
                    sessions: [SESSION].into_iter().collect(),
                    frame: draft.stamp(message, sequence).0,
                }
            }
            (7, _) => {
                let watermark = Watermark { member: PEER, delivered: sequence, read: Sequence(0) };
                let receipt = Receipt { conversation, watermark };
                ToGateway::Receipt { sessions: [SESSION].into_iter().collect(), receipt }
            }
            (8, _) => ToGateway::Stalled(SESSION),
            _ => ToGateway::Replaced(SESSION),
        };
        self.step(|session, context, out| {
            dispatch(&said, |to, said| {
                assert_eq!(to, SESSION);
                session.on_router(context, said, out);
            });
        });
    }

    fn pass(&mut self, millis: u64) {
        let end = self.around.now.monotonic.plus(millis);
        while let Some(due) = self.timer.filter(|due| *due <= end) {
            self.advance_to(due.max(self.around.now.monotonic));
            self.timer = None;
            self.step(|session, context, out| session.on_timer(context, false, out));
            let now = self.around.now.monotonic;
            assert!(self.timer.is_none_or(|next| next > now), "a timer is never armed for a time that is over");
        }
        self.advance_to(end);
    }

    fn advance_to(&mut self, monotonic: Millis) {
        let now = &mut self.around.now;
        now.unix = now.unix.plus(monotonic.since(now.monotonic));
        now.monotonic = monotonic;
    }

    /// The driver's rule: a message is taken from the decoder only when the session wants it.
    fn event(&mut self, event: Event<'_>) {
        if self.session.wants_read() && !self.session.defers(&event) {
            let mut users = std::mem::replace(&mut self.users, UserRates::new(7));
            self.step(|session, context, out| {
                session.on_received(context);
                session.on_event(context, event, &mut users, out);
            });
            self.users = users;
        }
    }

    fn step(&mut self, step: impl FnOnce(&mut Session, &Context<'_>, &mut SessionEffects)) {
        step(&mut self.session, &self.around.context(), &mut self.out);
        if self.finished {
            assert!(self.out.frames.is_empty(), "nothing is said after the end");
            assert!(self.out.messages.is_empty(), "nothing is asked for after the end");
        }
        self.timer = self.out.timer.take().or(self.timer);
        self.finished |= std::mem::take(&mut self.out.finish);
        if self.finished {
            self.timer = None;
        }
        assert!(self.finished || self.timer.is_some(), "a session that lives has a time when it is looked at");
        self.look_at_frames();
        self.look_at_messages();
        self.out.clear();
    }

    /// Every frame is one that the client of this form can read.
    fn look_at_frames(&mut self) {
        for frame in std::mem::take(&mut self.out.frames) {
            let mut bytes = frame.to_vec();
            let step = Decoder::new(Role::Client, 1 << 21).decode(&mut bytes).expect("our own frames are sound");
            assert_eq!(step.consumed, frame.len(), "one effect is one frame");
            let said = match (step.event.expect("a whole frame"), self.form) {
                (Event::Binary(bytes), Form::Binary) => {
                    matches!(wire::parse_server(&bytes).expect("sound"), ServerFrame::Welcome(_))
                }
                (Event::Text(text), Form::Json) => {
                    matches!(json::parse_server(&text, ME).expect("sound"), ServerFrame::Welcome(_))
                }
                (Event::Ping(_) | Event::Pong(_) | Event::Close { .. }, _) => false,
                (other, form) => panic!("{other:?} in a session that speaks {form:?}"),
            };
            assert!(!(said && self.welcomed), "a session is welcomed once");
            self.welcomed |= said;
        }
    }

    fn look_at_messages(&mut self) {
        for message in std::mem::take(&mut self.out.messages) {
            match message {
                ToRouter::Attach(origin) | ToRouter::AttachEarly(origin) => {
                    assert_eq!((origin.user, origin.device), (ME, DEVICE), "only a good token opens a session");
                    assert_eq!(matches!(message, ToRouter::AttachEarly(_)), self.session.is_early());
                    // It asks again when it may end the other one.
                    self.attached += u32::from(!std::mem::take(&mut self.occupied));
                }
                ToRouter::Detach { last_seen, .. } => {
                    assert!(last_seen <= self.around.now.unix);
                    self.detached += 1;
                }
                ToRouter::Send(request) => {
                    assert!(
                        self.welcomed && !self.session.is_early(),
                        "nothing is sent before Welcome and the handshake"
                    );
                    self.sends.push(request.client_message_id);
                }
                ToRouter::Fetch { fetch, .. } => {
                    assert!(self.welcomed);
                    self.fetches.push(fetch.request);
                }
                ToRouter::Ack { .. } => assert!(self.welcomed),
            }
            assert!(self.attached == 1 && self.detached <= 1);
            assert!(self.sends.len() <= PENDING_SENDS_MAX as usize, "no more is under way than was promised");
        }
    }
}

fn conversation(source: &mut Source<'_>) -> ConversationId {
    let other = UserId::new(u64::from(source.below(3)) + 42).expect("not zero");
    ConversationId::direct(ME, other)
}

fn page(conversation: ConversationId, request: u64) -> PageReply {
    PageReply {
        session: SESSION,
        request,
        conversation,
        messages: Vec::new(),
        void: vec![VoidRange { from: Sequence(1), to: Sequence(2) }],
        watermarks: [Watermark { member: PEER, delivered: Sequence(2), read: Sequence(1) }].into_iter().collect(),
        more: false,
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let hello = [0, 0, 0, 0, 0, 1];
    let attached = [10, 0, 0, 0, 0];
    let send = [0, 0, 1, 7, 2];
    let accepted = [10, 1, 9, 2, 3];
    let whole = [&[0][..], &hello, &attached, &send, &accepted, &[0, 0, 1, 0, 7]].concat();
    let as_json = [&[1][..], &hello, &attached, &send, &[15, 90, 2], &[9, 3], &[15, 200, 3]].concat();
    let from_header = [&[2][..], &[0, 0, 0, 0, 0, 0], &attached, &[10, 1, 5, 0, 6], &[10, 1, 5, 0, 9]].concat();
    let occupied = [10, 0, 0, 0, 2];
    let early = [&[0x80][..], &hello, &occupied, &[9, 6], &attached, &send].concat();
    let refused = [&[0][..], &hello, &[10, 0, 0, 0, 3, 0]].concat();
    vec![whole, as_json, from_header, early, refused, vec![0, 7, 0, 4, 1, 2, 3, 4], vec![1, 15, 255, 2]]
}
