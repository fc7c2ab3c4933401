//! How much a router core holds in memory, by what for, each part with a budget or a limit of its own; and what it could
//! not read.

use switchyard_router_core::ShardStats;

use crate::engine::Engine;
use crate::history::DamagedMessage;

/// What one router core holds.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct EngineStats {
    /// The sum over its shards.
    pub shards: ShardStats,
    /// Records that wait for the next batches.
    pub queued_records: usize,
    /// Bytes of them.
    pub queued_bytes: usize,
    /// Walks through history under way or in line.
    pub walks: usize,
    /// Bytes of recent reads of the journal.
    pub history_cache_bytes: usize,
    /// Requests that wait for room at the state store.
    pub store_asks: usize,
    /// Walks through history that met damage so far.
    pub damaged_reads: u64,
    /// What the newest of them met.
    pub newest_damaged: Option<DamagedMessage>,
}

impl Engine {
    /// What it holds now. Looks at every shard, so not for every turn.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        let mut sum = ShardStats::default();
        for slot in &self.slots {
            let ShardStats {
                users,
                conversations,
                state_bytes,
                tail_bytes,
                pending,
                unconfirmed,
                parked,
                reads,
                evicted,
                sessions_behind,
                conversations_behind,
            } = slot.shard.stats();
            sum.users += users;
            sum.conversations += conversations;
            sum.state_bytes += state_bytes;
            sum.tail_bytes += tail_bytes;
            sum.pending += pending;
            sum.unconfirmed += unconfirmed;
            sum.parked += parked;
            sum.reads += reads;
            sum.evicted += evicted;
            sum.sessions_behind += sessions_behind;
            sum.conversations_behind += conversations_behind;
        }
        let (queued_records, queued_bytes) = self.commit.queued();
        let (damaged_reads, newest_damaged) = self.history.damaged();
        EngineStats {
            shards: sum,
            queued_records,
            queued_bytes,
            walks: self.history.walks(),
            history_cache_bytes: self.history.cached_bytes(),
            store_asks: self.outbox.store.len(),
            damaged_reads,
            newest_damaged,
        }
    }
}
