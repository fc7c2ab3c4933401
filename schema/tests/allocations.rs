//! What the hot path may allocate: a Deliver is one allocation, and an encoder that is kept makes none.

mod common;

use common::counting_allocator::{Counting, allocations};
use common::{conversation, device, id, me, message, server_samples};
use switchyard_schema::frame::{ClientFrame, Send, ServerFrame};
use switchyard_schema::ids::Sequence;
use switchyard_schema::record::MessageRecord;
use switchyard_schema::{body, encode, json, wire};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn given_a_message_when_its_deliver_is_made_then_that_is_one_allocation() {
    for text_bytes in [1, 100, 4_096] {
        let body = body::text(&"x".repeat(text_bytes));
        let (draft, count) = allocations(|| encode::deliver_draft(conversation(), me(), &body));
        assert_eq!(count, 1, "draft of {text_bytes} bytes");
        // The second owner (frame and stored body share the bytes) is what `bytes` counts references for.
        let (_kept, count) = allocations(|| draft.stamp(message(1 << 22), Sequence(1)));
        assert_eq!(count, 1, "stamp of {text_bytes} bytes");

        let record = MessageRecord {
            conversation: conversation(),
            sequence: Sequence(1),
            message: message(1 << 22),
            sender: me(),
            device: device(1),
            client_message_id: id(),
            body: body.into(),
        };
        for with_origin in [false, true] {
            let (_frame, count) = allocations(|| encode::deliver(&record, with_origin));
            assert_eq!(count, 1, "known message of {text_bytes} bytes");
        }
    }
}

#[test]
fn given_an_encoder_that_is_kept_when_frames_follow_the_first_ones_then_nothing_is_allocated() {
    let mut encoder = wire::Encoder::new();
    let mut text = Vec::with_capacity(4_096);
    let samples = server_samples();
    let small = || samples.iter().filter(|(_, frame)| !matches!(frame, ServerFrame::Page(_)));
    small().for_each(|(_, frame)| _ = encoder.server(frame));
    for (name, frame) in small() {
        let ((), count) = allocations(|| _ = encoder.server(frame));
        assert_eq!(count, 0, "{name} in binary");
        text.clear();
        let ((), count) = allocations(|| json::encode_server(frame, me(), &mut text));
        assert_eq!(count, 0, "{name} as JSON");
    }
}

#[test]
fn given_frames_of_clients_when_parsed_then_nothing_is_allocated() {
    let send = Send { client_message_id: id(), conversation: conversation(), body: body::text("hi").into() };
    let mut bytes = Vec::new();
    wire::encode_client(&ClientFrame::Send(send), &mut bytes);
    let (frame, count) = allocations(|| wire::parse_client(&bytes));
    assert!(frame.is_ok());
    assert_eq!(count, 0, "binary");
    let ping = r#"{"type":"ack","conversation":{"direct":"43"},"delivered":"5"}"#;
    let (frame, count) = allocations(|| json::parse_client(ping, Some(me())));
    assert!(frame.is_ok());
    assert_eq!(count, 0, "JSON");
}
