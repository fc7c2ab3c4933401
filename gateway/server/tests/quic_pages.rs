//! Large pages over QUIC, on streams of their own, with real sockets and the router's side played by the test.

mod common;
#[path = "common/quic.rs"]
mod quic;

use common::identity::Identity;
use common::{Fixture, accept, send_frame, wait_for};
use quic::{QuicPhone, request, started};
use quinn_proto::{Dir, TransportConfig, VarInt};
use serde_json::{Value, json};
use smallvec::smallvec;
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::limits::LARGE_PAGE_BYTES;
use switchyard_schema::body;
use switchyard_schema::ids::{ClientMessageId, ConversationId, DeviceId, MessageId, Sequence, UserId};
use switchyard_schema::link::{DeliverFrame, PageReply, ToGateway, ToRouter};
use switchyard_schema::record::MessageRecord;

/// What the client takes of one stream before it has read it: far less than a large page.
const STREAM_WINDOW_BYTES: u32 = 8 * 1024;
/// Messages of 4 KB on a page that is large, and on one of which two are more than a client may leave unread to be heard.
const LARGE: u64 = 16;
const HUGE: u64 = 60;

/// A phone that grants so many streams for pages and little room on each.
fn phone(fixture: &Fixture, identity: &Identity, streams: u8) -> QuicPhone {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(None)
        .max_concurrent_uni_streams(streams.into())
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES));
    fixture.quic_phone_as(&identity.with_transport(Form::Json, transport), 42)
}

/// A page with so many messages for the phone, of a letter each.
fn page(phone: &QuicPhone, request: u64, messages: u64, letter: &str) -> ToGateway {
    let conversation = ConversationId::direct(phone.origin.user, UserId::new(43).unwrap());
    let body = body::text(&letter.repeat(4_000));
    let record = |sequence| MessageRecord {
        conversation,
        sequence: Sequence(sequence),
        message: MessageId::new(sequence << 32).unwrap(),
        sender: UserId::new(43).unwrap(),
        device: DeviceId::new(1).unwrap(),
        client_message_id: ClientMessageId([1; 16]),
        body: body.clone().into(),
    };
    ToGateway::Page(Box::new(PageReply {
        session: phone.origin.session,
        request,
        conversation,
        messages: (1..=messages).map(record).collect(),
        void: Vec::new(),
        watermarks: smallvec![],
        more: false,
    }))
}

fn ask(phone: &mut QuicPhone, number: u64) {
    let (number, conversation) = (number.to_string(), json!({"direct": "43"}));
    phone
        .quic
        .say(&json!({"type": "fetch", "request": number, "conversation": conversation, "after": "0", "limit": 9}));
}

/// Asks for a page and is answered with so many messages.
fn fetch(fixture: &Fixture, phone: &mut QuicPhone, number: u64, messages: u64) {
    ask(phone, number);
    let ToRouter::Fetch { .. } = request(fixture, phone) else { panic!("a fetch comes") };
    fixture.router().answer(page(phone, number, messages, "x"));
}

/// A message for the phone.
fn message(fixture: &Fixture, phone: &mut QuicPhone) -> DeliverFrame {
    phone.quic.say(&send_frame(1, 43, "overtaking"));
    let ToRouter::Send(sent) = request(fixture, phone) else { panic!("a send comes") };
    let (accepted, frame) = accept(sent, 1);
    fixture.router().answer(accepted);
    assert_eq!(phone.quic.hear()["type"], "accepted");
    frame
}

fn deliver(fixture: &Fixture, phone: &QuicPhone, frame: DeliverFrame) {
    fixture.router().answer(ToGateway::Deliver { sessions: smallvec![phone.origin.session], frame });
}

fn check_page(page: &Value, request: u64, messages: u64) {
    let (asked, sent) = (&page["request"], page["messages"].as_array().map(Vec::len));
    assert_eq!((asked, sent), (&json!(request.to_string()), Some(usize::try_from(messages).unwrap())));
}

/// The client has acknowledged everything.
fn await_nothing_waits(fixture: &Fixture, phone: &mut QuicPhone) {
    phone.quic.wait_for("the acknowledgement", |_| (fixture.counter("outbound_bytes") == 0).then_some(()));
}

#[test]
fn given_streams_that_are_granted_when_a_large_page_is_under_way_then_a_message_overtakes_it() {
    let (fixture, identity) = started(|_| ());
    let mut phone = phone(&fixture, &identity, 4);
    let frame = message(&fixture, &mut phone);
    fetch(&fixture, &mut phone, 7, LARGE);
    // Its window is full, for nobody reads it; the session goes on both ways.
    phone.turn();
    deliver(&fixture, &phone, frame);
    assert_eq!(phone.quic.hear()["body"]["text"], "overtaking");
    assert!(fixture.counter("outbound_bytes") > LARGE_PAGE_BYTES as u64);

    check_page(&phone.quic.hear_page(), 7, LARGE);
    await_nothing_waits(&fixture, &mut phone);
    assert_eq!(fixture.counter("quic_pages_aside"), 1);
    // Its stream may be used again.
    for request in 8..16 {
        fetch(&fixture, &mut phone, request, LARGE);
        check_page(&phone.quic.hear_page(), request, LARGE);
    }
    await_nothing_waits(&fixture, &mut phone);
    phone.turn();
    drop(phone);
    fixture.stop();
}

#[test]
fn given_no_streams_or_a_small_page_then_it_comes_where_the_session_is_and_in_order() {
    let (fixture, identity) = started(|_| ());
    for (streams, messages) in [(0, LARGE), (4, 1)] {
        let mut phone = phone(&fixture, &identity, streams);
        let frame = message(&fixture, &mut phone);
        fetch(&fixture, &mut phone, 7, messages);
        deliver(&fixture, &phone, frame);
        check_page(&phone.quic.hear(), 7, messages);
        assert_eq!(phone.quic.hear()["type"], "deliver");
    }
    assert_eq!(fixture.counter("quic_pages_aside"), 0);
    fixture.stop();
}

#[test]
fn given_fewer_streams_than_pages_then_the_others_come_where_the_session_is() {
    let (fixture, identity) = started(|_| ());
    let mut phone = phone(&fixture, &identity, 1);
    fetch(&fixture, &mut phone, 7, LARGE);
    phone.turn();
    fetch(&fixture, &mut phone, 8, LARGE);
    check_page(&phone.quic.hear(), 8, LARGE);
    check_page(&phone.quic.hear_page(), 7, LARGE);
    drop(phone);
    fixture.stop();
}

#[test]
fn given_pages_that_are_not_read_then_their_client_is_not_heard_until_it_reads() {
    let (fixture, identity) = started(|_| ());
    let mut phone = phone(&fixture, &identity, 4);
    fetch(&fixture, &mut phone, 1, HUGE);
    fetch(&fixture, &mut phone, 2, HUGE);
    fixture.await_at_least("quic_pages_aside", 2);
    ask(&mut phone, 3);
    let mut bystander = fixture.phone(99);
    bystander.turn();
    assert!(fixture.router().requests.is_empty(), "it has not read what it has asked for");

    check_page(&phone.quic.hear_page(), 1, HUGE);
    assert!(matches!(request(&fixture, &mut phone), ToRouter::Fetch { fetch, .. } if fetch.request == 3));
    drop((phone, bystander));
    fixture.stop();
}

#[test]
fn given_pages_that_are_not_read_when_more_waits_than_may_then_the_connection_is_closed() {
    let (fixture, identity) = started(|_| ());
    let mut phone = phone(&fixture, &identity, 4);
    (1..=2).for_each(|number| ask(&mut phone, number));
    for number in 1..=2 {
        let ToRouter::Fetch { .. } = request(&fixture, &mut phone) else { panic!("a fetch comes") };
        // Each letter is six bytes of JSON.
        fixture.router().answer(page(&phone, number, HUGE, "\u{1}"));
    }
    fixture.await_at_least("too_slow", 1);
    assert_eq!(fixture.counter("quic_pages_aside"), 1);
    let ToRouter::Detach { .. } = fixture.router().next() else { panic!("a detach comes") };
    assert_eq!(phone.quic.hear_close().0, 4004);
    wait_for("its bytes to be forgotten", || (fixture.counter("outbound_bytes") == 0).then_some(()));
    fixture.stop();
}

#[test]
fn given_a_goodbye_when_a_page_is_under_way_then_the_end_waits_for_it() {
    let (fixture, identity) = started(|_| ());
    let mut phone = phone(&fixture, &identity, 4);
    fetch(&fixture, &mut phone, 7, LARGE);
    phone.turn();
    phone.quic.say(&json!({"type": "bye"}));
    let ToRouter::Detach { .. } = request(&fixture, &mut phone) else { panic!("a detach comes") };
    check_page(&phone.quic.hear_page(), 7, LARGE);
    assert_eq!(phone.quic.hear_close(), (1000, String::new()));
    fixture.stop();
}

#[test]
fn given_a_page_that_the_client_does_not_want_then_it_is_dropped_and_the_session_goes_on() {
    let (fixture, identity) = started(|_| ());
    let mut phone = phone(&fixture, &identity, 4);
    fetch(&fixture, &mut phone, 7, LARGE);
    let stream = phone.quic.wait_for("a stream", |client| client.proto.streams().accept(Dir::Uni));
    phone.quic.proto.recv_stream(stream).stop(VarInt::from_u32(0)).unwrap();
    await_nothing_waits(&fixture, &mut phone);
    phone.turn();
    // There is no other stream from the client, and so none of another kind.
    assert_eq!(phone.quic.proto.streams().open(Dir::Uni), None);
    drop(phone);
    fixture.stop();
}
