//! Long looks for what nobody thought of: the fuzz targets under libFuzzer, and damage in every byte of a data folder.

use std::path::{Path, PathBuf};

use crate::corpus;
use crate::steps::{Outcome, available, root, run, run_with, target};

/// The fuzz targets, as `tools/fuzz` names them.
const TARGETS: &[&str] =
    &["websocket", "framing", "handshake", "binary_frames", "json_frames", "session", "journal", "manifest"];
/// Seconds for each target unless `--seconds` says otherwise.
const SECONDS: &str = "60";
/// Bytes of the longest input while looking for new ones: what a target needs lies well within.
const INPUT_BYTES_MAX: &str = "-max_len=8192";

/// `fuzz [TARGET…] [--seconds N] [--sanitizer NAME]`: each target for that long, from its seeds, the committed corpus and
/// what earlier runs found. Without a sanitizer it needs no other toolchain than the pinned one. `fuzz [TARGET…] --minimise`:
/// instead, the few inputs that reach most of it become the committed corpus.
pub(crate) fn fuzz(arguments: &[String]) -> Outcome {
    let mut seconds = None;
    let mut sanitizer = "none";
    let mut minimise = false;
    let mut targets = Vec::new();
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "--seconds" => seconds = Some(rest.next().ok_or("--seconds needs a number")?),
            "--sanitizer" => sanitizer = rest.next().ok_or("--sanitizer needs a name, as `address`")?,
            "--minimise" => minimise = true,
            name if TARGETS.contains(&name) => targets.push(name),
            other => return Err(format!("`{other}` is not a fuzz target; there are {}", TARGETS.join(", "))),
        }
    }
    if minimise && seconds.is_some() {
        return Err("--minimise looks at every input once; leave --seconds out".to_owned());
    }
    if !available("cargo", &["fuzz", "--version"]) {
        return Err("cargo-fuzz is missing; install it with `cargo install cargo-fuzz --locked`".to_owned());
    }
    let found = target().join("fuzz-corpus");
    let found = if found.is_absolute() { found } else { root().join(found) };
    run("cargo", &["run", "--locked", "--package", "switchyard-fuzz", "--bin", "seeds", &found.to_string_lossy()])?;
    for name in if targets.is_empty() { TARGETS.to_vec() } else { targets } {
        let corpus = Corpus { found: found.join(name), committed: root().join("tools/fuzz/corpus").join(name) };
        if minimise {
            corpus.minimise(name, sanitizer)?;
        } else {
            let seconds = format!("-max_total_time={}", seconds.unwrap_or(SECONDS));
            let options = [&seconds, INPUT_BYTES_MAX, "-timeout=120", "-print_final_stats=1"];
            corpus.run(name, sanitizer, None, &options)?;
        }
    }
    Ok(())
}

/// The inputs of one target.
struct Corpus {
    /// What runs on this machine found.
    found: PathBuf,
    /// What everybody has.
    committed: PathBuf,
}

impl Corpus {
    /// Runs the target's binary over both folders; what it writes goes to `into`, or to what was found.
    fn run(&self, name: &str, sanitizer: &str, into: Option<&Path>, options: &[&str]) -> Outcome {
        let folder = target().join("fuzz");
        let mut line = vec!["fuzz", "run", "--fuzz-dir", "tools/fuzz/runner", "--sanitizer", sanitizer, "-a", name];
        let folders: Vec<String> = into
            .into_iter()
            .chain([&*self.found, &*self.committed])
            .filter(|folder| folder.is_dir())
            .map(|folder| folder.to_string_lossy().into_owned())
            .collect();
        line.extend(folders.iter().map(String::as_str));
        line.push("--");
        line.extend(options);
        run_with("cargo", &line, &[("CARGO_TARGET_DIR", &folder.to_string_lossy())])
    }

    fn minimise(&self, name: &str, sanitizer: &str) -> Outcome {
        let unusable = |error| format!("the corpus of {name} cannot be minimised: {error}");
        // libFuzzer wants a folder for its own choice, and goes on with a control file that is there.
        let folder = self.found.with_extension("minimised");
        let control = folder.join("control");
        let _ = std::fs::remove_dir_all(&folder);
        let own_choice = folder.join("inputs");
        std::fs::create_dir_all(&own_choice).map_err(unusable)?;
        let measured = format!("-merge_control_file={}", control.display());
        let longest = format!("-max_len={}", corpus::INPUT_BYTES_MAX);
        // Which edges an input reaches, not how often.
        let options = ["-set_cover_merge=1", "-use_counters=0", &measured, &longest, "-timeout=120"];
        self.run(name, sanitizer, Some(&own_choice), &options)?;
        let chosen = corpus::choose(&control, &self.committed).map_err(unusable)?;
        eprintln!("{name}: {} inputs reach {} of {} edges", chosen.inputs, chosen.reached, chosen.known);
        Ok(())
    }
}

/// Damage in every region of a real data folder, one after the other: the full form of what `cargo test` samples.
pub(crate) fn sweep() -> Outcome {
    run_with(
        "cargo",
        &["test", "--locked", "--package", "logview", "--test", "sweep", "--", "--nocapture", "--test-threads", "1"],
        &[("SWITCHYARD_SWEEP", "full")],
    )
}
