//! A client under test with its clock, and short ways to say what a server sends.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::borrow::Cow;

use bytes::Bytes;
use switchyard_client_core::{Client, Config, Effect, Event, Restored, StoreOp, Wait};
use switchyard_schema::NewerError;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{
    Accepted, Ack, ClientFrame, Deliver, ErrorFrame, Fetch, Page, Receipt, Regarding, ServerFrame, Watermark, Welcome,
};
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, UserId};

pub(crate) const HEARTBEAT_MS: u32 = 30_000;

pub(crate) fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

pub(crate) fn device(number: u64) -> DeviceId {
    DeviceId::new(number).unwrap()
}

pub(crate) fn with(peer: u64) -> ConversationId {
    ConversationId::direct(user(1), user(peer))
}

pub(crate) fn id(number: u64) -> ClientMessageId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    ClientMessageId(bytes)
}

pub(crate) fn welcome() -> Welcome {
    Welcome {
        user: user(1),
        device: device(1),
        heartbeat_ms: HEARTBEAT_MS,
        max_frame_bytes: 65_536,
        delivery_window: 256,
        max_pending_sends: 256,
        time: Millis(0),
    }
}

pub(crate) fn deliver(conversation: ConversationId, sequence: u64, sender: u64) -> Deliver<'static> {
    Deliver {
        conversation,
        message: MessageId::new(1_000 + sequence).unwrap(),
        sequence: Sequence(sequence),
        sender: user(sender),
        time: Millis(sequence),
        origin: None,
        body: Cow::Owned(vec![1]),
    }
}

pub(crate) fn accepted(number: u64, conversation: ConversationId, sequence: u64) -> ServerFrame<'static> {
    ServerFrame::Accepted(Accepted {
        client_message_id: id(number),
        conversation,
        message: MessageId::new(1_000 + sequence).unwrap(),
        sequence: Sequence(sequence),
        time: Millis(sequence),
    })
}

pub(crate) fn watermark(member: u64, delivered: u64, read: u64) -> Watermark {
    Watermark { member: user(member), delivered: Sequence(delivered), read: Sequence(read) }
}

pub(crate) fn receipt(conversation: ConversationId, member: u64, delivered: u64, read: u64) -> ServerFrame<'static> {
    ServerFrame::Receipt(Receipt { conversation, watermark: watermark(member, delivered, read) })
}

pub(crate) fn page(fetch: &Fetch, messages: Vec<Deliver<'static>>, more: bool) -> Page<'static> {
    Page {
        request: fetch.request,
        conversation: fetch.conversation,
        messages,
        void: Vec::new(),
        watermarks: Vec::new(),
        more,
    }
}

pub(crate) fn refusal(code: ErrorCode, regarding: Regarding, retry_after_ms: Option<u32>) -> ServerFrame<'static> {
    ServerFrame::Error(ErrorFrame { code, reason: code.reason().into(), retry_after_ms, regarding })
}

/// What the client asked for since it was last looked at.
#[derive(Default, Debug)]
pub(crate) struct Seen {
    pub(crate) stores: Vec<StoreOp>,
    pub(crate) frames: Vec<ClientFrame<'static>>,
    pub(crate) events: Vec<Event>,
    pub(crate) connects: usize,
    pub(crate) disconnects: usize,
    pub(crate) token_requests: usize,
}

impl Seen {
    pub(crate) fn sends(&self) -> Vec<ClientMessageId> {
        let send = |frame: &ClientFrame<'_>| match frame {
            ClientFrame::Send(send) => Some(send.client_message_id),
            _ => None,
        };
        self.frames.iter().filter_map(send).collect()
    }

    pub(crate) fn acks(&self) -> Vec<Ack> {
        self.frames
            .iter()
            .filter_map(|frame| if let ClientFrame::Ack(ack) = frame { Some(*ack) } else { None })
            .collect()
    }

    pub(crate) fn fetches(&self) -> Vec<Fetch> {
        let fetch = |frame: &ClientFrame<'_>| match frame {
            ClientFrame::Fetch(fetch) => Some(*fetch),
            _ => None,
        };
        self.frames.iter().filter_map(fetch).collect()
    }

    pub(crate) fn received(&self) -> Vec<(ConversationId, u64)> {
        let received = |event: &Event| match event {
            Event::MessageReceived(message) => Some((message.conversation, message.sequence.0)),
            _ => None,
        };
        self.events.iter().filter_map(received).collect()
    }
}

/// A client under test.
pub(crate) struct Bench {
    pub(crate) client: Client,
    pub(crate) now: Millis,
    effects: Vec<Effect>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::restored(Restored::default())
    }

    pub(crate) fn restored(restored: Restored) -> Self {
        Self::with_config(Config::new(device(1)), restored)
    }

    pub(crate) fn with_config(config: Config, restored: Restored) -> Self {
        Self { client: Client::new(config, 7, restored), now: Millis(1_000), effects: Vec::new() }
    }

    /// A client that has been welcomed; what led there is not looked at.
    pub(crate) fn connected() -> Self {
        let mut bench = Self::new();
        bench.connect();
        bench.seen();
        bench
    }

    pub(crate) fn connect(&mut self) {
        self.client.start(self.now, &mut self.effects);
        self.token("token");
        self.open();
    }

    pub(crate) fn open(&mut self) {
        self.client.handle_opened(self.now, &mut self.effects);
        self.frame(ServerFrame::Welcome(welcome()));
    }

    pub(crate) fn start(&mut self) {
        self.client.start(self.now, &mut self.effects);
    }

    pub(crate) fn opened(&mut self) {
        self.client.handle_opened(self.now, &mut self.effects);
    }

    pub(crate) fn token(&mut self, token: &str) {
        self.client.handle_token(self.now, token.to_owned(), None, &mut self.effects);
    }

    pub(crate) fn token_for(&mut self, token: &str, valid_for_ms: u64) {
        self.client.handle_token(self.now, token.to_owned(), Some(valid_for_ms), &mut self.effects);
    }

    pub(crate) fn no_token(&mut self, for_good: bool) {
        self.client.handle_token_failed(self.now, for_good, &mut self.effects);
    }

    pub(crate) fn frame(&mut self, frame: ServerFrame<'_>) {
        self.client.handle_frame(self.now, &frame, &mut self.effects);
    }

    pub(crate) fn newer_error(&mut self, error: &NewerError) {
        self.client.handle_newer_error(self.now, error, &mut self.effects);
    }

    pub(crate) fn deliver(&mut self, deliver: Deliver<'_>) {
        self.frame(ServerFrame::Deliver(deliver));
    }

    pub(crate) fn put_off(&mut self, wait: Wait) {
        self.client.handle_put_off(self.now, wait, &mut self.effects);
    }

    pub(crate) fn lose(&mut self) {
        self.client.handle_closed(self.now, &mut self.effects);
    }

    pub(crate) fn send(&mut self, number: u64, conversation: ConversationId) {
        let body = Bytes::from_static(b"body");
        self.client.send(self.now, id(number), conversation, body, &mut self.effects).unwrap();
    }

    pub(crate) fn read(&mut self, conversation: ConversationId, sequence: u64) {
        self.client.mark_read(self.now, conversation, Sequence(sequence), &mut self.effects);
    }

    pub(crate) fn take(&mut self, conversation: ConversationId, sequence: u64) {
        self.client.taken(self.now, conversation, Sequence(sequence), &mut self.effects);
    }

    pub(crate) fn close(&mut self) {
        self.client.close(self.now, &mut self.effects);
    }

    /// Lets time pass, doing what is due on the way.
    pub(crate) fn pass(&mut self, millis: u64) {
        let end = self.now.plus(millis);
        while let Some(due) = self.client.next_timeout().filter(|&due| due <= end) {
            self.now = self.now.max(due);
            self.client.handle_timeout(self.now, &mut self.effects);
        }
        self.now = end;
    }

    /// Loses the connection and comes back when the client wants to.
    pub(crate) fn reconnect(&mut self) {
        self.lose();
        self.come_back();
    }

    /// Waits for the next attempt and lets it succeed.
    pub(crate) fn come_back(&mut self) {
        let due = self.client.next_timeout().expect("it wants to come back");
        self.pass(due.since(self.now));
        self.open();
    }

    pub(crate) fn seen(&mut self) -> Seen {
        let mut seen = Seen::default();
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Store(operation) => seen.stores.push(operation),
                Effect::Transmit(frame) => seen.frames.push(frame),
                Effect::Event(event) => seen.events.push(event),
                Effect::Connect => seen.connects += 1,
                Effect::Disconnect => seen.disconnects += 1,
                Effect::RequestToken => seen.token_requests += 1,
            }
        }
        seen
    }

    /// The effects in their order.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }
}
