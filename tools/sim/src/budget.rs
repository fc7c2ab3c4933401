//! What a router core may hold in memory, by the limits that have names. What gateway threads hold is asserted where they
//! take it.

use switchyard_engine::limits::{HISTORY_CACHE_BYTES, QUEUE_BYTES_MAX, QUEUE_RECORDS_MAX, SNAPSHOTS_AT_ONCE};
use switchyard_engine::{Engine, EngineStats};
use switchyard_router_core::effects::StorageState;
use switchyard_router_core::limits::{HISTORY_READS_MAX, PARKED_PER_SHARD_MAX};

/// How often a queue may be longer than the length at which its core takes no more requests: one turn of the other cores'
/// messages still comes.
const QUEUES_PER_TURN: usize = 2;

/// The first limit that a core is over, after a turn.
pub(crate) fn exceeded(engine: &Engine, stats: &EngineStats) -> Option<String> {
    let EngineStats { shards, queued_records, queued_bytes, walks, history_cache_bytes, store_asks, .. } = *stats;
    let own = engine.config().shards().count();
    // What cannot become durable any more stays where it is.
    let tail_bytes_max = match engine.storage() {
        StorageState::Ready | StorageState::Full if shards.pending == 0 => engine.config().tail_bytes,
        _ => usize::MAX,
    };
    let limits = [
        ("bytes of recent messages", shards.tail_bytes, tail_bytes_max),
        ("inputs that wait for loads", shards.parked, own * PARKED_PER_SHARD_MAX),
        ("reads of history", shards.reads, own * HISTORY_READS_MAX),
        ("walks through history", walks, own * HISTORY_READS_MAX),
        ("bytes of recent reads", history_cache_bytes, HISTORY_CACHE_BYTES),
        ("records for the journal", queued_records, QUEUES_PER_TURN * QUEUE_RECORDS_MAX),
        ("bytes for the journal", queued_bytes, QUEUES_PER_TURN * QUEUE_BYTES_MAX),
        ("requests to the state store", store_asks, shards.parked + walks + SNAPSHOTS_AT_ONCE),
    ];
    let (what, held, most) = limits.into_iter().find(|(_, held, most)| held > most)?;
    Some(format!("core {} holds {held} {what}, and {most} are allowed", engine.config().core))
}
