//! The WebSocket decoder (RFC 6455), against itself in other pieces and against `tungstenite`.

use std::io::{Cursor, ErrorKind, Read, Write};

use switchyard_gateway_core::ws::{Decoder, Event, Opcode, Role, WsError, encode};
use tungstenite::error::ProtocolError;
use tungstenite::protocol::{Role as TungsteniteRole, WebSocketConfig};
use tungstenite::{Error, Message, WebSocket};

use crate::source::Source;

/// How reading came to an end.
#[derive(Clone, PartialEq, Eq, Debug)]
enum End {
    /// The bytes ran out.
    Starved,
    /// The peer closed, in order.
    Closed,
    /// The peer broke a rule.
    Broken(Option<WsError>),
}

/// A complete message or control frame.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

/// First byte: role and size limit; second: the size of the pieces; the rest is what the peer sends.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let choice = source.byte();
    let role = if choice & 1 == 0 { Role::Server } else { Role::Client };
    // A control frame, of which 125 bytes are allowed, is not counted against the limit here, but by tungstenite it is.
    let limit = [125, 1024, 70_000, 1 << 20][usize::from(choice >> 1) % 4];
    let piece_bytes = usize::from(source.byte()) + 1;
    let sent = source.rest();

    let whole = ours(role, limit, sent, sent.len().max(1));
    assert_eq!(ours(role, limit, sent, 1), whole, "byte by byte gives the same");
    assert_eq!(ours(role, limit, sent, piece_bytes), whole, "in pieces of {piece_bytes} gives the same");

    let (events, end) = whole;
    let (theirs, their_end) = tungstenites(role, limit, sent);
    let common = events.len().min(theirs.len());
    assert_eq!(events[..common], theirs[..common], "tungstenite sees the same");
    match (&end, &their_end) {
        (End::Starved, End::Starved) | (End::Closed, End::Closed) => assert_eq!(events, theirs),
        // It answers a close code that must not be sent in a frame of its own, and takes lengths that are not shortest,
        // also that of a control frame, which then looks longer than it may be.
        (End::Broken(Some(WsError::BadLength | WsError::LongControl | WsError::BadClose)), _) => {}
        // What is wrong is reported with the first bytes that show it; tungstenite waits for the frame.
        (End::Broken(_), End::Starved) => assert!(theirs.len() <= events.len()),
        (End::Broken(_), End::Broken(_)) => {}
        (ours, theirs) => panic!("ended with {ours:?}, tungstenite with {theirs:?}"),
    }
}

fn ours(role: Role, limit: usize, sent: &[u8], piece_bytes: usize) -> (Vec<Seen>, End) {
    let mut decoder = Decoder::new(role, limit);
    let mut events = Vec::new();
    for piece in sent.chunks(piece_bytes) {
        let mut piece = piece.to_vec();
        let mut rest = &mut piece[..];
        loop {
            let step = match decoder.decode(rest) {
                Ok(step) => step,
                Err(error) => {
                    assert_eq!(decoder.heap_bytes(), 0, "a broken connection keeps nothing");
                    return (events, End::Broken(Some(error)));
                }
            };
            let consumed = step.consumed;
            match step.event {
                None => break,
                Some(Event::Close { code, .. }) => {
                    assert_ne!(code, Some(1005), "a code that stands for none is never on the wire");
                    return (events, End::Closed);
                }
                Some(Event::Text(text)) => events.push(Seen::Text(text.into_owned())),
                Some(Event::Binary(bytes)) => events.push(Seen::Binary(bytes.into_owned())),
                Some(Event::Ping(bytes)) => events.push(Seen::Ping(bytes.into_owned())),
                Some(Event::Pong(bytes)) => events.push(Seen::Pong(bytes.into_owned())),
            }
            rest = &mut std::mem::take(&mut rest)[consumed..];
        }
        assert!(decoder.heap_bytes() <= 2 * limit + 1024, "what is half received is bounded");
    }
    (events, End::Starved)
}

fn tungstenites(role: Role, limit: usize, sent: &[u8]) -> (Vec<Seen>, End) {
    let role = match role {
        Role::Server => TungsteniteRole::Server,
        Role::Client => TungsteniteRole::Client,
    };
    let config = WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
    let mut socket = WebSocket::from_raw_socket(Pipe(Cursor::new(sent)), role, Some(config));
    let mut events = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => events.push(Seen::Text(text.to_string())),
            Ok(Message::Binary(bytes)) => events.push(Seen::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => events.push(Seen::Ping(bytes.to_vec())),
            Ok(Message::Pong(bytes)) => events.push(Seen::Pong(bytes.to_vec())),
            Ok(Message::Close(_)) => return (events, End::Closed),
            Ok(Message::Frame(_)) => unreachable!("only written, never read"),
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return (events, End::Starved),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return (events, End::Starved),
            Err(_) => return (events, End::Broken(None)),
        }
    }
}

/// Gives what was sent, then nothing more for now; takes every answer.
struct Pipe<'a>(Cursor<&'a [u8]>);

impl Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mask = [1, 2, 3, 4];
    let masked = |frames: &[(Opcode, &[u8])]| {
        let mut bytes = vec![2, 3];
        frames.iter().for_each(|(opcode, payload)| encode::put_masked(&mut bytes, *opcode, payload, mask));
        bytes
    };
    let mut fragments =
        masked(&[(Opcode::Text, b"gr\xc3"), (Opcode::Ping, b"in between"), (Opcode::Continuation, b"\xbc")]);
    fragments[2] &= 0x7f;
    let mut unmasked = vec![3, 7];
    encode::put_frame(&mut unmasked, Opcode::Binary, &[7; 200]);
    encode::put_frame(&mut unmasked, Opcode::Close, &encode::close_payload(1000, "bye"));
    vec![
        masked(&[(Opcode::Text, b"hello"), (Opcode::Pong, b""), (Opcode::Binary, &[9; 130])]),
        masked(&[(Opcode::Close, &encode::close_payload(1001, "away")), (Opcode::Text, b"too late")]),
        masked(&[(Opcode::Binary, &[0; 70_000])]),
        fragments,
        unmasked,
    ]
}
