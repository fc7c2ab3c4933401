//! Who is let in, and what the others are told: room, the rates of addresses, and the head-room of the thread
//! ([`switchyard_gateway_core::admission`]) decide. Over QUIC there is more to it ([`crate::quic`]).

use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;

use switchyard_gateway_core::admission::Crowded;
use switchyard_gateway_core::handshake::Refusal;
use switchyard_gateway_core::limits::FULL_COMEBACK_MS;
use switchyard_gateway_core::rate::Rate;
use switchyard_gateway_core::session::Transport;

use crate::address::AddressBlock;
use crate::state::State;
use crate::sys;

/// Why a connection is turned away at once.
pub(crate) enum TurnedAway {
    /// Its address has opened too many.
    Limited { wait_ms: u32 },
    /// Every connection is taken.
    Full,
    /// Too many newcomers wait.
    Crowded(Crowded),
}

impl State {
    /// Whether there is no room for another connection.
    pub(crate) fn is_full(&self) -> bool {
        self.table.used() >= self.config.connections_per_thread_max as usize
            || self.occupied.load(Ordering::Relaxed) >= self.config.connections_max
    }

    /// Why a connection is turned away before anything of it is read, if it is.
    pub(crate) fn turns_away(&mut self, socket: BorrowedFd<'_>) -> Option<TurnedAway> {
        if let Some(wait_ms) = self.address_has_to_wait(socket) {
            self.counters.handshakes_limited.add(1);
            return Some(TurnedAway::Limited { wait_ms });
        }
        if self.is_full() {
            self.counters.turned_away.add(1);
            return Some(TurnedAway::Full);
        }
        self.admit(Transport::WebSocket).err().map(TurnedAway::Crowded)
    }

    /// What a connection is told that is turned away, with a place in time for it. One of too many from an address gets none:
    /// it would take that of another.
    pub(crate) fn refusal(&mut self, why: TurnedAway) -> Refusal {
        match why {
            TurnedAway::Limited { wait_ms } => Refusal::too_many(wait_ms.div_ceil(1_000)),
            TurnedAway::Full => {
                self.send_away("This gateway has no room; connect again when the time has come.", FULL_COMEBACK_MS)
            }
            TurnedAway::Crowded(crowded) => self.put_off(crowded),
        }
    }

    /// For how many milliseconds the connection's address may open no more.
    fn address_has_to_wait(&mut self, socket: BorrowedFd<'_>) -> Option<u32> {
        if self.config.handshakes == Rate::UNLIMITED {
            return None;
        }
        // A peer that has gone already has no address, and needs no answer.
        let address = AddressBlock::from(sys::peer(socket)?);
        self.addresses.take(self.around.now.monotonic, address, self.config.handshakes).err()
    }

    /// Whether another connection over `transport` may come now.
    ///
    /// # Errors
    /// When too many newcomers wait.
    pub(crate) fn admit(&self, transport: Transport) -> Result<(), Crowded> {
        let admitted = self.admission.admit(self.newcomers());
        self.counters.put_off(transport).add(u64::from(admitted.is_err()));
        admitted
    }

    /// What one is told that may not.
    pub(crate) fn put_off(&mut self, Crowded { wait_ms }: Crowded) -> Refusal {
        self.send_away("This gateway is busy; connect again when the time has come.", wait_ms)
    }

    /// A refusal with a place in time for the client to come back, `behind_ms` after those who need not wait. It is for those who
    /// hear it: the places of others lie behind.
    pub(crate) fn send_away(&mut self, why: &str, behind_ms: u64) -> Refusal {
        Refusal::unavailable(why, self.around.comebacks.reserve_behind(self.around.now.monotonic, behind_ms))
    }
}
