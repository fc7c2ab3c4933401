//! What is owed to clients: frames of the turn become packets, acknowledgements and probes leave with them.

use std::io;
use std::time::Instant;

use quinn_proto::{ConnectionHandle, Transmit};
use switchyard_gateway_core::session::Close;
use switchyard_gateway_core::wheel::Slot;
use switchyard_schema::error::CloseCode;

use super::Quic;
use crate::connection::Phase;
use crate::flush::Written;
use crate::limits::{QUIC_CONNECTIONS_PER_TURN, QUIC_SENDS_PER_CONNECTION};
use crate::state::State;

/// Datagrams that the socket did not take.
#[derive(Debug)]
pub(super) struct Unsent {
    transmit: Transmit,
    contents: Vec<u8>,
}

/// How far a connection is with sending.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Sent {
    All,
    /// The turn's limit was reached.
    Enough,
    /// The socket takes no more.
    Blocked,
}

impl State {
    /// Hands what waits on a QUIC connection to its stream. `true` when some is left that the turn has no time for.
    pub(crate) fn flush_quic(&mut self, slot: Slot) -> bool {
        let connection = self.table.get_mut(slot).expect("it was just found");
        let quic = self.quic.as_mut().expect("it has a QUIC connection");
        let Some(handle) = quic.touch_slot(slot).filter(|_| !connection.blocked) else {
            connection.dirty = false;
            return false;
        };
        let link = quic.link(handle).expect("a slot has a link");
        let waiting_bytes = connection.outbound.queued_bytes();
        let written = link.write(&mut connection.outbound);
        self.outbound_bytes -= waiting_bytes - connection.outbound.queued_bytes();
        match written {
            Written::Enough => {}
            Written::Blocked => connection.blocked = true,
            Written::All => {
                // What closes the connection when all of the session's stream has arrived would lose them.
                if link.asides.is_empty()
                    && let Phase::Closing { half_closed: half_closed @ false } = &mut connection.phase
                {
                    *half_closed = true;
                    if !link.finish() {
                        self.abort(slot);
                    }
                }
            }
            Written::Broken => self.abort(slot),
        }
        self.read_on(slot);
        let stays = matches!(written, Written::Enough);
        self.connection(slot).dirty = stays;
        stays
    }

    /// Sends for every connection that may have something to send, as far as a turn and the socket allow. `true` when there is
    /// more.
    pub(crate) fn send_quic(&mut self) -> bool {
        let at_most = self.quic.as_ref().map_or(0, |quic| quic.touched.len().min(QUIC_CONNECTIONS_PER_TURN));
        for _ in 0..at_most {
            let quic = self.quic.as_mut().expect("it has connections to send for");
            if quic.unsent.is_some() {
                return false;
            }
            let handle = quic.touched.pop_front().expect("its length was just counted");
            let Some(link) = quic.link(handle) else { continue };
            link.touched = false;
            let (sent, sent_bytes) = quic.send_for(handle);
            self.counters.quic_bytes_out.add(sent_bytes);
            let hoards = quic.link(handle).filter(|link| link.has_unsent_ids()).and_then(|link| link.slot);
            match sent {
                Sent::All => {}
                Sent::Enough => quic.touch(handle),
                Sent::Blocked => {
                    quic.touch(handle);
                    quic.watch_writable(&mut self.polls);
                }
            }
            if let Some(slot) = hoards {
                self.on_unsent_ids(slot);
            }
        }
        self.quic.as_ref().is_some_and(|quic| quic.unsent.is_none() && !quic.touched.is_empty())
    }

    /// A client makes ids be made that it does not let be sent.
    fn on_unsent_ids(&mut self, slot: Slot) {
        self.counters.quic_protocol_errors.add(1);
        let reason = "too many connection ids were given back".into();
        self.quic_mut().close_later(slot, Close { code: CloseCode::TooFast, reason });
        self.abort(slot);
    }

    /// Whether every QUIC connection was sent what it was to be told.
    pub(crate) fn owes_nothing_over_quic(&self) -> bool {
        self.quic.as_ref().is_none_or(|quic| quic.touched.is_empty())
    }

    /// Sends an answer that no connection stands behind; it lies in the buffer. When the socket is full it is lost, and asked
    /// for again.
    pub(super) fn send_at_once(&mut self, transmit: &Transmit) {
        let quic = self.quic_mut();
        if quic.unsent.is_none() && quic.socket.send(transmit, &quic.buffer).is_ok() {
            self.counters.quic_bytes_out.add(transmit.size as u64);
        }
    }
}

impl Quic {
    /// The socket takes datagrams again. Answers how many bytes it took.
    pub(super) fn on_writable(&mut self) -> u64 {
        if let Some(Unsent { transmit, contents }) = self.unsent.take() {
            // It has just said that it does. Should it be full again, the datagrams are lost and sent once more in time.
            if self.socket.send(&transmit, &contents).is_ok() {
                return transmit.size as u64;
            }
        }
        0
    }

    /// Sends for one connection; also answers how many bytes the socket took.
    fn send_for(&mut self, handle: usize) -> (Sent, u64) {
        if !self.exchange(handle) {
            return (Sent::All, 0);
        }
        // Those before it may have taken milliseconds, which its pacing and its round trips are not to be wrong by.
        let now = Instant::now();
        let mut sent_bytes = 0;
        let mut sent = Sent::Enough;
        for _ in 0..QUIC_SENDS_PER_CONNECTION {
            let link = self.links.get_mut(handle).expect("it was just there");
            let datagrams_max = link.datagrams_max(self.socket.datagrams_per_send());
            self.buffer.clear();
            // Whoever may be sent nothing is looked at again when something has come from there.
            let transmit =
                if datagrams_max == 0 { None } else { link.proto.poll_transmit(now, datagrams_max, &mut self.buffer) };
            let Some(transmit) = transmit else {
                sent = Sent::All;
                break;
            };
            link.on_sent(transmit.size);
            match self.socket.send(&transmit, &self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.unsent = Some(Unsent { transmit, contents: std::mem::take(&mut self.buffer) });
                    sent = Sent::Blocked;
                    break;
                }
                Ok(()) => sent_bytes += transmit.size as u64,
                Err(_) => {}
            }
        }
        if self.exchange(handle) {
            let link = self.links.get_mut(handle).expect("it was just there");
            let at = link.proto.poll_timeout();
            self.deadlines.arm(handle, &mut link.armed, at);
        }
        (sent, sent_bytes)
    }

    /// Lets the connection and the endpoint tell each other what they have to. `false` when nothing more comes of the
    /// connection, which is removed then.
    fn exchange(&mut self, handle: usize) -> bool {
        while let Some(link) = self.links.get_mut(handle) {
            let Some(event) = link.proto.poll_endpoint_events() else { return true };
            let is_drained = event.is_drained();
            if let Some(answer) = self.endpoint.handle_event(ConnectionHandle(handle), event) {
                // Only ids that were made are answered.
                link.ids_made += 1;
                link.proto.handle_event(answer);
            }
            if is_drained {
                self.remove(handle);
            }
        }
        false
    }
}
