//! Running commands as named, timed steps.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What a chore returns: nothing, or a reason that a person can act on.
pub(crate) type Outcome = Result<(), String>;

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("tools/xtask lies two folders below the root")
        .to_path_buf()
}

/// The target folder that cargo uses here.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Runs a program in the checkout's root; an error names the command line.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Outcome {
    run_with(program, arguments, &[])
}

/// As [`run`], with environment variables.
pub(crate) fn run_with(program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let line = format!("{program} {}", arguments.join(" "));
    eprintln!("$ {line}");
    let status = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .status()
        .map_err(|error| format!("`{line}` cannot be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` failed ({status})")) }
}

/// Whether a program answers to `--version`.
pub(crate) fn available(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// A chore with the name it is reported by.
pub(crate) type Step = (&'static str, fn() -> Outcome);

/// Runs named steps in order, stops at the first that fails, and prints what each took.
pub(crate) fn timed(steps: &[Step]) -> Outcome {
    let mut table = Vec::new();
    let mut outcome = Ok(());
    for (name, step) in steps {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        outcome = step().map_err(|reason| format!("{name}: {reason}"));
        table.push((name, start.elapsed(), outcome.is_ok()));
        if outcome.is_err() {
            break;
        }
    }
    eprintln!();
    for (name, took, good) in &table {
        eprintln!("{:>8.1} s  {}  {name}", took.as_secs_f64(), if *good { "ok  " } else { "FAIL" });
    }
    let failed = table.iter().filter(|(_, _, good)| !good).count();
    eprintln!("steps: {} passed, {failed} failed", table.len() - failed);
    outcome
}
