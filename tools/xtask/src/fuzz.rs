//! Long looks for what nobody thought of: the fuzz targets under libFuzzer, and damage in every byte of a data folder.

use crate::steps::{Outcome, available, root, run, run_with, target};

/// The fuzz targets, as `tools/fuzz` names them.
const TARGETS: &[&str] = &["websocket", "handshake", "binary_frames", "json_frames", "session", "journal", "manifest"];
/// Seconds for each target unless `--seconds` says otherwise.
const SECONDS: &str = "60";
/// Bytes of the longest input: what a target needs lies well within.
const INPUT_BYTES_MAX: &str = "8192";

/// `fuzz [TARGET…] [--seconds N] [--sanitizer NAME]`: each target for that long, from its seeds, the committed corpus and
/// what earlier runs found. Without a sanitizer it needs no other toolchain than the pinned one.
pub(crate) fn fuzz(arguments: &[String]) -> Outcome {
    let mut seconds = SECONDS;
    let mut sanitizer = "none";
    let mut targets = Vec::new();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "--seconds" => seconds = rest.next().ok_or("--seconds needs a number")?,
            "--sanitizer" => sanitizer = rest.next().ok_or("--sanitizer needs a name, as `address`")?,
            name if TARGETS.contains(&name) => targets.push(name),
            other => return Err(format!("`{other}` is not a fuzz target; there are {}", TARGETS.join(", "))),
        }
    }
    if !available("cargo", &["fuzz", "--version"]) {
        return Err("cargo-fuzz is missing; install it with `cargo install cargo-fuzz --locked`".to_owned());
    }
    let found = target().join("fuzz-corpus");
    let found = if found.is_absolute() { found } else { root().join(found) };
    run("cargo", &["run", "--locked", "--package", "switchyard-fuzz", "--bin", "seeds", &found.to_string_lossy()])?;
    for name in if targets.is_empty() { TARGETS.to_vec() } else { targets } {
        one(name, &found.join(name).to_string_lossy(), seconds, sanitizer)?;
    }
    Ok(())
}

fn one(name: &str, found: &str, seconds: &str, sanitizer: &str) -> Outcome {
    let folder = target().join("fuzz");
    let committed = root().join("tools/fuzz/corpus").join(name);
    let committed = committed.to_string_lossy();
    let seconds = format!("-max_total_time={seconds}");
    let longest = format!("-max_len={INPUT_BYTES_MAX}");
    let mut line = vec!["fuzz", "run", "--fuzz-dir", "tools/fuzz/runner", "--sanitizer", sanitizer, "-a", name, found];
    if std::path::Path::new(committed.as_ref()).is_dir() {
        line.push(&committed);
    }
    line.extend(["--", &seconds, &longest, "-timeout=120", "-print_final_stats=1"]);
    run_with("cargo", &line, &[("CARGO_TARGET_DIR", &folder.to_string_lossy())])
}

/// Damage in every region of a real data folder, one after the other: the full form of what `cargo test` samples.
pub(crate) fn sweep() -> Outcome {
    run_with(
        "cargo",
        &["test", "--locked", "--package", "logview", "--test", "sweep", "--", "--nocapture", "--test-threads", "1"],
        &[("SWITCHYARD_SWEEP", "full")],
    )
}
