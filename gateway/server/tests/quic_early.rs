//! What a client says before its QUIC handshake is done (0-RTT), with real sockets and the router's side played by the test.
//!
//! Round trips are counted in flights: what a client that only listens has heard, the server said before it heard anything more.

mod common;
#[path = "common/quic.rs"]
mod quic;

use common::{Fixture, accept, send_frame, wait_for};
use quic::{Quic, QuicPhone, request, started};
use quinn_proto::ClientConfig;
use serde_json::json;
use smallvec::smallvec;
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_server::limits::QUIC_HELLO_WINDOW_BYTES;
use switchyard_gateway_server::{DrainPlan, GatewayConfig};
use switchyard_schema::ids::Millis;
use switchyard_schema::link::{DeliverFrame, Origin, ToGateway, ToRouter};

/// The user of most sessions.
const ME: u64 = 42;

/// Opens a session, says goodbye, and so has something to resume. Answers with a message that somebody is sent.
fn visit(fixture: &Fixture, client: &ClientConfig) -> DeliverFrame {
    let mut phone = fixture.quic_phone_as(client, ME);
    phone.quic.say(&send_frame(1, 43, "hello"));
    let ToRouter::Send(sent) = request(fixture, &mut phone) else { panic!("a send comes") };
    let (_, frame) = accept(sent, 1);
    leave(fixture, phone);
    frame
}

fn leave(fixture: &Fixture, mut phone: QuicPhone) {
    phone.quic.say(&json!({"type": "bye"}));
    let ToRouter::Detach { last_seen, .. } = request(fixture, &mut phone) else { panic!("a detach comes") };
    assert_ne!(last_seen, Millis(0));
    phone.quic.hear_close();
}

/// The router is asked for a session that may end no other.
fn asked_early(fixture: &Fixture) -> Origin {
    let ToRouter::AttachEarly(origin) = fixture.router().next() else { panic!("an early hello is a careful attach") };
    origin
}

#[test]
fn given_a_phone_that_comes_back_then_its_first_flight_is_answered_with_welcome_and_what_it_lacks() {
    let (fixture, identity) = started(|_| ());
    let client = identity.returning(Form::Json);
    let frame = visit(&fixture, &client);

    let (mut quic, flight) = Quic::early(&client, fixture.quic_address(), &[fixture.hello(ME)]);
    quic.send_flight(&flight);
    let origin = asked_early(&fixture);
    fixture.router().answer(ToGateway::Attached(origin.session));
    fixture.router().answer(ToGateway::Deliver { sessions: smallvec![origin.session], frame });
    assert_eq!(quic.hear_silently()["type"], "welcome");
    assert_eq!(quic.hear_silently()["body"]["text"], "hello");

    let mut phone = QuicPhone { quic, origin, thread: 0 };
    phone.turn();
    assert!(phone.quic.proto.accepted_0rtt());
    assert_eq!(["quic_resumed", "quic_early", "quic_early_held"].map(|name| fixture.counter(name)), [1, 1, 0]);
    leave(&fixture, phone);
    fixture.stop();
}

#[test]
fn given_early_frames_then_acks_and_fetches_go_on_and_a_send_with_all_behind_it_waits_for_the_handshake() {
    let (fixture, identity) = started(|_| ());
    let client = identity.returning(Form::Json);
    visit(&fixture, &client);
    let fetch = |request: u64| {
        let (request, after) = (request.to_string(), "0");
        json!({"type": "fetch", "request": request, "conversation": {"direct": "43"}, "after": after, "limit": 0})
    };
    let said = [
        fixture.hello(ME),
        json!({"type": "ack", "conversation": {"direct": "43"}, "delivered": "1"}),
        fetch(1),
        send_frame(2, 43, "early"),
        fetch(2),
    ];
    let (mut quic, flight) = Quic::early(&client, fixture.quic_address(), &said);
    quic.send_flight(&flight);
    let origin = asked_early(&fixture);
    fixture.router().answer(ToGateway::Attached(origin.session));
    assert_eq!(quic.hear_silently()["type"], "welcome");
    let next = || fixture.router().next();
    assert!(matches!(next(), ToRouter::Ack { .. }));
    assert!(matches!(next(), ToRouter::Fetch { fetch, .. } if fetch.request == 1));
    fixture.await_at_least("held_bytes", 1);
    assert!(fixture.router().requests.is_empty());
    assert_eq!(fixture.counter("quic_early_held"), 0, "it still waits");

    // Now it goes on.
    let mut phone = QuicPhone { quic, origin, thread: 0 };
    assert!(matches!(request(&fixture, &mut phone), ToRouter::Send(_)));
    assert!(matches!(request(&fixture, &mut phone), ToRouter::Fetch { fetch, .. } if fetch.request == 2));
    phone.turn();
    assert_eq!((fixture.counter("quic_early_held"), fixture.counter("held_bytes")), (1, 0));
    drop(phone);
    fixture.stop();
}

#[test]
fn given_a_device_with_a_session_when_its_hello_comes_early_then_it_waits_for_the_handshake_and_takes_its_place() {
    let (fixture, identity) = started(|_| ());
    let client = identity.returning(Form::Json);
    visit(&fixture, &client);
    let mut bystander = fixture.phone(99);
    let (quic, flight) = Quic::early(&client, fixture.quic_address(), &[fixture.hello(ME)]);
    quic.send_flight(&flight);
    let origin = asked_early(&fixture);
    fixture.router().answer(ToGateway::Occupied(origin.session));
    bystander.turn();
    assert!(fixture.router().requests.is_empty());

    let mut phone = QuicPhone { quic, origin, thread: 0 };
    let ToRouter::Attach(again) = request(&fixture, &mut phone) else { panic!("it asks again") };
    assert_eq!(again, origin);
    fixture.router().answer(ToGateway::Attached(origin.session));
    assert_eq!(phone.quic.hear()["type"], "welcome");
    phone.turn();
    assert_eq!(fixture.counter("quic_early_held"), 1);
    drop((phone, bystander));
    fixture.stop();
}

#[test]
fn given_a_flight_that_is_repeated_then_it_is_heard_once_and_leaves_nothing_behind() {
    let (fixture, identity) = started(|_| ());
    let client = identity.returning(Form::Json);
    visit(&fixture, &client);
    let (quic, flight) = Quic::early(&client, fixture.quic_address(), &[fixture.hello(ME)]);
    quic.send_flight(&flight);
    let origin = asked_early(&fixture);
    fixture.router().answer(ToGateway::Attached(origin.session));
    let mut phone = QuicPhone { quic, origin, thread: 0 };
    assert_eq!(phone.quic.hear()["type"], "welcome");

    // Somebody else repeats it, while its connection is there and when it is not.
    let somebody = Quic::begin(&identity, fixture.quic_address(), Form::Json);
    somebody.send_flight(&flight);
    phone.turn();
    assert_eq!(fixture.counter("quic_not_resumed"), 0, "it belongs to a connection that is there");
    leave(&fixture, phone);
    wait_for("a handshake in full", || {
        somebody.send_flight(&flight);
        (fixture.counter("quic_not_resumed") > 0).then_some(())
    });

    // What never arrived is heard once, but from nobody who was seen.
    let (_, withheld) = Quic::early(&client, fixture.quic_address(), &[fixture.hello(ME)]);
    for somebody in [somebody, Quic::begin(&identity, fixture.quic_address(), Form::Json)] {
        somebody.send_flight(&withheld);
    }
    let origin = asked_early(&fixture);
    fixture.router().answer(ToGateway::Attached(origin.session));
    fixture.await_counter("quic_sessions", 1);
    assert_eq!(fixture.counter("quic_early"), 2);
    assert!(fixture.router().requests.is_empty());
    fixture.gateway.drain(DrainPlan { deadline: std::time::Instant::now() });
    let ToRouter::Detach { origin: detached, last_seen } = fixture.router().next() else { panic!("a detach comes") };
    assert_eq!((detached, last_seen), (origin, Millis(0)));
    fixture.stop();
}

#[test]
fn given_more_clients_than_can_be_remembered_then_the_newest_come_back_early_and_the_others_in_full() {
    let (fixture, identity) = started(|config| remember(config, 2));
    let clients: Vec<_> = (0..3).map(|_| identity.returning(Form::Json)).collect();
    clients.iter().for_each(|client| drop(visit(&fixture, client)));
    for (index, client) in clients.iter().enumerate().rev() {
        let (mut quic, flight) = Quic::early(client, fixture.quic_address(), &[fixture.hello(ME)]);
        quic.send_flight(&flight);
        let origin = if index > 0 {
            asked_early(&fixture)
        } else {
            // It finds out that nothing of it was heard, and says it again.
            quic.open_stream();
            assert!(!quic.proto.accepted_0rtt());
            quic.say(&fixture.hello(ME));
            let ToRouter::Attach(origin) = fixture.router().next() else { panic!("an attach comes") };
            origin
        };
        fixture.router().answer(ToGateway::Attached(origin.session));
        assert_eq!(quic.hear()["type"], "welcome");
        leave(&fixture, QuicPhone { quic, origin, thread: 0 });
    }
    assert_eq!((fixture.counter("quic_resumed"), fixture.counter("quic_not_resumed")), (2, 1));
    fixture.stop();
}

#[test]
fn given_a_gateway_that_remembers_nobody_then_clients_get_nothing_to_resume() {
    let (fixture, identity) = started(|config| remember(config, 0));
    let client = identity.returning(Form::Json);
    visit(&fixture, &client);
    assert!(!Quic::begin_as(&client, fixture.quic_address(), Form::Json).proto.has_0rtt());
    fixture.stop();
}

fn remember(config: &mut GatewayConfig, clients: usize) {
    config.quic.as_mut().expect("it speaks QUIC").resumptions_max = clients;
}

#[test]
fn given_early_data_then_no_more_of_it_is_granted_than_to_a_stranger() {
    let (fixture, identity) = started(|_| ());
    let client = identity.returning(Form::Json);
    visit(&fixture, &client);
    let mut eager = Quic::begin_as(&client, fixture.quic_address(), Form::Json);
    let stream = eager.proto.streams().open(quinn_proto::Dir::Bi).expect("it may open one");
    let written = eager.proto.send_stream(stream).write(&[0; 100_000]);
    assert_eq!(written, Ok(QUIC_HELLO_WINDOW_BYTES as usize));
    drop(eager);
    fixture.stop();
}
