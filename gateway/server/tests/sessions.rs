//! Sessions over real sockets, with the router's side played by the test.

mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use common::{PATIENCE, accept, config, connect, hear, http, say, send_frame, start, wait_for};
use serde_json::json;
use smallvec::smallvec;
use switchyard_gateway_core::auth::{AUDIENCE_DEFAULT, Claims, KeySet, SigningKey};
use switchyard_gateway_server::{DrainPlan, limits};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{Receipt, Regarding, Watermark};
use switchyard_schema::ids::{Millis, Sequence, ShardId, UserId};
use switchyard_schema::link::{ToGateway, ToRouter};
use tungstenite::Message;

#[test]
fn given_two_phones_when_one_sends_then_it_is_accepted_and_the_other_gets_it_and_the_receipt_comes_back() {
    let fixture = start(config(), 1, 1);
    let (mut alice, mut bob) = (fixture.phone(42), fixture.phone(43));
    alice.say(&send_frame(1, 43, "hi"));
    let ToRouter::Send(request) = fixture.router().next() else { panic!("a send comes") };
    assert_eq!(request.origin, alice.origin);
    let conversation = request.conversation;
    let (accepted, frame) = accept(request, 1);
    fixture.router().answer(accepted);
    fixture.router().answer(ToGateway::Deliver { sessions: smallvec![bob.origin.session], frame });
    assert_eq!(alice.hear()["type"], "accepted");
    let deliver = bob.hear();
    assert_eq!((&deliver["type"], &deliver["sender"]), (&json!("deliver"), &json!("42")));
    assert_eq!((&deliver["body"]["text"], &deliver["conversation"]), (&json!("hi"), &json!({"direct": "42"})));

    bob.say(&json!({"type": "ack", "conversation": {"direct": "42"}, "delivered": "1"}));
    let ToRouter::Ack { origin, ack } = fixture.router().next() else { panic!("an ack comes") };
    assert_eq!((origin, ack.delivered), (bob.origin, Some(Sequence(1))));
    let watermark = Watermark { member: bob.origin.user, delivered: Sequence(1), read: Sequence::ZERO };
    let receipt = Receipt { conversation, watermark };
    fixture.router().answer(ToGateway::Receipt { sessions: smallvec![alice.origin.session], receipt });
    assert_eq!(alice.hear()["type"], "receipt");

    bob.socket.close(None).unwrap();
    let ToRouter::Detach { origin, .. } = fixture.router().next() else { panic!("a detach comes") };
    assert_eq!(origin, bob.origin);
    drop(alice);
    let ToRouter::Detach { origin, .. } = fixture.router().next() else {
        panic!("a detach comes without a close, too")
    };
    assert_ne!(origin, bob.origin);
    wait_for("the slots to be freed", || (fixture.counter("open") == 0).then_some(()));
    fixture.stop();
}

#[test]
fn given_frames_that_arrive_together_then_they_are_answered_with_one_write() {
    let fixture = start(config(), 1, 1);
    let mut phone = fixture.phone(42);
    for nonce in 0..16 {
        phone.socket.write(Message::text(json!({"type": "ping", "nonce": nonce.to_string()}).to_string())).unwrap();
    }
    let expected_bytes: usize = (0..16).map(|nonce| format!(r#"  {{"type":"pong","nonce":"{nonce}"}}"#).len()).sum();
    phone.socket.flush().unwrap();
    let bytes = phone.socket.get_mut().read(&mut [0; 4096]).unwrap();
    assert_eq!(bytes, expected_bytes, "all sixteen pongs come in one piece");
    drop(phone);
    fixture.stop();
}

#[test]
fn given_sends_behind_a_hello_when_the_router_is_slow_then_they_wait_for_welcome() {
    let fixture = start(config(), 1, 1);
    let mut socket = fixture.open("/v1/ws", None);
    let hello = json!({"type": "hello", "token": fixture.token(42), "device": "1"});
    socket.write(Message::text(hello.to_string())).unwrap();
    for number in 0..3 {
        socket.write(Message::text(send_frame(number, 43, "early").to_string())).unwrap();
    }
    socket.flush().unwrap();
    let ToRouter::Attach(origin) = fixture.router().next() else { panic!("an attach comes first") };
    assert!(fixture.router().requests.is_empty());
    fixture.router().answer(ToGateway::Attached(origin.session));
    assert_eq!(hear(&mut socket)["type"], "welcome");
    for number in 0..3 {
        let ToRouter::Send(request) = fixture.router().next() else { panic!("send {number} comes") };
        assert_eq!(request.client_message_id.0[15], number);
    }
    drop(socket);
    fixture.stop();
}

#[test]
fn given_more_sends_than_credits_then_the_rest_waits_and_all_are_accepted_in_order() {
    const SENDS: u64 = 300;
    let fixture = start(config(), 1, 1);
    let mut phones: Vec<_> = (1..=6).map(|user| fixture.phone(user)).collect();
    for phone in &mut phones {
        for number in 0..SENDS {
            phone.socket.write(Message::text(send_frame(number, 99, "x").to_string())).unwrap();
        }
        phone.socket.flush().unwrap();
    }
    // Nobody answers: exactly as many requests come as there are credits.
    let mut unanswered: Vec<_> = (0..limits::CREDITS_PER_ROUTER_CORE).map(|_| fixture.router().next()).collect();
    wait_for("a stall", || (fixture.counter("credit_stalls") > 0).then_some(()));
    assert!(fixture.router().requests.is_empty());
    let mut sequence = 0;
    let mut answered = 0;
    while answered < phones.len() as u64 * SENDS {
        for request in unanswered.drain(..) {
            let ToRouter::Send(request) = request else { panic!("only sends come") };
            sequence = sequence % 1000 + 1;
            answered += 1;
            fixture.router().answer(accept(request, sequence).0);
        }
        unanswered.extend(std::iter::from_fn(|| fixture.router().requests.pop()).map(|(_, request)| request));
    }
    for phone in &mut phones {
        for number in 0..SENDS {
            let accepted = phone.hear();
            let expected = &send_frame(number, 99, "x")["client_message_id"];
            assert_eq!((&accepted["type"], &accepted["client_message_id"]), (&json!("accepted"), expected));
        }
    }
    drop(phones);
    fixture.stop();
}

#[test]
fn given_a_router_that_does_not_pop_when_acks_fill_the_link_then_none_is_lost() {
    let acks = u64::try_from(limits::OPEN_SLOTS_TO_ROUTER).unwrap() * 2;
    let fixture = start(config(), 1, 1);
    let mut phone = fixture.phone(42);
    let sender = std::thread::spawn(move || {
        for number in 1..=acks {
            let ack = json!({"type": "ack", "conversation": {"direct": "43"}, "delivered": number.to_string()});
            phone.socket.write(Message::text(ack.to_string())).unwrap();
        }
        phone.socket.flush().unwrap();
        phone
    });
    wait_for("the link to be full", || (fixture.counter("room_stalls") > 0).then_some(()));
    assert_eq!(fixture.router().requests.len(), limits::OPEN_SLOTS_TO_ROUTER);
    for number in 1..=acks {
        let ToRouter::Ack { ack, .. } = fixture.router().next() else { panic!("ack {number} comes") };
        assert_eq!(ack.delivered, Some(Sequence(number)));
    }
    drop(sender.join().unwrap());
    assert!(matches!(fixture.router().next(), ToRouter::Detach { .. }));
    fixture.stop();
}

#[test]
fn given_a_full_link_when_a_client_leaves_then_its_detach_comes_once_there_is_room() {
    let fixture = start(config(), 1, 1);
    let (mut phone, leaving) = (fixture.phone(42), fixture.phone(43));
    for number in 1..=limits::OPEN_SLOTS_TO_ROUTER {
        let ack = json!({"type": "ack", "conversation": {"direct": "43"}, "delivered": number.to_string()});
        phone.socket.write(Message::text(ack.to_string())).unwrap();
    }
    phone.socket.flush().unwrap();
    wait_for("a full link", || (fixture.router().requests.len() == limits::OPEN_SLOTS_TO_ROUTER).then_some(()));
    let left = leaving.origin;
    drop(leaving);
    wait_for("the detach to wait", || (fixture.counter("room_stalls") > 0).then_some(()));
    assert_eq!(fixture.counter("open"), 2, "its slot stays");
    for _ in 0..limits::OPEN_SLOTS_TO_ROUTER {
        assert!(matches!(fixture.router().next(), ToRouter::Ack { .. }));
    }
    assert!(matches!(fixture.router().next(), ToRouter::Detach { origin, .. } if origin == left));
    wait_for("its slot to be freed", || (fixture.counter("open") == 1).then_some(()));
    drop(phone);
    fixture.stop();
}

#[test]
fn given_clients_that_leave_before_their_answer_then_the_credits_come_back() {
    let fixture = start(config(), 1, 1);
    for round in 0..limits::CREDITS_PER_ROUTER_CORE as u64 / 200 + 2 {
        let mut phone = fixture.phone(42);
        for number in 0..200 {
            phone.socket.write(Message::text(send_frame(number, 43, "x").to_string())).unwrap();
        }
        phone.socket.flush().unwrap();
        let requests: Vec<_> = (0..200).map(|_| fixture.router().next()).collect();
        drop(phone);
        assert!(matches!(fixture.router().next(), ToRouter::Detach { .. }), "round {round}");
        for request in requests {
            let ToRouter::Send(request) = request else { panic!("only sends come") };
            fixture.router().answer(accept(request, 1).0);
        }
    }
    fixture.stop();
}

#[test]
fn given_a_phone_that_does_not_read_then_it_is_closed_and_others_go_on() {
    let fixture = start(config(), 1, 1);
    let (mut slow, mut other) = (fixture.phone(42), fixture.phone(43));
    other.say(&send_frame(1, 42, &"x".repeat(4000)));
    let ToRouter::Send(request) = fixture.router().next() else { panic!("a send comes") };
    let (accepted, frame) = accept(request, 1);
    fixture.router().answer(accepted);
    assert_eq!(other.hear()["type"], "accepted");
    let sessions = || smallvec![slow.origin.session];
    wait_for("the slow phone to be dropped", || {
        let deliver = ToGateway::Deliver { sessions: sessions(), frame: frame.clone() };
        let _ = fixture.router().answers.try_push(deliver);
        fixture.router().gateway.notify();
        (fixture.counter("too_slow") > 0).then_some(())
    });
    assert!(matches!(fixture.router().next(), ToRouter::Detach { origin, .. } if origin == slow.origin));
    other.say(&json!({"type": "ping", "nonce": "5"}));
    assert_eq!(other.hear(), json!({"type": "pong", "nonce": "5"}));
    // Every frame that it still gets is whole, and the last word says why.
    assert_eq!(slow.hear_close(), 4004);
    drop((slow, other));
    fixture.stop();
}

#[test]
fn given_the_same_device_again_then_the_older_session_is_closed_as_replaced() {
    let fixture = start(config(), 1, 1);
    let mut older = fixture.phone(42);
    fixture.router().answer(ToGateway::Replaced(older.origin.session));
    assert_eq!(older.hear()["name"], "session_replaced");
    assert_eq!(older.hear_close(), 4003);
    assert!(matches!(fixture.router().next(), ToRouter::Detach { origin, .. } if origin == older.origin));
    // What comes late for it finds nobody, though the slot may be in use again.
    let mut newer = fixture.phone(42);
    fixture.router().answer(ToGateway::Replaced(older.origin.session));
    newer.say(&json!({"type": "ping", "nonce": "1"}));
    assert_eq!(newer.hear()["type"], "pong");
    drop((older, newer));
    fixture.stop();
}

#[test]
fn given_a_refusal_of_the_router_then_the_client_gets_it_and_it_is_counted() {
    let fixture = start(config(), 1, 1);
    let mut phone = fixture.phone(42);
    phone.say(&json!({"type": "fetch", "request": "7", "conversation": {"direct": "43"}, "after": "0", "limit": 50}));
    let ToRouter::Fetch { origin, fetch } = fixture.router().next() else { panic!("a fetch comes") };
    fixture.router().answer(ToGateway::Refused {
        session: origin.session,
        shard: ShardId(0),
        code: ErrorCode::Overloaded,
        retry_after_ms: Some(100),
        regarding: Regarding::Request(fetch.request),
    });
    let error = phone.hear();
    assert_eq!((&error["name"], &error["regarding"]), (&json!("overloaded"), &json!("7")));
    let counted = |gateway: &switchyard_gateway_server::Gateway| {
        let counters = gateway.counters().next().unwrap();
        counters.refused().find(|(code, _)| *code == ErrorCode::Overloaded).unwrap().1
    };
    assert_eq!(counted(&fixture.gateway), 1);
    drop(phone);
    fixture.stop();
}

#[test]
fn given_a_token_of_a_new_key_when_keys_are_reloaded_then_it_is_good() {
    let fixture = start(config(), 1, 1);
    let new_key = SigningKey::from_seed([8; 32]);
    let expires = Millis(4_000_000_000_000);
    let user = UserId::new(42).unwrap();
    let token = new_key.sign(AUDIENCE_DEFAULT, &Claims { user, device: None, expires });
    let hello = json!({"type": "hello", "token": token, "device": "1"});
    let mut refused = fixture.open("/v1/ws", None);
    say(&mut refused, &hello);
    assert_eq!(hear(&mut refused)["name"], "invalid_token");
    let mut keys = KeySet::new(AUDIENCE_DEFAULT);
    keys.insert(new_key.kid(), new_key.public_key());
    fixture.gateway.reload_keys(Arc::new(keys));
    wait_for("the new keys", || {
        let mut socket = fixture.open("/v1/ws", None);
        say(&mut socket, &hello);
        wait_for("an attach or a refusal", || {
            if let Some((_, ToRouter::Attach(_))) = fixture.router().requests.pop() {
                return Some(Some(()));
            }
            let mut one = [0; 1];
            socket.get_ref().set_nonblocking(true).unwrap();
            socket.get_ref().peek(&mut one).is_ok().then_some(None)
        })
    });
    fixture.stop();
}

#[test]
fn given_a_drain_then_sessions_are_told_when_to_come_back_and_are_closed() {
    let mut config = config();
    config.session.drain_grace_ms = 100;
    config.reconnects_per_second = 10;
    let fixture = start(config, 1, 1);
    let mut phones: Vec<_> = (1..=3).map(|user| fixture.phone(user)).collect();
    let halfway = connect(fixture.address());
    fixture.gateway.drain(DrainPlan { deadline: Instant::now() + PATIENCE });
    let told = phones.iter_mut().map(|phone| {
        let drain = phone.hear();
        assert_eq!(drain["type"], "drain");
        assert_eq!(phone.hear_close(), 1001);
        assert!(matches!(fixture.router().next(), ToRouter::Detach { .. }));
        drain["reconnect_after_ms"].as_u64().unwrap()
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told, [500, 600, 700], "each has a place of its own");
    drop((phones, halfway));
    wait_for("the thread to end", || fixture.gateway.is_finished().then_some(()));
    fixture.gateway.join().unwrap();
}

#[test]
fn given_a_drain_with_a_long_grace_then_idle_sessions_end_at_once_and_others_with_their_last_answer() {
    let mut config = config();
    config.session.drain_grace_ms = 3_600_000;
    let fixture = start(config, 1, 1);
    let (mut idle, mut busy) = (fixture.phone(1), fixture.phone(2));
    busy.say(&send_frame(1, 43, "the last"));
    let ToRouter::Send(request) = fixture.router().next() else { panic!("a send comes") };
    fixture.gateway.drain(DrainPlan { deadline: Instant::now() + PATIENCE });
    assert_eq!(busy.hear()["type"], "drain");
    assert_eq!(idle.hear()["type"], "drain");
    assert_eq!(idle.hear_close(), 1001);
    assert!(matches!(fixture.router().next(), ToRouter::Detach { origin, .. } if origin == idle.origin));
    drop(idle);
    fixture.router().answer(accept(request, 1).0);
    assert_eq!(busy.hear()["type"], "accepted");
    assert_eq!(busy.hear_close(), 1001);
    assert!(matches!(fixture.router().next(), ToRouter::Detach { origin, .. } if origin == busy.origin));
    drop(busy);
    wait_for("the thread to end", || fixture.gateway.is_finished().then_some(()));
    fixture.gateway.join().unwrap();
}

#[test]
fn given_a_drain_whose_deadline_has_passed_then_sessions_are_cut_off_and_their_detach_still_comes() {
    let fixture = start(config(), 1, 1);
    let phones: Vec<_> = (1..=3).map(|user| fixture.phone(user)).collect();
    assert_eq!(fixture.counter("sessions"), 3);
    fixture.gateway.drain(DrainPlan { deadline: Instant::now() });
    for _ in &phones {
        assert!(matches!(fixture.router().next(), ToRouter::Detach { .. }));
    }
    wait_for("the thread to end", || fixture.gateway.is_finished().then_some(()));
    assert_eq!((fixture.counter("sessions"), fixture.counter("open")), (0, 0));
    drop(phones);
    fixture.gateway.join().unwrap();
}

#[test]
fn given_clients_that_say_nothing_then_each_is_told_what_is_missing() {
    let fixture = start(config(), 1, 1);
    let mut silent = connect(fixture.address());
    let mut without_hello = fixture.open("/v1/ws", None);
    assert_eq!(hear(&mut without_hello)["name"], "hello_timeout");
    let mut answer = String::new();
    silent.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer:?}");
    assert_eq!(fixture.counter("handshakes_timed_out"), 1);
    fixture.stop();
}

#[test]
fn given_two_threads_and_three_cores_then_every_request_goes_to_the_core_of_its_shard() {
    let config = config();
    let shards = config.shards;
    let fixture = start(config, 2, 3);
    let mut sockets = Vec::new();
    for user in 1..=40 {
        let mut socket = fixture.open("/v1/ws", None);
        say(&mut socket, &json!({"type": "hello", "token": fixture.token(user), "device": "1"}));
        let core = usize::from(shards.of_user(UserId::new(user).unwrap()).0) % 3;
        let (thread, origin) = wait_for("an attach", || {
            let popped = fixture.routers.iter().enumerate();
            popped.filter_map(|(thread, cores)| Some((thread, cores[core].requests.pop()?.1))).next()
        });
        let ToRouter::Attach(origin) = origin else { panic!("an attach comes first") };
        assert_eq!(usize::from(origin.session.gateway), thread);
        fixture.routers[thread][core].answer(ToGateway::Attached(origin.session));
        assert_eq!(hear(&mut socket)["type"], "welcome");
        sockets.push(socket);
    }
    let open: Vec<_> = fixture.gateway.counters().map(|counters| counters.open.get()).collect();
    assert!(open.iter().all(|&open| open > 0), "the kernel spreads connections: {open:?}");
    drop(sockets);
    fixture.stop();
}

#[test]
fn given_a_gateway_that_nobody_connects_to_then_its_threads_show_again_and_again_that_they_live() {
    let fixture = start(config(), 2, 1);
    for counters in fixture.gateway.counters() {
        wait_for("some turns", || (counters.turns.get() >= 3).then_some(()));
        assert_eq!(counters.stalls.get(), 0);
    }
    fixture.stop();
}

#[test]
fn given_garbage_on_a_session_then_it_gets_its_close_code_and_others_go_on() {
    let fixture = start(config(), 1, 1);
    let (mut bad, mut good) = (fixture.phone(42), fixture.phone(43));
    bad.socket.get_mut().write_all(&[0xff; 64]).unwrap();
    assert_eq!(bad.hear_close(), 1002);
    assert!(matches!(fixture.router().next(), ToRouter::Detach { origin, .. } if origin == bad.origin));
    good.say(&json!({"type": "ping", "nonce": "1"}));
    assert_eq!(good.hear()["type"], "pong");
    assert_eq!(fixture.counter("protocol_errors"), 1);
    assert!(http(fixture.address(), "GET /nothing HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    drop((bad, good));
    fixture.stop();
}
