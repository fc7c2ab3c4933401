//! The `main` of a bench that is a program of its own, without criterion.

use std::process::ExitCode;

use crate::settings::is_asked_for;

/// Runs `measure` when cargo means the bench of this name, and prints what went wrong.
#[must_use = "it is what `main` returns"]
pub fn run(name: &str, measure: impl FnOnce() -> Result<(), String>) -> ExitCode {
    if is_asked_for(name)
        && let Err(reason) = measure()
    {
        eprintln!("{name}: {reason}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
