//! Over real sockets, beside Redis, interleaved in one run: median of five pairs of runs, both driven by the same loop.
//! The server has one processor and the load the other, whatever the number of its threads; with
//! `SWITCHYARD_BENCH_PLACEMENT=free` both run wherever the kernel and the server put them, and the threads of ours compete
//! with the load. `cargo xtask bench peers` compares more.
//!
//! Needs a release build of the server (`cargo xtask bench` makes it) and `redis-server`. About six minutes; shorter
//! with `SWITCHYARD_BENCH_SECONDS` (measured seconds per run, default 3) and `SWITCHYARD_BENCH_PAIRS` (default 5).
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Duration;

use switchyard_bench::compare::Comparison;
use switchyard_bench::load::Times;
use switchyard_bench::placement::Placement;
use switchyard_bench::scenario::{ACCEPT, Contender, ROUTE};
use switchyard_bench::server::{Kind, Places};
use switchyard_bench::settings::{binary, cores, measured, setting};
use switchyard_bench::{program, table};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs of each contender.
const ROUNDS: NonZeroUsize = NonZeroUsize::new(5).unwrap();

fn main() -> ExitCode {
    program::run("end_to_end", compare)
}

fn compare() -> Result<(), String> {
    let release = table::target().join("release");
    let comparison = Comparison {
        places: Places { switchyard: binary()?, cores: cores()?, echoes: release, data: table::target().join("bench") },
        placement: setting("SWITCHYARD_BENCH_PLACEMENT", Placement::Apart)?,
        rounds: setting("SWITCHYARD_BENCH_PAIRS", ROUNDS)?,
        // Both kinds of work ask for a warm-up of their own.
        times: Times { warm_up: Duration::ZERO, measured: measured(Duration::from_secs(3))? },
    };
    let takes_part = |contender: &Contender| matches!(contender.kind, Kind::Switchyard | Kind::Redis);
    let rows = comparison.run(&[ROUTE, ACCEPT].concat(), takes_part, |row| println!("{}", row.lines()))?;
    let path = table::write_json("end_to_end", &rows).map_err(|error| error.to_string())?;
    println!("written to {}", path.display());
    Ok(())
}
