//! What time does to a session: the Hello that does not come, silence, tokens that end.

use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::ws::Event;
use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::frame::ClientFrame;
use switchyard_schema::link::{ToGateway, ToRouter};

use crate::harness::{HEARTBEAT_MS, SESSION, START, Seen, TOKEN_MS, World, close, error, good_token, send, token};

#[test]
fn given_no_hello_when_five_seconds_pass_then_the_session_closes_as_timed_out() {
    let mut world = World::upgraded(Form::Binary, Some(&good_token()));
    assert_eq!(world.pass(3_000), []);
    // Signs of life are not a Hello.
    assert_eq!(world.event(Event::Ping(b""[..].into())), [Seen::WebSocketPong(Vec::new())]);
    assert_eq!(world.pass(1_999), []);
    assert_eq!(world.pass(1), [error(ErrorCode::HelloTimeout), close(CloseCode::Timeout)]);
    world.assert_ended_unattached();
}

#[test]
fn given_a_hello_that_waits_for_its_turn_when_five_seconds_pass_then_it_is_not_late() {
    let mut world = World::upgraded(Form::Binary, Some(&good_token()));
    world.held = true;
    assert_eq!(world.pass(9_000), []);
    assert_eq!(world.hello(None, 1), []);
    assert!(matches!(world.take_for_router()[..], [ToRouter::Attach(_)]));
    // What waited may have been the beginning of one.
    let mut world = World::upgraded(Form::Binary, Some(&good_token()));
    world.held = true;
    assert_eq!(world.pass(9_000), []);
    world.held = false;
    assert_eq!(world.pass(1_000), [error(ErrorCode::HelloTimeout), close(CloseCode::Timeout)]);
}

#[test]
fn given_silence_when_a_heartbeat_passes_then_the_server_pings_once_and_gives_up_after_the_second() {
    let mut world = World::open(Form::Binary);
    assert_eq!(world.pass(HEARTBEAT_MS - 1), []);
    assert_eq!(world.pass(1), [Seen::WebSocketPing]);
    assert_eq!(world.pass(HEARTBEAT_MS - 1), []);
    assert_eq!(world.pass(1), [error(ErrorCode::HeartbeatTimeout), close(CloseCode::Timeout)]);
    world.assert_detached(START.unix);
}

#[test]
fn given_any_received_bytes_when_they_come_in_time_then_the_session_lives() {
    let mut world = World::open(Form::Binary);
    for _ in 0..10 {
        assert_eq!(world.pass(HEARTBEAT_MS - 1), []);
        world.event(Event::Pong(b""[..].into()));
    }
    for _ in 0..3 {
        assert_eq!(world.pass(HEARTBEAT_MS), [Seen::WebSocketPing]);
        assert_eq!(world.pass(HEARTBEAT_MS - 1), []);
        world.event(Event::Pong(b""[..].into()));
    }
    assert!(world.session.is_open());
}

#[test]
fn given_a_session_that_is_detached_when_it_was_silent_then_last_seen_is_when_it_last_spoke() {
    let mut world = World::open(Form::Binary);
    world.pass(10_000);
    world.event(Event::Pong(b""[..].into()));
    world.pass(7_000);
    assert_eq!(world.eof(), []);
    world.assert_detached(START.unix.plus(10_000));
}

#[test]
fn given_a_server_that_does_not_read_when_time_passes_then_the_silence_is_not_the_clients_and_each_heartbeat_pings() {
    let mut held = World::open(Form::Binary);
    held.held = true;
    for _ in 0..5 {
        assert_eq!(held.pass(HEARTBEAT_MS - 1), []);
        assert_eq!(held.pass(1), [Seen::WebSocketPing], "a client gives up a server that says nothing for two");
    }
    held.held = false;
    assert_eq!(held.pass(HEARTBEAT_MS), [Seen::WebSocketPing]);

    let mut full = World::open(Form::Binary);
    for number in 0..=255 {
        full.client(&send(number));
    }
    assert_eq!(full.pass(5 * HEARTBEAT_MS), [const { Seen::WebSocketPing }; 5]);
    full.accept(0);
    assert_eq!(full.pass(HEARTBEAT_MS), [Seen::WebSocketPing]);
}

#[test]
fn given_a_router_that_takes_its_time_when_it_answers_then_the_silence_begins_with_welcome() {
    let mut world = World::attaching(Form::Binary);
    assert_eq!(world.pass(9_000), []);
    assert_eq!(world.router(ToGateway::Attached(SESSION)), [Seen::Welcome]);
    assert_eq!(world.pass(HEARTBEAT_MS - 1), []);
    assert_eq!(world.pass(1), [Seen::WebSocketPing]);
}

/// Keeps an open session alive for `millis` and answers with what the client saw.
fn live(world: &mut World, millis: u64) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut left = millis;
    while left > 0 && !world.finished {
        let part = left.min(HEARTBEAT_MS / 2);
        seen.extend(world.pass(part));
        seen.extend(world.event(Event::Pong(b""[..].into())));
        left -= part;
    }
    seen
}

#[test]
fn given_a_token_when_it_ends_then_the_session_does_too() {
    let mut world = World::open(Form::Binary);
    assert_eq!(live(&mut world, TOKEN_MS - 1), []);
    assert_eq!(world.pass(1), [error(ErrorCode::TokenExpired), close(CloseCode::Unauthorized)]);
    world.assert_detached(START.unix.plus(TOKEN_MS - 1));
}

#[test]
fn given_a_renewed_token_when_the_old_one_ends_then_the_session_goes_on_to_the_end_of_the_new() {
    let mut world = World::open(Form::Binary);
    assert_eq!(live(&mut world, TOKEN_MS / 2), []);
    let new = token(42, Some(1), START.unix.plus(2 * TOKEN_MS));
    assert_eq!(world.client(&ClientFrame::Renew { token: new.into() }), []);
    assert_eq!(live(&mut world, TOKEN_MS + TOKEN_MS / 2 - 1), []);
    assert_eq!(world.pass(1), [error(ErrorCode::TokenExpired), close(CloseCode::Unauthorized)]);
}

#[test]
fn given_a_renewed_token_that_ends_sooner_when_it_ends_then_the_session_does() {
    let mut world = World::open(Form::Binary);
    let shorter = token(42, None, START.unix.plus(10_000));
    assert_eq!(world.client(&ClientFrame::Renew { token: shorter.into() }), []);
    assert_eq!(world.pass(9_999), []);
    assert_eq!(world.pass(1), [error(ErrorCode::TokenExpired), close(CloseCode::Unauthorized)]);
}

#[test]
fn given_a_token_of_somebody_else_when_renewed_then_the_session_ends() {
    let later = START.unix.plus(TOKEN_MS);
    for (token, code) in [
        (token(43, None, later), ErrorCode::InvalidToken),
        (token(42, Some(2), later), ErrorCode::InvalidToken),
        (token(42, None, START.unix), ErrorCode::TokenExpired),
        ("nonsense".to_owned(), ErrorCode::InvalidToken),
    ] {
        let mut world = World::open(Form::Json);
        let seen = world.client(&ClientFrame::Renew { token: token.into() });
        assert_eq!(seen, [error(code), close(CloseCode::Unauthorized)]);
        world.assert_detached(START.unix);
    }
}

#[test]
fn given_a_wall_clock_that_jumps_when_time_passes_then_timeouts_follow_the_other_clock() {
    let mut world = World::open(Form::Binary);
    world.now.unix = world.now.unix.plus(100 * TOKEN_MS);
    assert_eq!(world.pass(HEARTBEAT_MS - 1), []);
    assert!(world.session.is_open());
    assert!(!world.take_for_router().iter().any(|message| matches!(message, ToRouter::Detach { .. })));
}
