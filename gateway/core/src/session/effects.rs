//! What a step of a session asks its driver to do.

use bytes::{Bytes, BytesMut};
use switchyard_schema::error::{CloseCode, ErrorCode};
use switchyard_schema::frame::{Accepted, Page, Receipt, ServerFrame};
use switchyard_schema::ids::{Millis, UserId};
use switchyard_schema::link::{DeliverFrame, ToRouter};
use switchyard_schema::{json, wire};

use super::{Context, Packing, Transport};
use crate::handshake::Form;
use crate::limits::LARGE_PAGE_BYTES;
use crate::ws::{Opcode, encode};

/// What steps of one session ask for. A thread has one, and empties it after each use with [`SessionEffects::clear`].
#[derive(Debug, Default)]
pub struct SessionEffects {
    /// Frames to write, whole and in order, with what stands before each of them on its transport. A large Deliver on a stream is
    /// two pieces: its length, and what all recipients share.
    pub frames: Vec<Bytes>,
    /// Pages that may be written on streams of their own instead, in any order, packed in the same way: large ones over QUIC.
    pub pages: Vec<Bytes>,
    /// How many frames all of those are.
    pub frame_count: u64,
    /// The frames are a receipt, for which nobody waits: they may be held back until something else is written to the
    /// connection, for as long as [`crate::limits::LINGER_MS`].
    pub may_linger: bool,
    /// Messages for the router, in order. What does not fit its link waits, and the connection is not read until it does.
    pub messages: Vec<ToRouter>,
    /// When to call `on_timer`, instead of what was asked for before (monotonic).
    pub timer: Option<Millis>,
    /// The connection ends as soon as the frames are written; what the peer still sends is ignored.
    pub finish: bool,
    /// How the connection is closed when the frames are written, where that is no frame itself: over QUIC, where the client
    /// gets the code as that of the application.
    pub close: Option<Close>,
    /// The peer is to be asked for a sign of life, where that is no frame itself: over QUIC.
    pub ping: bool,
    /// The client was told to come back at the next place of the context's [`crate::comebacks`], which the driver gives away
    /// now.
    pub sent_away: bool,
    /// The code of every Error among the frames.
    pub refused: Vec<ErrorCode>,
    encoder: Encoders,
}

/// Why a connection is closed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Close {
    /// For programs.
    pub code: CloseCode,
    /// For people.
    pub reason: Box<str>,
}

impl Close {
    /// Tells a client when to come back that may have no stream to be told on: the reason says so in a form for programs, and why
    /// for people.
    #[must_use]
    pub fn come_back(code: CloseCode, after_ms: u32, why: &str) -> Self {
        Self { code, reason: format!("reconnect_after_ms={after_ms}; {why}").into() }
    }
}

/// The buffers that frames are encoded in, kept so that a frame costs one allocation: its own.
#[derive(Debug, Default)]
struct Encoders {
    binary: wire::Encoder,
    text: Vec<u8>,
}

impl Encoders {
    /// A frame as `packing` has it.
    fn pack(&mut self, packing: Packing, me: UserId, frame: &ServerFrame<'_>) -> Bytes {
        let Self { binary, text } = self;
        match packing.form {
            Form::Binary => packing.pack(binary.server(frame)),
            Form::Json => {
                text.clear();
                json::encode_server(frame, me, text);
                packing.pack(text)
            }
        }
    }
}

impl SessionEffects {
    /// Nothing asked for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what was asked for and keeps the buffers.
    pub fn clear(&mut self) {
        self.frames.clear();
        self.pages.clear();
        self.frame_count = 0;
        self.may_linger = false;
        self.messages.clear();
        self.timer = None;
        self.finish = false;
        self.close = None;
        self.ping = false;
        self.sent_away = false;
        self.refused.clear();
    }

    /// Sends the client away, which has to stay away for `wait_ms` in any case. Answers after how many milliseconds it is to
    /// come back.
    pub(super) fn send_away(&mut self, context: &Context<'_>, wait_ms: u32) -> u32 {
        self.sent_away = true;
        context.comebacks.next_behind_ms(context.now.monotonic, u64::from(wait_ms))
    }

    /// Encodes a frame as the session's are packed. `me` is whose session it is.
    pub(super) fn frame(&mut self, packing: Packing, me: UserId, frame: &ServerFrame<'_>) {
        if let ServerFrame::Error(error) = frame {
            self.refused.push(error.code);
        }
        let packed = self.encoder.pack(packing, me, frame);
        self.push(packed);
    }

    /// Encodes an Accepted.
    pub(super) fn accepted(&mut self, packing: Packing, me: UserId, accepted: &Accepted) {
        match (packing.form, packing.transport) {
            (Form::Binary, Transport::WebSocket) => self.push(switchyard_schema::encode::accepted(accepted)),
            _ => self.frame(packing, me, &ServerFrame::Accepted(*accepted)),
        }
    }

    /// Encodes a Page, which may have a stream of its own when it is large.
    pub(super) fn page(&mut self, packing: Packing, me: UserId, page: Page<'_>) {
        let packed = self.encoder.pack(packing, me, &ServerFrame::Page(page));
        if packing.transport == Transport::Quic && packed.len() > LARGE_PAGE_BYTES {
            self.pages.push(packed);
            self.frame_count += 1;
        } else {
            self.push(packed);
        }
    }

    /// Encodes a Receipt, which may linger when it is alone.
    pub(super) fn receipt(&mut self, packing: Packing, me: UserId, receipt: &Receipt) {
        self.may_linger = self.frames.is_empty();
        self.frame(packing, me, &ServerFrame::Receipt(*receipt));
    }

    /// Adds a Deliver: as it is for a binary session, translated for a JSON session.
    ///
    /// # Panics
    /// When the frame that our own encoder made cannot be parsed.
    pub(super) fn deliver(&mut self, packing: Packing, me: UserId, deliver: &DeliverFrame) {
        match packing.form {
            Form::Binary => {
                packing.pack_shared(deliver, &mut self.frames);
                self.frame_count += 1;
            }
            Form::Json => {
                let frame = wire::parse_server(deliver.payload()).expect("a Deliver is encoded by this process");
                self.frame(packing, me, &frame);
            }
        }
    }

    pub(super) fn control(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut frame = BytesMut::with_capacity(encode::header_bytes(payload.len()) + payload.len());
        encode::put_frame(&mut frame, opcode, payload);
        self.push(frame.freeze());
    }

    /// Adds a frame that is one piece.
    pub(super) fn push(&mut self, frame: Bytes) {
        self.frames.push(frame);
        self.frame_count += 1;
    }

    /// Asks the peer for a sign of life.
    pub(super) fn ping(&mut self, transport: Transport) {
        match transport {
            Transport::WebSocket => self.control(Opcode::Ping, &[]),
            Transport::Quic => self.ping = true,
        }
    }

    /// Closes the session's transport and ends the connection.
    pub(super) fn close(&mut self, transport: Transport, code: CloseCode, reason: &str) {
        match transport {
            Transport::WebSocket => self.push(encode::close(code, reason)),
            Transport::Quic => self.close = Some(Close { code, reason: reason.into() }),
        }
        self.finish = true;
    }

    /// The same of a QUIC connection.
    pub(super) fn close_connection(&mut self, close: Close) {
        self.close = Some(close);
        self.finish = true;
    }
}
