//! Why an attempt to connect failed, or a connection ended, and whether it makes sense to come back.

use std::fmt;
use std::io;

use rustls::AlertDescription;
use switchyard_gateway_core::handshake::HandshakeError;
use switchyard_schema::error::ErrorCode;

use crate::event_loop::Ended;
use crate::wire::WireError;

/// A reason. Its text is what reports count by.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Connecting, reading or writing failed.
    Io(io::ErrorKind),
    /// The server closed without a word.
    Closed,
    /// The server closed with a close code, or none.
    CloseCode(Option<u16>),
    /// TLS was refused with this alert, by either end.
    Alert(u8),
    /// The server refused the upgrade with an HTTP status.
    Http(u16),
    /// The server refused the session with an error frame.
    Refused(ErrorCode),
    /// The server said that it drains.
    Drained,
    /// No Welcome came in time.
    TimedOut,
    /// The server broke the protocol.
    Breach,
}

impl Ending {
    pub(crate) const fn of(ended: Ended) -> Self {
        match ended {
            Ended::Closed => Self::Closed,
            Ended::Failed(kind) => Self::Io(kind),
            Ended::Code { code, .. } => Self::CloseCode(code),
            Ended::Alert(alert) => Self::Alert(alert),
        }
    }

    /// The reason, and what the server said about when to come back, in milliseconds.
    pub(crate) const fn of_wire(error: &WireError) -> (Self, Option<u32>) {
        match error {
            WireError::Handshake(HandshakeError::Refused { status, retry_after_s, .. }) => {
                let hint_ms = match retry_after_s {
                    Some(seconds) => Some(seconds.saturating_mul(1_000)),
                    None => None,
                };
                (Self::Http(*status), hint_ms)
            }
            WireError::Handshake(HandshakeError::Invalid(_)) | WireError::WebSocket(_) | WireError::Stream(_) => {
                (Self::Breach, None)
            }
        }
    }

    /// Whether the server refused in words.
    pub(crate) const fn is_refusal(self) -> bool {
        matches!(self, Self::Http(_) | Self::Refused(_))
    }

    /// Whether the same attempt may succeed later.
    pub(crate) const fn may_come_back(self) -> bool {
        match self {
            Self::Http(status) => matches!(status, 408 | 429 | 500..=599),
            Self::Refused(code) => code.retry(),
            Self::Breach | Self::Alert(_) => false,
            _ => true,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(kind) => write!(f, "{kind}"),
            Self::Closed => f.write_str("closed without a word"),
            Self::CloseCode(Some(code)) => write!(f, "closed with code {code}"),
            Self::CloseCode(None) => f.write_str("closed without a code"),
            Self::Alert(alert) => write!(f, "TLS alert {:?}", AlertDescription::from(*alert)),
            Self::Http(status) => write!(f, "HTTP {status}"),
            Self::Refused(code) => f.write_str(code.name()),
            Self::Drained => f.write_str("the server drains"),
            Self::TimedOut => f.write_str("no welcome in time"),
            Self::Breach => f.write_str("the server broke the protocol"),
        }
    }
}
