//! The command `swarm`: load, very many connections and kill -9, with the result on standard output.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the report of a command goes to standard output")]

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;
use switchyard_swarm::SwarmError;
use switchyard_swarm::abuse::{self, AbuseOptions, Kind};
use switchyard_swarm::chat::{self, ChatOptions, Length, Pace, Until};
use switchyard_swarm::crash::{self, CrashOptions};
use switchyard_swarm::report::{self, Outcome, ReportArguments, Subject};
use switchyard_swarm::target::Target;
use switchyard_swarm::tokens::Signer;

use commands::connect::{self, ConnectArguments};
use commands::echo::{self, EchoArguments};
use commands::storm::{self, StormArguments};
use commands::worker::{self, WorkerArguments};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code for arguments that make no sense, as `clap` has it.
const USAGE: u8 = 2;

/// Loads a Switchyard server and checks what it does.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Pairs of users that talk; checks loss, order and duplicates. Exit code 1 when anything went wrong or an expectation
    /// was missed.
    Chat(ChatArguments),
    /// What pairs that talk notice while others abuse the server. Exit code 1 when they met more than delay.
    Abuse(AbuseArguments),
    /// Very many connections, held alive while messages flow between random pairs; what one costs. Exit code 1 when one
    /// was dropped, a message was lost or an expectation was missed.
    Connect(ConnectArguments),
    /// Very many connections that are cut off at once and come back, again and again. Exit code 1 when one did not or an
    /// expectation was missed.
    Storm(StormArguments),
    /// Plain WebSocket echo against any server. Exit code 1 when anything went wrong or an expectation was missed.
    Echo(EchoArguments),
    /// Takes shares of the runs of other machines: `swarm connect --workers HOST:PORT,HOST:PORT` leads them.
    Worker(WorkerArguments),
    /// kill -9 of a server in the middle of many sends, again and again, judged by what the clients saw.
    Crash(CrashArguments),
}

#[derive(Args)]
struct ChatArguments {
    /// Where the server listens, as it prints it: HOST:PORT.
    #[arg(long)]
    url: String,
    /// The server's data folder, whose development key signs the tokens.
    #[arg(long)]
    data: PathBuf,
    /// Pairs of users.
    #[arg(long, default_value_t = 32)]
    pairs: u32,
    /// Messages under way per pair.
    #[arg(long, default_value_t = 1, conflicts_with = "rate")]
    depth: u32,
    /// What ends a message's way and lets the next be sent.
    #[arg(long, value_enum, default_value_t = Until::Accepted, conflicts_with = "rate")]
    until: Until,
    /// Messages a second by all pairs together, whatever comes back (an open loop), instead of --depth: latencies then
    /// count from when a message was due, so that a server that stands still cannot hide.
    #[arg(long, value_parser = commands::rate)]
    rate: Option<f64>,
    /// Seconds to measure.
    #[arg(long, default_value_t = 5.0, conflicts_with = "count")]
    duration: f64,
    /// Seconds before measuring.
    #[arg(long, default_value_t = 1.0, conflicts_with = "count")]
    warm_up: f64,
    /// Messages per pair, instead of --duration.
    #[arg(long)]
    count: Option<u64>,
    /// Bytes of a message's text.
    #[arg(long, default_value_t = 100)]
    bytes: usize,
    /// Whether the recipients are connected.
    #[arg(long, value_enum, default_value_t = Recipients::Online)]
    recipients: Recipients,
    /// Recipients acknowledge every so many messages.
    #[arg(long, default_value_t = 1)]
    ack_every: u32,
    /// Threads of the swarm.
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// The server's process id, to report its CPU time per message.
    #[arg(long)]
    server_pid: Option<u32>,
    #[command(flatten)]
    report: ReportArguments,
}

#[derive(Copy, Clone, ValueEnum)]
enum Recipients {
    Online,
    Offline,
}

#[derive(Args)]
struct AbuseArguments {
    /// Where the server listens: HOST:PORT. It must have rate limits: a configuration file that names them, with --dev.
    #[arg(long)]
    url: String,
    /// The server's data folder, whose development key signs the tokens.
    #[arg(long)]
    data: PathBuf,
    /// The server's process id.
    #[arg(long)]
    server_pid: u32,
    /// The kinds of abuse, one after the other; all of them when none is named.
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
    /// Pairs of well-behaved users.
    #[arg(long, default_value_t = 32)]
    pairs: u32,
    /// Messages a second of all pairs together.
    #[arg(long, value_parser = commands::rate, default_value = "400")]
    rate: f64,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5.0)]
    duration: f64,
}

#[derive(Args)]
struct CrashArguments {
    /// The `switchyard` binary.
    #[arg(long)]
    server: PathBuf,
    /// The data folder, which is emptied first; on a disk, not tmpfs.
    #[arg(long)]
    data: PathBuf,
    /// Kills.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Users, an even number.
    #[arg(long, default_value_t = 50)]
    clients: u32,
    /// Messages of all users in one round.
    #[arg(long, default_value_t = 20_000)]
    sends: u32,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Chat(arguments) => run_chat(&arguments),
        Command::Abuse(arguments) => run_abuse(arguments),
        Command::Connect(arguments) => connect::run(&arguments).and_then(conclude),
        Command::Echo(arguments) => echo::run(&arguments).and_then(conclude),
        Command::Storm(arguments) => storm::run(&arguments).and_then(conclude),
        Command::Worker(arguments) => worker::run(&arguments),
        Command::Crash(arguments) => run_crash(arguments),
    };
    match result {
        Ok(good) => ExitCode::from(u8::from(!good)),
        Err(error) => {
            eprintln!("swarm: {error}");
            ExitCode::from(if matches!(error, SwarmError::Expectation(_)) { USAGE } else { 1 })
        }
    }
}

fn run_chat(arguments: &ChatArguments) -> Result<bool, SwarmError> {
    let length = match arguments.count {
        Some(count) => Length::Messages(count),
        None => Length::Time {
            warm_up: Duration::from_secs_f64(arguments.warm_up),
            measured: Duration::from_secs_f64(arguments.duration),
        },
    };
    let options = ChatOptions {
        address: Target::parse(&arguments.url)?.address,
        pairs: arguments.pairs,
        pace: arguments.rate.map_or(Pace::Depth { depth: arguments.depth, until: arguments.until }, Pace::PerSecond),
        length,
        text_bytes: arguments.bytes,
        recipients_online: matches!(arguments.recipients, Recipients::Online),
        ack_every: arguments.ack_every,
        threads: arguments.threads,
        server_pid: arguments.server_pid,
    };
    let signer = Signer::of_data(&arguments.data)?;
    let subject = Subject::new("chat", &arguments.url);
    let outcome = report::watch(&arguments.report, subject, |observer| chat::run(&options, &signer, observer))?;
    conclude(outcome)
}

/// Says what came of a run; whether it was good.
fn conclude(outcome: Outcome) -> Result<bool, SwarmError> {
    print!("{}", outcome.text);
    outcome.complaint.map_or(Ok(outcome.good), Err)
}

fn run_abuse(arguments: AbuseArguments) -> Result<bool, SwarmError> {
    let AbuseArguments { url, data, server_pid, kind, pairs, rate, duration } = arguments;
    let kinds = if kind.is_empty() { Kind::ALL.to_vec() } else { kind };
    let measured = Duration::from_secs_f64(duration);
    let options = AbuseOptions { address: Target::parse(&url)?.address, server_pid, kinds, pairs, rate, measured };
    let report = abuse::run(&options, &Signer::of_data(&data)?)?;
    eprintln!("{}", report.table());
    print(&report);
    Ok(!report.any_faults())
}

fn run_crash(arguments: CrashArguments) -> Result<bool, SwarmError> {
    let CrashArguments { server, data, rounds, clients, sends } = arguments;
    let report = crash::run(&CrashOptions { binary: server, data, rounds, clients, sends })?;
    print(&report);
    Ok(true)
}

fn print(report: &impl Serialize) {
    println!("{}", serde_json::to_string_pretty(report).expect("a report is plain data"));
}
