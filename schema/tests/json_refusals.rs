//! What the JSON form takes and refuses, with which code and about what.

mod common;

use common::{client_samples, conversation, id, me, server_samples};
use proptest::prelude::*;
use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{ClientFrame, Fetch, FetchRange, Regarding};
use switchyard_schema::ids::Sequence;
use switchyard_schema::{json, limits};

const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

fn check(text: &str, code: ErrorCode, regarding: Regarding, reason: &str) {
    let error = json::parse_client(text, Some(me())).expect_err(text);
    assert_eq!((error.code(), error.regarding()), (code, regarding), "{text}: {error}");
    assert!(error.to_string().contains(reason), "{text}: says {error}, not {reason}");
    assert!(error.to_string().chars().count() <= limits::REASON_CHARS_MAX);
}

fn invalid(text: &str, regarding: Regarding, reason: &str) {
    check(text, ErrorCode::InvalidField, regarding, reason);
}

#[test]
fn given_text_that_is_no_frame_when_parsed_then_it_is_malformed() {
    let malformed = |text: &str, reason| check(text, ErrorCode::MalformedFrame, Regarding::Session, reason);
    malformed("", "not a JSON object");
    malformed("null", "not a JSON object");
    malformed(r#"["hello","t","1"]"#, "not a JSON object");
    malformed("{", "ends too early");
    malformed(r#"{"type":"ping""#, "ends too early");
    malformed(r#"{"type":"ping"} {"#, "not JSON");
    malformed(r#"{'type':'ping'}"#, "not JSON");
    malformed(r#"{"type":"ping","nonce":"\ud800"}"#, "not JSON");
    malformed(r#"{"type":"ping","type":"bye"}"#, "each field once");
    malformed(r#"{"nonce":"1"}"#, "type is missing");
    malformed(r#"{"type":null}"#, "type is missing");
    malformed(r#"{"type":1}"#, "type is missing");
    let nested = |depth| format!(r#"{{"type":"bye","new":{}"]\"[["{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert_eq!(json::parse_client(&nested(limits::JSON_DEPTH_MAX - 1), None), Ok(ClientFrame::Bye));
    malformed(&nested(limits::JSON_DEPTH_MAX), "nested too deeply");
    malformed(&nested(30_000), "nested too deeply");
}

#[test]
fn given_an_oversized_frame_when_parsed_then_it_is_too_large() {
    let padded = |length: usize| format!(r#"{{"type":"bye"}}{}"#, " ".repeat(length - 14));
    assert_eq!(json::parse_client(&padded(limits::CLIENT_FRAME_BYTES_MAX), None), Ok(ClientFrame::Bye));
    check(&padded(limits::CLIENT_FRAME_BYTES_MAX + 1), ErrorCode::TooLarge, Regarding::Session, "65536 bytes");
}

#[test]
fn given_a_64_bit_number_when_written_other_than_as_canonical_digits_then_it_is_refused() {
    let ping = |nonce: &str| format!(r#"{{"type":"ping","nonce":{nonce}}}"#);
    let good = |nonce: &str, expect| {
        assert_eq!(json::parse_client(&ping(nonce), None), Ok(ClientFrame::Ping { nonce: expect }), "{nonce}");
    };
    good(r#""0""#, 0);
    good(r#""18446744073709551615""#, u64::MAX);
    good("null", 0);
    for number in ["1", "1.0", "-1", "true", "[]", "{}", "18446744073709551615"] {
        invalid(&ping(number), Regarding::Session, "nonce: must be a string of decimal digits");
    }
    for text in ["", " 1", "1 ", "+1", "-1", "01", "00", "1e3", "0x1", "18446744073709551616", "\u{661}"] {
        invalid(&ping(&format!("{text:?}")), Regarding::Session, "nonce: must be decimal digits");
    }
}

#[test]
fn given_a_send_with_a_bad_field_when_parsed_then_the_refusal_names_the_send() {
    let about = Regarding::Send(id());
    let conversation = r#"{"direct":"43"}"#;
    let send = |id: &str, conversation: &str, body: &str| {
        format!(r#"{{"type":"send","client_message_id":{id},"conversation":{conversation},"body":{body}}}"#)
    };
    let quoted = format!("{ID:?}");
    let with_id = |id: &str| send(id, conversation, r#"{"text":"hi"}"#);
    let with_conversation = |conversation: &str| send(&quoted, conversation, r#"{"text":"hi"}"#);
    let with_body = |body: &str| send(&quoted, conversation, body);
    assert!(json::parse_client(&with_id(&quoted), Some(me())).is_ok());

    invalid(&with_id("null"), Regarding::Session, "client_message_id: is missing");
    invalid(&with_id("7"), Regarding::Session, "client_message_id: must be a string");
    invalid(&with_id(r#""7""#), Regarding::Session, "client_message_id: must be a UUID");

    invalid(&with_conversation("null"), about, "conversation: is missing");
    invalid(&with_conversation(r#""43""#), about, "conversation: must be an object");
    invalid(&with_conversation("[]"), about, "conversation: must be an object");
    invalid(&with_conversation("{}"), about, "conversation: must have either");
    invalid(&with_conversation(r#"{"direct":null}"#), about, "conversation: must have either");
    invalid(&with_conversation(r#"{"direct":"43","group":"7"}"#), about, "conversation: must have either");
    invalid(&with_conversation(r#"{"direct":43}"#), about, "conversation: must be a string");
    invalid(&with_conversation(r#"{"direct":"0"}"#), about, "conversation: user 0");
    invalid(&with_conversation(r#"{"group":"0"}"#), about, "conversation: group 0");

    invalid(&with_body("null"), about, "body: is missing");
    invalid(&with_body(r#""hi""#), about, "body: must be an object");
    invalid(&with_body("{}"), about, "body: is empty");
    invalid(&with_body(r#"{"image":"x"}"#), about, "body: is empty");
    invalid(&with_body(r#"{"text":7}"#), about, "body: must be a string");
    invalid(&with_body(r#"{"text":""}"#), about, "body: the text is empty");
    assert!(json::parse_client(&with_body(&format!(r#"{{"text":"{}"}}"#, "\u{e9}".repeat(4096))), Some(me())).is_ok());
    let longer = with_body(&format!(r#"{{"text":"{}"}}"#, "\u{e9}".repeat(4097)));
    check(&longer, ErrorCode::TooLarge, about, "text is larger than 4096 characters");
}

#[test]
fn given_a_bad_field_in_the_other_frames_when_parsed_then_it_is_named() {
    let session = Regarding::Session;
    invalid(r#"{"type":"hello","token":"t"}"#, session, "device: is missing");
    invalid(r#"{"type":"hello","token":"t","device":"0"}"#, session, "device: is zero");
    invalid(r#"{"type":"hello","token":"","device":"1"}"#, session, "token: is empty");
    invalid(r#"{"type":"hello","token":1,"device":"1"}"#, session, "token: must be a string");
    invalid(r#"{"type":"renew"}"#, session, "token: is missing");
    let long = format!(r#"{{"type":"renew","token":"{}"}}"#, "x".repeat(limits::TOKEN_BYTES_MAX + 1));
    check(&long, ErrorCode::TooLarge, session, "token is larger");
    invalid(r#"{"type":"ack","conversation":{"direct":"43"}}"#, session, "delivered: is missing");
    invalid(r#"{"type":"ack","delivered":"5"}"#, session, "conversation: is missing");
    invalid(r#"{"type":"ack","conversation":{"direct":"43"},"delivered":5}"#, session, "delivered: must be a string");

    let about = Regarding::Request(7);
    let fetch = |rest: &str| format!(r#"{{"type":"fetch","request":"7","conversation":{{"direct":"43"}},{rest}}}"#);
    let expect = Fetch { request: 7, conversation: conversation(), range: FetchRange::Before(Sequence(9)), limit: 100 };
    let good = fetch(r#""after":null,"before":"9","limit":100"#);
    assert_eq!(json::parse_client(&good, Some(me())), Ok(ClientFrame::Fetch(expect)));
    invalid(&fetch(r#""limit":1"#), about, "after: is missing");
    invalid(&fetch(r#""after":"0","before":"9","limit":1"#), about, "before: cannot stand beside after");
    invalid(&fetch(r#""after":"0""#), about, "limit: is missing");
    invalid(&fetch(r#""after":"0","limit":"1""#), about, "limit: must be a whole number");
    invalid(&fetch(r#""after":"0","limit":-1"#), about, "limit: must be a whole number");
    invalid(&fetch(r#""after":"0","limit":1.5"#), about, "limit: must be a whole number");
    invalid(&fetch(r#""after":"0","limit":101"#), about, "limit: is more than 100");
    invalid(&fetch(r#""after":"0","limit":4294967296"#), about, "limit: is too large");
    invalid(r#"{"type":"fetch","conversation":{"direct":"43"},"after":"0","limit":1}"#, session, "request: is missing");
}

#[test]
fn given_a_frame_that_needs_the_session_s_user_when_nobody_said_hello_then_it_is_unexpected() {
    let check = |text: &str, regarding| {
        let error = json::parse_client(text, None).unwrap_err();
        assert_eq!((error.code(), error.regarding()), (ErrorCode::UnexpectedFrame, regarding), "{text}");
    };
    let conversation = r#""conversation":{"direct":"43"}"#;
    let send = format!(r#"{{"type":"send","client_message_id":"{ID}",{conversation},"body":{{"text":"hi"}}}}"#);
    check(&send, Regarding::Send(id()));
    check(&format!(r#"{{"type":"ack",{conversation},"read":"1"}}"#), Regarding::Session);
    check(&format!(r#"{{"type":"fetch","request":"7",{conversation},"after":"0","limit":1}}"#), Regarding::Request(7));
}

fn sample_texts() -> Vec<String> {
    let mut all = Vec::new();
    for (_, frame) in client_samples() {
        all.push(Vec::new());
        json::encode_client(&frame, me(), all.last_mut().unwrap());
    }
    for (_, frame) in server_samples() {
        all.push(Vec::new());
        json::encode_server(&frame, me(), all.last_mut().unwrap());
    }
    all.into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn given_a_frame_with_some_characters_changed_when_parsed_then_it_is_answered_and_nothing_panics(
        text in prop::sample::select(sample_texts()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}\",:0-9a-z\\\\]"), 1..5),
    ) {
        let mut characters: Vec<String> = text.chars().map(String::from).collect();
        for (at, value) in changes {
            let at = at.index(characters.len());
            characters[at] = value;
        }
        let text = characters.concat();
        let _ = json::parse_client(&text, Some(me()));
        let _ = json::parse_server(&text, me());
    }
}
