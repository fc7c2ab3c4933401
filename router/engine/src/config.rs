//! What an engine is told when it is made.

use switchyard_router_core::ShardConfig;
use switchyard_schema::ids::{ShardCount, ShardId};

use crate::limits::{LAZY_COMMIT_MS, SNAPSHOT_MS, SNAPSHOT_RECORDS};
use crate::snapshots::SnapshotPace;

/// What an engine is told when it is made; the same for every core of a process but for `core`.
#[derive(Copy, Clone, Debug)]
pub struct EngineConfig {
    /// Which router core this is.
    pub core: u16,
    /// How many there are.
    pub router_cores: u16,
    /// How many gateway threads there are.
    pub gateways: u16,
    /// How many shards there are.
    pub shard_count: ShardCount,
    /// Seeds hash tables.
    pub hash_seed: u64,
    /// Bytes of recent messages that this core keeps in memory, over all its shards.
    pub tail_bytes: usize,
    /// Bytes of users and conversations that this core keeps in memory when nothing holds them there.
    pub state_bytes: usize,
    /// How long a record that nobody waits for may wait for company.
    pub lazy_commit_ms: u64,
    /// When snapshots are due.
    pub snapshots: SnapshotPace,
}

impl EngineConfig {
    /// The usual settings of core `core` of `router_cores`.
    #[must_use]
    pub const fn new(core: u16, router_cores: u16, gateways: u16, shard_count: ShardCount) -> Self {
        Self {
            core,
            router_cores,
            gateways,
            shard_count,
            hash_seed: 0,
            tail_bytes: 64 * 1024 * 1024,
            state_bytes: 256 * 1024 * 1024,
            lazy_commit_ms: LAZY_COMMIT_MS,
            snapshots: SnapshotPace { records: SNAPSHOT_RECORDS, every_ms: SNAPSHOT_MS },
        }
    }

    /// The shards of this core, ascending.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        (self.core..self.shard_count.get()).step_by(usize::from(self.router_cores)).map(ShardId)
    }

    /// The core of a shard.
    #[must_use]
    pub const fn core_of(&self, shard: ShardId) -> u16 {
        shard.0 % self.router_cores
    }

    pub(crate) fn shard_config(&self, shard: ShardId) -> ShardConfig {
        let own = self.shards().count().max(1);
        ShardConfig {
            shard,
            shard_count: self.shard_count,
            router_cores: self.router_cores,
            hash_seed: self.hash_seed,
            tail_bytes: self.tail_bytes / own,
            state_bytes: self.state_bytes / own,
        }
    }
}
