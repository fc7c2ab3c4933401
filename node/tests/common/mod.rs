//! The real server, started for one test.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_switchyard");

/// A server that is ready; killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    /// The lines of its start.
    pub(crate) said: Vec<String>,
}

impl Server {
    /// Starts it in the folder `name` by a command line whose last word is the binary's.
    pub(crate) fn start(name: &str, command: &[&str], environment: &[(&str, &str)]) -> Self {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&data);
        Self::start_on(&data, command, environment)
    }

    /// Starts it on a data folder that may hold something.
    pub(crate) fn start_on(data: &Path, command: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(command[0])
            .args(&command[1..])
            .args(["serve", "--dev", "--listen-ws", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0", "--data"])
            .arg(data)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let output = child.stdout.take().expect("it is piped");
        let mut server = Self { child, said: Vec::new() };
        let is_ready = BufReader::new(output).lines().map_while(Result::ok).any(|line| {
            server.said.push(line);
            server.said.last().is_some_and(|line| line == "ready")
        });
        assert!(is_ready, "it ended before it was ready: {:?}", server.said);
        server
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        self.child.wait().expect("it ends")
    }

    /// The rest of the line that begins so.
    pub(crate) fn told(&self, prefix: &str) -> &str {
        self.said.iter().find_map(|line| line.strip_prefix(prefix)).expect("it says so")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
