//! The server's end: RFC 6455 §4.2.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{ECHO_PATH, Form, Refusal, SESSION_PATH, accept_for, has_token};
use crate::limits::{HANDSHAKE_BYTES_MAX, HANDSHAKE_HEADERS_MAX};

/// Which browser origins may connect (RFC 6455 §10.2). Clients that are no browsers send no origin and may always.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origins {
    /// All of them: for development.
    Any,
    /// These, as `scheme://host[:port]`.
    Only(Vec<String>),
}

impl Origins {
    fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Only(allowed) => allowed.iter().any(|one| one.eq_ignore_ascii_case(origin)),
        }
    }
}

/// What a request is checked against.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Rules<'a> {
    /// Whether `/echo` exists.
    pub echo: bool,
    /// Who may connect from a browser.
    pub origins: &'a Origins,
}

/// Where a request goes.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Route {
    /// A session whose frames have this form.
    Session(Form),
    /// The plain echo.
    Echo,
}

/// A request that becomes a WebSocket.
#[derive(Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// Where it goes.
    pub route: Route,
    /// The subprotocol to name in the response: only one that the client offered.
    pub subprotocol: Option<Form>,
    /// The token of `Authorization: Bearer`.
    pub token: Option<Box<str>>,
    /// The browser's origin.
    pub origin: Option<Box<str>>,
    /// Bytes of the request; what follows them is already WebSocket.
    pub consumed: usize,
    accept: String,
}

impl Upgrade {
    /// The response that opens the WebSocket.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let mut response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            self.accept
        );
        if let Some(form) = self.subprotocol {
            response.push_str("Sec-WebSocket-Protocol: ");
            response.push_str(form.subprotocol());
            response.push_str("\r\n");
        }
        response.push_str("\r\n");
        response.into_bytes()
    }
}

impl std::fmt::Debug for Upgrade {
    /// Without the token, which is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upgrade")
            .field("route", &self.route)
            .field("has_token", &self.token.is_some())
            .field("origin", &self.origin)
            .field("consumed", &self.consumed)
            .finish_non_exhaustive()
    }
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Handshake {
    /// It is not complete; call again with more.
    NotYet,
    /// It becomes a WebSocket.
    Upgrade(Upgrade),
    /// It does not.
    Refused(Refusal),
}

/// Parses the request at the start of `received`, which is everything received so far.
#[must_use]
pub fn parse_request(received: &[u8], rules: &Rules<'_>) -> Handshake {
    let mut headers = [httparse::EMPTY_HEADER; HANDSHAKE_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let window = &received[..received.len().min(HANDSHAKE_BYTES_MAX)];
    match request.parse(window) {
        Ok(httparse::Status::Complete(consumed)) => match check(&request, consumed, rules) {
            Ok(upgrade) => Handshake::Upgrade(upgrade),
            Err(refusal) => Handshake::Refused(refusal),
        },
        Ok(httparse::Status::Partial) if received.len() < HANDSHAKE_BYTES_MAX => Handshake::NotYet,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            Handshake::Refused(Refusal::too_large())
        }
        Err(_) if received.first() == Some(&0x16) => Handshake::Refused(Refusal::bad_request(
            "This port speaks plain HTTP, and this looks like TLS; use ws:// instead of wss://.",
        )),
        Err(error) => Handshake::Refused(Refusal::bad_request(&format!("This is not an HTTP request: {error}."))),
    }
}

fn check(request: &httparse::Request<'_, '_>, consumed: usize, rules: &Rules<'_>) -> Result<Upgrade, Refusal> {
    let target = request.path.unwrap_or_default();
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let is_echo = rules.echo && path == ECHO_PATH;
    if path != SESSION_PATH && !is_echo {
        return Err(Refusal::not_found(path, rules.echo));
    }
    if request.method != Some("GET") {
        return Err(Refusal::method_not_allowed());
    }
    let fields = Fields(request.headers);
    // §4.2.1: HTTP/1.1 or later, Host, Upgrade, Connection, a key of 16 bytes, version 13.
    if request.version != Some(1) {
        return Err(Refusal::upgrade_required("WebSocket needs HTTP/1.1 or later."));
    }
    if fields.single("Host")?.is_none() {
        return Err(Refusal::bad_request("The request has no Host header."));
    }
    if !fields.has_token("Upgrade", "websocket")? || !fields.has_token("Connection", "upgrade")? {
        return Err(Refusal::upgrade_required(
            "This is a WebSocket endpoint: send Upgrade: websocket and Connection: Upgrade.",
        ));
    }
    if fields.single("Sec-WebSocket-Version")?.map(str::trim) != Some("13") {
        return Err(Refusal::upgrade_required("Only version 13 of WebSocket (RFC 6455) is spoken here."));
    }
    let key = fields.single("Sec-WebSocket-Key")?.map(str::trim).unwrap_or_default();
    if !STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) {
        return Err(Refusal::bad_request("Sec-WebSocket-Key must be 16 bytes in base64."));
    }
    if fields.single("Transfer-Encoding")?.is_some()
        || fields.single("Content-Length")?.is_some_and(|length| length.trim() != "0")
    {
        return Err(Refusal::bad_request("An upgrade request must not have a body."));
    }
    let origin = fields.single("Origin")?;
    if let Some(origin) = origin
        && !rules.origins.allow(origin)
    {
        return Err(Refusal::forbidden(origin));
    }
    let (route, subprotocol) = if is_echo { (Route::Echo, None) } else { fields.session_form()? };
    Ok(Upgrade {
        route,
        subprotocol,
        token: fields.bearer_token()?.map(Into::into),
        origin: origin.map(Into::into),
        consumed,
        accept: accept_for(key),
    })
}

/// The header fields of a request.
struct Fields<'h, 'b>(&'h [httparse::Header<'b>]);

impl<'b> Fields<'_, 'b> {
    /// Every value of a field, in order.
    fn all(&self, name: &'static str) -> impl Iterator<Item = Result<&'b str, Refusal>> {
        self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(move |header| {
            std::str::from_utf8(header.value)
                .map_err(|_| Refusal::bad_request(&format!("The header {name} is not UTF-8.")))
        })
    }

    /// The value of a field that may stand once only.
    fn single(&self, name: &'static str) -> Result<Option<&'b str>, Refusal> {
        let mut values = self.all(name);
        let first = values.next().transpose()?;
        if values.next().is_some() {
            return Err(Refusal::bad_request(&format!("The header {name} stands more than once.")));
        }
        Ok(first)
    }

    fn has_token(&self, name: &'static str, token: &str) -> Result<bool, Refusal> {
        for value in self.all(name) {
            if has_token(value?, token) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first offered form that this server knows (RFC 6455 §4.2.2: the client's order is its preference). Who offers
    /// nothing speaks JSON, so that the plainest client works.
    fn session_form(&self) -> Result<(Route, Option<Form>), Refusal> {
        let mut offered = false;
        for value in self.all("Sec-WebSocket-Protocol") {
            for name in value?.split(',') {
                offered = true;
                if let Some(form) = Form::from_subprotocol(name.trim()) {
                    return Ok((Route::Session(form), Some(form)));
                }
            }
        }
        if offered {
            return Err(Refusal::bad_request(
                "None of the offered subprotocols is spoken here; offer switchyard.v1.json or switchyard.v1.fb.",
            ));
        }
        Ok((Route::Session(Form::Json), None))
    }

    /// RFC 6750 §2.1.
    fn bearer_token(&self) -> Result<Option<&'b str>, Refusal> {
        let Some(value) = self.single("Authorization")? else { return Ok(None) };
        match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
            _ => Err(Refusal::bad_request("Only Authorization: Bearer <token> is understood here.")),
        }
    }
}
