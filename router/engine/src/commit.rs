//! Group commit: which records the next batch takes, and when it is sealed.
//!
//! One batch is in flight, the next one fills. It is sealed as soon as nothing is in flight and a record waits that
//! somebody waits for, or records that nobody waits for have waited [`crate::limits::LAZY_COMMIT_MS`], or there is a
//! batch full of them.

use std::collections::VecDeque;

use switchyard_log::Position;
use switchyard_log::batch::{BatchBuilder, BatchKind, SealedBatch};
use switchyard_log::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BATCH_ROOM_BYTES_MIN, BLOCK_BYTES};
use switchyard_log::planner::{JournalPlan, NoSegment, SegmentTail};
use switchyard_log::ranges::ShardRanges;
use switchyard_log::record::encoded_bytes;
use switchyard_log::segment::SegmentHeader;
use switchyard_router_core::effects::Append;
use switchyard_schema::ids::{Millis, ShardId};
use switchyard_schema::record::{MessageRecord, Record};

use crate::limits::{IDLE_MARK_MS, QUEUE_BYTES_MAX, QUEUE_RECORDS_MAX};

/// What is being made durable.
#[derive(Debug)]
pub(crate) struct InFlight {
    /// Where it begins: nothing from here on can be read yet.
    pub(crate) position: Position,
    /// The LSNs in it.
    pub(crate) ranges: ShardRanges,
}

/// The records of one core on their way into its journal.
#[derive(Debug)]
pub(crate) struct GroupCommit {
    plan: JournalPlan,
    lazy_commit_ms: u64,
    queue: VecDeque<Append>,
    queued_bytes: usize,
    urgent: usize,
    lazy_since: Option<Millis>,
    in_flight: Option<InFlight>,
    /// When the last batch of records became durable, until a closing mark follows it.
    unmarked_since: Option<Millis>,
    failed: bool,
}

impl GroupCommit {
    pub(crate) fn new(plan: JournalPlan, lazy_commit_ms: u64) -> Self {
        Self {
            plan,
            lazy_commit_ms,
            queue: VecDeque::new(),
            queued_bytes: 0,
            urgent: 0,
            lazy_since: None,
            in_flight: None,
            unmarked_since: None,
            failed: false,
        }
    }

    pub(crate) fn push(&mut self, now: Millis, append: Append) {
        if self.failed {
            return;
        }
        self.queued_bytes += encoded_bytes(&append.record);
        if is_urgent(&append.record) {
            self.urgent += 1;
        } else {
            self.lazy_since.get_or_insert(now);
        }
        self.queue.push_back(append);
    }

    /// Whether more records may come.
    pub(crate) fn has_room(&self) -> bool {
        self.queued_bytes < QUEUE_BYTES_MAX && self.queue.len() < QUEUE_RECORDS_MAX
    }

    /// Records that wait for the next batches, and their bytes.
    pub(crate) fn queued(&self) -> (usize, usize) {
        (self.queue.len(), self.queued_bytes)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.failed || (self.queue.is_empty() && self.in_flight.is_none())
    }

    pub(crate) const fn in_flight(&self) -> Option<&InFlight> {
        self.in_flight.as_ref()
    }

    pub(crate) fn needs_segment(&self) -> bool {
        !self.failed && self.plan.needs_segment()
    }

    pub(crate) fn provide(&mut self, segment: SegmentHeader) {
        self.plan.provide(segment);
    }

    /// When to look for a batch again, if nothing else happens first.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        if self.failed || self.in_flight.is_some() {
            return None;
        }
        let lazy = self.lazy_since.map(|since| Millis(since.0 + self.lazy_commit_ms));
        let mark = self.unmarked_since.map(|since| Millis(since.0 + IDLE_MARK_MS));
        if self.queue.is_empty() { mark } else { lazy }
    }

    fn due(&self, now: Millis, flush: bool) -> bool {
        let waited = self.lazy_since.is_some_and(|since| now.0 >= since.0 + self.lazy_commit_ms);
        let full = self.queued_bytes >= BATCH_BYTES_MAX as usize || self.queue.len() >= BATCH_RECORDS_MAX as usize;
        !self.queue.is_empty() && (self.urgent > 0 || waited || full || flush)
    }

    /// The next batch, when one is due. `place` is told of every message in it and gives its back link.
    pub(crate) fn poll<B: AsRef<[u8]> + AsMut<[u8]>>(
        &mut self,
        now: Millis,
        flush: bool,
        place: &mut dyn FnMut(ShardId, &MessageRecord, Position) -> Option<Position>,
        memory: impl FnOnce(usize) -> B,
    ) -> Result<Option<SealedBatch<B>>, NoSegment> {
        if self.failed || self.in_flight.is_some() {
            return Ok(None);
        }
        if !self.due(now, flush) {
            let silent = self.unmarked_since.is_some_and(|since| now.0 >= since.0 + IDLE_MARK_MS);
            return Ok(if silent && self.queue.is_empty() { self.mark(BatchKind::Idle, memory) } else { None });
        }
        let wanted = self.queued_bytes + switchyard_log::batch::HEADER_BYTES as usize;
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).clamp(BATCH_ROOM_BYTES_MIN, BATCH_BYTES_MAX);
        let start = self.plan.begin(wanted.next_multiple_of(BLOCK_BYTES))?;
        let mut batch = BatchBuilder::new(memory(start.bytes_max as usize), start);
        while let Some(append) = self.queue.front() {
            let bytes = encoded_bytes(&append.record);
            let room = (batch.start().bytes_max - batch.used_bytes()) as usize;
            if bytes > room || batch.record_count() == BATCH_RECORDS_MAX {
                break;
            }
            let start = batch.start().position;
            let position = Position { offset: start.offset + batch.used_bytes(), ..start };
            let previous = match &append.record {
                Record::Message(message) => place(append.shard, message, position),
                _ => None,
            };
            let placed = batch.append(&append.record, append.shard, append.lsn, previous);
            assert_eq!(placed, Ok(position), "a batch puts records back to back");
            self.queued_bytes -= bytes;
            self.urgent -= usize::from(is_urgent(&append.record));
            self.queue.pop_front();
        }
        self.lazy_since = (self.queue.len() > self.urgent).then_some(now);
        Ok(Some(self.launch(batch.seal(BatchKind::Records))))
    }

    /// A closing mark; `None` while a batch is in flight, or when there is nothing to close.
    pub(crate) fn mark<B: AsRef<[u8]> + AsMut<[u8]>>(
        &mut self,
        kind: BatchKind,
        memory: impl FnOnce(usize) -> B,
    ) -> Option<SealedBatch<B>> {
        if self.failed || self.in_flight.is_some() {
            return None;
        }
        self.unmarked_since = None;
        let start = self.plan.begin_mark()?;
        let batch = BatchBuilder::new(memory(start.bytes_max as usize), start).seal(kind);
        Some(self.launch(batch))
    }

    fn launch<B>(&mut self, batch: SealedBatch<B>) -> SealedBatch<B> {
        self.plan.commit(&batch);
        self.in_flight = Some(InFlight { position: batch.position, ranges: batch.ranges.clone() });
        batch
    }

    /// The batch in flight is durable.
    pub(crate) fn written(&mut self, now: Millis) -> ShardRanges {
        let batch = self.in_flight.take().expect("a batch is in flight");
        if !batch.ranges.is_empty() {
            self.unmarked_since = Some(now);
        }
        batch.ranges
    }

    /// The batch in flight may or may not be on disk: nothing more is written.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
        self.queue.clear();
        (self.queued_bytes, self.urgent, self.lazy_since) = (0, 0, None);
    }

    pub(crate) const fn has_failed(&self) -> bool {
        self.failed
    }

    /// What to tell the manifest after the last batch.
    pub(crate) fn finish(self) -> Vec<SegmentTail> {
        if self.failed { Vec::new() } else { self.plan.finish() }
    }
}

/// Whether somebody waits for the record: a sender for Accepted, a device for Welcome.
const fn is_urgent(record: &Record) -> bool {
    match record {
        Record::Message(_) | Record::Device(_) => true,
        Record::Watermark(_) | Record::Cursor(_) | Record::Inbox(_) => false,
    }
}
