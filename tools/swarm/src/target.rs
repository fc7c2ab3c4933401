//! Where a run connects: what `--url` says, and the many addresses of 127.0.0.0/8, all of them this machine, that a large
//! run is spread over.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use rustix::net::sockopt;
use switchyard_gateway_core::handshake::SESSION_PATH;

use crate::SwarmError;
use crate::limits::{DESTINATIONS_MAX, PROBE_MAX};
use crate::system;

/// A server as it is named on the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
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
            return Err(wrong("TLS is not spoken here"));
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

/// The addresses that `count` connections are spread over: `wanted`, or as many as it takes.
///
/// # Errors
/// When there are too few, with what to do.
pub(crate) fn destinations(target: SocketAddr, count: u32, wanted: Option<u32>) -> Result<Vec<SocketAddr>, SwarmError> {
    let ports = system::local_ports();
    let needed = count.div_ceil((ports / 2).max(1)).max(1);
    let number = wanted.unwrap_or(needed).clamp(1, DESTINATIONS_MAX);
    let first = match target.ip() {
        IpAddr::V4(address) if address.is_loopback() => u32::from(address),
        _ if number == 1 || wanted.is_none() => {
            // From one machine to one address: all the ports there are, and no more.
            return if count <= ports {
                Ok(vec![target])
            } else {
                Err(SwarmError::Server(format!(
                    "{count} connections from one machine to {target} are more than the {ports} local ports; widen \
                     net.ipv4.ip_local_port_range, name more addresses of this machine (--sources), or run more machines"
                )))
            };
        }
        _ => {
            return Err(SwarmError::Server(format!(
                "--destinations is for a server on this machine, not for {target}"
            )));
        }
    };
    if count.div_ceil(number) > ports {
        return Err(SwarmError::Server(format!(
            "{count} connections to {number} addresses are more than the {ports} local ports for each; at least \
             {needed} addresses are needed (--destinations)"
        )));
    }
    Ok((0..number).map(|k| SocketAddr::new(Ipv4Addr::from(first + k).into(), target.port())).collect())
}

/// Connects to the first and the last of the destinations, before a run finds out the hard way.
///
/// # Errors
/// When one cannot be reached, with what to do.
pub(crate) fn probe(destinations: &[SocketAddr]) -> Result<(), SwarmError> {
    let connect = |address: &SocketAddr| -> io::Result<()> {
        let stream = TcpStream::connect_timeout(address, PROBE_MAX)?;
        Ok(sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?)
    };
    let (Some(first), Some(last)) = (destinations.first(), destinations.last()) else { return Ok(()) };
    connect(first).map_err(SwarmError::io(format!("connecting to {first}")))?;
    connect(last).map_err(|error| {
        SwarmError::Server(format!(
            "{first} answers and {last} does not ({error}): this run needs {} addresses, so the server must listen on \
             all of them; start it with --listen-ws 0.0.0.0:{}",
            destinations.len(),
            first.port()
        ))
    })
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

    #[test]
    fn given_a_million_connections_when_spread_then_no_address_needs_more_than_half_of_the_ports() {
        let target: SocketAddr = "127.0.0.1:7400".parse().unwrap();
        let spread = destinations(target, 1_000_000, None).unwrap();
        assert!(1_000_000 / spread.len() <= system::local_ports() as usize / 2);
        assert_eq!(spread[0], target);
        assert!(spread.iter().all(|one| one.ip().is_loopback() && one.port() == 7400));
        assert_eq!(destinations(target, 100, None).unwrap(), [target]);
        assert_eq!(destinations(target, 100, Some(3)).unwrap().len(), 3);
    }

    #[test]
    fn given_a_server_elsewhere_when_it_takes_more_than_there_are_ports_then_the_error_says_what_to_do() {
        let target: SocketAddr = "192.0.2.1:7400".parse().unwrap();
        assert_eq!(destinations(target, 1_000, None).unwrap(), [target]);
        let error = destinations(target, 1_000_000, None).unwrap_err().to_string();
        assert!(error.contains("more machines"), "{error}");
        assert!(destinations(target, 1_000, Some(2)).unwrap_err().to_string().contains("this machine"));
    }

    #[test]
    fn given_a_server_on_one_address_when_several_are_probed_then_the_error_says_where_it_must_listen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let two = destinations(address, 2, Some(2)).unwrap();
        probe(&two[..1]).expect("the first answers");
        let error = probe(&two).unwrap_err().to_string();
        assert!(error.contains(&format!("--listen-ws 0.0.0.0:{}", address.port())), "{error}");
        drop(listener);
        assert!(probe(&two).unwrap_err().to_string().contains("connecting to 127.0.0.1"));
    }
}
