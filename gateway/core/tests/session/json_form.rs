//! A JSON session: the same frames as text, direct conversations named as its user sees them.

use bytes::Bytes;
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::ws::Event;
use switchyard_schema::frame::{Receipt, VoidRange, Watermark};
use switchyard_schema::ids::Sequence;
use switchyard_schema::link::{PageReply, ToGateway, ToRouter};
use switchyard_schema::record::MessageRecord;

use crate::harness::{SESSION, Seen, World, client_message, conversation, device, message, send, text_body, user};

fn check_contains(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn given_a_send_as_text_when_received_then_its_conversation_is_that_of_both_users() {
    let mut world = World::open(Form::Json);
    let text = r#"{"type":"send","client_message_id":"07070707-0707-0707-0707-070707070707","conversation":{"direct":"43"},"body":{"text":"hi"}}"#;
    assert_eq!(world.event(Event::Text(text.into())), []);
    let messages = world.take_for_router();
    let [ToRouter::Send(request)] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((request.conversation, request.client_message_id), (conversation(), client_message(7)));
    assert_eq!(request.draft.body(), text_body("hi"));
    assert_eq!(world.accept(7), [Seen::Accepted(client_message(7))]);
    check_contains(world.texts.last().unwrap(), &[r#""type":"accepted""#, r#""conversation":{"direct":"43"}"#]);
}

#[test]
fn given_the_one_encoded_deliver_when_a_json_session_gets_it_then_it_is_text_about_the_other_user() {
    let mut world = World::open(Form::Json);
    assert_eq!(world.deliver(5), [Seen::Deliver(Sequence(5))]);
    let parts =
        [r#""type":"deliver""#, r#""direct":"43""#, r#""sequence":"5""#, r#""sender":"43""#, r#""text":"hello""#];
    check_contains(world.texts.last().unwrap(), &parts);
}

#[test]
fn given_a_receipt_when_a_json_session_gets_it_then_the_conversation_is_the_other_user() {
    let mut world = World::open(Form::Json);
    let watermark = Watermark { member: user(43), delivered: Sequence(5), read: Sequence(4) };
    let receipt = Receipt { conversation: conversation(), watermark };
    world.router(ToGateway::Receipt { sessions: [SESSION].into_iter().collect(), receipt });
    let parts = [r#""type":"receipt""#, r#""direct":"43""#, r#""member":"43""#, r#""delivered":"5""#, r#""read":"4""#];
    check_contains(world.texts.last().unwrap(), &parts);
}

#[test]
fn given_a_page_when_a_session_gets_it_then_only_its_own_messages_name_their_device() {
    let record = |number: u64, sender: u64| MessageRecord {
        conversation: conversation(),
        sequence: Sequence(number),
        message: message(number),
        sender: user(sender),
        device: device(1),
        client_message_id: client_message(u8::try_from(number).unwrap()),
        body: Bytes::from(text_body("hi")),
    };
    let reply = || PageReply {
        session: SESSION,
        request: 8,
        conversation: conversation(),
        messages: vec![record(1, 42), record(3, 43)],
        void: vec![VoidRange { from: Sequence(2), to: Sequence(2) }],
        watermarks: [Watermark { member: user(43), delivered: Sequence(3), read: Sequence(0) }].into_iter().collect(),
        more: true,
    };
    let mut world = World::open(Form::Json);
    world.client(&crate::harness::fetch(8));
    assert_eq!(world.router(ToGateway::Page(Box::new(reply()))), [Seen::Page(8)]);
    let text = world.texts.last().unwrap();
    check_contains(text, &[r#""void":[{"from":"2","to":"2"}]"#, r#""more":true"#, "01010101-0101"]);
    assert!(!text.contains("03030303-0303"), "{text}");

    let mut binary = World::open(Form::Binary);
    assert_eq!(binary.router(ToGateway::Page(Box::new(reply()))), [Seen::Page(8)]);
}

#[test]
fn given_both_forms_when_the_same_happens_then_their_clients_see_the_same() {
    let run = |form| {
        let mut world = World::open(form);
        let mut seen = world.client(&send(1));
        seen.extend(world.accept(1));
        seen.extend(world.deliver(2));
        seen.extend(world.drain());
        seen.extend(world.pass(100_000));
        seen
    };
    assert_eq!(run(Form::Binary), run(Form::Json));
}
