//! Random messages, fragments and split points against the definition, and against `tungstenite` as a reference.

use std::io::{Cursor, Read, Write};

use proptest::prelude::*;
use switchyard_gateway_core::ws::{Decoder, Event, Opcode, Role, encode};
use tungstenite::protocol::{Role as TungsteniteRole, WebSocketConfig};
use tungstenite::{Message, WebSocket};

/// A message or a control frame as a peer may send it.
#[derive(Clone, Debug)]
enum Sent {
    Text(String, Vec<usize>),
    Binary(Vec<u8>, Vec<usize>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

/// What arrives of it.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Arrived {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn sent() -> impl Strategy<Value = Sent> {
    let cuts = || prop::collection::vec(0..400_usize, 0..4);
    prop_oneof![
        (".{0,120}", cuts()).prop_map(|(text, cuts)| Sent::Text(text, cuts)),
        (prop::collection::vec(any::<u8>(), 0..400), cuts()).prop_map(|(bytes, cuts)| Sent::Binary(bytes, cuts)),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(Sent::Ping),
        prop::collection::vec(any::<u8>(), 0..=125).prop_map(Sent::Pong),
    ]
}

fn arrived(sent: &Sent) -> Arrived {
    match sent.clone() {
        Sent::Text(text, _) => Arrived::Text(text),
        Sent::Binary(bytes, _) => Arrived::Binary(bytes),
        Sent::Ping(bytes) => Arrived::Ping(bytes),
        Sent::Pong(bytes) => Arrived::Pong(bytes),
    }
}

/// The frames of a message cut at `cuts`, with a ping between every two of them.
fn put_fragments(
    out: &mut Vec<u8>,
    pings: &mut Vec<Arrived>,
    opcode: Opcode,
    payload: &[u8],
    cuts: &[usize],
    key: u32,
) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (payload.len() + 1)).collect();
    cuts.sort_unstable();
    cuts.push(payload.len());
    let mut start = 0;
    for (index, &end) in cuts.iter().enumerate() {
        let frame_at = out.len();
        let opcode = if index == 0 { opcode } else { Opcode::Continuation };
        encode::put_masked(out, opcode, &payload[start..end], (key ^ u32::try_from(index).unwrap()).to_be_bytes());
        start = end;
        if index + 1 < cuts.len() {
            out[frame_at] &= 0x7F;
            encode::put_masked(out, Opcode::Ping, b"between", key.to_le_bytes());
            pings.push(Arrived::Ping(b"between".to_vec()));
        }
    }
}

fn decode_in_chunks(bytes: &[u8], mut sizes: impl Iterator<Item = usize>) -> Vec<Arrived> {
    let mut decoder = Decoder::new(Role::Server, 1 << 20);
    let mut events = Vec::new();
    let mut left = bytes;
    while !left.is_empty() {
        let (chunk, behind) = left.split_at(sizes.next().unwrap().clamp(1, left.len()));
        left = behind;
        let mut buffer = chunk.to_vec();
        let mut rest = &mut buffer[..];
        loop {
            let step = decoder.decode(rest).unwrap();
            let consumed = step.consumed;
            let Some(event) = step.event else { break };
            events.push(match event {
                Event::Text(text) => Arrived::Text(text.into_owned()),
                Event::Binary(bytes) => Arrived::Binary(bytes.into_owned()),
                Event::Ping(bytes) => Arrived::Ping(bytes.into_owned()),
                Event::Pong(bytes) => Arrived::Pong(bytes.into_owned()),
                Event::Close { .. } => unreachable!("none was sent"),
            });
            rest = &mut std::mem::take(&mut rest)[consumed..];
        }
    }
    assert!(decoder.is_idle());
    assert_eq!(decoder.heap_bytes(), 0);
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn given_any_fragments_when_they_arrive_in_any_chunks_then_the_events_are_what_was_sent(
        messages in prop::collection::vec(sent(), 1..8),
        sizes in prop::collection::vec(1..200_usize, 1..16),
        key: u32,
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for message in &messages {
            match message {
                Sent::Text(text, cuts) => put_fragments(&mut bytes, &mut expected, Opcode::Text, text.as_bytes(), cuts, key),
                Sent::Binary(payload, cuts) => put_fragments(&mut bytes, &mut expected, Opcode::Binary, payload, cuts, key),
                Sent::Ping(payload) => encode::put_masked(&mut bytes, Opcode::Ping, payload, key.to_be_bytes()),
                Sent::Pong(payload) => encode::put_masked(&mut bytes, Opcode::Pong, payload, key.to_be_bytes()),
            }
            expected.push(arrived(message));
        }
        prop_assert_eq!(decode_in_chunks(&bytes, sizes.into_iter().cycle()), expected);
    }

    #[test]
    fn given_any_bytes_when_decoded_whole_or_byte_by_byte_then_the_outcome_is_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let outcome = |chunk_bytes: usize| {
            let mut decoder = Decoder::new(Role::Client, 1000);
            let mut events = Vec::new();
            for chunk in bytes.chunks(chunk_bytes) {
                let mut buffer = chunk.to_vec();
                let mut rest = &mut buffer[..];
                loop {
                    match decoder.decode(rest) {
                        Ok(step) => {
                            let consumed = step.consumed;
                            let Some(event) = step.event else { break };
                            events.push(format!("{event:?}"));
                            rest = &mut std::mem::take(&mut rest)[consumed..];
                        }
                        Err(error) => return (events, Some(error)),
                    }
                }
            }
            (events, None)
        };
        prop_assert_eq!(outcome(1), outcome(300));
    }

    #[test]
    fn given_what_tungstenite_sends_when_decoded_then_it_is_what_was_sent(
        messages in prop::collection::vec(sent(), 1..8),
        sizes in prop::collection::vec(1..500_usize, 1..16),
    ) {
        let mut client = tungstenite_at(TungsteniteRole::Client, Vec::new());
        for message in &messages {
            client.write(match message.clone() {
                Sent::Text(text, _) => Message::Text(text.into()),
                Sent::Binary(bytes, _) => Message::Binary(bytes.into()),
                Sent::Ping(bytes) => Message::Ping(bytes.into()),
                Sent::Pong(bytes) => Message::Pong(bytes.into()),
            }).unwrap();
            client.flush().unwrap();
        }
        let expected: Vec<_> = messages.iter().map(arrived).collect();
        prop_assert_eq!(decode_in_chunks(&client.get_ref().written, sizes.into_iter().cycle()), expected);
    }

    #[test]
    fn given_what_we_send_when_tungstenite_reads_it_in_either_role_then_it_is_what_was_sent(
        messages in prop::collection::vec(sent(), 1..8),
        key: [u8; 4],
    ) {
        let (mut as_server, mut as_client) = (Vec::new(), Vec::new());
        for message in &messages {
            let (opcode, payload) = match message {
                Sent::Text(text, _) => (Opcode::Text, text.as_bytes()),
                Sent::Binary(bytes, _) => (Opcode::Binary, &bytes[..]),
                Sent::Ping(bytes) => (Opcode::Ping, &bytes[..]),
                Sent::Pong(bytes) => (Opcode::Pong, &bytes[..]),
            };
            encode::put_frame(&mut as_server, opcode, payload);
            encode::put_masked(&mut as_client, opcode, payload, key);
        }
        for (role, bytes) in [(TungsteniteRole::Client, as_server), (TungsteniteRole::Server, as_client)] {
            let mut reader = tungstenite_at(role, bytes);
            for message in &messages {
                let read = match reader.read().unwrap() {
                    Message::Text(text) => Arrived::Text(text.to_string()),
                    Message::Binary(bytes) => Arrived::Binary(bytes.to_vec()),
                    Message::Ping(bytes) => Arrived::Ping(bytes.to_vec()),
                    Message::Pong(bytes) => Arrived::Pong(bytes.to_vec()),
                    other => unreachable!("{other:?} was not sent"),
                };
                prop_assert_eq!(read, arrived(message));
            }
        }
    }
}

/// A stream that reads what was given and keeps what is written.
struct Pipe {
    read: Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.read.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn tungstenite_at(role: TungsteniteRole, bytes: Vec<u8>) -> WebSocket<Pipe> {
    let pipe = Pipe { read: Cursor::new(bytes), written: Vec::new() };
    WebSocket::from_raw_socket(pipe, role, Some(WebSocketConfig::default()))
}
