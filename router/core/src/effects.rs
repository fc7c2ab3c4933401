//! What a shard wants done: records to append, messages to other threads and shards, state to load, history to read.

use switchyard_schema::ids::{ConversationId, Sequence, ShardId, UserId};
use switchyard_schema::link::ToGateway;
use switchyard_schema::record::Record;

use crate::peer::Peer;

/// The effects of one or more inputs, in order. The engine drains it after each turn and reuses it.
#[derive(Debug, Default)]
pub struct Effects {
    /// Records to append, in LSN order per shard.
    pub records: Vec<Append>,
    /// Messages to gateway threads, by index.
    pub to_gateways: Vec<(u16, ToGateway)>,
    /// Messages to other shards; the engine hands those of its own core over in the same turn.
    pub to_shards: Vec<Envelope>,
    /// State to load from the store.
    pub loads: Vec<(ShardId, LoadKey)>,
    /// History to read from the journal.
    pub reads: Vec<(ShardId, HistoryRead)>,
    /// Open slots left in the ring to each gateway thread. Set by the driver before a turn.
    pub gateway_room: Vec<usize>,
    /// Open slots left in the ring to the core of each shard, by core. Set by the driver before a turn.
    pub core_room: Vec<usize>,
}

/// A record that got its place in its shard's history.
#[derive(Debug)]
pub struct Append {
    /// The shard.
    pub shard: ShardId,
    /// Dense from 1 per shard.
    pub lsn: u64,
    /// The record.
    pub record: Record,
}

/// A message between shards.
#[derive(Debug)]
pub struct Envelope {
    /// The sender.
    pub from: ShardId,
    /// The receiver.
    pub to: ShardId,
    /// The message.
    pub peer: Peer,
}

/// What can be loaded from the state store.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum LoadKey {
    /// A user with devices, inbox and cursors.
    User(UserId),
    /// A conversation with members and remembered client message ids.
    Conversation(ConversationId),
}

/// One row of the state store. Keys begin with the shard (u16, big-endian) so that a shard is a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The key.
    pub key: Vec<u8>,
    /// The value; `None` deletes the row.
    pub value: Option<Vec<u8>>,
}

/// A read of a conversation's history that the memory tail cannot answer. Answered with
/// `Shard::handle_history`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct HistoryRead {
    /// Repeated in the answer.
    pub token: u64,
    /// The conversation.
    pub conversation: ConversationId,
    /// The newest message wanted.
    pub last: Sequence,
    /// The oldest message wanted.
    pub first: Sequence,
    /// A known (sequence, packed journal position) at or above `last`, where the walk back may start; the store's
    /// position rows may know a nearer one.
    pub start: (Sequence, u64),
    /// Bytes of bodies wanted at most; at least one message is returned whatever its size.
    pub bytes: usize,
}
