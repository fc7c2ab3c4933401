//! The load generator and the real binary: the small form of what both do with a million connections.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use switchyard_swarm::chat::{self, ChatOptions, Length, Pace, Until};
use switchyard_swarm::connect::{self, ConnectOptions};
use switchyard_swarm::crew::Layout;
use switchyard_swarm::echo::{self, EchoOptions, EchoPace};
use switchyard_swarm::report::Report;
use switchyard_swarm::routes::Sources;
use switchyard_swarm::server::{Server, ServerOptions, fresh_folder};
use switchyard_swarm::storm::{self, StormOptions};
use switchyard_swarm::target::Target;
use switchyard_swarm::tokens::{Signer, read_key};
use switchyard_swarm::workers;

const BINARY: &str = env!("CARGO_BIN_EXE_switchyard");

/// A server on every address of this machine, and its data folder on the disk of the target folder.
fn server(name: &str) -> (Server, PathBuf) {
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fresh_folder(&data).expect("a folder");
    let options = ServerOptions {
        binary: BINARY.into(),
        data: data.clone(),
        cores: Some((1, 1)),
        rate_limits: false,
        quic: false,
    };
    (Server::start_at(&options, "0.0.0.0:0").expect("it starts"), data)
}

fn target(server: &Server, path: &str) -> Target {
    Target::parse(&format!("ws://{}{path}", server.websocket)).expect("what it printed")
}

fn layout(count: u32, threads: u32) -> Layout {
    Layout::new(count, threads).expect("few threads")
}

#[test]
fn given_fifteen_thousand_connections_when_messages_flow_between_them_then_none_is_lost_and_all_are_alive() {
    let (server, data) = server("connect");
    // Two threads, so that their descriptor tables are their own, as in a run that needs them.
    let options = ConnectOptions {
        threads: 2,
        hold: Duration::from_secs(2),
        messages_per_s: 1_000.0,
        server_pid: Some(server.pid()),
        ..ConnectOptions::new(target(&server, "/v1/ws").address, 15_000)
    };
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

#[test]
fn given_two_workers_when_they_share_a_run_then_its_report_is_as_of_one_machine() {
    let (server, data) = server("workers");
    let options = ConnectOptions {
        threads: 2,
        destinations: Some(2),
        hold: Duration::from_secs(1),
        messages_per_s: 500.0,
        server_pid: Some(server.pid()),
        ..ConnectOptions::new(target(&server, "/v1/ws").address, 401)
    };
    let workers: Vec<String> = (0..2).map(|_| worker()).collect();
    let (url, key) = (server.websocket.to_string(), read_key(&data).expect("a key"));
    let mut open_max = 0;
    let report = connect::run_on(&workers, &options, (&url, &key), &mut |sample| open_max = open_max.max(sample.open));
    let report = report.expect("a run");
    assert_eq!(report.fault(), None, "{report:#?}");
    assert_eq!((report.workers, report.threads), (2, 4));
    assert_eq!((report.opened, report.alive, open_max), (401, 401, 401));
    let messages = report.messages.as_ref().expect("there were some");
    assert!(messages.sent > 400 && messages.delivered == messages.sent, "{messages:?}");
    assert_eq!((messages.latency.count, messages.late.count), (messages.sent, messages.sent));
    assert!(report.memory.server_open_bytes.is_some() && report.holding.server_cpu_percent.is_some());
    // A worker that is done takes the next share.
    let again = ConnectOptions { count: 4, messages_per_s: 0.0, hold: Duration::ZERO, ..options };
    let report = connect::run_on(&workers, &again, (&url, &key), &mut |_| {}).expect("a run");
    assert_eq!((report.fault(), report.alive), (None, 4), "{report:#?}");
    server.stop().expect("an end in order");
}

/// A worker of this process; where it listens.
fn worker() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("it is bound").to_string();
    thread::spawn(move || workers::serve(&listener, None, |_| {}));
    address
}

#[test]
fn given_connections_that_are_cut_off_at_once_when_they_come_back_then_all_are_alive_after_every_storm() {
    let (server, data) = server("storm");
    let options = StormOptions {
        address: target(&server, "/v1/ws").address,
        layout: layout(500, 2),
        destinations: Some(1),
        // Many sources instead, as against another machine.
        sources: "127.0.1.1-127.0.1.3".parse().expect("sources"),
        opens_per_s: None,
        rounds: 2,
        server_pid: Some(server.pid()),
    };
    let report = storm::run(&options, Signer::of_data(&data).expect("a key"), &mut |_| {}).expect("a run");
    assert_eq!(report.fault(), None, "{report:#?}");
    assert_eq!((report.opened, report.alive, report.dropped), (500, 500, 0));
    for round in &report.rounds {
        assert_eq!((round.back, round.back_after.count), (500, 500), "{round:?}");
    }
    server.stop().expect("an end in order");
}

#[test]
fn given_pairs_that_talk_in_an_open_loop_when_measured_then_every_message_that_was_due_is_in_the_figures() {
    let (server, data) = server("chat");
    let options = ChatOptions {
        pace: Pace::PerSecond(1_000.0),
        length: Length::Time { warm_up: Duration::from_millis(100), measured: Duration::from_millis(500) },
        // More than there are pairs: those that have none must not change the rate.
        threads: 4,
        server_pid: Some(server.pid()),
        ..ChatOptions::new(target(&server, "/v1/ws").address, 3)
    };
    let report = chat::run(&options, &Signer::of_data(&data).expect("a key"), &mut |_| {}).expect("a run");
    assert_eq!(report.fault(), None, "{report:#?}");
    // Each message that came due was noticed once, however late it was sent.
    let due = report.late.count;
    assert!(due > 0 && due < 2 * 500, "the rate is that of all threads together: {report:#?}");
    for latencies in [&report.accepted, &report.delivered, &report.receipted] {
        assert_eq!(latencies.count, due, "{report:#?}");
    }
    server.stop().expect("an end in order");
}

#[test]
fn given_a_sender_that_waits_for_each_receipt_when_its_recipient_acknowledges_seldom_then_neither_waits_for_the_other()
{
    let (server, data) = server("receipts");
    let options = ChatOptions {
        pace: Pace::Depth { depth: 1, until: Until::Receipt },
        length: Length::Messages(20),
        ack_every: 8,
        ..ChatOptions::new(target(&server, "/v1/ws").address, 2)
    };
    let report = chat::run(&options, &Signer::of_data(&data).expect("a key"), &mut |_| {}).expect("a run");
    assert_eq!((report.fault(), report.messages), (None, 40), "{report:#?}");
    server.stop().expect("an end in order");
}

#[test]
fn given_an_echo_when_it_is_loaded_in_either_loop_then_every_message_comes_back() {
    let (server, _) = server("echo");
    for (pace, bytes) in [(EchoPace::Depth(4), 64), (EchoPace::PerSecond(2_000.0), 3), (EchoPace::Depth(1), 200_000)] {
        let options = EchoOptions {
            target: target(&server, "/echo"),
            sources: Sources::default(),
            layout: layout(8, 2),
            pace,
            bytes,
            warm_up: Duration::from_millis(50),
            measured: Duration::from_millis(300),
            server_pid: Some(server.pid()),
        };
        let report = echo::run(&options, &mut |_| {}).expect("a run");
        assert_eq!(report.fault(), None, "{report:#?}");
        assert!(report.messages > 0 && report.latency.count > 0, "{report:#?}");
    }
    let nowhere = EchoOptions {
        target: target(&server, "/nowhere"),
        sources: Sources::default(),
        layout: layout(1, 1),
        pace: EchoPace::Depth(1),
        bytes: 64,
        warm_up: Duration::ZERO,
        measured: Duration::ZERO,
        server_pid: None,
    };
    let error = echo::run(&nowhere, &mut |_| {}).expect_err("there is no such path").to_string();
    assert!(error.contains("404"), "{error}");
    server.stop().expect("an end in order");
}
