//! Where the server is: the URL that the application gives.

use switchyard_gateway_core::handshake::SESSION_PATH;

use crate::error::Error;

/// What a URL names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    /// `ws://host[:port][/path]`, or `wss://…`.
    WebSocket(WebSocketAddress),
    /// `quic://host[:port]`.
    Quic(Host),
}

/// What to resolve and connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: u16,
}

/// Where a WebSocket is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WebSocketAddress {
    /// Whether the server speaks TLS there.
    pub(crate) secure: bool,
    pub(crate) host: Host,
    /// What the Host header says.
    pub(crate) authority: String,
    /// The path of the WebSocket.
    pub(crate) path: String,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        Self::parse_url(url).map_err(|problem| Error::InvalidUrl { url: url.to_owned(), problem })
    }

    fn parse_url(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("it has no scheme")?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let path = if path.is_empty() || path == "/" { SESSION_PATH } else { path };
        let websocket = |secure, host| {
            let (authority, path) = (authority.to_owned(), path.to_owned());
            Self::WebSocket(WebSocketAddress { secure, host, authority, path })
        };
        if path.bytes().any(is_blank) {
            return Err(BLANK);
        }
        match &*scheme.to_ascii_lowercase() {
            "ws" => Ok(websocket(false, Host::parse(authority, 80)?)),
            "wss" => Ok(websocket(true, Host::parse(authority, 443)?)),
            "quic" if path == SESSION_PATH => Ok(Self::Quic(Host::parse(authority, 443)?)),
            "quic" => Err("over QUIC there are no paths"),
            _ => Err("only ws://, wss:// and quic:// are supported"),
        }
    }
}

impl Host {
    /// `host[:port]`, an IPv6 address in brackets. Answers what is wrong with it otherwise.
    pub(crate) fn parse(authority: &str, port_default: u16) -> Result<Self, &'static str> {
        if authority.is_empty() || authority.bytes().any(|byte| is_blank(byte) || byte == b'/') {
            return Err(BLANK);
        }
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => {
                (name, port.parse().map_err(|_| "its port is not a number up to 65535")?)
            }
            _ => (authority, port_default),
        };
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        Ok(Self { name: name.to_owned(), port })
    }
}

const BLANK: &str = "it has no host, or blanks";

const fn is_blank(byte: u8) -> bool {
    byte.is_ascii_control() || byte == b' '
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
            let Address::WebSocket(address) = Address::parse(url).unwrap() else { panic!("{url} is a WebSocket's") };
            assert_eq!(address.secure, url.to_ascii_lowercase().starts_with("wss"), "{url}");
            assert_eq!((&*address.host.name, address.host.port, &*address.path), (host, port, path), "{url}");
        }
        for (url, name, port) in [("quic://chat.example", "chat.example", 443), ("QUIC://[::1]:7443/", "::1", 7443)] {
            assert_eq!(Address::parse(url).unwrap(), Address::Quic(Host { name: name.to_owned(), port }), "{url}");
        }
    }

    #[test]
    fn given_something_else_when_parsed_then_it_is_refused() {
        for url in [
            "127.0.0.1:80",
            "https://host",
            "ws://",
            "ws://host:99999",
            "ws://ho st",
            "ws://host/\r\nX: y",
            "quic://host/path",
        ] {
            assert!(matches!(Address::parse(url), Err(Error::InvalidUrl { .. })), "{url}");
        }
    }
}
