//! `switchyard doctor` as an operator runs it: the real binary on this host.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_switchyard");

fn doctor(arguments: &[&str]) -> Output {
    Command::new(BINARY).arg("doctor").args(arguments).output().expect("the binary starts")
}

fn report(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

/// Every finding, as (name, finding).
fn findings(report: &serde_json::Value) -> Vec<(&str, &serde_json::Value)> {
    let sections = report["sections"].as_array().expect("sections");
    let all = sections.iter().flat_map(|section| section["findings"].as_array().expect("findings"));
    all.map(|finding| (finding["name"].as_str().expect("a name"), finding)).collect()
}

#[test]
fn given_this_host_when_examined_then_every_area_is_there_and_the_exit_code_follows_the_verdicts() {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    let path = data.path().to_str().expect("text");
    let output = doctor(&["--data", path, "--connections", "1000", "--json"]);
    let report = report(&output);
    let findings = findings(&report);
    for name in [
        "kernel",
        "gateway ring",
        "router ring",
        "max_connections",
        "descriptors",
        "locked memory",
        "fs.file-max",
        "net.core.somaxconn",
        "net.ipv4.tcp_mem",
        "net.ipv4.ip_local_port_range",
        "file system",
        "free space",
        "direct I/O",
        "sync latency",
        "batch rate",
        "processors",
        "governor",
        "clock",
        "memory",
    ] {
        assert_eq!(findings.iter().filter(|(found, _)| *found == name).count(), 1, "{name}");
    }
    for (name, finding) in &findings {
        let passed = finding["verdict"] == "pass";
        assert_eq!(finding["fix"].is_null(), passed, "{name}: what is not well has a fix");
    }
    let failed = findings.iter().any(|(_, finding)| finding["verdict"] == "fail");
    assert_eq!((output.status.success(), &report["verdict"] == "fail"), (!failed, failed));
    assert_eq!(std::fs::read_dir(data.path()).expect("it exists").count(), 0, "nothing is left on the disk");
}

#[test]
fn given_what_this_host_cannot_do_when_examined_then_it_fails_with_the_fix_in_plain_lines() {
    let output = doctor(&["--data", "/dev/shm/switchyard-doctor", "--connections", "4000000000"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1), "{text}");
    for expect in [
        "4,000,000,000 connections",
        "FAIL  max_connections",
        "fix: max_connections = 4000000000",
        "FAIL  file system  tmpfs",
        "FAIL  memory",
    ] {
        assert!(text.contains(expect), "`{expect}` is missing in: {text}");
    }
    assert!(!text.contains('\u{1b}'), "no colours for who is not a terminal");
    assert!(!Path::new("/dev/shm/switchyard-doctor").exists());
}

#[test]
fn given_a_reader_that_has_seen_enough_when_examined_then_nothing_is_complained_about() {
    for more in [&[][..], &["--json"]] {
        let mut command = Command::new(BINARY);
        command.args(["doctor", "--data", "/dev/shm/switchyard-doctor"]).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        // Long before the first line, which comes when everything has been looked at.
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert!(output.status.code().is_some_and(|code| code < 2), "{}", output.status);
    }
}
