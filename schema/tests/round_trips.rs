//! What is written in one form is read back the same, in that form and by way of the other.

mod common;

use common::{any_client_frame, any_deliver, any_server_frame, client_samples, me, message, server_samples};
use proptest::prelude::*;
use switchyard_schema::frame::{ClientFrame, Deliver, ServerFrame};
use switchyard_schema::ids::Sequence;
use switchyard_schema::record::MessageRecord;
use switchyard_schema::{body, encode, json, wire};

fn client_json(frame: &ClientFrame<'_>) -> String {
    let mut out = Vec::new();
    json::encode_client(frame, me(), &mut out);
    String::from_utf8(out).unwrap()
}

fn server_json(frame: &ServerFrame<'_>) -> String {
    let mut out = Vec::new();
    json::encode_server(frame, me(), &mut out);
    String::from_utf8(out).unwrap()
}

/// A body may be laid out in several ways, so frames that crossed forms are compared by what their bodies say.
fn check_client(frame: &ClientFrame<'_>) {
    let mut encoder = wire::Encoder::new();
    let bytes = encoder.client(frame).to_vec();
    let from_wire = wire::parse_client(&bytes).unwrap();
    assert_eq!(&from_wire, frame);
    let text = client_json(&from_wire);
    let from_json = json::parse_client(&text, Some(me())).unwrap();
    assert_eq!(&from_json, frame);
    assert_eq!(encoder.client(&from_json), bytes);
}

fn check_server(frame: &ServerFrame<'_>) {
    let mut encoder = wire::Encoder::new();
    let bytes = encoder.server(frame).to_vec();
    let from_wire = wire::parse_server(&bytes).unwrap();
    assert_eq!(&from_wire, frame);
    let text = server_json(&from_wire);
    let from_json = json::parse_server(&text, me()).unwrap();
    assert_eq!(&from_json, frame);
    assert_eq!(encoder.server(&from_json), bytes);
}

#[test]
fn given_each_kind_of_frame_when_it_goes_through_both_forms_then_it_is_the_same() {
    client_samples().iter().for_each(|(_, frame)| check_client(frame));
    server_samples().iter().for_each(|(_, frame)| check_server(frame));
}

proptest! {
    #[test]
    fn given_any_client_frame_when_it_goes_through_both_forms_then_it_is_the_same(frame in any_client_frame()) {
        check_client(&frame);
    }

    #[test]
    fn given_any_server_frame_when_it_goes_through_both_forms_then_it_is_the_same(frame in any_server_frame()) {
        check_server(&frame);
    }

    #[test]
    fn given_any_message_when_it_is_laid_out_by_hand_then_it_reads_as_the_builders(
        deliver in any_deliver(),
        with_origin in any::<bool>(),
        filler in 0..70_000usize,
    ) {
        let body = body::text(&"x".repeat(filler + 1));
        let (device, client_message_id) = deliver.origin.unwrap_or((common::device(1), common::id()));
        let record = MessageRecord {
            conversation: deliver.conversation,
            sequence: deliver.sequence,
            message: deliver.message,
            sender: deliver.sender,
            device,
            client_message_id,
            body: body.clone().into(),
        };
        let expect = ServerFrame::Deliver(Deliver {
            time: deliver.message.time(),
            origin: with_origin.then_some((device, client_message_id)),
            body: body.into(),
            ..deliver
        });
        let frame = encode::deliver(&record, with_origin);
        prop_assert_eq!(&wire::parse_server(frame.payload()).unwrap(), &expect);
        prop_assert_eq!(websocket_payload(frame.websocket()), frame.payload());

        let draft = encode::deliver_draft(record.conversation, record.sender, &record.body);
        prop_assert_eq!(draft.body(), &record.body);
        let (stamped, stored) = draft.stamp(record.message, record.sequence);
        prop_assert_eq!(stored, &record.body);
        let known = encode::deliver(&record, false);
        prop_assert_eq!(stamped.websocket(), known.websocket());
    }

    #[test]
    fn given_a_kept_encoder_when_frames_follow_each_other_then_none_leaves_a_trace(
        frames in proptest::collection::vec(any_server_frame(), 1..8),
    ) {
        let mut kept = wire::Encoder::new();
        for frame in &frames {
            let mut alone = Vec::new();
            wire::encode_server(frame, &mut alone);
            prop_assert_eq!(kept.server(frame), alone);
        }
    }
}

/// The payload of one unmasked, unfragmented binary message that fills `bytes` (RFC 6455 §5.2).
fn websocket_payload(bytes: &[u8]) -> &[u8] {
    assert_eq!(bytes[0], 0x82);
    let (length, rest) = match bytes[1] {
        126 => (u64::from(u16::from_be_bytes([bytes[2], bytes[3]])), &bytes[4..]),
        127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()), &bytes[10..]),
        length => (u64::from(length), &bytes[2..]),
    };
    assert_eq!(length, rest.len() as u64);
    rest
}

#[test]
fn given_payloads_around_each_header_length_when_framed_then_the_shortest_length_form_is_used() {
    // The fields take 96 bytes and the body's own structure 25.
    for (text_bytes, header_bytes) in [(1, 2), (4, 2), (5, 4), (65_414, 4), (65_415, 10)] {
        let body = body::text(&"x".repeat(text_bytes));
        let draft = encode::deliver_draft(common::conversation(), me(), &body);
        let (frame, _) = draft.stamp(message(1), Sequence(1));
        assert_eq!(websocket_payload(frame.websocket()), frame.payload());
        assert_eq!(frame.websocket().len() - frame.payload().len(), header_bytes, "{text_bytes} bytes of text");
    }
}
