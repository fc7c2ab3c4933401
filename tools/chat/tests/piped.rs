//! The program as a script uses it: lines in through a pipe, plain lines out, an exit code at the end.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use switchyard_client::{ConversationId, DeviceId, ErrorCode, MessageId, Millis, Sequence, UserId, Watermark};
use switchyard_schema::body;
use switchyard_schema::frame::{
    Accepted, ClientFrame, Deliver, ErrorFrame, Receipt, Regarding, Send, ServerFrame, Welcome,
};
use switchyard_schema::wire::{encode_server, parse_client};
use tungstenite::handshake::server::{Request, Response};
use tungstenite::{Message, WebSocket, accept_hdr};

fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn conversation() -> ConversationId {
    ConversationId::direct(user(42), user(43))
}

/// The server's side of the one connection.
struct Peer {
    socket: WebSocket<TcpStream>,
}

impl Peer {
    #[expect(clippy::result_large_err, reason = "the callback's signature is tungstenite's")]
    fn welcome(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let choose = |request: &Request, mut response: Response| {
            let offered = request.headers()["Sec-WebSocket-Protocol"].clone();
            response.headers_mut().insert("Sec-WebSocket-Protocol", offered);
            Ok(response)
        };
        let mut peer = Self { socket: accept_hdr(stream, choose).unwrap() };
        peer.receive().expect("a hello");
        peer.send(&ServerFrame::Welcome(Welcome {
            user: user(42),
            device: DeviceId::new(1).unwrap(),
            heartbeat_ms: 30_000,
            max_frame_bytes: 65_536,
            delivery_window: 256,
            max_pending_sends: 256,
            time: Millis(1),
        }));
        peer
    }

    fn send(&mut self, frame: &ServerFrame<'_>) {
        let mut bytes = Vec::new();
        encode_server(frame, &mut bytes);
        self.socket.send(Message::binary(bytes)).unwrap();
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => return Some(bytes.to_vec()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next text that is sent.
    fn expect_send(&mut self) -> (Send<'static>, String) {
        loop {
            let bytes = self.receive().expect("a send comes");
            if let ClientFrame::Send(send) = parse_client(&bytes).unwrap() {
                let text = body::parse(&send.body).unwrap().text.unwrap().to_owned();
                return (Send { body: send.body.into_owned().into(), ..send }, text);
            }
        }
    }

    fn accept(&mut self, send: &Send<'_>, sequence: u64) {
        self.send(&ServerFrame::Accepted(Accepted {
            client_message_id: send.client_message_id,
            conversation: send.conversation,
            message: MessageId::new(100 + sequence).unwrap(),
            sequence: Sequence(sequence),
            time: Millis(1),
        }));
    }

    fn until_closed(mut self) {
        while self.receive().is_some() {}
    }
}

/// Runs the program against a server that plays `script`.
fn chat(script: impl FnOnce(Peer) + std::marker::Send + 'static, arguments: &[&str], input: &str) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server: JoinHandle<()> = spawn(move || script(Peer::welcome(&listener)));
    let mut child = Command::new(env!("CARGO_BIN_EXE_chat"))
        .args(["--to", "43", "--token", "a token", "--timeout", "20", "--url", &url])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    server.join().unwrap();
    output
}

#[test]
fn given_lines_in_a_pipe_when_all_are_accepted_and_what_is_expected_has_arrived_then_the_program_ends_well() {
    let script = |mut peer: Peer| {
        for (number, expected) in [(1, "one"), (2, "two")] {
            let (send, text) = peer.expect_send();
            assert_eq!((text.as_str(), send.conversation), (expected, conversation()));
            peer.accept(&send, number);
        }
        peer.send(&ServerFrame::Deliver(Deliver {
            conversation: conversation(),
            message: MessageId::new(103).unwrap(),
            sequence: Sequence(3),
            sender: user(43),
            time: Millis(1),
            origin: None,
            body: body::text("three").into(),
        }));
        peer.until_closed();
    };
    let output = chat(script, &["--expect", "1"], "one\n\ntwo\n");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "43: three\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn given_wait_for_read_when_the_receipt_comes_then_the_program_ends_well() {
    let script = |mut peer: Peer| {
        let (send, _) = peer.expect_send();
        peer.accept(&send, 1);
        let watermark = Watermark { member: user(43), delivered: Sequence(1), read: Sequence(1) };
        peer.send(&ServerFrame::Receipt(Receipt { conversation: conversation(), watermark }));
        peer.until_closed();
    };
    let output = chat(script, &["--wait", "read"], "hello\n");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn given_a_line_that_is_refused_for_good_when_the_rest_is_done_then_the_program_ends_with_an_error() {
    let script = |mut peer: Peer| {
        let (send, _) = peer.expect_send();
        peer.send(&ServerFrame::Error(ErrorFrame {
            code: ErrorCode::NotAMember,
            reason: "not yours".into(),
            retry_after_ms: None,
            regarding: Regarding::Send(send.client_message_id),
        }));
        peer.until_closed();
    };
    let output = chat(script, &[], "hello\n");
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("not_a_member (not yours)") && errors.contains("1 of the lines"), "{errors}");
}
