//! Newcomers whom the router takes in slowly or not at all: some wait, the others are told when to come back.

mod common;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;

use common::{Fixture, config, connect, say, start, wait_for};
use serde_json::json;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::Regarding;
use switchyard_schema::ids::ShardId;
use switchyard_schema::link::{Origin, ToGateway, ToRouter};
use tungstenite::WebSocket;
use tungstenite::protocol::Role;

const UPGRADE: &str = "GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Protocol: switchyard.v1.json\r\n\r\n";

/// What became of a connection that asks for a session.
enum Answer {
    Upgraded(TcpStream),
    /// The fields `Retry-After` and `Retry-After-Ms` of a 503.
    PutOff(u64, u64),
}

fn ask(fixture: &Fixture) -> Answer {
    let mut stream = connect(fixture.address());
    // A refusal comes before anything is read, and then the rest may find the connection closed.
    let _ = stream.write_all(UPGRADE.as_bytes());
    let mut header = Vec::new();
    while !header.ends_with(b"\r\n\r\n") {
        let mut one = [0];
        stream.read_exact(&mut one).expect("a whole header comes");
        header.extend(one);
    }
    let header = String::from_utf8(header).expect("it is text");
    if header.starts_with("HTTP/1.1 101 ") {
        return Answer::Upgraded(stream);
    }
    assert!(header.starts_with("HTTP/1.1 503 "), "{header}");
    let field = |name: &str| {
        let line = header.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
        line.trim().parse().expect("it is a number")
    };
    Answer::PutOff(field("Retry-After:"), field("Retry-After-Ms:"))
}

/// Asks until there is room.
fn find_room(fixture: &Fixture) -> TcpStream {
    wait_for("room for a newcomer", || match ask(fixture) {
        Answer::Upgraded(stream) => Some(stream),
        Answer::PutOff(..) => None,
    })
}

/// Says who an upgraded connection is. Then so many wait for the router.
fn greet(fixture: &Fixture, stream: TcpStream, user: u64, attaching: u64) -> WebSocket<TcpStream> {
    let mut socket = WebSocket::from_raw_socket(stream, Role::Client, None);
    say(&mut socket, &json!({"type": "hello", "token": fixture.token(user), "device": "1"}));
    wait_for("it to wait", || (fixture.counter("attaching") == attaching).then_some(()));
    socket
}

/// The router's answer to one who has too many devices.
fn refuse(fixture: &Fixture, Origin { session, .. }: Origin) {
    let (shard, code, regarding) = (ShardId(0), ErrorCode::TooManyDevices, Regarding::Session);
    fixture.router().answer(ToGateway::Refused { session, shard, code, retry_after_ms: None, regarding });
}

#[test]
fn given_newcomers_that_the_router_does_not_answer_for_then_some_wait_and_others_get_a_place_and_sessions_are_served() {
    const PER_SECOND: u32 = 10;
    let mut config = config();
    config.reconnects_per_second = PER_SECOND;
    let fixture = start(config, 1, 1);
    let mut phone = fixture.phone(1);
    let mut waiting = Vec::new();
    let mut put_off = Vec::new();
    while put_off.len() < 5 {
        match ask(&fixture) {
            Answer::Upgraded(stream) => {
                let number = waiting.len() as u64 + 1;
                waiting.push(greet(&fixture, stream, 1 + number, number));
            }
            Answer::PutOff(seconds, ms) => {
                assert_eq!(seconds, ms.div_ceil(1_000), "who reads seconds only comes after the place");
                put_off.push(ms);
            }
        }
    }
    assert!(!waiting.is_empty());
    assert_eq!(fixture.counter("handshakes_put_off"), 5);
    // Those who wait come first, and a session that is open notices nothing.
    assert!(put_off.iter().all(|&ms| ms >= 500), "{put_off:?}");
    phone.say(&json!({"type": "ping", "nonce": "7"}));
    assert_eq!(phone.hear(), json!({"type": "pong", "nonce": "7"}));
    // The router is back: everybody who waited is let in, and then newcomers are.
    for _ in &waiting {
        let ToRouter::Attach(origin) = fixture.router().next() else { panic!("a hello becomes an attach") };
        fixture.router().answer(ToGateway::Attached(origin.session));
    }
    wait_for("all to be in", || (fixture.counter("sessions") == 1 + waiting.len() as u64).then_some(()));
    let newcomer = find_room(&fixture);
    drop((phone, waiting, newcomer));
    fixture.stop();
}

#[test]
fn given_newcomers_of_whom_none_becomes_a_session_when_each_is_refused_then_the_line_has_moved_by_all_of_them() {
    const WAITING: u64 = 12;
    let fixture = start(config(), 1, 1);
    let come = |number| greet(&fixture, find_room(&fixture), number, number);
    let waiting: Vec<_> = (1..=WAITING).map(come).collect();
    for through in 1..=WAITING {
        let ToRouter::Attach(origin) = fixture.router().next() else { panic!("a hello becomes an attach") };
        refuse(&fixture, origin);
        let line = || (fixture.counter("attaching"), fixture.counter("newcomers_through"));
        wait_for("it to be through", || (line() == (WAITING - through, through)).then_some(()));
    }
    drop(waiting);
    fixture.stop();
}

#[test]
fn given_a_line_that_stood_still_when_it_moves_again_then_one_more_may_stand_in_it_than_before() {
    // So many fit the line at four connections a second, and not at three, which is what is left when it stands still.
    const WAITING: u64 = 10;
    let mut config = config();
    config.reconnects_per_second = 5;
    let fixture = start(config, 1, 1);
    let mut waiting: VecDeque<_> =
        (1..=WAITING).map(|number| greet(&fixture, find_room(&fixture), number, number)).collect();
    wait_for("nobody to be let in", || matches!(ask(&fixture), Answer::PutOff(..)).then_some(()));
    let mut user = WAITING;
    wait_for("the line to be seen to move", || {
        let ToRouter::Attach(origin) = fixture.router().next() else { panic!("a hello becomes an attach") };
        refuse(&fixture, origin);
        wait_for("it to be through", || (fixture.counter("attaching") == WAITING - 1).then_some(()));
        waiting.pop_front();
        user += 1;
        waiting.push_back(greet(&fixture, find_room(&fixture), user, WAITING));
        matches!(ask(&fixture), Answer::Upgraded(_)).then_some(())
    });
    drop(waiting);
    fixture.stop();
}

#[test]
fn given_no_room_for_newcomers_when_an_echo_that_came_before_is_asked_for_then_it_is_served_and_nobody_is_put_off() {
    let mut config = config();
    config.reconnects_per_second = 1;
    let fixture = start(config, 1, 1);
    let mut early = connect(fixture.address());
    wait_for("it to be accepted", || (fixture.counter("upgrading") == 1).then_some(()));
    let mut waiting = Vec::new();
    while let Answer::Upgraded(stream) = ask(&fixture) {
        let number = waiting.len() as u64 + 1;
        waiting.push(greet(&fixture, stream, number, number));
    }
    early.write_all(UPGRADE.replace("/v1/ws", "/echo").as_bytes()).expect("the gateway reads");
    wait_for("the echo", || (fixture.counter("echoing") == 1).then_some(()));
    assert_eq!(fixture.counter("handshakes_put_off"), 1, "that of the one that found no room");
    drop((early, waiting));
    fixture.stop();
}
