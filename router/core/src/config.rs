//! What a shard is told when it is made.

use switchyard_schema::ids::{ShardCount, ShardId};

/// What a shard is told when it is made; the same for every shard of a process but for `shard`.
#[derive(Copy, Clone, Debug)]
pub struct ShardConfig {
    /// Which shard this is.
    pub shard: ShardId,
    /// How many there are; decides where users and conversations live.
    pub shard_count: ShardCount,
    /// How many router cores there are: a shard runs on core `shard mod router_cores`.
    pub router_cores: u16,
    /// Seeds the hash tables, so that outsiders cannot choose colliding ids. Never shows in effects.
    pub hash_seed: u64,
    /// Bytes of recent messages kept in memory.
    pub tail_bytes: usize,
    /// Bytes of users and conversations kept in memory when nothing holds them there.
    pub state_bytes: usize,
}

impl ShardConfig {
    /// The router core that runs a shard.
    #[must_use]
    pub fn core_of(&self, shard: ShardId) -> usize {
        usize::from(shard.0 % self.router_cores)
    }
}
