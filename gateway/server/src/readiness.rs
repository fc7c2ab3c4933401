//! Sockets that are ready: reading what has arrived, and how connections end.
//!
//! The thread is told of changes ([`crate::poll_ring`]), so a connection remembers that its socket may hold bytes
//! (`unread`) until it was read to the end: while it is paused, and while one read did not take everything. It stands in a
//! list then ([`crate::to_read`]).

use std::io;
use std::os::fd::AsFd;

use switchyard_gateway_core::limits::OUTBOUND_CONGESTED_BYTES;
use switchyard_gateway_core::outbound::Outbound;
use switchyard_gateway_core::session::Transport;
use switchyard_gateway_core::wheel::Slot;

use crate::connection::Phase;
use crate::limits::{
    HELD_BITE_BYTES, HELD_BYTES_MAX, HELD_TIGHT_BYTES, NEWCOMER_READS_PER_TURN, READS_PER_TURN, READY_PER_TURN,
};
use crate::poll_ring::{Ready, What};
use crate::state::State;
use crate::sys;
use crate::to_read::Standing;

impl State {
    /// Reads sockets that are ready, those that could not be read to the end before as well, as many as a turn may.
    pub(crate) fn read_sockets(&mut self) {
        let mut turn = self.to_read.take_turn();
        for (slot, epoch) in turn.drain(..) {
            if let Some(connection) = self.table.get_epoch_mut(slot, epoch) {
                connection.stands_to_read = false;
                self.read(slot);
            }
        }
        self.to_read.give_back(turn);
        let (mut reads, mut newcomers) = (0, 0);
        for _ in 0..READY_PER_TURN {
            let Some(ready) = self.polls.next() else { return };
            if let Some(slot) = self.on_ready(ready) {
                if self.standing(slot) == Standing::Newcomer {
                    newcomers += 1;
                    if newcomers > NEWCOMER_READS_PER_TURN || self.to_read.are_newcomers_waiting() {
                        self.read_on(slot);
                        continue;
                    }
                }
                self.read(slot);
            }
            reads += 1;
            if reads == READS_PER_TURN {
                return;
            }
        }
    }

    /// Whether the next turn has something to read.
    pub(crate) fn has_to_read(&mut self) -> bool {
        !self.to_read.is_empty() || self.polls.has_ready()
    }

    /// Which connection can be read now.
    fn on_ready(&mut self, Ready { slot, epoch, what }: Ready) -> Option<Slot> {
        if self.is_quic_socket(slot, epoch, what) {
            return None;
        }
        // What was told of a connection that has ended comes too late.
        let connection = self.table.get_epoch_mut(slot, epoch)?;
        match what {
            What::Readable { ended, unwatched } => {
                connection.unread = true;
                connection.hung_up |= ended;
                if unwatched && let Some(socket) = &connection.socket {
                    self.polls.watch(socket.as_fd(), slot, epoch);
                }
                // Whoever stands in a list is read when its turn comes.
                (!connection.stands_to_read).then_some(slot)
            }
            What::Writable => {
                connection.blocked = false;
                self.mark_dirty(slot);
                self.on_sign_of_life(slot);
                None
            }
        }
    }

    fn standing(&mut self, slot: Slot) -> Standing {
        let securing = self.is_securing(slot);
        match self.connection(slot).phase {
            Phase::Handshake(_) if securing => Standing::Securing,
            Phase::Handshake(_) | Phase::Closing { .. } => Standing::Newcomer,
            Phase::Session(_) | Phase::Echo(_) | Phase::Gone => Standing::Open,
        }
    }

    /// Reads once what has arrived and handles it.
    pub(crate) fn read(&mut self, slot: Slot) {
        let too_much_held = self.held_bytes > HELD_BYTES_MAX;
        let is_paused = self.is_paused(slot);
        let connection = self.table.get_mut(slot).expect("it was just found");
        if matches!(connection.phase, Phase::Gone) || is_paused {
            return;
        }
        // What one says that is being ended is not kept, and its end lets go of what it has.
        if too_much_held && !matches!(connection.phase, Phase::Closing { .. }) {
            connection.starved = true;
            return self.starved.push_back(slot);
        }
        let Some(socket) = &connection.socket else { return self.read_stream(slot) };
        let secured = connection.secured;
        // One that is ending costs no step.
        if secured && matches!(connection.phase, Phase::Handshake(_)) && self.tls.must_wait(slot) {
            connection.unread = true;
            return self.read_on(slot);
        }
        let kept =
            if secured { self.tls.get(slot).map_or(0, |tls| tls.put_incomplete(&mut self.receive_buffer)) } else { 0 };
        let room = self.receive_buffer.len() - kept;
        let at_most = bite_bytes(self.held_bytes, room);
        let received = sys::receive(socket.as_fd(), &mut self.receive_buffer[kept..kept + at_most]);
        match received {
            Ok(0) => self.on_ended(slot),
            Ok(bytes) => {
                // Fewer than there was room for: the socket is empty, unless its end comes behind them.
                connection.unread = bytes == at_most || connection.hung_up;
                self.counters.bytes_in.add(bytes as u64);
                let mut buffer = std::mem::take(&mut self.receive_buffer);
                if secured {
                    self.on_ciphertext(slot, &mut buffer[..kept + bytes]);
                } else {
                    self.on_bytes(slot, &mut buffer[..bytes]);
                }
                self.receive_buffer = buffer;
                self.read_on(slot);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => connection.unread = false,
            Err(_) => self.on_ended(slot),
        }
    }

    /// Whether it must not be read now: what it sent cannot be handled, or what it gets is not read.
    fn is_paused(&mut self, slot: Slot) -> bool {
        let aside_bytes = self.aside_bytes(slot);
        let connection = self.connection(slot);
        match connection.phase {
            Phase::Closing { .. } | Phase::Gone => false,
            _ => {
                let waiting_bytes = connection.outbound.queued_bytes() + aside_bytes;
                connection.starved || connection.must_wait() || waiting_bytes > OUTBOUND_CONGESTED_BYTES
            }
        }
    }

    /// Lets a connection be read whose socket may hold bytes, now that nothing may stand against it any more.
    pub(crate) fn read_on(&mut self, slot: Slot) {
        let epoch = self.table.epoch(slot);
        let is_paused = self.is_paused(slot);
        let connection = self.connection(slot);
        if connection.unread && !connection.stands_to_read && !is_paused {
            connection.stands_to_read = true;
            let standing = self.standing(slot);
            self.to_read.push((slot, epoch), standing);
        }
    }

    /// Nothing arrives any more. The slot stays until the last message to the router has been pushed.
    pub(crate) fn on_ended(&mut self, slot: Slot) {
        self.on_session_eof(slot);
        self.wheel.cancel(slot);
        self.drop_asides(slot);
        let epoch = self.table.epoch(slot);
        let connection = self.table.get_mut(slot).expect("a connection ends once");
        match connection.transport {
            Transport::WebSocket => self.polls.forget(slot, epoch, connection.blocked),
            Transport::Quic => self.quic.as_mut().expect("it has a QUIC connection").let_go(slot),
        }
        connection.socket = None;
        if connection.secured {
            self.end_tls(slot);
        }
        let connection = self.table.get_mut(slot).expect("it was just there");
        connection.phase = Phase::Gone;
        self.outbound_bytes -= std::mem::replace(&mut connection.outbound, Outbound::new(0)).queued_bytes();
        if let Some(held) = &mut connection.held {
            self.held_bytes -= std::mem::take(&mut held.rest).len();
        }
        let is_done = !connection.stands_in_line();
        self.count_stage(slot);
        if is_done {
            self.free(slot);
        }
    }

    /// The peer has taken some of what waits for it, or a datagram of a QUIC connection has come. While much waits for it, it is
    /// not read, and this is all that is heard of it.
    pub(crate) fn on_sign_of_life(&mut self, slot: Slot) {
        let context = self.around.context();
        let connection = self.table.get_mut(slot).expect("it was just found");
        match &mut connection.phase {
            Phase::Session(open) => open.session.on_received(&context),
            Phase::Echo(echo) => echo.on_sign_of_life(context.now.monotonic),
            Phase::Handshake(_) | Phase::Closing { .. } | Phase::Gone => {}
        }
    }
}

/// How many bytes one read may take into a buffer with `room`, when the thread holds `held_bytes`.
pub(crate) const fn bite_bytes(held_bytes: usize, room: usize) -> usize {
    if held_bytes > HELD_TIGHT_BYTES { HELD_BITE_BYTES } else { room }
}
