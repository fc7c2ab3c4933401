//! The TLS listener with real sockets: what goes through it, what it turns away, and certificates that change.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use common::identity::{Identity, NAME};
use common::{Fixture, PATIENCE, config, connect, http, start, wait_for};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use switchyard_gateway_core::limits::{COMEBACK_MS_MIN, FULL_COMEBACK_MS, OUTBOUND_CONGESTED_BYTES};
use switchyard_gateway_server::limits::TLS_STEPS_PER_TURN;
use switchyard_gateway_server::tls::certificates::{Versions, server_config};
use switchyard_gateway_server::{DrainPlan, GatewayConfig, TlsListen};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Message, WebSocket};

type SecureSocket = WebSocket<StreamOwned<ClientConnection, TcpStream>>;

/// A gateway with a TLS listener, and what it shows.
struct Secured {
    fixture: Fixture,
    identity: Identity,
    client: Arc<ClientConfig>,
}

fn start_secured(mut config: GatewayConfig, threads: usize) -> Secured {
    let identity = Identity::new();
    let client = Arc::new(identity.client());
    let server = server_config(identity.certificates.clone(), Versions::Only13, b"http/1.1").unwrap();
    config.tls = Some(TlsListen { listen: "127.0.0.1:0".parse().unwrap(), config: Arc::new(server) });
    Secured { fixture: start(config, threads, 1), identity, client }
}

impl Secured {
    fn connect(&self) -> TcpStream {
        connect(self.fixture.gateway.local_tls_address().unwrap())
    }

    fn open(&self) -> SecureSocket {
        self.try_open(&self.client).expect("the handshake succeeds")
    }

    fn try_open(&self, client: &Arc<ClientConfig>) -> Option<SecureSocket> {
        let connection = ClientConnection::new(client.clone(), NAME.try_into().unwrap()).unwrap();
        let stream = StreamOwned::new(connection, self.connect());
        let config = tungstenite::protocol::WebSocketConfig::default()
            .max_message_size(Some(64 << 20))
            .max_frame_size(Some(64 << 20));
        let opened = tungstenite::client::client_with_config("wss://localhost/echo", stream, Some(config));
        opened.ok().map(|(socket, _)| socket)
    }
}

fn echo(socket: &mut SecureSocket, payload: impl Into<Bytes>) {
    let payload = payload.into();
    socket.send(Message::Binary(payload.clone())).unwrap();
    assert!(socket.read().unwrap() == Message::Binary(payload));
}

#[test]
fn given_messages_of_many_sizes_when_echoed_over_tls_then_they_come_back_and_the_end_is_clean() {
    let secured = start_secured(config(), 1);
    let mut socket = secured.open();
    for size in [0, 1, 125, 16_383, 16_384, 16_385, 65_536, 1 << 20, 16 << 20] {
        echo(&mut socket, vec![b'x'; size]);
    }
    assert_eq!(secured.fixture.counter("tls"), 1);
    assert_eq!(secured.fixture.counter("tls_kept_bytes"), 0);
    socket.close(None).unwrap();
    assert!(matches!(socket.read(), Ok(Message::Close(_))));
    // The library reads no further; what follows is close_notify, and without it this is an error.
    assert_eq!(socket.get_mut().read(&mut [0; 1]).unwrap(), 0);
    drop(socket);
    secured.fixture.await_counter("open", 0);
    assert_eq!((secured.fixture.counter("tls"), secured.fixture.counter("tls_established")), (0, 1));
    secured.fixture.stop();
}

#[test]
fn given_a_client_that_sends_without_reading_over_tls_then_it_is_not_read_and_loses_nothing() {
    let secured = start_secured(config(), 1);
    let mut socket = secured.open();
    let StreamOwned { conn, sock } = socket.get_mut();
    // A masked binary frame; the mask is zero. Together they are more than the buffers of both kernels and the queue hold.
    let mut frame = vec![0x82, 0xfe];
    frame.extend_from_slice(&60_000_u16.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.resize(frame.len() + 60_000, 7);
    let mut encrypted = Vec::new();
    for _ in 0..1_000 {
        conn.writer().write_all(&frame).unwrap();
        while conn.wants_write() {
            conn.write_tls(&mut encrypted).unwrap();
        }
    }
    let mut writing = sock.try_clone().unwrap();
    let writer = std::thread::spawn(move || writing.write_all(&encrypted).unwrap());
    let is_full = || secured.fixture.counter("outbound_bytes") > OUTBOUND_CONGESTED_BYTES as u64;
    wait_for("a full socket", || is_full().then_some(()));
    for number in 0..1_000 {
        assert!(socket.read().unwrap() == Message::Binary(vec![7; 60_000].into()), "message {number}");
    }
    writer.join().unwrap();
    drop(socket);
    secured.fixture.await_counter("open", 0);
    secured.fixture.stop();
}

#[test]
fn given_clients_that_come_again_then_they_resume_at_whichever_thread_they_meet() {
    let secured = start_secured(config(), 2);
    let mut opened = 0;
    let deadline = Instant::now() + PATIENCE;
    let resumed_everywhere = || {
        let resumed = |(name, count): (&str, u64)| name == "tls_resumed" && count > 0;
        secured.fixture.gateway.counters().all(|counters| counters.all().any(resumed))
    };
    while !resumed_everywhere() {
        assert!(Instant::now() < deadline, "{opened} connections");
        echo(&mut secured.open(), "x");
        opened += 1;
    }
    assert_eq!((secured.fixture.counter("tls_established"), secured.fixture.counter("tls_resumed")), (1, opened - 1));
    secured.fixture.stop();
}

#[test]
fn given_more_handshakes_at_once_than_a_turn_takes_then_all_are_done_and_others_go_on() {
    const CLIENTS: usize = 4 * TLS_STEPS_PER_TURN;
    let secured = start_secured(config(), 1);
    let mut open = secured.open();
    let mut clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let connection = ClientConnection::new(secured.client.clone(), NAME.try_into().unwrap()).unwrap();
            StreamOwned::new(connection, secured.connect())
        })
        .collect();
    for StreamOwned { conn, sock } in &mut clients {
        conn.write_tls(sock).unwrap();
    }
    echo(&mut open, "meanwhile");
    for StreamOwned { conn, sock } in &mut clients {
        while conn.is_handshaking() {
            conn.complete_io(sock).unwrap();
        }
    }
    let done = || secured.fixture.counter("tls_established") + secured.fixture.counter("tls_resumed");
    wait_for("all handshakes", || (done() == CLIENTS as u64 + 1).then_some(()));
    secured.fixture.stop();
}

#[test]
fn given_a_certificate_that_is_replaced_while_connections_are_busy_then_none_ends_and_new_ones_see_the_new_one() {
    let secured = start_secured(config(), 2);
    let mut sockets: Vec<_> = (0..8).map(|_| secured.open()).collect();
    std::thread::scope(|scope| {
        let busy: Vec<_> = sockets
            .iter_mut()
            .map(|socket| scope.spawn(move || (0..200_u32).for_each(|number| echo(socket, vec![1; number as usize]))))
            .collect();
        let knows_the_new = Arc::new(secured.identity.replace());
        wait_for("the new certificate", || secured.try_open(&knows_the_new));
        busy.into_iter().for_each(|busy| busy.join().unwrap());
    });
    sockets.iter_mut().for_each(|socket| echo(socket, "still here"));
    // Whoever knows only the old one, and has no ticket, does not trust the new one.
    let mut forgetful = ClientConfig::clone(&secured.client);
    forgetful.resumption = rustls::client::Resumption::disabled();
    assert!(secured.try_open(&Arc::new(forgetful)).is_none());
    secured.fixture.await_counter("tls_refused", 1);
    secured.fixture.stop();
}

#[test]
fn given_plain_text_on_the_tls_port_then_the_answer_says_what_to_do() {
    let secured = start_secured(config(), 1);
    let address = secured.fixture.gateway.local_tls_address().unwrap();
    let answer = http(address, "GET /v1/ws HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("wss://"), "{answer:?}");
    assert_eq!(secured.fixture.counter("tls_not_tls"), 1);
    let answer = http(address, "\u{16}\u{3}\u{3}nonsense");
    assert!(!answer.contains("HTTP"), "{answer:?}");
    assert_eq!(secured.fixture.counter("tls_malformed"), 1);
    secured.fixture.await_counter("open", 0);
    secured.fixture.stop();
}

#[test]
fn given_an_established_client_that_sends_garbage_then_it_alone_is_ended() {
    let secured = start_secured(config(), 1);
    let (mut broken, mut other) = (secured.open(), secured.open());
    broken.get_mut().sock.write_all(&[23, 3, 3, 0, 20]).unwrap();
    broken.get_mut().sock.write_all(&[0; 20]).unwrap();
    assert!(broken.read().is_err());
    echo(&mut other, "undisturbed");
    drop(broken);
    secured.fixture.await_counter("open", 1);
    assert_eq!(secured.fixture.counter("tls_broken"), 1);
    secured.fixture.stop();
}

#[test]
fn given_clients_that_begin_a_handshake_and_stop_then_each_ends_in_time_and_why_is_counted() {
    let secured = start_secured(config(), 1);
    let mut silent = secured.connect();
    let mut begun = secured.connect();
    begun.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    drop(secured.connect());
    secured.fixture.await_counter("tls_abandoned", 1);
    for stream in [&mut silent, &mut begun] {
        // A reset, or an end: nothing can be said.
        assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
    assert_eq!(secured.fixture.counter("tls_timed_out"), 2);
    secured.fixture.await_counter("open", 0);
    // Gauges of bytes are shown when a turn ends, that of connections at once.
    secured.fixture.await_counter("tls_kept_bytes", 0);
    assert_eq!(secured.fixture.counter("tls_abandoned"), 1);
    secured.fixture.stop();
}

#[test]
fn given_a_full_gateway_when_one_more_connects_over_tls_then_it_is_closed_before_the_handshake_and_takes_no_place() {
    let mut config = config();
    (config.connections_max, config.reconnects_per_second) = (1, 1);
    let secured = start_secured(config, 1);
    let mut first = secured.open();
    for _ in 0..3 {
        assert!(secured.try_open(&secured.client).is_none());
    }
    assert_eq!((secured.fixture.counter("turned_away"), secured.fixture.counter("tls")), (3, 1));
    assert_eq!(secured.fixture.counter("open"), 1);
    // They were told no time to come back, so the first place of all is still free for one that hears of it.
    let answer = http(secured.fixture.address(), "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    let place = format!("Retry-After-Ms: {}\r\n", FULL_COMEBACK_MS + COMEBACK_MS_MIN);
    assert!(answer.contains(&place), "{answer:?}");
    echo(&mut first, "still in");
    secured.fixture.stop();
}

#[test]
fn given_a_drain_then_clients_over_tls_hear_of_it_and_handshakes_end() {
    let mut config = config();
    config.reconnects_per_second = 1;
    let secured = start_secured(config, 1);
    let mut silent = secured.connect();
    wait_for("it to be accepted", || (secured.fixture.counter("tls") == 1).then_some(()));
    let mut socket = secured.open();
    let mut plain = connect(secured.fixture.address());
    wait_for("all three", || (secured.fixture.counter("open") == 3).then_some(()));
    secured.fixture.gateway.drain(DrainPlan { deadline: Instant::now() + PATIENCE });
    let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("a close comes") };
    assert_eq!(frame.code, CloseCode::Away);
    assert!(matches!(silent.read(&mut [0; 1]), Ok(0) | Err(_)));
    let mut answer = String::new();
    plain.read_to_string(&mut answer).unwrap();
    // Who hears nothing is given no place in time.
    assert!(answer.contains(&format!("Retry-After-Ms: {COMEBACK_MS_MIN}\r\n")), "{answer:?}");
    drop(plain);
    _ = socket.read();
    drop(socket);
    wait_for("the threads to end", || secured.fixture.gateway.is_finished().then_some(()));
    assert!(
        TcpStream::connect(secured.fixture.gateway.local_tls_address().unwrap()).is_err(),
        "nobody listens any more"
    );
    secured.fixture.gateway.join().unwrap();
}
