//! How much a session takes: refusals that say when to try again, and a pause for who does not care.

use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::rate::{Rate, RateLimits, Rates};
use switchyard_gateway_core::ws::Event;
use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::frame::{ClientFrame, Regarding};
use switchyard_schema::link::ToRouter;

use crate::harness::{HEARTBEAT_MS, START, Seen, World, ack, client_message, close, error, fetch, send};

/// One per second of each kind, ten at once.
fn one_per_second() -> Rates {
    let rate = Rate::per_second(1);
    Rates { sends: rate, fetches: rate, pings: rate, begins: Rate::UNLIMITED }
}

fn open(rates: RateLimits) -> World {
    let mut world = World::open(Form::Binary);
    world.settings.rates = rates;
    world
}

fn limited(regarding: Regarding, wait_ms: u32) -> Seen {
    Seen::Error { code: ErrorCode::RateLimited, regarding, retry_after_ms: Some(wait_ms) }
}

#[test]
fn given_too_many_of_a_kind_when_they_come_then_the_rest_is_refused_with_a_time_and_nothing_of_it_goes_on() {
    for rates in [
        RateLimits { connection: one_per_second(), ..RateLimits::default() },
        RateLimits { user: one_per_second(), ..RateLimits::default() },
    ] {
        let mut world = open(rates);
        for number in 0..10 {
            assert_eq!(world.client(&send(number)), []);
            assert_eq!(world.client(&ClientFrame::Ping { nonce: 1 }), [Seen::Pong(1)]);
            assert_eq!(world.client(&fetch(7)), []);
            world.refuse(ErrorCode::NotAMember, Regarding::Request(7));
        }
        world.take_for_router();
        assert_eq!(world.client(&send(10)), [limited(Regarding::Send(client_message(10)), 1_000)]);
        assert_eq!(world.client(&fetch(8)), [limited(Regarding::Request(8), 1_000)]);
        assert_eq!(world.client(&ClientFrame::Ping { nonce: 1 }), [limited(Regarding::Session, 1_000)]);
        assert!(world.take_for_router().is_empty());
        world.client(&ClientFrame::Ack(ack(1)));
        assert!(matches!(world.take_for_router()[..], [ToRouter::Ack { .. }]), "of acks there is no limit");

        world.pass(999);
        assert_eq!(world.client(&send(10)), [limited(Regarding::Send(client_message(10)), 1)]);
        world.pass(1);
        assert_eq!(world.client(&send(10)), []);
        assert!(matches!(world.take_for_router()[..], [ToRouter::Send(_)]), "after the time it was told it is taken");
    }
}

/// What the router is told about beginning a conversation with the next Send.
fn begin_in_ms(world: &mut World, number: u8) -> u32 {
    assert_eq!(world.client(&send(number)), []);
    let [ToRouter::Send(request)] = &world.take_for_router()[..] else { panic!("one send goes on") };
    request.begin_in_ms
}

#[test]
fn given_sends_that_begin_nothing_when_they_are_answered_then_they_use_nothing_up() {
    let user = Rates { begins: Rate::per_hour(2), ..Rates::default() };
    let mut world = open(RateLimits { user, ..RateLimits::default() });
    for number in 0..50 {
        assert_eq!(begin_in_ms(&mut world, number), 0);
        world.accept(number); // as number nine of its conversation
        assert_eq!(begin_in_ms(&mut world, number), 0);
        world.refuse(ErrorCode::NotAMember, Regarding::Send(client_message(number)));
    }
}

#[test]
fn given_conversations_that_were_begun_when_there_are_too_many_then_the_router_is_told_when_another_may_be() {
    let user = Rates { begins: Rate::per_hour(2), ..Rates::default() };
    let mut world = open(RateLimits { user, ..RateLimits::default() });
    for number in 0..2 {
        assert_eq!(begin_in_ms(&mut world, number), 0);
        world.accept_at(number, 1);
    }
    assert_eq!(begin_in_ms(&mut world, 2), 1_800_000);
    world.refuse(ErrorCode::RateLimited, Regarding::Send(client_message(2)));
    assert_eq!(begin_in_ms(&mut world, 3), 1_800_000);
    world.accept(3);
    world.now.monotonic = world.now.monotonic.plus(1_800_000);
    assert_eq!(begin_in_ms(&mut world, 4), 0);
    assert_eq!(begin_in_ms(&mut world, 5), 1_800_000, "what is set aside cannot be used twice");
}

#[test]
fn given_too_many_frames_when_they_come_then_the_session_is_not_read_for_a_while_and_lives() {
    let mut world = open(RateLimits { frames: Rate::per_second(1), ..RateLimits::default() });
    for _ in 0..10 {
        assert!(world.session.wants_read());
        world.client(&ClientFrame::Ack(ack(1)));
    }
    assert!(world.session.wants_read());
    world.event(Event::Pong(b""[..].into()));
    assert!(!world.session.wants_read() && world.session.is_flooded());
    assert_eq!(world.pass(999), []);
    assert!(!world.session.wants_read());
    assert_eq!(world.pass(1), []);
    assert!(world.session.wants_read() && world.session.is_open());
    // Not being read is not silence: the heartbeat begins now.
    assert_eq!(world.pass(HEARTBEAT_MS - 1), []);
    assert_eq!(world.pass(1), [Seen::WebSocketPing]);
}

#[test]
fn given_a_flood_of_pings_before_hello_then_it_is_not_read_either_and_the_time_for_hello_goes_on() {
    let mut world = World::upgraded(Form::Json, None);
    world.settings.rates.frames = Rate::per_second(1);
    for _ in 0..11 {
        world.event(Event::Ping(b""[..].into()));
    }
    assert!(!world.session.wants_read());
    world.pass(1_000);
    assert!(world.session.wants_read());
    assert_eq!(world.pass(4_000), [error(ErrorCode::HelloTimeout), close(CloseCode::Timeout)]);
    world.assert_ended_unattached();
}

#[test]
fn given_a_client_whose_bytes_cannot_be_kept_then_it_is_closed_as_too_fast() {
    let mut world = World::open(Form::Binary);
    assert_eq!(world.too_fast(), [close(CloseCode::TooFast)]);
    world.assert_detached(START.unix);
}
