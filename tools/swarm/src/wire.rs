//! The client's end of one WebSocket, or of one stream of frames, in sixteen bytes: what is half received is kept on the heap
//! until the rest has come, and who the connection belongs to is the business of the caller.

use std::borrow::Cow;

use switchyard_gateway_core::framing::{self, FramingError};
use switchyard_gateway_core::handshake::{
    ClientHandshake, ClientRequest, Form, HandshakeError, client_request, parse_response,
};
use switchyard_gateway_core::ws::{Decoder, Event, Opcode, Role, WsError, encode};

/// One WebSocket from its upgrade on, or one stream.
#[derive(Debug, Default)]
pub struct Wire {
    half: Option<Box<Half>>,
    state: State,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
enum State {
    /// The upgrade is asked for.
    #[default]
    Upgrading,
    /// WebSocket messages come.
    WebSocket,
    /// Frames come, each behind its length.
    Stream,
}

/// What has come of something that is not complete.
#[derive(Debug)]
enum Half {
    Response(Vec<u8>),
    Message(Decoder),
    Frame(framing::Decoder),
}

/// Something the server said.
#[derive(PartialEq, Eq, Debug)]
pub enum Said<'a> {
    /// The upgrade is granted: messages may be sent.
    Upgraded,
    /// A binary message.
    Binary(Cow<'a, [u8]>),
    /// A text message.
    Text(Cow<'a, str>),
    /// To be answered with [`put_pong`].
    Ping(Cow<'a, [u8]>),
    /// Answers a ping.
    Pong,
    /// The server closes.
    Close {
        /// With this code.
        code: Option<u16>,
    },
}

/// What one call of [`Wire::decode`] did.
#[derive(PartialEq, Eq, Debug)]
pub struct Step<'a> {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// What they completed.
    pub said: Option<Said<'a>>,
}

/// What the server did wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    /// It granted no upgrade.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// It broke RFC 6455.
    #[error(transparent)]
    WebSocket(#[from] WsError),
    /// It sent what is no frame on a stream.
    #[error(transparent)]
    Stream(#[from] FramingError),
}

impl Wire {
    /// Asks for the upgrade on a fresh connection.
    pub fn start(&mut self, request: &ClientRequest<'_>, out: &mut Vec<u8>) {
        *self = Self::default();
        out.extend_from_slice(&client_request(request));
    }

    /// Begins to listen on a fresh stream, where nothing is to be asked for.
    pub fn start_stream(&mut self) {
        *self = Self { half: None, state: State::Stream };
    }

    /// Takes what the server said next out of `input`; call it again with what is left. `request` is the one that the
    /// upgrade was asked for with, `message_bytes_max` the largest message that is taken.
    ///
    /// # Errors
    /// What the server did wrong; the connection is of no more use.
    pub fn decode<'a>(
        &mut self,
        input: &'a mut [u8],
        request: &ClientRequest<'_>,
        message_bytes_max: usize,
    ) -> Result<Step<'a>, WireError> {
        match self.state {
            State::Upgrading => return self.on_response(input, request),
            State::Stream => return self.on_stream(input, message_bytes_max),
            State::WebSocket => {}
        }
        let mut decoder = match self.half.take().map(|half| *half) {
            Some(Half::Message(decoder)) => decoder,
            _ => Decoder::new(Role::Client, message_bytes_max),
        };
        let step = decoder.decode(input)?;
        if !decoder.is_idle() {
            self.half = Some(Box::new(Half::Message(decoder)));
        }
        Ok(Step { consumed: step.consumed, said: step.event.map(Said::from) })
    }

    fn on_stream<'a>(&mut self, input: &'a [u8], frame_bytes_max: usize) -> Result<Step<'a>, WireError> {
        let mut decoder = match self.half.take().map(|half| *half) {
            Some(Half::Frame(decoder)) => decoder,
            _ => framing::Decoder::new(Form::Binary, frame_bytes_max),
        };
        let step = decoder.decode(input)?;
        if !decoder.is_idle() {
            self.half = Some(Box::new(Half::Frame(decoder)));
        }
        Ok(Step { consumed: step.consumed, said: step.event.map(Said::from) })
    }

    fn on_response(&mut self, input: &mut [u8], request: &ClientRequest<'_>) -> Result<Step<'static>, WireError> {
        let before = match self.half.take().map(|half| *half) {
            Some(Half::Response(received)) => received,
            _ => Vec::new(),
        };
        // Nearly always the response comes whole.
        let joined = if before.is_empty() { None } else { Some([&before, &*input].concat()) };
        match parse_response(joined.as_deref().unwrap_or(input), request)? {
            ClientHandshake::NotYet => {
                self.half = Some(Box::new(Half::Response(joined.unwrap_or_else(|| input.to_vec()))));
                Ok(Step { consumed: input.len(), said: None })
            }
            ClientHandshake::Open { consumed } => {
                self.state = State::WebSocket;
                Ok(Step { consumed: consumed - before.len(), said: Some(Said::Upgraded) })
            }
        }
    }
}

impl<'a> From<Event<'a>> for Said<'a> {
    fn from(event: Event<'a>) -> Self {
        match event {
            Event::Binary(bytes) => Self::Binary(bytes),
            Event::Text(text) => Self::Text(text),
            Event::Ping(payload) => Self::Ping(payload),
            Event::Pong(_) => Self::Pong,
            Event::Close { code, .. } => Self::Close { code },
        }
    }
}

/// How a connection carries frames.
#[derive(Debug)]
pub enum Framing {
    /// Each is a WebSocket message.
    WebSocket(Masks),
    /// Each has its length before it.
    Stream,
}

impl Framing {
    /// Appends a frame.
    pub fn put(&mut self, out: &mut Vec<u8>, frame: &[u8]) {
        match self {
            Self::WebSocket(masks) => encode::put_masked(out, Opcode::Binary, frame, masks.next_mask()),
            Self::Stream => {
                out.extend_from_slice(&framing::length(frame.len()));
                out.extend_from_slice(frame);
            }
        }
    }
}

/// Appends the answer to a ping.
pub fn put_pong(out: &mut Vec<u8>, payload: &[u8], masks: &mut Masks) {
    encode::put_masked(out, Opcode::Pong, payload, masks.next_mask());
}

/// Appends a ping without payload.
pub fn put_ping(out: &mut Vec<u8>, masks: &mut Masks) {
    encode::put_masked(out, Opcode::Ping, &[], masks.next_mask());
}

/// Where masks come from: xorshift64*. They protect proxies from scripts, and there are neither here.
#[derive(Debug)]
pub struct Masks(u64);

impl Masks {
    /// Masks from a random seed.
    #[must_use]
    pub const fn new(random: u64) -> Self {
        Self(random | 1)
    }

    /// The next one.
    pub fn next_mask(&mut self) -> [u8; 4] {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let [a, b, c, d, ..] = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
        [a, b, c, d]
    }
}

#[cfg(test)]
mod tests {
    use switchyard_gateway_core::handshake::{Handshake, Origins, Rules, parse_request};

    use super::*;

    const REQUEST: ClientRequest<'static> =
        ClientRequest { host: "test", path: "/echo", form: None, token: None, nonce: [3; 16] };

    /// What a server says that grants the upgrade, sends a message and pings.
    fn conversation() -> Vec<u8> {
        let rules = Rules { echo: true, origins: &Origins::Only(Vec::new()) };
        let Handshake::Upgrade(upgrade) = parse_request(&client_request(&REQUEST), &rules) else {
            panic!("the request is refused")
        };
        let mut bytes = upgrade.response();
        bytes.extend_from_slice(&encode::frame(Opcode::Binary, b"hello"));
        bytes.extend_from_slice(&encode::frame(Opcode::Ping, b"?"));
        bytes
    }

    /// What was heard, and how often something half was kept.
    fn listen(bytes: &[u8], piece_bytes: usize) -> (Vec<String>, usize) {
        let (mut wire, mut heard, mut kept) = (Wire::default(), Vec::new(), 0);
        for piece in bytes.chunks(piece_bytes) {
            let mut piece = piece.to_vec();
            let mut at = 0;
            while at < piece.len() {
                let step = wire.decode(&mut piece[at..], &REQUEST, 1024).expect("the server is right");
                at += step.consumed;
                heard.extend(step.said.map(|said| format!("{said:?}")));
            }
            kept += usize::from(wire.half.is_some());
        }
        (heard, kept)
    }

    #[test]
    fn given_a_stream_in_pieces_of_any_size_when_decoded_then_the_same_is_heard_and_nothing_is_kept_at_the_end() {
        let bytes = conversation();
        let (whole, kept) = listen(&bytes, bytes.len());
        assert_eq!(whole.len(), 3, "{whole:?}");
        assert_eq!(kept, 0, "nothing is half when all comes at once");
        for piece_bytes in 1..bytes.len() {
            assert_eq!(listen(&bytes, piece_bytes).0, whole, "pieces of {piece_bytes}");
        }
        let mut wire = Wire::default();
        assert!(wire.decode(&mut bytes[..10].to_vec(), &REQUEST, 1024).is_ok() && wire.half.is_some());
        wire.decode(&mut bytes[10..].to_vec(), &REQUEST, 1024).expect("the rest");
        assert!(wire.half.is_none());
    }

    #[test]
    fn given_a_stream_in_pieces_of_any_size_when_decoded_then_each_frame_is_heard_and_nothing_is_kept_at_the_end() {
        let mut bytes = Vec::new();
        for frame in [&b"hello"[..], b"", &[7; 300]] {
            Framing::Stream.put(&mut bytes, frame);
        }
        for piece_bytes in 1..=bytes.len() {
            let (mut wire, mut lengths) = (Wire::default(), Vec::new());
            wire.start_stream();
            for piece in bytes.chunks(piece_bytes) {
                let (mut piece, mut at) = (piece.to_vec(), 0);
                while at < piece.len() {
                    let step = wire.decode(&mut piece[at..], &REQUEST, 1024).expect("the server is right");
                    at += step.consumed;
                    lengths.extend(step.said.map(|said| match said {
                        Said::Binary(frame) => frame.len(),
                        other => panic!("a stream has no {other:?}"),
                    }));
                }
            }
            assert_eq!((lengths, wire.half.is_none()), (vec![5, 0, 300], true), "pieces of {piece_bytes}");
        }
    }

    #[test]
    fn given_a_million_idle_wires_then_they_are_sixteen_megabytes() {
        assert!(size_of::<Wire>() <= 16);
    }
}
