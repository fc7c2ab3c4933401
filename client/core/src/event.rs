//! What the client tells its application.

use bytes::Bytes;
use std::fmt;

use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Deliver, VoidRange, Watermark};
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Millis, Sequence, UserId};

/// Something the application may want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The connection changed.
    StateChanged(ConnectionState),
    /// A message arrived. Each message once, each conversation in order. It counts as taken when the driver says so.
    MessageReceived(Message),
    /// A message of this device is durable on the server.
    MessageAccepted(AcceptedMessage),
    /// A message of this device was refused for good and has left the outbox.
    SendFailed(FailedSend),
    /// A member's watermark moved (the own one too: another device of this user may have read something).
    ReceiptChanged {
        /// The conversation.
        conversation: ConversationId,
        /// How far the member is now.
        watermark: Watermark,
    },
    /// Sequence numbers that hold nothing any more were passed over: retention removed those messages.
    MessagesMissing {
        /// The conversation.
        conversation: ConversationId,
        /// Which.
        range: VoidRange,
    },
    /// The server gave out a sequence number of this conversation a second time: it has lost what it had (its data was
    /// wiped, or an older copy of it was put back). The conversation begins again at this number; what came before it
    /// is only on devices, and watermarks count anew.
    HistoryLost {
        /// The conversation.
        conversation: ConversationId,
        /// The first number that was given out again, as far as this device knows.
        sequence: Sequence,
    },
    /// Answers a fetch of the application.
    Page(HistoryPage),
    /// A fetch of the application was refused.
    FetchFailed {
        /// As returned by `fetch`.
        request: u64,
        /// Why.
        code: RefusalCode,
        /// The server's words.
        reason: String,
    },
    /// Nothing more arrives before messages are taken: the inbox, or the server's delivery window, is full.
    DeliveryStalled,
    /// The server refused something that is not a send or a fetch and the client goes on. For `token_expired`: by this
    /// device's clock the token has not expired, so one of the two clocks is wrong; the client tries again after a
    /// back-off.
    ServerError {
        /// Why.
        code: RefusalCode,
        /// The server's words.
        reason: String,
    },
}

/// Where the client stands.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum ConnectionState {
    /// Not connected; the client tries again by itself.
    Disconnected,
    /// Under way: opening, or waiting for a token or for Welcome.
    Connecting,
    /// Welcome has arrived.
    Connected,
    /// The client has stopped and does not try again.
    Stopped(StopReason),
}

/// Why a client does not try again.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum StopReason {
    /// The application closed it.
    Closed,
    /// The same device connected from somewhere else; trying again would throw that one out.
    Replaced,
    /// No token that the server takes can be had.
    TokenRefused,
    /// The server refused the session for good.
    Refused(RefusalCode),
    /// The token's user is not the one whose data the store holds.
    WrongUser,
}

/// Why the server refused something.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum RefusalCode {
    /// A code of this protocol's table.
    Known(ErrorCode),
    /// A code of a newer server, whose number is all that is known; the server's words say more.
    Newer(u16),
}

impl From<ErrorCode> for RefusalCode {
    fn from(code: ErrorCode) -> Self {
        Self::Known(code)
    }
}

impl PartialEq<ErrorCode> for RefusalCode {
    fn eq(&self, other: &ErrorCode) -> bool {
        *self == Self::Known(*other)
    }
}

impl fmt::Display for RefusalCode {
    /// The name of the table, or the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(code) => f.write_str(code.name()),
            Self::Newer(number) => write!(f, "code {number}"),
        }
    }
}

/// A message of a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
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
    /// Device and client message id, when another device of this user sent it.
    pub origin: Option<(DeviceId, ClientMessageId)>,
    /// The encoded body.
    pub body: Bytes,
}

impl Message {
    /// The text; `None` when the body has none, or is of a newer version.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        switchyard_schema::body::parse(&self.body).ok()?.text
    }

    pub(crate) fn from_deliver(deliver: &Deliver<'_>) -> Self {
        Self {
            conversation: deliver.conversation,
            message: deliver.message,
            sequence: deliver.sequence,
            sender: deliver.sender,
            time: deliver.time,
            origin: deliver.origin,
            body: Bytes::copy_from_slice(&deliver.body),
        }
    }
}

/// A message of this device that the server has made durable.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct AcceptedMessage {
    /// The name this device gave it.
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

/// A message of this device that was refused for good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailedSend {
    /// The name this device gave it.
    pub client_message_id: ClientMessageId,
    /// The conversation.
    pub conversation: ConversationId,
    /// Why.
    pub code: RefusalCode,
    /// The server's words.
    pub reason: String,
}

/// A part of a conversation's history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistoryPage {
    /// As returned by `fetch`.
    pub request: u64,
    /// The conversation.
    pub conversation: ConversationId,
    /// In ascending order, own messages included.
    pub messages: Vec<Message>,
    /// Sequence numbers in the answered range that hold nothing.
    pub void: Vec<VoidRange>,
    /// Whether the range holds more.
    pub more: bool,
}
