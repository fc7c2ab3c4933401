//! The load and the echo servers understand each other: each message comes back in order, and connections come and go.

use std::path::Path;
use std::time::Duration;

use switchyard_bench::client::EchoClient;
use switchyard_bench::load::messages::{MessageLoad, Until};
use switchyard_bench::load::quic::{self, Handshake, echoes, handshakes};
use switchyard_bench::load::{Times, connects, idle, messages};
use switchyard_bench::quic::ECHO_PROTOCOL;
use switchyard_bench::server::Peer;

const TIMES: Times = Times { warm_up: Duration::ZERO, measured: Duration::from_millis(50) };

fn check(program: &str) {
    let peer = Peer::echo(Path::new(program)).expect("it starts");
    let target = peer.target();
    let load = MessageLoad { senders: 3, receivers: 0, until: Until::Delivered, depth: 4 };
    let echoed = messages::run(load, &target, TIMES, |_| EchoClient::new(64)).expect("messages come back in order");
    assert!(echoed.per_s > 0.0);
    let connected = connects::run(3, &target, TIMES, |_| EchoClient::new(64)).expect("connections come and go");
    assert!(connected.per_s > 0.0);
    let held = idle::run(1, 20, &target, |_| EchoClient::new(64)).expect("connections stay");
    assert!(held.rss_bytes > 0);
}

#[test]
fn given_tokio_tungstenite_when_loaded_then_messages_come_back_in_order_and_connections_come_and_go() {
    check(env!("CARGO_BIN_EXE_echo-tokio-tungstenite"));
}

#[test]
fn given_fastwebsockets_when_loaded_then_messages_come_back_in_order_and_connections_come_and_go() {
    check(env!("CARGO_BIN_EXE_echo-fastwebsockets"));
}

#[test]
fn given_quinn_when_loaded_then_messages_come_back_in_order_and_connections_come_and_go() {
    let peer = Peer::echo(Path::new(env!("CARGO_BIN_EXE_echo-quinn"))).expect("it starts");
    let target = peer.target();
    let echoed = echoes(3, 4, 64, &target, TIMES).expect("messages come back in order");
    assert!(echoed.per_s > 0.0);
    for handshake in [Handshake::Full, Handshake::Resumed] {
        let connected = handshakes(handshake, &target, TIMES).expect("connections come and go");
        assert!(connected.per_s > 0.0);
    }
    let held = quic::idle(1, 20, &target, ECHO_PROTOCOL, |_| b"x".to_vec()).expect("connections stay");
    assert!(held.rss_bytes > 0);
}
