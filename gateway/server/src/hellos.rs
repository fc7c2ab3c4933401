//! Hellos in turn: a fleet that reconnects says thousands at once, and each costs the verification of a signature. A turn
//! reads a few; the connections of the others stand in a line, so that open sessions are served in between.

use switchyard_gateway_core::wheel::Slot;

use crate::limits::HELLOS_PER_TURN;
use crate::state::State;

impl State {
    /// Whether the connection's Hello may be read in this turn. If not, it stands in the line from now on.
    pub(crate) fn takes_hello(&mut self, slot: Slot) -> bool {
        if self.hellos_left > 0 {
            self.hellos_left -= 1;
            return true;
        }
        self.connection(slot).hello_waits = true;
        self.hellos.push_back((slot, self.table.epoch(slot)));
        false
    }

    /// Reads the Hellos that waited longest. `true` when some still wait.
    pub(crate) fn admit_hellos(&mut self) -> bool {
        self.hellos_left = HELLOS_PER_TURN;
        while self.hellos_left > 0
            && let Some((slot, epoch)) = self.hellos.pop_front()
        {
            // It may have left meanwhile.
            if let Some(connection) = self.table.get_epoch_mut(slot, epoch) {
                connection.hello_waits = false;
                self.go_on(slot);
            }
        }
        !self.hellos.is_empty()
    }
}
