//! The opening handshake: what is accepted, and the answer to everything else.

use switchyard_gateway_core::handshake::{
    ClientHandshake, ClientRequest, Form, Handshake, HandshakeError, Origins, Refusal, Route, Rules, Upgrade,
    client_request, parse_request, parse_response,
};

const GOOD: &str = "GET /v1/ws HTTP/1.1\r\nHost: example.org:7700\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

fn parse(request: &str) -> Handshake {
    let origins = Origins::Only(vec!["https://chat.example".to_owned()]);
    parse_request(request.as_bytes(), &Rules { echo: false, origins: &origins })
}

fn parse_with_echo(request: &str) -> Handshake {
    parse_request(request.as_bytes(), &Rules { echo: true, origins: &Origins::Any })
}

/// The good request with more header lines.
fn with(lines: &str) -> String {
    format!("{GOOD}{lines}\r\n")
}

/// The good request with one part of it changed.
fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    format!("{}\r\n", GOOD.replacen(from, to, 1))
}

fn upgrade(request: &str) -> Upgrade {
    match parse(request) {
        Handshake::Upgrade(upgrade) => upgrade,
        other => panic!("{other:?} for {request}"),
    }
}

fn refusal(handshake: Handshake) -> Refusal {
    match handshake {
        Handshake::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn check_refused(request: &str, status: u16, says: &str) {
    let refusal = refusal(parse(request));
    let response = String::from_utf8(refusal.response).unwrap();
    assert_eq!(refusal.status, status, "{request}\n{response}");
    assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
    assert!(response.contains(says), "{says} is missing in {response}");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{response}");
    assert!(head.contains("close"), "{response}");
}

#[test]
fn given_the_request_of_the_rfc_when_parsed_then_the_response_opens_the_websocket() {
    let upgrade = upgrade(&with(""));
    assert_eq!(upgrade.route, Route::Session(Form::Json));
    assert_eq!((upgrade.subprotocol, upgrade.token.as_deref(), upgrade.origin.as_deref()), (None, None, None));
    assert_eq!(
        String::from_utf8(upgrade.response()).unwrap(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    );
}

#[test]
fn given_a_request_in_parts_when_it_is_incomplete_then_more_is_wanted_and_what_follows_is_not_consumed() {
    let request = with("Sec-WebSocket-Protocol: switchyard.v1.fb\r\n");
    for end in 0..request.len() {
        assert_eq!(parse(&request[..end]), Handshake::NotYet, "{end} bytes");
    }
    assert_eq!(upgrade(&format!("{request}already WebSocket")).consumed, request.len());
}

#[test]
fn given_subprotocols_when_offered_then_the_first_known_one_is_chosen() {
    for (lines, form) in [
        ("Sec-WebSocket-Protocol: switchyard.v1.fb\r\n", Form::Binary),
        ("Sec-WebSocket-Protocol: switchyard.v1.json\r\n", Form::Json),
        ("sec-websocket-protocol: chat, switchyard.v1.fb , switchyard.v1.json\r\n", Form::Binary),
        ("Sec-WebSocket-Protocol: switchyard.v2\r\nSec-WebSocket-Protocol: switchyard.v1.json\r\n", Form::Json),
    ] {
        let upgrade = upgrade(&with(lines));
        assert_eq!((upgrade.route, upgrade.subprotocol), (Route::Session(form), Some(form)), "{lines}");
        let response = String::from_utf8(upgrade.response()).unwrap();
        assert!(response.contains(&format!("Sec-WebSocket-Protocol: {}\r\n", form.subprotocol())), "{response}");
    }
    check_refused(&with("Sec-WebSocket-Protocol: chat, v2\r\n"), 400, "offer switchyard.v1.json or switchyard.v1.fb");
    check_refused(&with("Sec-WebSocket-Protocol:\r\n"), 400, "offer switchyard.v1.json");
}

#[test]
fn given_a_token_in_the_header_when_parsed_then_it_is_handed_on_and_never_printed() {
    let upgrade = upgrade(&with("Authorization: bearer abc.def.ghi\r\n"));
    assert_eq!(upgrade.token.as_deref(), Some("abc.def.ghi"));
    assert!(!format!("{upgrade:?}").contains("abc"));
    check_refused(&with("Authorization: Basic abc\r\n"), 400, "Authorization: Bearer");
}

#[test]
fn given_an_origin_when_it_is_not_allowed_then_the_browser_is_refused() {
    assert_eq!(upgrade(&with("Origin: https://CHAT.example\r\n")).origin.as_deref(), Some("https://CHAT.example"));
    for origin in ["https://evil.example", "http://chat.example", "https://chat.example:8443", "null", ""] {
        check_refused(&with(&format!("Origin: {origin}\r\n")), 403, "the operator can allow it");
    }
    let anywhere = with("Origin: https://evil.example\r\n");
    assert!(matches!(parse_with_echo(&anywhere), Handshake::Upgrade(_)));
}

#[test]
fn given_header_values_in_other_spellings_when_parsed_then_they_still_upgrade() {
    for request in [
        changed("Upgrade: websocket", "upgrade: WebSocket"),
        changed("Connection: Upgrade", "connection: keep-alive, upgrade"),
        changed("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
        changed("/v1/ws", "/v1/ws?client=test"),
        with("Content-Length: 0\r\n"),
        with("Cookie: a=\u{fc}\r\n"),
    ] {
        assert!(matches!(parse(&request), Handshake::Upgrade(_)), "{request}");
    }
}

#[test]
fn given_a_request_that_is_no_upgrade_when_parsed_then_the_answer_says_what_to_do() {
    check_refused("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404, "WebSocket sessions are at /v1/ws.");
    check_refused("GET /echo HTTP/1.1\r\nHost: a\r\n\r\n", 404, "/v1/ws");
    check_refused("GET /v1/ws HTTP/1.1\r\nHost: a\r\n\r\n", 426, "send Upgrade: websocket");
    check_refused("GET /v1/ws HTTP/1.0\r\nHost: a\r\n\r\n", 426, "HTTP/1.1");
    check_refused(&changed("GET", "POST"), 405, "Allow: GET\r\n");
    check_refused(&changed("GET", "HEAD"), 405, "Allow: GET\r\n");
    check_refused(&changed("Host: example.org:7700\r\n", ""), 400, "no Host");
    check_refused(&changed("Upgrade: websocket", "Upgrade: h2c"), 426, "Upgrade: websocket");
    check_refused(&changed("Connection: Upgrade", "Connection: close"), 426, "Connection: Upgrade");
    check_refused(
        &changed("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"),
        426,
        "Sec-WebSocket-Version: 13\r\n",
    );
    check_refused(&changed("Sec-WebSocket-Version: 13\r\n", ""), 426, "Sec-WebSocket-Version: 13\r\n");
    check_refused(&changed("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ=="), 400, "16 bytes in base64");
    check_refused(&changed("dGhlIHNhbXBsZSBub25jZQ==", "!"), 400, "16 bytes in base64");
    check_refused(&with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400, "more than once");
    check_refused(&with("Content-Length: 5\r\n"), 400, "must not have a body");
    check_refused(&with("Transfer-Encoding: chunked\r\n"), 400, "must not have a body");
    check_refused("hello\r\n\r\n", 400, "not an HTTP request");
    check_refused("\u{16}\u{3}\u{1}", 400, "ws:// instead of wss://");
}

#[test]
fn given_the_echo_when_it_is_enabled_then_it_upgrades_without_a_subprotocol() {
    let request = with("Sec-WebSocket-Protocol: anything\r\n").replace("/v1/ws", "/echo");
    let Handshake::Upgrade(upgrade) = parse_with_echo(&request) else { panic!("refused") };
    assert_eq!((upgrade.route, upgrade.subprotocol), (Route::Echo, None));
    let missing = refusal(parse_with_echo("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(String::from_utf8(missing.response).unwrap().contains("/v1/ws and /echo"));
}

#[test]
fn given_a_request_that_is_too_large_when_parsed_then_it_is_refused_before_its_end() {
    check_refused(&format!("{GOOD}Cookie: {}", "x".repeat(9000)), 431, "8 KiB");
    check_refused(&with(&"A: b\r\n".repeat(65)), 431, "64 headers");
    check_refused(&format!("GET /{}", "x".repeat(9000)), 431, "8 KiB");
    let cookie_bytes = 8192 - with("Cookie: \r\n").len();
    assert!(matches!(parse(&with(&format!("Cookie: {}\r\n", "x".repeat(cookie_bytes)))), Handshake::Upgrade(_)));
}

#[test]
fn given_a_gateway_that_cannot_when_it_answers_then_the_client_knows_when_to_come_back() {
    let refusal = Refusal::unavailable("The gateway is full.", 6_001);
    let response = String::from_utf8(refusal.response).unwrap();
    assert!(response.starts_with("HTTP/1.1 503 ") && response.contains("Retry-After: 7\r\n"), "{response}");
    assert!(response.contains("Retry-After-Ms: 6001\r\n"), "{response}");
    assert_eq!(Refusal::timeout().status, 408);
}

#[test]
fn given_our_client_when_it_meets_our_server_then_the_websocket_opens() {
    let nonce = *b"sixteen bytes ok";
    for (path, form) in [("/v1/ws", Some(Form::Binary)), ("/v1/ws", Some(Form::Json)), ("/echo", None)] {
        let request = ClientRequest { host: "localhost:7700", path, form, token: Some("a.b.c"), nonce };
        let sent = client_request(&request);
        let origins = Origins::Only(Vec::new());
        let Handshake::Upgrade(upgrade) = parse_request(&sent, &Rules { echo: true, origins: &origins }) else {
            panic!("refused")
        };
        assert_eq!((upgrade.consumed, upgrade.subprotocol), (sent.len(), form));
        assert_eq!(upgrade.token.as_deref(), Some("a.b.c"));
        let response = upgrade.response();
        for end in 0..response.len() {
            assert_eq!(parse_response(&response[..end], &request), Ok(ClientHandshake::NotYet));
        }
        let consumed = response.len();
        let received = [&response[..], b"frames"].concat();
        assert_eq!(parse_response(&received, &request), Ok(ClientHandshake::Open { consumed }));
    }
}

#[test]
fn given_a_response_that_does_not_fit_when_parsed_then_the_client_knows_why() {
    let nonce = *b"sixteen bytes ok";
    let request = ClientRequest { host: "a", path: "/v1/ws", form: Some(Form::Json), token: None, nonce };
    let origins = Origins::Any;
    let Handshake::Upgrade(upgrade) =
        parse_request(&client_request(&request), &Rules { echo: false, origins: &origins })
    else {
        panic!("refused")
    };
    let good = String::from_utf8(upgrade.response()).unwrap();
    let accept = good.split("Accept: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
    for (from, to) in [
        ("Upgrade: websocket", "Upgrade: h2c"),
        ("Connection: Upgrade", "Connection: close"),
        (accept.as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("switchyard.v1.json", "switchyard.v1.fb"),
        ("Sec-WebSocket-Protocol: switchyard.v1.json\r\n", ""),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        ("HTTP/1.1", "SSH-2.0"),
    ] {
        assert!(good.contains(from));
        let answer = parse_response(good.replacen(from, to, 1).as_bytes(), &request);
        assert!(matches!(answer, Err(HandshakeError::Invalid(_))), "{from} → {to}: {answer:?}");
    }
    let refused = parse_response(&Refusal::unavailable("The gateway is full.", 6_001).response, &request);
    let body = "The gateway is full.".to_owned();
    let expect = HandshakeError::Refused { status: 503, body, retry_after_s: Some(7), comeback_ms: Some(6_001) };
    assert_eq!(refused, Err(expect));
}
