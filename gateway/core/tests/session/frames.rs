//! What an open session does with the frames of its client and the messages of the router.

use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::session::{FromRouter, dispatch};
use switchyard_gateway_core::ws::{Event, WsError};
use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::frame::{ClientFrame, Receipt, Regarding, Watermark};
use switchyard_schema::ids::Sequence;
use switchyard_schema::link::{PageReply, SessionRef, ToGateway, ToRouter};

use crate::harness::{
    SESSION, START, Seen, World, ack, client_message, close, conversation, error, fetch, send, text_body, user,
};

fn page(request: u64) -> ToGateway {
    ToGateway::Page(Box::new(PageReply {
        session: SESSION,
        request,
        conversation: conversation(),
        messages: Vec::new(),
        void: Vec::new(),
        watermarks: std::iter::empty().collect(),
        more: false,
    }))
}

fn receipt() -> Receipt {
    let watermark = Watermark { member: user(43), delivered: Sequence(5), read: Sequence(4) };
    Receipt { conversation: conversation(), watermark }
}

#[test]
fn given_a_send_when_received_then_its_draft_goes_to_the_router_and_accepted_comes_back() {
    let mut world = World::open(Form::Binary);
    assert_eq!(world.client(&send(7)), []);
    let messages = world.take_for_router();
    let [ToRouter::Send(request)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(request.origin, World::origin());
    assert_eq!((request.conversation, request.client_message_id), (conversation(), client_message(7)));
    assert_eq!(request.draft.body(), text_body("hi"));
    assert_eq!(world.accept(7), [Seen::Accepted(client_message(7))]);
}

#[test]
fn given_acks_fetches_and_pings_when_received_then_each_goes_where_it_belongs() {
    let mut world = World::open(Form::Binary);
    assert_eq!(world.client(&ClientFrame::Ack(ack(5))), []);
    assert_eq!(world.client(&fetch(8)), []);
    assert_eq!(world.client(&ClientFrame::Ping { nonce: 99 }), [Seen::Pong(99)]);
    match &world.take_for_router()[..] {
        [ToRouter::Ack { origin, ack: acked }, ToRouter::Fetch { origin: asking, fetch }] => {
            assert_eq!((*origin, *asking), (World::origin(), World::origin()));
            assert_eq!((*acked, fetch.request), (ack(5), 8));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.router(page(8)), [Seen::Page(8)]);
}

#[test]
fn given_messages_of_the_router_when_the_session_is_open_then_the_client_sees_them_in_order() {
    let mut world = World::open(Form::Binary);
    assert_eq!(world.deliver(1), [Seen::Deliver(Sequence(1))]);
    assert_eq!(world.deliver(2), [Seen::Deliver(Sequence(2))]);
    let sessions = [SESSION].into_iter().collect();
    assert_eq!(world.router(ToGateway::Receipt { sessions, receipt: receipt() }), [Seen::Receipt]);
    assert_eq!(world.router(ToGateway::Stalled(SESSION)), [error(ErrorCode::DeliveryStalled)]);
    assert!(!world.finished);
}

#[test]
fn given_a_deliver_when_several_sessions_get_it_then_they_share_its_bytes() {
    let draft = switchyard_schema::encode::deliver_draft(conversation(), user(43), &text_body("hello"));
    let (frame, _) = draft.stamp(crate::harness::message(1), Sequence(1));
    let shared = frame.websocket().as_ptr();
    let other = SessionRef { slot: 18, ..SESSION };
    let message = ToGateway::Deliver { sessions: [SESSION, other].into_iter().collect(), frame };
    let mut told = Vec::new();
    dispatch(&message, |session, said| {
        let FromRouter::Deliver(frame) = said else { panic!("{said:?}") };
        assert_eq!(frame.websocket().as_ptr(), shared);
        told.push(session);
    });
    assert_eq!(told, [SESSION, other]);
}

#[test]
fn given_a_refusal_of_the_router_when_it_is_about_a_request_then_the_session_goes_on() {
    let mut world = World::open(Form::Binary);
    world.client(&send(7));
    world.client(&fetch(8));
    for regarding in [Regarding::Send(client_message(7)), Regarding::Request(8)] {
        let told = Seen::Error { code: ErrorCode::NotAMember, regarding, retry_after_ms: Some(250) };
        assert_eq!(world.refuse(ErrorCode::NotAMember, regarding), [told]);
    }
    assert!(world.session.is_open() && !world.finished);
}

#[test]
fn given_256_sends_without_an_answer_when_more_come_then_they_are_not_read_until_one_is_answered() {
    let mut world = World::open(Form::Binary);
    for number in 0..=255 {
        assert!(world.session.wants_read(), "{number} sends are pending");
        world.client(&send(number));
    }
    assert!(!world.session.wants_read());
    world.accept(0);
    assert!(world.session.wants_read());
    world.client(&send(0));
    assert!(!world.session.wants_read());
    world.refuse(ErrorCode::Overloaded, Regarding::Send(client_message(1)));
    assert!(world.session.wants_read());
    assert_eq!(world.take_for_router().len(), 257);
}

#[test]
fn given_four_fetches_without_an_answer_when_more_come_then_they_are_not_read_until_one_is_answered() {
    let mut world = World::open(Form::Binary);
    for request in 1..=4 {
        assert!(world.session.wants_read());
        world.client(&fetch(request));
    }
    assert!(!world.session.wants_read());
    world.router(page(1));
    assert!(world.session.wants_read());
    world.client(&fetch(5));
    world.refuse(ErrorCode::ShardDamaged, Regarding::Request(2));
    assert!(world.session.wants_read());
}

#[test]
fn given_a_message_in_the_other_form_when_received_then_the_session_closes_as_unsupported() {
    let mut binary = World::open(Form::Binary);
    assert_eq!(binary.event(Event::Text("{}".into())), [close(CloseCode::Unsupported)]);
    binary.assert_detached(START.unix);
    let mut json = World::open(Form::Json);
    assert_eq!(json.event(Event::Binary(b"{}"[..].into())), [close(CloseCode::Unsupported)]);
    json.assert_detached(START.unix);
    let mut early = World::upgraded(Form::Binary, None);
    assert_eq!(early.event(Event::Text("hello".into())), [close(CloseCode::Unsupported)]);
    early.assert_ended_unattached();
}

#[test]
fn given_bytes_that_are_no_frame_when_received_then_the_error_is_fatal() {
    for form in [Form::Binary, Form::Json] {
        let mut world = World::open(form);
        let seen = match form {
            Form::Binary => world.event(Event::Binary(vec![0xFF; 40].into())),
            Form::Json => world.event(Event::Text("{".into())),
        };
        assert_eq!(seen, [error(ErrorCode::MalformedFrame), close(CloseCode::FatalError)], "{form:?}");
        world.assert_detached(START.unix);
    }
}

#[test]
fn given_a_field_out_of_bounds_when_received_then_the_error_names_the_request_and_the_session_goes_on() {
    let mut world = World::open(Form::Json);
    let text = r#"{"type":"fetch","request":"8","conversation":{"direct":"43"},"after":"0","limit":101}"#;
    let told = Seen::Error { code: ErrorCode::InvalidField, regarding: Regarding::Request(8), retry_after_ms: None };
    assert_eq!(world.event(Event::Text(text.into())), [told]);
    assert_eq!(world.client(&ClientFrame::Ping { nonce: 1 }), [Seen::Pong(1)]);
    assert!(world.take_for_router().is_empty());
}

#[test]
fn given_control_frames_when_received_then_pings_are_answered_and_pongs_are_not() {
    let mut world = World::open(Form::Json);
    assert_eq!(world.event(Event::Ping(b"abc"[..].into())), [Seen::WebSocketPong(b"abc".to_vec())]);
    assert_eq!(world.event(Event::Pong(b"abc"[..].into())), []);
    let mut attaching = World::attaching(Form::Json);
    assert_eq!(attaching.event(Event::Ping(b""[..].into())), [Seen::WebSocketPong(Vec::new())]);
}

#[test]
fn given_a_broken_websocket_when_decoded_then_the_close_code_is_that_of_the_rfc() {
    for (broken, code) in [
        (WsError::NotMasked, CloseCode::Protocol),
        (WsError::BadUtf8, CloseCode::InvalidPayload),
        (WsError::TooBig, CloseCode::TooBig),
    ] {
        let mut world = World::open(Form::Binary);
        assert_eq!(world.ws_error(broken), [close(code)]);
        world.assert_detached(START.unix);
    }
}
