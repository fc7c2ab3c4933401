//! Hellos in turn: a fleet that reconnects says thousands at once, and each costs the verification of a signature. A turn
//! reads a few; the connections of the others stand in a line, so that open sessions are served in between. How many, and whether
//! there is room in the line for more, the head-room of the thread decides ([`switchyard_gateway_core::admission`]).

use std::time::{Duration, Instant};

use switchyard_gateway_core::admission::Turn;
use switchyard_gateway_core::wheel::Slot;

use crate::counters::Stage;
use crate::state::State;

impl State {
    /// Takes in how late this turn, which has just begun, is, and how the line has moved.
    pub(crate) fn measure_head_room(&mut self, begun: Instant) {
        let late = self.resumed.map_or(Duration::ZERO, |previous| begun.saturating_duration_since(previous));
        let through = self.counters.newcomers_through.get();
        self.admission.on_turn(Turn {
            now: self.around.now.monotonic,
            late_us: u64::try_from(late.as_micros()).unwrap_or(u64::MAX),
            waiting: self.newcomers(),
            left_line: through - std::mem::replace(&mut self.left_line_known, through),
        });
        self.counters.turn_late_us.set(self.admission.late_us());
    }

    /// Connections whose Hello has come, and that are no sessions yet.
    pub(crate) fn newcomers(&self) -> usize {
        let attaching = self.counters.attaching.get() + self.counters.quic_attaching.get();
        self.hellos.len() + usize::try_from(attaching).unwrap_or(usize::MAX)
    }

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
        self.hellos_left = self.admission.hellos_per_turn();
        while self.hellos_left > 0
            && let Some((slot, epoch)) = self.hellos.pop_front()
        {
            let before = self.counters.newcomers_through.get();
            // It may have gone meanwhile.
            if let Some(connection) = self.table.get_epoch_mut(slot, epoch) {
                connection.hello_waits = false;
                self.go_on(slot);
            }
            let connection = self.table.get_epoch_mut(slot, epoch);
            let waits_on = connection.is_some_and(|connection| connection.counted == Stage::Attaching);
            // One that was asked about and is through with that already was counted then.
            if !waits_on && self.counters.newcomers_through.get() == before {
                self.counters.newcomers_through.add(1);
            }
        }
        !self.hellos.is_empty()
    }
}
