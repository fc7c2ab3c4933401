//! The frames of a session as typed values. Both wire forms (FlatBuffers and JSON) parse into these once, at the edge,
//! and are written from these.

use std::borrow::Cow;

use crate::error::ErrorCode;
use crate::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, UserId};

/// A frame from a client. Borrowed parts point into the receive buffer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientFrame<'a> {
    /// Opens the session; always the first frame.
    Hello(Hello<'a>),
    /// A new token for the same user and device.
    Renew {
        /// The token.
        token: Cow<'a, str>,
    },
    /// A message for a conversation.
    Send(Send<'a>),
    /// What this device has.
    Ack(Ack),
    /// A part of a conversation's history.
    Fetch(Fetch),
    /// Answered with a Pong.
    Ping {
        /// Repeated in the Pong.
        nonce: u64,
    },
    /// The client leaves.
    Bye,
}

/// Opens a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello<'a> {
    /// The token; `None` when it came in the `Authorization` header of the upgrade.
    pub token: Option<Cow<'a, str>>,
    /// Which device of the token's user this is.
    pub device: DeviceId,
}

/// A message for a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Send<'a> {
    /// Names this Send across retries.
    pub client_message_id: ClientMessageId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The encoded `Body`, verified.
    pub body: Cow<'a, [u8]>,
}

/// How far this device is in a conversation. Either number may be left out; neither goes back.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Ack {
    /// The conversation.
    pub conversation: ConversationId,
    /// Everything up to here has arrived.
    pub delivered: Option<Sequence>,
    /// Everything up to here was read; implies delivered.
    pub read: Option<Sequence>,
}

/// A part of a conversation's history.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Fetch {
    /// Repeated in the Page or Error.
    pub request: u64,
    /// The conversation.
    pub conversation: ConversationId,
    /// Which part.
    pub range: FetchRange,
    /// Messages wanted, 0 to [`crate::limits::PAGE_MESSAGES_MAX`]; 0 asks for watermarks only.
    pub limit: u32,
}

/// Which part of a history is wanted. The answer is in ascending order either way.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum FetchRange {
    /// The first messages after this one.
    After(Sequence),
    /// The last messages before this one.
    Before(Sequence),
}

/// A frame from the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerFrame<'a> {
    /// Answers Hello.
    Welcome(Welcome),
    /// Answers Send: the message is durable.
    Accepted(Accepted),
    /// A message of a conversation.
    Deliver(Deliver<'a>),
    /// A member's watermark moved.
    Receipt(Receipt),
    /// Answers Fetch.
    Page(Page<'a>),
    /// Refuses a frame or ends the session.
    Error(ErrorFrame<'a>),
    /// Answers Ping.
    Pong {
        /// As in the Ping.
        nonce: u64,
    },
    /// The server is going away.
    Drain {
        /// When to connect again, from now.
        reconnect_after_ms: u32,
    },
}

/// Answers Hello, with the limits in force.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The user of the token.
    pub user: UserId,
    /// The device of the Hello.
    pub device: DeviceId,
    /// After this silence the server pings; after twice this it gives up.
    pub heartbeat_ms: u32,
    /// Bytes of the largest frame a client may send.
    pub max_frame_bytes: u32,
    /// Messages a device may have unacknowledged.
    pub delivery_window: u32,
    /// Sends a device may have unanswered.
    pub max_pending_sends: u32,
    /// The server's clock.
    pub time: Millis,
}

/// Answers Send.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// As in the Send.
    pub client_message_id: ClientMessageId,
    /// The conversation.
    pub conversation: ConversationId,
    /// The message's id.
    pub message: MessageId,
    /// Its place in the conversation.
    pub sequence: Sequence,
    /// When it was accepted.
    pub time: Millis,
}

/// A message of a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deliver<'a> {
    /// The conversation.
    pub conversation: ConversationId,
    /// The message's id.
    pub message: MessageId,
    /// Its place in the conversation.
    pub sequence: Sequence,
    /// Who sent it.
    pub sender: UserId,
    /// When it was accepted.
    pub time: Millis,
    /// Device and client message id, told only to the sender's own devices.
    pub origin: Option<(DeviceId, ClientMessageId)>,
    /// The encoded `Body`.
    pub body: Cow<'a, [u8]>,
}

/// How far a member is.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// The conversation.
    pub conversation: ConversationId,
    /// Whose watermark.
    pub watermark: Watermark,
}

/// A member's watermark: the highest of the member's devices.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Watermark {
    /// The member.
    pub member: UserId,
    /// Everything up to here was delivered.
    pub delivered: Sequence,
    /// Everything up to here was read.
    pub read: Sequence,
}

/// A run of sequence numbers that hold no message any more, both ends included.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct VoidRange {
    /// The first.
    pub from: Sequence,
    /// The last.
    pub to: Sequence,
}

/// Answers Fetch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<'a> {
    /// As in the Fetch.
    pub request: u64,
    /// The conversation.
    pub conversation: ConversationId,
    /// In ascending order.
    pub messages: Vec<Deliver<'a>>,
    /// Sequence numbers inside the answered range that hold nothing.
    pub void: Vec<VoidRange>,
    /// Every member's watermark.
    pub watermarks: Vec<Watermark>,
    /// Whether the range holds more than fitted.
    pub more: bool,
}

/// What an Error is about.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Regarding {
    /// The session itself.
    Session,
    /// A Send.
    Send(ClientMessageId),
    /// A Fetch.
    Request(u64),
}

/// Refuses a frame or ends the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorFrame<'a> {
    /// The code; an unknown number of a newer server is a [`Result::Err`] while parsing only for the typed client.
    pub code: ErrorCode,
    /// What happened and what to do.
    pub reason: Cow<'a, str>,
    /// When to try again, when [`ErrorCode::retry`].
    pub retry_after_ms: Option<u32>,
    /// What it is about.
    pub regarding: Regarding,
}
