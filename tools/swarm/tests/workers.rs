//! Workers that are not there, not free, or die, and leaders that do: the others say who and why, and are free again. The
//! server is a listener that answers nothing, so that a run lasts as long as the test wants.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
const BINARY: &str = env!("CARGO_BIN_EXE_swarm");
/// The key of RFC 8410 §10.3; nobody's.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
                   -----END PRIVATE KEY-----\n";

/// A `swarm worker`; killed when dropped.
struct Worker {
    child: Child,
    address: String,
    said: Receiver<String>,
}

impl Worker {
    fn start() -> Self {
        let mut child = Command::new(BINARY)
            .args(["worker", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let first = lines.next().expect("it says where it listens").expect("a line");
        let address = first.strip_prefix("listening worker ").expect("where it listens").to_owned();
        let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let (sender, said) = mpsc::channel();
        thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        Self { child, address, said }
    }

    fn wait_until_said(&self, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut next = || self.said.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        assert!(std::iter::from_fn(&mut next).any(|line| line.contains(what)), "the worker never says {what:?}");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every command whose runs several machines share, with as much as two of them can divide.
const COMMANDS: [&[&str]; 4] = [
    &["connect", "--count", "8"],
    &["storm", "--count", "8"],
    &["chat", "--pairs", "4"],
    &["echo", "--connections", "8"],
];

/// Begins a run on workers.
fn lead(command: &[&str], server: &TcpListener, workers: &[&str]) -> Child {
    let mut run = Command::new(BINARY);
    run.args(command).args(["--url", &server.local_addr().expect("it is bound").to_string()]);
    run.args(["--workers", &workers.join(",")]);
    if command[0] != "echo" {
        run.arg("--data").arg(data());
    }
    run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts")
}

/// A data folder with a key, which is there as a whole whichever process writes it meanwhile.
fn data() -> &'static Path {
    static DATA: LazyLock<PathBuf> = LazyLock::new(|| {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("workers");
        let key = data.join("keys/dev.pem");
        let written = key.with_extension(std::process::id().to_string());
        std::fs::create_dir_all(data.join("keys")).expect("a folder");
        std::fs::write(&written, KEY).and_then(|()| std::fs::rename(written, key)).expect("a key");
        data
    });
    &DATA
}

fn error_of(run: Child) -> String {
    let Output { status, stderr, .. } = run.wait_with_output().expect("it ends");
    assert_eq!(status.code(), Some(1));
    String::from_utf8_lossy(&stderr).into_owned()
}

#[test]
fn given_a_worker_that_is_not_there_when_a_run_begins_then_the_error_says_which_and_what_to_start() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").to_string();
    for command in COMMANDS {
        let error = error_of(lead(command, &server, &[&free]));
        assert!(error.contains(&format!("swarm worker --listen {free}")), "{command:?}: {error}");
    }
}

#[test]
fn given_a_run_of_any_command_when_a_worker_is_killed_then_it_ends_with_its_name_and_the_other_is_free_again() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let stays = Worker::start();
    for command in COMMANDS {
        let mut dies = Worker::start();
        let run = lead(command, &server, &[&dies.address, &stays.address]);
        dies.wait_until_said("leads a run");
        stays.wait_until_said("leads a run");
        let busy = error_of(lead(command, &server, &[&stays.address]));
        assert!(busy.contains("in the middle of another run"), "{command:?}: {busy}");
        dies.child.kill().expect("it runs");
        let error = error_of(run);
        assert!(error.contains(&format!("worker {}", dies.address)), "{command:?}: {error}");
        stays.wait_until_said("broke off");
    }
}

#[test]
fn given_a_run_of_any_command_when_whoever_leads_it_is_killed_then_its_worker_says_so_and_is_free_again() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let worker = Worker::start();
    for command in COMMANDS {
        let mut run = lead(command, &server, &[&worker.address]);
        worker.wait_until_said("leads a run");
        run.kill().expect("it runs");
        run.wait().expect("it ends");
        worker.wait_until_said("broke off: whoever led the run is gone");
    }
}

#[test]
fn given_something_that_is_no_worker_when_a_run_begins_then_the_error_says_so() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("it is bound").to_string();
    let run = lead(COMMANDS[0], &server, &[&address]);
    let (mut stream, _) = other.accept().expect("the leader");
    std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").expect("written");
    let error = error_of(run);
    assert!(error.contains("not a swarm"), "{error}");
}
