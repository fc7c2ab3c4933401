//! Frames of clients and servers that are older or newer than this code.

mod common;

use common::raw::*;
use common::{client_samples, conversation, device, id, me, message, user};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::*;
use switchyard_schema::ids::Sequence;
use switchyard_schema::{FrameError, NewerError, body, encode, json, wire};

#[test]
fn given_an_older_client_that_stops_at_the_fields_it_knows_when_parsed_then_the_rest_is_absent() {
    let hello = frame(HELLO, |builder| table(builder, |builder| builder.push_slot_always(slot(1), 7u64)));
    let expect = ClientFrame::Hello(Hello { token: None, device: device(7) });
    assert_eq!(wire::parse_client(&hello), Ok(expect));

    let ack = frame(ACK, |builder| {
        table(builder, |builder| {
            push_conversation(builder, 0, conversation());
            builder.push_slot_always(slot(1), 5u64);
        })
    });
    let expect = Ack { conversation: conversation(), delivered: Some(Sequence(5)), read: None };
    assert_eq!(wire::parse_client(&ack), Ok(ClientFrame::Ack(expect)));

    let ping = frame(PING, |builder| table(builder, |_| {}));
    assert_eq!(wire::parse_client(&ping), Ok(ClientFrame::Ping { nonce: 0 }));
}

#[test]
fn given_a_newer_client_with_fields_unknown_here_when_parsed_then_the_known_ones_are_read() {
    let hello = frame(HELLO, |builder| {
        let token = builder.create_string("token");
        let capabilities = builder.create_vector(&[1u16, 2, 3]);
        table(builder, |builder| {
            builder.push_slot_always(slot(0), token);
            builder.push_slot_always(slot(1), 7u64);
            builder.push_slot_always(slot(2), capabilities);
            builder.push_slot_always(slot(9), true);
        })
    });
    let expect = ClientFrame::Hello(Hello { token: Some("token".into()), device: device(7) });
    assert_eq!(wire::parse_client(&hello), Ok(expect));

    let bye = frame(BYE, |builder| table(builder, |builder| builder.push_slot_always(slot(0), 3u8)));
    assert_eq!(wire::parse_client(&bye), Ok(ClientFrame::Bye));
}

#[test]
fn given_a_frame_with_a_second_field_beside_the_union_when_parsed_then_it_is_passed_over() {
    let mut builder = Builder::new();
    let ping = table(&mut builder, |builder| builder.push_slot_always(slot(0), 9u64));
    let start = builder.start_table();
    builder.push_slot_always(slot(1), ping);
    builder.push_slot_always(slot(2), 77u64);
    builder.push_slot_always(slot(0), PING);
    let root = builder.end_table(start);
    builder.finish_minimal(root);
    assert_eq!(wire::parse_client(builder.finished_data()), Ok(ClientFrame::Ping { nonce: 9 }));
}

#[test]
fn given_a_member_that_is_not_known_when_parsed_then_it_is_refused_politely() {
    // Typing, PresenceSubscribe, GroupCommand, a member of the server's, one beyond all.
    for kind in [6, 7, 8, 29, 32, DELIVER, 96, 255] {
        let bytes = frame(kind, |builder| table(builder, |_| {}));
        let error = wire::parse_client(&bytes).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnsupportedFrame, "member {kind}");
        assert!(!error.code().fatal());
    }
    for kind in [69, 70, 71, 92, 96, SEND, 255] {
        let bytes = frame(kind, |builder| table(builder, |_| {}));
        assert_eq!(wire::parse_server(&bytes).unwrap_err().code(), ErrorCode::UnsupportedFrame, "member {kind}");
    }
}

#[test]
fn given_a_type_that_is_not_known_in_json_when_parsed_then_the_refusal_names_what_it_was_about() {
    let check = |text: &str, regarding| {
        let error = json::parse_client(text, Some(me())).unwrap_err();
        assert_eq!((error.code(), error.regarding()), (ErrorCode::UnsupportedFrame, regarding), "{text}");
    };
    check(r#"{"type":"typing"}"#, Regarding::Session);
    check(r#"{"type":"edit","client_message_id":"0f8fad5b-d9cb-469f-a165-70867728950e"}"#, Regarding::Send(id()));
    check(r#"{"type":"group_command","request":"9","members":[1,2]}"#, Regarding::Request(9));
    let from_server = json::parse_server(r#"{"type":"presence","user":"42"}"#, me()).unwrap_err();
    assert_eq!(from_server.code(), ErrorCode::UnsupportedFrame);
}

#[test]
fn given_a_body_with_fields_of_a_newer_client_when_it_is_delivered_then_they_arrive_untouched() {
    let encoded = body_with(Some("hi"), |builder| {
        builder.push_slot_always(slot(1), 0xfeed_u64);
        builder.push_slot_always(slot(5), 7u16);
    });
    let bytes = send_with_body(id(), conversation(), &encoded);
    let Ok(ClientFrame::Send(send)) = wire::parse_client(&bytes) else { panic!("the Send is valid") };
    let draft = encode::deliver_draft(send.conversation, me(), &send.body);
    let (frame, stored) = draft.stamp(message(1), Sequence(1));
    let Ok(ServerFrame::Deliver(deliver)) = wire::parse_server(frame.payload()) else { panic!("the Deliver is valid") };
    assert_eq!((deliver.body.as_ref(), stored.as_ref()), (encoded.as_slice(), encoded.as_slice()));
    assert_eq!(body::parse(&deliver.body).unwrap().text, Some("hi"));
}

#[test]
fn given_a_body_that_only_a_newer_client_understands_when_sent_then_it_is_taken_and_read_as_no_text() {
    let encoded = body_with(None, |builder| builder.push_slot_always(slot(1), 0xfeed_u64));
    assert!(wire::parse_client(&send_with_body(id(), conversation(), &encoded)).is_ok());
    assert_eq!(body::parse(&encoded).unwrap().text, None);

    let deliver = Deliver {
        conversation: conversation(),
        message: message(1),
        sequence: Sequence(1),
        sender: user(43),
        time: message(1).time(),
        origin: None,
        body: encoded.into(),
    };
    let mut text = Vec::new();
    json::encode_server(&ServerFrame::Deliver(deliver), me(), &mut text);
    let text = String::from_utf8(text).unwrap();
    assert!(text.ends_with(r#""body":{}}"#), "{text}");
    let Ok(ServerFrame::Deliver(read)) = json::parse_server(&text, me()) else { panic!("a JSON client takes it") };
    assert_eq!(body::parse(&read.body).unwrap().text, None);
}

#[test]
fn given_an_error_code_of_a_newer_server_when_parsed_then_the_client_learns_everything_but_its_meaning() {
    let newer = NewerError {
        code: 1999,
        reason: "later".to_owned(),
        fatal: false,
        retry: true,
        retry_after_ms: Some(250),
        regarding: Regarding::Request(7),
    };
    let bytes = frame(ERROR, |builder| {
        let reason = builder.create_string("later");
        table(builder, |builder| {
            builder.push_slot_always(slot(0), 1999u16);
            builder.push_slot_always(slot(1), reason);
            builder.push_slot_always(slot(3), true);
            builder.push_slot_always(slot(4), 250u32);
            builder.push_slot_always(slot(6), 7u64);
        })
    });
    assert_eq!(wire::parse_server(&bytes), Err(FrameError::UnknownErrorCode(Box::new(newer.clone()))));
    let text = r#"{"type":"error","code":1999,"name":"new","reason":"later","fatal":false,"retry":true,
        "retry_after_ms":250,"regarding":"7"}"#;
    let parsed = json::parse_server(text, me());
    assert_eq!(parsed, Err(FrameError::UnknownErrorCode(Box::new(newer))));
    assert_eq!(parsed.unwrap_err().regarding(), Regarding::Request(7));
}

#[test]
fn given_unknown_fields_anywhere_in_json_when_parsed_then_they_are_ignored() {
    for (name, frame) in client_samples() {
        let mut text = Vec::new();
        json::encode_client(&frame, me(), &mut text);
        let text = String::from_utf8(text).unwrap();
        let newer = text.replacen('{', r#"{"new":{"deep":[1,{"er":null}]},"newer":-1.5e3,"#, 9);
        assert_eq!(json::parse_client(&newer, Some(me())), Ok(frame), "{name}");
    }
}
