//! How frames get to a server and back: a WebSocket over TCP, or over TLS. QUIC becomes a variant beside them.

mod websocket;

use std::io;

use switchyard_client_core::Wait;
use switchyard_gateway_core::handshake::HandshakeError;
use switchyard_gateway_core::ws::WsError;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::address::Address;
use crate::error::Error;
use crate::limits::OPEN_TIMEOUT;
use crate::trust::Trust;
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

/// Where a client connects, and how.
#[derive(Clone)]
pub(crate) struct Destination {
    address: Address,
    /// For a server that speaks TLS: what its certificate must name, and who must vouch for it.
    tls: Option<(ServerName<'static>, TlsConnector)>,
}

impl Destination {
    /// # Errors
    /// When the URL or the authorities cannot be used.
    pub(crate) fn new(url: &str, trust: &Trust) -> Result<Self, Error> {
        let address = Address::parse(url)?;
        let tls = if address.secure {
            let name = ServerName::try_from(address.host.clone()).map_err(|_| Error::InvalidUrl {
                url: url.to_owned(),
                problem: "its host is no name that a certificate could have",
            })?;
            Some((name, trust.connector()?))
        } else {
            None
        };
        Ok(Self { address, tls })
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) enum Transport {
    WebSocket(Box<WebSocket<TcpStream>>),
    SecureWebSocket(Box<WebSocket<TlsStream<TcpStream>>>),
}

/// Does the same with the connection, whatever it is.
macro_rules! each {
    ($transport:expr, $websocket:ident => $does:expr) => {
        match $transport {
            Transport::WebSocket($websocket) => $does,
            Transport::SecureWebSocket($websocket) => $does,
        }
    };
}

impl Transport {
    pub(crate) async fn open(Destination { address, tls }: Destination) -> Result<Self, TransportError> {
        let opening = async {
            let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
            stream.set_nodelay(true)?;
            let Some((name, connector)) = tls else {
                return Ok(Self::WebSocket(Box::new(WebSocket::open(stream, &address).await?)));
            };
            let stream = connector.connect(name, stream).await?;
            Ok(Self::SecureWebSocket(Box::new(WebSocket::open(stream, &address).await?)))
        };
        tokio::time::timeout(OPEN_TIMEOUT, opening).await.unwrap_or(Err(TransportError::Timeout))
    }

    /// Queues a frame.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        each!(self, websocket => websocket.send(frame));
    }

    /// Writes and reads until there is something to decode (or, when `read` is not wanted, until all is written).
    /// Losing the future loses nothing.
    pub(crate) async fn progress(&mut self, read: bool) -> Result<Progress, TransportError> {
        each!(self, websocket => websocket.progress(read).await)
    }

    /// Hands over the frames that have been read.
    pub(crate) fn decode(&mut self, on_frame: impl FnMut(&[u8])) -> Result<(), TransportError> {
        each!(self, websocket => websocket.decode(on_frame))
    }

    /// Says goodbye and writes what is queued.
    pub(crate) async fn close(self) -> Result<(), TransportError> {
        each!(self, websocket => websocket.close().await)
    }
}
