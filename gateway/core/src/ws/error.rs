//! What a peer can do wrong on the level of RFC 6455, and the close code that says so.

use switchyard_schema::error::CloseCode;

/// A rule of RFC 6455, or a limit, that the peer broke. The connection must be closed with [`WsError::close_code`].
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WsError {
    /// A reserved bit is set and no extension was negotiated (§5.2).
    #[error("a reserved bit is set, but no extension was negotiated")]
    ReservedBit,
    /// An opcode that has no meaning (§5.2).
    #[error("the opcode has no meaning")]
    UnknownOpcode,
    /// A client sent a frame without a mask (§5.1).
    #[error("a frame from a client must be masked")]
    NotMasked,
    /// A server sent a frame with a mask (§5.1).
    #[error("a frame from a server must not be masked")]
    Masked,
    /// The length is not in its shortest form, or has its highest bit set (§5.2).
    #[error("the payload length is not in its shortest form")]
    BadLength,
    /// A control frame is fragmented (§5.5).
    #[error("a control frame must not be fragmented")]
    FragmentedControl,
    /// A control frame of more than 125 bytes (§5.5).
    #[error("a control frame has more than 125 bytes")]
    LongControl,
    /// A continuation, but no message was begun (§5.4).
    #[error("a continuation without a message")]
    UnexpectedContinuation,
    /// A new message begins before the last one ended (§5.4).
    #[error("a new message begins inside a fragmented one")]
    UnfinishedMessage,
    /// A Close of one byte, or with a code that must not be on the wire (§5.5.1, §7.4).
    #[error("the close frame is not valid")]
    BadClose,
    /// Text, or the reason of a Close, is not UTF-8 (§8.1).
    #[error("text is not UTF-8")]
    BadUtf8,
    /// A message larger than this end takes.
    #[error("the message is larger than allowed")]
    TooBig,
}

impl WsError {
    /// The close code that this end answers with (§7.4.1).
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::BadUtf8 => CloseCode::InvalidPayload,
            Self::TooBig => CloseCode::TooBig,
            _ => CloseCode::Protocol,
        }
    }
}
