//! Clients that ask for too much: they are told, or not read, and nobody else notices.

mod common;

use std::io::Write;
use std::net::TcpStream;

use common::{config, connect, http, start, wait_for};
use serde_json::json;
use switchyard_gateway_core::rate::Rate;
use switchyard_schema::link::{ToGateway, ToRouter};
use tungstenite::WebSocket;

/// As many masked pings without payload as fit into `bytes`.
fn pings(bytes: usize) -> Vec<u8> {
    [0x89, 0x80, 0, 0, 0, 0].repeat(bytes / 6)
}

#[test]
fn given_an_address_that_connects_too_often_then_it_is_told_when_to_come_back_and_others_are_let_in() {
    let mut config = config();
    config.handshakes = Rate::per_second(1);
    let fixture = start(config, 1, 1);
    let request = "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = wait_for("the limit", || {
        let answer = http(fixture.address(), request);
        answer.starts_with("HTTP/1.1 429").then_some(answer)
    });
    assert!(answer.contains("Retry-After: 1\r\n"), "{answer:?}");
    assert!(fixture.counter("handshakes_limited") >= 1 && fixture.counter("handshakes_not_found") >= 10);
    // Another address of this host.
    let socket = connect_from([127, 0, 0, 2], &fixture);
    let mut other = tungstenite::client(format!("ws://{}/echo", fixture.address()), socket).expect("it is let in").0;
    other.send("hi".into()).unwrap();
    assert_eq!(other.read().unwrap(), "hi".into());
    drop(other);
    fixture.stop();
}

fn connect_from(address: [u8; 4], fixture: &common::Fixture) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &std::net::SocketAddr::from((address, 0))).unwrap();
    connect(&socket, &fixture.address()).unwrap();
    socket.into()
}

#[test]
fn given_a_flood_of_pings_then_only_the_rate_of_it_is_read_and_others_go_on() {
    let mut config = config();
    config.session.rates.frames = Rate::per_second(10);
    let fixture = start(config, 1, 1);
    let mut polite = fixture.phone(42);
    let flooding = fixture.open("/v1/ws", None);
    let mut stream = flooding.get_ref().try_clone().unwrap();
    let writer = std::thread::spawn(move || while stream.write_all(&pings(60_000)).is_ok() {});
    wait_for("a pause", || (fixture.counter("flood_pauses") > 0).then_some(()));
    for nonce in 0..50 {
        polite.say(&json!({"type": "ping", "nonce": nonce.to_string()}));
        assert_eq!(polite.hear()["type"], "pong");
    }
    // Of tens of thousands that were sent: a hundred at once, and then ten a second.
    assert!(fixture.counter("frames_in") < 5_000, "{}", fixture.counter("frames_in"));
    let _ = flooding.get_ref().shutdown(std::net::Shutdown::Both);
    writer.join().unwrap();
    drop((polite, flooding));
    fixture.stop();
}

#[test]
fn given_floods_of_many_connections_then_those_whose_bytes_cannot_be_kept_are_closed_and_others_go_on() {
    let mut config = config();
    config.session.rates.frames = Rate::per_second(10);
    let fixture = start(config, 1, 1);
    let mut polite = fixture.phone(42);
    let mut floods: Vec<WebSocket<TcpStream>> = Vec::new();
    let flood = pings(60_000);
    while fixture.counter("too_fast") == 0 {
        assert!(floods.len() < 2_000, "nobody is closed");
        let socket = fixture.open("/v1/ws", None);
        socket.get_ref().set_nonblocking(true).unwrap();
        // What the socket takes is enough.
        let _ = socket.get_ref().write(&flood);
        floods.push(socket);
    }
    polite.say(&json!({"type": "ping", "nonce": "1"}));
    assert_eq!(polite.hear()["type"], "pong");
    drop((polite, floods));
    fixture.stop();
}

#[test]
fn given_many_clients_that_say_hello_at_once_then_each_is_attached_and_those_that_leave_meanwhile_harm_nobody() {
    const CLIENTS: u64 = 400;
    let fixture = start(config(), 1, 1);
    let mut polite = fixture.phone(1);
    let mut sockets: Vec<_> = (0..CLIENTS).map(|_| fixture.open("/v1/ws", None)).collect();
    for (user, socket) in (2..).zip(&mut sockets) {
        let hello = json!({"type": "hello", "token": fixture.token(user), "device": "1"});
        common::say(socket, &hello);
    }
    // Every third leaves without an answer.
    let mut number = 0;
    sockets.retain(|_| {
        number += 1;
        number % 3 != 0
    });
    let mut welcome = 0;
    while welcome < sockets.len() {
        polite.say(&json!({"type": "ping", "nonce": "1"}));
        assert_eq!(polite.hear()["type"], "pong");
        while let Some((_, request)) = fixture.router().requests.pop() {
            if let ToRouter::Attach(origin) = request {
                fixture.router().answer(ToGateway::Attached(origin.session));
            }
        }
        if let Some(socket) = sockets.get_mut(welcome)
            && fixture.counter("sessions") > welcome as u64
        {
            socket.get_ref().set_nonblocking(true).unwrap();
            welcome += usize::from(socket.read().is_ok());
        }
    }
    drop((polite, sockets));
    wait_for("every slot to be free", || {
        while fixture.router().requests.pop().is_some() {}
        (fixture.counter("open") == 0).then_some(())
    });
    fixture.stop();
}

#[test]
fn given_a_handshake_and_frames_in_single_bytes_then_the_session_works_and_others_go_on() {
    let fixture = start(config(), 1, 1);
    let mut polite = fixture.phone(42);
    let mut slow = connect(fixture.address());
    let request = "GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut bytes = request.as_bytes().to_vec();
    bytes.extend_from_slice(&[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']);
    for byte in bytes {
        slow.write_all(&[byte]).unwrap();
        polite.say(&json!({"type": "ping", "nonce": "1"}));
        assert_eq!(polite.hear()["type"], "pong");
    }
    let mut answer = Vec::new();
    while !answer.ends_with(&[0x8a, 2, b'h', b'i']) {
        let mut some = [0; 256];
        let read = std::io::Read::read(&mut slow, &mut some).unwrap();
        assert!(read > 0, "the pong comes before the end");
        answer.extend_from_slice(&some[..read]);
    }
    drop((polite, slow));
    fixture.stop();
}
