//! Every bound of the router's drivers, with its reason.

/// Memory that each router core registers with its io_uring. It counts against `RLIMIT_MEMLOCK`, which is 8 MiB on most
/// systems, once per core and ring; batches beyond it come from the allocator.
pub const IO_MEMORY_BYTES: usize = 1024 * 1024;
/// Entries of each of a core's io_urings: one batch, one segment and the reads of history are far fewer.
pub const RING_DEPTH: usize = 128;
/// What `RLIMIT_MEMLOCK` must be at least for a core to start.
pub const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;
/// Milliseconds for which a core may run before its executor looks at the disk again.
pub const LATENCY_MS: u64 = 1;

/// Messages taken from one ring in one turn, so that every ring and the journal get their share.
pub const MESSAGES_PER_RING_PER_TURN: usize = 256;
/// Longest sleep of a core: bounds what a lost wake-up could cost, and is how often state is looked over.
pub const IDLE_TICK_MS: u64 = 50;

/// Loads, commits and look-ups that one core may have at the store at once.
pub const STORE_REQUESTS_PER_CORE: usize = 1024;
/// Memory of the store's block cache.
pub const STORE_CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// Memory of the store's write buffer.
pub const STORE_WRITE_BUFFER_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes written at once while a segment is filled with zeros.
pub const FILL_BYTES: usize = 1024 * 1024;
