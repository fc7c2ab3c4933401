//! How the frames of a session are packed: the form they have, and what carries them.

use bytes::Bytes;
use switchyard_schema::link::DeliverFrame;

use crate::framing;
use crate::handshake::Form;
use crate::limits::STREAM_COPY_BYTES_MAX;
use crate::ws::{Opcode, encode};

/// What carries the frames of a session.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// A WebSocket: one message for each frame; pings and the close are frames of its own.
    WebSocket,
    /// A stream of a QUIC connection: a length before each frame ([`crate::framing`]); pings and the close are the
    /// connection's.
    Quic,
}

/// How the frames of a session are packed.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Packing {
    /// Their form.
    pub form: Form,
    /// What carries them.
    pub transport: Transport,
}

impl From<Form> for Packing {
    /// On a WebSocket.
    fn from(form: Form) -> Self {
        Self { form, transport: Transport::WebSocket }
    }
}

impl Packing {
    /// Frames on a stream of a QUIC connection.
    #[must_use]
    pub const fn quic(form: Form) -> Self {
        Self { form, transport: Transport::Quic }
    }

    /// A frame as it is written.
    pub(super) fn pack(self, frame: &[u8]) -> Bytes {
        match (self.transport, self.form) {
            (Transport::WebSocket, Form::Binary) => encode::frame(Opcode::Binary, frame),
            (Transport::WebSocket, Form::Json) => encode::frame(Opcode::Text, frame),
            (Transport::Quic, _) => framing::frame(frame),
        }
    }

    /// Adds a Deliver of the binary form as it is written. It stays the one that all recipients share, but for a small one on
    /// a stream, which is copied behind its length.
    pub fn pack_shared(self, deliver: &DeliverFrame, frames: &mut Vec<Bytes>) {
        let payload = deliver.payload();
        match self.transport {
            Transport::WebSocket => frames.push(deliver.websocket().clone()),
            Transport::Quic if payload.len() <= STREAM_COPY_BYTES_MAX => frames.push(framing::frame(payload)),
            Transport::Quic => {
                frames.push(Bytes::copy_from_slice(&framing::length(payload.len())));
                frames.push(deliver.websocket().slice_ref(payload));
            }
        }
    }
}
