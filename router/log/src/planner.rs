//! Where the next batch of one core goes: the current segment, or the next preallocated one.
//!
//! The driver asks [`JournalPlan::begin`] for a place, fills and seals a batch, tells [`JournalPlan::commit`], writes it and
//! waits for it; the next batch may be begun and filled meanwhile, but is written only after. When
//! [`JournalPlan::needs_segment`] turns true it makes another segment at leisure and hands it in with
//! [`JournalPlan::provide`]; numbers come from [`crate::manifest::Manifest::allocate`], so a core's segments ascend.

use crate::Position;
use crate::batch::{BatchStart, SealedBatch};
use crate::limits::{BATCH_BYTES_MAX, BATCH_ROOM_BYTES_MIN, BLOCK_BYTES};
use crate::ranges::ShardRanges;
use crate::segment::{FIRST_BATCH_OFFSET, SegmentHeader};

/// A segment that a core has left for good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentTail {
    /// Which one.
    pub number: u32,
    /// Where its last batch ends, padding included.
    pub end: u32,
    /// The LSNs in it.
    pub ranges: ShardRanges,
}

/// No preallocated segment is ready: refuse sends until there is one (a full disk, or a slow one).
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no preallocated segment is ready")]
pub struct NoSegment;

#[derive(Debug)]
struct Current {
    number: u32,
    salt: u64,
    bytes: u32,
    end: u32,
    ranges: ShardRanges,
}

/// The plan of one core's journal in one run.
#[derive(Debug)]
pub struct JournalPlan {
    run: u32,
    core: u16,
    current: Option<Current>,
    next: Option<SegmentHeader>,
    /// What was left behind and not yet told by a committed batch.
    rolled: Option<SegmentTail>,
    batches: u64,
    last_crc: u32,
}

impl JournalPlan {
    /// A journal that has written nothing yet. `run` comes from [`crate::manifest::Manifest::begin_run`]; a run never
    /// writes into segments of an earlier one.
    #[must_use]
    pub fn new(run: u32, core: u16) -> Self {
        Self { run, core, current: None, next: None, rolled: None, batches: 0, last_crc: 0 }
    }

    /// Whether the driver should preallocate a segment now: one is always kept ahead.
    #[must_use]
    pub fn needs_segment(&self) -> bool {
        self.next.is_none()
    }

    /// A segment is ready: file, header and manifest entry are durable.
    ///
    /// # Panics
    /// When it belongs to another run or core, goes back in number, or none was needed.
    pub fn provide(&mut self, segment: SegmentHeader) {
        assert!(self.next.is_none(), "one segment ahead is enough");
        assert_eq!((segment.run, segment.core), (self.run, self.core), "a segment has one writer");
        assert!(self.current.as_ref().is_none_or(|current| current.number < segment.number), "segments ascend");
        self.next = Some(segment);
    }

    /// Where the next batch goes, given the bytes of the buffer it will be built in (at least
    /// [`BATCH_ROOM_BYTES_MIN`]).
    ///
    /// # Errors
    /// [`NoSegment`] when the current one is full and no other is ready; nothing has changed then.
    pub fn begin(&mut self, buffer_bytes: u32) -> Result<BatchStart, NoSegment> {
        assert!(buffer_bytes >= BATCH_ROOM_BYTES_MIN, "the largest record must fit an empty batch");
        let room = self.room();
        if room >= BATCH_ROOM_BYTES_MIN {
            return Ok(self.start(buffer_bytes.min(room)));
        }
        let next = self.next.take().ok_or(NoSegment)?;
        self.rolled = self.current.take().map(Current::into_tail);
        self.current = Some(Current {
            number: next.number,
            salt: next.salt,
            bytes: next.bytes,
            end: FIRST_BATCH_OFFSET,
            ranges: ShardRanges::default(),
        });
        Ok(self.start(buffer_bytes.min(self.room())))
    }

    /// Where a closing mark goes; `None` when this journal has no batch to close. There is always a block left for it.
    /// Build it in a buffer of at least one block and seal it with [`crate::batch::BatchKind::Idle`] or `Stop`.
    pub fn begin_mark(&mut self) -> Option<BatchStart> {
        let current = self.current.as_ref()?;
        let fits = current.end + BLOCK_BYTES <= current.bytes;
        (self.batches > 0 && fits).then(|| self.start(BLOCK_BYTES))
    }

    /// The batch is sealed and about to be written; the next one continues it.
    pub fn commit<B>(&mut self, batch: &SealedBatch<B>) {
        let current = self.current.as_mut().expect("a batch is begun in a segment");
        assert_eq!(batch.position, Position { segment: current.number, offset: current.end }, "batches are in order");
        current.end += batch.bytes;
        current.ranges.merge(&batch.ranges);
        self.batches = batch.header.number;
        self.last_crc = batch.header.crc;
        self.rolled = None;
    }

    /// Ends the journal after its last batch is durable: what to tell the manifest, so that a clean start reads nothing.
    #[must_use]
    pub fn finish(self) -> Vec<SegmentTail> {
        self.rolled.into_iter().chain(self.current.map(Current::into_tail)).collect()
    }

    /// Bytes for records: a block is kept for a closing mark.
    fn room(&self) -> u32 {
        self.current.as_ref().map_or(0, |current| (current.bytes - current.end).saturating_sub(BLOCK_BYTES))
    }

    fn start(&self, bytes_max: u32) -> BatchStart {
        let current = self.current.as_ref().expect("there is a segment to start in");
        BatchStart {
            position: Position { segment: current.number, offset: current.end },
            bytes_max: bytes_max.min(BATCH_BYTES_MAX) / BLOCK_BYTES * BLOCK_BYTES,
            salt: current.salt,
            run: self.run,
            core: self.core,
            number: self.batches + 1,
            previous_crc: self.last_crc,
            rolled: self.rolled.clone(),
        }
    }
}

impl Current {
    fn into_tail(self) -> SegmentTail {
        SegmentTail { number: self.number, end: self.end, ranges: self.ranges }
    }
}
