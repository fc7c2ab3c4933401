//! What an engine wants its driver to do.

use std::collections::VecDeque;

use switchyard_log::history::ReadRange;
use switchyard_router_core::effects::{Envelope, LoadKey, Row};
use switchyard_schema::ids::ShardId;
use switchyard_schema::link::ToGateway;

/// Messages and requests that wait to leave a router core. The driver drains it after every turn.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To gateway threads, by index. Those that return a credit are reserved, the others fit the room the driver set.
    pub to_gateways: Vec<(u16, ToGateway)>,
    /// To other router cores, by index. Likewise.
    pub to_cores: Vec<(u16, Envelope)>,
    /// To the state store. What finds no room there stays for the next turn; it is bounded by the inputs that a shard
    /// parks, the walks at once and the snapshots at once.
    pub store: VecDeque<StoreAsk>,
    /// Reads of the journal: at most one per walk.
    pub reads: Vec<JournalRead>,
}

/// A request to the state store.
#[derive(Debug)]
pub enum StoreAsk {
    /// Every row under the key's prefix.
    Load {
        /// The shard that waits for it.
        shard: ShardId,
        /// What to load.
        key: LoadKey,
    },
    /// The value of one row.
    Position {
        /// The walk that waits for it.
        walk: u64,
        /// The row's key.
        key: Vec<u8>,
    },
    /// Write all of these rows or none, and sync.
    Commit {
        /// The shard they belong to.
        shard: ShardId,
        /// The rows, the one that says up to where they cover the journal included.
        rows: Vec<Row>,
    },
}

/// The store failed; what it says has been logged by the driver.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct StoreFailed;

/// The answer to a [`StoreAsk`].
#[derive(Debug)]
pub enum StoreReply {
    /// To a Load.
    Loaded {
        /// As asked.
        shard: ShardId,
        /// As asked.
        key: LoadKey,
        /// The rows, none included.
        rows: Result<Vec<Row>, StoreFailed>,
    },
    /// To a Position.
    Position {
        /// As asked.
        walk: u64,
        /// The value, when there is such a row.
        value: Result<Option<Vec<u8>>, StoreFailed>,
    },
    /// To a Commit.
    Committed {
        /// As asked.
        shard: ShardId,
        /// Whether the rows are durable.
        result: Result<(), StoreFailed>,
    },
}

/// A read of the journal, answered with [`crate::Engine::handle_read`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct JournalRead {
    /// Repeated in the answer.
    pub walk: u64,
    /// What to read. It may run past the last batch, and past the end of the file by less than a window: then the answer
    /// is shorter.
    pub range: ReadRange,
}
