//! Threads of the real server: how many, where they may run, and a descriptor table for each.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Resource, getrlimit};

const BINARY: &str = env!("CARGO_BIN_EXE_switchyard");

/// A server that is ready; killed when dropped.
struct Server {
    child: Child,
    said: Vec<String>,
}

impl Server {
    /// Starts it by a command line whose last words are the binary's and this test's folder.
    fn start(name: &str, before: &[&str], max_connections: u64) -> Self {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&data);
        let mut words = before.iter().chain([&BINARY]);
        let child = Command::new(words.next().expect("the binary at least"))
            .args(words)
            .args(["serve", "--dev", "--listen-ws", "127.0.0.1:0", "--listen-admin", "127.0.0.1:0", "--data"])
            .arg(&data)
            .env("SWITCHYARD_GATEWAY__MAX_CONNECTIONS", max_connections.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut server = Self { child, said: Vec::new() };
        let output = server.child.stdout.take().expect("it is piped");
        let is_ready = BufReader::new(output).lines().map_while(Result::ok).any(|line| {
            server.said.push(line);
            server.said.last().is_some_and(|line| line == "ready")
        });
        assert!(is_ready, "it ended before it was ready: {:?}", server.said);
        server
    }

    /// The folders in `/proc` of its threads whose names begin so.
    fn threads(&self, prefix: &str) -> Vec<PathBuf> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs").flatten();
        let folders = tasks.map(|task| task.path());
        folders.filter(|path| read(&path.join("comm")).starts_with(prefix)).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the thread is there")
}

/// The listening sockets and rings that a thread's descriptor table names.
fn descriptors(thread: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(thread.join("fd"))
        .expect("its own table")
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .collect()
}

/// The processors that a thread may use, as a list.
fn allowed(thread: &Path) -> String {
    let status = read(&thread.join("status"));
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.expect("the kernel says so").trim().to_owned()
}

#[test]
fn given_more_connections_than_descriptor_tables_hold_when_started_then_each_gateway_thread_has_a_table_and_it_says_so()
{
    let table = getrlimit(Resource::Nofile).maximum.filter(|&table| table <= 1 << 20).unwrap_or(1 << 20);
    // A limit that is low enough for a small machine, and that the test may set: the hard one is raised by nobody.
    let table = table.min(20_000);
    let limited = format!("ulimit -n {table} && exec \"$@\"");
    let server = Server::start("many-tables", &["sh", "-c", &limited, "sh"], 10 * table);
    let threads = server.threads("gateway-");
    assert!(threads.len() > 10, "{} hold {} connections", threads.len(), 10 * table);
    let told = |prefix: &str| server.said.iter().find(|line| line.starts_with(prefix)).expect("it says so");
    assert!(told("threads ").starts_with(&format!("threads {} gateway,", threads.len())), "{:?}", server.said);
    assert!(told("descriptors ").contains(&format!("{table} in a table")), "{:?}", server.said);
    assert!(told("limits ").contains(&format!("{} connections", 10 * table)), "{:?}", server.said);
    let mut listeners = BTreeSet::new();
    for thread in &threads {
        // What it has opened for itself is in no other table: its listener at least.
        let own = descriptors(thread);
        let others = threads.iter().filter(|other| *other != thread).flat_map(|other| descriptors(other));
        let others: BTreeSet<_> = others.collect();
        listeners.extend(own.difference(&others).cloned());
    }
    assert!(listeners.len() >= threads.len(), "{} for {} threads", listeners.len(), threads.len());
}

#[test]
fn given_a_process_that_may_use_one_processor_when_started_then_its_threads_are_pinned_to_that_one() {
    let status = read(Path::new("/proc/self/status"));
    let own = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("the kernel says so");
    let last = own.trim().rsplit(['-', ',']).next().expect("one at least");
    let server = Server::start("one-processor", &["taskset", "-c", last], 1_000);
    for prefix in ["gateway-", "router-"] {
        let threads = server.threads(prefix);
        assert!(!threads.is_empty());
        threads.iter().for_each(|thread| assert_eq!(allowed(thread), last, "{prefix}"));
    }
}
