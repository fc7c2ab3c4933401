//! Small frames behind large ones: what waits for a client that reads slowly keeps its order, and delays nobody else.

mod common;

use common::{accept, config, send_frame, start, wait_for};
use serde_json::json;
use smallvec::smallvec;
use switchyard_gateway_core::limits::OUTBOUND_CONGESTED_BYTES;
use switchyard_schema::link::{ToGateway, ToRouter};

#[test]
fn given_a_session_for_which_much_waits_then_others_are_answered_at_once_and_its_own_pings_and_acks_in_their_order() {
    let fixture = start(config(), 1, 1);
    let (mut slow, mut other) = (fixture.phone(42), fixture.phone(43));
    other.say(&send_frame(1, 42, &"x".repeat(4000)));
    let ToRouter::Send(request) = fixture.router().next() else { panic!("a send comes") };
    let (accepted, frame) = accept(request, 1);
    fixture.router().answer(accepted);
    assert_eq!(other.hear()["type"], "accepted");

    // More waits than a connection is read with: its ping and its ack stay in the socket.
    let mut delivered = 0;
    wait_for("much to wait", || {
        let sessions = smallvec![slow.origin.session];
        fixture.router().answer(ToGateway::Deliver { sessions, frame: frame.clone() });
        delivered += 1;
        other.turn();
        (fixture.counter("outbound_bytes") > OUTBOUND_CONGESTED_BYTES as u64 + 8_000).then_some(())
    });
    slow.say(&json!({"type": "ping", "nonce": "1"}));
    slow.say(&json!({"type": "ack", "conversation": {"direct": "43"}, "delivered": "1"}));
    other.say(&json!({"type": "ping", "nonce": "2"}));
    assert_eq!(other.hear(), json!({"type": "pong", "nonce": "2"}));

    // Once it reads, everything comes: first what was there before the ping was read, then the answer, and the ack arrives.
    let mut heard = 0;
    loop {
        match slow.hear()["type"].as_str() {
            Some("deliver") => heard += 1,
            Some("pong") => break,
            unexpected => panic!("{unexpected:?}"),
        }
    }
    assert!(heard <= delivered);
    assert!(matches!(fixture.router().next(), ToRouter::Ack { origin, .. } if origin == slow.origin));
    (heard..delivered).for_each(|_| assert_eq!(slow.hear()["type"], "deliver"));
    assert_eq!(fixture.counter("too_slow"), 0);
    drop((slow, other));
    fixture.stop();
}
