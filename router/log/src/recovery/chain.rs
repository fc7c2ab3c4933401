//! The chain of batches that one core wrote in one run, across its segments.

use super::report::TornTail;
use crate::batch::BatchHeader;
use crate::manifest::SegmentEntry;
use crate::segment::ShardSet;

/// Where a chain stands.
#[derive(Debug)]
pub(super) struct Chain {
    /// The last batch seen.
    pub(super) number: u64,
    crc: u32,
    /// Whether the next batch must follow this one exactly; false after a segment that was not read.
    pub(super) exact: bool,
    /// How the last segment with batches ends, while no later one tells more.
    pub(super) tail: Option<OpenTail>,
}

/// The rest of a segment, after its last sound batch.
#[derive(Debug)]
pub(super) struct OpenTail {
    pub(super) entry: SegmentEntry,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) owned: ShardSet,
    /// What of it was written to.
    pub(super) torn: Option<TornTail>,
}

/// Number, checksum and exactness, to go back to.
#[derive(Copy, Clone, Debug)]
pub(super) struct Link(u64, u32, bool);

impl Chain {
    /// A chain before its first batch.
    pub(super) fn new(exact: bool) -> Self {
        Self { number: 0, crc: 0, exact, tail: None }
    }

    pub(super) fn link(&self) -> Link {
        Link(self.number, self.crc, self.exact)
    }

    pub(super) fn restore(&mut self, link: Link) {
        (self.number, self.crc, self.exact) = (link.0, link.1, link.2);
    }

    pub(super) fn is_followed_by(&self, header: &BatchHeader) -> bool {
        self.number.checked_add(1) == Some(header.number) && header.previous_crc == self.crc
    }

    pub(super) fn advance(&mut self, header: &BatchHeader) {
        (self.number, self.crc, self.exact) = (header.number, header.crc, true);
    }

    /// Whether this chain ends in a torn batch in `segment`.
    pub(super) fn torn_in(&self, segment: u32) -> bool {
        self.tail.as_ref().and_then(|tail| tail.torn).is_some_and(|torn| torn.segment == segment)
    }
}
