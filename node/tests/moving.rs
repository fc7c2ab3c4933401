//! Phones that move, as the load generator plays them against the real binary: the small form of a night of migrations.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use switchyard_swarm::chat::{self, ChatOptions, Length, Pace, Until};
use switchyard_swarm::connect::{self, ConnectOptions};
use switchyard_swarm::relay::{Relay, RelayOptions, Share};
use switchyard_swarm::report::Report;
use switchyard_swarm::server::{Server, ServerOptions, fresh_folder};
use switchyard_swarm::tokens::Signer;
use switchyard_swarm::transport::{Protocol, TransportOptions};

const BINARY: &str = env!("CARGO_BIN_EXE_switchyard");
/// As bad as the networks are that phones move between.
const BAD: RelayOptions = RelayOptions {
    loss: Share::percent(1),
    delay: Duration::from_millis(2),
    jitter: Duration::from_millis(1),
    reorder: Share::percent(1),
    rebind_every: None,
    seed: 7,
};

/// A server on two cores that speaks QUIC, where that is, and its data folder.
fn server(name: &str) -> (Server, SocketAddr, PathBuf) {
    let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fresh_folder(&data).expect("a folder");
    let options = ServerOptions { binary: BINARY.into(), data: data.clone(), cores: Some((2, 1)), rate_limits: false };
    let server = Server::start_with_quic(&options).expect("it starts");
    let quic = server.quic.expect("it listens");
    (server, quic, data)
}

fn quic(data: &Path) -> TransportOptions {
    let authorities = fs::read_to_string(data.join("tls/ca.pem")).expect("a development server has an authority");
    TransportOptions { protocol: Protocol::Quic, authorities: Some(authorities), ..TransportOptions::default() }
}

#[test]
fn given_a_hundred_phones_on_a_bad_network_when_they_move_all_the_time_then_no_session_ends_and_no_message_is_lost_or_repeated()
 {
    let (server, address, data) = server("moving");
    let options = ChatOptions {
        pace: Pace::Depth { depth: 1, until: Until::Receipt },
        length: Length::Messages(60),
        transport: TransportOptions {
            migrate_every: Some(Duration::from_millis(200)),
            relay: Some(BAD),
            ..quic(&data)
        },
        ..ChatOptions::new(address, 50)
    };
    let report = chat::run(&options, &Signer::of_data(&data).expect("a key"), &mut |_| {}).expect("a run");
    assert_eq!((report.fault(), report.messages), (None, 3_000), "{report:#?}");
    assert!(report.migrations >= 100, "as often as there are phones: {report:#?}");
    server.stop().expect("an end in order");
}

#[test]
fn given_connections_over_quic_when_the_network_changes_their_addresses_then_all_are_alive_and_nothing_is_lost() {
    let (server, address, data) = server("rebound");
    let relay = Relay::start(
        "127.0.0.1:0".parse().expect("an address"),
        address,
        RelayOptions { rebind_every: Some(Duration::from_secs(3)), ..BAD },
    );
    let relay = relay.expect("a relay");
    let options = ConnectOptions {
        threads: 2,
        hold: Duration::from_secs(3),
        messages_per_s: 500.0,
        // Where nobody knows that an address has changed, a client is found again when it says something.
        transport: TransportOptions { keep_alive: Some(Duration::from_millis(200)), ..quic(&data) },
        ..ConnectOptions::new(relay.address(), 300)
    };
    let report = connect::run(&options, Signer::of_data(&data).expect("a key"), &mut |_| {}).expect("a run");
    assert_eq!(report.fault(), None, "{report:#?}");
    assert_eq!((report.opened, report.alive), (300, 300));
    let done = relay.report();
    assert!(done.rebinds > 0 && done.lost > 0 && done.overtaken > 0 && done.overflowed == 0, "{done:?}");
    server.stop().expect("an end in order");
}
