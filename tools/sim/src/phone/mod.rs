//! A phone: the real client with a store, a connection and a person.

mod flash;
mod witness;

use std::collections::VecDeque;

use bytes::Bytes;
use switchyard_client_core::{Client, Config, ConnectionState, Effect, Event as Told, Message, StopReason};
use switchyard_gateway_core::auth::{AUDIENCE_DEFAULT, Claims, SigningKey};
use switchyard_gateway_core::ws::encode::put_masked;
use switchyard_gateway_core::ws::{Decoder, Event as WsEvent, Opcode, Role};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{ClientFrame, FetchRange, ServerFrame};
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, Millis, Sequence, UserId};
use switchyard_schema::limits::SERVER_FRAME_BYTES_MAX;
use switchyard_schema::{body, wire};

use crate::agenda::{Event, Turn};
use crate::network::{ConnectionId, Network};
use crate::random::Random;
use crate::shared::Shared;
use crate::tell;
use crate::truth::Sent;

use flash::Flash;
pub(crate) use witness::Witness;

/// Messages that a person leaves unsent before they stop typing.
const OUTBOX_MAX: usize = 40;

/// One device of one user.
#[derive(Debug)]
pub(crate) struct Phone {
    index: usize,
    pub(crate) name: String,
    pub(crate) user: UserId,
    pub(crate) device: DeviceId,
    client: Client,
    pub(crate) flash: Flash,
    effects: Vec<Effect>,
    connection: Option<ConnectionId>,
    decoder: Decoder,
    encoder: wire::Encoder,
    given: VecDeque<Message>,
    pub(crate) witness: Witness,
    turn: Turn,
    random: Random,
    sends_left: u64,
    sends: u64,
    starts: u64,
    /// Switched off until then.
    pub(crate) off_until_us: u64,
    pub(crate) not_reading_until_us: u64,
    /// Pages that the person asked for and has not got: conversation and how far they are.
    audit: VecDeque<(ConversationId, Sequence)>,
    auditing: Option<u64>,
}

impl Phone {
    pub(crate) fn new(shared: &mut Shared, index: usize, user: UserId, device: DeviceId) -> Self {
        let mut random = shared.random.fork();
        let client = Client::new(config(shared, device), random.word(), switchyard_client_core::Restored::default());
        Self {
            index,
            name: format!("phone {index} (user {user}, device {device})"),
            user,
            device,
            client,
            flash: Flash::default(),
            effects: Vec::new(),
            connection: None,
            decoder: decoder(),
            encoder: wire::Encoder::new(),
            given: VecDeque::new(),
            witness: Witness::new(user),
            turn: Turn::default(),
            sends_left: shared.plan.sends_per_device,
            sends: 0,
            starts: 0,
            random,
            off_until_us: 0,
            not_reading_until_us: 0,
            audit: VecDeque::new(),
            auditing: None,
        }
    }

    fn now(&self, shared: &Shared) -> Millis {
        // Each phone has a clock of its own that began at another time.
        Millis(shared.agenda.monotonic().0 + 1_000_000 * self.index as u64)
    }

    /// The application starts, with what the phone has kept.
    pub(crate) fn start(&mut self, shared: &mut Shared, network: &mut Network) {
        self.hang_up(shared, network);
        self.given.clear();
        self.witness.on_start();
        self.auditing = None;
        self.starts += 1;
        self.client = Client::new(config(shared, self.device), self.random.word(), self.flash.restore());
        let now = self.now(shared);
        self.client.start(now, &mut self.effects);
        self.perform(shared, network);
    }

    /// The application is killed.
    pub(crate) fn kill(&mut self, shared: &mut Shared, network: &mut Network) {
        tell!(shared, "{} is killed", self.name);
        self.effects.clear();
        self.start(shared, network);
    }

    /// The phone has no power until then.
    pub(crate) fn switch_off(&mut self, shared: &mut Shared, network: &mut Network, until_us: u64) {
        self.effects.clear();
        self.client.close(self.now(shared), &mut Vec::new());
        self.hang_up(shared, network);
        self.off_until_us = until_us;
    }

    pub(crate) const fn index(&self) -> usize {
        self.index
    }

    fn hang_up(&mut self, shared: &mut Shared, network: &mut Network) {
        if let Some(id) = self.connection.take() {
            network.close(shared, id, true);
        }
    }

    /// Its timers are looked at.
    pub(crate) fn on_time(&mut self, shared: &mut Shared, network: &mut Network) {
        if !self.turn.begin(&shared.agenda) {
            return;
        }
        let now = self.now(shared);
        if self.client.next_timeout().is_some_and(|due| due <= now) {
            self.client.handle_timeout(now, &mut self.effects);
        }
        self.perform(shared, network);
    }

    /// The token it asked for is there.
    pub(crate) fn on_token(&mut self, shared: &mut Shared, network: &mut Network, key: &SigningKey, start: u64) {
        if start != self.starts {
            return;
        }
        let life_ms = shared.plan.token_ms;
        let expires = shared.agenda.wall().plus(life_ms);
        let token = key.sign(AUDIENCE_DEFAULT, &Claims { user: self.user, device: Some(self.device), expires });
        tell!(shared, "{} gets a token until {}", self.name, expires.0 / 1000);
        let now = self.now(shared);
        self.client.handle_token(now, token, Some(life_ms), &mut self.effects);
        self.perform(shared, network);
    }

    /// The connection it asked for is open, or was refused.
    pub(crate) fn on_opened(&mut self, shared: &mut Shared, network: &mut Network, id: ConnectionId, open: bool) {
        if self.connection != Some(id) {
            return;
        }
        let now = self.now(shared);
        if open {
            self.witness.on_connect(shared.truth.cursors(self.user, self.device));
            self.client.handle_opened(now, &mut self.effects);
        } else {
            self.connection = None;
            self.client.handle_closed(now, &mut self.effects);
        }
        self.perform(shared, network);
    }

    /// Something may have arrived.
    pub(crate) fn on_readable(&mut self, shared: &mut Shared, network: &mut Network) {
        let Some(id) = self.connection else { return };
        let reads = shared.agenda.now_us() >= self.not_reading_until_us;
        self.client.handle_listening(self.now(shared), reads);
        if !reads {
            return self.perform(shared, network);
        }
        let mut bytes = network.read(id, false, usize::MAX);
        if !bytes.is_empty() {
            // As in the SDK: part of a frame is a sign of life too, and a large one takes longer than a heartbeat.
            self.client.handle_received(self.now(shared));
        }
        let mut input = &mut bytes[..];
        while !input.is_empty() && self.connection == Some(id) {
            let Ok(step) = self.decoder.decode(input) else {
                shared.truth.fail(format!("{}: the server breaks RFC 6455", self.name));
                return;
            };
            let consumed = step.consumed;
            let Some(event) = step.event else { break };
            let now = Millis(shared.agenda.monotonic().0 + 1_000_000 * self.index as u64);
            match event {
                WsEvent::Binary(payload) => {
                    let frame = match wire::parse_server(&payload) {
                        Ok(frame) => frame,
                        Err(error) => {
                            shared.truth.fail(format!("{}: a frame cannot be parsed: {error}", self.name));
                            return;
                        }
                    };
                    tell!(shared, "{} gets {}", self.name, Short(&frame));
                    if let ServerFrame::Error(error) = &frame
                        && error.code == ErrorCode::ShardDamaged
                    {
                        shared.trouble.damage_shown += 1;
                    }
                    self.witness.on_frame(&mut shared.truth, &self.name, &frame, self.auditing);
                    self.client.handle_frame(now, &frame, &mut self.effects);
                }
                WsEvent::Ping(payload) => {
                    let mut frame = Vec::new();
                    put_masked(&mut frame, Opcode::Pong, &payload, [7; 4]);
                    network.send(shared, id, true, Bytes::from(frame));
                }
                WsEvent::Close { .. } => {
                    self.connection = None;
                    network.close(shared, id, true);
                    self.client.handle_closed(now, &mut self.effects);
                }
                WsEvent::Text(_) | WsEvent::Pong(_) => {}
            }
            input = &mut std::mem::take(&mut input)[consumed..];
            self.perform(shared, network);
        }
        if self.connection == Some(id) && network.get(id).down.ended {
            self.connection = None;
            network.close(shared, id, true);
            let now = self.now(shared);
            self.client.handle_closed(now, &mut self.effects);
            self.perform(shared, network);
        }
    }

    /// The person does something.
    pub(crate) fn on_person(&mut self, shared: &mut Shared, network: &mut Network) {
        let now_us = shared.agenda.now_us();
        if now_us >= self.off_until_us {
            match self.client.state() {
                // The person opens the application again, whatever it stopped for.
                ConnectionState::Stopped(reason) => {
                    self.on_stopped(shared, reason);
                    self.start(shared, network);
                }
                ConnectionState::Disconnected if self.starts == 0 => self.start(shared, network),
                _ => {}
            }
            self.take(shared, network);
            self.do_something(shared, network);
        }
        self.on_readable(shared, network);
        let us = 1 + self.random.around(shared.plan.person_ms * 1000);
        shared.agenda.after(us, Event::Person(self.index));
    }

    fn on_stopped(&self, shared: &mut Shared, reason: StopReason) {
        tell!(shared, "{} had stopped: {reason:?}", self.name);
        if !matches!(reason, StopReason::Closed | StopReason::Replaced) && shared.trouble.damaged == 0 {
            shared.truth.fail(format!("{} gave up: {reason:?}", self.name));
        }
    }

    fn take(&mut self, shared: &mut Shared, network: &mut Network) {
        let now = self.now(shared);
        let count = self.random.index(self.given.len() + 1).max(self.given.len().min(1));
        for message in self.given.drain(..count).collect::<Vec<_>>() {
            self.witness.on_taken(message.conversation, message.sequence);
            self.client.taken(now, message.conversation, message.sequence, &mut self.effects);
            if self.random.chance(300) {
                self.client.mark_read(now, message.conversation, message.sequence, &mut self.effects);
            }
        }
        self.perform(shared, network);
    }

    fn do_something(&mut self, shared: &mut Shared, network: &mut Network) {
        let now = self.now(shared);
        match self.random.below(100) {
            0..60 if !shared.calm && self.sends_left > 0 && self.client.outbox_len() < OUTBOX_MAX => {
                self.send(shared, now);
            }
            60..66 if !shared.calm => {
                if let Some(row) = self.some_conversation() {
                    let (id, around) = (row.0, Sequence(self.random.below(row.1.0 + 2)));
                    let range =
                        if self.random.chance(500) { FetchRange::After(around) } else { FetchRange::Before(around) };
                    let limit = u32::try_from(self.random.below(101)).expect("small");
                    let _ = self.client.fetch(now, id, range, limit, &mut self.effects);
                }
            }
            66..68 if !shared.calm => {
                tell!(shared, "{} is closed by its person", self.name);
                self.client.close(now, &mut self.effects);
            }
            _ => {}
        }
        self.perform(shared, network);
    }

    fn some_conversation(&mut self) -> Option<(ConversationId, Sequence)> {
        let known: Vec<_> = self.flash.conversations().map(|row| (row.conversation, row.own_head)).collect();
        let (id, own_head) = *known.get(self.random.index(known.len().max(1)))?;
        let taken = self.witness.taken.get(&id).and_then(|taken| taken.last().copied()).unwrap_or_default();
        let head = own_head.max(taken);
        (head > Sequence::ZERO).then_some((id, head))
    }

    fn send(&mut self, shared: &mut Shared, now: Millis) {
        let peer = UserId::new(self.random.between(1, shared.plan.users)).expect("not zero");
        let conversation = ConversationId::direct(self.user, peer);
        self.sends += 1;
        let id = ClientMessageId::from_words(self.index as u64 + 1, self.sends);
        let length = self.random.below(shared.plan.text_chars_max + 1);
        let text = format!("{id} {}", "~".repeat(usize::try_from(length).expect("small")));
        let text = text.chars().take(4_000).collect::<String>();
        let body = Bytes::from(body::text(&text));
        let sent = Sent { conversation, sender: self.user, phone: self.index, body: body.clone(), accepted: false };
        if self.client.send(now, id, conversation, body, &mut self.effects).is_ok() {
            self.sends_left -= 1;
            tell!(shared, "{} sends {id} to {conversation}", self.name);
            shared.truth.on_send(id, sent);
        }
    }

    /// Carries out what the client asks for.
    fn perform(&mut self, shared: &mut Shared, network: &mut Network) {
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Store(operation) => self.flash.apply(operation),
                Effect::Connect => {
                    let gateway = self.random.index(usize::from(shared.plan.gateways));
                    let id = network.open(self.index, gateway, shared.life);
                    self.connection = Some(id);
                    self.decoder = decoder();
                    let us = 2 * shared.plan.network.draw(&mut self.random);
                    shared.agenda.after(us, Event::Opened(id));
                }
                Effect::Transmit(frame) => self.transmit(shared, network, &frame),
                Effect::Disconnect => self.hang_up(shared, network),
                Effect::RequestToken => {
                    let us = shared.plan.network.draw(&mut self.random) * 2;
                    shared.agenda.after(us, Event::Token { phone: self.index, start: self.starts });
                }
                Effect::Event(told) => self.on_told(shared, told),
            }
        }
        self.continue_audit(shared, network);
        if let Some(due) = self.client.next_timeout() {
            let wait_ms = due.since(self.now(shared));
            let at_us = shared.agenda.now_us().saturating_add(wait_ms.saturating_mul(1000));
            self.turn.ask(&mut shared.agenda, at_us, Event::Phone(self.index));
        }
    }

    fn transmit(&mut self, shared: &mut Shared, network: &mut Network, frame: &ClientFrame<'_>) {
        let Some(id) = self.connection else { return };
        if let ClientFrame::Hello(_) = frame {
            shared.truth.on_hello(self.user, self.device);
        }
        if let ClientFrame::Ack(ack) = frame {
            let (delivered, read) = (ack.delivered.unwrap_or_default(), ack.read.unwrap_or_default());
            shared.truth.on_ack(self.user, ack.conversation, delivered, read);
            tell!(shared, "{} acks {} {}/{}", self.name, ack.conversation, delivered.0, read.0);
        }
        let key = self.random.word().to_le_bytes();
        let mut bytes = Vec::new();
        put_masked(&mut bytes, Opcode::Binary, self.encoder.client(frame), [key[0], key[1], key[2], key[3]]);
        network.send(shared, id, true, Bytes::from(bytes));
    }

    fn on_told(&mut self, shared: &mut Shared, told: Told) {
        let truth = &mut shared.truth;
        match told {
            Told::MessageReceived(message) => {
                self.witness.on_given(truth, &self.name, message.conversation, message.sequence);
                self.given.push_back(message);
            }
            Told::MessageAccepted(accepted) => truth.on_told(accepted.client_message_id),
            Told::SendFailed(failed) => {
                truth.fail(format!("{}: {} failed for good: {:?}", self.name, failed.client_message_id, failed.code));
            }
            Told::MessagesMissing { conversation, range } => {
                truth.fail(format!("{}: {conversation} is said to have lost {range:?}", self.name));
            }
            Told::Page(page) => {
                if self.auditing == Some(page.request) {
                    self.auditing = None;
                    let (_, done) = self.audit.front_mut().expect("a page answers what is first");
                    *done = page.messages.last().map_or(*done, |message| message.sequence);
                    if !page.more {
                        self.audit.pop_front();
                    }
                }
            }
            Told::HistoryLost { conversation, sequence } => {
                truth.fail(format!("{}: {conversation} {} names two messages", self.name, sequence.0));
            }
            Told::FetchFailed { code, .. } => truth.fail(format!("{}: a fetch failed for good: {code:?}", self.name)),
            Told::StateChanged(_) | Told::ReceiptChanged { .. } | Told::DeliveryStalled | Told::ServerError { .. } => {}
        }
    }

    /// The person reads everything from the beginning; what the pages show is checked as any page is.
    pub(crate) fn begin_audit(&mut self, conversations: impl Iterator<Item = ConversationId>) {
        self.audit = conversations.map(|id| (id, Sequence::ZERO)).collect();
    }

    fn continue_audit(&mut self, shared: &mut Shared, network: &mut Network) {
        if self.auditing.is_some() {
            return;
        }
        let Some(&(conversation, after)) = self.audit.front() else { return };
        let now = self.now(shared);
        let range = FetchRange::After(after);
        if let Ok(request) = self.client.fetch(now, conversation, range, 100, &mut self.effects) {
            self.auditing = Some(request);
            self.perform(shared, network);
        }
    }

    pub(crate) fn has_audited(&self) -> bool {
        self.audit.is_empty()
    }

    /// Whether nothing waits to be sent or taken.
    pub(crate) fn is_quiet(&self) -> bool {
        self.client.state() == ConnectionState::Connected && self.client.outbox_len() == 0 && self.given.is_empty()
    }

    pub(crate) fn state(&self) -> String {
        let (state, unsent, untaken) = (self.client.state(), self.client.outbox_len(), self.given.len());
        format!("{}: {state:?}, {unsent} unsent, {untaken} untaken", self.name)
    }
}

fn config(shared: &Shared, device: DeviceId) -> Config {
    Config { sends_in_flight_per_conversation: shared.plan.sends_in_flight, ..Config::new(device) }
}

const fn decoder() -> Decoder {
    Decoder::new(Role::Client, SERVER_FRAME_BYTES_MAX)
}

/// A frame in a few words.
struct Short<'a>(&'a ServerFrame<'a>);

impl std::fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ServerFrame::Accepted(accepted) => {
                let (id, conversation) = (accepted.client_message_id, accepted.conversation);
                write!(f, "accepted {id} as {conversation} {}", accepted.sequence.0)
            }
            ServerFrame::Deliver(deliver) => write!(f, "{} {}", deliver.conversation, deliver.sequence.0),
            ServerFrame::Receipt(receipt) => {
                let told = receipt.watermark;
                let (delivered, read) = (told.delivered.0, told.read.0);
                write!(f, "a receipt of {} {}: {delivered}/{read}", receipt.conversation, told.member)
            }
            ServerFrame::Page(page) => {
                write!(f, "a page of {} with {} messages", page.conversation, page.messages.len())
            }
            ServerFrame::Error(error) => write!(f, "error {} about {:?}", error.code.name(), error.regarding),
            other => write!(f, "{other:?}"),
        }
    }
}
