//! `swarm storm`.

use std::path::PathBuf;

use clap::Args;
use switchyard_swarm::SwarmError;
use switchyard_swarm::crew::Layout;
use switchyard_swarm::report::{self, Outcome, ReportArguments, Subject};
use switchyard_swarm::routes::Sources;
use switchyard_swarm::storm::{self, StormOptions};
use switchyard_swarm::target::Target;
use switchyard_swarm::tokens::Signer;

use super::rate;

/// What comes after the options.
const MORE: &str = "\
How it goes: all connections are opened; then, for each round, all are reset at once and come back as clients should: after
a full-jitter back-off, and no earlier than the server asks for (Drain, retry_after_ms, Retry-After). Latencies are from the
cut until a connection was back; back_s is until all were, in the slowest round.

Example:
  swarm storm --url 127.0.0.1:7400 --data D --count 200000 --rounds 3 --expect 'back_s<60s' --expect 'dropped==0'";

#[derive(Args)]
#[command(after_help = MORE)]
pub(crate) struct StormArguments {
    /// Where the server listens: HOST:PORT. A large run goes to many addresses of 127.0.0.0/8, so the server must listen
    /// on 0.0.0.0.
    #[arg(long)]
    url: String,
    /// The server's data folder, whose development key signs the tokens.
    #[arg(long)]
    data: PathBuf,
    /// Connections.
    #[arg(long)]
    count: u32,
    /// Storms, one after the other.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Connections begun per second before the first storm; as fast as the server answers when not given.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// Threads of the swarm; more when a descriptor table holds too few connections.
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// Addresses to spread the connections over; as many as keep each under half of the local ports when not given.
    #[arg(long)]
    destinations: Option<u32>,
    /// Addresses of this machine to connect from, such as 10.0.0.5,10.0.0.6 or 127.0.1.1-127.0.1.20.
    /// Threads that share a port on 0.0.0.0 by the kernel's own rule get uneven parts from one source and
    /// many destinations, and even ones from many sources.
    #[arg(long)]
    sources: Option<Sources>,
    /// The server's process id, to report its memory and processor time.
    #[arg(long)]
    server_pid: Option<u32>,
    #[command(flatten)]
    report: ReportArguments,
}

pub(crate) fn run(arguments: &StormArguments) -> Result<Outcome, SwarmError> {
    let layout = Layout::new(arguments.count, arguments.threads)?;
    let options = StormOptions {
        address: Target::parse(&arguments.url)?.address,
        layout,
        destinations: arguments.destinations,
        sources: arguments.sources.clone().unwrap_or_default(),
        opens_per_s: arguments.rate,
        rounds: arguments.rounds,
        server_pid: arguments.server_pid,
    };
    let signer = Signer::of_data(&arguments.data)?;
    eprintln!("swarm: {layout}");
    let subject = Subject::new("storm", &arguments.url);
    report::watch(&arguments.report, subject, |observer| storm::run(&options, signer, observer))
}
