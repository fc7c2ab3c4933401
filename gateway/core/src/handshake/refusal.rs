//! Complete HTTP responses for a request that does not become a WebSocket. Each says what to do.

/// Why a request is refused, with the response to send before closing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The response, header and body.
    pub response: Vec<u8>,
}

/// The header field that says in how many milliseconds a client has its place, where `Retry-After` has seconds only.
pub(super) const COMEBACK_FIELD: &str = "Retry-After-Ms";

impl Refusal {
    /// 503: the gateway takes no more connections now. `comeback_ms` is when the client has its place; clients that know
    /// only RFC 9110 come in the second after it.
    #[must_use]
    pub fn unavailable(why: &str, comeback_ms: u32) -> Self {
        let seconds = comeback_ms.div_ceil(1_000);
        let fields = format!("Retry-After: {seconds}\r\n{COMEBACK_FIELD}: {comeback_ms}\r\n");
        Self::new(503, "Service Unavailable", &fields, why)
    }

    /// 429: too many connections come from that address.
    #[must_use]
    pub fn too_many(retry_after_s: u32) -> Self {
        let why = "Too many connections come from this address at once; try again later.";
        Self::new(429, "Too Many Requests", &format!("Retry-After: {retry_after_s}\r\n"), why)
    }

    /// 408: the request did not arrive in time.
    #[must_use]
    pub fn timeout() -> Self {
        Self::new(408, "Request Timeout", "", "The request did not arrive in time; connect again and send it at once.")
    }

    /// 400: a request in plain text came to a listener that speaks TLS.
    #[must_use]
    pub fn not_tls() -> Self {
        Self::bad_request("This port speaks TLS; connect with wss:// instead of ws://.")
    }

    pub(super) fn bad_request(what: &str) -> Self {
        Self::new(400, "Bad Request", "", what)
    }

    pub(super) fn forbidden(origin: &str) -> Self {
        let body =
            format!("Pages of the origin {origin:?} may not connect; the operator can allow it (gateway.origins).");
        Self::new(403, "Forbidden", "", &body)
    }

    pub(super) fn not_found(path: &str, echo: bool) -> Self {
        let also = if echo { " and /echo" } else { "" };
        let body = format!("There is nothing at {path:?}. WebSocket sessions are at /v1/ws{also}.");
        Self::new(404, "Not Found", "", &body)
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(405, "Method Not Allowed", "Allow: GET\r\n", "Only GET with an upgrade to WebSocket works here.")
    }

    pub(super) fn upgrade_required(what: &str) -> Self {
        let fields = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
        Self::new(426, "Upgrade Required", fields, what)
    }

    pub(super) fn too_large() -> Self {
        Self::new(
            431,
            "Request Header Fields Too Large",
            "",
            "The request has more than 8 KiB or 64 headers; send fewer headers or cookies.",
        )
    }

    fn new(status: u16, phrase: &str, fields: &str, body: &str) -> Self {
        let upgrade = if status == 426 { "Upgrade, close" } else { "close" };
        let response = format!(
            "HTTP/1.1 {status} {phrase}\r\nConnection: {upgrade}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\n{fields}\r\n{body}\n",
            body.len() + 1
        );
        Self { status, response: response.into_bytes() }
    }
}
