//! Sessions that begin before their handshake is done, as those over QUIC may: half of them. It is done with the next tick of
//! their thread, or never, when the connection ends before.

use switchyard_gateway_core::ws::{Event, Opcode, encode};
use switchyard_schema::link::SessionRef;

use super::{Connection, Gateway, Phase};

/// Whether this one does.
pub(super) const fn begins_early(session: SessionRef) -> bool {
    (session.slot + session.epoch).is_multiple_of(2)
}

/// A frame that has to wait, as it came but for its masking key.
pub(super) fn again(event: &Event<'_>) -> Vec<u8> {
    let (opcode, payload) = match event {
        Event::Binary(frame) => (Opcode::Binary, frame),
        Event::Pong(payload) => (Opcode::Pong, payload),
        Event::Text(_) | Event::Ping(_) | Event::Close { .. } => panic!("phones say no {event:?}"),
    };
    let mut bytes = Vec::new();
    encode::put_masked(&mut bytes, opcode, payload, [0; 4]);
    bytes
}

impl Connection {
    fn is_early(&self) -> bool {
        matches!(&self.phase, Phase::Session { session, .. } if session.is_early())
    }
}

impl Gateway {
    /// All handshakes are done.
    pub(super) fn confirm_early(&mut self) {
        for slot in self.used() {
            if self.places[slot as usize].connection.as_ref().is_some_and(Connection::is_early) {
                self.step(slot, |_, session, context, out| session.on_confirmed(context, out));
                self.go_on(slot);
            }
        }
    }
}
