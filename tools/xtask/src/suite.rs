//! The test suite: which steps there are, and the command behind each.

use std::fs;
use std::path::Path;

use crate::setup;
use crate::steps::{Outcome, available, root, run, run_with, target, timed};
use crate::tidy;

/// The tests with clients that are not ours.
const FOREIGN: &str = "tests/foreign";
/// Those of what an operator sees, which need promtool and are a step of their own.
const METRICS: &str = "tests/foreign/test_metrics.py";

/// Everything that decides whether a change is good.
pub(crate) fn test() -> Outcome {
    timed(&[
        ("setup", setup::install),
        ("tidy", tidy::run),
        ("format", format),
        ("lints", lints),
        ("tests", tests),
        ("documentation", documentation),
        ("loom", loom),
        ("schema is current", || schema(&["--check".to_owned()])),
        ("dependencies", deny),
        ("foreign clients", || foreign(&[format!("--ignore={METRICS}")])),
        ("metrics", metrics),
        ("autobahn", autobahn),
        ("crash", crash),
        ("simulator", short_sim),
    ])
}

/// The part of [`test()`] that needs nothing but Rust.
pub(crate) fn quick() -> Outcome {
    timed(&[("tidy", tidy::run), ("format", format), ("lints", lints), ("tests", tests)])
}

fn format() -> Outcome {
    run("cargo", &["fmt", "--all", "--check"])
}

fn lints() -> Outcome {
    run("cargo", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
}

fn tests() -> Outcome {
    build_binaries()?;
    let line: &[&str] = if available("cargo", &["nextest", "--version"]) {
        &["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]
    } else {
        &["test", "--workspace", "--locked", "--lib", "--bins", "--tests"]
    };
    // Tests that this machine cannot run pass; each leaves a line here that says so.
    let skipped = target().join("skipped-tests");
    let _ = fs::remove_file(&skipped);
    let outcome = run_with("cargo", line, &[("SWITCHYARD_SKIPPED", &absolute(&skipped))]);
    eprint!("{}", fs::read_to_string(&skipped).unwrap_or_default());
    outcome
}

fn documentation() -> Outcome {
    run("cargo", &["test", "--workspace", "--locked", "--doc"])?;
    run_with("cargo", &["doc", "--workspace", "--locked", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
}

/// Model-checks the protocols between threads; a build of its own because `loom` replaces the atomics.
pub(crate) fn loom() -> Outcome {
    let folder = target().join("loom");
    run_with(
        "cargo",
        &["test", "--locked", "--release", "--package", "switchyard-ring", "--test", "loom"],
        &[("RUSTFLAGS", "--cfg loom"), ("CARGO_TARGET_DIR", &folder.to_string_lossy())],
    )
}

/// Regenerates the FlatBuffers code, or compares with `--check`.
pub(crate) fn schema(arguments: &[String]) -> Outcome {
    let folder = target().join("flatgen");
    let mut line = vec!["run", "--locked", "--release", "--manifest-path", "tools/flatgen/Cargo.toml", "--"];
    line.extend(arguments.iter().map(String::as_str));
    run_with("cargo", &line, &[("CARGO_TARGET_DIR", &folder.to_string_lossy())])
}

/// Licences, bans and sources of everything we depend on.
pub(crate) fn deny() -> Outcome {
    run("cargo", &["deny", "--locked", "check", "bans", "licenses", "sources"])
}

/// Clients in Python and JavaScript against the real binary; arguments go to pytest, and names of files choose among them.
pub(crate) fn foreign(arguments: &[String]) -> Outcome {
    build_binaries()?;
    let (files, options) = chosen_files(arguments);
    pytest(&files, &options, &[("SWITCHYARD_NODE_MODULES", &setup::node_modules()?)])
}

/// The files that are named, as paths in the checkout, and everything else. All of them when none is named.
fn chosen_files(arguments: &[String]) -> (Vec<String>, Vec<String>) {
    let in_checkout = |file: &String| if file.contains('/') { file.clone() } else { format!("{FOREIGN}/{file}") };
    let (mut files, mut options) = (Vec::new(), Vec::new());
    let mut before = "";
    for argument in arguments {
        // In `--deselect test_x.py` it is the option's value.
        let is_value = ["--deselect", "--ignore"].contains(&before);
        if !is_value && names_file(argument) {
            files.push(in_checkout(argument));
        } else {
            options.push(argument.clone());
        }
        before = argument;
    }
    if files.is_empty() {
        files.push(FOREIGN.to_owned());
    }
    (files, options)
}

/// Whether it is `test_x.py`, or `test_x.py::test_y`: one test of the file.
fn names_file(argument: &str) -> bool {
    let file = argument.split("::").next().unwrap_or_default();
    !argument.starts_with('-') && Path::new(file).extension().is_some_and(|extension| extension == "py")
}

/// What an operator watches the server with: metrics, alert rules and dashboard against the real binary.
pub(crate) fn metrics() -> Outcome {
    build_binaries()?;
    pytest(&[METRICS.to_owned()], &[], &[("SWITCHYARD_PROMTOOL", &setup::promtool()?)])
}

fn pytest(what: &[String], arguments: &[String], environment: &[(&str, &str)]) -> Outcome {
    // With the reason of every test that this machine cannot run.
    let mut line = vec!["-m", "pytest", "-q", "-rs"];
    line.extend(what.iter().chain(arguments).map(String::as_str));
    let binary = binary("switchyard");
    let environment = [environment, &[("SWITCHYARD_BIN", &*binary)]].concat();
    run_with(&setup::python_environment()?, &line, &environment)
}

/// The Autobahn Testsuite against `/echo` of the real binary.
pub(crate) fn autobahn() -> Outcome {
    build_binaries()?;
    run_with(setup::AUTOBAHN, &[], &[("SWITCHYARD_BIN", &binary("switchyard"))])
}

/// kill -9 under load with the client's own journal as the judge, in the length that CI can afford.
pub(crate) fn crash() -> Outcome {
    build_binaries()?;
    let data = target().join("crash");
    run(
        &binary("swarm"),
        &[
            "crash",
            "--server",
            &binary("switchyard"),
            "--data",
            &data.to_string_lossy(),
            "--rounds",
            "2",
            "--sends",
            "4000",
        ],
    )
}

/// The simulator in the length that CI can afford, from what the tests have built anyway.
fn short_sim() -> Outcome {
    run("cargo", &["run", "--quiet", "--locked", "--package", "switchyard-sim", "--", "--seeds", "200"])
}

/// Seeds of the simulator; arguments go to it.
pub(crate) fn sim(arguments: &[String]) -> Outcome {
    let mut line = vec!["run", "--quiet", "--locked", "--profile", "sim", "--package", "switchyard-sim", "--"];
    line.extend(arguments.iter().map(String::as_str));
    run("cargo", &line)
}

/// `cargo bench` with the server that it measures; arguments go to criterion, or after `peers` to the comparison with other servers.
pub(crate) fn bench(arguments: &[String]) -> Outcome {
    if let Some((first, rest)) = arguments.split_first()
        && first == "peers"
    {
        return peers(rest);
    }
    // The default members, as `cargo run --release` and `cargo bench` build them: with the same features of what they share.
    run("cargo", &["build", "--release", "--locked"])?;
    let mut line = vec!["bench", "--locked"];
    line.extend(arguments.iter().map(String::as_str));
    run("cargo", &line)
}

/// This server beside others, all built alike.
fn peers(arguments: &[String]) -> Outcome {
    setup::debian(&[("redis-server", "redis-server"), ("nats-server", "nats-server")])?;
    run("cargo", &["build", "--release", "--locked", "--package", "switchyard", "--package", "switchyard-peers"])?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run(&binary_of("release", "peers"), &arguments)
}

fn build_binaries() -> Outcome {
    run(
        "cargo",
        &["build", "--locked", "--package", "switchyard", "--package", "switchyard-swarm", "--package", "chat"],
    )
}

fn binary(name: &str) -> String {
    binary_of("debug", name)
}

fn binary_of(profile: &str, name: &str) -> String {
    absolute(&target().join(profile).join(name))
}

/// A path that holds wherever a program runs.
fn absolute(path: &Path) -> String {
    root().join(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arguments: &str, files: &str, options: &str) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(chosen_files(&words(arguments)), (words(files), words(options)), "{arguments}");
    }

    #[test]
    fn given_names_of_files_then_only_those_run_and_everything_else_goes_to_pytest() {
        check("", "tests/foreign", "");
        check("-k reset", "tests/foreign", "-k reset");
        check("--ignore=tests/foreign/test_metrics.py", "tests/foreign", "--ignore=tests/foreign/test_metrics.py");
        check("--deselect test_a.py::test_b test_c.py", "tests/foreign/test_c.py", "--deselect test_a.py::test_b");
        check("--pdb test_a.py", "tests/foreign/test_a.py", "--pdb");
        check("test_a.py -x test_b.py::test_c", "tests/foreign/test_a.py tests/foreign/test_b.py::test_c", "-x");
        check("tests/foreign/test_a.py", "tests/foreign/test_a.py", "");
    }
}
