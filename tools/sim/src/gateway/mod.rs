//! One gateway thread: the counterpart of `gateway/server`, around the real sessions, decoders, queues and timing wheel.
//!
//! The upgrade request is left out: a connection begins as a session.

mod early;
mod routers;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use switchyard_gateway_core::auth::KeySet;
use switchyard_gateway_core::comebacks::Comebacks;
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::limits::{CLOSE_GRACE_MS, OUTBOUND_BYTES_MAX, OUTBOUND_CONGESTED_BYTES, WHEEL_TICK_MS};
use switchyard_gateway_core::outbound::Outbound;
use switchyard_gateway_core::rate::UserRates;
use switchyard_gateway_core::session::{Context, Now, Session, SessionEffects, Settings, Surroundings, dispatch};
use switchyard_gateway_core::wheel::{Slot, Wheel};
use switchyard_gateway_core::ws::{Decoder, Role, Step};
use switchyard_schema::limits::CLIENT_FRAME_BYTES_MAX;
use switchyard_schema::link::{SessionRef, ToGateway, ToRouter};

use crate::agenda::{Event, Turn};
use crate::links::GatewayEnd;
use crate::network::{ConnectionId, Network};
use crate::shared::Shared;

use routers::{Routers, WaitsFor};

/// As in `gateway/server`.
const RECEIVE_BYTES: usize = 64 * 1024;
/// As in `gateway/server`.
const ROUTER_MESSAGES_PER_TURN: usize = 1_024;
/// As in `gateway/server`.
const RETRIES_PER_TURN: usize = 1_024;
/// As in `gateway/server`.
const TIMERS_PER_TURN: usize = 128;
/// As in `gateway/server`.
pub(crate) const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Clients that come back in a second, of all that were sent away: so few that what they do then is spread over the time in
/// which the next faults come.
const RECONNECTS_PER_SECOND: u32 = 10;
/// As in `gateway/server`.
const FLOOD_HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug)]
enum Phase {
    Session {
        decoder: Decoder,
        session: Box<Session>,
    },
    /// Nothing more is said; it ends when everything is written.
    Closing,
    /// It has ended; the place is kept until its last message to the router has been pushed.
    Gone,
}

#[derive(Debug, Default)]
struct Held {
    messages: VecDeque<ToRouter>,
    rest: Vec<u8>,
}

/// A connection as its thread keeps it.
#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    phase: Phase,
    outbound: Outbound,
    held: Option<Box<Held>>,
    dirty: bool,
    /// The socket is closed on this side.
    closed: bool,
}

#[derive(Debug, Default)]
struct Place {
    epoch: u32,
    connection: Option<Connection>,
}

/// A gateway thread.
#[derive(Debug)]
pub(crate) struct Gateway {
    index: u16,
    places: Vec<Place>,
    free: Vec<Slot>,
    /// Where each connection is.
    slots: Vec<(ConnectionId, Slot)>,
    /// Connections with something to read.
    readable: BTreeSet<Slot>,
    wheel: Wheel,
    ticked_ms: u64,
    routers: Routers,
    around: Surroundings,
    users: UserRates,
    effects: SessionEffects,
    dirty: Vec<Slot>,
    held_bytes: usize,
    pub(crate) turn: Turn,
    pub(crate) stalled_until_us: u64,
    /// Takes no more connections.
    pub(crate) draining: bool,
}

impl Gateway {
    pub(crate) fn new(shared: &Shared, index: u16, ends: Vec<GatewayEnd>, keys: Arc<KeySet>) -> Self {
        let now = clocks(shared);
        Self {
            index,
            places: Vec::new(),
            free: Vec::new(),
            slots: Vec::new(),
            readable: BTreeSet::new(),
            wheel: Wheel::new(now.monotonic),
            ticked_ms: now.monotonic.0,
            routers: Routers::new(shared.plan.shards, ends, shared.plan.rings.credits),
            around: Surroundings {
                now,
                keys,
                settings: Settings { heartbeat_ms: shared.plan.heartbeat_ms, ..Settings::default() },
                comebacks: Comebacks::new(RECONNECTS_PER_SECOND.div_ceil(u32::from(shared.plan.gateways))),
            },
            users: UserRates::new(0),
            effects: SessionEffects::new(),
            dirty: Vec::new(),
            held_bytes: 0,
            turn: Turn::default(),
            stalled_until_us: 0,
            draining: false,
        }
    }

    /// Makes sure that it runs within `us`.
    pub(crate) fn wake(&mut self, shared: &mut Shared, us: u64) {
        let at_us = (shared.agenda.now_us() + us).max(self.stalled_until_us);
        let event = Event::Gateway { life: shared.life, index: usize::from(self.index) };
        self.turn.ask(&mut shared.agenda, at_us, event);
    }

    /// Takes a connection in.
    pub(crate) fn accept(&mut self, shared: &Shared, id: ConnectionId) {
        self.around.now = clocks(shared);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            Slot::try_from(self.places.len() - 1).expect("few connections")
        });
        let place = &mut self.places[slot as usize];
        place.epoch += 1;
        let name = SessionRef { gateway: self.index, slot, epoch: place.epoch };
        let context = self.around.context();
        let session = if early::begins_early(name) {
            Session::new_early(name, Form::Binary.into(), &context, &mut self.effects)
        } else {
            Session::new(name, Form::Binary, None, &context, &mut self.effects)
        };
        place.connection = Some(Connection {
            id,
            phase: Phase::Session {
                decoder: Decoder::new(Role::Server, CLIENT_FRAME_BYTES_MAX),
                session: Box::new(session),
            },
            outbound: Outbound::new(OUTBOUND_BYTES_MAX),
            held: None,
            dirty: false,
            closed: false,
        });
        self.slots.push((id, slot));
        self.carry_out(slot);
    }

    /// A connection has something to read, or takes more.
    pub(crate) fn touch(&mut self, shared: &Shared, id: ConnectionId, readable: bool) {
        let Some(&(_, slot)) = self.slots.iter().find(|(known, _)| *known == id) else { return };
        if readable {
            self.readable.insert(slot);
        } else {
            self.mark_dirty(slot);
            // As in `gateway/server`: whoever takes what waits is alive, though it cannot be asked behind all that.
            self.around.now = clocks(shared);
            self.step(slot, |_, session, context, _| session.on_received(context));
        }
    }

    /// A turn. Gives the router cores to wake.
    pub(crate) fn run(&mut self, shared: &mut Shared, network: &mut Network) -> Vec<usize> {
        self.around.now = clocks(shared);
        for slot in self.readable.clone() {
            self.on_readable(shared, slot, network);
        }
        self.tick(shared, network);
        let mut more = false;
        for core in 0..self.routers.cores() {
            more |= self.take_router_messages(core);
        }
        for target in 0..self.routers.cores() {
            for answering in 0..self.routers.cores() {
                more |= self.retry(WaitsFor::Credit { target, answering });
            }
            more |= self.retry(WaitsFor::Room(target));
        }
        self.flush(shared, network);
        assert!(self.held_bytes <= HELD_BYTES_MAX, "a gateway thread holds more than it may");
        more |= !self.routers.all_empty() || self.readable.iter().any(|slot| !self.is_paused(*slot));
        let us = if more { 1 } else { WHEEL_TICK_MS * 1000 };
        let drawn_us = shared.plan.wake.draw(&mut shared.random);
        self.wake(shared, us + drawn_us);
        self.routers.take_touched()
    }

    /// Tells every session to connect elsewhere.
    pub(crate) fn drain(&mut self, shared: &mut Shared) {
        self.around.now = clocks(shared);
        self.draining = true;
        for slot in self.used() {
            self.step(slot, |_, session, context, out| session.on_drain(context, out));
        }
    }

    /// Ends every connection at once.
    pub(crate) fn abort_all(&mut self, shared: &mut Shared, network: &mut Network) {
        self.around.now = clocks(shared);
        for slot in self.used() {
            self.end(shared, slot, network);
        }
    }

    /// Whether no connection is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.places.iter().all(|place| place.connection.is_none())
    }

    /// Credits that are out, and bytes held: nothing of either once everything is quiet.
    pub(crate) fn outstanding(&self) -> (usize, usize) {
        (self.routers.credits_out(), self.held_bytes)
    }

    fn used(&self) -> Vec<Slot> {
        let used = self.places.iter().enumerate().filter(|(_, place)| place.connection.is_some());
        used.map(|(index, _)| Slot::try_from(index).expect("few connections")).collect()
    }

    fn on_readable(&mut self, shared: &mut Shared, slot: Slot, network: &mut Network) {
        let Some(connection) = self.places[slot as usize].connection.as_mut() else {
            self.readable.remove(&slot);
            return;
        };
        let id = connection.id;
        if connection.is_paused() {
            return;
        }
        let mut bytes = network.read(id, true, RECEIVE_BYTES);
        let pipe = &network.get(id).up;
        let (nothing_more, ended) = (pipe.arrived.is_empty(), pipe.ended);
        if nothing_more && !ended {
            self.readable.remove(&slot);
        }
        if !bytes.is_empty() {
            if matches!(connection.phase, Phase::Session { .. }) {
                self.step(slot, |_, session, context, _| session.on_received(context));
                self.take_events(slot, &mut bytes);
            }
        } else if ended {
            self.readable.remove(&slot);
            self.end(shared, slot, network);
        }
    }

    /// Hands one event after the other to the session; what must wait for the router is kept.
    fn take_events(&mut self, slot: Slot, mut input: &mut [u8]) {
        while !input.is_empty() {
            let connection = self.places[slot as usize].connection.as_mut().expect("its bytes are being handled");
            if connection.must_wait() {
                if connection.is_flooded() && self.held_bytes + input.len() > FLOOD_HELD_BYTES_MAX {
                    return self.step(slot, |_, session, context, out| session.on_too_fast(context, out));
                }
                self.held_bytes += input.len();
                connection.held.get_or_insert_default().rest.extend_from_slice(input);
                return;
            }
            let Phase::Session { decoder, session } = &mut connection.phase else { return };
            let context = self.around.context();
            let consumed = match decoder.decode(input) {
                Ok(Step { consumed, event }) => {
                    let Some(event) = event else { return };
                    if session.defers(&event) {
                        let mut kept = early::again(&event);
                        drop(event);
                        kept.extend_from_slice(&input[consumed..]);
                        return self.take_events(slot, &mut kept);
                    }
                    session.on_event(&context, event, &mut self.users, &mut self.effects);
                    consumed
                }
                Err(error) => {
                    session.on_bad_bytes(&context, error, &mut self.effects);
                    input.len()
                }
            };
            self.carry_out(slot);
            input = &mut std::mem::take(&mut input)[consumed..];
        }
    }

    fn take_router_messages(&mut self, core: usize) -> bool {
        let found = self.routers.waiting(core);
        let mut popped = 0;
        while popped < ROUTER_MESSAGES_PER_TURN
            && let Some(message) = self.routers.pop(core)
        {
            popped += 1;
            self.on_router_message(&message);
        }
        self.routers.on_popped(core, found, popped);
        popped == ROUTER_MESSAGES_PER_TURN
    }

    fn on_router_message(&mut self, message: &ToGateway) {
        dispatch(message, |to, said| {
            assert_eq!(to.gateway, self.index, "a message came to the wrong gateway thread");
            let place = &self.places[to.slot as usize];
            if place.epoch == to.epoch && place.connection.is_some() {
                self.step(to.slot, |_, session, context, out| session.on_router(context, said, out));
                self.go_on(to.slot);
            }
        });
    }

    fn tick(&mut self, shared: &mut Shared, network: &mut Network) {
        if self.around.now.monotonic.0 < self.ticked_ms + WHEEL_TICK_MS {
            return;
        }
        self.ticked_ms = self.around.now.monotonic.0;
        self.confirm_early();
        let mut due = Vec::new();
        self.wheel.advance(self.around.now.monotonic, &mut due, TIMERS_PER_TURN);
        for slot in due {
            let Some(connection) = &self.places[slot as usize].connection else { continue };
            match connection.phase {
                Phase::Session { .. } => {
                    let held = connection.stands_in_line();
                    self.step(slot, |_, session, context, out| session.on_timer(context, held, out));
                    // It may have been a flood that had to wait.
                    self.go_on(slot);
                }
                Phase::Closing => self.end(shared, slot, network),
                Phase::Gone => {}
            }
        }
    }

    fn retry(&mut self, line: WaitsFor) -> bool {
        for _ in 0..RETRIES_PER_TURN {
            let Some(slot) = self.routers.next_in_line(line) else { return false };
            self.retry_held(slot);
        }
        true
    }

    fn retry_held(&mut self, slot: Slot) {
        let connection = self.places[slot as usize].connection.as_mut().expect("who stands in a line keeps its slot");
        let Held { messages, .. } = connection.held.as_deref_mut().expect("who stands in a line holds something");
        while let Some(message) = messages.front() {
            match self.routers.place_for(message, true) {
                Ok(place) => self.routers.push(place, messages.pop_front().expect("it was just looked at")),
                Err(waits_for) => return self.routers.wait(slot, waits_for),
            }
        }
        if matches!(connection.phase, Phase::Gone) { self.free(slot) } else { self.go_on(slot) }
    }

    /// Handles what was kept, when nothing stands against it any more.
    fn go_on(&mut self, slot: Slot) {
        let Some(connection) = self.places[slot as usize].connection.as_mut() else { return };
        if connection.must_wait() {
            return;
        }
        if let Some(mut held) = connection.held.take() {
            self.held_bytes -= held.rest.len();
            self.take_events(slot, &mut held.rest);
        }
    }

    fn step(&mut self, slot: Slot, step: impl FnOnce(&mut Decoder, &mut Session, &Context<'_>, &mut SessionEffects)) {
        let Some(Connection { phase: Phase::Session { decoder, session }, .. }) =
            &mut self.places[slot as usize].connection
        else {
            return;
        };
        let context = self.around.context();
        step(decoder, session, &context, &mut self.effects);
        self.carry_out(slot);
    }

    /// Does what the session asked for.
    fn carry_out(&mut self, slot: Slot) {
        if self.effects.sent_away {
            self.around.comebacks.reserve(self.around.now.monotonic);
        }
        let connection = self.places[slot as usize].connection.as_mut().expect("its session just made a step");
        if !self.effects.frames.is_empty() {
            let overflowed = self.effects.frames.drain(..).any(|frame| connection.outbound.push(frame).is_err());
            if overflowed {
                let Phase::Session { session, .. } = &mut connection.phase else {
                    unreachable!("only sessions have effects")
                };
                let context = self.around.context();
                session.on_overflow(&context, &mut self.effects);
                replace_waiting(&mut connection.outbound, self.effects.frames.drain(..));
            }
            self.mark_dirty(slot);
        }
        self.push_messages(slot);
        if let Some(at) = self.effects.timer {
            self.wheel.schedule(slot, at);
        }
        if self.effects.finish {
            let connection = self.places[slot as usize].connection.as_mut().expect("looked up above");
            if matches!(connection.phase, Phase::Session { .. }) {
                connection.phase = Phase::Closing;
                self.mark_dirty(slot);
                self.wheel.schedule(slot, self.around.now.monotonic.plus(CLOSE_GRACE_MS));
            }
        }
        self.effects.clear();
    }

    fn push_messages(&mut self, slot: Slot) {
        let connection = self.places[slot as usize].connection.as_mut().expect("its session just made a step");
        for message in self.effects.messages.drain(..) {
            if connection.stands_in_line() {
                connection.held.get_or_insert_default().messages.push_back(message);
                continue;
            }
            match self.routers.place_for(&message, false) {
                Ok(place) => self.routers.push(place, message),
                Err(waits_for) => {
                    connection.held.get_or_insert_default().messages.push_back(message);
                    self.routers.wait(slot, waits_for);
                }
            }
        }
    }

    fn flush(&mut self, shared: &mut Shared, network: &mut Network) {
        for slot in std::mem::take(&mut self.dirty) {
            let Some(connection) = &mut self.places[slot as usize].connection else { continue };
            connection.dirty = false;
            if connection.closed {
                continue;
            }
            let id = connection.id;
            while !connection.outbound.is_empty() {
                let room = network.room(shared, id);
                if room == 0 {
                    network.get(id).blocked = true;
                    break;
                }
                let mut buffer = Vec::new();
                let written = connection.outbound.gather(&mut buffer, room.min(RECEIVE_BYTES));
                connection.outbound.advance(written);
                network.send(shared, id, false, Bytes::from(buffer));
            }
            if connection.outbound.is_empty() && matches!(connection.phase, Phase::Closing) {
                connection.closed = true;
                network.close(shared, id, false);
            }
        }
    }

    /// The connection has ended, or ends now.
    fn end(&mut self, shared: &mut Shared, slot: Slot, network: &mut Network) {
        self.step(slot, |_, session, context, out| session.on_eof(context, out));
        let Some(connection) = self.places[slot as usize].connection.as_mut() else { return };
        if !std::mem::replace(&mut connection.closed, true) {
            network.close(shared, connection.id, false);
        }
        self.wheel.cancel(slot);
        connection.phase = Phase::Gone;
        connection.outbound = Outbound::new(0);
        if let Some(held) = &mut connection.held {
            self.held_bytes -= std::mem::take(&mut held.rest).len();
        }
        if !connection.stands_in_line() {
            self.free(slot);
        }
    }

    fn free(&mut self, slot: Slot) {
        if self.places[slot as usize].connection.take().is_some() {
            self.slots.retain(|(_, known)| *known != slot);
            self.readable.remove(&slot);
            self.free.push(slot);
        }
    }

    fn mark_dirty(&mut self, slot: Slot) {
        if let Some(connection) = &mut self.places[slot as usize].connection
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(slot);
        }
    }

    fn is_paused(&self, slot: Slot) -> bool {
        self.places[slot as usize].connection.as_ref().is_some_and(Connection::is_paused)
    }
}

impl Connection {
    fn stands_in_line(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.messages.is_empty())
    }

    fn must_wait(&self) -> bool {
        self.stands_in_line() || matches!(&self.phase, Phase::Session { session, .. } if !session.wants_read())
    }

    fn is_flooded(&self) -> bool {
        matches!(&self.phase, Phase::Session { session, .. } if session.is_flooded())
    }

    fn is_paused(&self) -> bool {
        match self.phase {
            Phase::Closing | Phase::Gone => false,
            Phase::Session { .. } => self.must_wait() || self.outbound.queued_bytes() > OUTBOUND_CONGESTED_BYTES,
        }
    }
}

fn clocks(shared: &Shared) -> Now {
    Now { monotonic: shared.agenda.monotonic(), unix: shared.agenda.wall() }
}

/// Drops what waits, but for the frame whose beginning may already be written, and puts the last frames behind it.
fn replace_waiting(outbound: &mut Outbound, last: impl Iterator<Item = Bytes>) {
    let begun = outbound.front().cloned();
    *outbound = Outbound::new(OUTBOUND_BYTES_MAX);
    for frame in begun.into_iter().chain(last) {
        outbound.push(frame).expect("one frame and a goodbye fit an empty queue");
    }
}
