//! Every bound of a router core's engine, with its reason.

/// How long a record that nobody waits for (a cursor, an inbox, a watermark) may wait for company in a batch.
pub const LAZY_COMMIT_MS: u64 = 2;
/// Silence after which a journal writes its closing mark, so that later damage is told from a torn tail.
pub const IDLE_MARK_MS: u64 = 1000;
/// Bytes of records that may wait for the next batches: at this the core takes no more requests from gateways, and their
/// credits hold them back.
pub const QUEUE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Records that may wait for the next batches, for the same reason.
pub const QUEUE_RECORDS_MAX: usize = 64 * 1024;

/// How soon a shard that got an input has its housekeeping looked after.
pub const TOUCHED_TICK_MS: u64 = 5;

/// Records of a shard after which its changed state goes to the store: bounds what a restart replays.
pub const SNAPSHOT_RECORDS: u64 = 100_000;
/// Time after which it does in any case.
pub const SNAPSHOT_MS: u64 = 30_000;
/// Snapshots of one core that may be held or stored at once: their rows lie in memory.
pub const SNAPSHOTS_AT_ONCE: usize = 4;
/// How often a core looks for shards whose snapshot is due.
pub const SNAPSHOT_LOOK_MS: u64 = 100;

/// Walks through history under way at once; others wait in line. Each holds at most a Page of bodies.
pub const WALKS_AT_ONCE: usize = 32;
/// Bytes that one read of history brings at least, aligned: neighbouring records then cost one read.
pub const HISTORY_WINDOW_BYTES: u32 = 16 * 1024;
/// Bytes of recent reads kept per core.
pub const HISTORY_CACHE_BYTES: usize = 1024 * 1024;
/// A walk that starts further than this from what is wanted asks the store for a nearer position first.
pub const WALK_STEPS_BEFORE_LOOKUP: u64 = 8;
