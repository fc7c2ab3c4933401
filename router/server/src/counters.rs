//! What a router core has done, for the admin listener: plain relaxed counters, written by one thread, read by any.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use switchyard_engine::EngineStats;
use switchyard_ring::Pulse;
use switchyard_router_core::effects::StorageState;

/// Buckets of the commit histogram: bucket `i` counts commits below `COMMIT_BUCKET_US[i]`, the last one all others.
pub const COMMIT_BUCKET_US: [u64; 15] =
    [64, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192, 16_384, 65_536, 262_144, 1_048_576];

/// Those of [`CoreCounters::each`] that go down too.
pub const GAUGES: &[&str] = &[
    "ring_depth",
    "users",
    "conversations",
    "state_bytes",
    "tail_bytes",
    "pending",
    "unconfirmed_facts",
    "parked_inputs",
    "queued_records",
    "queued_bytes",
    "history_walks",
    "history_cache_bytes",
    "store_backlog",
    "replayed_records",
    "recovery_ms",
];

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counters of one router core.
        #[derive(Debug, Default)]
        pub struct CoreCounters {
            $($(#[$doc])* pub $name: Counter,)*
            /// Commits by duration, write and sync together.
            pub commits: [Counter; COMMIT_BUCKET_US.len() + 1],
            /// Microseconds of all commits.
            pub commit_us: Counter,
            /// When the core was last seen to work.
            pub pulse: Pulse,
            journal: AtomicU8,
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
    /// Batches made durable, closing marks included.
    batches,
    /// Records in them.
    records,
    /// Bytes of them, padding included.
    batch_bytes,
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
    /// Messages that waited in the rings from gateways when the newest turn began.
    ring_depth,
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
        let bucket = COMMIT_BUCKET_US.iter().position(|bound| us < *bound).unwrap_or(COMMIT_BUCKET_US.len());
        self.commits[bucket].add(1);
        self.commit_us.add(us);
        self.batches.add(1);
        self.records.add(records);
        self.batch_bytes.add(bytes);
    }

    pub(crate) fn hold(&self, stats: &EngineStats) {
        let EngineStats { shards, queued_records, queued_bytes, walks, history_cache_bytes, store_asks, .. } = *stats;
        self.users.set(shards.users as u64);
        self.conversations.set(shards.conversations as u64);
        self.state_bytes.set(shards.state_bytes as u64);
        self.tail_bytes.set(shards.tail_bytes as u64);
        self.evictions.set(shards.evicted);
        self.pending.set(shards.pending as u64);
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
