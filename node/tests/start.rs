//! What a person meets who starts the server on something that cannot work: the real binary, and an error that says
//! what to do.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_switchyard");
const ANY_PORT: [&str; 4] = ["--listen-ws", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0"];

/// A folder of this test's own, on the disk of the target folder.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn serve(data: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY).args(["serve", "--data"]).arg(data).args(arguments).output().expect("the binary starts")
}

#[track_caller]
fn refused(output: &Output, expect: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it started");
    for word in expect {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

#[test]
fn given_no_key_and_no_dev_when_started_then_the_error_says_how_to_make_one() {
    refused(&serve(&folder("no-key"), &ANY_PORT), &["no key", "openssl genpkey", "--dev"]);
}

#[test]
fn given_a_taken_port_when_started_then_the_error_names_it_and_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    let data = folder("taken-port");
    let output = serve(&data, &["--dev", "--listen-ws", &address, "--listen-admin", "127.0.0.1:0"]);
    refused(&output, &[&address, "--listen-ws"]);
    let output = serve(&data, &["--dev", "--listen-ws", "127.0.0.1:0", "--listen-admin", &address]);
    refused(&output, &[&address, "--listen-admin"]);
    let output = serve(&data, &[&["--dev", "--listen-wss", &address], &ANY_PORT[..]].concat());
    refused(&output, &[&address, "--listen-wss"]);
}

#[test]
fn given_a_tls_listener_without_a_usable_certificate_when_started_then_the_error_says_what_it_needs() {
    let data = folder("no-certificate");
    refused(
        &serve(&data, &[&["--listen-wss", "127.0.0.1:0"], &ANY_PORT[..]].concat()),
        &["gateway.tls.certificate", "gateway.tls.key", "--dev"],
    );
}

#[test]
fn given_a_folder_of_a_newer_version_when_started_then_it_is_left_alone() {
    let data = folder("newer");
    std::fs::create_dir_all(&data).expect("made");
    std::fs::write(data.join("VERSION"), "switchyard 99\nshards 64\n").expect("written");
    refused(&serve(&data, &[&["--dev"], &ANY_PORT[..]].concat()), &["format 99", "newer"]);
}

#[test]
fn given_a_folder_of_something_else_when_started_then_it_is_left_alone() {
    let data = folder("foreign");
    std::fs::create_dir_all(&data).expect("made");
    std::fs::write(data.join("letter.txt"), "dear").expect("written");
    refused(&serve(&data, &[&["--dev"], &ANY_PORT[..]].concat()), &["neither empty nor a data folder", "--data"]);
    assert!(data.join("letter.txt").exists());
}

#[test]
fn given_tmpfs_when_started_then_the_error_says_that_nothing_can_be_durable_there() {
    let data = Path::new("/dev/shm").join(format!("switchyard-start-{}", std::process::id()));
    let output = serve(&data, &[&["--dev"], &ANY_PORT[..]].concat());
    let _ = std::fs::remove_dir_all(&data);
    refused(&output, &["O_DIRECT", "tmpfs", "--data"]);
}

#[test]
fn given_too_little_lockable_memory_when_started_then_the_error_says_how_to_raise_it() {
    let data = folder("memlock");
    let line = format!(
        "ulimit -l 64 && exec {BINARY} serve --dev --data {} --listen-ws 127.0.0.1:0 --listen-admin 127.0.0.1:0",
        data.display()
    );
    let output = Command::new("sh").args(["-c", &line]).output().expect("sh starts");
    refused(&output, &["65536", "ulimit -l", "LimitMEMLOCK"]);
}

#[test]
fn given_a_configuration_when_checked_and_printed_then_both_commands_say_what_holds() {
    let print = Command::new(BINARY).args(["config", "print"]).output().expect("starts");
    let path = folder("config").with_extension("toml");
    std::fs::write(&path, &print.stdout).expect("written");
    let check = Command::new(BINARY).args(["config", "check", "--config"]).arg(&path).output().expect("starts");
    assert!(check.status.success(), "what is printed is valid");
    std::fs::write(&path, "[gateway]\nlisten = \"127.0.0.1:1\"\n").expect("written");
    let check = Command::new(BINARY).args(["config", "check", "--config"]).arg(&path).output().expect("starts");
    refused(&check, &["listen", "config print"]);
}
