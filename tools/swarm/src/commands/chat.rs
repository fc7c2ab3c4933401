//! `swarm chat`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use switchyard_swarm::SwarmError;
use switchyard_swarm::chat::{self, ChatOptions, Length, Pace, Until};
use switchyard_swarm::limits::THREADS_MAX;
use switchyard_swarm::report::{self, Outcome, ReportArguments, Subject};
use switchyard_swarm::routes::Sources;
use switchyard_swarm::target::Target;
use switchyard_swarm::time;
use switchyard_swarm::tokens::{Signer, read_key};
use switchyard_swarm::workers::Access;

use super::machines::Machines;
use super::over::Over;
use super::rate;

#[derive(Args)]
pub(crate) struct ChatArguments {
    /// Where the server listens, as it prints it: HOST:PORT.
    #[arg(long)]
    url: String,
    /// The server's data folder, whose development key signs the tokens.
    #[arg(long)]
    data: PathBuf,
    /// Addresses of this machine to connect from, such as 10.0.0.5,10.0.0.6 or 127.0.1.1-127.0.1.20.
    #[arg(long)]
    sources: Option<Sources>,
    /// Pairs of users.
    #[arg(long, default_value_t = 32, value_parser = value_parser!(u32).range(1..))]
    pairs: u32,
    /// Messages under way per pair.
    #[arg(long, default_value_t = 1, conflicts_with = "rate", value_parser = value_parser!(u32).range(1..))]
    depth: u32,
    /// What ends a message's way and lets the next be sent.
    #[arg(long, value_enum, default_value_t = Until::Accepted, conflicts_with = "rate")]
    until: Until,
    /// Messages a second by all pairs together, whatever comes back (an open loop), instead of --depth: latencies then
    /// count from when a message was due, so that a server that stands still cannot hide.
    #[arg(long, value_parser = rate)]
    rate: Option<f64>,
    /// How long to measure, such as 5s; seconds when it is a plain number.
    #[arg(long, value_parser = time::parse_some, default_value = "5s", conflicts_with = "count")]
    duration: Duration,
    /// How long to run before measuring.
    #[arg(long, value_parser = time::parse, default_value = "1s", conflicts_with = "count")]
    warm_up: Duration,
    /// Messages per pair, instead of --duration.
    #[arg(long, value_parser = value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Whether the recipients are connected.
    #[arg(long, value_enum, default_value_t = Recipients::Online)]
    recipients: Recipients,
    /// Recipients acknowledge every so many messages, and never wait for more than a sender has under way until a receipt.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    ack_every: u32,
    /// Threads of the swarm.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=i64::from(THREADS_MAX)))]
    threads: u32,
    /// The server's process id, to report its CPU time per message.
    #[arg(long)]
    server_pid: Option<u32>,
    #[command(flatten)]
    over: Over,
    #[command(flatten)]
    machines: Machines,
    #[command(flatten)]
    report: ReportArguments,
}

#[derive(Copy, Clone, PartialEq, Eq, ValueEnum)]
enum Recipients {
    Online,
    Offline,
}

pub(crate) fn run(arguments: &ChatArguments) -> Result<Outcome, SwarmError> {
    let options = options(arguments)?;
    let (url, machines) = (&arguments.url, &arguments.machines);
    let subject = Subject::new("chat", url);
    if machines.is_alone() {
        let signer = Signer::of_data(&arguments.data)?;
        return report::watch(&arguments.report, subject, |observer| chat::run(&options, &signer, observer));
    }
    let access = Access { url: url.clone(), key: Some(read_key(&arguments.data)?) };
    machines.announce(format_args!("{} pairs", options.pairs));
    report::watch(&arguments.report, subject, |observer| chat::run_on(&machines.workers, &options, &access, observer))
}

fn options(arguments: &ChatArguments) -> Result<ChatOptions, SwarmError> {
    if (arguments.until, arguments.recipients) == (Until::Receipt, Recipients::Offline) {
        let why = "--until receipt: nobody sends one while the recipients are away; leave out --recipients offline";
        return Err(SwarmError::Arguments(why.to_owned()));
    }
    let length = match arguments.count {
        Some(count) => Length::Messages(count),
        None => Length::Time { warm_up: arguments.warm_up, measured: arguments.duration },
    };
    let target = Target::parse(&arguments.url)?;
    Ok(ChatOptions {
        transport: arguments.over.options(&target, &arguments.data)?,
        address: target.address,
        sources: arguments.sources.clone().unwrap_or_default(),
        pairs: arguments.pairs,
        pace: arguments.rate.map_or(Pace::Depth { depth: arguments.depth, until: arguments.until }, Pace::PerSecond),
        length,
        text_bytes: arguments.bytes,
        recipients_online: arguments.recipients == Recipients::Online,
        ack_every: arguments.ack_every,
        threads: arguments.threads,
        server_pid: arguments.server_pid,
    })
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    #[test]
    fn given_no_more_than_must_be_when_parsed_then_a_run_is_as_the_library_has_it() {
        let command = ChatArguments::augment_args(clap::Command::new("chat"));
        let matches = command.get_matches_from(["chat", "--url", "127.0.0.1:7400", "--data", "D", "--pairs", "9"]);
        let arguments = ChatArguments::from_arg_matches(&matches).expect("they were parsed");
        let address = "127.0.0.1:7400".parse().expect("an address");
        assert_eq!(options(&arguments).expect("a target"), ChatOptions::new(address, 9));
    }
}
