//! The ways that the connections of a run take: from one or many addresses of this machine to one or many of the server.
//!
//! A connection is told from others by its two addresses and ports. Towards one address and port the kernel gives each
//! connection of this machine another local port, and finding a free one gets slow when more than half are taken. So a
//! large run against this machine goes to many addresses of 127.0.0.0/8, and one against another machine comes from many
//! addresses of this one (`--sources`).
//!
//! Where the kernel alone decides which of the threads that share a port (`SO_REUSEPORT`) on 0.0.0.0 gets a connection, it
//! goes by source address and port, and leaves the destination out. Connections from one source to many destinations use
//! the same ports again and again, so the threads get uneven parts, and whoever is sent away by a full one finds the same
//! port free and meets it again. Close to the limit of such a server, many sources spread evenly where many destinations do
//! not. Switchyard's threads have the kernel pick at random instead.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::str::FromStr;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, socket, sockopt};
use serde::{Deserialize, Serialize};

use crate::SwarmError;
use crate::event_loop::Route;
use crate::limits::{DESTINATIONS_MAX, PROBE_MAX, SOURCES_MAX};
use crate::system;

/// Addresses of this machine to connect from; none for the kernel's choice.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Sources(Vec<IpAddr>);

/// Which connection goes where.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    sources: Vec<IpAddr>,
    destinations: Vec<SocketAddr>,
}

impl FromStr for Sources {
    type Err = String;

    /// Addresses and ranges of them, with commas between.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |part: &str| format!("`{part}` should look like 10.0.0.5 or 127.0.1.1-127.0.1.20");
        let mut addresses = Vec::new();
        for part in text.split(',').map(str::trim) {
            match part.split_once('-') {
                None => addresses.push(part.parse().map_err(|_| wrong(part))?),
                Some((first, last)) => {
                    let end = |text: &str| text.trim().parse::<Ipv4Addr>().map(u32::from).map_err(|_| wrong(part));
                    let (first, last) = (end(first)?, end(last)?);
                    let count = last.checked_sub(first).ok_or_else(|| wrong(part))?;
                    if count as usize >= SOURCES_MAX {
                        return Err(format!("`{part}` is more than {SOURCES_MAX} addresses"));
                    }
                    addresses.extend((first..=last).map(|address| IpAddr::from(Ipv4Addr::from(address))));
                }
            }
        }
        if addresses.len() > SOURCES_MAX {
            return Err(format!("more than {SOURCES_MAX} addresses"));
        }
        Ok(Self(addresses))
    }
}

impl Routes {
    /// The ways of `count` connections to `target`, on so many destinations as are wanted, or as it takes. Both ends are
    /// tried before a run finds out the hard way.
    ///
    /// # Errors
    /// When there are too few addresses or one of them is of no use, with what to do.
    pub(crate) fn new(
        target: SocketAddr,
        count: u32,
        wanted: Option<u32>,
        sources: &Sources,
    ) -> Result<Self, SwarmError> {
        let sources = &sources.0;
        // With sources of their own, the local ports of one address need not suffice for all.
        let of_one = count.div_ceil(u32::try_from(sources.len()).unwrap_or(u32::MAX).max(1));
        let destinations = destinations(target, of_one, wanted)?;
        // The kernel gives a bound socket a port before it knows the destination: of those each source has one set.
        let ports = system::local_ports();
        if !sources.is_empty() && of_one > ports {
            return Err(SwarmError::Server(format!(
                "{count} connections from {} addresses are more than the {ports} local ports of each; name more \
                 (--sources)",
                sources.len()
            )));
        }
        sources.iter().try_for_each(|source| try_source(*source, target))?;
        probe(&destinations)?;
        Ok(Self { sources: sources.clone(), destinations })
    }

    /// The same over UDP, where connections are not told apart by ports: one address of the server is enough for all, and
    /// whether it answers is found out with the first.
    ///
    /// # Errors
    /// As of [`Routes::new`].
    pub(crate) fn of_datagrams(target: SocketAddr, wanted: Option<u32>, sources: &Sources) -> Result<Self, SwarmError> {
        let (destinations, Sources(sources)) = (destinations(target, 1, wanted)?, sources);
        sources.iter().try_for_each(|source| try_source(*source, target))?;
        Ok(Self { sources: sources.clone(), destinations })
    }

    /// The way of a connection.
    pub(crate) fn of(&self, number: u32) -> Route {
        let number = number as usize;
        let source = number.checked_rem(self.sources.len()).map(|index| self.sources[index]);
        // All destinations of one source before the next, or both would always go in step.
        let turn = number / self.sources.len().max(1);
        Route { source, destination: self.destinations[turn % self.destinations.len()] }
    }

    /// Addresses of the server.
    pub(crate) fn destinations(&self) -> usize {
        self.destinations.len()
    }
}

/// The addresses that `count` connections are spread over: `wanted`, or as many as it takes.
///
/// # Errors
/// When there are too few, with what to do.
fn destinations(target: SocketAddr, count: u32, wanted: Option<u32>) -> Result<Vec<SocketAddr>, SwarmError> {
    let ports = system::local_ports();
    let needed = count.div_ceil((ports / 2).max(1)).max(1);
    let number = wanted.unwrap_or(needed.min(DESTINATIONS_MAX));
    if !(1..=DESTINATIONS_MAX).contains(&number) {
        return Err(SwarmError::Server(format!("a run goes to 1 to {DESTINATIONS_MAX} addresses, not to {number}")));
    }
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
fn probe(destinations: &[SocketAddr]) -> Result<(), SwarmError> {
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

/// Whether an address is one of this machine.
fn try_source(source: IpAddr, target: SocketAddr) -> Result<(), SwarmError> {
    if source.is_ipv4() != target.is_ipv4() {
        return Err(SwarmError::Server(format!("--sources: nothing goes from {source} to {target}")));
    }
    let family = if source.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let bound = socket(family, SocketType::STREAM, None).and_then(|socket| bind(&socket, &SocketAddr::new(source, 0)));
    bound.map_err(|errno| SwarmError::io(format!("--sources: {source} as an address of this machine"))(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(text: &str) -> Sources {
        text.parse().expect("sources")
    }

    #[test]
    fn given_addresses_and_ranges_when_parsed_then_they_are_in_order_and_nonsense_is_refused() {
        let addresses = sources("127.0.1.254-127.0.2.1, ::1").0;
        let text: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        assert_eq!(text, ["127.0.1.254", "127.0.1.255", "127.0.2.0", "127.0.2.1", "::1"]);
        for nonsense in ["", "x", "127.0.0.1-", "127.0.0.2-127.0.0.1", "127.0.0.0-127.255.255.255", "127.0.0.1,,"] {
            assert!(nonsense.parse::<Sources>().is_err(), "{nonsense}");
        }
    }

    #[test]
    fn given_several_addresses_on_both_sides_when_connections_are_spread_then_every_pair_of_them_has_its_share() {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").expect("a port");
        let target = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.local_addr().expect("bound").port());
        let routes = Routes::new(target, 6, Some(2), &sources("127.0.1.1-127.0.1.3")).expect("routes");
        let mut ways: Vec<String> = (0..6).map(|number| format!("{:?}", routes.of(number))).collect();
        ways.sort();
        ways.dedup();
        assert_eq!(ways.len(), 6);
        let kernels = Routes::new(target, 6, None, &Sources::default()).expect("routes");
        assert_eq!(kernels.of(5), target.into());
    }

    #[test]
    fn given_sources_that_are_too_few_or_elsewhere_when_routed_then_the_error_names_them() {
        let target = "127.0.0.1:9".parse().expect("an address");
        let error = |count, text: &str| Routes::new(target, count, Some(50), &sources(text)).unwrap_err().to_string();
        assert!(error(1_000_000, "127.0.1.1").contains("--sources"));
        assert!(error(1, "192.0.2.1").contains("192.0.2.1"));
        assert!(error(1, "::1").contains("nothing goes from ::1"));
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
        for wanted in [0, DESTINATIONS_MAX + 1] {
            assert!(destinations(target, 100, Some(wanted)).is_err(), "{wanted}");
        }
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
