//! A client against a model of the server, on a network that breaks: whatever happens, each message reaches the
//! application once and in order, and each send is accepted once.
//!
//! The model keeps what the design promises and no more: a durable list per conversation, duplicates answered with the
//! first result, a cursor for the device, everything above it streamed after a connect. What it sends on one connection
//! arrives in order or not at all; connections end anywhere in between, the client's process too.

mod support;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use proptest::prelude::*;
use support::{device, id, user, watermark, welcome, with};
use switchyard_client_core::{Client, Config, ConnectionState, Effect, Event, Message, Restored, StoreOp};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{
    Accepted, ClientFrame, Deliver, ErrorFrame, Fetch, FetchRange, Page, Receipt, Regarding, ServerFrame, Welcome,
};
use switchyard_schema::ids::{ClientMessageId, ConversationId, MessageId, Millis, Sequence};

const PEERS: [u64; 2] = [2, 3];
const STEPS_AFTER: usize = 20_000;

/// One thing that happens to the client.
#[derive(Clone, Debug)]
enum Step {
    /// The application sends.
    Send(usize),
    /// A peer sends.
    PeerSends(usize),
    /// One frame reaches the server.
    Up,
    /// One frame reaches the client.
    Down,
    /// The connection breaks; what was on its way is lost.
    Break,
    /// The process dies; only the store is left.
    Crash,
    /// The server refuses the next send for now.
    Busy,
    /// The stream leaves out what it should send next: the client must notice.
    Skip,
    /// Time passes.
    Pass(u64),
    /// The application takes a message.
    Take,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..PEERS.len()).prop_map(Step::Send),
        6 => (0..PEERS.len()).prop_map(Step::PeerSends),
        12 => Just(Step::Up),
        12 => Just(Step::Down),
        2 => Just(Step::Break),
        1 => Just(Step::Crash),
        1 => Just(Step::Busy),
        1 => Just(Step::Skip),
        6 => (1..400_u64).prop_map(Step::Pass),
        4 => Just(Step::Take),
    ]
}

#[derive(Default)]
struct Conversation {
    messages: Vec<Deliver<'static>>,
    /// This device's cursor.
    delivered: u64,
    /// Everything up to here was sent on this connection.
    sent: u64,
}

#[derive(Default)]
struct Server {
    conversations: BTreeMap<ConversationId, Conversation>,
    first_results: HashMap<ClientMessageId, Accepted>,
    busy: bool,
    down: VecDeque<ServerFrame<'static>>,
}

impl Server {
    fn append(&mut self, conversation: ConversationId, sender: u64, origin: Option<ClientMessageId>) -> u64 {
        let messages = &mut self.conversations.entry(conversation).or_default().messages;
        let sequence = messages.len() as u64 + 1;
        messages.push(Deliver {
            conversation,
            message: MessageId::new(sequence).unwrap(),
            sequence: Sequence(sequence),
            sender: user(sender),
            time: Millis(sequence),
            origin: origin.map(|id| (device(1), id)),
            body: Cow::Borrowed(b"m"),
        });
        sequence
    }

    /// Sends what the device lacks.
    fn stream(&mut self) {
        for conversation in self.conversations.values_mut() {
            let lacking = &conversation.messages[usize::try_from(conversation.sent).unwrap()..];
            self.down.extend(lacking.iter().cloned().map(ServerFrame::Deliver));
            conversation.sent = conversation.messages.len() as u64;
        }
    }

    /// A message is never sent though the server believes so, and the next one shows that it is missing.
    fn skip(&mut self, id: ConversationId) {
        self.stream();
        let missing = self.append(id, PEERS[0], None);
        self.append(id, PEERS[0], None);
        self.conversations.get_mut(&id).unwrap().sent = missing;
        self.stream();
    }

    fn connect(&mut self) {
        self.down.clear();
        for conversation in self.conversations.values_mut() {
            conversation.sent = conversation.delivered;
        }
    }

    fn on_frame(&mut self, frame: ClientFrame<'static>) {
        match frame {
            ClientFrame::Hello(_) => {
                self.down.push_back(ServerFrame::Welcome(Welcome { max_pending_sends: 4, ..welcome() }));
                self.stream();
            }
            ClientFrame::Send(send) => self.on_send(send.client_message_id, send.conversation),
            ClientFrame::Ack(ack) => {
                let conversation = self.conversations.entry(ack.conversation).or_default();
                let delivered = ack.delivered.unwrap().0.min(conversation.sent);
                conversation.delivered = conversation.delivered.max(delivered);
                let own = watermark(1, conversation.delivered, 0);
                self.down.push_back(ServerFrame::Receipt(Receipt { conversation: ack.conversation, watermark: own }));
            }
            ClientFrame::Fetch(fetch) => self.on_fetch(&fetch),
            _ => {}
        }
    }

    fn on_send(&mut self, client_message_id: ClientMessageId, conversation: ConversationId) {
        if std::mem::take(&mut self.busy) {
            self.down.push_back(ServerFrame::Error(ErrorFrame {
                code: ErrorCode::Overloaded,
                reason: "".into(),
                retry_after_ms: Some(20),
                regarding: Regarding::Send(client_message_id),
            }));
            return;
        }
        let accepted = match self.first_results.get(&client_message_id) {
            Some(&first) => first,
            None => {
                let sequence = self.append(conversation, 1, Some(client_message_id));
                let known = self.conversations.get_mut(&conversation).unwrap();
                if known.sent + 1 == sequence {
                    known.sent = sequence;
                    if known.delivered + 1 == sequence {
                        known.delivered = sequence;
                    }
                }
                let message = MessageId::new(sequence).unwrap();
                Accepted { client_message_id, conversation, message, sequence: Sequence(sequence), time: Millis(1) }
            }
        };
        self.first_results.insert(client_message_id, accepted);
        self.down.push_back(ServerFrame::Accepted(accepted));
    }

    fn on_fetch(&mut self, fetch: &Fetch) {
        let FetchRange::After(after) = fetch.range else { panic!("a repair asks for what comes after") };
        let known = self.conversations.entry(fetch.conversation).or_default();
        let above = known.messages.iter().filter(|message| message.sequence > after).cloned();
        // Small pages, so that repairs take several.
        let limit = usize::try_from(fetch.limit).unwrap().min(3);
        let messages: Vec<_> = above.clone().take(limit).collect();
        let more = above.count() > messages.len();
        self.down.push_back(ServerFrame::Page(Page {
            request: fetch.request,
            conversation: fetch.conversation,
            messages,
            void: Vec::new(),
            watermarks: vec![watermark(1, known.delivered, 0)],
            more,
        }));
    }
}

/// What survives the client's process.
#[derive(Default, Clone)]
struct Disk(Restored);

impl Disk {
    fn perform(&mut self, operation: StoreOp) {
        let kept = &mut self.0;
        match operation {
            StoreOp::PutUser(user) => kept.user = Some(user),
            StoreOp::PutConversation(row) => {
                kept.conversations.retain(|other| other.conversation != row.conversation);
                kept.conversations.push(row);
            }
            StoreOp::PutWatermark(conversation, told) => {
                kept.watermarks.retain(|(other, known)| (*other, known.member) != (conversation, told.member));
                kept.watermarks.push((conversation, told));
            }
            StoreOp::PutOutbox(row) => kept.outbox.push(row),
            StoreOp::DropOutbox(id) => kept.outbox.retain(|row| row.client_message_id != id),
            StoreOp::PutInbox(message) => kept.inbox.push(message),
            StoreOp::DropInbox(conversation, sequence) => {
                kept.inbox.retain(|message| (message.conversation, message.sequence) != (conversation, sequence));
            }
        }
    }
}

struct World {
    client: Client,
    now: Millis,
    disk: Disk,
    server: Server,
    /// Frames on their way to the server; `None` when there is no connection.
    up: Option<VecDeque<ClientFrame<'static>>>,
    /// Messages given to the application by this process and not taken.
    given: VecDeque<Message>,
    /// What the application has taken, over all processes.
    taken: BTreeMap<ConversationId, Vec<u64>>,
    accepted: HashMap<ClientMessageId, u64>,
    sent: Vec<(ClientMessageId, ConversationId)>,
    effects: Vec<Effect>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            client: Client::new(Config::new(device(1)), 3, Restored::default()),
            now: Millis(1),
            disk: Disk::default(),
            server: Server::default(),
            up: None,
            given: VecDeque::new(),
            taken: BTreeMap::new(),
            accepted: HashMap::new(),
            sent: Vec::new(),
            effects: Vec::new(),
        };
        world.client.start(world.now, &mut world.effects);
        world.perform();
        world
    }

    fn perform(&mut self) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Store(operation) => self.disk.perform(operation),
                    Effect::Connect => {
                        self.server.connect();
                        self.up = Some(VecDeque::new());
                        self.client.handle_opened(self.now, &mut self.effects);
                    }
                    Effect::Transmit(frame) => {
                        if let Some(up) = &mut self.up {
                            up.push_back(frame);
                        }
                    }
                    Effect::Disconnect => self.cut(),
                    Effect::RequestToken => {
                        self.client.handle_token(self.now, "token".to_owned(), None, &mut self.effects);
                    }
                    Effect::Event(Event::MessageReceived(message)) => self.given.push_back(message),
                    Effect::Event(Event::MessageAccepted(accepted)) => {
                        let earlier = self.accepted.insert(accepted.client_message_id, accepted.sequence.0);
                        assert_eq!(earlier, None, "accepted twice");
                    }
                    Effect::Event(Event::SendFailed(failed)) => panic!("{failed:?}"),
                    Effect::Event(_) => {}
                }
            }
        }
    }

    fn is_connected(&self) -> bool {
        self.client.state() == ConnectionState::Connected
    }

    fn cut(&mut self) {
        self.up = None;
        self.server.down.clear();
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Send(peer) => {
                let name = id(self.sent.len() as u64 + 1);
                let conversation = with(PEERS[peer]);
                self.sent.push((name, conversation));
                self.client.send(self.now, name, conversation, Bytes::from_static(b"m"), &mut self.effects).unwrap();
            }
            Step::PeerSends(peer) => {
                self.server.append(with(PEERS[peer]), PEERS[peer], None);
                if self.is_connected() {
                    self.server.stream();
                }
            }
            Step::Up => {
                if let Some(frame) = self.up.as_mut().and_then(VecDeque::pop_front) {
                    self.server.on_frame(frame);
                }
            }
            Step::Down => {
                if let Some(frame) = self.server.down.pop_front() {
                    self.client.handle_frame(self.now, &frame, &mut self.effects);
                }
            }
            Step::Break => {
                if self.up.is_some() {
                    self.cut();
                    self.client.handle_closed(self.now, &mut self.effects);
                }
            }
            Step::Crash => {
                self.cut();
                self.given.clear();
                self.client = Client::new(Config::new(device(1)), self.now.0, self.disk.0.clone());
                self.client.start(self.now, &mut self.effects);
            }
            Step::Busy => self.server.busy = true,
            Step::Skip => {
                // A device that has nothing yet could not see that something is missing.
                let started = self.disk.0.conversations.iter().find(|row| row.delivered.is_some());
                if let Some(row) = started.filter(|_| self.is_connected()) {
                    self.server.skip(row.conversation);
                }
            }
            Step::Pass(millis) => self.now = self.now.plus(millis),
            Step::Take => {
                if let Some(message) = self.given.pop_front() {
                    self.taken.entry(message.conversation).or_default().push(message.sequence.0);
                    self.client.taken(self.now, message.conversation, message.sequence, &mut self.effects);
                }
            }
        }
        if self.client.next_timeout().is_some_and(|due| due <= self.now) {
            self.client.handle_timeout(self.now, &mut self.effects);
        }
        self.perform();
    }

    /// Whether everything that was sent has arrived where it belongs.
    fn is_done(&self) -> bool {
        let arrived = |(id, conversation): (&ConversationId, &Conversation)| {
            let foreign = conversation.messages.iter().filter(|message| message.sender != user(1)).count();
            self.taken.get(id).map_or(0, Vec::len) == foreign
        };
        self.accepted.len() == self.sent.len() && self.server.conversations.iter().all(arrived)
    }

    /// Lets a healthy network finish the work.
    fn finish(&mut self) {
        for _ in 0..STEPS_AFTER {
            if self.is_done() {
                return;
            }
            for step in [Step::Up, Step::Down, Step::Take] {
                self.step(&step);
            }
            let quiet = self.up.as_ref().is_none_or(VecDeque::is_empty) && self.server.down.is_empty();
            if quiet && let Some(due) = self.client.next_timeout() {
                self.step(&Step::Pass(due.since(self.now).max(1)));
            }
        }
        panic!(
            "not done: {} of {} accepted, taken {:?}",
            self.accepted.len(),
            self.sent.len(),
            self.taken.iter().map(|(id, taken)| (id, taken.len())).collect::<Vec<_>>()
        );
    }

    fn check(&self) {
        for (id, conversation) in &self.server.conversations {
            let foreign = conversation.messages.iter().filter(|message| message.sender != user(1));
            let expected: Vec<u64> = foreign.map(|message| message.sequence.0).collect();
            let taken = self.taken.get(id).cloned().unwrap_or_default();
            assert_eq!(taken, expected, "each message of {id} once and in order");
            let sent = self.sent.iter().filter(|(_, to)| to == id).map(|(name, _)| *name);
            let own = conversation.messages.iter().filter_map(|message| message.origin.map(|(_, name)| name));
            assert!(sent.eq(own), "each send to {id} accepted once and in order");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn given_a_network_that_breaks_when_it_heals_then_everything_arrived_once_and_in_order(
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.finish();
        world.check();
    }
}
