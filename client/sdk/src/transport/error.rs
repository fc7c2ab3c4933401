//! Why a connection was not opened, or ended, and what that says about coming back.

use std::io;

use quinn::ConnectionError;
use switchyard_client_core::Wait;
use switchyard_gateway_core::framing::FramingError;
use switchyard_gateway_core::handshake::HandshakeError;
use switchyard_gateway_core::ws::WsError;

/// Why a connection was not opened, or ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("the server broke the WebSocket protocol: {0}")]
    WebSocket(#[from] WsError),
    #[error("the server sent text on a binary session")]
    Text,
    #[error("{0}")]
    Quic(ConnectionError),
    #[error("the server sent what is no frame: {0}")]
    Framing(#[from] FramingError),
    #[error("the server ended a frame before it was whole")]
    Truncated,
    #[error("the name of the server has no address")]
    NoAddress,
    #[error("the network has changed, and the connection is cut off")]
    CutOff,
    #[error("the server did not answer in time")]
    Timeout,
    #[error("the server sent the client away for {comeback_ms} ms (code {code})")]
    SentAway { code: u64, comeback_ms: u32 },
    #[error("the server closed the connection ({})", close_text(*.0))]
    Closed(Option<u64>),
}

impl TransportError {
    /// When the server wants the client back that it refused.
    pub(crate) fn wait(&self) -> Wait {
        match *self {
            Self::Handshake(HandshakeError::Refused { comeback_ms: Some(wait_ms), .. })
            | Self::SentAway { comeback_ms: wait_ms, .. } => Wait::Exactly(u64::from(wait_ms)),
            Self::Handshake(HandshakeError::Refused { retry_after_s: Some(seconds), .. }) => {
                Wait::AtLeast(u64::from(seconds) * 1_000)
            }
            _ => Wait::Unknown,
        }
    }

    /// Whether the server refused, so that it was reached.
    pub(crate) const fn is_answer(&self) -> bool {
        !matches!(self, Self::Io(_) | Self::NoAddress | Self::Timeout | Self::Quic(ConnectionError::TimedOut))
    }
}

impl From<ConnectionError> for TransportError {
    fn from(error: ConnectionError) -> Self {
        let ConnectionError::ApplicationClosed(close) = error else { return Self::Quic(error) };
        let code = close.error_code.into_inner();
        match comeback_ms(&close.reason) {
            Some(comeback_ms) => Self::SentAway { code, comeback_ms },
            None => Self::Closed(Some(code)),
        }
    }
}

/// Where a client has no stream to be told on, the reason of the close begins with when it is to come back.
fn comeback_ms(reason: &[u8]) -> Option<u32> {
    let rest = reason.strip_prefix(b"reconnect_after_ms=")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

fn close_text(code: Option<u64>) -> String {
    code.map_or_else(|| "without a code".to_owned(), |code| format!("code {code}"))
}

#[cfg(test)]
mod tests {
    use quinn::{ApplicationClose, VarInt};

    use super::*;

    #[track_caller]
    fn check(code: u32, reason: &'static str, expect: Wait) {
        let close = ApplicationClose { error_code: VarInt::from_u32(code), reason: reason.into() };
        assert_eq!(TransportError::from(ConnectionError::ApplicationClosed(close)).wait(), expect, "{reason}");
    }

    #[test]
    fn given_a_close_when_its_reason_names_a_time_then_the_client_comes_back_then() {
        check(1013, "reconnect_after_ms=1500; the server is full", Wait::Exactly(1_500));
        check(1001, "reconnect_after_ms=700", Wait::Exactly(700));
        check(1001, "the server is going away", Wait::Unknown);
        check(1013, "reconnect_after_ms=", Wait::Unknown);
        check(1013, "reconnect_after_ms=99999999999; too long a time", Wait::Unknown);
    }
}
