//! `swarm storm`.

use clap::Args;
use switchyard_swarm::SwarmError;
use switchyard_swarm::crew::Layout;
use switchyard_swarm::report::{self, Outcome, ReportArguments, Subject};
use switchyard_swarm::storm::{self, StormOptions};
use switchyard_swarm::target::Target;
use switchyard_swarm::tokens::Signer;

use super::many::Many;

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
    #[command(flatten)]
    many: Many,
    /// Storms, one after the other.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    report: ReportArguments,
}

pub(crate) fn run(arguments: &StormArguments) -> Result<Outcome, SwarmError> {
    let Many { url, data, count, rate, threads, destinations, sources, over, server_pid } = &arguments.many;
    let layout = Layout::new(*count, *threads)?;
    let target = Target::parse(url)?;
    let options = StormOptions {
        transport: over.options(&target, data)?,
        address: target.address,
        layout,
        destinations: *destinations,
        sources: sources.clone().unwrap_or_default(),
        opens_per_s: *rate,
        rounds: arguments.rounds,
        server_pid: *server_pid,
    };
    let signer = Signer::of_data(data)?;
    eprintln!("swarm: {layout}");
    let subject = Subject::new("storm", url);
    report::watch(&arguments.report, subject, |observer| storm::run(&options, signer, observer))
}
