//! Sessions over QUIC, with real sockets and the router's side played by the test.

mod common;
#[path = "common/quic.rs"]
mod quic;

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use common::identity::Identity;
use common::{Fixture, PATIENCE, accept, config, send_frame, start, wait_for};
use quic::{Quic, QuicPhone, request, started};
use quinn_proto::{ConnectionError, Dir, TransportErrorCode};
use serde_json::{Value, json};
use smallvec::smallvec;
use switchyard_gateway_core::framing;
use switchyard_gateway_core::handshake::{ECHO_PROTOCOL, Form};
use switchyard_gateway_core::limits::RATE_BURST_MS;
use switchyard_gateway_core::rate::Rate;
use switchyard_gateway_server::DrainPlan;
use switchyard_gateway_server::limits::{
    QUIC_HELLO_WINDOW_BYTES, QUIC_UNVERIFIED_FAILURES_PER_SECOND, QUIC_UNVERIFIED_MIN,
};
use switchyard_schema::link::{SessionRef, ToGateway, ToRouter};

/// Gateway threads in the tests of phones that move.
const THREADS: usize = 3;
const PHONES: u64 = 12;
const MOVES: usize = 5;

/// The phone's session ends: its code and reason.
fn end(fixture: &Fixture, phone: &mut QuicPhone) -> (u64, String) {
    let ToRouter::Detach { origin, .. } = request(fixture, phone) else { panic!("a detach comes") };
    assert_eq!(origin, phone.origin);
    phone.quic.hear_close()
}

#[test]
fn given_a_phone_over_quic_and_one_over_websocket_when_each_sends_then_the_other_gets_it() {
    let (fixture, identity) = started(|_| ());
    let (mut alice, mut bob) = (fixture.quic_phone(&identity, 42), fixture.phone(43));

    alice.quic.say(&send_frame(1, 43, "over QUIC"));
    let ToRouter::Send(sent) = request(&fixture, &mut alice) else { panic!("a send comes") };
    assert_eq!(sent.origin, alice.origin);
    let (accepted, frame) = accept(sent, 1);
    fixture.router().answer(accepted);
    fixture.router().answer(ToGateway::Deliver { sessions: smallvec![bob.origin.session], frame });
    assert_eq!(alice.quic.hear()["type"], "accepted");
    assert_eq!(bob.hear()["body"]["text"], "over QUIC");

    bob.say(&send_frame(2, 42, "over a WebSocket"));
    let ToRouter::Send(sent) = fixture.router().next() else { panic!("a send comes") };
    let (accepted, frame) = accept(sent, 2);
    fixture.router().answer(accepted);
    fixture.router().answer(ToGateway::Deliver { sessions: smallvec![alice.origin.session], frame });
    assert_eq!(alice.quic.hear()["body"]["text"], "over a WebSocket");
    assert_eq!((fixture.counter("quic_sessions"), fixture.counter("sessions")), (1, 1));

    alice.quic.say(&json!({"type": "bye"}));
    assert_eq!(alice.quic.hear_close(), (1000, String::new()));
    let ToRouter::Detach { origin, .. } = request(&fixture, &mut alice) else { panic!("a detach comes") };
    assert_eq!(origin, alice.origin);
    wait_for("the slot to be freed", || (fixture.counter("open") == 1).then_some(()));
    drop(bob);
    fixture.stop();
}

#[test]
fn given_frames_that_are_cut_and_joined_at_will_then_each_is_answered() {
    let (fixture, identity) = started(|_| ());
    let mut phone = fixture.quic_phone(&identity, 42);
    let ping = |nonce: u64| framing::frame(json!({"type": "ping", "nonce": nonce.to_string()}).to_string().as_bytes());
    let sent: Vec<u8> = (0..40).flat_map(ping).collect();
    for part in sent.chunks(17) {
        phone.quic.write(part);
    }
    for nonce in 0..40 {
        assert_eq!(phone.quic.hear(), json!({"type": "pong", "nonce": nonce.to_string()}));
    }
    drop(phone);
    fixture.stop();
}

#[test]
fn given_more_than_the_window_holds_then_everything_arrives_in_order() {
    const MESSAGES: u64 = 24;
    let (fixture, identity) = started(|_| ());
    let mut phone = fixture.quic_phone(&identity, 42);
    // 16 KB each.
    let body = "𝄞".repeat(4_000);
    let mut sent = Vec::new();
    for number in 1..=MESSAGES {
        phone.quic.say(&send_frame(number, 43, &body));
        sent.push(request(&fixture, &mut phone));
    }
    for (sequence, sent) in (1..).zip(sent) {
        let ToRouter::Send(sent) = sent else { panic!("only sends come") };
        let (accepted, frame) = accept(sent, sequence);
        fixture.router().answer(accepted);
        fixture.router().answer(ToGateway::Deliver { sessions: smallvec![phone.origin.session], frame });
    }
    for sequence in 1..=MESSAGES {
        for kind in ["accepted", "deliver"] {
            let heard = phone.quic.hear();
            assert_eq!((&heard["type"], &heard["sequence"]), (&json!(kind), &json!(sequence.to_string())));
        }
    }
    drop(phone);
    fixture.stop();
}

#[test]
fn given_a_phone_that_says_little_when_much_comes_for_it_then_it_gets_all_of_that() {
    let (fixture, identity) = started(|_| ());
    let mut phone = fixture.quic_phone(&identity, 42);
    // 16 KB.
    phone.quic.say(&send_frame(1, 43, &"𝄞".repeat(4_000)));
    let ToRouter::Send(sent) = request(&fixture, &mut phone) else { panic!("a send comes") };
    let (accepted, frame) = accept(sent, 1);
    fixture.router().answer(accepted);
    assert_eq!(phone.quic.hear()["type"], "accepted");
    // Far more than three times what it has said, which is all that an address that is not proven may get.
    for _ in 0..20 {
        fixture.router().answer(ToGateway::Deliver { sessions: smallvec![phone.origin.session], frame: frame.clone() });
        assert_eq!(phone.quic.hear()["type"], "deliver");
    }
    drop(phone);
    fixture.stop();
}

#[test]
fn given_a_client_then_it_may_send_little_ahead_until_its_session_is_open() {
    let (fixture, identity) = started(|_| ());
    let large = framing::frame(format!(r#"{{"type":"ping","nonce":"7"{}}}"#, " ".repeat(60_000)).as_bytes());
    let mut stranger = Quic::connect(&identity, fixture.quic_address(), Form::Json);
    assert_eq!(stranger.write_some(&large), QUIC_HELLO_WINDOW_BYTES as usize);
    let mut phone = fixture.quic_phone(&identity, 42);
    phone.turn();
    assert_eq!(phone.quic.write_some(&large), large.len());
    assert_eq!(phone.quic.hear(), json!({"type": "pong", "nonce": "7"}));
    drop((stranger, phone));
    fixture.stop();
}

#[test]
fn given_a_phone_that_does_not_read_then_it_is_closed_when_more_waits_than_may() {
    let (fixture, identity) = started(|_| ());
    let mut phone = fixture.quic_phone(&identity, 42);
    phone.quic.say(&send_frame(1, 43, &"x".repeat(4_000)));
    let ToRouter::Send(sent) = request(&fixture, &mut phone) else { panic!("a send comes") };
    let (_, frame) = accept(sent, 1);
    // Its client neither reads nor acknowledges meanwhile.
    wait_for("the overflow", || {
        let sessions = smallvec![phone.origin.session];
        let _ = fixture.router().answers.try_push(ToGateway::Deliver { sessions, frame: frame.clone() });
        fixture.router().gateway.notify();
        (fixture.counter("too_slow") > 0).then_some(())
    });
    let ToRouter::Detach { .. } = fixture.router().next() else { panic!("a detach comes") };
    assert_eq!(phone.quic.hear_close().0, 4004);
    fixture.stop();
}

#[test]
fn given_what_breaks_the_contract_then_the_connection_is_closed_with_the_code_that_a_websocket_gets() {
    let (fixture, identity) = started(|_| ());
    let mut large = fixture.quic_phone(&identity, 1);
    large.quic.write(&framing::length(65_537));
    assert_eq!(end(&fixture, &mut large).0, 1009);

    let mut garbled = fixture.quic_phone(&identity, 2);
    garbled.quic.write(&framing::frame(b"\xFF"));
    assert_eq!(end(&fixture, &mut garbled).0, 1007);

    let mut malformed = fixture.quic_phone(&identity, 3);
    malformed.quic.write(&framing::frame(b"{"));
    // The error arrives although nothing more is said, and the close behind it.
    malformed.quic.finish();
    assert_eq!(malformed.quic.hear()["name"], "malformed_frame");
    assert_eq!(end(&fixture, &mut malformed), (4000, "malformed_frame".to_owned()));

    let mut uninvited = Quic::connect(&identity, fixture.quic_address(), Form::Binary);
    uninvited.write(&framing::frame(b"not a FlatBuffer"));
    assert_eq!(uninvited.hear_close().0, 4000);
    assert_eq!(fixture.counter("quic_protocol_errors"), 2, "the others are wrong as frames");
    fixture.stop();
}

#[test]
fn given_a_session_then_its_client_gets_no_other_stream_and_no_datagrams() {
    let (fixture, identity) = started(|_| ());
    let mut phone = fixture.quic_phone(&identity, 42);
    let proto = &mut phone.quic.proto;
    assert_eq!((proto.streams().open(Dir::Bi), proto.streams().open(Dir::Uni)), (None, None));
    assert_eq!(proto.datagrams().max_size(), None);
    phone.quic.finish();
    let ToRouter::Detach { .. } = request(&fixture, &mut phone) else { panic!("the end of the stream is a goodbye") };
    assert_eq!(phone.quic.hear_close().0, 1000);
    fixture.stop();
}

#[test]
fn given_a_client_of_another_protocol_then_there_is_no_handshake() {
    let (fixture, identity) = started(|_| ());
    let mut stranger = Quic::begin_with(&identity, fixture.quic_address(), Form::Json, &["h3"]);
    let lost = stranger.wait_for("the refusal", |client| client.lost.clone());
    assert!(matches!(&lost, ConnectionError::ConnectionClosed(close) if close.to_string().contains("120")), "{lost}");
    wait_for("the slot to be freed", || (fixture.counter("open") == 0).then_some(()));
    fixture.stop();
}

#[test]
fn given_the_echo_when_a_client_speaks_then_all_of_it_comes_back_and_then_the_end() {
    let (fixture, identity) = started(|_| ());
    let mut client = Quic::connect_with(&identity, fixture.quic_address(), Form::Json, &[ECHO_PROTOCOL]);
    // It knows nothing of frames; that these are some tells their ends. Together they are more than the transport takes at once.
    let said: Vec<Value> = (0..40).map(|number| json!({"number": number, "text": "x".repeat(10_000)})).collect();
    said.iter().for_each(|frame| client.say(frame));
    assert_eq!(fixture.counter("echoing"), 1);
    client.finish();
    said.iter().for_each(|frame| assert_eq!(client.hear(), *frame));
    assert_eq!(client.hear_close(), (1000, String::new()));
    wait_for("the place to be freed", || (fixture.counter("open") == 0).then_some(()));
    fixture.stop();
}

#[test]
fn given_the_echo_when_its_client_is_silent_then_it_is_asked_and_one_that_is_not_there_is_given_up() {
    let (fixture, identity) = started(|config| config.session.heartbeat_ms = 1_000);
    let connected = || Quic::connect_with(&identity, fixture.quic_address(), Form::Json, &[ECHO_PROTOCOL]);
    let (mut there, mut gone) = (connected(), connected());
    [&mut there, &mut gone].into_iter().for_each(|client| client.say(&json!("hello")));
    there.wait_for("both", |_| (fixture.counter("echoing") == 2).then_some(()));
    there.wait_for("the other to be given up", |_| (fixture.counter("echoing") == 1).then_some(()));
    assert_eq!(there.hear(), json!("hello"));
    drop(gone);
    fixture.stop();
}

#[test]
fn given_a_gateway_without_the_echo_then_nobody_is_let_in_for_it() {
    let (fixture, identity) = started(|config| config.echo = false);
    let mut client = Quic::begin_with(&identity, fixture.quic_address(), Form::Json, &[ECHO_PROTOCOL]);
    client.wait_for("the refusal", |client| client.lost.clone());
    assert_eq!(fixture.counter("quic_handshakes_malformed"), 1);
    fixture.stop();
}

#[test]
fn given_a_client_that_gives_up_its_handshake_then_it_is_counted_by_why() {
    let (fixture, identity) = started(|_| ());
    // It does not trust the certificate.
    let mut distrustful = Quic::begin(&Identity::new(), fixture.quic_address(), Form::Json);
    distrustful.wait_for("its own refusal", |client| client.lost.clone());
    fixture.await_at_least("quic_handshakes_refused", 1);
    let mut fickle = Quic::begin(&identity, fixture.quic_address(), Form::Json);
    fickle.send();
    fixture.await_at_least("quic_upgrading", 1);
    fickle.proto.close(Instant::now(), 0_u8.into(), "".into());
    fickle.send();
    fixture.await_at_least("quic_handshakes_abandoned", 1);
    assert_eq!((fixture.counter("quic_handshakes_refused"), fixture.counter("quic_handshakes_malformed")), (1, 0));
    fixture.stop();
}

#[test]
fn given_silence_then_the_transport_asks_and_a_client_that_is_there_stays_while_one_that_is_not_is_given_up() {
    let (fixture, identity) = started(|config| config.session.heartbeat_ms = 1_000);
    let (mut here, mut gone) = (fixture.quic_phone(&identity, 42), fixture.quic_phone(&identity, 43));
    let ToRouter::Detach { origin, .. } = here.quic.wait_for("a detach", |_| fixture.router().requests.pop()).1 else {
        panic!("a detach comes")
    };
    assert_eq!(origin, gone.origin);
    here.quic.wait_for("pings", |client| (client.proto.stats().frame_rx.ping >= 2).then_some(()));
    here.turn();
    assert_eq!(gone.quic.hear()["name"], "heartbeat_timeout");
    assert_eq!(gone.quic.hear_close().0, 4002);
    fixture.stop();
}

#[test]
fn given_a_drain_then_sessions_are_told_when_to_come_back_and_who_comes_is_refused() {
    let (fixture, identity) = started(|_| ());
    let mut phone = fixture.quic_phone(&identity, 42);
    let mut newcomer = Quic::connect(&identity, fixture.quic_address(), Form::Json);
    fixture.await_at_least("quic_awaiting_hello", 1);
    fixture.gateway.drain(DrainPlan { deadline: Instant::now() + PATIENCE });
    let drain = phone.quic.hear();
    assert_eq!(drain["type"], "drain");
    assert!(drain["reconnect_after_ms"].as_u64().unwrap() >= 500);
    assert_eq!(phone.quic.hear_close(), (1001, "the server is going away".to_owned()));
    // It has opened no stream that it could be told on.
    let (code, reason) = newcomer.hear_close();
    let comeback_ms = reason.strip_prefix("reconnect_after_ms=").and_then(|rest| rest.strip_suffix("; draining"));
    assert_eq!((code, comeback_ms.map(|ms| ms.parse::<u64>().unwrap() >= 500)), (1001, Some(true)), "{reason}");
    fixture.stop();
}

#[test]
fn given_a_handshake_when_the_gateway_drains_then_it_ends_for_that_reason() {
    let (fixture, identity) = started(|_| ());
    let mut begun = Quic::begin(&identity, fixture.quic_address(), Form::Json);
    begun.send();
    fixture.await_at_least("quic_upgrading", 1);
    fixture.gateway.drain(DrainPlan { deadline: Instant::now() + PATIENCE });
    let lost = begun.wait_for("the end", |client| client.lost.clone());
    let went_away = match &lost {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner() == 1001,
        // The code of an application is not shown to a client whose handshake is not done: RFC 9000 §10.2.3.
        ConnectionError::ConnectionClosed(close) => close.error_code == TransportErrorCode::APPLICATION_ERROR,
        _ => false,
    };
    assert!(went_away, "{lost}");
    fixture.stop();
}

#[test]
fn given_many_handshakes_from_addresses_that_may_be_forged_then_others_prove_theirs_first() {
    // As many as are taken in any case exceed one sixty-fourth of what this gateway holds.
    let (fixture, identity) = started(|config| config.connections_per_thread_max = 1_000);
    let mut begun: Vec<_> =
        (0..QUIC_UNVERIFIED_MIN).map(|_| Quic::begin(&identity, fixture.quic_address(), Form::Json)).collect();
    begun.iter_mut().for_each(Quic::send);
    fixture.await_at_least("quic_accepted", QUIC_UNVERIFIED_MIN as u64);
    assert_eq!(fixture.counter("quic_retries"), 0);
    let mut phone = fixture.quic_phone(&identity, 42);
    phone.turn();
    assert_eq!(fixture.counter("quic_retries"), 1);
    fixture.stop();
}

#[test]
fn given_handshakes_that_fail_at_once_when_they_are_many_then_who_comes_proves_its_address_first() {
    let (fixture, identity) = started(|_| ());
    wait_for("a retry", || {
        let mut stranger = Quic::begin_with(&identity, fixture.quic_address(), Form::Json, &["h3"]);
        stranger.wait_for("the refusal", |client| client.lost.clone());
        (fixture.counter("quic_retries") > 0).then_some(())
    });
    let at_once = QUIC_UNVERIFIED_FAILURES_PER_SECOND * RATE_BURST_MS / 1_000;
    assert!(fixture.counter("quic_handshakes_malformed") >= u64::from(at_once));
    let mut phone = fixture.quic_phone(&identity, 42);
    phone.turn();
    fixture.stop();
}

#[test]
fn given_handshakes_that_are_never_done_when_many_have_timed_out_then_who_comes_proves_its_address_first() {
    // Not because of how many are under way: one sixty-fourth of what this gateway holds is more than begin here.
    let (fixture, identity) = started(|config| {
        config.connections_per_thread_max = 1 << 17;
        config.connections_max = 1 << 17;
    });
    let at_once = u64::from(QUIC_UNVERIFIED_FAILURES_PER_SECOND * RATE_BURST_MS / 1_000);
    let (start, mut begun) = (Instant::now(), Vec::new());
    wait_for("a retry", || {
        // As many at first as may fail at once, and then ten times as many as may fail as time goes on.
        let since_ms = u64::try_from(start.elapsed().as_millis()).unwrap();
        let due = at_once + 10 * u64::from(QUIC_UNVERIFIED_FAILURES_PER_SECOND) * since_ms / 1_000;
        if (begun.len() as u64) < due {
            begun.push(Quic::begin(&identity, fixture.quic_address(), Form::Json));
            begun.last_mut().unwrap().send();
        }
        (fixture.counter("quic_retries") > 0).then_some(())
    });
    assert!(fixture.counter("quic_handshakes_timed_out") >= at_once);
    fixture.stop();
}

#[test]
fn given_an_address_with_too_many_connections_then_it_proves_itself_and_is_refused_after_that() {
    let (fixture, identity) = started(|config| config.handshakes = Rate::per_second(1));
    // Ten seconds' worth at once, for addresses that may be forged; as many again for one that is proven.
    let mut clients: Vec<Quic> = Vec::new();
    let lost = wait_for("a refusal", || {
        let mut client = Quic::begin(&identity, fixture.quic_address(), Form::Json);
        let lost = client.wait_for("an answer", |client| {
            client.lost.clone().map(Some).or_else(|| client.is_connected().then_some(None))
        });
        clients.push(client);
        lost
    });
    assert!(
        matches!(&lost, ConnectionError::ConnectionClosed(close) if close.to_string().contains("refused")),
        "{lost}"
    );
    assert!(clients.len() > 20, "{} connections", clients.len());
    assert!(fixture.counter("quic_retries") >= 10);
    assert!(fixture.counter("quic_handshakes_limited") >= 1);
    fixture.stop();
}

#[test]
fn given_a_full_gateway_then_who_comes_over_quic_is_refused() {
    let (fixture, identity) = started(|config| config.connections_max = 1);
    let phone = fixture.quic_phone(&identity, 42);
    let mut second = Quic::begin(&identity, fixture.quic_address(), Form::Json);
    second.wait_for("the refusal", |client| client.lost.clone());
    assert_eq!(fixture.counter("quic_turned_away"), 1);
    drop(phone);
    fixture.stop();
}

/// Phones that move; answers the gateway that they were at.
fn moved(steered: bool) -> Fixture {
    let identity = Identity::new();
    let mut config = config();
    identity.add_to(&mut config, steered);
    let fixture = start(config, THREADS, 1);
    let mut phones: Vec<QuicPhone> = (1..=PHONES).map(|user| fixture.quic_phone(&identity, user)).collect();
    let threads: BTreeSet<_> = phones.iter().map(|phone| phone.thread).collect();
    // That twelve phones all come to one thread of three happens once in 170,000 runs.
    assert!(threads.len() > 1, "the phones are spread");
    for _ in 0..MOVES {
        for phone in &mut phones {
            phone.quic.rebind();
            phone.turn();
            assert!(phone.quic.lost.is_none());
        }
    }
    assert_eq!(fixture.counter("quic_sessions"), PHONES);
    assert_eq!(fixture.counter("quic_accepted"), PHONES);
    fixture
}

#[test]
fn given_a_kernel_that_steers_when_phones_move_then_no_thread_has_to_pass_anything_on() {
    let fixture = moved(true);
    assert_eq!(fixture.counter("quic_passed_on"), 0);
    fixture.stop();
}

#[test]
fn given_a_kernel_that_does_not_steer_when_phones_move_then_threads_pass_on_what_is_not_theirs() {
    let fixture = moved(false);
    assert!(fixture.counter("quic_passed_on") > 0);
    fixture.stop();
}

/// The kernel numbers the sockets that are left anew: what it steers by the numbers before comes to wrong threads.
#[test]
fn given_a_thread_that_has_ended_then_phones_of_the_others_stay_when_they_move_and_newcomers_come_in() {
    let identity = Identity::new();
    let mut config = config();
    identity.add_to(&mut config, true);
    let fixture = start(config, THREADS, 1);
    let mut phones: Vec<QuicPhone> = (1..=PHONES).map(|user| fixture.quic_phone(&identity, user)).collect();
    // A message for another thread is a defect of the router, which the thread does not survive.
    fixture.routers[0][0].answer(ToGateway::Replaced(SessionRef { gateway: 9, slot: 0, epoch: 0 }));
    wait_for("the thread to end", || (!fixture.gateway.is_whole()).then_some(()));
    phones.retain(|phone| phone.thread != 0);
    for phone in &mut phones {
        phone.quic.rebind();
        phone.turn();
    }
    let newcomers: Vec<_> = (1..=PHONES).map(|number| fixture.quic_phone(&identity, PHONES + number)).collect();
    assert!(newcomers.iter().all(|newcomer| newcomer.thread != 0));
    drop((phones, newcomers));
    fixture.gateway.drain(DrainPlan { deadline: Instant::now() });
    wait_for("the gateway's end", || fixture.gateway.is_finished().then_some(()));
    assert_eq!(fixture.gateway.join().unwrap_err().0, 1);
}

/// What the first gateway says at its end goes to where the phones were: it is as one that was killed, and says nothing.
#[test]
fn given_a_gateway_that_ends_unheard_when_another_with_its_key_follows_then_phones_learn_it_by_a_stateless_reset() {
    let identity = Identity::new();
    let mut config = config();
    identity.add_to(&mut config, true);
    let fixture = start(config, THREADS, 1);
    let address = fixture.quic_address();
    let mut phones: Vec<QuicPhone> = (1..=PHONES).map(|user| fixture.quic_phone(&identity, user)).collect();
    phones.iter_mut().for_each(|phone| phone.quic.rebind());
    fixture.stop();

    let next = start_at(address, &identity, THREADS - 1);
    for phone in &mut phones {
        phone.quic.say(&json!({"type": "ping", "nonce": "7"}));
        let lost = phone.quic.wait_for("the reset", |quic| quic.lost.clone());
        assert_eq!(lost, ConnectionError::Reset);
    }
    drop(phones);
    next.stop();
}

/// A gateway at an address that another had, whose sockets the kernel may close a moment after its end.
fn start_at(address: SocketAddr, identity: &Identity, threads: usize) -> Fixture {
    wait_for("the address", || UdpSocket::bind(address).ok());
    let mut config = config();
    identity.add_to(&mut config, true);
    config.quic.as_mut().expect("it was just added").listen = address;
    start(config, threads, 1)
}
