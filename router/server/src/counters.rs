//! What a router core has done, for the admin listener: plain relaxed counters, written by one thread, read by any.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use switchyard_engine::EngineStats;
use switchyard_ring::Pulse;
use switchyard_router_core::effects::StorageState;

use crate::histogram::Histogram;

/// Microseconds up to which commits are told apart: from the fastest disks with a protected cache to one that is in trouble.
const COMMIT_US: [u64; 19] = [
    32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144,
    1_048_576,
];
/// Records up to which batches are told apart: from one alone to the largest batch.
const BATCH_RECORDS: [u64; 14] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];
/// Bytes up to which batches are told apart: from one block to the largest batch.
const BATCH_BYTES: [u64; 8] = [4096, 8192, 16_384, 32_768, 65_536, 131_072, 262_144, 524_288];

/// How many values came up to each bound; up to `None` come all.
pub type Cumulative = Vec<(Option<u64>, u64)>;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of one router core.
        #[derive(Debug)]
        pub struct CoreCounters {
            $($(#[$doc])* pub $name: Counter,)*
            /// When the core was last seen to work.
            pub pulse: Pulse,
            batches_by_us: Histogram<{ COMMIT_US.len() }>,
            batches_by_records: Histogram<{ BATCH_RECORDS.len() }>,
            batches_by_bytes: Histogram<{ BATCH_BYTES.len() }>,
            journal: AtomicU8,
        }

        impl Default for CoreCounters {
            fn default() -> Self {
                Self {
                    $($name: Counter::default(),)*
                    pulse: Pulse::default(),
                    batches_by_us: Histogram::new(&COMMIT_US),
                    batches_by_records: Histogram::new(&BATCH_RECORDS),
                    batches_by_bytes: Histogram::new(&BATCH_BYTES),
                    journal: AtomicU8::default(),
                }
            }
        }

        impl CoreCounters {
            /// Every counter with its name.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name.get()),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Turns of the loop.
    turns,
    /// Times that the loop slept.
    sleeps,
    /// Times that the loop stood still for longer than a core that works does.
    stalls,
    /// Messages from gateway threads.
    gateway_messages,
    /// Messages from other router cores.
    peer_messages,
    /// Messages to gateway threads.
    to_gateways,
    /// Messages to other router cores.
    to_cores,
    /// Times that a turn began with no open slot in the link to a gateway thread.
    to_gateways_full,
    /// Times that a turn began with no open slot in the link to another router core.
    to_cores_full,
    /// Batches made durable, closing marks included.
    batches,
    /// Records in them.
    records,
    /// Bytes of them, padding included.
    batch_bytes,
    /// Microseconds that they took, from when their write began until they were durable.
    commit_us,
    /// Segments made.
    segments,
    /// Segments that could not be made.
    segments_refused,
    /// Users and conversations loaded from the store.
    loads,
    /// Snapshots handed to the store.
    snapshots,
    /// Reads of the journal for history.
    history_reads,
    /// Messages that waited in the rings from gateways when the newest turn came to each.
    ring_depth,
    /// Messages that waited in the rings from other router cores then.
    peer_ring_depth,
    /// Users in memory, as of the last second.
    users,
    /// Conversations in memory.
    conversations,
    /// Estimated bytes of both, against the budget for state.
    state_bytes,
    /// Bytes of recent messages, against the budget for the memory tail.
    tail_bytes,
    /// Users and conversations that left memory.
    evictions,
    /// What waits for the journal to be told.
    pending,
    /// Attached sessions that lack messages: they are being caught up, or their window is full.
    sessions_behind,
    /// Conversations that have messages for them, counted for each session.
    conversations_behind,
    /// Facts that other shards have not confirmed.
    unconfirmed_facts,
    /// Inputs that wait for users and conversations to be loaded.
    parked_inputs,
    /// Records that wait for the next batches.
    queued_records,
    /// Bytes of them.
    queued_bytes,
    /// Walks through history under way or in line.
    history_walks,
    /// Bytes of recent reads of the journal.
    history_cache_bytes,
    /// Requests that wait for room at the state store.
    store_backlog,
    /// Reads of history that met damage.
    damaged_reads,
    /// Records replayed at start.
    replayed_records,
    /// Milliseconds that recovery took at start.
    recovery_ms,
}

/// A number that one thread writes.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds. Only the owner calls it.
    pub fn add(&self, count: u64) {
        self.0.store(self.get() + count, Ordering::Relaxed);
    }

    /// Replaces the number.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl CoreCounters {
    pub(crate) fn committed(&self, us: u64, records: u64, bytes: u64) {
        self.batches.add(1);
        self.commit_us.add(us);
        self.batches_by_us.count(us);
        self.records.add(records);
        self.batches_by_records.count(records);
        self.batch_bytes.add(bytes);
        self.batches_by_bytes.count(bytes);
    }

    /// Batches by what the counter of that name sums up.
    #[must_use]
    pub fn histograms(&self) -> [(&'static str, Cumulative); 3] {
        [
            ("commit_us", self.batches_by_us.cumulative().collect()),
            ("records", self.batches_by_records.cumulative().collect()),
            ("batch_bytes", self.batches_by_bytes.cumulative().collect()),
        ]
    }

    pub(crate) fn hold(&self, stats: &EngineStats) {
        let EngineStats { shards, queued_records, queued_bytes, walks, history_cache_bytes, store_asks, .. } = *stats;
        self.users.set(shards.users as u64);
        self.conversations.set(shards.conversations as u64);
        self.state_bytes.set(shards.state_bytes as u64);
        self.tail_bytes.set(shards.tail_bytes as u64);
        self.evictions.set(shards.evicted);
        self.pending.set(shards.pending as u64);
        self.sessions_behind.set(shards.sessions_behind as u64);
        self.conversations_behind.set(shards.conversations_behind as u64);
        self.unconfirmed_facts.set(shards.unconfirmed as u64);
        self.parked_inputs.set(shards.parked as u64);
        self.queued_records.set(queued_records as u64);
        self.queued_bytes.set(queued_bytes as u64);
        self.history_walks.set(walks as u64);
        self.history_cache_bytes.set(history_cache_bytes as u64);
        self.store_backlog.set(store_asks as u64);
        self.damaged_reads.set(stats.damaged_reads);
    }

    pub(crate) fn set_journal(&self, state: StorageState) {
        let state = match state {
            StorageState::Ready => 0,
            StorageState::Full => 1,
            StorageState::Failed => 2,
        };
        self.journal.store(state, Ordering::Relaxed);
    }

    /// Whether the core's journal takes records.
    #[must_use]
    pub fn journal(&self) -> StorageState {
        match self.journal.load(Ordering::Relaxed) {
            0 => StorageState::Ready,
            1 => StorageState::Full,
            _ => StorageState::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_batches_when_counted_then_every_histogram_has_each_of_them_and_its_counter_the_sum() {
        let counters = CoreCounters::default();
        for (us, records, bytes) in [(90, 1, 4096), (90, 40, 8192), (2_000_000, 8192, 524_288)] {
            counters.committed(us, records, bytes);
        }
        assert_eq!((counters.batches.get(), counters.commit_us.get()), (3, 2_000_180));
        for (name, cumulative) in counters.histograms() {
            assert!(counters.each().any(|(counter, sum)| counter == name && sum > 0), "{name} is summed up");
            assert_eq!(cumulative.last(), Some(&(None, 3)), "{name}");
        }
        let [(_, by_us), ..] = counters.histograms();
        assert!(by_us.contains(&(Some(64), 0)) && by_us.contains(&(Some(128), 2)), "{by_us:?}");
    }
}
