//! Which LSNs of which shards lie in a batch or a segment.

use switchyard_schema::ids::ShardId;

/// The LSNs of one shard, both ends included. `min == 0` says that the shard may have records here, unknown which.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ShardRange {
    /// The shard.
    pub shard: ShardId,
    /// Its lowest LSN here.
    pub min: u64,
    /// Its highest LSN here.
    pub max: u64,
}

/// At most one range per shard, in shard order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShardRanges(Vec<ShardRange>);

impl ShardRanges {
    /// Adds one record.
    pub fn note(&mut self, shard: ShardId, lsn: u64) {
        self.widen(ShardRange { shard, min: lsn, max: lsn });
    }

    /// Adds what another one has.
    pub fn merge(&mut self, other: &Self) {
        for range in &other.0 {
            self.widen(*range);
        }
    }

    fn widen(&mut self, range: ShardRange) {
        match self.0.binary_search_by_key(&range.shard, |known| known.shard) {
            Ok(index) => {
                let known = &mut self.0[index];
                known.min = known.min.min(range.min);
                known.max = known.max.max(range.max);
            }
            Err(index) => self.0.insert(index, range),
        }
    }

    /// The ranges, in shard order.
    #[must_use]
    pub fn as_slice(&self) -> &[ShardRange] {
        &self.0
    }

    /// Whether no shard has anything here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From ranges in strictly ascending shard order; `None` in any other order or with a range upside down.
    pub(crate) fn from_sorted(ranges: Vec<ShardRange>) -> Option<Self> {
        let ascending = ranges.is_sorted_by(|one, next| one.shard < next.shard);
        (ascending && ranges.iter().all(|range| range.min <= range.max)).then_some(Self(ranges))
    }
}
