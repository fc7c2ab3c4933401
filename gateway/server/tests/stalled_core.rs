//! A router core that answers nothing: what waits for it keeps nobody from the other core.

mod common;

use std::io::Write;
use std::net::TcpStream;

use common::{Fixture, Phone, accept, config, connect, hear, say, send_frame, start, wait_for};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use switchyard_gateway_server::limits::{HELD_BYTES_MAX, LinkSizes};
use switchyard_schema::ids::{ConversationId, ShardCount, UserId};
use switchyard_schema::link::{ToGateway, ToRouter};
use tungstenite::Message;

const CORES: usize = 2;
/// The one that answers, and the one that does not.
const GOOD: usize = 0;
const STALLED: usize = 1;
const SENDS: usize = 200;

fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn core_of(user: UserId) -> usize {
    usize::from(ShardCount::new(64).unwrap().of_user(user).0) % CORES
}

/// Users of a core, from this number on.
fn users_of(core: usize, from: u64) -> impl Iterator<Item = u64> {
    (from..).filter(move |&number| core_of(user(number)) == core)
}

/// Somebody with whom this user has a conversation on that core.
fn peer_on(core: usize, number: u64) -> u64 {
    let shard = |peer| ShardCount::new(64).unwrap().of_conversation(ConversationId::direct(user(number), user(peer)));
    (1_000_000..).find(|&peer| usize::from(shard(peer).0) % CORES == core).unwrap()
}

/// A session of a user of the good core.
fn phone(fixture: &Fixture, number: u64) -> Phone {
    let mut socket = fixture.open("/v1/ws", Some("switchyard.v1.json"));
    say(&mut socket, &json!({"type": "hello", "token": fixture.token(number), "device": "1"}));
    let ToRouter::Attach(origin) = fixture.routers[0][GOOD].next() else { panic!("a hello becomes an attach") };
    fixture.routers[0][GOOD].answer(ToGateway::Attached(origin.session));
    assert_eq!(hear(&mut socket)["type"], "welcome");
    Phone { socket, origin }
}

/// A send of a user of the good core in a conversation of that core is accepted.
fn talk(fixture: &Fixture, phone: &mut Phone) {
    phone.say(&send_frame(1, peer_on(GOOD, phone.origin.user.get()), "undisturbed"));
    let ToRouter::Send(request) = fixture.routers[0][GOOD].next() else { panic!("a send comes") };
    fixture.routers[0][GOOD].answer(accept(request, 1).0);
    assert_eq!(phone.hear()["type"], "accepted");
}

#[test]
fn given_requests_of_a_cores_users_that_lie_at_a_stalled_core_then_its_other_requests_are_answered_and_those_come_later()
 {
    let fixture = start(config(), 1, CORES);
    let credits = LinkSizes::of(1, CORES).credits_per_pair;
    let mut users = users_of(GOOD, 1);
    let mut polite = phone(&fixture, users.next().unwrap());
    let mut waiting: Vec<Phone> = users.take(credits / SENDS + 2).map(|number| phone(&fixture, number)).collect();
    for phone in &mut waiting {
        let peer = peer_on(STALLED, phone.origin.user.get());
        for number in 0..SENDS as u64 {
            phone.socket.write(Message::text(send_frame(number, peer, "x").to_string())).unwrap();
        }
        phone.socket.flush().unwrap();
    }
    let stalled = &fixture.routers[0][STALLED];
    wait_for("the credits to be used up", || (fixture.counter("credit_stalls") >= 2).then_some(()));
    assert_eq!(stalled.requests.len(), credits);
    for _ in 0..10 {
        talk(&fixture, &mut polite);
    }
    // It goes on. The answers come from the core of the senders, one of them a refusal.
    for number in 0..waiting.len() * SENDS {
        let ToRouter::Send(request) = stalled.next() else { panic!("send {number} comes") };
        let answer = if number == 0 {
            let (shard, session) =
                (ShardCount::new(64).unwrap().of_conversation(request.conversation), request.origin.session);
            let regarding = switchyard_schema::frame::Regarding::Send(request.client_message_id);
            let code = switchyard_schema::error::ErrorCode::Overloaded;
            ToGateway::Refused { session, shard, code, retry_after_ms: None, regarding }
        } else {
            accept(request, 1 + number as u64).0
        };
        fixture.routers[0][GOOD].answer(answer);
    }
    for phone in &mut waiting {
        let answers = (0..SENDS).map(|_| phone.hear());
        assert_eq!(answers.filter(|answer| answer["type"] == "accepted" || answer["type"] == "error").count(), SENDS);
    }
    drop((polite, waiting));
    fixture.stop();
}

#[test]
fn given_much_that_waits_for_a_stalled_core_then_the_users_of_the_other_are_read_on() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut config = config();
    config.own_descriptors = true;
    let fixture = start(config, 1, CORES);
    let mut polite = phone(&fixture, users_of(GOOD, 1).next().unwrap());
    // None of these is answered: the first ones use up the credits, and what stands behind the Hellos of the others waits.
    let hello = json!({"type": "hello", "token": fixture.token(users_of(STALLED, 1).next().unwrap()), "device": "1"});
    let mut bytes = b"GET /v1/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        .to_vec();
    switchyard_gateway_core::ws::encode::put_masked(
        &mut bytes,
        switchyard_gateway_core::ws::Opcode::Text,
        hello.to_string().as_bytes(),
        [0; 4],
    );
    let behind = vec![0x89; 64 * 1024];
    let mut waiting: Vec<TcpStream> = Vec::new();
    while waiting.len() * behind.len() < HELD_BYTES_MAX + HELD_BYTES_MAX / 8 {
        let mut stream = connect(fixture.address());
        stream.write_all(&bytes).unwrap();
        stream.set_nonblocking(true).unwrap();
        // What the socket takes is enough.
        let _ = stream.write(&behind);
        waiting.push(stream);
        talk(&fixture, &mut polite);
    }
    assert!(fixture.counter("credit_stalls") > 0);
    assert!(fixture.counter("bytes_in") < HELD_BYTES_MAX as u64, "{}", fixture.counter("bytes_in"));
    drop((polite, waiting));
    fixture.stop();
}
