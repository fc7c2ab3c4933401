//! `swarm connect`.

use std::time::Duration;

use clap::Args;
use switchyard_swarm::SwarmError;
use switchyard_swarm::connect::{self, ConnectOptions};
use switchyard_swarm::crew::Layout;
use switchyard_swarm::report::{self, Outcome, ReportArguments, Subject};
use switchyard_swarm::target::Target;
use switchyard_swarm::time;
use switchyard_swarm::tokens::{Signer, read_key};
use switchyard_swarm::workers::Access;

use super::machines::Machines;
use super::many::Many;
use super::rate_or_none;

/// What comes after the options.
const MORE: &str = "\
How it goes: all connections are opened and authenticated; messages flow between random pairs for as long as they are held,
heartbeats are answered; what is under way gets time to arrive; at last each connection is pinged, and only one that
answers is alive. A descriptor table holds so many sockets (`ulimit -n`): a run that needs more takes more threads, each
with a table of its own. Latencies count from when a message was due. The result names the swarm, or the machine that it
shares with the server, when that and not the server was the limit.

Examples:
  swarm connect --url 127.0.0.1:7400 --data D --count 10000 --hold 30s --server-pid PID
  swarm connect --url 127.0.0.1:7400 --data D --count 1000000 --hold 10m --sources 127.0.1.1-127.0.1.80 \\
        --destinations 1 --expect 'lost==0' --expect 'p99<100ms'
  swarm connect --url 127.0.0.1:7402 --data D --count 10000 --transport quic --migrate-every 30s --loss 1%
  swarm connect --url 10.0.0.1:7400 --data D --count 100000 --sources 10.0.0.5-10.0.0.9 --html report.html
  swarm connect --url 10.0.0.1:7400 --data D --count 50000 --workers 10.0.0.6:9000,10.0.0.7:9000";

#[derive(Args)]
#[command(after_help = MORE)]
pub(crate) struct ConnectArguments {
    #[command(flatten)]
    many: Many,
    /// How long they are held once all are open, such as 30s or 10m.
    #[arg(long, value_parser = time::parse, default_value = "10s")]
    hold: Duration,
    /// Messages a second between random pairs meanwhile; 0 for none.
    #[arg(long, value_parser = rate_or_none, default_value = "2000")]
    message_rate: f64,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    #[command(flatten)]
    machines: Machines,
    #[command(flatten)]
    report: ReportArguments,
}

pub(crate) fn run(arguments: &ConnectArguments) -> Result<Outcome, SwarmError> {
    let (Many { url, data, .. }, machines) = (&arguments.many, &arguments.machines);
    let options = options(arguments)?;
    let subject = Subject::new("connect", url);
    if machines.is_alone() {
        let signer = Signer::of_data(data)?;
        eprintln!("swarm: {}", Layout::new(options.count, options.threads)?);
        return report::watch(&arguments.report, subject, |observer| connect::run(&options, signer, observer));
    }
    let access = Access { url: url.clone(), key: Some(read_key(data)?) };
    machines.announce(format_args!("{} connections", options.count));
    report::watch(&arguments.report, subject, |observer| {
        connect::run_on(&machines.workers, &options, &access, observer)
    })
}

fn options(arguments: &ConnectArguments) -> Result<ConnectOptions, SwarmError> {
    let Many { url, data, count, rate, threads, destinations, sources, over, server_pid } = &arguments.many;
    let target = Target::parse(url)?;
    Ok(ConnectOptions {
        transport: over.options(&target, data)?,
        address: target.address,
        count: *count,
        threads: *threads,
        destinations: *destinations,
        sources: sources.clone().unwrap_or_default(),
        opens_per_s: *rate,
        hold: arguments.hold,
        messages_per_s: arguments.message_rate,
        text_bytes: arguments.bytes,
        server_pid: *server_pid,
    })
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    #[test]
    fn given_no_more_than_must_be_when_parsed_then_a_run_is_as_the_library_has_it() {
        let command = ConnectArguments::augment_args(clap::Command::new("connect"));
        let matches = command.get_matches_from(["connect", "--url", "127.0.0.1:7400", "--data", "D", "--count", "9"]);
        let arguments = ConnectArguments::from_arg_matches(&matches).expect("they were parsed");
        let address = "127.0.0.1:7400".parse().expect("an address");
        assert_eq!(options(&arguments).expect("a target"), ConnectOptions::new(address, 9));
    }
}
