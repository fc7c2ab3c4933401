//! What connections tell: the handshake is done, the stream has bytes or takes some, the end.

use quinn_proto::{ConnectionError, Dir, Event, StreamEvent, StreamId, TransportErrorCode};
use switchyard_gateway_core::admission::Crowded;
use switchyard_gateway_core::session::{Session, Transport};
use switchyard_gateway_core::wheel::Slot;

use super::protocol::Protocol;
use crate::connection::Phase;
use crate::readiness::bite_bytes;
use crate::state::State;

impl State {
    /// Hears from every connection that something has happened to.
    pub(super) fn look_at_happened(&mut self) {
        while let Some(handle) = self.quic_mut().happened.pop_front() {
            if let Some(link) = self.quic_mut().link(handle) {
                link.happened = false;
                self.hear(handle);
            }
        }
    }

    fn hear(&mut self, handle: usize) {
        while let Some(link) = self.quic_mut().link(handle) {
            let Some(event) = link.proto.poll() else { return };
            // What is told of one whose place was given up concerns nobody.
            let Some(slot) = link.slot else { continue };
            match event {
                Event::Connected => self.on_quic_connected(handle, slot),
                Event::ConnectionLost { reason } => self.on_quic_lost(slot, &reason),
                Event::Stream(event) => self.on_stream_event(handle, slot, event),
                Event::HandshakeDataReady | Event::DatagramReceived | Event::DatagramsUnblocked => {}
            }
        }
    }

    fn on_quic_connected(&mut self, handle: usize, slot: Slot) {
        self.quic_mut().on_verified(handle);
        if let Some(link) = self.quic_mut().link(handle) {
            link.on_proven();
        }
        if !matches!(self.connection(slot).phase, Phase::Handshake(_)) {
            return self.on_session_confirmed(slot);
        }
        // It may have come when there was room, as many others did.
        if let Err(Crowded { wait_ms }) = self.admit(Transport::Quic) {
            return self.turn_away_quic(slot, wait_ms, "this gateway is busy");
        }
        if self.protocol_of(handle) == Protocol::Echo {
            self.open_stream_echo(slot);
        } else {
            let (packing, unpacker) = self.stream_of(handle);
            self.begin_session(slot, unpacker, |session, context, effects| {
                Session::new(session, packing, None, context, effects)
            });
        }
        // It may have said something early, when it was not heard.
        self.on_stream_readable(slot);
    }

    fn on_quic_lost(&mut self, slot: Slot, reason: &ConnectionError) {
        if self.is_in_handshake(slot) {
            let counters = &self.counters;
            let counter = match reason {
                // What a client says that changes its mind: RFC 9000 §10.2.3.
                ConnectionError::ConnectionClosed(close)
                    if [TransportErrorCode::APPLICATION_ERROR, TransportErrorCode::NO_ERROR]
                        .contains(&close.error_code) =>
                {
                    &counters.quic_handshakes_abandoned
                }
                ConnectionError::ConnectionClosed(_) => &counters.quic_handshakes_refused,
                ConnectionError::TransportError(_) => &counters.quic_handshakes_malformed,
                ConnectionError::TimedOut => &counters.quic_handshakes_timed_out,
                _ => &counters.quic_handshakes_abandoned,
            };
            counter.add(1);
            self.on_handshake_failed(slot);
        }
        self.on_ended(slot);
    }

    fn on_stream_event(&mut self, handle: usize, slot: Slot, event: StreamEvent) {
        match event {
            StreamEvent::Opened { dir: Dir::Bi } => self.on_stream_opened(handle, slot),
            StreamEvent::Readable { .. } => self.on_stream_readable(slot),
            StreamEvent::Writable { id } if self.is_aside(handle, id) => {
                if let Some(link) = self.quic_mut().link(handle) {
                    link.write_aside(id);
                }
            }
            StreamEvent::Finished { id } if self.is_aside(handle, id) => self.on_aside_ended(handle, slot, id, false),
            StreamEvent::Stopped { id, .. } if self.is_aside(handle, id) => self.on_aside_ended(handle, slot, id, true),
            StreamEvent::Writable { .. } => {
                self.connection(slot).blocked = false;
                self.mark_dirty(slot);
            }
            StreamEvent::Finished { .. } => {
                // Everything has arrived: the client knows why.
                self.on_ended(slot);
            }
            StreamEvent::Stopped { .. } => self.abort(slot),
            // The client may open none in one direction. This side opens some when it has something to say on them.
            StreamEvent::Opened { dir: Dir::Uni } | StreamEvent::Available { .. } => {}
        }
    }

    fn is_aside(&mut self, handle: usize, stream: StreamId) -> bool {
        self.quic_mut().link(handle).is_some_and(|link| link.is_aside(stream))
    }

    fn on_stream_opened(&mut self, handle: usize, slot: Slot) {
        self.quic_mut().link(handle).expect("it has just told").on_opened();
        if !matches!(self.connection(slot).phase, Phase::Handshake(_)) || self.begin_early(handle, slot) {
            self.on_stream_readable(slot);
        }
    }

    /// Reads once what has arrived on the stream and handles it, as is done with a socket.
    pub(crate) fn read_stream(&mut self, slot: Slot) {
        let at_most = bite_bytes(self.held_bytes, self.receive_buffer.len());
        let connection = self.table.get_mut(slot).expect("it was just found");
        let quic = self.quic.as_mut().expect("a connection without a socket is over QUIC");
        match quic.read(slot, &mut self.receive_buffer[..at_most]) {
            Ok((0, _)) => self.on_stream_ended(slot),
            Ok((bytes, ends)) => {
                connection.hung_up |= ends;
                connection.unread = bytes == at_most || connection.hung_up;
                let mut buffer = std::mem::take(&mut self.receive_buffer);
                self.on_bytes(slot, &mut buffer[..bytes]);
                self.receive_buffer = buffer;
                self.read_on(slot);
            }
            Err(_) => connection.unread = false,
        }
    }

    /// The client says nothing more, or the connection is closed.
    fn on_stream_ended(&mut self, slot: Slot) {
        let connection = self.connection(slot);
        if !matches!(connection.phase, Phase::Echo(_)) {
            return self.on_ended(slot);
        }
        // It still gets back what it has said.
        (connection.unread, connection.hung_up) = (false, false);
        self.close(slot);
    }

    fn on_stream_readable(&mut self, slot: Slot) {
        let connection = self.connection(slot);
        if let Phase::Handshake(_) = connection.phase {
            return;
        }
        connection.unread = true;
        // Whoever stands in the list is read when its turn comes.
        if !connection.stands_to_read {
            self.read(slot);
        }
    }
}
