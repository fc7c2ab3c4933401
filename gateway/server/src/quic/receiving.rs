//! Datagrams that have arrived, and timers of connections whose time has come.

use std::os::fd::AsFd;
use std::time::Instant;

use quinn_proto::{ConnectionHandle, DatagramEvent};
use switchyard_gateway_core::wheel::Slot;

use super::Quic;
use super::socket::Datagram;
use super::unproven::Came;
use crate::limits::{QUIC_DATAGRAMS_PER_TURN, QUIC_DEADLINES_PER_TURN, QUIC_HANDSHAKES_PER_TURN, QUIC_MISROUTED_MAX};
use crate::poll_ring::{PollRing, What};
use crate::state::State;

/// What the thread's QUIC socket is called among those that are watched: no connection has this slot.
const SOCKET: (Slot, u32) = (Slot::MAX, 0);

impl Quic {
    /// Tells whenever datagrams arrive.
    pub(crate) fn watch(&self, polls: &mut PollRing) {
        polls.watch(self.socket.as_fd(), SOCKET.0, SOCKET.1);
    }

    /// Tells when the socket takes datagrams again.
    pub(super) fn watch_writable(&self, polls: &mut PollRing) {
        polls.watch_writable(self.socket.as_fd(), SOCKET.0, SOCKET.1);
    }

    /// Whether the turn, which has taken so many datagrams, may take another.
    const fn may_take(&self, taken: usize) -> bool {
        taken < QUIC_DATAGRAMS_PER_TURN && self.begun < QUIC_HANDSHAKES_PER_TURN
    }

    /// Receives once, when nothing is left of what an earlier call brought. `false` when there is nothing to take.
    fn receive(&mut self) -> bool {
        let Self { socket, arrived, unread, .. } = self;
        if arrived.is_empty() && *unread {
            // An error is of a datagram that was sent, or says that there is nothing: either way nothing more is told now.
            *unread = socket.receive(|datagram| arrived.push_back(datagram)).is_ok();
        }
        !arrived.is_empty()
    }
}

impl State {
    /// Whether it was the QUIC socket that became ready, which this takes note of.
    pub(crate) fn is_quic_socket(&mut self, slot: Slot, epoch: u32, what: What) -> bool {
        if (slot, epoch) != SOCKET {
            return false;
        }
        let quic = self.quic.as_mut().expect("only a socket that exists is watched");
        match what {
            What::Readable { unwatched, .. } => {
                quic.unread = true;
                if unwatched {
                    quic.watch(&mut self.polls);
                }
            }
            What::Writable => self.counters.quic_bytes_out.add(quic.on_writable()),
        }
        true
    }

    /// Takes what has arrived, as much as a turn allows, and fires timers. `true` when there is more.
    pub(crate) fn take_quic(&mut self) -> bool {
        let Some(quic) = &mut self.quic else { return false };
        quic.begun = 0;
        let mut more = self.receive_datagrams();
        more |= self.fire_deadlines();
        self.look_at_happened();
        more
    }

    fn receive_datagrams(&mut self) -> bool {
        let mut taken = 0;
        while self.quic_mut().may_take(taken) && self.quic_mut().receive() {
            let now = Instant::now();
            while self.quic_mut().may_take(taken)
                && let Some(datagram) = self.quic_mut().arrived.pop_front()
            {
                taken += 1;
                self.counters.quic_bytes_in.add(datagram.bytes.len() as u64);
                let owner = self.quic_mut().steering.other_owner(&datagram.bytes);
                match owner {
                    None => self.on_datagram(datagram, now),
                    Some(owner) => {
                        let passed = self.quic_mut().misrouted.pass_on(owner, datagram);
                        let counter =
                            if passed { &self.counters.quic_passed_on } else { &self.counters.quic_not_passed_on };
                        counter.add(1);
                    }
                }
            }
            self.look_at_happened();
        }
        let now = Instant::now();
        for _ in 0..QUIC_MISROUTED_MAX {
            let Some(datagram) = self.quic_mut().misrouted.next() else { break };
            self.on_datagram(datagram, now);
        }
        self.quic_mut().misrouted.notify();
        self.quic_mut().has_to_receive()
    }

    fn on_datagram(&mut self, datagram: Datagram, now: Instant) {
        let Datagram { remote, local_ip, ecn, bytes } = datagram;
        let came = Came::of(&bytes);
        let quic = self.quic_mut();
        quic.buffer.clear();
        match quic.endpoint.handle(now, remote, local_ip, ecn, bytes, &mut quic.buffer) {
            None => {}
            Some(DatagramEvent::Response(transmit)) => self.send_at_once(&transmit),
            Some(DatagramEvent::NewConnection(incoming)) => self.on_incoming(incoming, came, now),
            Some(DatagramEvent::ConnectionEvent(ConnectionHandle(handle), event)) => {
                let Some(link) = quic.link(handle) else { return };
                link.proto.handle_event(event);
                link.on_came(came);
                let slot = link.slot;
                quic.mark_happened(handle);
                if let Some(slot) = slot {
                    self.on_sign_of_life(slot);
                }
            }
        }
    }

    /// `true` when more are due than a turn takes.
    fn fire_deadlines(&mut self) -> bool {
        let now = Instant::now();
        let quic = self.quic_mut();
        for _ in 0..QUIC_DEADLINES_PER_TURN {
            let Some(handle) = quic.deadlines.pop_due(now) else { return false };
            if let Some(link) = quic.link(handle) {
                link.armed.fired();
                link.proto.handle_timeout(now);
            }
            quic.mark_happened(handle);
        }
        true
    }

    /// The thread's QUIC, which is known to be there.
    pub(crate) fn quic_mut(&mut self) -> &mut Quic {
        self.quic.as_mut().expect("only a thread with QUIC has QUIC connections")
    }
}
