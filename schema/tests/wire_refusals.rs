//! What the binary form refuses, with which code and about what.

mod common;

use common::raw::*;
use common::{client_samples, conversation, id, server_samples};
use proptest::prelude::*;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::Regarding;
use switchyard_schema::limits;
use switchyard_schema::{body, wire};

fn check(bytes: &[u8], code: ErrorCode, regarding: Regarding, reason: &str) {
    let error = wire::parse_client(bytes).expect_err(reason);
    assert_eq!((error.code(), error.regarding()), (code, regarding), "{error}");
    assert!(error.to_string().contains(reason), "{error:?} says {error}, not {reason}");
    assert!(error.to_string().chars().count() <= limits::REASON_CHARS_MAX);
}

fn malformed(bytes: &[u8], reason: &str) {
    check(bytes, ErrorCode::MalformedFrame, Regarding::Session, reason);
}

fn invalid(bytes: &[u8], regarding: Regarding, reason: &str) {
    check(bytes, ErrorCode::InvalidField, regarding, reason);
}

#[test]
fn given_bytes_that_are_no_frame_when_parsed_then_they_are_malformed() {
    malformed(b"", "points outside");
    malformed(b"hello", "points outside");
    malformed(&[0xff; 64], "not aligned");
    malformed(&frame_of(&mut Builder::new(), None, None), "no body");
    malformed(&frame_of(&mut Builder::new(), Some(PING), None), "a type or a value but not both");
    let mut builder = Builder::new();
    let member = table(&mut builder, |_| {});
    malformed(&frame_of(&mut builder, None, Some(member)), "a type or a value but not both");
    malformed(&frame(0, |builder| table(builder, |_| {})), "no body");
}

#[test]
fn given_any_frame_cut_short_when_parsed_then_nothing_is_read_outside_it() {
    for (name, frame) in client_samples() {
        let mut bytes = Vec::new();
        wire::encode_client(&frame, &mut bytes);
        for length in 0..bytes.len() {
            // Padding at the end may be missing; then it is the same frame.
            if let Ok(read) = wire::parse_client(&bytes[..length]) {
                assert_eq!(read, frame, "{name} cut to {length} bytes");
            }
        }
    }
}

#[test]
fn given_an_oversized_frame_when_parsed_then_it_is_too_large() {
    let mut bytes = Vec::new();
    wire::encode_client(&client_samples()[0].1, &mut bytes);
    bytes.resize(limits::CLIENT_FRAME_BYTES_MAX, 0);
    assert!(wire::parse_client(&bytes).is_ok());
    bytes.push(0);
    check(&bytes, ErrorCode::TooLarge, Regarding::Session, "frame is larger than 65536 bytes");
}

#[test]
fn given_a_send_with_a_bad_field_when_parsed_then_the_refusal_names_the_send() {
    let about = Regarding::Send(id());
    let good = body::text("hi");
    invalid(
        &frame(SEND, |b| table(b, |b| push_conversation(b, 1, conversation()))),
        Regarding::Session,
        "client_message_id",
    );
    invalid(&frame(SEND, |b| table(b, |b| push_id(b, 0, id()))), about, "conversation: is missing");
    let only_body_missing = frame(SEND, |b| {
        table(b, |b| {
            push_id(b, 0, id());
            push_conversation(b, 1, conversation());
        })
    });
    invalid(&only_body_missing, about, "body: is missing");
    for (high, low) in [(0, 0), (1, 0), (43, 42)] {
        let bytes = frame(SEND, |b| {
            let body = b.create_vector(&good);
            table(b, |b| {
                push_id(b, 0, id());
                push_words(b, 1, &[high, low]);
                b.push_slot_always(slot(2), body);
            })
        });
        invalid(&bytes, about, "conversation: is neither");
    }
    let with_body = |body: &[u8]| send_with_body(id(), conversation(), body);
    invalid(&with_body(b""), about, "body: an offset points outside");
    invalid(&with_body(b"hi"), about, "body: an offset points outside");
    invalid(&with_body(&good[..good.len() - 1]), about, "body: a string does not end in a zero byte");
    invalid(&with_body(&body_with(None, |_| {})), about, "body: is empty");
    invalid(&with_body(&body_with(Some(""), |_| {})), about, "body: the text is empty");
    let mut not_utf8 = body::text("\u{e9}");
    *not_utf8.iter_mut().find(|byte| **byte == 0xc3).unwrap() = 0xff;
    invalid(&with_body(&not_utf8), about, "body: a string is not UTF-8");
}

#[test]
fn given_bodies_around_their_bounds_when_parsed_then_only_those_within_pass() {
    let about = Regarding::Send(id());
    let send = |text: &str| send_with_body(id(), conversation(), &body::text(text));
    assert!(wire::parse_client(&send(&"\u{1f600}".repeat(limits::TEXT_CHARS_MAX))).is_ok());
    let longer = send(&"x".repeat(limits::TEXT_CHARS_MAX + 1));
    check(&longer, ErrorCode::TooLarge, about, "text is larger than 4096 characters");

    let padded = |length| {
        let mut body = body::text("hi");
        body.resize(length, 0);
        send_with_body(id(), conversation(), &body)
    };
    assert!(wire::parse_client(&padded(limits::BODY_BYTES_MAX)).is_ok());
    check(&padded(limits::BODY_BYTES_MAX + 1), ErrorCode::TooLarge, about, "body is larger than 61440 bytes");
}

#[test]
fn given_a_bad_field_in_the_other_frames_when_parsed_then_it_is_named() {
    let token = |kind, text: &str| {
        frame(kind, |b| {
            let token = b.create_string(text);
            table(b, |b| {
                b.push_slot_always(slot(0), token);
                b.push_slot_always(slot(1), 1u64);
            })
        })
    };
    let session = Regarding::Session;
    invalid(&frame(HELLO, |b| table(b, |_| {})), session, "device: is missing or zero");
    invalid(&token(HELLO, ""), session, "token: is empty");
    invalid(&token(RENEW, ""), session, "token: is empty");
    invalid(&frame(RENEW, |b| table(b, |_| {})), session, "token: is missing");
    assert!(wire::parse_client(&token(HELLO, &"x".repeat(limits::TOKEN_BYTES_MAX))).is_ok());
    check(&token(HELLO, &"x".repeat(limits::TOKEN_BYTES_MAX + 1)), ErrorCode::TooLarge, session, "token is larger");
    invalid(&frame(ACK, |b| table(b, |_| {})), session, "conversation: is missing");
    invalid(&frame(ACK, |b| table(b, |b| push_conversation(b, 0, conversation()))), session, "delivered: is missing");

    let fetch = |after: Option<u64>, before: Option<u64>, limit: Option<u32>| {
        frame(FETCH, |b| {
            table(b, |b| {
                b.push_slot_always(slot(0), 7u64);
                push_conversation(b, 1, conversation());
                after.into_iter().for_each(|after| b.push_slot_always(slot(2), after));
                before.into_iter().for_each(|before| b.push_slot_always(slot(3), before));
                limit.into_iter().for_each(|limit| b.push_slot_always(slot(4), limit));
            })
        })
    };
    let about = Regarding::Request(7);
    assert!(wire::parse_client(&fetch(Some(0), None, Some(100))).is_ok());
    assert!(wire::parse_client(&fetch(None, Some(0), Some(0))).is_ok());
    invalid(&fetch(None, None, Some(1)), about, "after: is missing");
    invalid(&fetch(Some(1), Some(2), Some(1)), about, "before: cannot stand beside after");
    invalid(&fetch(Some(1), None, None), about, "limit: is missing");
    invalid(&fetch(Some(1), None, Some(101)), about, "limit: is more than 100");
}

/// A Page whose list names one Deliver `times` times: small on the wire, as large as one likes when it is read.
fn bomb(times: usize, text_bytes: usize) -> Vec<u8> {
    frame(PAGE, |b| {
        let body = b.create_vector(&body::text(&"x".repeat(text_bytes)));
        let deliver = table(b, |b| {
            push_conversation(b, 0, conversation());
            push_words(b, 1, &[1, 1, 1]);
            b.push_slot_always(slot(2), 42u64);
            b.push_slot_always(slot(3), body);
        });
        let messages = b.create_vector(&vec![deliver; times]);
        table(b, |b| {
            push_conversation(b, 1, conversation());
            b.push_slot_always(slot(2), messages);
        })
    })
}

#[test]
fn given_a_page_that_names_one_message_many_times_when_parsed_then_it_is_refused() {
    let check = |times, text_bytes, reason: &str| {
        let error = wire::parse_server(&bomb(times, text_bytes)).expect_err(reason);
        assert_eq!(error.code(), ErrorCode::MalformedFrame);
        assert!(error.to_string().contains(reason), "{times} times {text_bytes}: {error}");
    };
    assert!(wire::parse_server(&bomb(1, 4096)).is_ok());
    check(100, 4096, "its parts overlap");
    check(10_000, 1, "too many tables");
}

#[test]
fn given_a_page_with_more_tables_than_a_page_can_have_when_parsed_then_it_is_refused() {
    let bytes = frame(PAGE, |b| {
        let empty: Vec<_> =
            (0..limits::SERVER_FRAME_TABLES_MAX).map(|_| table(b, |b| push_words(b, 1, &[1; 3]))).collect();
        let messages = b.create_vector(&empty);
        table(b, |b| b.push_slot_always(slot(2), messages))
    });
    let error = wire::parse_server(&bytes).unwrap_err();
    assert!(error.to_string().contains("too many tables"), "{error}");
}

#[test]
fn given_a_page_with_more_messages_than_the_protocol_allows_when_parsed_then_it_is_too_large() {
    let bytes = frame(PAGE, |b| {
        let messages: Vec<_> =
            (0..=limits::PAGE_MESSAGES_MAX).map(|_| table(b, |b| push_words(b, 1, &[1; 3]))).collect();
        let messages = b.create_vector(&messages);
        table(b, |b| b.push_slot_always(slot(2), messages))
    });
    assert_eq!(wire::parse_server(&bytes).unwrap_err().code(), ErrorCode::TooLarge);
}

/// Every sample's bytes, for spoiling.
fn sample_bytes() -> Vec<Vec<u8>> {
    let mut encoder = wire::Encoder::new();
    let mut all: Vec<_> = client_samples().iter().map(|(_, frame)| encoder.client(frame).to_vec()).collect();
    all.extend(server_samples().iter().map(|(_, frame)| encoder.server(frame).to_vec()));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn given_a_frame_with_some_bytes_changed_when_parsed_then_it_is_answered_and_nothing_panics(
        bytes in prop::sample::select(sample_bytes()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = bytes;
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        // A frame that still parses has been read in full, its body too.
        let _ = wire::parse_client(&bytes);
        let _ = wire::parse_server(&bytes);
    }

    #[test]
    fn given_any_bytes_when_parsed_then_they_are_answered_and_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = wire::parse_client(&bytes);
        let _ = wire::parse_server(&bytes);
        let _ = body::check(&bytes);
    }
}
