//! Where the server is: the URL that the application gives.

use switchyard_gateway_core::handshake::SESSION_PATH;

use crate::error::Error;

/// A parsed `ws://host[:port][/path]`, or `wss://…`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    /// Whether the server speaks TLS there.
    pub(crate) secure: bool,
    /// What to resolve and connect to.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// What the Host header says.
    pub(crate) authority: String,
    /// The path of the WebSocket.
    pub(crate) path: String,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::InvalidUrl { url: url.to_owned(), problem };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refuse("it has no scheme"))?;
        let secure = scheme.eq_ignore_ascii_case("wss");
        if !secure && !scheme.eq_ignore_ascii_case("ws") {
            return Err(refuse("only ws:// and wss:// are supported"));
        }
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.is_empty() || url.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
            return Err(refuse("it has no host, or blanks"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| refuse("its port is not a number up to 65535"))?)
            }
            _ => (authority, if secure { 443 } else { 80 }),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let path = if path.is_empty() || path == "/" { SESSION_PATH } else { path };
        Ok(Self { secure, host: host.to_owned(), port, authority: authority.to_owned(), path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_an_address_when_parsed_then_host_port_and_path_are_found() {
        for (url, host, port, path) in [
            ("ws://127.0.0.1:8080", "127.0.0.1", 8080, "/v1/ws"),
            ("WS://chat.example/", "chat.example", 80, "/v1/ws"),
            ("ws://[::1]:9000/other", "::1", 9000, "/other"),
            ("ws://[::1]", "::1", 80, "/v1/ws"),
            ("wss://chat.example", "chat.example", 443, "/v1/ws"),
            ("Wss://127.0.0.1:8443", "127.0.0.1", 8443, "/v1/ws"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.secure, url.to_ascii_lowercase().starts_with("wss"), "{url}");
            assert_eq!((&*address.host, address.port, &*address.path), (host, port, path), "{url}");
        }
    }

    #[test]
    fn given_something_else_when_parsed_then_it_is_refused() {
        for url in ["127.0.0.1:80", "https://host", "ws://", "ws://host:99999", "ws://ho st", "ws://host/\r\nX: y"] {
            assert!(matches!(Address::parse(url), Err(Error::InvalidUrl { .. })), "{url}");
        }
    }
}
