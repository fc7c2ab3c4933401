//! What a shard wants done: records to append, messages to other threads and shards, state to load, history to read.

use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::VoidRange;
use switchyard_schema::ids::{ConversationId, Sequence, ShardId, UserId};
use switchyard_schema::link::ToGateway;
use switchyard_schema::record::{MessageRecord, Record};

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
    /// Open slots left in the ring to the core of each shard, by core. Set by the driver before a turn; what stays on
    /// its own core passes no ring, so the driver sets that entry to `usize::MAX`.
    pub core_room: Vec<usize>,
    /// Reads that may still be asked of the shards of each core, by core. Set once to
    /// [`crate::limits::READ_CREDITS`]; after that only shards spend it (`Peer::Read`) and give it back
    /// (`Peer::ReadReply` arrived). The ring to a core has that many slots reserved for reads, and as many for replies.
    pub read_credits: Vec<usize>,
}

impl Effects {
    /// An empty buffer for a core that talks to `gateways` gateway threads and `cores` router cores, itself included,
    /// with no room in any ring and all read credits.
    #[must_use]
    pub fn new(gateways: usize, cores: usize) -> Self {
        Self {
            gateway_room: vec![0; gateways],
            core_room: vec![0; cores],
            read_credits: vec![crate::limits::READ_CREDITS; cores],
            ..Self::default()
        }
    }

    /// Answers a gateway with a message that a credit has set a slot aside for. It always fits, and it takes room from the
    /// open messages that leave after it: a ring counts whatever lies in it.
    ///
    /// # Panics
    /// When no credit stands for the message.
    pub fn answer(&mut self, gateway: u16, message: ToGateway) {
        assert!(message.returns_credit(), "an open message asks for room");
        if let Some(room) = self.gateway_room.get_mut(usize::from(gateway)) {
            *room = room.saturating_sub(1);
        }
        self.to_gateways.push((gateway, message));
    }

    /// Sends a shard of router core `core` a message that a credit has set a slot aside for, as [`Effects::answer`].
    ///
    /// # Panics
    /// When no credit stands for the message.
    pub fn send_reserved(&mut self, core: usize, envelope: Envelope) {
        assert!(envelope.peer.is_reserved(), "an open message asks for room");
        self.core_room[core] = self.core_room[core].saturating_sub(1);
        self.to_shards.push(envelope);
    }
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
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LoadKey {
    /// What the shard itself remembers (the last message id). Installed at start, before anything is replayed.
    Shard,
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
    /// position rows (`rows::position_key`) may know a nearer one.
    pub start: (Sequence, u64),
    /// Bytes of bodies wanted at most; at least one message is returned whatever its size.
    pub bytes: usize,
    /// Which end of the range to keep when `bytes` does not hold all of it.
    pub keep: Keep,
}

/// Which end of a range matters.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Keep {
    /// The messages from `first` on.
    Oldest,
    /// The messages up to `last`.
    Newest,
}

/// What the journal held.
#[derive(Debug)]
pub enum HistoryResult {
    /// A run of messages.
    Messages {
        /// In ascending order, inside first..=last, without a gap but for what is given up.
        messages: Vec<MessageRecord>,
        /// What a repair gave up, in ascending order, inside first..=last and next to the messages.
        given_up: Vec<VoidRange>,
        /// Everything up to here holds no message any more, as far as the walk found out (it may lie above `last`);
        /// zero when the walk met no end.
        void_to: Sequence,
    },
    /// The read failed; the code is what a Fetch is refused with.
    Failed(ErrorCode),
}

/// Whether the journal takes records.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum StorageState {
    /// Everything.
    Ready,
    /// The disk is full: a reserve still takes what is not a message.
    Full,
    /// A write or fdatasync failed: nothing, for the rest of this process's life.
    Failed,
}

/// What changed since the snapshot before it.
#[derive(Debug)]
pub struct Snapshot {
    /// The newest record whose effect the rows may show. Hold them until it is durable.
    pub lsn: u64,
    /// What to write, as one atomic change.
    pub rows: Vec<Row>,
}
