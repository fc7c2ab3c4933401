//! What a gateway thread says of itself: every connection is counted once, where it is, and every byte that waits.

mod common;

use common::{accept, config, connect, say, send_frame, start, wait_for};
use serde_json::json;
use smallvec::smallvec;
use switchyard_schema::link::{ToGateway, ToRouter};
use tungstenite::Message;

#[test]
fn given_connections_at_every_stage_when_they_move_on_and_end_then_each_is_counted_where_it_is() {
    let fixture = start(config(), 1, 1);
    let stages = || {
        ["upgrading", "awaiting_hello", "attaching", "sessions", "echoing", "closing"].map(|name| fixture.counter(name))
    };
    let become_ = |expect: [u64; 6]| wait_for(&format!("{expect:?}"), || (stages() == expect).then_some(()));

    let upgrading = connect(fixture.address());
    become_([1, 0, 0, 0, 0, 0]);
    let mut session = fixture.open("/v1/ws", Some("switchyard.v1.json"));
    become_([1, 1, 0, 0, 0, 0]);
    say(&mut session, &json!({"type": "hello", "token": fixture.token(42), "device": "1"}));
    let ToRouter::Attach(origin) = fixture.router().next() else { panic!("a hello becomes an attach") };
    become_([1, 0, 1, 0, 0, 0]);
    fixture.router().answer(ToGateway::Attached(origin.session));
    become_([1, 0, 0, 1, 0, 0]);
    let echo = fixture.open("/echo", None);
    become_([1, 0, 0, 1, 1, 0]);
    assert_eq!((fixture.counter("open"), fixture.counter("connections_max")), (3, 15_000));

    session.send(Message::Close(None)).expect("the gateway reads");
    assert!(matches!(fixture.router().next(), ToRouter::Detach { .. }));
    // Its own end is not closed: the connection waits for that.
    become_([1, 0, 0, 0, 1, 1]);
    drop((session, upgrading, echo));
    become_([0; 6]);
    assert_eq!(fixture.counter("open"), 0);
    fixture.stop();
}

#[test]
fn given_messages_when_accepted_delivered_and_not_read_then_they_and_the_bytes_that_wait_are_counted() {
    let fixture = start(config(), 1, 1);
    let (mut sender, mut reader) = (fixture.phone(42), fixture.phone(43));
    sender.say(&send_frame(1, 43, &"x".repeat(4000)));
    let ToRouter::Send(request) = fixture.router().next() else { panic!("a send comes") };
    let (accepted, frame) = accept(request, 1);
    fixture.router().answer(accepted);
    assert_eq!(sender.hear()["type"], "accepted");
    let (one, other) = (sender.origin.session, reader.origin.session);
    let deliver = || ToGateway::Deliver { sessions: smallvec![one, other], frame: frame.clone() };
    fixture.router().answer(deliver());
    assert_eq!(reader.hear()["type"], "deliver");
    assert_eq!((fixture.counter("sends_accepted"), fixture.counter("deliveries")), (1, 2));

    // The sockets take some, then bytes wait in the gateway; they go with the connections. One delivery in a turn or two: more
    // of them at once would end the connections.
    let mut polite = fixture.phone(44);
    wait_for("bytes to wait", || {
        fixture.router().answer(deliver());
        polite.turn();
        (fixture.counter("outbound_bytes") > 4000).then_some(())
    });
    drop((sender, reader, polite));
    wait_for("the connections to end", || (fixture.counter("open") == 0).then_some(()));
    wait_for("no byte to wait", || (fixture.counter("outbound_bytes") == 0).then_some(()));
    fixture.stop();
}
