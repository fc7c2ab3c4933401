//! Stateless resets (RFC 9000 §10.3): how a phone learns that the server knows its connection no more.
//!
//! A server that was killed has told nobody. When the next one gets a datagram of a connection that it does not know, it answers
//! with the token that the client was given for the id that the datagram is addressed to; the client connects again at once,
//! where otherwise it would wait until it has heard nothing for long enough. The token is made from the id and a key, so nothing
//! need be remembered but the key: it is the same for all threads and outlives the process.
//!
//! Whoever has the key can end the connections of others, and so can whoever finds a server that has the same key and not the
//! connection: servers that clients can reach at the same time are to have keys of their own.

use std::sync::Arc;

use quinn_proto::EndpointConfig;
use ring::hmac;

use crate::limits::QUIC_RESET_INTERVAL;

/// What the tokens of stateless resets are made from.
#[derive(Clone)]
pub struct ResetKey(Arc<hmac::Key>);

impl ResetKey {
    /// Bytes of the secret.
    pub const SECRET_BYTES: usize = 32;

    /// The key from a secret of random bytes.
    #[must_use]
    pub fn new(secret: &[u8; Self::SECRET_BYTES]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// The configuration of an endpoint whose resets are made from the key.
    pub(super) fn endpoint(&self) -> EndpointConfig {
        let mut endpoint = EndpointConfig::new(self.0.clone());
        endpoint.min_reset_interval(QUIC_RESET_INTERVAL);
        endpoint
    }
}

impl std::fmt::Debug for ResetKey {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResetKey").finish_non_exhaustive()
    }
}
