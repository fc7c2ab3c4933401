//! Every bound of the router's drivers, with its reason.

use std::time::Duration;

/// Memory that each router core registers with its io_uring; buffers beyond it come from the allocator, and so do all when
/// the limit on locked memory does not allow it.
pub const IO_MEMORY_BYTES: usize = 1024 * 1024;
/// Entries of each of a core's io_urings: one batch, one segment and the reads of history are far fewer.
pub const RING_DEPTH: usize = 128;
/// What that counts against `RLIMIT_MEMLOCK` at most: once for each of glommio's three rings, and whole huge pages of 2 MiB
/// where the allocator has put it into such (`VmPin` of `/proc/<pid>/status`: 6 or 12 MiB for each core).
pub const REGISTERED_BYTES_MAX: u64 = 3 * 2 * (2 << 20);
/// What a core's own rings count, where the kernel counts rings (6.14 and newer): three of [`RING_DEPTH`] entries and one of
/// [`COMMIT_RING_ENTRIES`], in whole pages.
pub const RINGS_LOCKED_BYTES: u64 = 80 * 1024;
/// What `RLIMIT_MEMLOCK` must be at least for a core to start.
pub const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;
/// glommio's preemption timer. The loop gives up the thread after every bounded turn by itself, so the timer is not needed;
/// and it does harm: when it fires before the executor has begun a round, because the machine is busy, glommio takes that
/// round for idle and sleeps although tasks are ready. So it is far longer than a thread is ever kept from its processor.
pub const LATENCY_MS: u64 = 60_000;

/// Messages taken from one ring in one turn, so that every ring and the journal get their share.
pub const MESSAGES_PER_RING_PER_TURN: usize = 256;
/// Longest sleep of a core: bounds what a lost wake-up could cost, and is how often state is looked over.
pub const IDLE_TICK_MS: u64 = 500;
const _: () = assert!(IDLE_TICK_MS <= switchyard_ring::limits::SLEEP_MS_MAX, "an idle core looks alive");

/// How often a core counts what it holds in memory, for the admin listener.
pub const COUNT_MS: u64 = 1_000;
/// Loads, commits and look-ups that one core may have at the store at once.
pub const STORE_REQUESTS_PER_CORE: usize = 1024;
/// Memory of the store's block cache.
pub const STORE_CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// Memory of the store's write buffer.
pub const STORE_WRITE_BUFFER_BYTES: u64 = 16 * 1024 * 1024;
/// How long the state store's own journal gets before it begins another one, rounded up to whole fillings.
pub const STORE_JOURNAL_BYTES: u64 = 64 * FILL_BYTES as u64;
/// Bytes of rows in that journal that a stop leaves to the next start to read: far less than a tenth of a second.
pub const STORE_RENEW_BYTES: u64 = 2 * 1024 * 1024;
/// How long a stop waits for the store to write its memory to a table, which the next start is spared.
pub const STORE_FLUSH_MS_MAX: u64 = 5_000;
/// Pause before the store is opened and written again after the disk was full; it doubles with every attempt.
pub const STORE_RETRY_MS: u64 = 1_000;
/// The longest such pause.
pub const STORE_RETRY_MS_MAX: u64 = 60_000;
/// With less free space than this the store is not opened again: it would fail at once, and then not even be read.
pub const STORE_ROOM_BYTES: u64 = 2 * 1024 * 1024;
/// Space set aside for a full disk unless the operator says otherwise: the store's write buffer twice over, written
/// to its own journal and to a table, and as much again for what it rewrites.
pub const RESERVE_BYTES_DEFAULT: u64 = 4 * STORE_WRITE_BUFFER_BYTES;
/// Bytes written at once while a segment is filled with zeros.
pub const FILL_BYTES: usize = 1024 * 1024;

/// Segments that one core keeps open for reading history.
pub const OPEN_SEGMENTS_PER_CORE: usize = 16;
/// Pause before another attempt when a segment could not be made.
pub const SEGMENT_RETRY_MS: u64 = 1_000;
/// How long a stop waits for the cores to agree that every fact is confirmed.
pub const SETTLE_MS_MAX: u64 = 3_000;
/// How long a stop then waits for the last snapshots. What is not stored is replayed by the next start.
pub const FINAL_SNAPSHOTS_MS_MAX: u64 = 10_000;
/// Open slots of the link between two router cores: facts of a few turns.
pub const OPEN_SLOTS_BETWEEN_CORES: usize = 8_192;
/// How often a core that starts looks at what it waits for.
pub const STARTING_LOOK_MS: u64 = 50;
/// How long a core may take to come up: a disk that needs longer for one segment is stuck.
pub const STARTING_MS_MAX: u64 = 60_000;

/// Entries of a core's commit ring: a write and a read of the bell.
pub const COMMIT_RING_ENTRIES: u32 = 4;

/// How often a core looks at the batch in flight while the executor has the thread: a fraction of what a sync takes.
pub const COMMIT_LOOK: Duration = Duration::from_micros(50);

/// How often the executor gets a round although nothing is known that it should do: files are closed in it.
pub const EXECUTOR_LOOK: Duration = Duration::from_millis(500);

/// The shortest sleep that ends a round of the executor.
pub const EXECUTOR_ROUND: Duration = Duration::from_micros(1);
