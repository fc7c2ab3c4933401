//! Writing what waits: one call per connection and turn, as far as the socket takes it. What waits on a QUIC connection goes to
//! its stream ([`crate::quic`]).
//!
//! What nobody waits for lingers: it is written with the next thing that somebody does wait for, or when its time is up.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use switchyard_gateway_core::limits::LINGER_MS;
use switchyard_gateway_core::outbound::Outbound;
use switchyard_gateway_core::session::Transport;
use switchyard_gateway_core::wheel::Slot;

use crate::connection::Phase;
use crate::limits::{FLUSH_BYTES_PER_TURN, WRITE_BYTES, WRITE_DIRECT_BYTES};
use crate::state::State;
use crate::sys;

/// How a connection's writing ended.
pub(crate) enum Written {
    /// Nothing waits any more.
    All,
    /// The socket takes no more.
    Blocked,
    /// The turn's limit was reached.
    Enough,
    /// The connection is broken.
    Broken,
}

impl State {
    /// Something waits on a connection that may wait a little longer for company.
    pub(crate) fn let_linger(&mut self, slot: Slot) {
        let until = self.around.now.monotonic.plus(LINGER_MS);
        let connection = self.connection(slot);
        if !connection.dirty && !connection.lingers {
            connection.lingers = true;
            self.lingering.push_back((until, slot));
        }
    }

    /// Marks the connections on which something has lingered for long enough.
    pub(crate) fn end_lingering(&mut self) {
        while let Some(&(until, slot)) = self.lingering.front() {
            if until > self.around.now.monotonic {
                return;
            }
            self.lingering.pop_front();
            let Some(connection) = self.table.get_mut(slot) else { continue };
            connection.lingers = false;
            if !connection.outbound.is_empty() {
                self.mark_dirty(slot);
            }
        }
    }

    /// Writes what waits on every connection in the list. `true` when some have more than a turn allows.
    pub(crate) fn flush(&mut self) -> bool {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|&slot| self.flush_one(slot));
        let more = !dirty.is_empty();
        // What was marked meanwhile stands behind what is left.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        more
    }

    /// `true` when it stays in the list.
    fn flush_one(&mut self, slot: Slot) -> bool {
        let mut buffer = std::mem::take(&mut self.write_buffer);
        let stays = self.flush_with(slot, &mut buffer);
        self.write_buffer = buffer;
        stays
    }

    fn flush_with(&mut self, slot: Slot, buffer: &mut Vec<u8>) -> bool {
        // The place may have been freed, or used again, since it was marked.
        let Some(connection) = self.table.get_mut(slot) else { return false };
        if connection.transport == Transport::Quic {
            return self.flush_quic(slot);
        }
        let Some(socket) = connection.socket.as_ref().filter(|_| !connection.blocked) else {
            connection.dirty = false;
            return false;
        };
        let waiting_bytes = connection.outbound.queued_bytes();
        let (written, written_bytes) = if connection.secured {
            let closing = matches!(connection.phase, Phase::Closing { .. });
            self.tls.write_out(slot, socket.as_fd(), &mut connection.outbound, closing, buffer)
        } else {
            write_out(socket.as_fd(), &mut connection.outbound, buffer)
        };
        self.outbound_bytes -= waiting_bytes - connection.outbound.queued_bytes();
        self.counters.bytes_out.add(written_bytes as u64);
        match written {
            Written::Enough => {}
            Written::All => {
                if let Phase::Closing { half_closed: half_closed @ false } = &mut connection.phase {
                    *half_closed = true;
                    sys::end_writing(socket.as_fd());
                }
            }
            Written::Blocked => {
                connection.blocked = true;
                let epoch = self.table.epoch(slot);
                let socket = self.table.get_mut(slot).and_then(|connection| connection.socket.as_ref());
                self.polls.watch_writable(socket.expect("it was just written to").as_fd(), slot, epoch);
            }
            Written::Broken => self.abort(slot),
        }
        self.read_on(slot);
        let stays = matches!(written, Written::Enough);
        self.connection(slot).dirty = stays;
        stays
    }
}

/// Writes what waits, as far as the socket takes it. Answers with the bytes that it took.
fn write_out(socket: BorrowedFd<'_>, outbound: &mut Outbound, buffer: &mut Vec<u8>) -> (Written, usize) {
    let mut written_bytes = 0;
    while let Some(piece) = next_write(outbound, buffer) {
        if written_bytes >= FLUSH_BYTES_PER_TURN {
            return (Written::Enough, written_bytes);
        }
        let piece_bytes = piece.len();
        match sys::transmit(socket, piece) {
            Ok(bytes) => {
                outbound.advance(bytes);
                written_bytes += bytes;
                if bytes < piece_bytes {
                    return (Written::Blocked, written_bytes);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (Written::Blocked, written_bytes),
            Err(_) => return (Written::Broken, written_bytes),
        }
    }
    (Written::All, written_bytes)
}

/// What one call writes next: the oldest frame where it is, when it is large or alone, or as many as fit `gathered`, where they are
/// put together.
pub(crate) fn next_write<'a>(outbound: &'a Outbound, gathered: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let front = outbound.front()?;
    if outbound.is_single() || front.len() >= WRITE_DIRECT_BYTES {
        return Some(front);
    }
    gathered.clear();
    outbound.gather(gathered, WRITE_BYTES);
    Some(gathered)
}
