//! Coming back early (0-RTT): what a client says before its handshake is done. The server may not take it, and then all of it is
//! to be said again; and where nothing comes back at all it must not be waited for as long as a session would be.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use quinn::{Connection, RecvStream, SendStream, ZeroRttAccepted};
use tokio::time::{Instant, timeout_at};

use crate::transport::TransportError;

/// The address at which a handshake was done last, while nothing has been said early since that was not answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Proven(Arc<Mutex<Option<SocketAddr>>>);

impl Proven {
    pub(super) fn put(&self, address: SocketAddr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    pub(super) fn take(&self) -> Option<SocketAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A handshake that is not done yet.
pub(super) struct Early {
    accepted: ZeroRttAccepted,
    /// What came of it.
    is_accepted: Option<bool>,
    until: Instant,
    /// What was said meanwhile: a Hello, mostly. The transport allows no more than the server remembers to have granted.
    said: BytesMut,
    address: SocketAddr,
    proven: Proven,
}

impl Early {
    /// The handshake with `address` may take as long as `patience`.
    pub(super) fn new(accepted: ZeroRttAccepted, patience: Duration, address: SocketAddr, proven: Proven) -> Self {
        let until = Instant::now() + patience;
        Self { accepted, is_accepted: None, until, said: BytesMut::new(), address, proven }
    }

    pub(super) fn on_said(&mut self, bytes: &[u8]) {
        self.said.extend_from_slice(bytes);
    }

    /// Waits until the handshake is done. If nothing of what was said early was taken, answers the stream on which to say it
    /// again. Losing the future loses nothing.
    pub(super) async fn settle(
        &mut self,
        connection: &Connection,
    ) -> Result<Option<(SendStream, RecvStream)>, TransportError> {
        let is_accepted = match self.is_accepted {
            Some(is_accepted) => is_accepted,
            None => timeout_at(self.until, &mut self.accepted).await.map_err(|_| TransportError::Timeout)?,
        };
        self.is_accepted = Some(is_accepted);
        // Of one that was taken, reading tells the end, after the last frames.
        let stream = if is_accepted { None } else { Some(connection.open_bi().await?) };
        self.proven.put(self.address);
        Ok(stream)
    }

    /// What is to be said again.
    pub(super) fn into_said(self) -> BytesMut {
        self.said
    }
}

impl std::fmt::Debug for Early {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Early").field("address", &self.address).field("until", &self.until).finish_non_exhaustive()
    }
}
