//! The opening handshake of RFC 6455 §4, for both ends.
//!
//! A server calls [`parse_request`] with everything received so far until it has an answer: an [`Upgrade`] whose
//! [`Upgrade::response`] opens the WebSocket, or a [`Refusal`] with a complete HTTP response that says what to do. A
//! client sends [`client_request`] and calls [`parse_response`].

mod client;
mod refusal;
mod server;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

pub use client::{ClientHandshake, ClientRequest, HandshakeError, client_request, parse_response};
pub use refusal::Refusal;
pub use server::{Handshake, Origins, Route, Rules, Upgrade, parse_request};

/// The path of a session.
pub const SESSION_PATH: &str = "/v1/ws";
/// The path of the plain echo, when it is enabled.
pub const ECHO_PATH: &str = "/echo";
/// The name of the plain echo over QUIC, as an application protocol (ALPN).
pub const ECHO_PROTOCOL: &str = "switchyard.echo";

/// The form of a session's frames, which the WebSocket subprotocol names.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// FlatBuffers in binary messages.
    Binary,
    /// JSON in text messages.
    Json,
}

impl Form {
    /// Its subprotocol name, which over QUIC is the name of the application protocol (ALPN).
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Binary => "switchyard.v1.fb",
            Self::Json => "switchyard.v1.json",
        }
    }

    /// The form that a subprotocol, or over QUIC an application protocol (ALPN), names.
    #[must_use]
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        [Self::Binary, Self::Json].into_iter().find(|form| form.subprotocol() == name)
    }
}

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
#[must_use]
pub fn accept_for(key: &str) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key.as_bytes()).chain_update(GUID).finalize())
}

/// Whether a comma-separated header value names `token`, in any case (RFC 9110 §5.6.1).
fn has_token(value: &str, token: &str) -> bool {
    value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_the_key_of_the_rfc_when_accepted_then_it_is_the_answer_of_the_rfc() {
        assert_eq!(accept_for("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
