//! How frames get to a server and back: a WebSocket over TCP, or over TLS, or a stream over QUIC.

mod destination;
mod error;
mod networks;
mod quic;
mod race;
mod websocket;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

pub(crate) use destination::Destination;
pub(crate) use error::TransportError;
pub use networks::NetworkId;
use quic::Quic;
use websocket::WebSocket;

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
    SecureWebSocket(Box<WebSocket<TlsStream<TcpStream>>>),
    Quic(Box<Quic>),
}

/// Does the same with the connection, whatever it is.
macro_rules! each {
    ($transport:expr, $open:ident => $does:expr) => {
        match $transport {
            Transport::WebSocket($open) => $does,
            Transport::SecureWebSocket($open) => $does,
            Transport::Quic($open) => $does,
        }
    };
}

impl Transport {
    /// Queues a frame.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        each!(self, open => open.send(frame));
    }

    /// Writes and reads until there is something to decode (or, when `read` is not wanted, until all is written).
    /// Losing the future loses nothing.
    pub(crate) async fn progress(&mut self, read: bool) -> Result<Progress, TransportError> {
        each!(self, open => open.progress(read).await)
    }

    /// Hands over the frames that have been read.
    pub(crate) fn decode(&mut self, on_frame: impl FnMut(&[u8])) -> Result<(), TransportError> {
        each!(self, open => open.decode(on_frame))
    }

    /// Whether the server was heard of, since this was asked last, in a way that [`Self::progress`] does not tell.
    pub(crate) fn is_heard(&mut self) -> bool {
        match self {
            Self::WebSocket(_) | Self::SecureWebSocket(_) => false,
            Self::Quic(quic) => quic.is_heard(),
        }
    }

    /// The network has changed: goes on from another address where that is possible.
    ///
    /// # Errors
    /// When the connection is lost by that.
    pub(crate) fn network_changed(&mut self) -> Result<(), TransportError> {
        each!(self, open => open.network_changed())
    }

    /// Says goodbye and writes what is queued.
    pub(crate) async fn close(self) -> Result<(), TransportError> {
        each!(self, open => open.close().await)
    }
}
