//! Every rule of RFC 6455 §5, §7.4 and §8 that a peer can keep or break, as a table: frames in, events or the error out.

use switchyard_gateway_core::ws::{Decoder, Event, Opcode, Role, WsError, encode};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MESSAGE_BYTES_MAX: usize = 1000;

/// An event that owns its bytes, so that a table can hold it.
type Owned = Event<'static>;

fn owned(event: Event<'_>) -> Owned {
    match event {
        Event::Text(text) => Event::Text(text.into_owned().into()),
        Event::Binary(bytes) => Event::Binary(bytes.into_owned().into()),
        Event::Ping(bytes) => Event::Ping(bytes.into_owned().into()),
        Event::Pong(bytes) => Event::Pong(bytes.into_owned().into()),
        Event::Close { code, reason } => Event::Close { code, reason: reason.into_owned().into() },
    }
}

/// Everything that comes out of `input`, which arrives in chunks of `chunk_bytes`.
fn decode(role: Role, input: &[u8], chunk_bytes: usize) -> (Vec<Owned>, Option<WsError>) {
    let mut decoder = Decoder::new(role, MESSAGE_BYTES_MAX);
    let mut events = Vec::new();
    for chunk in input.chunks(chunk_bytes) {
        let mut buffer = chunk.to_vec();
        let mut rest = &mut buffer[..];
        loop {
            match decoder.decode(rest) {
                Ok(step) => {
                    let consumed = step.consumed;
                    let Some(event) = step.event else { break };
                    events.push(owned(event));
                    rest = &mut std::mem::take(&mut rest)[consumed..];
                }
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

/// A frame from a client, byte by byte as given, with a payload that is masked.
fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode::put_masked(&mut frame, Opcode::Binary, payload, KEY);
    frame[0] = first;
    frame
}

fn check_from_client(name: &str, frames: &[Vec<u8>], events: &[Owned], error: Option<WsError>) {
    let input = frames.concat();
    for chunk_bytes in [1, 2, 3, 5, 7, 64, input.len().max(1)] {
        let (seen, failed) = decode(Role::Server, &input, chunk_bytes);
        assert_eq!(seen, events, "{name}, in chunks of {chunk_bytes}");
        assert_eq!(failed, error, "{name}, in chunks of {chunk_bytes}");
    }
}

fn text(text: &'static str) -> Owned {
    Event::Text(text.into())
}

fn binary(bytes: &[u8]) -> Owned {
    Event::Binary(bytes.to_vec().into())
}

fn ping(bytes: &[u8]) -> Owned {
    Event::Ping(bytes.to_vec().into())
}

fn pong(bytes: &[u8]) -> Owned {
    Event::Pong(bytes.to_vec().into())
}

const FIN_TEXT: u8 = 0x81;
const FIN_BINARY: u8 = 0x82;
const FIN_CONTINUATION: u8 = 0x80;
const TEXT: u8 = 0x01;
const BINARY: u8 = 0x02;
const CONTINUATION: u8 = 0x00;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

#[test]
fn given_the_examples_of_the_rfc_when_decoded_then_they_are_what_it_says() {
    // RFC 6455 §5.7.
    let hello_masked = vec![0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    check_from_client("masked hello", &[hello_masked], &[text("Hello")], None);
    let ping_masked = vec![0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    check_from_client("masked pong", &[ping_masked], &[pong(b"Hello")], None);

    let server = [
        (&b"\x81\x05Hello"[..], text("Hello")),
        (b"\x01\x03Hel\x80\x02lo", text("Hello")),
        (b"\x89\x05Hello", ping(b"Hello")),
    ];
    for (bytes, event) in server {
        assert_eq!(decode(Role::Client, bytes, bytes.len()), (vec![event], None));
    }
}

#[test]
fn given_whole_messages_when_decoded_then_every_length_form_is_read() {
    for payload_bytes in [0, 1, 124, 125, 126, 127, 128, 255, 256, 999, 1000] {
        let payload: Vec<u8> = (0..payload_bytes).map(|index| u8::try_from(index % 251).unwrap()).collect();
        let frame = client_frame(FIN_BINARY, &payload);
        check_from_client(&format!("{payload_bytes} bytes"), &[frame], &[binary(&payload)], None);
    }
    let long = vec![7; 70_000];
    let mut frame = client_frame(FIN_BINARY, &long);
    let mut decoder = Decoder::new(Role::Server, 70_000);
    assert_eq!(decoder.decode(&mut frame).unwrap().event, Some(Event::Binary(long.into())));
}

#[test]
fn given_fragments_when_control_frames_stand_between_them_then_both_arrive() {
    check_from_client(
        "two parts",
        &[client_frame(BINARY, b"ab"), client_frame(FIN_CONTINUATION, b"cd")],
        &[binary(b"abcd")],
        None,
    );
    check_from_client(
        "empty parts",
        &[client_frame(TEXT, b""), client_frame(CONTINUATION, b""), client_frame(FIN_CONTINUATION, b"")],
        &[text("")],
        None,
    );
    check_from_client(
        "control frames between",
        &[
            client_frame(TEXT, b"frag"),
            client_frame(PING, b"are you there"),
            client_frame(CONTINUATION, b"men"),
            client_frame(PONG, b""),
            client_frame(FIN_CONTINUATION, b"ted"),
            client_frame(FIN_TEXT, b"next"),
        ],
        &[ping(b"are you there"), pong(b""), text("fragmented"), text("next")],
        None,
    );
    check_from_client(
        "a close between",
        &[client_frame(TEXT, b"never"), client_frame(CLOSE, b"\x03\xe9going"), client_frame(FIN_CONTINUATION, b"x")],
        &[Event::Close { code: Some(1001), reason: "going".into() }],
        None,
    );
}

#[test]
fn given_broken_sequences_of_frames_when_decoded_then_the_rule_is_named() {
    let check = |name, frames: &[Vec<u8>], events: &[Owned], error| {
        check_from_client(name, frames, events, Some(error));
    };
    check("continuation first", &[client_frame(FIN_CONTINUATION, b"x")], &[], WsError::UnexpectedContinuation);
    check(
        "continuation after the end",
        &[client_frame(FIN_TEXT, b"x"), client_frame(CONTINUATION, b"y")],
        &[text("x")],
        WsError::UnexpectedContinuation,
    );
    check(
        "a message inside a message",
        &[client_frame(TEXT, b"x"), client_frame(FIN_TEXT, b"y")],
        &[],
        WsError::UnfinishedMessage,
    );
    check(
        "binary inside text",
        &[client_frame(TEXT, b"x"), client_frame(BINARY, b"y")],
        &[],
        WsError::UnfinishedMessage,
    );
}

#[test]
fn given_a_bad_header_when_decoded_then_it_is_refused_before_its_payload() {
    for bit in [0x40, 0x20, 0x10, 0x70] {
        check_from_client("reserved bit", &[client_frame(FIN_TEXT | bit, b"x")], &[], Some(WsError::ReservedBit));
        check_from_client("reserved bit", &[client_frame(PING | bit, b"x")], &[], Some(WsError::ReservedBit));
    }
    for opcode in [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF] {
        check_from_client("opcode", &[client_frame(0x80 | opcode, b"x")], &[], Some(WsError::UnknownOpcode));
    }
    for opcode in [CLOSE, PING, PONG] {
        check_from_client(
            "fragmented control",
            &[client_frame(opcode & 0x7F, b"")],
            &[],
            Some(WsError::FragmentedControl),
        );
        check_from_client("long control", &[client_frame(opcode, &[b'x'; 126])], &[], Some(WsError::LongControl));
        check_from_client("long control", &[vec![opcode, 0x80 | 127]], &[], Some(WsError::LongControl));
    }
    let lengths: [&[u8]; 5] = [
        &[FIN_BINARY, 0xFE, 0, 125, 1, 2, 3, 4],
        &[FIN_BINARY, 0xFE, 0, 0, 1, 2, 3, 4],
        &[FIN_BINARY, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF],
        &[FIN_BINARY, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0],
        &[FIN_BINARY, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0],
    ];
    for header in lengths {
        check_from_client("length", &[header.to_vec()], &[], Some(WsError::BadLength));
    }
}

#[test]
fn given_the_wrong_masking_when_decoded_then_each_end_refuses_it() {
    assert_eq!(decode(Role::Server, b"\x81\x05Hello", 64), (vec![], Some(WsError::NotMasked)));
    assert_eq!(decode(Role::Client, &client_frame(FIN_TEXT, b"Hello"), 64), (vec![], Some(WsError::Masked)));
}

#[test]
fn given_control_frames_when_decoded_then_payloads_up_to_125_bytes_pass() {
    for payload_bytes in [0, 1, 124, 125] {
        let payload = vec![b'p'; payload_bytes];
        check_from_client("ping", &[client_frame(PING, &payload)], &[ping(&payload)], None);
        check_from_client("pong", &[client_frame(PONG, &payload)], &[pong(&payload)], None);
    }
}

#[test]
fn given_a_close_when_decoded_then_its_payload_is_checked_and_the_rest_ignored() {
    let close = |code, reason: &'static str| Event::Close { code, reason: reason.into() };
    check_from_client("empty", &[client_frame(CLOSE, b"")], &[close(None, "")], None);
    check_from_client("code", &[client_frame(CLOSE, b"\x03\xe8")], &[close(Some(1000), "")], None);
    check_from_client("reason", &[client_frame(CLOSE, b"\x03\xe8bye")], &[close(Some(1000), "bye")], None);
    check_from_client("private code", &[client_frame(CLOSE, b"\x0f\xa0")], &[close(Some(4000), "")], None);
    check_from_client("one byte", &[client_frame(CLOSE, b"\x03")], &[], Some(WsError::BadClose));
    check_from_client("reserved code", &[client_frame(CLOSE, b"\x03\xed")], &[], Some(WsError::BadClose));
    check_from_client("reason not UTF-8", &[client_frame(CLOSE, b"\x03\xe8\xff")], &[], Some(WsError::BadUtf8));
    check_from_client(
        "frames behind it",
        &[client_frame(CLOSE, b""), client_frame(FIN_TEXT, b"late"), vec![0xFF; 20]],
        &[close(None, "")],
        None,
    );
}

#[test]
fn given_text_when_it_is_utf8_then_characters_may_be_split_anywhere() {
    let message = "κόσμε – 𐍈 – \u{10FFFF}";
    check_from_client("whole", &[client_frame(FIN_TEXT, message.as_bytes())], &[text(message)], None);
    for split in 0..=message.len() {
        let (head, tail) = message.as_bytes().split_at(split);
        let frames = [client_frame(TEXT, head), client_frame(PING, b""), client_frame(FIN_CONTINUATION, tail)];
        check_from_client(&format!("split at {split}"), &frames, &[ping(b""), text(message)], None);
    }
}

#[test]
fn given_text_when_it_is_not_utf8_then_it_is_refused() {
    let bad: [&[u8]; 12] = [
        b"\xff",
        b"a\x80",
        b"\xc0\xaf",             // overlong
        b"\xe0\x80\xaf",         // overlong
        b"\xf0\x80\x80\xaf",     // overlong
        b"\xed\xa0\x80",         // a surrogate
        b"\xed\xbf\xbf",         // a surrogate
        b"\xf4\x90\x80\x80",     // beyond U+10FFFF
        b"\xf8\x88\x80\x80\x80", // five bytes
        b"\xce\xba\xe1\xbd",     // ends inside a character
        b"\xf0\x90\x8d",         // ends inside a character
        b"\xce",                 // ends inside a character
    ];
    for payload in bad {
        check_from_client(&format!("{payload:02x?}"), &[client_frame(FIN_TEXT, payload)], &[], Some(WsError::BadUtf8));
        for split in 0..=payload.len() {
            let (head, tail) = payload.split_at(split);
            let frames = [client_frame(TEXT, head), client_frame(FIN_CONTINUATION, tail)];
            check_from_client(&format!("{payload:02x?} at {split}"), &frames, &[], Some(WsError::BadUtf8));
        }
        check_from_client("as binary", &[client_frame(FIN_BINARY, payload)], &[binary(payload)], None);
    }
}

#[test]
fn given_text_that_can_no_longer_become_utf8_when_its_message_goes_on_then_it_is_refused_at_once() {
    // U+10FFFF ends with f4 8f bf bf; with 90 as its second byte no third can mend it.
    let mut frame = client_frame(TEXT, b"ok \xf4\x90");
    let mut decoder = Decoder::new(Role::Server, MESSAGE_BYTES_MAX);
    assert_eq!(decoder.decode(&mut frame), Err(WsError::BadUtf8));

    // Inside a frame that has not arrived whole.
    let mut part = client_frame(FIN_TEXT, b"ok \xf4\x90 and much more");
    part.truncate(6 + 5);
    let mut decoder = Decoder::new(Role::Server, MESSAGE_BYTES_MAX);
    assert_eq!(decoder.decode(&mut part), Err(WsError::BadUtf8));
}

#[test]
fn given_a_message_over_the_limit_when_its_header_arrives_then_it_is_refused_before_its_payload() {
    let mut header = client_frame(FIN_BINARY, &[0; MESSAGE_BYTES_MAX + 1]);
    header.truncate(8);
    check_from_client("one frame", &[header], &[], Some(WsError::TooBig));
    let mut second = client_frame(FIN_CONTINUATION, &[0; 301]);
    second.truncate(8);
    check_from_client("two fragments", &[client_frame(BINARY, &[0; 700]), second], &[], Some(WsError::TooBig));
    let huge = vec![FIN_BINARY, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
    check_from_client("63 bits", &[huge], &[], Some(WsError::TooBig));
    let exact =
        [client_frame(BINARY, &[0; 700]), client_frame(PING, &[1; 125]), client_frame(FIN_CONTINUATION, &[0; 300])];
    check_from_client("exactly", &exact, &[ping(&[1; 125]), binary(&[0; 1000])], None);
}

#[test]
fn given_an_error_when_more_arrives_then_it_is_ignored() {
    let mut decoder = Decoder::new(Role::Server, MESSAGE_BYTES_MAX);
    assert_eq!(decoder.decode(&mut [0xF1, 0x80]), Err(WsError::ReservedBit));
    let mut later = client_frame(FIN_TEXT, b"later");
    let step = decoder.decode(&mut later).unwrap();
    assert_eq!((step.consumed, step.event), (11, None));
}

#[test]
fn given_every_error_when_closed_then_the_code_is_that_of_the_rfc() {
    for (error, code) in [
        (WsError::ReservedBit, 1002),
        (WsError::UnknownOpcode, 1002),
        (WsError::NotMasked, 1002),
        (WsError::Masked, 1002),
        (WsError::BadLength, 1002),
        (WsError::FragmentedControl, 1002),
        (WsError::LongControl, 1002),
        (WsError::UnexpectedContinuation, 1002),
        (WsError::UnfinishedMessage, 1002),
        (WsError::BadClose, 1002),
        (WsError::BadUtf8, 1007),
        (WsError::TooBig, 1009),
    ] {
        assert_eq!(error.close_code() as u16, code, "{error}");
    }
}

#[test]
fn given_whole_messages_when_decoded_then_they_are_borrowed_and_an_idle_decoder_owns_nothing() {
    let mut decoder = Decoder::new(Role::Server, MESSAGE_BYTES_MAX);
    let mut input =
        [client_frame(FIN_TEXT, b"one"), client_frame(FIN_BINARY, b"two"), client_frame(PING, b"3")].concat();
    let mut rest = &mut input[..];
    loop {
        let step = decoder.decode(rest).unwrap();
        let consumed = step.consumed;
        let Some(event) = step.event else { break };
        let is_borrowed = match &event {
            Event::Text(text) => matches!(text, std::borrow::Cow::Borrowed(_)),
            Event::Binary(bytes) | Event::Ping(bytes) => matches!(bytes, std::borrow::Cow::Borrowed(_)),
            Event::Pong(_) | Event::Close { .. } => false,
        };
        assert!(is_borrowed, "{event:?}");
        assert_eq!(decoder.heap_bytes(), 0);
        rest = &mut std::mem::take(&mut rest)[consumed..];
    }

    // What has not arrived whole is kept until it is complete.
    let mut frame = client_frame(FIN_TEXT, b"later");
    let (header, payload) = frame.split_at_mut(5);
    assert_eq!(decoder.decode(header).unwrap().event, None);
    assert!(decoder.heap_bytes() > 0 && !decoder.is_idle());
    let (first, last) = payload.split_at_mut(3);
    assert_eq!(decoder.decode(first).unwrap().event, None);
    assert!(decoder.heap_bytes() > 0 && !decoder.is_idle());
    assert_eq!(decoder.decode(last).unwrap().event, Some(text("later")));
    assert_eq!((decoder.heap_bytes(), decoder.is_idle()), (0, true));
    assert!(size_of::<Decoder>() <= 16, "{}", size_of::<Decoder>());
}

#[test]
fn given_a_long_frame_of_which_little_arrived_when_kept_then_memory_follows_what_arrived() {
    let mut decoder = Decoder::new(Role::Server, 16 << 20);
    let mut frame = client_frame(FIN_BINARY, &vec![0; 1 << 20]);
    frame.truncate(100);
    assert_eq!(decoder.decode(&mut frame).unwrap().event, None);
    assert!(decoder.heap_bytes() < 1000, "{}", decoder.heap_bytes());
}

#[test]
fn given_frames_of_the_encoder_when_written_then_the_bytes_are_those_of_the_rfc() {
    assert_eq!(encode::frame(Opcode::Text, b"Hello"), &b"\x81\x05Hello"[..]);
    assert_eq!(encode::frame(Opcode::Binary, &[0; 256])[..4], [0x82, 0x7E, 0x01, 0x00]);
    assert_eq!(encode::frame(Opcode::Binary, &[0; 65536])[..10], [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
    for payload_bytes in [0, 125, 126, 65535, 65536] {
        let frame = encode::frame(Opcode::Binary, &vec![0; payload_bytes]);
        assert_eq!(frame.len(), encode::header_bytes(payload_bytes) + payload_bytes);
    }
    let mut masked = Vec::new();
    encode::put_masked(&mut masked, Opcode::Text, b"Hello", KEY);
    assert_eq!(masked, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    assert_eq!(encode::close_reply(None), &b"\x88\x00"[..]);
    assert_eq!(encode::close_reply(Some(4000)), &b"\x88\x02\x0f\xa0"[..]);
}

#[test]
fn given_a_long_reason_when_closed_then_it_is_cut_at_a_character() {
    let payload = encode::close_payload(1002, &"ß".repeat(100));
    assert_eq!(payload.len(), 2 + 122);
    assert!(std::str::from_utf8(&payload[2..]).is_ok());
}

#[test]
#[should_panic(expected = "is_control")]
fn given_126_bytes_when_written_as_a_ping_then_it_is_our_bug() {
    let _ = encode::frame(Opcode::Ping, &[0; 126]);
}
