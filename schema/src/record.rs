//! What the journal remembers: one value per record kind. `router/core` makes and replays them, `router/log` gives each
//! its bytes (`router/log/FORMAT.md`).
//!
//! Every record is a monotone fact: replaying one twice, or over a newer state, changes nothing.

use bytes::Bytes;

use crate::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, UserId};

/// One entry of a shard's history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// A message got its place in its conversation (kept by the conversation's shard).
    Message(MessageRecord),
    /// A member's watermark, as the conversation's shard knows it.
    Watermark(WatermarkRecord),
    /// A device of a user (kept by the user's shard).
    Device(DeviceRecord),
    /// The newest cursor of a device in a conversation (user's shard).
    Cursor(CursorRecord),
    /// What a member was told of a conversation (user's shard).
    Inbox(InboxRecord),
}

/// A message, as it is accepted, stored and paged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageRecord {
    /// The conversation it belongs to.
    pub conversation: ConversationId,
    /// Its place in the conversation, from 1.
    pub sequence: Sequence,
    /// Its id; carries the time it was accepted.
    pub message: MessageId,
    /// Who sent it.
    pub sender: UserId,
    /// From which device.
    pub device: DeviceId,
    /// The name the device gave it.
    pub client_message_id: ClientMessageId,
    /// The encoded body (a FlatBuffer `Body`), opaque to everything behind the gateway.
    pub body: Bytes,
}

/// How far a member is, the highest of its devices.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct WatermarkRecord {
    /// The conversation.
    pub conversation: ConversationId,
    /// Whose watermark.
    pub member: UserId,
    /// Everything up to here was delivered.
    pub delivered: Sequence,
    /// Everything up to here was read.
    pub read: Sequence,
}

/// A device became known, or was last heard of.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct DeviceRecord {
    /// Whose device.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// When its newest session ended (zero while it never did).
    pub last_seen: Millis,
}

/// How far a device is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct CursorRecord {
    /// Whose device.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Everything up to here was delivered to it.
    pub delivered: Sequence,
    /// Everything up to here was read on it.
    pub read: Sequence,
}

/// What a member's shard knows of a conversation: each field the highest it was told.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct InboxRecord {
    /// The member.
    pub user: UserId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The newest durable message.
    pub head: Sequence,
    /// The other member's watermark (direct conversations).
    pub peer_delivered: Sequence,
    /// The other member's watermark (direct conversations).
    pub peer_read: Sequence,
    /// When the other member's watermark last moved.
    pub peer_moved: Millis,
}
