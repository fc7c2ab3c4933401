//! `peers`: Switchyard beside other servers, as tables on standard output and JSON in `target/bench`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the tables go to standard output")]

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use switchyard_bench::compare::Comparison;
use switchyard_bench::load::Times;
use switchyard_bench::placement::Placement;
use switchyard_bench::scenario::{ACCEPT, CONNECT, Contender, ECHO, FAN_OUT, IDLE, QUIC, QUIC_IDLE, ROUTE};
use switchyard_bench::server::Places;
use switchyard_bench::{table, time};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs Switchyard beside tokio-tungstenite, fastwebsockets, quinn, Redis and NATS: each server alone on the first processor, one
/// load on the second. What makes it fair and how to read the tables stands in bench/peers/README.md.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// The parts to run, one after the other; all of them when none is named.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Runs of everybody in each part, in turns.
    #[arg(long, default_value = "3")]
    rounds: NonZeroUsize,
    /// How long each run is measured, such as 2s; seconds when it is a plain number.
    #[arg(long, value_parser = time::parse_some, default_value = "2")]
    seconds: Duration,
    /// How long it goes on before that; 5 seconds at least where ours keeps messages (route and accept).
    #[arg(long, value_parser = time::parse, default_value = "0.5")]
    warm_up: Duration,
    /// The `switchyard` binary, instead of the one beside this.
    #[arg(long)]
    server: Option<PathBuf>,
}

#[derive(Copy, Clone, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Echoes over WebSocket.
    Echo,
    /// WebSocket connections that are opened and ended.
    Connect,
    /// Echoes and handshakes over QUIC.
    Quic,
    /// Messages from one to another.
    Route,
    /// Messages from one to a thousand.
    FanOut,
    /// Messages that are answered once they are durable.
    Accept,
    /// Memory of connections without traffic.
    Idle,
    /// The same over QUIC.
    QuicIdle,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let parts = if cli.only.is_empty() { Part::value_variants() } else { &cli.only[..] };
    match comparison(&cli).and_then(|comparison| parts.iter().try_for_each(|part| part.run(&comparison))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("peers: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn comparison(cli: &Cli) -> Result<Comparison, String> {
    let own = std::env::current_exe().map_err(|error| format!("the folder of this program is unknown: {error}"))?;
    let programs = own.parent().map(PathBuf::from).unwrap_or_default();
    let switchyard = cli.server.clone().unwrap_or_else(|| programs.join("switchyard"));
    Ok(Comparison {
        places: Places { switchyard, cores: None, echoes: programs, data: table::target().join("bench") },
        placement: Placement::Apart,
        rounds: cli.rounds,
        times: Times { warm_up: cli.warm_up, measured: cli.seconds },
    })
}

impl Part {
    fn run(self, comparison: &Comparison) -> Result<(), String> {
        let (name, scenarios) = match self {
            Self::Echo => ("echo", ECHO),
            Self::Connect => ("connect", CONNECT),
            Self::Quic => ("quic", QUIC),
            Self::Route => ("route", ROUTE),
            Self::FanOut => ("fan_out", FAN_OUT),
            Self::Accept => ("accept", ACCEPT),
            Self::Idle => return idle("idle", IDLE, comparison),
            Self::QuicIdle => return idle("quic_idle", QUIC_IDLE, comparison),
        };
        let rows = comparison.run(scenarios, |_| true, |row| println!("{}", row.lines()))?;
        write(name, &rows)
    }
}

fn idle(
    part: &str,
    (first, count, contenders): (usize, usize, &[Contender]),
    comparison: &Comparison,
) -> Result<(), String> {
    let row = comparison.run_idle(first, count, contenders)?;
    println!("{}", row.lines());
    write(part, &row)
}

fn write(part: &str, rows: &impl serde::Serialize) -> Result<(), String> {
    let path = table::write_json(&format!("peers_{part}"), rows).map_err(|error| error.to_string())?;
    println!("written to {}\n", path.display());
    Ok(())
}
