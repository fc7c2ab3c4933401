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

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use rustix::net::{AddressFamily, SocketType, bind, socket};
use serde::{Deserialize, Serialize};

use crate::SwarmError;
use crate::event_loop::Route;
use crate::limits::SOURCES_MAX;
use crate::system;
use crate::target::{destinations, probe};

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
}
