//! How a client connects, stays connected, comes back, and when it does not.

mod support;

use support::{Bench, HEARTBEAT_MS, device, id, refusal, user, welcome, with};
use switchyard_client_core::limits::{ALIVE_HEARTBEAT_PART, PING_LATE_MS};
use switchyard_client_core::{Config, ConnectionState, Effect, Event, Restored, StopReason, StoreOp, Wait};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{ClientFrame, Hello, Regarding, ServerFrame, Welcome};

fn state_of(bench: &Bench) -> ConnectionState {
    bench.client.state()
}

#[test]
fn given_a_new_client_when_it_starts_then_it_asks_for_a_token_connects_and_greets() {
    let mut bench = Bench::new();
    bench.start();
    assert_eq!(
        bench.effects(),
        [Effect::RequestToken, Effect::Event(Event::StateChanged(ConnectionState::Connecting))]
    );
    bench.token("secret");
    assert_eq!(bench.effects(), [Effect::Connect]);
    bench.opened();
    let hello = Hello { token: Some("secret".into()), device: device(1) };
    assert_eq!(bench.effects(), [Effect::Transmit(ClientFrame::Hello(hello))]);
    bench.frame(ServerFrame::Welcome(welcome()));
    let connected = Effect::Event(Event::StateChanged(ConnectionState::Connected));
    assert_eq!(bench.effects(), [Effect::Store(StoreOp::PutUser(user(1))), connected]);
}

#[test]
fn given_no_connection_when_attempts_fail_then_the_waits_have_full_jitter_and_a_ceiling() {
    let mut bench = Bench::new();
    bench.start();
    bench.token("token");
    let mut waits = Vec::new();
    for _ in 0..200 {
        bench.lose();
        let due = bench.client.next_timeout().unwrap();
        waits.push(due.since(bench.now));
        bench.pass(due.since(bench.now));
    }
    let config = Config::new(device(1));
    for (attempt, &wait) in waits.iter().enumerate() {
        let doubled = config.backoff_base_ms << attempt.min(20);
        assert!(wait <= doubled.min(config.backoff_max_ms), "attempt {attempt} waited {wait}");
    }
    assert!(waits.iter().any(|&wait| wait > config.backoff_max_ms / 2), "later waits are long");
    assert!(waits[10..].iter().any(|&wait| wait < config.backoff_max_ms / 4), "and even over the whole range");
    assert_eq!(bench.seen().connects, 201);
}

#[test]
fn given_a_connection_that_lasted_when_it_is_lost_then_the_back_off_starts_anew() {
    let mut bench = Bench::connected();
    for _ in 0..12 {
        bench.reconnect();
    }
    for _ in 0..4 {
        bench.pass(u64::from(HEARTBEAT_MS));
        bench.frame(ServerFrame::Pong { nonce: 1 });
    }
    bench.lose();
    let wait = bench.client.next_timeout().unwrap().since(bench.now);
    assert!(wait <= Config::new(device(1)).backoff_base_ms, "waited {wait}");
}

#[test]
fn given_no_welcome_when_the_time_is_over_then_the_connection_is_given_up() {
    let mut bench = Bench::new();
    bench.start();
    bench.token("token");
    bench.opened();
    bench.pass(14_999);
    assert_eq!(bench.seen().disconnects, 0);
    bench.pass(1);
    assert_eq!(bench.seen().disconnects, 1);
    assert_eq!(state_of(&bench), ConnectionState::Disconnected);
}

#[test]
fn given_silence_when_the_servers_ping_does_not_come_then_the_client_asks_and_without_an_answer_gives_up() {
    let mut bench = Bench::connected();
    bench.pass(u64::from(HEARTBEAT_MS));
    bench.client.handle_received(bench.now);
    bench.pass(u64::from(HEARTBEAT_MS) + PING_LATE_MS - 1);
    assert!(bench.seen().frames.is_empty());
    bench.pass(1);
    assert!(matches!(bench.seen().frames[..], [ClientFrame::Ping { .. }]));
    bench.pass(u64::from(HEARTBEAT_MS) - 1);
    assert_eq!(bench.seen().disconnects, 0);
    bench.pass(1);
    assert_eq!(bench.seen().disconnects, 1);
}

#[test]
fn given_frames_without_an_answer_when_they_keep_the_server_from_pinging_then_the_connection_is_not_taken_for_dead() {
    let mut bench = Bench::new();
    bench.start();
    bench.token_for("token", 20_000);
    bench.open();
    bench.seen();
    for round in 0..20 {
        bench.pass(16_000);
        bench.token_for(&format!("token {round}"), 20_000);
        let seen = bench.seen();
        assert_eq!(seen.disconnects, 0, "round {round}");
        for frame in seen.frames {
            // All that a server does which is never silent long enough to ping.
            if let ClientFrame::Ping { nonce } = frame {
                bench.frame(ServerFrame::Pong { nonce });
            }
        }
    }
    assert_eq!(state_of(&bench), ConnectionState::Connected);
}

#[test]
fn given_a_driver_that_does_not_read_when_time_passes_then_the_client_says_that_it_lives_and_gives_nobody_up() {
    let mut bench = Bench::connected();
    bench.client.handle_listening(bench.now, false);
    bench.pass(10 * u64::from(HEARTBEAT_MS));
    let seen = bench.seen();
    assert_eq!(seen.disconnects, 0);
    let pings = 10 * usize::try_from(ALIVE_HEARTBEAT_PART).unwrap();
    assert_eq!(seen.frames.iter().filter(|frame| matches!(frame, ClientFrame::Ping { .. })).count(), pings);
    bench.client.handle_listening(bench.now, true);
    bench.pass(2 * u64::from(HEARTBEAT_MS) + PING_LATE_MS);
    assert_eq!(bench.seen().disconnects, 1, "from now on the server's silence counts");
}

#[test]
fn given_a_drain_when_it_says_when_then_the_client_comes_back_exactly_then() {
    let mut bench = Bench::connected();
    bench.frame(ServerFrame::Drain { reconnect_after_ms: 1_500 });
    bench.send(1, with(2));
    assert!(bench.seen().sends().is_empty(), "nothing new goes to a server that leaves");
    bench.pass(100);
    bench.lose();
    assert_eq!(bench.client.next_timeout().unwrap().since(bench.now), 1_400);
    bench.come_back();
    assert_eq!(bench.seen().sends(), [id(1)]);
}

#[test]
fn given_a_drain_when_the_server_does_not_close_then_the_client_does() {
    let mut bench = Bench::connected();
    bench.frame(ServerFrame::Drain { reconnect_after_ms: 1_500 });
    bench.pass(1_500);
    let seen = bench.seen();
    assert_eq!((seen.disconnects, seen.connects), (1, 1));
}

#[test]
fn given_a_refusal_for_now_while_greeting_when_it_says_when_then_the_client_comes_back_exactly_then() {
    let mut bench = Bench::new();
    bench.start();
    bench.token("token");
    bench.opened();
    bench.frame(refusal(ErrorCode::Overloaded, Regarding::Session, Some(5_000)));
    assert_eq!(bench.seen().disconnects, 1);
    assert_eq!(bench.client.next_timeout().unwrap().since(bench.now), 5_000);
}

#[test]
fn given_a_refused_connection_when_the_server_keeps_a_place_then_the_client_comes_exactly_then_and_else_later() {
    let base_ms = Config::new(device(1)).backoff_base_ms;
    for (wait, least, most) in
        [(Wait::Exactly(700), 700, 700), (Wait::AtLeast(700), 700, 700 + base_ms), (Wait::Exactly(0), 0, base_ms)]
    {
        let mut bench = Bench::new();
        bench.start();
        bench.token("token");
        bench.put_off(wait);
        let waits_ms = bench.client.next_timeout().unwrap().since(bench.now);
        assert!((least..=most).contains(&waits_ms), "{wait:?}: {waits_ms}");
    }
}

#[test]
fn given_many_places_when_an_attempt_then_fails_without_an_answer_then_it_is_the_first_failure() {
    let mut bench = Bench::new();
    bench.start();
    bench.token("token");
    for _ in 0..20 {
        bench.put_off(Wait::Exactly(700));
        bench.pass(700);
    }
    bench.lose();
    let waits_ms = bench.client.next_timeout().unwrap().since(bench.now);
    assert!(waits_ms <= Config::new(device(1)).backoff_base_ms, "waited {waits_ms}");
}

#[test]
fn given_an_error_when_there_is_no_point_in_trying_then_the_client_stops() {
    for (code, reason) in [
        (ErrorCode::SessionReplaced, StopReason::Replaced),
        (ErrorCode::TooManyDevices, StopReason::Refused(ErrorCode::TooManyDevices.into())),
        (ErrorCode::MalformedFrame, StopReason::Refused(ErrorCode::MalformedFrame.into())),
        (ErrorCode::UnexpectedFrame, StopReason::Refused(ErrorCode::UnexpectedFrame.into())),
    ] {
        let mut bench = Bench::connected();
        bench.frame(refusal(code, Regarding::Session, None));
        let seen = bench.seen();
        assert_eq!(seen.events, [Event::StateChanged(ConnectionState::Stopped(reason))], "{code:?}");
        assert_eq!(seen.disconnects, 1);
        assert_eq!(bench.client.next_timeout(), None);
    }
}

#[test]
fn given_an_error_when_it_passes_then_the_client_comes_back() {
    for code in [ErrorCode::HeartbeatTimeout, ErrorCode::HelloTimeout] {
        let mut bench = Bench::connected();
        bench.frame(refusal(code, Regarding::Session, None));
        assert_eq!(state_of(&bench), ConnectionState::Disconnected, "{code:?}");
        bench.come_back();
        assert_eq!(state_of(&bench), ConnectionState::Connected, "{code:?}");
    }
}

#[test]
fn given_an_error_of_the_session_when_it_is_not_fatal_then_the_application_is_told_and_the_session_goes_on() {
    let mut bench = Bench::connected();
    bench.frame(refusal(ErrorCode::UnsupportedFrame, Regarding::Session, None));
    let events = bench.seen().events;
    assert!(matches!(events[..], [Event::ServerError { code, .. }] if code == ErrorCode::UnsupportedFrame));
    assert_eq!(state_of(&bench), ConnectionState::Connected);
}

#[test]
fn given_a_refused_token_when_a_fresh_one_is_had_then_the_client_connects_again_at_once() {
    for code in [ErrorCode::TokenExpired, ErrorCode::InvalidToken] {
        let mut bench = Bench::connected();
        bench.frame(refusal(code, Regarding::Session, None));
        let seen = bench.seen();
        assert_eq!((seen.disconnects, seen.token_requests, seen.connects), (1, 1, 0), "{code:?}");
        bench.token("fresh");
        assert_eq!(bench.seen().connects, 1);
        bench.open();
        assert_eq!(state_of(&bench), ConnectionState::Connected);
    }
}

#[test]
fn given_a_refused_token_when_the_same_comes_again_then_the_client_stops() {
    let mut bench = Bench::connected();
    bench.frame(refusal(ErrorCode::TokenExpired, Regarding::Session, None));
    bench.token("token");
    assert_eq!(state_of(&bench), ConnectionState::Stopped(StopReason::TokenRefused));
}

#[test]
fn given_a_token_that_only_the_server_takes_for_expired_when_its_clock_is_right_again_then_the_same_token_opens() {
    let mut bench = Bench::new();
    bench.start();
    bench.token_for("token", 3_600_000);
    bench.open();
    bench.seen();
    for _ in 0..10 {
        bench.frame(refusal(ErrorCode::TokenExpired, Regarding::Session, None));
        bench.token_for("token", 3_600_000);
        let seen = bench.seen();
        assert_eq!((seen.token_requests, seen.connects), (1, 0), "not at once, or two wrong clocks would be a flood");
        assert!(matches!(seen.events[..], [.., Event::ServerError { code, .. }] if code == ErrorCode::TokenExpired));
        let due = bench.client.next_timeout().expect("asks again");
        bench.pass(due.since(bench.now));
        bench.token_for("token", 3_600_000);
        let seen = bench.seen();
        assert_eq!((seen.token_requests, seen.connects), (1, 1));
        bench.opened();
    }
    bench.frame(ServerFrame::Welcome(welcome()));
    assert_eq!(state_of(&bench), ConnectionState::Connected);
}

#[test]
fn given_a_token_with_an_end_when_it_comes_near_then_it_is_renewed_on_the_same_connection() {
    let mut bench = Bench::new();
    bench.start();
    bench.token_for("first", 600_000);
    bench.open();
    bench.seen();
    for _ in 0..18 {
        bench.pass(u64::from(HEARTBEAT_MS));
        bench.client.handle_received(bench.now);
    }
    let seen = bench.seen();
    assert_eq!((seen.token_requests, seen.disconnects), (1, 0));
    bench.token_for("second", 600_000);
    assert_eq!(bench.seen().frames, [ClientFrame::Renew { token: "second".into() }]);
}

#[test]
fn given_no_token_for_now_when_time_passes_then_it_is_asked_for_again() {
    let mut bench = Bench::new();
    bench.start();
    bench.no_token(false);
    assert_eq!(bench.seen().token_requests, 1);
    let due = bench.client.next_timeout().expect("asks again");
    bench.pass(due.since(bench.now));
    assert_eq!(bench.seen().token_requests, 1);
    bench.no_token(true);
    assert_eq!(state_of(&bench), ConnectionState::Stopped(StopReason::TokenRefused));
}

#[test]
fn given_a_store_of_another_user_when_welcomed_then_the_client_stops_before_anything_is_sent() {
    let mut bench = Bench::restored(Restored { user: Some(user(9)), ..Restored::default() });
    bench.send(1, with(2));
    bench.connect();
    assert!(bench.seen().sends().is_empty());
    assert_eq!(state_of(&bench), ConnectionState::Stopped(StopReason::WrongUser));
}

#[test]
fn given_a_frame_out_of_place_when_it_comes_then_the_connection_is_given_up() {
    let mut bench = Bench::connected();
    bench.frame(ServerFrame::Welcome(Welcome { heartbeat_ms: 1, ..welcome() }));
    assert_eq!(bench.seen().disconnects, 1);
    let mut greeting = Bench::new();
    greeting.start();
    greeting.token("token");
    greeting.opened();
    greeting.deliver(support::deliver(with(2), 1, 2));
    let seen = greeting.seen();
    assert_eq!((seen.disconnects, seen.received().len()), (1, 0));
}

#[test]
fn given_a_connection_that_ended_when_more_of_it_arrives_then_it_is_ignored() {
    let mut bench = Bench::connected();
    bench.frame(refusal(ErrorCode::HeartbeatTimeout, Regarding::Session, None));
    bench.seen();
    bench.deliver(support::deliver(with(2), 1, 2));
    bench.lose();
    let seen = bench.seen();
    assert_eq!((seen.stores.len(), seen.events.len(), seen.disconnects), (0, 0, 0));
}

#[test]
fn given_a_connection_when_the_application_closes_then_acks_and_bye_leave_first() {
    let mut bench = Bench::connected();
    bench.deliver(support::deliver(with(2), 1, 2));
    bench.seen();
    bench.close();
    let effects = bench.effects();
    assert!(matches!(
        effects[..],
        [
            Effect::Transmit(ClientFrame::Ack(_)),
            Effect::Transmit(ClientFrame::Bye),
            Effect::Disconnect,
            Effect::Event(Event::StateChanged(ConnectionState::Stopped(StopReason::Closed)))
        ]
    ));
}
