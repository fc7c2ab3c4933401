//! `swarm storm`.

use clap::Args;
use switchyard_swarm::SwarmError;
use switchyard_swarm::crew::Layout;
use switchyard_swarm::limits::STORM_ROUNDS_MAX;
use switchyard_swarm::report::{self, Outcome, ReportArguments, Subject};
use switchyard_swarm::storm::{self, StormOptions};
use switchyard_swarm::target::Target;
use switchyard_swarm::tokens::{Signer, read_key};
use switchyard_swarm::workers::Access;

use super::machines::Machines;
use super::many::Many;

/// What comes after the options.
const MORE: &str = "\
How it goes: all connections are opened; then, for each round, all are cut off at once (over QUIC, with a
goodbye) and come back as clients should: after
a full-jitter back-off, and no earlier than the server asks for (Drain, retry_after_ms, Retry-After). Latencies are from the
cut until a connection was back; back_s is until all were, in the slowest round. With --workers all machines cut theirs when
this one says so, and a storm is over when everybody is back on each of them.

Examples:
  swarm storm --url 127.0.0.1:7400 --data D --count 200000 --rounds 3 --expect 'back_s<60s' --expect 'dropped==0'
  swarm storm --url 10.0.0.1:7400 --data D --count 50000 --workers 10.0.0.6:9000,10.0.0.7:9000";

#[derive(Args)]
#[command(after_help = MORE)]
pub(crate) struct StormArguments {
    #[command(flatten)]
    many: Many,
    /// Storms, one after the other.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=i64::from(STORM_ROUNDS_MAX)))]
    rounds: u32,
    #[command(flatten)]
    machines: Machines,
    #[command(flatten)]
    report: ReportArguments,
}

pub(crate) fn run(arguments: &StormArguments) -> Result<Outcome, SwarmError> {
    let Many { url, data, count, rate, threads, destinations, sources, over, server_pid } = &arguments.many;
    let target = Target::parse(url)?;
    let options = StormOptions {
        transport: over.options(&target, data)?,
        address: target.address,
        count: *count,
        threads: *threads,
        destinations: *destinations,
        sources: sources.clone().unwrap_or_default(),
        opens_per_s: *rate,
        rounds: arguments.rounds,
        server_pid: *server_pid,
    };
    let (subject, machines) = (Subject::new("storm", url), &arguments.machines);
    if machines.is_alone() {
        let signer = Signer::of_data(data)?;
        eprintln!("swarm: {}", Layout::new(*count, *threads)?);
        return report::watch(&arguments.report, subject, |observer| storm::run(&options, signer, observer));
    }
    let access = Access { url: url.clone(), key: Some(read_key(data)?) };
    machines.announce(format_args!("{count} connections"));
    report::watch(&arguments.report, subject, |observer| storm::run_on(&machines.workers, &options, &access, observer))
}
