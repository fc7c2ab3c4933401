//! Threads of the real server: how many, where they may run, and a descriptor table for each.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::{BINARY, Server};
use rustix::process::{Resource, getrlimit};

/// The folders in `/proc` of a server's threads whose names begin so.
fn threads(server: &Server, prefix: &str) -> Vec<PathBuf> {
    let tasks = fs::read_dir(format!("/proc/{}/task", server.child.id())).expect("it runs").flatten();
    let folders = tasks.map(|task| task.path());
    folders.filter(|path| read(&path.join("comm")).starts_with(prefix)).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("the thread is there")
}

/// What a thread's descriptor table names.
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
    let connections = ("SWITCHYARD_GATEWAY__MAX_CONNECTIONS", &*(10 * table).to_string());
    let server = Server::start("many-tables", &["sh", "-c", &limited, "sh", BINARY], &[connections]);
    let threads = threads(&server, "gateway-");
    assert!(threads.len() > 10, "{} hold {} connections", threads.len(), 10 * table);
    assert!(server.told("threads ").starts_with(&format!("{} gateway,", threads.len())), "{:?}", server.said);
    assert!(server.told("descriptors ").contains(&format!("{table} in a table")), "{:?}", server.said);
    assert!(server.told("limits ").contains(&format!("{} connections", 10 * table)), "{:?}", server.said);
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
    let few = ("SWITCHYARD_GATEWAY__MAX_CONNECTIONS", "1000");
    let server = Server::start("one-processor", &["taskset", "-c", last, BINARY], &[few]);
    for prefix in ["gateway-", "router-"] {
        let threads = threads(&server, prefix);
        assert!(!threads.is_empty());
        threads.iter().for_each(|thread| assert_eq!(allowed(thread), last, "{prefix}"));
    }
}
