//! Reads of a conversation, for a Fetch or for a session's catch-up: from the memory tail, or from the journal.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use smallvec::SmallVec;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Fetch, FetchRange, Regarding, VoidRange};
use switchyard_schema::ids::{ConversationId, Sequence, ShardId};
use switchyard_schema::limits::{PAGE_BYTES_MAX, PAGE_MESSAGES_MAX};
use switchyard_schema::link::{Origin, PageReply, SessionRef, ToGateway};
use switchyard_schema::record::MessageRecord;

use crate::conversation::Conversation;
use crate::effects::{Effects, HistoryRead, HistoryResult, Keep};
use crate::limits::{HISTORY_READS_MAX, HISTORY_REPLANS_MAX};
use crate::peer::{Peer, ReadOutcome, ReadReply, ReadRequest};
use crate::post;
use crate::sending::retry_after_ms;
use crate::shard::Shard;
use crate::tail::Tail;

/// A read on its way.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Reading {
    conversation: ConversationId,
    range: FetchRange,
    messages: u32,
    bytes: usize,
    replans: u8,
    asker: Asker,
}

#[derive(Copy, Clone, Debug)]
enum Asker {
    Fetch { session: SessionRef, request: u64 },
    CatchUp { from: ShardId, request: ReadRequest },
}

/// What a read found, in ascending order.
#[derive(Debug, Default)]
struct Found {
    messages: Vec<MessageRecord>,
    /// Runs between them, before or behind, that a repair gave up.
    given_up: Vec<VoidRange>,
}

impl Found {
    /// The first and last sequence that it says something of.
    fn ends(&self) -> Option<(Sequence, Sequence)> {
        let messages = self.messages.iter().map(|record| (record.sequence, record.sequence));
        let runs = messages.chain(self.given_up.iter().map(|void| (void.from, void.to)));
        runs.reduce(|(first, last), (from, to)| (first.min(from), last.max(to)))
    }
}

/// The reads that wait for the journal.
#[derive(Debug)]
pub(crate) struct Readings {
    waiting: HashMap<u64, Reading, FixedState>,
    next_token: u64,
}

impl Readings {
    pub(crate) fn new(hash_seed: u64) -> Self {
        Self { waiting: HashMap::with_hasher(FixedState::with_seed(hash_seed)), next_token: 1 }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Shard {
    pub(crate) fn on_fetch(&mut self, origin: &Origin, fetch: &Fetch, fx: &mut Effects) {
        let reading = Reading {
            conversation: fetch.conversation,
            range: fetch.range,
            messages: fetch.limit.min(PAGE_MESSAGES_MAX),
            bytes: PAGE_BYTES_MAX,
            replans: 0,
            asker: Asker::Fetch { session: origin.session, request: fetch.request },
        };
        self.read(reading, fx);
    }

    pub(crate) fn on_read(&mut self, from: ShardId, request: ReadRequest, fx: &mut Effects) {
        let reading = Reading {
            conversation: request.conversation,
            range: FetchRange::After(request.after),
            messages: request.messages,
            bytes: request.bytes,
            replans: 0,
            asker: Asker::CatchUp { from, request },
        };
        self.read(reading, fx);
    }

    /// The journal answered.
    pub(crate) fn on_history(&mut self, token: u64, result: HistoryResult, fx: &mut Effects) {
        let mut reading = self.readings.waiting.remove(&token).expect("the engine answers a read once");
        let conversation = self.conversations.peek_mut(&reading.conversation).expect("a read holds its conversation");
        conversation.held -= 1;
        match result {
            HistoryResult::Failed(code) => self.refuse_reading(&reading, code, fx),
            HistoryResult::Messages { messages, given_up, void_to } => {
                conversation.void_to = conversation.void_to.max(void_to.min(conversation.durable_head));
                if messages.is_empty() && given_up.is_empty() && reading.replans < HISTORY_REPLANS_MAX {
                    reading.replans += 1;
                    return self.read(reading, fx);
                }
                self.answer_reading(&reading, Found { messages, given_up }, fx);
            }
        }
    }

    fn read(&mut self, reading: Reading, fx: &mut Effects) {
        let conversation =
            self.conversations.touch(&reading.conversation).expect("a read is taken when it is in memory");
        let Some((first, last, keep)) = wanted(conversation, &reading) else {
            return self.answer_reading(&reading, Found::default(), fx);
        };
        if conversation.recent(first).is_some() {
            let found = from_tail(&self.tail, conversation, &reading, (first, last, keep));
            return self.answer_reading(&reading, found, fx);
        }
        if self.readings.waiting.len() >= HISTORY_READS_MAX {
            return self.refuse_reading(&reading, ErrorCode::Overloaded, fx);
        }
        conversation.held += 1;
        let start = conversation.start_at(last);
        let token = self.readings.next_token;
        self.readings.next_token += 1;
        self.readings.waiting.insert(token, reading);
        let (conversation, bytes) = (reading.conversation, reading.bytes);
        fx.reads.push((self.config.shard, HistoryRead { token, conversation, last, first, start, bytes, keep }));
    }

    fn answer_reading(&mut self, reading: &Reading, found: Found, fx: &mut Effects) {
        let conversation = self.conversations.peek(&reading.conversation).expect("a read holds its conversation");
        match reading.asker {
            Asker::Fetch { session, request } => {
                let page = page(conversation, reading, session, request, found);
                post::answer(session, ToGateway::Page(Box::new(page)), fx);
            }
            Asker::CatchUp { from, request } => {
                let after = request.after.max(conversation.void_to);
                // One run for a session that reads on: the void before it, then messages without a gap.
                let leading = found.given_up.iter().find(|void| void.from == after.next());
                let void_to = leading.map_or(conversation.void_to, |void| void.to);
                let mut next = request.after.max(void_to).next();
                let mut messages = found.messages;
                messages.retain(|record| {
                    let follows = record.sequence == next;
                    next = if follows { next.next() } else { next };
                    follows
                });
                let outcome = ReadOutcome::Messages { void_to, messages };
                post::reserved(&self.config, from, Peer::ReadReply(Box::new(ReadReply { request, outcome })), fx);
            }
        }
    }

    fn refuse_reading(&self, reading: &Reading, code: ErrorCode, fx: &mut Effects) {
        match reading.asker {
            Asker::Fetch { session, request } => self.refuse_fetch(session, request, code, fx),
            Asker::CatchUp { from, request } => self.refuse_read(from, request, fx),
        }
    }

    pub(crate) fn refuse_read(&self, to: ShardId, request: ReadRequest, fx: &mut Effects) {
        let reply = ReadReply { request, outcome: ReadOutcome::Unavailable };
        post::reserved(&self.config, to, Peer::ReadReply(Box::new(reply)), fx);
    }

    pub(crate) fn refuse_fetch(&self, session: SessionRef, request: u64, code: ErrorCode, fx: &mut Effects) {
        let shard = self.config.shard;
        let (retry_after_ms, regarding) = (retry_after_ms(code), Regarding::Request(request));
        post::answer(session, ToGateway::Refused { session, shard, code, retry_after_ms, regarding }, fx);
    }
}

/// The first and last message to read, inside what is durable and not void; `None` when there is nothing to read.
fn wanted(conversation: &Conversation, reading: &Reading) -> Option<(Sequence, Sequence, Keep)> {
    let messages = u64::from(reading.messages);
    let (head, void_to) = (conversation.durable_head.0, conversation.void_to.0);
    let (first, last, keep) = match reading.range {
        FetchRange::After(after) => {
            let first = after.0.max(void_to).saturating_add(1);
            (first, head.min((first - 1).saturating_add(messages)), Keep::Oldest)
        }
        FetchRange::Before(before) => {
            let last = before.0.saturating_sub(1).min(head);
            (last.saturating_sub(messages).max(void_to) + 1, last, Keep::Newest)
        }
    };
    (messages > 0 && first <= last).then_some((Sequence(first), Sequence(last), keep))
}

/// A run of messages that the tail holds, cut at the bytes that were asked for but for one message.
fn from_tail(
    tail: &Tail,
    conversation: &Conversation,
    reading: &Reading,
    (first, last, keep): (Sequence, Sequence, Keep),
) -> Found {
    let mut left = reading.bytes;
    let mut found = Vec::new();
    let sequences = first.0..=last.0;
    let mut take = |sequence: u64| {
        let sequence = Sequence(sequence);
        let place = conversation.recent(sequence).expect("the tail has no gap");
        let message = tail.get(reading.conversation, sequence, place);
        let size = message.body.len();
        let fits = found.is_empty() || size <= left;
        if fits {
            left = left.saturating_sub(size);
            found.push(message);
        }
        fits
    };
    match keep {
        Keep::Oldest => _ = sequences.into_iter().all(&mut take),
        Keep::Newest => _ = sequences.rev().all(&mut take),
    }
    if keep == Keep::Newest {
        found.reverse();
    }
    Found { messages: found, given_up: Vec::new() }
}

/// What a Fetch is answered with: the messages, the void in the range they cover, and whether there are more.
fn page(conversation: &Conversation, reading: &Reading, session: SessionRef, request: u64, found: Found) -> PageReply {
    let (head, void_to) = (conversation.durable_head, conversation.void_to);
    let ends = found.ends();
    let (void, more) = match reading.range {
        FetchRange::After(after) => {
            let end = ends.map_or(after.max(void_to.min(head)), |(_, last)| last);
            let end = if reading.messages == 0 { after } else { end };
            (VoidRange { from: Sequence(after.0.saturating_add(1)), to: void_to.min(end) }, end < head)
        }
        FetchRange::Before(before) => {
            let last = Sequence(before.0.saturating_sub(1)).min(head);
            let asked_first = Sequence(last.0.saturating_sub(u64::from(reading.messages)) + 1);
            let start = ends.map_or(Sequence(last.0 + 1), |(first, _)| first);
            (VoidRange { from: asked_first, to: void_to.min(last) }, start.0 > void_to.0 + 1)
        }
    };
    let members = if conversation.exists() { &conversation.members[..] } else { &[] };
    PageReply {
        session,
        request,
        conversation: reading.conversation,
        messages: found.messages,
        void: (void.from <= void.to).then_some(void).into_iter().chain(found.given_up).collect(),
        watermarks: members.iter().map(|member| member.recorded.watermark(member.user)).collect::<SmallVec<_>>(),
        more,
    }
}
