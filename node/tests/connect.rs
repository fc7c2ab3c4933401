//! Very many connections to the real binary: the small form of what the load generator does with a million.

use std::path::{Path, PathBuf};
use std::time::Duration;

use switchyard_swarm::connect::{self, ConnectOptions};
use switchyard_swarm::crew::Layout;
use switchyard_swarm::report::Report;
use switchyard_swarm::server::{Server, ServerOptions, fresh_folder};
use switchyard_swarm::target::Target;
use switchyard_swarm::tokens::Signer;

const BINARY: &str = env!("CARGO_BIN_EXE_switchyard");

/// A server on every address of this machine, and its data folder on the disk of the target folder.
fn server(name: &str) -> (Server, PathBuf) {
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fresh_folder(&data).expect("a folder");
    let options = ServerOptions { binary: BINARY.into(), data: data.clone(), cores: Some((1, 1)) };
    (Server::start_at(&options, "0.0.0.0:0").expect("it starts"), data)
}

fn options(server: &Server, count: u32, threads: u32) -> ConnectOptions {
    ConnectOptions {
        address: Target::parse(&server.websocket.to_string()).expect("what it printed").address,
        layout: Layout::new(count, threads).expect("few threads"),
        destinations: None,
        opens_per_s: None,
        hold: Duration::from_secs(2),
        messages_per_s: 1_000.0,
        text_bytes: 100,
        server_pid: Some(server.pid()),
    }
}

#[test]
fn given_fifteen_thousand_connections_when_messages_flow_between_them_then_none_is_lost_and_all_are_alive() {
    let (server, data) = server("connect");
    // Two threads, so that their descriptor tables are their own, as in a run that needs them.
    let options = options(&server, 15_000, 2);
    let mut samples = 0;
    let report = connect::run(&options, Signer::of_data(&data).expect("a key"), &mut |_| samples += 1);
    let report = report.expect("a run");
    assert_eq!(report.fault(), None, "{report:#?}");
    assert_eq!((report.opened, report.alive, report.dropped), (15_000, 15_000, 0));
    let messages = report.messages.as_ref().expect("there were some");
    assert!(messages.sent > 0 && messages.delivered == messages.sent, "{messages:?}");
    assert!(report.destinations > 1, "one address has too few ports");
    assert!(report.memory.server_bytes_per_connection.is_some_and(|bytes| bytes > 0.0));
    assert!(samples > 0);
    server.stop().expect("an end in order");
}
