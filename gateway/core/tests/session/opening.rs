//! From the upgrade to Welcome.

use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::session::Session;
use switchyard_gateway_core::ws::Event;
use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::frame::{ClientFrame, Regarding};
use switchyard_schema::link::{ToGateway, ToRouter};

use crate::harness::{
    COMEBACK_APART_MS, COMEBACK_MS, SESSION, START, Seen, World, ack, client_message, close, error, fetch, good_token,
    send, signing_key, token, user,
};

fn check_fatal(mut world: World, seen: &[Seen], code: ErrorCode) {
    assert_eq!(seen, [error(code), close(CloseCode::after(code))]);
    world.assert_ended_unattached();
}

#[test]
fn given_a_good_token_when_hello_is_said_then_the_router_is_asked_and_welcome_waits_for_it() {
    for form in [Form::Binary, Form::Json] {
        let mut world = World::upgraded(form, None);
        assert!(world.session.wants_read());
        assert_eq!(world.hello(Some(&good_token()), 1), []);
        assert!(!world.session.wants_read() && !world.session.is_open());
        assert_eq!(world.session.user(), Some(user(42)));
        match world.take_for_router()[..] {
            [ToRouter::Attach(origin)] => assert_eq!(origin, World::origin()),
            ref other => panic!("{other:?}"),
        }
        assert_eq!(world.router(ToGateway::Attached(SESSION)), [Seen::Welcome]);
        assert!(world.session.wants_read() && world.session.is_open() && !world.finished);
    }
}

#[test]
fn given_a_token_in_the_header_when_hello_has_none_then_the_header_counts() {
    let mut world = World::upgraded(Form::Binary, Some(&good_token()));
    assert_eq!(world.hello(None, 1), []);
    assert!(matches!(world.take_for_router()[..], [ToRouter::Attach(_)]));
}

#[test]
fn given_tokens_in_both_places_when_hello_is_said_then_hello_s_counts() {
    let mut world = World::upgraded(Form::Binary, Some("not a token"));
    assert_eq!(world.hello(Some(&good_token()), 1), []);
    assert!(matches!(world.take_for_router()[..], [ToRouter::Attach(_)]));
}

#[test]
fn given_no_token_when_hello_is_said_then_the_session_is_unauthorized() {
    let mut world = World::upgraded(Form::Binary, None);
    let seen = world.hello(None, 1);
    assert!(world.reasons[0].contains("Authorization: Bearer"), "{}", world.reasons[0]);
    check_fatal(world, &seen, ErrorCode::InvalidToken);
}

#[test]
fn given_a_bad_token_when_hello_is_said_then_the_session_is_unauthorized() {
    let unknown_key = signing_key().with_kid("other");
    let claims = switchyard_gateway_core::auth::Claims { user: user(42), device: None, expires: START.unix.plus(1000) };
    let cases = [
        ("nonsense".to_owned(), ErrorCode::InvalidToken),
        (unknown_key.sign("switchyard", &claims), ErrorCode::InvalidToken),
        (signing_key().sign("elsewhere", &claims), ErrorCode::InvalidToken),
        (token(42, None, START.unix), ErrorCode::TokenExpired),
        (token(42, Some(2), START.unix.plus(1000)), ErrorCode::InvalidToken),
    ];
    for (token, code) in cases {
        let mut world = World::upgraded(Form::Json, None);
        let seen = world.hello(Some(&token), 1);
        assert!(!world.reasons[0].contains(&token), "a token is a secret");
        check_fatal(world, &seen, code);
    }
}

#[test]
fn given_a_token_for_one_device_when_that_device_says_hello_then_it_is_welcome() {
    let mut world = World::upgraded(Form::Binary, None);
    assert_eq!(world.hello(Some(&token(42, Some(1), START.unix.plus(1000))), 1), []);
    assert_eq!(world.router(ToGateway::Attached(SESSION)), [Seen::Welcome]);
}

#[test]
fn given_another_frame_when_it_comes_before_hello_then_it_is_unexpected() {
    let regarding = [
        (send(7), Regarding::Send(client_message(7))),
        (fetch(8), Regarding::Request(8)),
        (ClientFrame::Ack(ack(1)), Regarding::Session),
        (ClientFrame::Ping { nonce: 1 }, Regarding::Session),
        (ClientFrame::Renew { token: good_token().into() }, Regarding::Session),
    ];
    for form in [Form::Binary, Form::Json] {
        for (frame, regarding) in &regarding {
            let mut world = World::upgraded(form, Some(&good_token()));
            let expected =
                Seen::Error { code: ErrorCode::UnexpectedFrame, regarding: *regarding, retry_after_ms: None };
            assert_eq!(world.client(frame), [expected, close(CloseCode::FatalError)], "{form:?} {frame:?}");
            world.assert_ended_unattached();
        }
    }
}

#[test]
fn given_bye_when_it_comes_before_hello_then_the_session_closes_normally() {
    let mut world = World::upgraded(Form::Binary, None);
    assert_eq!(world.client(&ClientFrame::Bye), [close(CloseCode::Normal)]);
    world.assert_ended_unattached();
}

#[test]
fn given_a_hello_that_may_be_mended_when_refused_then_it_can_be_said_again() {
    let mut world = World::upgraded(Form::Json, None);
    let text = format!(r#"{{"type":"hello","token":"{}","device":"0"}}"#, good_token());
    assert_eq!(world.event(Event::Text(text.into())), [error(ErrorCode::InvalidField)]);
    assert_eq!(world.event(Event::Text(r#"{"type":"dance"}"#.into())), [error(ErrorCode::UnsupportedFrame)]);
    assert_eq!(world.hello(Some(&good_token()), 1), []);
    assert!(matches!(world.take_for_router()[..], [ToRouter::Attach(_)]));
}

#[test]
fn given_a_second_hello_when_the_session_is_open_then_it_is_unexpected() {
    let mut world = World::open(Form::Binary);
    let seen = world.hello(Some(&good_token()), 1);
    assert_eq!(seen, [error(ErrorCode::UnexpectedFrame), close(CloseCode::FatalError)]);
    world.assert_detached(START.unix);
}

#[test]
fn given_a_router_that_refuses_when_attaching_then_the_client_is_told_and_nothing_is_detached() {
    // The router tells others the same; behind its time the gateway has a place for each.
    for (code, comeback_ms) in [(ErrorCode::TooManyDevices, 250), (ErrorCode::Overloaded, 250 + COMEBACK_MS)] {
        let mut world = World::attaching(Form::Binary);
        let told = Seen::Error { code, regarding: Regarding::Session, retry_after_ms: Some(comeback_ms) };
        assert_eq!(world.refuse(code, Regarding::Session), [told, close(CloseCode::FatalError)]);
        let places = u32::from(code.retry());
        assert_eq!(
            world.next_comeback_ms(),
            COMEBACK_MS + places * COMEBACK_APART_MS,
            "only who comes back has a place"
        );
        world.assert_ended_unattached();
        assert_eq!(world.eof(), []);
        assert!(world.take_for_router().is_empty());
    }
}

#[test]
fn given_a_router_that_does_not_answer_when_time_passes_then_the_client_may_try_again() {
    let mut world = World::attaching(Form::Binary);
    assert_eq!(world.pass(9_999), []);
    let told =
        Seen::Error { code: ErrorCode::Overloaded, regarding: Regarding::Session, retry_after_ms: Some(COMEBACK_MS) };
    assert_eq!(world.pass(1), [told, close(CloseCode::FatalError)]);
    assert_eq!(world.next_comeback_ms(), COMEBACK_MS + COMEBACK_APART_MS, "its place is its own");
    world.assert_detached(START.unix);
    assert_eq!(world.router(ToGateway::Attached(SESSION)), [], "an answer that comes too late changes nothing");
}

#[test]
fn given_a_connection_when_it_is_idle_then_its_session_is_small() {
    assert!(size_of::<Session>() <= 152, "{}", size_of::<Session>());
}
