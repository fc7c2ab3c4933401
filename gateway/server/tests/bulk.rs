//! Much that waits for a client that reads slowly: it keeps its order, delays nobody else, and the client is not taken for dead.

mod common;

use std::io::Read;

use bytes::Bytes;
use common::{Fixture, Phone, accept, config, send_frame, start, wait_for};
use serde_json::json;
use smallvec::smallvec;
use switchyard_gateway_core::limits::OUTBOUND_CONGESTED_BYTES;
use switchyard_schema::link::{DeliverFrame, ToGateway, ToRouter};
use tungstenite::Message;

/// What the other phone has sent to the slow one.
fn large_frame(fixture: &Fixture, other: &mut Phone) -> DeliverFrame {
    other.say(&send_frame(1, 42, &"x".repeat(4000)));
    let ToRouter::Send(request) = fixture.router().next() else { panic!("a send comes") };
    let (accepted, frame) = accept(request, 1);
    fixture.router().answer(accepted);
    assert_eq!(other.hear()["type"], "accepted");
    frame
}

/// Delivers until more waits for the slow phone than a connection is read with; how often.
fn congest(fixture: &Fixture, slow: &Phone, other: &mut Phone, frame: &DeliverFrame) -> u64 {
    let mut delivered = 0;
    wait_for("much to wait", || {
        let sessions = smallvec![slow.origin.session];
        fixture.router().answer(ToGateway::Deliver { sessions, frame: frame.clone() });
        delivered += 1;
        other.turn();
        (fixture.counter("outbound_bytes") > OUTBOUND_CONGESTED_BYTES as u64 + 8_000).then_some(())
    });
    delivered
}

#[test]
fn given_a_session_for_which_much_waits_then_others_are_answered_at_once_and_its_own_pings_and_acks_in_their_order() {
    let fixture = start(config(), 1, 1);
    let (mut slow, mut other) = (fixture.phone(42), fixture.phone(43));
    let frame = large_frame(&fixture, &mut other);

    // Its ping and its ack stay in the socket.
    let delivered = congest(&fixture, &slow, &mut other, &frame);
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

#[test]
fn given_a_client_that_says_nothing_and_takes_what_waits_for_it_slowly_when_heartbeats_pass_then_it_is_not_given_up() {
    let mut config = config();
    config.session.heartbeat_ms = 800;
    let fixture = start(config, 1, 1);
    let (mut slow, mut other) = (fixture.phone(42), fixture.phone(43));
    let frame = large_frame(&fixture, &mut other);
    for heartbeat in 1..=3 {
        congest(&fixture, &slow, &mut other, &frame);
        // The other one's ping says that a heartbeat has passed.
        assert_eq!(other.socket.read().expect("a ping comes"), Message::Ping(Bytes::new()));
        let written = fixture.counter("bytes_out");
        // What it says is not read now, so it says nothing; nor does the library, which would answer pings.
        let mut bytes = vec![0; 64 << 10];
        wait_for("more to be written", || {
            let _ = slow.socket.get_mut().read(&mut bytes).expect("bytes come");
            (fixture.counter("bytes_out") > written + bytes.len() as u64).then_some(())
        });
        assert_eq!(fixture.counter("sessions"), 2, "after {heartbeat} heartbeats");
    }
    drop((slow, other));
    fixture.stop();
}
