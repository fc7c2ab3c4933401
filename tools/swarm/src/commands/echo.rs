//! `swarm echo`.

use std::time::Duration;

use clap::Args;
use switchyard_swarm::SwarmError;
use switchyard_swarm::echo::{self, EchoOptions, EchoPace};
use switchyard_swarm::report::{self, Outcome, ReportArguments, Subject};
use switchyard_swarm::routes::Sources;
use switchyard_swarm::target::Target;
use switchyard_swarm::time;

use super::machines::Machines;
use super::rate;

/// What comes after the options.
const MORE: &str = "\
With --depth the loop is closed: a connection sends its next message when an echo comes, and a server that stands still is
sent less. With --rate it is open: messages are due at that rate whatever comes back, and latencies count from then.

Examples:
  swarm echo --url ws://127.0.0.1:7400/echo --connections 200 --depth 16 --server-pid PID
  swarm echo --url ws://127.0.0.1:9001/ --rate 50000 --bytes 100 --duration 30s --expect 'p99<5ms'
  swarm echo --url ws://10.0.0.1:7400/echo --connections 1000 --workers 10.0.0.6:9000,10.0.0.7:9000";

#[derive(Args)]
#[command(after_help = MORE)]
pub(crate) struct EchoArguments {
    /// Any WebSocket server that sends messages back: ws://HOST:PORT/PATH.
    #[arg(long)]
    url: String,
    /// Connections.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Addresses of this machine to connect from, such as 10.0.0.5,10.0.0.6 or 127.0.1.1-127.0.1.20.
    #[arg(long)]
    sources: Option<Sources>,
    /// Messages under way per connection.
    #[arg(long, default_value_t = 1, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..))]
    depth: u32,
    /// Messages a second by all connections together, instead of --depth.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// How long to measure, such as 5s; seconds when it is a plain number.
    #[arg(long, value_parser = time::parse_some, default_value = "5s")]
    duration: Duration,
    /// How long to run before measuring.
    #[arg(long, value_parser = time::parse, default_value = "1s")]
    warm_up: Duration,
    /// Threads of the swarm; more when a descriptor table holds too few connections.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// The server's process id, to report its processor time per message.
    #[arg(long)]
    server_pid: Option<u32>,
    #[command(flatten)]
    machines: Machines,
    #[command(flatten)]
    report: ReportArguments,
}

pub(crate) fn run(arguments: &EchoArguments) -> Result<Outcome, SwarmError> {
    let (url, machines) = (&arguments.url, &arguments.machines);
    let pace = arguments.rate.map_or(EchoPace::Depth(arguments.depth), EchoPace::PerSecond);
    let options = EchoOptions {
        sources: arguments.sources.clone().unwrap_or_default(),
        target: Target::parse(url)?,
        connections: arguments.connections,
        threads: arguments.threads,
        pace,
        bytes: arguments.bytes,
        warm_up: arguments.warm_up,
        measured: arguments.duration,
        server_pid: arguments.server_pid,
    };
    let subject = Subject::new("echo", url);
    if machines.is_alone() {
        return report::watch(&arguments.report, subject, |observer| echo::run(&options, observer));
    }
    machines.announce(format_args!("{} connections", options.connections));
    report::watch(&arguments.report, subject, |observer| echo::run_on(&machines.workers, &options, url, observer))
}
