//! Limits of a shard, each with its reason.

/// Reads that the shards of one core may have under way at the shards of another: enough to keep a core that streams
/// catch-ups busy across the ring's round trip, few enough to reserve that many slots in every ring.
pub const READ_CREDITS: usize = 64;
/// Messages asked for by one read of a catch-up: amortises the round trip, leaves turns to other sessions.
pub const READ_MESSAGES_MAX: u32 = 32;
/// Bytes of bodies asked for by one read of a catch-up.
pub const READ_BYTES_MAX: usize = 64 * 1024;
/// Reads that one session may have under way, so that one device that was away for long does not take all credits.
pub const READS_PER_SESSION_MAX: u32 = 2;
/// Reads of the journal that one shard may have under way; each holds at most a Page of bodies in memory.
pub const HISTORY_READS_MAX: usize = 128;
/// How often a read of history may be planned anew because older segments turned out to be gone.
pub const HISTORY_REPLANS_MAX: u8 = 3;
/// When a read that could not be served is tried again.
pub const READ_RETRY_MS: u64 = 100;

/// When a fact that was not confirmed is told again, at the latest twice that: well above a batch and a round trip, below
/// what a person notices.
pub const RETELL_AFTER_MS: u64 = 200;
/// Facts told again in one tick.
pub const RETELLS_PER_TICK: usize = 128;

/// How long a member's shard lets a head fact wait for the next ones of its conversation before it journals and confirms
/// what they came to: a conversation in full flow costs a few records a second there instead of one for each message. Until
/// then the fact is told again after a crash, and after [`RETELL_AFTER_MS`], which is longer.
pub const INBOX_RECORD_MS: u64 = 100;
const _: () = assert!(2 * INBOX_RECORD_MS <= RETELL_AFTER_MS);
/// Such records made in one tick: with a cursor each they are a small part of what a core's queue of records takes, and a
/// shard gets through half a million a second.
pub const INBOX_RECORDS_PER_TICK: usize = 512;

/// Inputs that wait for one cold user or conversation to be loaded: two devices may send all they are allowed to.
pub const PARKED_PER_KEY_MAX: usize = 512;
/// Inputs of a shard that wait for loads; bounds the message bodies held outside every other budget.
pub const PARKED_PER_SHARD_MAX: usize = 4096;
/// When a client that met a full queue should try again.
pub const OVERLOADED_RETRY_MS: u32 = 250;
/// When a client should try again while messages cannot be stored.
pub const STORAGE_RETRY_MS: u32 = 2000;

/// Steps of catch-up (one step looks at one conversation of one session) that follow an input at once.
pub const CATCH_UP_STEPS_PER_INPUT: usize = 4;
/// Steps of catch-up in one tick.
pub const CATCH_UP_STEPS_PER_TICK: usize = 128;
/// Conversations of a newly attached session that one step looks through for work.
pub const SCAN_PER_STEP: usize = 64;

/// How long a full window may stay without an ack before the client is told why nothing more comes.
pub const STALLED_AFTER_MS: u64 = 2000;
/// How often at most a session is told its own watermark, per conversation.
pub const OWN_RECEIPT_EVERY_MS: u64 = 1000;
/// Timers looked at in one tick, per kind.
pub const TIMERS_PER_TICK: usize = 256;
/// How much earlier than the end of its last session a device may have missed receipts: a session counts as ended when
/// its silence was noticed.
pub const MISSED_RECEIPTS_SLACK_MS: u64 = 2 * 60 * 1000;

/// Devices whose client message ids a direct conversation remembers: two users' worth.
pub const DEDUPE_DEVICES_MAX: usize = 2 * switchyard_schema::limits::DEVICES_PER_USER_MAX;
/// Every how many messages a conversation's journal position is kept in the state store.
pub const POSITION_EVERY: u64 = 64;

/// Users, or conversations, that lie side by side in memory: large enough that the allocator's own bytes do not count, small
/// enough that the chunk which is being filled does not either, in each of many shards.
pub const CHUNK_ENTRIES: usize = 64;
/// Places without an entry that one look for eviction passes over: where many left, long runs of them lie side by side, and a
/// million take a few ticks.
pub const FREE_PLACES_PER_LOOK: usize = 1024;
/// Entries that one tick looks at for eviction, users and conversations apart.
pub const EVICTIONS_PER_TICK: usize = 64;
/// When a tick with unfinished work should follow.
pub const TICK_SOON_MS: u64 = 1;
