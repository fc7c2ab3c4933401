//! What gateway threads and router threads say to each other, over the rings of `router/ring`.
//!
//! Two classes of message share a ring. *Reserved* messages have a slot set aside by a credit, so they always fit:
//! requests that need an answer ([`ToRouter::needs_credit`]) and those answers ([`ToGateway::returns_credit`]).
//! *Open* messages take what is left; one that does not fit stays a mark in the state of its sender and is tried again.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::error::ErrorCode;
use crate::frame::{Ack, Fetch, Receipt, Regarding, VoidRange, Watermark};
use crate::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, ShardId, UserId};
use crate::record::MessageRecord;

/// A session, as the router names it. Unique in the life of the process: a slot's epoch grows with every new session.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct SessionRef {
    /// The gateway thread.
    pub gateway: u16,
    /// The place in that thread's table.
    pub slot: u32,
    /// Which use of that place.
    pub epoch: u32,
}

/// Whose session it is.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// The session.
    pub session: SessionRef,
    /// Its user.
    pub user: UserId,
    /// Its device.
    pub device: DeviceId,
}

/// From a gateway thread to the router core that owns the shard named beside it.
#[derive(Debug)]
pub enum ToRouter {
    /// To the user's shard: a session passed authentication. Answer: [`ToGateway::Attached`] or [`ToGateway::Refused`].
    Attach(Origin),
    /// The same of a client that may be the replay of an earlier one, for its handshake is not done: it may take nobody's place.
    /// Answer: [`ToGateway::Attached`], [`ToGateway::Occupied`] or [`ToGateway::Refused`].
    AttachEarly(Origin),
    /// To the user's shard: the session ended. Never lost: the gateway keeps the slot until it has been pushed.
    Detach {
        /// The session that ended; one that was replaced meanwhile is ignored.
        origin: Origin,
        /// When bytes were last received from it.
        last_seen: Millis,
    },
    /// To the conversation's shard. Answer: [`ToGateway::Accepted`], from the *sender's* shard (so that the answer and
    /// deliveries to the same session keep their order), or [`ToGateway::Refused`], also from the sender's shard.
    Send(SendRequest),
    /// To the user's shard. No answer of its own.
    Ack {
        /// The acknowledging session.
        origin: Origin,
        /// What it has.
        ack: Ack,
    },
    /// To the conversation's shard. Answer: [`ToGateway::Page`] or [`ToGateway::Refused`], from that shard.
    Fetch {
        /// The asking session.
        origin: Origin,
        /// What is wanted.
        fetch: Fetch,
    },
}

impl ToRouter {
    /// Whether the gateway must hold a credit for the core that it goes to and the core that will answer.
    #[must_use]
    pub const fn needs_credit(&self) -> bool {
        matches!(self, Self::Attach(_) | Self::AttachEarly(_) | Self::Send(_) | Self::Fetch { .. })
    }
}

/// A message on its way to be accepted.
#[derive(Debug)]
pub struct SendRequest {
    /// The sending session.
    pub origin: Origin,
    /// The conversation.
    pub conversation: ConversationId,
    /// The name the device gave it.
    pub client_message_id: ClientMessageId,
    /// When its user may begin another direct conversation, in milliseconds from now; 0: now.
    pub begin_in_ms: u32,
    /// The frame that recipients will get, but for what the conversation's shard assigns: the one copy of the message
    /// out of the receive buffer.
    pub draft: DeliverDraft,
}

/// From a router core to a gateway thread.
#[derive(Debug)]
pub enum ToGateway {
    /// The session is known to its user's shard; Welcome may go out. Returns the credit of the Attach.
    Attached(SessionRef),
    /// The device has a session, which an [`ToRouter::Attach`] would end, and so this one is not attached. Returns the credit of
    /// the AttachEarly.
    Occupied(SessionRef),
    /// A request was refused. Returns its credit.
    Refused {
        /// The session that asked.
        session: SessionRef,
        /// The shard that it asked. Of a Send that is the conversation's, though the answer comes from the sender's.
        shard: ShardId,
        /// Why.
        code: ErrorCode,
        /// When to try again, when the code allows it.
        retry_after_ms: Option<u32>,
        /// Which request.
        regarding: Regarding,
    },
    /// A Send is durable. Returns its credit.
    Accepted {
        /// The session that sent it.
        session: SessionRef,
        /// As in the Send.
        client_message_id: ClientMessageId,
        /// The conversation.
        conversation: ConversationId,
        /// The message's id, which carries the time.
        message: MessageId,
        /// Its place in the conversation.
        sequence: Sequence,
    },
    /// A Fetch is answered. Returns its credit.
    Page(Box<PageReply>),
    /// A message for some sessions of this gateway, encoded once.
    Deliver {
        /// The sessions.
        sessions: Recipients,
        /// The frame they all get.
        frame: DeliverFrame,
    },
    /// A watermark for some sessions of this gateway.
    Receipt {
        /// The sessions.
        sessions: Recipients,
        /// The receipt they all get.
        receipt: Receipt,
    },
    /// The same device connected again: close with `session_replaced`.
    Replaced(SessionRef),
    /// Nothing more is delivered before an ack: tell the client once why.
    Stalled(SessionRef),
}

impl ToGateway {
    /// Whether it answers a request that held a credit.
    #[must_use]
    pub const fn returns_credit(&self) -> bool {
        matches!(
            self,
            Self::Attached(_) | Self::Occupied(_) | Self::Refused { .. } | Self::Accepted { .. } | Self::Page(_)
        )
    }
}

/// The sessions of one gateway that a frame goes to; two fit without an allocation.
pub type Recipients = SmallVec<[SessionRef; 2]>;

/// An answer to Fetch, encoded by the gateway in the session's own form.
#[derive(Debug)]
pub struct PageReply {
    /// The session that asked.
    pub session: SessionRef,
    /// As in the Fetch.
    pub request: u64,
    /// The conversation.
    pub conversation: ConversationId,
    /// In ascending order.
    pub messages: Vec<MessageRecord>,
    /// Sequence numbers in the answered range that hold nothing.
    pub void: Vec<VoidRange>,
    /// Every member's watermark.
    pub watermarks: SmallVec<[Watermark; 2]>,
    /// Whether the range holds more.
    pub more: bool,
}

/// A Deliver in its binary form, complete with the WebSocket header of an unmasked, unfragmented binary message
/// (RFC 6455 §5.2), encoded once and shared by everyone who gets it.
#[derive(Clone, Debug)]
pub struct DeliverFrame {
    bytes: Bytes,
    header_bytes: u8,
}

impl DeliverFrame {
    /// Joins an encoded frame with its WebSocket header; `bytes[header_bytes..]` is the FlatBuffer.
    #[must_use]
    pub const fn new(bytes: Bytes, header_bytes: u8) -> Self {
        Self { bytes, header_bytes }
    }

    /// Header and frame, ready for a WebSocket.
    #[must_use]
    pub const fn websocket(&self) -> &Bytes {
        &self.bytes
    }

    /// The FlatBuffer alone.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[usize::from(self.header_bytes)..]
    }
}

/// A [`DeliverFrame`] whose message id, sequence and time are not known yet. Made by the gateway
/// (`crate::encode::deliver_draft`), stamped by the conversation's shard.
#[derive(Debug)]
pub struct DeliverDraft {
    bytes: BytesMut,
    header_bytes: u8,
    stamp_at: usize,
    body: Range<usize>,
}

impl DeliverDraft {
    /// `bytes` is header and frame; at `stamp_at` lie 24 bytes for message id, sequence and time (little-endian u64
    /// each); `body` is where the encoded body lies.
    ///
    /// # Panics
    /// When a position lies outside `bytes`.
    #[must_use]
    pub fn new(bytes: BytesMut, header_bytes: u8, stamp_at: usize, body: Range<usize>) -> Self {
        assert!(stamp_at + 24 <= bytes.len() && body.start <= body.end && body.end <= bytes.len());
        Self { bytes, header_bytes, stamp_at, body }
    }

    /// The encoded body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.body.clone()]
    }

    /// Writes what was assigned. The second value is the body, sharing the frame's memory.
    #[must_use]
    pub fn stamp(mut self, message: MessageId, sequence: Sequence) -> (DeliverFrame, Bytes) {
        let words = [message.get(), sequence.0, message.time().0];
        for (slot, word) in self.bytes[self.stamp_at..self.stamp_at + 24].chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        let bytes = self.bytes.freeze();
        let body = bytes.slice(self.body);
        (DeliverFrame::new(bytes, self.header_bytes), body)
    }
}
