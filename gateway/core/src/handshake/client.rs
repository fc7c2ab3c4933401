//! The client's end: RFC 6455 §4.1.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::refusal::COMEBACK_FIELD;
use super::{Form, accept_for, has_token};
use crate::limits::{HANDSHAKE_BYTES_MAX, HANDSHAKE_HEADERS_MAX};

/// What a client asks for.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct ClientRequest<'a> {
    /// `host` or `host:port`, for the Host header.
    pub host: &'a str,
    /// Usually [`super::SESSION_PATH`].
    pub path: &'a str,
    /// The form of the session; none for the echo.
    pub form: Option<Form>,
    /// A token for `Authorization: Bearer`, when it does not come with the Hello.
    pub token: Option<&'a str>,
    /// Sixteen random bytes, new for every connection.
    pub nonce: [u8; 16],
}

/// The bytes of a request.
#[must_use]
pub fn client_request(request: &ClientRequest<'_>) -> Vec<u8> {
    let ClientRequest { host, path, form, token, nonce } = request;
    let mut text = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n",
        STANDARD.encode(nonce)
    );
    if let Some(form) = form {
        text.push_str(&format!("Sec-WebSocket-Protocol: {}\r\n", form.subprotocol()));
    }
    if let Some(token) = token {
        text.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// What became of a client's request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientHandshake {
    /// The response is not complete; call again with more.
    NotYet,
    /// The WebSocket is open.
    Open {
        /// Bytes of the response; what follows them is already WebSocket.
        consumed: usize,
    },
}

/// Why no WebSocket was opened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The server answered with another status.
    #[error("the server answered {status}: {body}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What has arrived of the body, which says why.
        body: String,
        /// When to try again, if the server says so in seconds (RFC 9110 §10.2.3).
        retry_after_s: Option<u32>,
        /// The place in time that the server keeps for this client: milliseconds from now.
        comeback_ms: Option<u32>,
    },
    /// The answer is not that of a WebSocket server.
    #[error("the answer is not that of a WebSocket server: {0}")]
    Invalid(&'static str),
}

/// Parses the response at the start of `received`, which is everything received so far.
///
/// # Errors
/// When the server refused, or its answer breaks RFC 6455 §4.1.
pub fn parse_response(received: &[u8], request: &ClientRequest<'_>) -> Result<ClientHandshake, HandshakeError> {
    let mut headers = [httparse::EMPTY_HEADER; HANDSHAKE_HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let consumed = match response.parse(received) {
        Ok(httparse::Status::Complete(consumed)) => consumed,
        Ok(httparse::Status::Partial) if received.len() < HANDSHAKE_BYTES_MAX => return Ok(ClientHandshake::NotYet),
        Ok(httparse::Status::Partial) => return Err(HandshakeError::Invalid("its header is too large")),
        Err(_) => return Err(HandshakeError::Invalid("it is not HTTP")),
    };
    let field = |name: &str| {
        let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let status = response.code.unwrap_or_default();
    if status != 101 {
        let body = String::from_utf8_lossy(&received[consumed..]).trim().to_owned();
        let retry_after_s = field("Retry-After").and_then(|value| value.parse().ok());
        let comeback_ms = field(COMEBACK_FIELD).and_then(|value| value.parse().ok());
        return Err(HandshakeError::Refused { status, body, retry_after_s, comeback_ms });
    }
    if !field("Upgrade").is_some_and(|value| has_token(value, "websocket"))
        || !field("Connection").is_some_and(|value| has_token(value, "upgrade"))
    {
        return Err(HandshakeError::Invalid("it does not upgrade"));
    }
    if field("Sec-WebSocket-Accept") != Some(accept_for(&STANDARD.encode(request.nonce)).as_str()) {
        return Err(HandshakeError::Invalid("Sec-WebSocket-Accept does not match"));
    }
    if field("Sec-WebSocket-Extensions").is_some_and(|value| !value.is_empty()) {
        return Err(HandshakeError::Invalid("it names an extension that was not offered"));
    }
    if field("Sec-WebSocket-Protocol") != request.form.map(Form::subprotocol) {
        return Err(HandshakeError::Invalid("it does not name the subprotocol that was offered"));
    }
    Ok(ClientHandshake::Open { consumed })
}
