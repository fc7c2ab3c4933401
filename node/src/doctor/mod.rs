//! `switchyard doctor`: whether this host can carry so many connections, and what to do where it cannot.
//!
//! Each area reads what it needs into plain values ([`host`]) and judges those; the judging is what the tests drive. Nothing
//! on the host is changed: the disk is measured in a file without a name, which is gone when the measurement ends.

mod costs;
mod descriptors;
mod disk;
mod host;
mod io_uring;
mod limits;
mod memlock;
mod memory;
mod mount;
mod network;
mod processor;
mod sync;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use switchyard_tuning::text::counted;
use switchyard_tuning::{Section, SysctlTree, Verdict, print, worst};

use crate::config::Config;
use crate::threads::{self, GatewayThreads, TooFewTables};

/// What the host is examined for.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Needs {
    connections: u64,
    /// `gateway.max_connections`.
    max_connections: u64,
    /// The gateway threads that a server would start, or why there cannot be enough.
    threads: Result<GatewayThreads, TooFewTables>,
    routers: u64,
    /// Whether clients may come over TLS.
    tls: bool,
    /// Whether they may come over QUIC.
    quic: bool,
    data: PathBuf,
    segment_bytes: u64,
    tail_bytes: u64,
    state_bytes: u64,
}

impl Needs {
    /// For the server with this configuration, and with other connections than it names when some are given.
    fn of(config: &Config, connections: Option<u32>) -> Self {
        let max_connections = config.max_connections;
        let connections = connections.unwrap_or(max_connections);
        let threads = GatewayThreads::plan(config, connections.max(max_connections), threads::descriptor_limit());
        Self {
            connections: u64::from(connections),
            max_connections: u64::from(max_connections),
            threads,
            routers: u64::from(config.router_cores),
            tls: config.tls.as_ref().is_some_and(|tls| tls.wss.is_some()),
            quic: config.tls.as_ref().is_some_and(|tls| tls.quic.is_some()),
            data: config.data_dir.clone(),
            segment_bytes: u64::from(config.segment_bytes),
            tail_bytes: config.tail_bytes as u64,
            state_bytes: config.state_bytes as u64,
        }
    }

    /// Gateway threads; where there cannot be enough, as many as there may be.
    fn gateways(&self) -> u64 {
        let count = self.threads.as_ref().map_or_else(|error| error.possible, |threads| threads.count);
        u64::from(count)
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    verdict: Verdict,
    connections: u64,
    gateway_threads: u64,
    router_threads: u64,
    data: &'a std::path::Path,
    sections: &'a [Section],
}

/// Examines the host and prints what was found. The exit code is a failure when any line is.
///
/// # Errors
/// When the report cannot be written.
pub(crate) fn run(config: &Config, connections: Option<u32>, json: bool) -> Result<ExitCode, Box<dyn Error>> {
    let needs = Needs::of(config, connections);
    let sections = examine(&needs);
    let verdict = worst(&sections);
    match report(&needs, &sections, verdict, json) {
        // The reader has seen enough, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        reported => reported?,
    }
    Ok(if verdict == Verdict::Fail { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report(needs: &Needs, sections: &[Section], verdict: Verdict, json: bool) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    if json {
        let report = Report {
            verdict,
            connections: needs.connections,
            gateway_threads: needs.gateways(),
            router_threads: needs.routers,
            data: &needs.data,
            sections,
        };
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        writeln!(
            out,
            "switchyard {} on this host: {}, {}, {}, data in {}",
            env!("CARGO_PKG_VERSION"),
            counted(needs.connections, "connection"),
            counted(needs.gateways(), "gateway thread"),
            counted(needs.routers, "router core"),
            needs.data.display()
        )?;
        print(&mut out, sections)?;
        if sections.iter().flat_map(|section| &section.findings).any(network::is_to_set) {
            writeln!(
                out,
                "sysctl -w holds until the next boot; `tune generate --into /etc` makes it last (kernel-tuning/README.md)"
            )?;
        }
    }
    out.flush()
}

fn examine(needs: &Needs) -> Vec<Section> {
    let tree = SysctlTree::of_this_host();
    let section = |title: &str, findings| Section { title: title.to_owned(), findings };
    vec![
        section("io_uring", io_uring::examine(&tree)),
        section(
            "limits",
            [descriptors::examine(needs, &tree), memlock::examine(needs), network::files(needs, &tree)].concat(),
        ),
        section("network", network::examine(needs, &tree)),
        section("disk", disk::examine(needs)),
        section("processors", processor::examine(needs)),
        section("memory", memory::examine(needs)),
    ]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Needs as the judges' tests vary them: one gateway thread and one router core, 15,000 connections.
    pub(in crate::doctor) fn needs() -> Needs {
        Needs {
            connections: 15_000,
            max_connections: 18_000,
            threads: GatewayThreads::choose(None, 1, 18_000, 20_000),
            routers: 1,
            tls: false,
            quic: false,
            data: PathBuf::from("data"),
            segment_bytes: 64 << 20,
            tail_bytes: 64 << 20,
            state_bytes: 512 << 20,
        }
    }

    /// The same with so many gateway threads and router cores.
    pub(in crate::doctor) fn with_threads(gateways: u16, routers: u64) -> Needs {
        Needs { threads: GatewayThreads::choose(Some(gateways), 1, 18_000, 1 << 20), routers, ..needs() }
    }
}
