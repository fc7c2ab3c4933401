//! A turn: everything that the tasks of one wake-up left to do.
//!
//! Orders, then what clients sent, over QUIC last, then timers, so that a thread that stood still takes nobody for silent whose
//! bytes have come, then the router's messages, then requests that had to wait, then writing, then waking the router cores. Each
//! part has a limit; what is over it comes with the next turn.

use std::time::{Duration, Instant};

use switchyard_gateway_core::handshake::Refusal;
use switchyard_gateway_core::session::Transport;
use switchyard_gateway_core::wheel::Slot;
use switchyard_schema::error::CloseCode;

use crate::connection::Phase;
use crate::limits::{
    DRAIN_LAST_MS, DRAINED_PER_TURN, HELD_BYTES_MAX, RETRIES_PER_TURN, ROUTER_MESSAGES_PER_TURN, TIMERS_PER_TURN,
};
use crate::links::WaitsFor;
use crate::state::{Drain, State, TurnEnd};

impl State {
    /// One turn.
    pub(crate) fn turn(&mut self) -> TurnEnd {
        self.parker.awake();
        self.polls.awake();
        let begun = Instant::now();
        self.around.now = self.clock.at(begun);
        self.counters.turns.add(1);
        self.show_life(begun);
        self.measure_head_room(begun);
        self.counters.ring_depth.set(self.routers.all_waiting() as u64);
        self.take_orders();
        self.tls.on_turn();
        let mut more = self.continue_drain();
        self.read_sockets();
        more |= self.take_quic();
        more |= self.fire_timers();
        for core in 0..self.routers.cores() {
            more |= self.take_router_messages(core);
        }
        more |= self.retry_all();
        self.feed_starved();
        more |= self.admit_hellos();
        self.end_lingering();
        more |= self.flush();
        more |= self.send_quic();
        more |= self.polls.submit() || self.has_to_read();
        self.routers.notify();
        self.show();
        if self.is_finished() {
            return TurnEnd::Finished;
        }
        if !more {
            self.parker.prepare_park();
            self.polls.prepare_sleep();
            more = !self.routers.all_empty() || self.polls.has_ready();
        }
        self.resumed = more.then_some(begun);
        if more { TurnEnd::MoreToDo } else { TurnEnd::Idle }
    }

    /// Shows others what is held now.
    fn show(&self) {
        self.counters.held_bytes.set(self.held_bytes as u64);
        self.counters.outbound_bytes.set(self.outbound_bytes as u64);
        self.counters.tls.set(self.tls.used() as u64);
        self.counters.tls_kept_bytes.set(self.tls.kept_bytes() as u64);
        self.counters.hellos_waiting.set(self.hellos.len() as u64);
    }

    fn show_life(&self, begun: Instant) {
        if let Some(silence) = self.counters.pulse.beat(begun) {
            self.counters.stalls.add(1);
            tracing::warn!(thread = self.index, ms = silence.as_millis(), "this gateway thread stood still");
        }
    }

    /// Fires timers whose time has come. `true` when more are due than a turn takes.
    fn fire_timers(&mut self) -> bool {
        let mut due = std::mem::take(&mut self.due);
        due.clear();
        let more = self.wheel.advance(self.around.now.monotonic, &mut due, TIMERS_PER_TURN);
        for &slot in &due {
            self.on_timer(slot);
        }
        self.due = due;
        more
    }

    fn on_timer(&mut self, slot: Slot) {
        let connection = self.connection(slot);
        match connection.phase {
            Phase::Handshake(_) if connection.transport == Transport::Quic => self.on_quic_handshake_timeout(slot),
            Phase::Handshake(_) => {
                let securing = self.is_securing(slot);
                let counter = if securing { &self.counters.tls_timed_out } else { &self.counters.handshakes_timed_out };
                counter.add(1);
                let refusal = Refusal::timeout();
                self.say_last(slot, refusal.response.into());
            }
            Phase::Session(_) => self.on_session_timer(slot),
            Phase::Closing { .. } => self.abort(slot),
            Phase::Echo(_) => self.on_echo_timer(slot),
            Phase::Gone => {}
        }
    }

    fn take_orders(&mut self) {
        let Some(orders) = self.control.newer_than(&mut self.orders_seen) else { return };
        self.around.keys = orders.keys;
        if let Some(plan) = orders.drain {
            let told = self.drain.map_or(0, |drain| drain.told);
            self.drain = Some(Drain { plan, told, forced: false });
        }
    }

    /// Tells some more connections of a drain; at its deadline ends what is left. `true` when there are more to tell.
    fn continue_drain(&mut self) -> bool {
        let Some(mut drain) = self.drain else { return false };
        let upto = self.table.extent().min(drain.told + DRAINED_PER_TURN);
        for index in drain.told..upto {
            let slot = Slot::try_from(index).expect("the table has no more slots");
            if self.table.get_mut(slot).is_some() {
                self.on_drain(slot);
            }
        }
        drain.told = upto;
        if !drain.forced && self.is_past_deadline() {
            drain.forced = true;
            for index in 0..self.table.extent() {
                let slot = Slot::try_from(index).expect("the table has no more slots");
                if self.table.get_mut(slot).is_some() {
                    self.abort(slot);
                }
            }
        }
        self.drain = Some(drain);
        upto < self.table.extent()
    }

    fn on_drain(&mut self, slot: Slot) {
        let connection = self.connection(slot);
        match connection.phase {
            Phase::Handshake(_) => {
                // Nothing is heard yet, and a place would be lost.
                if self.is_securing(slot) {
                    return self.abort(slot);
                }
                let refusal = self.send_away("This gateway is going away; connect again when the time has come.", 0);
                self.say_last(slot, refusal.response.into());
            }
            Phase::Session(_) => self.on_session_drain(slot),
            Phase::Echo(_) => self.end_echo(slot, CloseCode::GoingAway, "this server is going away"),
            Phase::Closing { .. } | Phase::Gone => {}
        }
    }

    fn is_finished(&self) -> bool {
        let Some(drain) = self.drain else { return false };
        let last = drain.plan.deadline + Duration::from_millis(DRAIN_LAST_MS);
        self.table.used() == 0 && self.owes_nothing_over_quic() || Instant::now() >= last
    }

    /// `true` when the core has sent more than a turn takes.
    fn take_router_messages(&mut self, core: usize) -> bool {
        let found = self.routers.waiting(core);
        let mut popped = 0;
        while popped < ROUTER_MESSAGES_PER_TURN
            && let Some(message) = self.routers.pop(core)
        {
            popped += 1;
            self.on_router_message(&message);
        }
        self.counters.router_in.add(popped as u64);
        self.routers.on_popped(core, found, popped);
        popped == ROUTER_MESSAGES_PER_TURN
    }

    /// Tries what waits in every line again. `true` when the limit was reached in some.
    fn retry_all(&mut self) -> bool {
        // Many cores have many lines, and nearly always all of them are empty.
        if !self.routers.anybody_waits() {
            return false;
        }
        let mut more = false;
        for target in 0..self.routers.cores() {
            for answering in 0..self.routers.cores() {
                more |= self.retry(WaitsFor::Credit { target, answering });
            }
            more |= self.retry(WaitsFor::Room(target));
        }
        more
    }

    /// Tries the messages that wait in one line again, oldest first. `true` when the turn's limit was reached.
    fn retry(&mut self, line: WaitsFor) -> bool {
        for _ in 0..RETRIES_PER_TURN {
            let Some(slot) = self.routers.next_in_line(line) else { return false };
            self.retry_held(slot);
        }
        true
    }

    /// Lets connections read again that did not because too much was held.
    fn feed_starved(&mut self) {
        while self.held_bytes <= HELD_BYTES_MAX
            && let Some(slot) = self.starved.pop_front()
        {
            if let Some(connection) = self.table.get_mut(slot) {
                connection.starved = false;
                self.read_on(slot);
            }
        }
    }
}
