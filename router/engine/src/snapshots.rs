//! Snapshots: when a shard's changed state goes to the store, and what it covers.
//!
//! A snapshot is taken, held until the newest record it shows is durable, tagged with the LSN that the shard may be
//! replayed from, and handed to the store. One shard has at most one on its way.

use switchyard_router_core::Shard;
use switchyard_router_core::effects::{Row, Snapshot};
use switchyard_schema::ids::{Millis, ShardId};

/// The last byte of the key of the row that says what the store covers; router/core has no such table.
const TABLE_COVERED: u8 = 0xff;

/// The key of the row that holds the LSN which the rows of `shard` cover.
#[must_use]
pub fn covered_key(shard: ShardId) -> Vec<u8> {
    let [high, low] = shard.0.to_be_bytes();
    vec![high, low, TABLE_COVERED]
}

/// The LSN in the value of a [`covered_key`] row; `None` when it is not one.
#[must_use]
pub fn decode_covered(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_le_bytes)
}

fn covered_row(shard: ShardId, lsn: u64) -> Row {
    Row { key: covered_key(shard), value: Some(lsn.to_le_bytes().to_vec()) }
}

/// When snapshots are due.
#[derive(Copy, Clone, Debug)]
pub struct SnapshotPace {
    /// Records of a shard after which it is.
    pub records: u64,
    /// Milliseconds after which it is in any case.
    pub every_ms: u64,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Taken; waits for its newest record. Without changed rows there may still be more that the store covers.
    Held {
        lsn: u64,
        rows: Option<Vec<Row>>,
    },
    /// At the store.
    Storing {
        covers: u64,
        rows: bool,
    },
}

/// The snapshots of one shard.
#[derive(Debug)]
pub(crate) struct ShardSnapshots {
    state: State,
    /// What the store covers.
    covered: u64,
    due_at: Millis,
}

impl ShardSnapshots {
    pub(crate) const fn new(covered: u64, due_at: Millis) -> Self {
        Self { state: State::Idle, covered, due_at }
    }

    pub(crate) const fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    pub(crate) const fn covered(&self) -> u64 {
        self.covered
    }

    pub(crate) fn due_at(&self) -> Option<Millis> {
        self.is_idle().then_some(self.due_at)
    }

    pub(crate) fn is_due(&self, now: Millis, last_lsn: u64, pace: SnapshotPace) -> bool {
        let worthwhile = last_lsn > self.covered;
        let many =
            last_lsn.saturating_sub(self.covered) >= pace.records && now.0 + pace.every_ms >= self.due_at.0 + 1000;
        self.is_idle() && worthwhile && (many || now >= self.due_at)
    }

    /// Takes a snapshot.
    pub(crate) fn take(&mut self, now: Millis, shard: &mut Shard, pace: SnapshotPace) {
        self.due_at = Millis(now.0 + pace.every_ms);
        self.state = match shard.take_snapshot() {
            Some(Snapshot { lsn, rows }) => State::Held { lsn, rows: Some(rows) },
            None => State::Held { lsn: shard.last_lsn(), rows: None },
        };
    }

    /// The rows for the store, once everything they show is durable.
    pub(crate) fn release(&mut self, durable_lsn: u64, shard: &Shard) -> Option<Vec<Row>> {
        let State::Held { lsn, rows } = &mut self.state else { return None };
        if *lsn > durable_lsn {
            return None;
        }
        let covers = shard.coverable().min(durable_lsn).max(self.covered);
        let rows = rows.take();
        let changed = rows.is_some();
        let mut rows = rows.unwrap_or_default();
        rows.push(covered_row(shard.id(), covers));
        self.state = State::Storing { covers, rows: changed };
        Some(rows)
    }

    /// The store has the rows.
    pub(crate) fn stored(&mut self, shard: &mut Shard) {
        let State::Storing { covers, rows } = self.state else { return };
        self.covered = covers;
        self.state = State::Idle;
        if rows {
            shard.handle_stored();
        }
    }
}
