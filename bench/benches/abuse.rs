//! What well-behaved clients notice while others abuse the server: every kind of abuse in one run, beside the same clients
//! in peace. The 99th percentile of their accepts should stay within five times the quiet one.
//!
//! Needs a release build of the server (`cargo xtask bench` makes it). About five minutes, so it runs only when it is named:
//! `cargo xtask bench abuse`, or `cargo bench -- abuse`. `SWITCHYARD_BENCH_SECONDS` is how long each kind is measured (default 10,
//! since a p99 of less has too few messages).
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::process::ExitCode;
use std::time::Duration;

use switchyard_bench::settings::{binary, cores, measured};
use switchyard_bench::{program, table};
use switchyard_swarm::abuse::{self, AbuseOptions, Doors, Kind};
use switchyard_swarm::server::{Server, ServerOptions, fresh_folder};
use switchyard_swarm::tokens::Signer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pairs of well-behaved users, and how many messages a second they send together: a load that leaves the server time.
const PAIRS: u32 = 32;
const RATE: f64 = 400.0;

fn main() -> ExitCode {
    program::run_when_named("abuse", "five minutes", measure)
}

fn measure() -> Result<(), String> {
    let data = table::target().join("bench").join("abuse");
    fresh_folder(&data).map_err(|error| error.to_string())?;
    let options = ServerOptions { binary: binary()?, data: data.clone(), cores: cores()?, rate_limits: true };
    let server = Server::start_with_quic(&options).map_err(|error| error.to_string())?;
    let signer = Signer::of_data(&data).map_err(|error| error.to_string())?;
    let options = AbuseOptions {
        doors: Doors { websocket: server.websocket, quic: server.quic },
        server_pid: server.pid(),
        kinds: Kind::ALL.to_vec(),
        pairs: PAIRS,
        rate: RATE,
        measured: measured(Duration::from_secs(10))?,
    };
    let report = abuse::run(&options, &signer).map_err(|error| error.to_string())?;
    println!("{}", report.table());
    let path = table::write_json("abuse", &report).map_err(|error| error.to_string())?;
    println!("written to {}", path.display());
    server.stop().map_err(|error| error.to_string())?;
    if report.any_faults() { Err("the well-behaved met more than delay; see the file".to_owned()) } else { Ok(()) }
}
