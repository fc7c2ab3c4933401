//! `swarm relay`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use switchyard_swarm::SwarmError;
use switchyard_swarm::process;
use switchyard_swarm::relay::{Relay, RelayOptions};
use switchyard_swarm::time;

use super::over::Network;

/// What comes after the options.
const MORE: &str = "\
To the server each client is a port of this machine, as behind a home router. Towards this machine, `swarm chat` and `swarm
connect` bring a relay of their own with the same options; this one is for clients of any kind, and changes their ports too.

Example:
  swarm relay --listen 127.0.0.1:9402 --to 127.0.0.1:7402 --loss 1% --delay 20ms --jitter 5ms --rebind-every 30s";

#[derive(Args)]
#[command(after_help = MORE)]
pub(crate) struct RelayArguments {
    /// Where clients connect (UDP).
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where the server listens for QUIC.
    #[arg(long)]
    to: SocketAddr,
    /// How often each client gets another port towards the server, such as 30s; it does not notice. Never when not given.
    #[arg(long, value_parser = time::parse_some)]
    rebind_every: Option<Duration>,
    #[command(flatten)]
    network: Network,
}

/// Relays until the process is ended.
pub(crate) fn run(arguments: &RelayArguments) -> Result<bool, SwarmError> {
    let RelayArguments { listen, to, rebind_every, network } = arguments;
    let options = RelayOptions { rebind_every: *rebind_every, ..network.options() };
    // Each client takes a socket.
    process::raise_descriptor_limit();
    let relay = Relay::start(*listen, *to, options)?;
    println!("listening relay {}", relay.address());
    relay.wait().map(|()| true)
}
