//! What is said before the handshake is done, and may be a replay.

use std::borrow::Cow;

use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::limits::{ATTACH_MS, HANDSHAKE_MS, HELLO_MS};
use switchyard_gateway_core::ws::Event;
use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::frame::{ClientFrame, Hello, Regarding};
use switchyard_schema::ids::{Millis, Sequence};
use switchyard_schema::link::{ToGateway, ToRouter};

use crate::harness::{COMEBACK_MS, SESSION, Seen, World, ack, device, fetch, good_token, send};

fn hello(token: &str) -> ClientFrame<'_> {
    ClientFrame::Hello(Hello { token: Some(token.into()), device: device(1) })
}

/// A session whose Hello came early and of which the router has been asked.
fn attaching(form: Form) -> World {
    let mut world = World::early(form);
    let token = good_token();
    assert!(world.session.wants_read() && !world.defers(&hello(&token)));
    assert_eq!(world.client(&hello(&token)), []);
    assert!(matches!(world.take_for_router()[..], [ToRouter::AttachEarly(origin)] if origin == World::origin()));
    world
}

fn open() -> World {
    let mut world = attaching(Form::Binary);
    assert_eq!(world.router(ToGateway::Attached(SESSION)), [Seen::Welcome]);
    world
}

#[test]
fn given_a_device_without_a_session_when_hello_comes_early_then_it_is_welcomed_and_asks_for_what_may_be_asked_twice() {
    for form in [Form::Binary, Form::Json] {
        let mut world = attaching(form);
        assert_eq!(world.router(ToGateway::Attached(SESSION)), [Seen::Welcome]);
        assert_eq!(world.deliver(1), [Seen::Deliver(Sequence(1))]);
        for frame in [ClientFrame::Ack(ack(1)), fetch(7)] {
            assert!(!world.defers(&frame) && world.session.wants_read());
            assert_eq!(world.client(&frame), []);
        }
        assert!(matches!(world.take_for_router()[..], [ToRouter::Ack { .. }, ToRouter::Fetch { .. }]));
        assert_eq!(world.confirm(), []);
        assert_eq!(world.take_for_router().len(), 0, "it is attached");
        // Nothing ends it any more but silence.
        assert_eq!(world.pass(HANDSHAKE_MS), []);
        assert!(world.session.is_open());
    }
}

#[test]
fn given_anything_else_when_it_comes_early_then_it_and_what_is_behind_it_wait_for_the_handshake() {
    let garbage = Event::Binary(Cow::Borrowed(b"garbage"));
    let others = [send(1), ClientFrame::Ping { nonce: 1 }, ClientFrame::Renew { token: "x".into() }, ClientFrame::Bye];
    for frame in &others {
        let mut world = open();
        assert!(world.defers(frame) && !world.session.wants_read() && world.session.awaits_handshake());
        world.confirm();
        assert!(!world.defers(frame) && world.session.wants_read() && !world.session.awaits_handshake());
    }
    let mut world = open();
    assert!(world.session.defers(&garbage), "who may be a replay is not told what is wrong");
    let mut world = World::early(Form::Binary);
    assert!(world.defers(&send(1)) && !world.session.wants_read(), "before Hello as well");
}

#[test]
fn given_a_device_that_has_a_session_when_hello_comes_early_then_it_takes_its_place_once_the_handshake_is_done() {
    let mut world = attaching(Form::Binary);
    assert_eq!(world.router(ToGateway::Occupied(SESSION)), []);
    assert!(world.session.awaits_handshake() && world.take_for_router().is_empty());
    assert_eq!(world.confirm(), []);
    assert!(matches!(world.take_for_router()[..], [ToRouter::Attach(origin)] if origin == World::origin()));
    assert_eq!(world.router(ToGateway::Attached(SESSION)), [Seen::Welcome]);
}

#[test]
fn given_a_handshake_that_is_done_before_the_router_has_answered_then_it_is_asked_again_at_once() {
    let mut world = attaching(Form::Binary);
    world.pass(HANDSHAKE_MS - 1);
    world.confirm();
    assert!(world.take_for_router().is_empty());
    assert_eq!(world.router(ToGateway::Occupied(SESSION)), []);
    assert!(matches!(world.take_for_router()[..], [ToRouter::Attach(_)]));
    assert_eq!(world.pass(ATTACH_MS - 1), [], "the router has its time");
    let seen = world.pass(1);
    assert!(matches!(seen[..], [Seen::Error { code: ErrorCode::Overloaded, .. }, _]), "{seen:?}");
}

#[test]
fn given_a_handshake_that_is_never_done_then_the_session_ends_and_nobody_was_seen() {
    let timeout = [Seen::TransportClose(CloseCode::Timeout)];
    let mut silent = World::early(Form::Binary);
    assert_eq!(silent.pass(HANDSHAKE_MS), timeout);
    silent.assert_ended_unattached();
    let mut waiting = attaching(Form::Binary);
    waiting.router(ToGateway::Occupied(SESSION));
    let mut deferring = open();
    assert!(deferring.defers(&send(1)));
    for mut world in [attaching(Form::Binary), waiting, open(), deferring] {
        assert_eq!(world.pass(HANDSHAKE_MS - 1), []);
        assert_eq!(world.pass(1), timeout);
        world.assert_detached(Millis(0));
    }
}

#[test]
fn given_a_hello_that_has_not_come_when_the_handshake_is_done_then_it_has_the_time_that_any_has() {
    let mut world = World::early(Form::Binary);
    world.pass(HANDSHAKE_MS - 1);
    world.confirm();
    assert_eq!(world.pass(HELLO_MS - 1), []);
    assert!(matches!(world.pass(1)[..], [Seen::Error { code: ErrorCode::HelloTimeout, .. }, _]));
}

#[test]
fn given_a_drain_then_an_early_session_is_sent_away_however_far_it_is() {
    let away =
        Seen::Error { code: ErrorCode::Draining, regarding: Regarding::Session, retry_after_ms: Some(COMEBACK_MS) };
    let mut asked = open();
    asked.client(&fetch(7));
    asked.take_for_router();
    for mut world in [attaching(Form::Binary), open(), asked] {
        assert_eq!(world.drain(), [away.clone(), Seen::TransportClose(CloseCode::after(ErrorCode::Draining))]);
        world.assert_detached(Millis(0));
    }
}
