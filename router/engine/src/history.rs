//! Walks back through a conversation's messages in the journal.
//!
//! Each message names the position of the one before it. A walk starts at a known position (or at a nearer one that the
//! store knows), reads one record after the other and ends at the first message wanted, at the end of the history that is
//! kept, or when it has as many bytes as were asked for. Reads are windows that hold neighbouring records too.
//!
//! A record that cannot be read is damage, unless a repair gave its place up: then the walk goes on at the next message
//! below that the store knows the place of, and what lies between is void.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use bytes::Bytes;
use switchyard_log::Position;
use switchyard_log::history::{Found, ReadRange, decode, first_read};
use switchyard_log::record::Payload;
use switchyard_log::segment::file_name;
use switchyard_router_core::effects::{HistoryRead, HistoryResult, Keep};
use switchyard_router_core::limits::POSITION_EVERY;
use switchyard_router_core::rows::{decode_position, position_key};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::VoidRange;
use switchyard_schema::ids::{ConversationId, Sequence, ShardId};
use switchyard_schema::record::{MessageRecord, Record};

use crate::given_up::GivenUp;
use crate::limits::{HISTORY_CACHE_BYTES, HISTORY_WINDOW_BYTES, WALK_STEPS_BEFORE_LOOKUP, WALKS_AT_ONCE};
use crate::outbox::{JournalRead, StoreAsk, StoreFailed};

/// What a walk wants next, or its end.
#[derive(Debug)]
pub(crate) enum Step {
    /// Read this and call [`History::read`].
    Read(JournalRead),
    /// Ask this and call [`History::position`].
    Ask(StoreAsk),
    /// It waits for the batch in flight, or for its turn.
    Wait,
    /// It is over.
    Done { shard: ShardId, token: u64, result: HistoryResult },
}

#[derive(Debug)]
struct Walk {
    shard: ShardId,
    wanted: HistoryRead,
    at: (Sequence, Position),
    found: VecDeque<MessageRecord>,
    given_up: VecDeque<VoidRange>,
    /// The newest message of the run at hand that a repair gave up; what is wanted of the store next lies below it.
    gap_to: Option<Sequence>,
    bytes: usize,
    /// What was read from disk for the record at hand; proves that a cached window was not to blame.
    fresh: Option<(ReadRange, Bytes)>,
    waits_for_batch: bool,
}

/// A message that cannot be read where it should be, and that no repair gave up.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct DamagedMessage {
    /// Its conversation.
    pub conversation: ConversationId,
    /// Which of it.
    pub sequence: Sequence,
    /// Where it should be; unknown when the state store names no place that there can be.
    pub position: Option<Position>,
}

impl fmt::Display for DamagedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of {}", self.sequence.0, self.conversation)?;
        match self.position {
            Some(position) => write!(f, " in {}, byte {}", file_name(position.segment), position.offset),
            None => write!(f, ", whose place is not known"),
        }
    }
}

/// What a walk must not read.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Readable {
    /// The oldest segment there is.
    pub(crate) oldest_segment: u32,
    /// Where the batch in flight begins.
    pub(crate) in_flight: Option<Position>,
}

impl Readable {
    fn waits(&self, position: Position) -> bool {
        self.in_flight.is_some_and(|start| start.segment == position.segment && start.offset <= position.offset)
    }
}

/// The walks of one core.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// In the order they began, so that those that wait go on in the same order every time.
    walks: BTreeMap<u64, Walk>,
    line: VecDeque<(ShardId, HistoryRead)>,
    next_walk: u64,
    cache: VecDeque<(ReadRange, Bytes)>,
    cached_bytes: usize,
    given_up: GivenUp,
    damaged: u64,
    newest_damaged: Option<DamagedMessage>,
}

impl History {
    /// What a repair gave up; known before the first walk.
    pub(crate) fn set_given_up(&mut self, given_up: GivenUp) {
        self.given_up = given_up;
    }

    /// Bytes of recent reads that are kept.
    pub(crate) const fn cached_bytes(&self) -> usize {
        self.cached_bytes
    }

    /// How many walks met damage, and the newest of it.
    pub(crate) const fn damaged(&self) -> (u64, Option<DamagedMessage>) {
        (self.damaged, self.newest_damaged)
    }

    /// Walks under way or in line.
    pub(crate) fn walks(&self) -> usize {
        self.walks.len() + self.line.len()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.walks.is_empty() && self.line.is_empty()
    }

    /// A shard wants history. Those in line are bounded by the reads that a shard may have under way.
    pub(crate) fn begin(&mut self, shard: ShardId, wanted: HistoryRead, readable: Readable) -> Step {
        self.line.push_back((shard, wanted));
        self.next_in_line(readable)
    }

    /// Starts the walk that is first in line, when one more may be under way.
    pub(crate) fn next_in_line(&mut self, readable: Readable) -> Step {
        if self.walks.len() >= WALKS_AT_ONCE {
            return Step::Wait;
        }
        let Some((shard, wanted)) = self.line.pop_front() else { return Step::Wait };
        let Some(start) = Position::unpack(wanted.start.1) else {
            let result = self.refused(wanted.conversation, wanted.start.0, None);
            return Step::Done { shard, token: wanted.token, result };
        };
        self.next_walk += 1;
        let walk = self.next_walk;
        let state = Walk {
            shard,
            wanted,
            at: (wanted.start.0, start),
            found: VecDeque::new(),
            given_up: VecDeque::new(),
            gap_to: None,
            bytes: 0,
            fresh: None,
            waits_for_batch: false,
        };
        self.walks.insert(walk, state);
        if wanted.start.0.0.saturating_sub(wanted.last.0) > WALK_STEPS_BEFORE_LOOKUP {
            let key = position_key(shard, wanted.conversation, wanted.last);
            return Step::Ask(StoreAsk::Position { walk, key });
        }
        self.go(walk, readable)
    }

    /// The store answered where a nearer message lies. Without an answer the walk is longer, not wrong, but for one that
    /// has to get over a gap.
    pub(crate) fn position(
        &mut self,
        walk: u64,
        value: Result<Option<Vec<u8>>, StoreFailed>,
        readable: Readable,
    ) -> Step {
        let Some(state) = self.walks.get_mut(&walk) else { return Step::Wait };
        if state.gap_to.is_some() && value.is_err() {
            return self.end(walk, |_| HistoryResult::Failed(ErrorCode::StorageUnavailable));
        }
        let nearer = value.ok().flatten().and_then(|value| decode_position(&value).ok());
        if state.gap_to.is_some() {
            let position = nearer.and_then(|(sequence, position)| {
                let below = (state.wanted.first..=state.at.0).contains(&sequence);
                Position::unpack(position).filter(|_| below).map(|position| (sequence, position))
            });
            let Some(at) = position else { return self.pass_over(walk) };
            state.at = at;
            return self.go(walk, readable);
        }
        if let Some((sequence, position)) = nearer
            && let Some(position) = Position::unpack(position)
            && (state.wanted.last..state.at.0).contains(&sequence)
        {
            state.at = (sequence, position);
        }
        self.go(walk, readable)
    }

    /// The journal answered a read.
    pub(crate) fn read(&mut self, answered: JournalRead, bytes: Option<Bytes>, readable: Readable) -> Step {
        let JournalRead { walk, range } = answered;
        let Some(bytes) = bytes else {
            return self.end(walk, |_| HistoryResult::Failed(ErrorCode::StorageUnavailable));
        };
        self.keep(range, bytes.clone());
        if let Some(state) = self.walks.get_mut(&walk) {
            state.fresh = Some((range, bytes));
        }
        self.go(walk, readable)
    }

    /// A walk that waited for a batch which is durable now.
    pub(crate) fn waiting(&mut self) -> Option<u64> {
        let (walk, state) = self.walks.iter_mut().find(|(_, state)| state.waits_for_batch)?;
        state.waits_for_batch = false;
        Some(*walk)
    }

    /// Reads record after record while their bytes are at hand.
    pub(crate) fn go(&mut self, walk: u64, readable: Readable) -> Step {
        loop {
            let Some(state) = self.walks.get_mut(&walk) else { return Step::Wait };
            let (sequence, position) = state.at;
            if sequence < state.wanted.first {
                return self.end(walk, |state| state.messages(Sequence(0)));
            }
            if position.segment < readable.oldest_segment {
                return self.end(walk, |state| {
                    let void_to = state.gap_to.take().unwrap_or(state.at.0);
                    state.messages(void_to)
                });
            }
            if readable.waits(position) {
                state.waits_for_batch = true;
                return Step::Wait;
            }
            if self.given_up.has_segment(position.segment) {
                return self.pass_over(walk);
            }
            match self.record(walk, position) {
                Ok(Lookup::Absent(range)) => return Step::Read(JournalRead { walk, range }),
                Ok(Lookup::Message(message, previous)) => {
                    let state = self.walks.get_mut(&walk).expect("looked up above");
                    if message.sequence != sequence || message.conversation != state.wanted.conversation {
                        return self.end_at_damage(walk);
                    }
                    if let Some(void_to) = state.take(message, previous) {
                        return self.end(walk, |state| state.messages(void_to));
                    }
                }
                Err(Unreadable) if self.given_up.contains(position) => return self.pass_over(walk),
                Err(Unreadable) => return self.end_at_damage(walk),
            }
        }
    }

    /// The message at hand is given up, and with it the place of the one before: asks for the next one below that the
    /// store knows.
    fn pass_over(&mut self, walk: u64) -> Step {
        let Some(state) = self.walks.get_mut(&walk) else { return Step::Wait };
        let lost = state.at.0;
        state.gap_to.get_or_insert(lost);
        let kept = Sequence(lost.0.saturating_sub(1) / POSITION_EVERY * POSITION_EVERY);
        if kept < state.wanted.first || kept == Sequence::ZERO {
            let first = state.wanted.first;
            return self.end(walk, |state| {
                state.close_gap(first);
                state.messages(Sequence::ZERO)
            });
        }
        state.at.0 = kept;
        let key = position_key(state.shard, state.wanted.conversation, kept);
        Step::Ask(StoreAsk::Position { walk, key })
    }

    /// The message at `position`, from what was read for it or from the cache.
    fn record(&mut self, walk: u64, position: Position) -> Result<Lookup, Unreadable> {
        let state = self.walks.get_mut(&walk).expect("the caller has it");
        let mut range = first_read(position);
        loop {
            let fresh = state.fresh.as_ref().filter(|(read, _)| covers(*read, range));
            let is_fresh = fresh.is_some();
            let cached = || self.cache.iter().find(|(read, _)| covers(*read, range));
            let Some((read, bytes)) = fresh.or_else(cached) else { return Ok(Lookup::Absent(window(range))) };
            match decode(position, *read, bytes) {
                Ok(Found::Longer(longer)) if longer != range => range = longer,
                Ok(Found::Record(view)) => {
                    return match view.payload.to_record() {
                        Record::Message(message) if matches!(view.payload, Payload::Message(_)) => {
                            Ok(Lookup::Message(message, view.previous))
                        }
                        _ => Err(Unreadable),
                    };
                }
                _ if is_fresh => return Err(Unreadable),
                // The window was read before this record was written.
                _ => {
                    let stale = *read;
                    self.cache.retain(|(read, _)| *read != stale);
                    self.cached_bytes = self.cache.iter().map(|(_, bytes)| bytes.len()).sum();
                }
            }
        }
    }

    fn keep(&mut self, range: ReadRange, bytes: Bytes) {
        self.cache.retain(|(read, _)| *read != range);
        self.cache.push_back((range, bytes));
        self.cached_bytes = self.cache.iter().map(|(_, bytes)| bytes.len()).sum();
        while self.cached_bytes > HISTORY_CACHE_BYTES {
            let Some((_, bytes)) = self.cache.pop_front() else { break };
            self.cached_bytes -= bytes.len();
        }
    }

    fn end_at_damage(&mut self, walk: u64) -> Step {
        let Some(state) = self.walks.get(&walk) else { return Step::Wait };
        let (conversation, (sequence, position)) = (state.wanted.conversation, state.at);
        let result = self.refused(conversation, sequence, Some(position));
        self.end(walk, |_| result)
    }

    fn refused(
        &mut self,
        conversation: ConversationId,
        sequence: Sequence,
        position: Option<Position>,
    ) -> HistoryResult {
        self.damaged += 1;
        self.newest_damaged = Some(DamagedMessage { conversation, sequence, position });
        HistoryResult::Failed(ErrorCode::ShardDamaged)
    }

    fn end(&mut self, walk: u64, result: impl FnOnce(&mut Walk) -> HistoryResult) -> Step {
        let Some(mut state) = self.walks.remove(&walk) else { return Step::Wait };
        let result = result(&mut state);
        Step::Done { shard: state.shard, token: state.wanted.token, result }
    }
}

enum Lookup {
    Absent(ReadRange),
    Message(MessageRecord, Option<Position>),
}

struct Unreadable;

impl Walk {
    /// Keeps a message that is wanted. Gives what is void below it when the walk ends here.
    fn take(&mut self, message: MessageRecord, previous: Option<Position>) -> Option<Sequence> {
        let sequence = message.sequence;
        self.close_gap(sequence.next());
        if sequence <= self.wanted.last {
            self.bytes += message.body.len();
            self.found.push_front(message);
            while self.bytes > self.wanted.bytes && self.found.len() > 1 {
                let dropped = match self.wanted.keep {
                    Keep::Oldest => self.found.pop_back(),
                    Keep::Newest => self.found.pop_front(),
                };
                self.bytes -= dropped.map_or(0, |message| message.body.len());
                // What is said of the range reaches no further than its messages do.
                let newest = self.found.back().map_or(self.wanted.last, |message| message.sequence);
                self.given_up.retain(|void| self.wanted.keep == Keep::Newest || void.to < newest);
                if self.wanted.keep == Keep::Newest {
                    return Some(Sequence(0));
                }
            }
        }
        let below = Sequence(sequence.0 - 1);
        match previous {
            Some(previous) if below.0 > 0 => {
                self.at = (below, previous);
                None
            }
            _ => Some(below),
        }
    }

    /// The run of messages that was given up begins at `from`.
    fn close_gap(&mut self, from: Sequence) {
        let Some(to) = self.gap_to.take() else { return };
        let void = VoidRange { from: from.max(self.wanted.first), to: to.min(self.wanted.last) };
        if void.from <= void.to {
            self.given_up.push_front(void);
        }
    }

    fn messages(&mut self, void_to: Sequence) -> HistoryResult {
        let given_up = std::mem::take(&mut self.given_up).into();
        HistoryResult::Messages { messages: std::mem::take(&mut self.found).into(), given_up, void_to }
    }
}

fn covers(read: ReadRange, range: ReadRange) -> bool {
    read.segment == range.segment
        && read.offset <= range.offset
        && range.offset + range.bytes <= read.offset + read.bytes
}

/// The windows that hold `range`.
fn window(range: ReadRange) -> ReadRange {
    let offset = range.offset / HISTORY_WINDOW_BYTES * HISTORY_WINDOW_BYTES;
    let end = (range.offset + range.bytes).next_multiple_of(HISTORY_WINDOW_BYTES);
    ReadRange { segment: range.segment, offset, bytes: end - offset }
}
