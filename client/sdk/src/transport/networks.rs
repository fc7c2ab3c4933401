//! What a client knows of the networks that it has been in: whether QUIC gets through. Some let no UDP pass, and in those it is
//! not to be waited for with every connection.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::time::Instant;

use super::quic::free_socket;
use crate::limits::{NETWORKS_MAX, QUIC_AGAIN_AFTER};

/// By which an application tells networks apart: whatever number it likes, such as a hash of the name that a wireless network
/// gives itself.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct NetworkId(pub u64);

/// A network.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Network {
    /// The application says which it is.
    Named(NetworkId),
    /// This machine's address there begins so, as far as a network of a household or an office shares it.
    Local(IpAddr),
}

impl Network {
    /// The network by which `remote` is reached now; `None` when it is not.
    fn towards(remote: SocketAddr) -> Option<Self> {
        let socket = free_socket(remote).ok()?;
        // Of UDP that only asks the routing table; nothing is sent.
        socket.connect(remote).ok()?;
        Some(Self::of(socket.local_addr().ok()?.ip()))
    }

    /// An IPv4 /24 or an IPv6 /64.
    const fn of(local: IpAddr) -> Self {
        Self::Local(match local {
            IpAddr::V4(local) => IpAddr::V4(Ipv4Addr::from_bits(local.to_bits() & (!0 << 8))),
            IpAddr::V6(local) => IpAddr::V6(Ipv6Addr::from_bits(local.to_bits() & (!0 << 64))),
        })
    }
}

/// What is to be expected of QUIC in a network.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Prospect {
    Unknown,
    Good,
    /// It is not to be tried.
    None,
}

/// Whether QUIC got through.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Verdict {
    Works,
    /// Nothing came back, and it is not tried before.
    Blocked {
        again_at: Instant,
    },
}

/// The networks that were used last.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    /// Where the application says that the client is.
    named: Option<NetworkId>,
    /// The one used last comes last; at most [`NETWORKS_MAX`].
    known: VecDeque<(Network, Verdict)>,
}

impl Networks {
    /// The client is in this network now, or in one that the application does not name.
    pub(crate) const fn enter(&mut self, named: Option<NetworkId>) {
        self.named = named;
    }

    /// The network by which `remote` is reached now, if any.
    pub(crate) fn current(&self, remote: SocketAddr) -> Option<Network> {
        self.named.map(Network::Named).or_else(|| Network::towards(remote))
    }

    /// What is to be expected there.
    pub(crate) fn prospect(&self, network: Option<Network>, now: Instant) -> Prospect {
        let known = self.known.iter().find(|(known, _)| Some(*known) == network);
        match known.map(|(_, verdict)| *verdict) {
            Some(Verdict::Works) => Prospect::Good,
            Some(Verdict::Blocked { again_at }) if now < again_at => Prospect::None,
            Some(Verdict::Blocked { .. }) | None => Prospect::Unknown,
        }
    }

    pub(crate) fn on_quic_works(&mut self, network: Option<Network>) {
        self.learn(network, Verdict::Works);
    }

    pub(crate) fn on_quic_blocked(&mut self, network: Option<Network>, now: Instant) {
        self.learn(network, Verdict::Blocked { again_at: now + QUIC_AGAIN_AFTER });
    }

    /// What was known of it does not help any more.
    pub(crate) fn forget(&mut self, network: Option<Network>) {
        self.known.retain(|(known, _)| Some(*known) != network);
    }

    fn learn(&mut self, network: Option<Network>, verdict: Verdict) {
        let Some(network) = network else { return };
        self.forget(Some(network));
        if self.known.len() >= NETWORKS_MAX {
            self.known.pop_front();
        }
        self.known.push_back((network, verdict));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(number: u64) -> Option<Network> {
        Some(Network::Named(NetworkId(number)))
    }

    #[test]
    fn given_a_network_that_lets_no_quic_pass_then_it_is_not_tried_there_until_its_time_has_come() {
        let (mut networks, now) = (Networks::default(), Instant::now());
        assert_eq!(networks.prospect(named(1), now), Prospect::Unknown, "nothing is known yet");
        networks.on_quic_blocked(named(1), now);
        assert_eq!(networks.prospect(named(1), now + QUIC_AGAIN_AFTER / 2), Prospect::None);
        assert_eq!(networks.prospect(named(1), now + QUIC_AGAIN_AFTER), Prospect::Unknown);
        assert_eq!(networks.prospect(named(2), now), Prospect::Unknown, "another network is another matter");
        networks.on_quic_works(named(1));
        assert_eq!(networks.prospect(named(1), now), Prospect::Good);
        networks.forget(named(1));
        assert_eq!(networks.prospect(named(1), now), Prospect::Unknown);
        networks.on_quic_blocked(None, now);
        assert_eq!(networks.prospect(None, now), Prospect::Unknown, "of no network nothing is kept");
    }

    #[test]
    fn given_more_networks_than_are_kept_then_the_one_used_longest_ago_is_forgotten() {
        let mut networks = Networks::default();
        for number in 0..NETWORKS_MAX as u64 {
            networks.on_quic_works(named(number));
        }
        networks.on_quic_works(named(0));
        networks.on_quic_works(named(1_000));
        let now = Instant::now();
        assert_eq!(networks.prospect(named(1), now), Prospect::Unknown);
        assert_eq!(networks.prospect(named(0), now), Prospect::Good);
        assert_eq!(networks.known.len(), NETWORKS_MAX);
    }

    #[test]
    fn given_addresses_of_one_prefix_then_they_are_one_network_and_a_name_goes_first() {
        let of = |address: &str| Network::of(address.parse().unwrap());
        assert_eq!(of("192.168.1.7"), of("192.168.1.200"));
        assert_ne!(of("192.168.1.7"), of("192.168.2.7"));
        assert_eq!(of("2001:db8:0:1::7"), of("2001:db8:0:1:ffff::8"));
        assert_ne!(of("2001:db8:0:1::7"), of("2001:db8:0:2::7"));
        let (mut networks, remote) = (Networks::default(), "127.0.0.1:9".parse().unwrap());
        assert_eq!(networks.current(remote), Some(of("127.0.0.1")));
        networks.enter(Some(NetworkId(7)));
        assert_eq!(networks.current(remote), named(7));
        networks.enter(None);
        assert_eq!(networks.current(remote), Some(of("127.0.0.1")));
    }
}
