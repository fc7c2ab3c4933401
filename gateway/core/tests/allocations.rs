//! What the hot path may allocate: the draft of a Send, the frame of an answer, and nothing for an Ack or a shared Deliver.

#[path = "../../../schema/tests/common/counting_allocator.rs"]
mod counting_allocator;

use counting_allocator::{Counting, allocations};
use switchyard_gateway_core::auth::{AUDIENCE_DEFAULT, Claims, KeySet, SigningKey};
use switchyard_gateway_core::comebacks::Comebacks;
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::outbound::Outbound;
use switchyard_gateway_core::rate::UserRates;
use switchyard_gateway_core::session::{Context, FromRouter, Now, Session, SessionEffects, Settings};
use switchyard_gateway_core::ws::{Decoder, Opcode, Role, encode as frames};
use switchyard_schema::frame::{Accepted, Ack, ClientFrame, Hello, Send};
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, UserId};
use switchyard_schema::link::SessionRef;
use switchyard_schema::{body, encode, json, wire};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NOW: Now = Now { monotonic: Millis(1_000), unix: Millis(1_800_000_000_000) };

const COMEBACKS: Comebacks = Comebacks::new(1_000);

/// A connection with everything that its gateway keeps for it, and what its thread shares.
struct Connection {
    session: Session,
    decoder: Decoder,
    outbound: Outbound,
    keys: KeySet,
    settings: Settings,
    users: UserRates,
    out: SessionEffects,
}

fn me() -> UserId {
    UserId::new(42).unwrap()
}

fn conversation() -> ConversationId {
    ConversationId::direct(me(), UserId::new(43).unwrap())
}

impl Connection {
    fn open(form: Form) -> Self {
        let key = SigningKey::from_seed([7; 32]);
        let mut keys = KeySet::new(AUDIENCE_DEFAULT);
        keys.insert(key.kid(), key.public_key());
        let claims = Claims { user: me(), device: None, expires: NOW.unix.plus(60_000) };
        let (settings, mut out) = (Settings::default(), SessionEffects::new());
        let context = Context { now: NOW, keys: &keys, settings: &settings, comebacks: COMEBACKS };
        let name = SessionRef { gateway: 0, slot: 0, epoch: 1 };
        let session = Session::new(name, form, None, &context, &mut out);
        let (decoder, users) = (Decoder::new(Role::Server, 65536), UserRates::new(1));
        let mut connection = Self { session, decoder, outbound: Outbound::new(1 << 20), keys, settings, users, out };
        let token = key.sign(AUDIENCE_DEFAULT, &claims);
        let device = DeviceId::new(1).unwrap();
        connection.receive(&mut connection.frame(&ClientFrame::Hello(Hello { token: Some(token.into()), device })));
        connection.router(FromRouter::Attached);
        connection
    }

    /// A frame as it comes over the wire.
    fn frame(&self, frame: &ClientFrame<'_>) -> Vec<u8> {
        let (mut payload, mut bytes) = (Vec::new(), Vec::new());
        let opcode = match self.session.form() {
            Form::Binary => {
                wire::encode_client(frame, &mut payload);
                Opcode::Binary
            }
            Form::Json => {
                json::encode_client(frame, me(), &mut payload);
                Opcode::Text
            }
        };
        frames::put_masked(&mut bytes, opcode, &payload, [1, 2, 3, 4]);
        bytes
    }

    fn receive(&mut self, bytes: &mut [u8]) {
        let context = Context { now: NOW, keys: &self.keys, settings: &self.settings, comebacks: COMEBACKS };
        self.session.on_received(&context);
        let event = self.decoder.decode(bytes).unwrap().event.unwrap();
        self.session.on_event(&context, event, &mut self.users, &mut self.out);
        self.write();
    }

    fn router(&mut self, said: FromRouter<'_>) {
        let context = Context { now: NOW, keys: &self.keys, settings: &self.settings, comebacks: COMEBACKS };
        self.session.on_router(&context, said, &mut self.out);
        self.write();
    }

    /// What a driver does at the end of a turn, to a socket that takes everything.
    fn write(&mut self) {
        for frame in self.out.frames.drain(..) {
            self.outbound.push(frame).unwrap();
        }
        self.outbound.advance(self.outbound.queued_bytes());
        self.out.clear();
    }
}

/// How often memory is asked for once the shared buffers have grown, for a Send, its Accepted, an Ack and a Deliver.
fn counts(form: Form) -> [usize; 4] {
    let mut connection = Connection::open(form);
    let mut last = [0; 4];
    for number in 1..=4 {
        let client_message_id = ClientMessageId([number; 16]);
        let send = Send { client_message_id, conversation: conversation(), body: body::text("hi").into() };
        let mut send = connection.frame(&ClientFrame::Send(send));
        let (delivered, read) = (Some(Sequence(u64::from(number))), None);
        let mut ack = connection.frame(&ClientFrame::Ack(Ack { conversation: conversation(), delivered, read }));
        let message = MessageId::new(1 << 32).unwrap();
        let sequence = Sequence(u64::from(number));
        let accepted =
            Accepted { client_message_id, conversation: conversation(), message, sequence, time: message.time() };
        let (deliver, _) = encode::deliver_draft(conversation(), me(), &body::text("hi")).stamp(message, sequence);
        last = [
            allocations(|| connection.receive(&mut send)).1,
            allocations(|| connection.router(FromRouter::Accepted(accepted))).1,
            allocations(|| connection.receive(&mut ack)).1,
            allocations(|| connection.router(FromRouter::Deliver(&deliver))).1,
        ];
    }
    last
}

#[test]
fn given_a_binary_session_when_messages_flow_then_only_the_draft_and_the_answer_are_allocated() {
    assert_eq!(counts(Form::Binary), [1, 1, 0, 0]);
}

#[test]
fn given_a_json_session_when_messages_flow_then_a_deliver_is_its_own_text() {
    let [_, accepted, ack, deliver] = counts(Form::Json);
    assert_eq!([accepted, ack, deliver], [1, 0, 1]);
}

#[test]
fn given_an_open_session_when_it_is_idle_then_it_is_small() {
    assert!(size_of::<Session>() <= 96, "{}", size_of::<Session>());
    assert!(size_of::<Decoder>() <= 16, "{}", size_of::<Decoder>());
    assert!(size_of::<Outbound>() <= 48, "{}", size_of::<Outbound>());
}
