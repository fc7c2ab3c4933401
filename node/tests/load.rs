//! The load generator and the real binary: the small form of what both do with a million connections.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use switchyard_swarm::chat::{self, ChatOptions, Length, Pace, Until};
use switchyard_swarm::connect::{self, ConnectOptions};
use switchyard_swarm::echo::{self, EchoOptions, EchoPace};
use switchyard_swarm::report::Report;
use switchyard_swarm::routes::Sources;
use switchyard_swarm::server::{Server, ServerOptions, fresh_folder};
use switchyard_swarm::storm::{self, StormOptions};
use switchyard_swarm::target::Target;
use switchyard_swarm::tokens::{Signer, read_key};
use switchyard_swarm::transport::{Protocol, TransportOptions};
use switchyard_swarm::workers::{self, Access};

const BINARY: &str = env!("CARGO_BIN_EXE_switchyard");

/// A server on every address of this machine, and its data folder on the disk of the target folder.
fn server(name: &str) -> (Server, PathBuf) {
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fresh_folder(&data).expect("a folder");
    let options = ServerOptions { binary: BINARY.into(), data: data.clone(), cores: Some((1, 1)), rate_limits: false };
    (Server::start_at(&options, "0.0.0.0:0").expect("it starts"), data)
}

fn target(server: &Server, path: &str) -> Target {
    Target::parse(&format!("ws://{}{path}", server.websocket)).expect("what it printed")
}

fn access(server: &Server, data: &Path) -> Access {
    Access { url: server.websocket.to_string(), key: Some(read_key(data).expect("a key")) }
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
    let (workers, access) = (two_workers(), access(&server, &data));
    let mut open_max = 0;
    let report = connect::run_on(&workers, &options, &access, &mut |sample| open_max = open_max.max(sample.open));
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
    let report = connect::run_on(&workers, &again, &access, &mut |_| {}).expect("a run");
    assert_eq!((report.fault(), report.alive), (None, 4), "{report:#?}");
    server.stop().expect("an end in order");
}

#[test]
fn given_two_workers_when_they_share_storms_then_everybody_on_both_is_cut_off_and_back() {
    let (server, data) = server("workers-storm");
    let options = StormOptions { count: 301, rounds: 2, ..storm_options(&server) };
    let mut open_max = 0;
    let report = storm::run_on(&two_workers(), &options, &access(&server, &data), &mut |sample| {
        open_max = open_max.max(sample.open);
    });
    let report = report.expect("a run");
    assert_eq!(report.fault(), None, "{report:#?}");
    assert_eq!((report.workers, report.threads), (2, 4));
    assert_eq!((report.opened, report.alive, report.dropped, open_max), (301, 301, 0, 301));
    assert_eq!(report.rounds.len(), 2);
    for round in &report.rounds {
        assert_eq!((round.back, round.back_after.count), (301, 301), "{round:?}");
        assert!(round.seconds.is_some() && round.costs.server_cpu_percent.is_some(), "{round:?}");
    }
    server.stop().expect("an end in order");
}

#[test]
fn given_two_workers_when_they_share_pairs_then_every_message_of_both_is_in_the_figures() {
    let (server, data) = server("workers-chat");
    let (workers, access) = (two_workers(), access(&server, &data));
    let counted = ChatOptions {
        length: Length::Messages(20),
        threads: 2,
        server_pid: Some(server.pid()),
        ..ChatOptions::new(target(&server, "/v1/ws").address, 5)
    };
    let mut course = Vec::new();
    let report = chat::run_on(&workers, &counted, &access, &mut |sample| course.push(*sample)).expect("a run");
    assert_eq!((report.fault(), report.workers, report.threads), (None, 2, 4), "{report:#?}");
    assert_eq!((report.messages, report.total_messages), (100, 100));
    for latencies in [&report.accepted, &report.delivered, &report.receipted] {
        assert_eq!(latencies.count, 100, "{report:#?}");
    }
    assert!(report.server_rss_bytes.is_some() && report.server_cpu_us_per_message.is_some());
    let last = course.last().expect("a sample at the end");
    assert_eq!((last.sent, last.accepted, last.delivered), (100, 100, 100), "{course:?}");
    let timed = ChatOptions {
        pace: Pace::PerSecond(1_000.0),
        length: Length::Time { warm_up: Duration::from_millis(100), measured: Duration::from_millis(500) },
        ..counted
    };
    let report = chat::run_on(&workers, &timed, &access, &mut |_| {}).expect("a run");
    assert_eq!((report.fault(), report.rate), (None, Some(1_000.0)), "{report:#?}");
    let due = report.late.count;
    assert!(due > 0 && due < 2 * 500, "the rate is that of all machines together: {report:#?}");
    assert_eq!((report.delivered.count, report.receipted.count), (due, due), "{report:#?}");
    server.stop().expect("an end in order");
}

#[test]
fn given_two_workers_when_they_share_an_echo_then_every_message_of_both_comes_back() {
    let (server, _) = server("workers-echo");
    let (workers, url) = (two_workers(), format!("ws://{}/echo", server.websocket));
    for pace in [EchoPace::Depth(4), EchoPace::PerSecond(2_000.0)] {
        let options = EchoOptions { connections: 9, pace, ..echo_options(&server, "/echo") };
        let mut last = None;
        let report = echo::run_on(&workers, &options, &url, &mut |sample| last = Some(*sample)).expect("a run");
        assert_eq!((report.fault(), report.workers, report.threads), (None, 2, 4), "{report:#?}");
        assert!(report.messages > 0 && report.latency.count > 0, "{report:#?}");
        assert!(report.server_rss_bytes.is_some() && report.costs.server_cpu_percent.is_some());
        let last = last.expect("a sample at the end");
        assert!(last.open == 9 && last.sent == last.delivered && last.sent >= report.messages, "{last:?}");
    }
    let nowhere = format!("ws://{}/nowhere", server.websocket);
    let options = echo_options(&server, "/echo");
    let error = echo::run_on(&workers, &options, &nowhere, &mut |_| {}).expect_err("there is no such path").to_string();
    assert!(error.contains("worker 127.0.0.1") && error.contains("404"), "{error}");
    server.stop().expect("an end in order");
}

/// Two workers of this process; where they listen.
fn two_workers() -> Vec<String> {
    let worker = |_| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("it is bound").to_string();
        thread::spawn(move || workers::serve(&listener, None, |_| {}));
        address
    };
    (0..2).map(worker).collect()
}

fn storm_options(server: &Server) -> StormOptions {
    StormOptions {
        address: target(server, "/v1/ws").address,
        count: 500,
        threads: 2,
        destinations: Some(1),
        // Many sources instead, as against another machine.
        sources: "127.0.1.1-127.0.1.3".parse().expect("sources"),
        opens_per_s: None,
        rounds: 2,
        transport: TransportOptions::default(),
        server_pid: Some(server.pid()),
    }
}

fn echo_options(server: &Server, path: &str) -> EchoOptions {
    EchoOptions {
        target: target(server, path),
        sources: Sources::default(),
        connections: 8,
        threads: 2,
        pace: EchoPace::Depth(1),
        bytes: 64,
        warm_up: Duration::from_millis(50),
        measured: Duration::from_millis(300),
        server_pid: Some(server.pid()),
    }
}

#[test]
fn given_connections_that_are_cut_off_at_once_when_they_come_back_then_all_are_alive_after_every_storm() {
    let (server, data) = server("storm");
    let options = storm_options(&server);
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
        let options = EchoOptions { pace, bytes, ..echo_options(&server, "/echo") };
        let report = echo::run(&options, &mut |_| {}).expect("a run");
        assert_eq!(report.fault(), None, "{report:#?}");
        assert!(report.messages > 0 && report.latency.count > 0, "{report:#?}");
    }
    let nowhere = echo_options(&server, "/nowhere");
    let error = echo::run(&nowhere, &mut |_| {}).expect_err("there is no such path").to_string();
    assert!(error.contains("404"), "{error}");
    server.stop().expect("an end in order");
}

/// A server that speaks TLS and QUIC too, where it does, and the options to connect there.
fn shown(name: &str) -> (Server, PathBuf, [(SocketAddr, TransportOptions); 2]) {
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fresh_folder(&data).expect("a folder");
    let options = ServerOptions { binary: BINARY.into(), data: data.clone(), cores: Some((1, 1)), rate_limits: false };
    let any = "127.0.0.1:0";
    let server = Server::start_with(&options, &["--listen-ws", any, "--listen-wss", any, "--listen-quic", any]);
    let server = server.expect("it starts");
    let authorities = fs::read_to_string(data.join("tls/ca.pem")).expect("a development server has an authority");
    let over =
        |protocol| TransportOptions { protocol, authorities: Some(authorities.clone()), ..TransportOptions::default() };
    let secure = (server.secure.expect("it listens"), over(Protocol::Wss));
    let quic = (server.quic.expect("it listens"), over(Protocol::Quic));
    (server, data, [secure, quic])
}

#[test]
fn given_a_transport_that_hides_what_is_said_when_pairs_talk_over_it_then_nothing_is_missing_and_only_the_named_server_will_do()
 {
    let (server, data, ways) = shown("hidden");
    let signer = Signer::of_data(&data).expect("a key");
    for (address, transport) in ways {
        let options = ChatOptions {
            pace: Pace::Depth { depth: 16, until: Until::Accepted },
            length: Length::Messages(200),
            // More than one record of TLS, or packet of QUIC, holds.
            text_bytes: 4_096,
            transport,
            ..ChatOptions::new(address, 4)
        };
        let report = chat::run(&options, &signer, &mut |_| {}).expect("a run");
        assert_eq!((report.fault(), report.messages), (None, 800), "{report:#?}");
        let elsewhere = Some("elsewhere.example".to_owned());
        let transport = TransportOptions { server_name: elsewhere, ..options.transport.clone() };
        let error = chat::run(&ChatOptions { transport, ..options }, &signer, &mut |_| {}).expect_err("a stranger");
        assert!(error.to_string().contains("TLS alert BadCertificate"), "{error}");
    }
    server.stop().expect("an end in order");
}
