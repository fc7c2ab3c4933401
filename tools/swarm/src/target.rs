//! Where a run connects: what `--url` says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};

use serde::{Deserialize, Serialize};
use switchyard_gateway_core::handshake::SESSION_PATH;

use crate::SwarmError;

/// A server as it is named on the command line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Where it is.
    pub address: SocketAddr,
    /// What is asked for there.
    pub path: String,
    /// What the Host header says.
    pub host: String,
}

impl Target {
    /// Parses `HOST:PORT` or `ws://HOST[:PORT][/PATH]`.
    ///
    /// # Errors
    /// When it is neither, or the host is not known.
    pub fn parse(url: &str) -> Result<Self, SwarmError> {
        let wrong = |why: &str| {
            SwarmError::Server(format!(
                "--url {url}: {why}; it should look like 127.0.0.1:7400 or ws://127.0.0.1:7400/echo"
            ))
        };
        if url.starts_with("wss://") {
            return Err(wrong("where sessions are run over TLS, that is --transport wss and --url HOST:PORT"));
        }
        let rest = url.strip_prefix("ws://").unwrap_or(url);
        let (host, path) = match rest.find('/') {
            Some(at) => (&rest[..at], &rest[at..]),
            None => (rest, SESSION_PATH),
        };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if has_port || !url.starts_with("ws://") { host.to_owned() } else { format!("{host}:80") };
        let mut addresses = with_port.to_socket_addrs().map_err(|error| wrong(&error.to_string()))?;
        let address = addresses.next().ok_or_else(|| wrong("the host has no address"))?;
        Ok(Self { address: reachable(address), path: path.to_owned(), host: host.to_owned() })
    }
}

/// A wildcard is where a server listens, not where it is reached.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_url_when_parsed_then_address_path_and_host_are_found() {
        for (url, address, path, host) in [
            ("127.0.0.1:7400", "127.0.0.1:7400", "/v1/ws", "127.0.0.1:7400"),
            ("0.0.0.0:7400", "127.0.0.1:7400", "/v1/ws", "0.0.0.0:7400"),
            ("ws://127.0.0.1:9001/echo?x=1", "127.0.0.1:9001", "/echo?x=1", "127.0.0.1:9001"),
            ("ws://127.0.0.1/", "127.0.0.1:80", "/", "127.0.0.1"),
        ] {
            let expect = Target { address: address.parse().unwrap(), path: path.to_owned(), host: host.to_owned() };
            assert_eq!(Target::parse(url).unwrap(), expect, "{url}");
        }
        for url in ["127.0.0.1", "wss://127.0.0.1:1/", "", "ws://:x/"] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
