//! What shards say to each other.
//!
//! A message is *reserved* when a credit has set a slot aside for it, so that it always fits: the answer to a request
//! of a gateway rides on that request's credit, and a read with its reply on a read credit (`Effects::read_credits`).
//! Everything else is *open*: it takes a slot that is left, and one that does not fit is dropped, because the fact it
//! tells is told again until it is confirmed.

use std::sync::Arc;

use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::Regarding;
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Sequence, UserId};
use switchyard_schema::link::{DeliverFrame, SessionRef};
use switchyard_schema::record::MessageRecord;

/// A message between shards.
#[derive(Debug)]
pub enum Peer {
    /// Conversation's shard → sender's shard: a Send was refused. Reserved by the Send's credit.
    Refused(SendRefused),
    /// Conversation's shard → sender's shard: a Send repeats one that is durable. Reserved by the Send's credit.
    Repeated(Answer),
    /// Conversation's shard → member's shard: the head fact. Reserved by the Send's credit when it carries an answer,
    /// else open.
    Head(HeadFact),
    /// Member's shard → conversation's shard: its journal holds the head fact. Open.
    HeadConfirmed(HeadConfirmed),
    /// Member's shard → conversation's shard: the watermark fact. Open.
    Watermark(WatermarkFact),
    /// Conversation's shard → member's shard: its journal holds the watermark fact. Open.
    WatermarkConfirmed(WatermarkConfirmed),
    /// Member's shard → conversation's shard: the next messages for a session that is behind. Reserved by a read credit.
    Read(ReadRequest),
    /// Conversation's shard → member's shard: answers a Read. Reserved by the same read credit, which it gives back.
    ReadReply(Box<ReadReply>),
}

impl Peer {
    /// Whether a credit has set a slot aside for this message.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Repeated(_) | Self::Read(_) | Self::ReadReply(_) => true,
            Self::Head(fact) => fact.answers.is_some(),
            Self::HeadConfirmed(_) | Self::Watermark(_) | Self::WatermarkConfirmed(_) => false,
        }
    }
}

/// Why a Send was not accepted.
#[derive(Copy, Clone, Debug)]
pub struct SendRefused {
    /// The session that sent it.
    pub session: SessionRef,
    /// Why.
    pub code: ErrorCode,
    /// When to try again, when the code allows it.
    pub retry_after_ms: Option<u32>,
    /// Which Send.
    pub regarding: Regarding,
}

/// What a durable Send is answered with.
#[derive(Copy, Clone, Debug)]
pub struct Answer {
    /// The session that sent it.
    pub session: SessionRef,
    /// Its user.
    pub user: UserId,
    /// Its device.
    pub device: DeviceId,
    /// As in the Send.
    pub client_message_id: ClientMessageId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The message's id.
    pub message: MessageId,
    /// Its place in the conversation.
    pub sequence: Sequence,
}

/// What a member's shard must know of a conversation. Every number only grows.
#[derive(Debug)]
pub struct HeadFact {
    /// The member it is told to.
    pub user: UserId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The newest durable message.
    pub head: Sequence,
    /// The other member's watermark.
    pub peer_delivered: Sequence,
    /// The other member's watermark.
    pub peer_read: Sequence,
    /// What a confirmation repeats.
    pub stamp: FactStamp,
    /// The message that made the fact, when it is told for the first time.
    pub live: Option<Arc<LiveMessage>>,
    /// Beside a message, to its sender's shard: the session whose Send is answered by it.
    pub answers: Option<SessionRef>,
}

impl HeadFact {
    /// The answer to the Send that made it.
    #[must_use]
    pub fn answer(&self) -> Option<Answer> {
        let session = self.answers?;
        let message = &self.live.as_ref().expect("an answer stands beside its message").record;
        Some(Answer {
            session,
            user: message.sender,
            device: message.device,
            client_message_id: message.client_message_id,
            conversation: message.conversation,
            message: message.message,
            sequence: message.sequence,
        })
    }
}

/// Up to which records of its origin a head fact tells: messages and watermarks apart, because a message is told when
/// it is durable and a watermark, durable at the member already, as soon as it is known.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct FactStamp {
    /// LSN of the newest message the fact tells of.
    pub head_lsn: u64,
    /// LSN of the newest watermark the fact tells of.
    pub mark_lsn: u64,
}

impl FactStamp {
    /// Field by field the later of two stamps.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { head_lsn: self.head_lsn.max(other.head_lsn), mark_lsn: self.mark_lsn.max(other.mark_lsn) }
    }
}

/// A message as shards hand it on: there is one, however many have it.
#[derive(Debug)]
pub struct LiveMessage {
    /// The message.
    pub record: MessageRecord,
    /// The frame for everyone but its sender.
    pub frame: DeliverFrame,
}

/// A head fact is in the member's journal.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct HeadConfirmed {
    /// The member.
    pub user: UserId,
    /// The conversation.
    pub conversation: ConversationId,
    /// As in the fact.
    pub stamp: FactStamp,
}

/// How far a member is, the highest of its devices.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct WatermarkFact {
    /// The member.
    pub user: UserId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Everything up to here was delivered.
    pub delivered: Sequence,
    /// Everything up to here was read.
    pub read: Sequence,
    /// LSN of the newest cursor the fact tells of.
    pub lsn: u64,
}

/// A watermark fact is in the conversation's journal.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct WatermarkConfirmed {
    /// The member.
    pub user: UserId,
    /// The conversation.
    pub conversation: ConversationId,
    /// As in the fact.
    pub lsn: u64,
}

/// Asks for the next messages of a conversation, for one session.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ReadRequest {
    /// The session they are for.
    pub session: SessionRef,
    /// Its user.
    pub user: UserId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The message before the first one wanted.
    pub after: Sequence,
    /// Messages wanted at most.
    pub messages: u32,
    /// Bytes of bodies wanted at most; at least one message is returned whatever its size.
    pub bytes: usize,
}

/// Answers a [`ReadRequest`].
#[derive(Debug)]
pub struct ReadReply {
    /// As in the request.
    pub request: ReadRequest,
    /// What could be read.
    pub outcome: ReadOutcome,
}

/// What a [`ReadRequest`] found.
#[derive(Debug)]
pub enum ReadOutcome {
    /// Messages in ascending order without a gap. The first follows `after`, or `void_to` when that is larger.
    Messages {
        /// Everything from `after` up to here holds no message any more; not above `after` when nothing is missing.
        void_to: Sequence,
        /// The messages.
        messages: Vec<MessageRecord>,
    },
    /// Nothing can be read at the moment: too many reads are under way, or the journal or the store failed.
    Unavailable,
}
