//! The opening handshake, both ends, against every shorter part of itself and against `tungstenite`.

use switchyard_gateway_core::handshake::{
    ClientHandshake, ClientRequest, Form, Handshake, HandshakeError, Origins, Rules, client_request, parse_request,
    parse_response,
};
use switchyard_gateway_core::limits::HANDSHAKE_BYTES_MAX;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response};

use crate::source::Source;

const ASKED: ClientRequest<'_> = ClientRequest {
    host: "localhost:7400",
    path: "/v1/ws",
    form: Some(Form::Json),
    token: None,
    nonce: *b"sixteen bytes is",
};

/// First byte: which end, and the rules; the rest is what the peer sends.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let choice = source.byte();
    let cut = source.byte();
    let received = source.rest();
    let before = &received[..received.len() * usize::from(cut) / 256];
    if choice & 1 == 0 {
        let origins =
            if choice & 2 == 0 { Origins::Any } else { Origins::Only(vec!["https://chat.example".to_owned()]) };
        request(received, before, &Rules { echo: choice & 4 == 0, origins: &origins });
    } else {
        response(received, before);
    }
}

fn request(received: &[u8], before: &[u8], rules: &Rules<'_>) {
    let answer = parse_request(received, rules);
    match parse_request(before, rules) {
        Handshake::NotYet => {}
        Handshake::Upgrade(early) => {
            assert_eq!(Handshake::Upgrade(early), answer, "more bytes do not change what was complete");
        }
        Handshake::Refused(_) => assert!(matches!(answer, Handshake::Refused(_)), "a refusal stands"),
    }
    match answer {
        Handshake::NotYet => assert!(received.len() < HANDSHAKE_BYTES_MAX, "nothing longer is waited for"),
        Handshake::Refused(refusal) => {
            let text = String::from_utf8(refusal.response).expect("a refusal is text");
            assert!(text.starts_with("HTTP/1.1 ") && text.contains("\r\n\r\n"), "{text}");
        }
        Handshake::Upgrade(upgrade) => {
            assert!(upgrade.consumed <= received.len().min(HANDSHAKE_BYTES_MAX));
            let said = String::from_utf8(upgrade.response()).expect("a response is text");
            assert_eq!(said.matches("\r\n\r\n").count(), 1, "nothing of the request gets out of its line");
            same_key(&received[..upgrade.consumed], &said);
        }
    }
}

/// What is accepted here has the same answer from `tungstenite`, where that takes it too.
fn same_key(request: &[u8], said: &str) {
    let Ok(Some((_, parsed))) = Request::try_parse(request) else { return };
    if let Ok(response) = create_response(&parsed) {
        let key = response.headers()["Sec-WebSocket-Accept"].to_str().expect("base64");
        assert!(said.contains(&format!("Sec-WebSocket-Accept: {key}\r\n")), "{said} has not {key}");
    }
}

fn response(received: &[u8], before: &[u8]) {
    let answer = parse_response(received, &ASKED);
    match parse_response(before, &ASKED) {
        Ok(ClientHandshake::NotYet) => {}
        Ok(open) => assert_eq!(Ok(open), answer, "more bytes do not change what was complete"),
        Err(HandshakeError::Refused { status, .. }) => {
            assert!(matches!(answer, Err(HandshakeError::Refused { status: now, .. }) if now == status));
        }
        Err(invalid) => assert_eq!(Err(invalid), answer),
    }
    if let Ok(ClientHandshake::Open { consumed }) = answer {
        assert!(consumed <= received.len());
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let with = |front: [u8; 2], text: &[u8]| [&front[..], text].concat();
    let asked = client_request(&ASKED);
    let bearer = client_request(&ClientRequest { token: Some("a.b.c"), form: Some(Form::Binary), ..ASKED });
    let echo = client_request(&ClientRequest { path: "/echo?x=1", form: None, ..ASKED });
    let browser = String::from_utf8(asked.clone()).expect("text");
    let browser = browser.replace("\r\n\r\n", "\r\nOrigin: https://chat.example\r\nCookie: a=b\r\n\r\n");
    let Handshake::Upgrade(upgrade) = parse_request(&asked, &Rules { echo: false, origins: &Origins::Any }) else {
        unreachable!("our own request is taken")
    };
    vec![
        with([0, 200], &asked),
        with([0, 128], &bearer),
        with([0, 255], &echo),
        with([2, 255], browser.as_bytes()),
        with([0, 9], b"POST /v1/ws HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
        with([0, 0], b"\x16\x03\x01\x02\x00\x01"),
        with([1, 200], &upgrade.response()),
        with([1, 200], b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 8\r\n\r\nno token"),
    ]
}
