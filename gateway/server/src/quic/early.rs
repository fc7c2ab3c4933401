//! Early data (0-RTT): a client that was here before says its first frames with its first datagrams, and is answered with the
//! server's first.
//!
//! They may be a replay, so its session takes only what may happen twice ([`Session::new_early`]), and what the client may send
//! ahead stays as little as that of a stranger until the handshake is done. Where there is no room for it now, it waits for the
//! handshake as if it had come behind it.

use switchyard_gateway_core::framing;
use switchyard_gateway_core::session::{Packing, Session};
use switchyard_gateway_core::wheel::Slot;
use switchyard_schema::limits::CLIENT_FRAME_BYTES_MAX;

use super::protocol::Protocol;
use crate::connection::{Phase, Unpacker};
use crate::state::State;

impl State {
    /// The client has opened its stream before its handshake is done. Whether it is heard at once.
    pub(super) fn begin_early(&mut self, handle: usize, slot: Slot) -> bool {
        if self.protocol_of(handle) == Protocol::Echo || self.admission.admit(self.newcomers()).is_err() {
            return false;
        }
        self.counters.quic_early.add(1);
        let (packing, unpacker) = self.stream_of(handle);
        self.begin_session(slot, unpacker, |session, context, effects| {
            Session::new_early(session, packing, context, effects)
        });
        true
    }

    pub(super) fn protocol_of(&mut self, handle: usize) -> Protocol {
        let protocol = self.quic_mut().link(handle).and_then(|link| link.protocol());
        protocol.expect("a handshake without one of our protocols has no streams")
    }

    /// How frames are packed on the client's stream, and what takes them apart.
    pub(super) fn stream_of(&mut self, handle: usize) -> (Packing, Unpacker) {
        let Protocol::Session(form) = self.protocol_of(handle) else { unreachable!("an echo has no frames") };
        let decoder = framing::Decoder::new(form, CLIENT_FRAME_BYTES_MAX);
        (Packing::quic(form), Unpacker::Stream(Box::new(decoder)))
    }

    /// Whether the handshake of the connection in the slot is not done.
    pub(super) fn is_in_handshake(&mut self, slot: Slot) -> bool {
        match &self.connection(slot).phase {
            Phase::Handshake(_) => true,
            Phase::Session(open) => open.session.is_early(),
            Phase::Echo(_) | Phase::Closing { .. } | Phase::Gone => false,
        }
    }
}
