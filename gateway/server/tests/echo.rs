//! The plain echo, and the HTTP answers to everything that does not become a WebSocket.

mod common;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread::JoinHandle;
use std::time::Duration;

use common::{config, connect, http, start, thread_parts, wait_for};
use switchyard_gateway_core::limits::{COMEBACK_MS_MIN, FULL_COMEBACK_MS};
use switchyard_gateway_server::limits::LinkSizes;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Bytes, Message};

#[test]
fn given_messages_of_many_sizes_when_echoed_then_they_come_back_in_order() {
    let fixture = start(config(), 1, 1);
    let mut socket = fixture.open("/echo", None);
    for size in [0, 1, 125, 126, 65_535, 65_536, 70_000, 1 << 20, 16 << 20] {
        let payload = Bytes::from(vec![b'x'; size]);
        socket.send(Message::Binary(payload.clone())).unwrap();
        assert!(socket.read().unwrap() == Message::Binary(payload), "{size} bytes");
        let payload = "ü".repeat(size / 2);
        socket.send(Message::text(payload.clone())).unwrap();
        assert!(socket.read().unwrap() == Message::text(payload), "{size} bytes of text");
    }
    socket.send(Message::Ping("p".into())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Pong("p".into()));
    socket.close(Some(CloseFrame { code: CloseCode::from(3333), reason: "".into() })).unwrap();
    let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("a close comes back") };
    assert_eq!(u16::from(frame.code), 3333);
    assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)));
    wait_for("the slot to be freed", || (fixture.counter("open") == 0).then_some(()));
    fixture.stop();
}

#[test]
fn given_many_frames_sent_at_once_when_echoed_then_all_come_back() {
    let fixture = start(config(), 1, 1);
    let mut socket = fixture.open("/echo", None);
    for round in 0..20 {
        for number in 0..500 {
            socket.write(Message::text(format!("{round}/{number}"))).unwrap();
        }
        socket.flush().unwrap();
        for number in 0..500 {
            assert_eq!(socket.read().unwrap(), Message::text(format!("{round}/{number}")));
        }
    }
    fixture.stop();
}

#[test]
fn given_a_client_that_sends_without_reading_then_it_is_not_read_and_loses_nothing() {
    static PAYLOAD: [u8; 60_000] = [7; 60_000];
    let fixture = start(config(), 1, 1);
    let mut socket = fixture.open("/echo", None);
    // A masked binary frame; the mask is zero.
    let mut frame = vec![0x82, 0xfe];
    frame.extend_from_slice(&u16::try_from(PAYLOAD.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(&PAYLOAD);
    // Until the kernel's buffers and the queue are full and nothing moves any more.
    let stream = socket.get_mut();
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut sent_bytes = 0;
    while let Ok(bytes) = stream.write(&frame[sent_bytes % frame.len()..]) {
        sent_bytes += bytes;
        assert!(sent_bytes < 256 << 20, "the gateway reads without end");
    }
    let whole_messages = sent_bytes / frame.len();
    assert!(whole_messages > 10, "{whole_messages}");
    for number in 0..whole_messages {
        assert!(socket.read().unwrap() == Message::Binary(Bytes::from_static(&PAYLOAD)), "message {number}");
    }
    fixture.stop();
}

#[test]
fn given_a_broken_frame_then_the_close_code_says_so() {
    let fixture = start(config(), 1, 1);
    let mut socket = fixture.open("/echo", None);
    // A reserved opcode, masked.
    socket.get_mut().write_all(&[0x83, 0x80, 0, 0, 0, 0]).unwrap();
    let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("a close comes") };
    assert_eq!(frame.code, CloseCode::Protocol);
    fixture.stop();
}

#[test]
fn given_requests_that_are_no_upgrade_then_http_says_what_to_do() {
    let fixture = start(config(), 1, 1);
    let check = |request: &str, status: &str| {
        let answer = http(fixture.address(), request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?} → {answer:?}");
    };
    check("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "404");
    check("GET /v1/ws HTTP/1.1\r\nHost: x\r\n\r\n", "426");
    check("POST /v1/ws HTTP/1.1\r\nHost: x\r\n\r\n", "405");
    check("nonsense\r\n\r\n", "400");
    check(&format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(9000)), "431");
    assert_eq!(fixture.counter("handshakes_not_found"), 1);
    fixture.stop();
}

#[test]
fn given_a_request_in_single_bytes_with_a_frame_behind_it_then_it_upgrades_and_nothing_is_lost() {
    let fixture = start(config(), 1, 1);
    let mut stream = connect(fixture.address());
    let request = "GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for byte in request.as_bytes() {
        stream.write_all(&[*byte]).unwrap();
    }
    stream.write_all(&[0x82, 0x82, 0, 0, 0, 0, b'h', b'i']).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(&[0x82, 2, b'h', b'i']) {
        let mut some = [0; 256];
        let bytes = stream.read(&mut some).unwrap();
        assert!(bytes > 0, "the echo came before the end");
        answer.extend_from_slice(&some[..bytes]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "the end is answered with the end");
    fixture.stop();
}

#[test]
fn given_a_full_gateway_when_one_more_connects_then_it_is_told_when_to_come_back() {
    let mut config = config();
    config.connections_max = 2;
    let fixture = start(config, 1, 1);
    let first = fixture.open("/echo", None);
    let _second = fixture.open("/echo", None);
    let answer = http(fixture.address(), "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n");
    // The first place of all, behind the time in which nobody would find room.
    let place = format!("Retry-After-Ms: {}\r\n", FULL_COMEBACK_MS + COMEBACK_MS_MIN);
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains(&place), "{answer:?}");
    assert_eq!(fixture.counter("turned_away"), 1);
    drop(first);
    wait_for("room again", || (fixture.counter("open") < 2).then_some(()));
    let mut third = fixture.open("/echo", None);
    third.send(Message::text("in")).unwrap();
    assert_eq!(third.read().unwrap(), Message::text("in"));
    fixture.stop();
}

#[test]
fn given_an_echo_that_says_nothing_then_it_is_pinged_and_then_closed() {
    let mut config = config();
    config.session.heartbeat_ms = 300;
    let fixture = start(config, 1, 1);
    let mut polite = fixture.open("/echo", None);
    let mut silent = fixture.open("/echo", None);
    // The raw socket, because the library would answer the ping.
    let mut end = Vec::new();
    silent.get_mut().read_to_end(&mut end).unwrap();
    assert_eq!(end[..2], [0x89, 0], "a ping first");
    assert_eq!(end[2], 0x88, "then a close");
    assert_eq!(u16::from_be_bytes([end[4], end[5]]), 4002);
    // Who answers lives: the ping of the same time is read here, and answered with it.
    assert_eq!(polite.read().unwrap(), Message::Ping(Bytes::new()));
    polite.send(Message::text("alive")).unwrap();
    drop((polite, silent));
    fixture.stop();
}

#[test]
fn given_a_port_in_use_then_a_second_gateway_says_so() {
    let fixture = start(config(), 2, 1);
    let mut taken = config();
    taken.listen = fixture.address();
    let error = switchyard_gateway_server::Gateway::spawn(
        taken,
        std::sync::Arc::new(switchyard_gateway_core::auth::KeySet::new("x")),
        vec![thread_parts(1, LinkSizes::of(1, 1)).0],
    )
    .expect_err("the port is taken");
    assert!(error.to_string().contains("cannot listen at"), "{error}");
    fixture.stop();
}

#[test]
fn given_a_drain_then_echoes_end_with_going_away_and_every_thread_ends() {
    let fixture = start(config(), 2, 1);
    let mut sockets: Vec<_> = (0..10).map(|_| fixture.open("/echo", None)).collect();
    fixture
        .gateway
        .drain(switchyard_gateway_server::DrainPlan { deadline: std::time::Instant::now() + common::PATIENCE });
    for socket in &mut sockets {
        let Message::Close(Some(frame)) = socket.read().unwrap() else { panic!("a close comes") };
        assert_eq!(frame.code, CloseCode::Away);
        let _ = socket.read();
    }
    drop(sockets);
    wait_for("the threads to end", || fixture.gateway.is_finished().then_some(()));
    assert!(std::net::TcpStream::connect(fixture.address()).is_err(), "nobody listens any more");
    fixture.gateway.join().unwrap();
}

/// A busy thread must still serve others and hear orders: foreign wakers would reach it only when it parks, and a task that
/// wakes itself would keep the rest out.
#[test]
fn given_clients_that_never_pause_then_others_are_served_and_a_drain_is_heard() {
    let fixture = start(config(), 1, 1);
    let flood: Vec<_> = (0..4)
        .map(|_| {
            let mut socket = fixture.open("/echo", None);
            let mut writing = socket.get_ref().try_clone().unwrap();
            let mut frame = vec![0x82, 0xfe, 0x10, 0, 0, 0, 0, 0];
            frame.resize(8 + 0x1000, b'x');
            let frames = frame.repeat(20);
            let writer = std::thread::spawn(move || while writing.write_all(&frames).is_ok() {});
            let reader = std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 20];
                while socket.get_mut().read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
            });
            [writer, reader]
        })
        .collect();
    let mut polite = fixture.open("/echo", None);
    for number in 0..100 {
        polite.send(Message::text(number.to_string())).unwrap();
        assert_eq!(polite.read().unwrap(), Message::text(number.to_string()));
    }
    fixture
        .gateway
        .drain(switchyard_gateway_server::DrainPlan { deadline: std::time::Instant::now() + Duration::from_secs(1) });
    wait_for("the thread to end", || fixture.gateway.is_finished().then_some(()));
    fixture.gateway.join().unwrap();
    // A peer that was not read has no room to hear a plain end in; it is reset.
    wait_for("the clients to notice", || flood.iter().flatten().all(JoinHandle::is_finished).then_some(()));
}
