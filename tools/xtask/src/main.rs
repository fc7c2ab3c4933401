//! The project's chores, one command each: `cargo xtask help`.
#![forbid(unsafe_code)]

mod corpus;
mod fuzz;
mod setup;
mod steps;
mod suite;
mod tidy;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask <command>

  setup     install what the tests need besides Rust (Debian and Python packages)
  test      everything that decides whether a change is good; what CI runs, hence `ci` as well
  quick     the Rust part of `test` alone: tidy, format, lints, unit and integration tests
  tidy      check import direction, file length, headers, leftovers, unsafe
  loom      model-check the rings' wake-up and credit protocols
  foreign   the Python and JavaScript clients against the real binary (names of files in tests/foreign, options of pytest)
  metrics   the metrics of the real binary, the alert rules and the dashboard, with promtool
  autobahn  the Autobahn Testsuite's fuzzing client against /echo
  crash     kill -9 under load, short form
  sim       run seeds of the simulator: --seeds 1000, or --seed N to replay one and read its story
  fuzz      every parser and state machine under libFuzzer (names of targets, --seconds N); with --minimise instead
            the few inputs that reach most of what was found become the committed corpus
  sweep     damage in every region of a real data folder, and what a start makes of it
  schema    regenerate schema/src/generated and tests/foreign/generated (add --check to only compare)
  deny      licences, bans and sources of dependencies
  bench     `cargo bench`, end to end included, with the server built before; `recovery` and `abuse` take long and run when
            named; `bench peers` compares with other servers (`bench peers --help`)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let result = match command {
        "setup" => setup::install(),
        "test" | "ci" => suite::test(),
        "quick" => suite::quick(),
        "tidy" => tidy::run(),
        "loom" => suite::loom(),
        "foreign" => suite::foreign(rest),
        "metrics" => suite::metrics(),
        "autobahn" => suite::autobahn(),
        "crash" => suite::crash(),
        "sim" => suite::sim(rest),
        "fuzz" => fuzz::fuzz(rest),
        "sweep" => fuzz::sweep(),
        "schema" => suite::schema(rest),
        "deny" => suite::deny(),
        "bench" => suite::bench(rest),
        "help" | "--help" | "-h" => {
            eprint!("{HELP}");
            Ok(())
        }
        other => Err(format!("`{other}` is not a command; `cargo xtask help` lists them")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask {command}: {reason}");
            ExitCode::FAILURE
        }
    }
}
