//! How frames get to a server and back. One transport so far; TLS is the same WebSocket over another stream, and QUIC
//! becomes a variant beside it.

mod websocket;

use std::io;

use switchyard_client_core::Wait;
use switchyard_gateway_core::handshake::HandshakeError;
use switchyard_gateway_core::ws::WsError;
use tokio::net::TcpStream;

use crate::address::Address;
use crate::limits::OPEN_TIMEOUT;
use websocket::WebSocket;

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
    #[error("the server did not answer in time")]
    Timeout,
    #[error("the server closed the connection ({})", close_text(*.0))]
    Closed(Option<u16>),
}

impl TransportError {
    /// When the server wants the client back that it refused.
    pub(crate) fn wait(&self) -> Wait {
        match *self {
            Self::Handshake(HandshakeError::Refused { comeback_ms: Some(wait_ms), .. }) => {
                Wait::Exactly(u64::from(wait_ms))
            }
            Self::Handshake(HandshakeError::Refused { retry_after_s: Some(seconds), .. }) => {
                Wait::AtLeast(u64::from(seconds) * 1_000)
            }
            _ => Wait::Unknown,
        }
    }
}

fn close_text(code: Option<u16>) -> String {
    code.map_or_else(|| "without a code".to_owned(), |code| format!("code {code}"))
}

/// What a connection did.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Bytes arrived: there may be something to decode, and the server lives.
    Received,
    /// All that was queued is written, which says nothing of the server.
    Written,
}

/// An open connection.
#[derive(Debug)]
pub(crate) enum Transport {
    WebSocket(Box<WebSocket<TcpStream>>),
}

impl Transport {
    pub(crate) async fn open(address: Address) -> Result<Self, TransportError> {
        let opening = async {
            let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
            stream.set_nodelay(true)?;
            Ok(Self::WebSocket(Box::new(WebSocket::open(stream, &address).await?)))
        };
        tokio::time::timeout(OPEN_TIMEOUT, opening).await.unwrap_or(Err(TransportError::Timeout))
    }

    /// Queues a frame.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        match self {
            Self::WebSocket(websocket) => websocket.send(frame),
        }
    }

    /// Writes and reads until there is something to decode (or, when `read` is not wanted, until all is written).
    /// Losing the future loses nothing.
    pub(crate) async fn progress(&mut self, read: bool) -> Result<Progress, TransportError> {
        match self {
            Self::WebSocket(websocket) => websocket.progress(read).await,
        }
    }

    /// Hands over the frames that have been read.
    pub(crate) fn decode(&mut self, on_frame: impl FnMut(&[u8])) -> Result<(), TransportError> {
        match self {
            Self::WebSocket(websocket) => websocket.decode(on_frame),
        }
    }

    /// Says goodbye and writes what is queued.
    pub(crate) async fn close(self) -> Result<(), TransportError> {
        match self {
            Self::WebSocket(websocket) => websocket.close().await,
        }
    }
}
