//! What the sessions of a run are spoken over, as commands are asked for it alike.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use switchyard_swarm::SwarmError;
use switchyard_swarm::relay::{RelayOptions, Share};
use switchyard_swarm::target::Target;
use switchyard_swarm::time;
use switchyard_swarm::transport::{Protocol, TransportOptions};

#[derive(Args)]
pub(super) struct Over {
    /// What carries the sessions. With wss and quic, --url is where the server listens for those: HOST:PORT.
    #[arg(long, value_enum, default_value_t = Protocol::Ws)]
    transport: Protocol,
    /// Certificates of whoever may vouch for the server, a PEM file; tls/ca.pem in the data folder, which a development server
    /// writes, when not given.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How often each QUIC connection moves to another port of this machine, such as 30s, as a phone does whose address
    /// changes; never when not given. Counted as `migrations` once the server is heard there.
    #[arg(long, value_parser = time::parse_some)]
    migrate_every: Option<Duration>,
    /// How long a QUIC connection says nothing before it sends a PING, such as 25s; for ever when not given. Clients behind a
    /// `swarm relay` that changes their ports need it: nothing finds one that says nothing.
    #[arg(long, value_parser = time::parse_some)]
    keep_alive: Option<Duration>,
    #[command(flatten)]
    network: Network,
}

/// How bad a network is.
#[derive(Args)]
pub(super) struct Network {
    /// UDP datagrams that are lost in each direction, such as 1%. This and the next three put a relay between the swarm and
    /// the server (`swarm relay`).
    #[arg(long, default_value_t)]
    loss: Share,
    /// How long each takes in either direction at least, such as 20ms.
    #[arg(long, value_parser = time::parse, default_value = "0")]
    delay: Duration,
    /// How much longer it may take; this alone reorders nothing.
    #[arg(long, value_parser = time::parse, default_value = "0")]
    jitter: Duration,
    /// Datagrams that are overtaken by those a few milliseconds behind them, such as 1%.
    #[arg(long, default_value_t)]
    reorder: Share,
    /// What follows from chance follows from this: with the same seed, the same datagrams of each client are lost.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Network {
    /// Whether it is worse than the machine's own.
    fn is_bad(&self) -> bool {
        RelayOptions { seed: 0, ..self.options() } != RelayOptions::default()
    }

    /// The same for a relay that changes no addresses.
    pub(super) const fn options(&self) -> RelayOptions {
        let Self { loss, delay, jitter, reorder, seed } = *self;
        RelayOptions { loss, delay, jitter, reorder, rebind_every: None, seed }
    }
}

impl Over {
    /// The options towards a server with this data folder.
    pub(super) fn options(&self, target: &Target, data: &Path) -> Result<TransportOptions, SwarmError> {
        let authorities = match (&self.ca, self.transport) {
            (Some(_), Protocol::Ws) => {
                return Err(SwarmError::Arguments("--ca is for --transport wss and quic".to_owned()));
            }
            (Some(file), _) => Some(read(file)?),
            (None, Protocol::Wss | Protocol::Quic) => Some(read(&data.join("tls/ca.pem"))?),
            (None, Protocol::Ws) => None,
        };
        Ok(TransportOptions {
            protocol: self.transport,
            authorities,
            server_name: name(&target.host),
            migrate_every: self.migrate_every,
            keep_alive: self.keep_alive,
            relay: self.network.is_bad().then(|| self.network.options()),
        })
    }
}

fn read(file: &Path) -> Result<String, SwarmError> {
    std::fs::read_to_string(file).map_err(|error| {
        SwarmError::Arguments(format!(
            "{}: {error}; name the PEM file of who vouches for the server (--ca)",
            file.display()
        ))
    })
}

/// The name in `HOST:PORT` or `HOST`; an address is none.
fn name(host: &str) -> Option<String> {
    if host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
        return None;
    }
    Some(host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_host_when_the_certificate_is_checked_then_a_name_must_stand_in_it_and_for_an_address_the_one_connected_to()
     {
        for (host, expect) in [
            ("localhost:7402", Some("localhost")),
            ("switchyard.example", Some("switchyard.example")),
            ("127.0.0.1:7402", None),
            ("[::1]:7402", None),
            ("::1", None),
        ] {
            assert_eq!(name(host).as_deref(), expect, "{host}");
        }
    }
}
