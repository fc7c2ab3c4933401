//! How sessions end, and that each one that was attached is detached once.

use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::ws::{Event, WsError};
use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::frame::{ClientFrame, Regarding};
use switchyard_schema::ids::Sequence;
use switchyard_schema::link::{ToGateway, ToRouter};

use crate::harness::{
    COMEBACK_APART_MS, COMEBACK_MS, SESSION, START, Seen, World, ack, client_message, close, error, fetch, good_token,
    send,
};

#[test]
fn given_bye_when_the_session_is_open_then_it_closes_normally() {
    let mut world = World::open(Form::Binary);
    assert_eq!(world.client(&ClientFrame::Bye), [close(CloseCode::Normal)]);
    world.assert_detached(START.unix);
}

#[test]
fn given_a_close_of_the_peer_when_received_then_it_is_answered_with_the_same_code() {
    for code in [None, Some(1000), Some(1001), Some(4999)] {
        let mut world = World::open(Form::Json);
        assert_eq!(world.event(Event::Close { code, reason: "".into() }), [Seen::Close(code)]);
        world.assert_detached(START.unix);
    }
    let mut early = World::upgraded(Form::Json, None);
    assert_eq!(early.event(Event::Close { code: None, reason: "".into() }), [Seen::Close(None)]);
    early.assert_ended_unattached();
}

#[test]
fn given_the_same_device_elsewhere_when_the_router_says_so_then_the_older_session_is_replaced() {
    for mut world in [World::open(Form::Binary), World::attaching(Form::Binary)] {
        let seen = world.router(ToGateway::Replaced(SESSION));
        assert_eq!(seen, [error(ErrorCode::SessionReplaced), close(CloseCode::Replaced)]);
        world.assert_detached(START.unix);
    }
}

#[test]
fn given_a_client_that_does_not_read_when_too_much_waits_then_it_is_closed_as_too_slow() {
    let mut world = World::open(Form::Binary);
    assert_eq!(world.overflow(), [close(CloseCode::TooSlow)]);
    world.assert_detached(START.unix);
}

#[test]
fn given_a_drain_when_the_session_is_open_then_it_may_finish_and_is_closed_after_the_grace() {
    let mut world = World::open(Form::Binary);
    world.client(&send(1));
    assert_eq!(world.drain(), [Seen::Drain(COMEBACK_MS)]);
    assert_eq!(world.next_comeback_ms(), COMEBACK_MS + COMEBACK_APART_MS, "its place is its own");
    assert_eq!(world.drain(), [], "it is told once");
    assert_eq!(world.next_comeback_ms(), COMEBACK_MS + COMEBACK_APART_MS, "and gets one place");
    assert_eq!(world.pass(4_000), []);
    assert_eq!(world.client(&send(2)), []);
    assert_eq!(world.accept(1), [Seen::Accepted(client_message(1))]);
    assert!(matches!(world.take_for_router()[..], [ToRouter::Send(_), ToRouter::Send(_)]));
    assert_eq!(world.pass(999), []);
    assert_eq!(world.pass(1), [close(CloseCode::GoingAway)]);
    world.assert_detached(START.unix.plus(4_000));
}

#[test]
fn given_a_drain_when_the_client_leaves_in_time_then_it_closes_normally() {
    let mut world = World::open(Form::Binary);
    world.client(&fetch(7));
    world.drain();
    assert_eq!(world.client(&ClientFrame::Bye), [close(CloseCode::Normal)]);
    assert!(matches!(world.take_for_router()[..], [ToRouter::Fetch { .. }, ToRouter::Detach { .. }]));
}

#[test]
fn given_a_drain_when_nothing_is_unanswered_then_the_session_ends_at_once() {
    let mut world = World::open(Form::Binary);
    assert_eq!(world.drain(), [Seen::Drain(COMEBACK_MS), close(CloseCode::GoingAway)]);
    world.assert_detached(START.unix);
}

#[test]
fn given_a_drain_when_the_last_answer_comes_then_the_session_ends_with_it() {
    let mut world = World::open(Form::Binary);
    world.client(&send(1));
    world.client(&send(2));
    world.client(&fetch(7));
    assert!(matches!(world.take_for_router()[..], [ToRouter::Send(_), ToRouter::Send(_), ToRouter::Fetch { .. }]));
    assert_eq!(world.drain(), [Seen::Drain(COMEBACK_MS)]);
    assert_eq!(world.deliver(1), [Seen::Deliver(Sequence(1))]);
    assert_eq!(world.accept(1), [Seen::Accepted(client_message(1))]);
    let overloaded = ErrorCode::Overloaded;
    assert_eq!(world.refuse(overloaded, Regarding::Request(7)).len(), 1);
    let seen = world.refuse(overloaded, Regarding::Send(client_message(2)));
    assert!(matches!(seen[..], [Seen::Error { .. }, Seen::Close(Some(1001))]), "{seen:?}");
    world.assert_detached(START.unix);
}

#[test]
fn given_a_drain_when_the_session_is_not_open_yet_then_it_is_sent_away_at_once() {
    let (code, regarding) = (ErrorCode::Draining, Regarding::Session);
    let draining = Seen::Error { code, regarding, retry_after_ms: Some(COMEBACK_MS) };
    let expected = [draining, close(CloseCode::GoingAway)];
    let mut waiting = World::upgraded(Form::Json, None);
    assert_eq!(waiting.drain(), expected);
    assert_eq!(waiting.next_comeback_ms(), COMEBACK_MS + COMEBACK_APART_MS);
    waiting.assert_ended_unattached();
    let mut attaching = World::attaching(Form::Json);
    assert_eq!(attaching.drain(), expected);
    attaching.assert_detached(START.unix);
}

/// One way for a session to end.
type End = fn(&mut World) -> Vec<Seen>;

const ENDS: [End; 10] = [
    |world| world.eof(),
    |world| world.client(&ClientFrame::Bye),
    |world| world.event(Event::Close { code: Some(1000), reason: "".into() }),
    |world| world.ws_error(WsError::ReservedBit),
    |world| world.overflow(),
    |world| world.too_fast(),
    |world| world.router(ToGateway::Replaced(SESSION)),
    |world| world.event(Event::Text("{".into())),
    |world| world.pass(1_000_000),
    |world| {
        world.drain();
        world.pass(10_000)
    },
];

#[test]
fn given_any_end_when_every_other_end_follows_then_it_is_detached_once_and_says_nothing_more() {
    for (first_index, first) in ENDS.iter().enumerate() {
        let mut world = World::open(Form::Binary);
        first(&mut world);
        let detached =
            world.take_for_router().iter().filter(|message| matches!(message, ToRouter::Detach { .. })).count();
        assert_eq!(detached, 1, "end {first_index}");
        assert!(world.finished, "end {first_index}");
        for (second_index, second) in ENDS.iter().enumerate() {
            assert_eq!(second(&mut world), [], "end {second_index} after end {first_index}");
        }
        assert!(world.take_for_router().is_empty(), "after end {first_index}");
    }
}

#[test]
fn given_a_session_that_has_ended_when_anything_happens_then_nothing_does() {
    let mut world = World::open(Form::Binary);
    world.eof();
    world.assert_detached(START.unix);
    for frame in [send(1), fetch(1), ClientFrame::Ack(ack(1)), ClientFrame::Ping { nonce: 1 }] {
        assert_eq!(world.client(&frame), []);
    }
    assert_eq!(world.hello(Some(&good_token()), 1), []);
    assert_eq!(world.event(Event::Ping(b""[..].into())), []);
    assert_eq!(world.deliver(1), []);
    assert_eq!(world.accept(1), []);
    assert_eq!(world.router(ToGateway::Attached(SESSION)), []);
    assert_eq!(world.router(ToGateway::Stalled(SESSION)), []);
    assert_eq!(world.refuse(ErrorCode::Overloaded, Regarding::Session), []);
    assert!(world.take_for_router().is_empty() && world.session.wants_read() && !world.session.is_open());
    assert_eq!(world.session.user(), None);
}
