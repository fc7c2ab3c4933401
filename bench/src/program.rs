//! The `main` of a bench that is a program of its own, without criterion. Criterion's arguments mean nothing to it: `--test` and a
//! filter that names another bench skip it.

use std::process::ExitCode;

/// Runs `measure` when cargo means the bench of this name, and prints what went wrong.
#[must_use = "it is what `main` returns"]
pub fn run(name: &str, measure: impl FnOnce() -> Result<(), String>) -> ExitCode {
    if is_test() || filter().is_some_and(|filter| !name.contains(&filter)) {
        return ExitCode::SUCCESS;
    }
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{name}: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The same for a bench that takes too much to run whenever all are asked for: when they are, it says what it `takes` and how it is
/// named.
#[must_use = "it is what `main` returns"]
pub fn run_when_named(name: &str, takes: &str, measure: impl FnOnce() -> Result<(), String>) -> ExitCode {
    if filter().is_some() || is_test() {
        return run(name, measure);
    }
    eprintln!("{name}: left out, for it takes {takes}; `cargo xtask bench {name}` measures it\n");
    ExitCode::SUCCESS
}

fn is_test() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// The first argument that is no option.
fn filter() -> Option<String> {
    std::env::args().skip(1).find(|argument| !argument.starts_with('-'))
}
