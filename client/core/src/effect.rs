//! What the client asks of its driver.
//!
//! The driver performs effects in their order, and one rule carries every promise of this crate: **a [`Effect::Store`]
//! is durable before any later [`Effect::Transmit`] or [`Effect::Event`] is performed**. A Send leaves only when it is in the outbox, an
//! Ack only when what it acknowledges is in the inbox. A driver may gather the stores of a batch of effects into one
//! transaction that it commits first.

use bytes::Bytes;
use switchyard_schema::frame::{ClientFrame, Watermark};
use switchyard_schema::ids::{ClientMessageId, ConversationId, MessageId, Sequence, UserId};

use crate::event::{Event, Message};

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Keep this.
    Store(StoreOp),
    /// Open a connection, then call `handle_opened`, or `handle_closed` when that fails.
    Connect,
    /// Put this frame on the connection.
    Transmit(ClientFrame<'static>),
    /// Close the connection after what was transmitted. Nothing of it is reported any more, not even that it closed.
    Disconnect,
    /// Get a fresh token, then call `handle_token` or `handle_token_failed`.
    RequestToken,
    /// Tell the application.
    Event(Event),
}

/// One change of what is kept. Every operation replaces or removes a whole row, so repeating one changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreOp {
    /// Whose store this is.
    PutUser(UserId),
    /// The state of a conversation.
    PutConversation(ConversationRow),
    /// A member's watermark in a conversation.
    PutWatermark(ConversationId, Watermark),
    /// A message to send.
    PutOutbox(OutboxRow),
    /// It was accepted, or refused for good.
    DropOutbox(ClientMessageId),
    /// A message for the application.
    PutInbox(Message),
    /// The application has taken it.
    DropInbox(ConversationId, Sequence),
}

/// What is kept of a conversation.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ConversationRow {
    /// The conversation.
    pub conversation: ConversationId,
    /// Everything up to here has arrived; `None` before anything has.
    pub delivered: Option<Sequence>,
    /// Everything up to here was read here.
    pub read: Sequence,
    /// The newest message that this user sent from this device.
    pub own_head: Sequence,
    /// The message with the highest place that this device knows of.
    pub newest: Option<(Sequence, MessageId)>,
}

/// A message in the outbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutboxRow {
    /// Its place in the outbox; grows with every message.
    pub order: u64,
    /// Names the Send across retries.
    pub client_message_id: ClientMessageId,
    /// Where it goes.
    pub conversation: ConversationId,
    /// The encoded body.
    pub body: Bytes,
}

/// What the store held when the client started.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    /// Whose store it is, once a server has said so.
    pub user: Option<UserId>,
    /// Conversations.
    pub conversations: Vec<ConversationRow>,
    /// Watermarks.
    pub watermarks: Vec<(ConversationId, Watermark)>,
    /// The outbox, in any order.
    pub outbox: Vec<OutboxRow>,
    /// Messages that the application has not taken, in any order.
    pub inbox: Vec<Message>,
}
