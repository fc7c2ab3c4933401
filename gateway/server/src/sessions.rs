//! What happens to sessions: bytes, the router's messages, time, drain and the end, and how their effects are carried out.

use bytes::Bytes;
use switchyard_gateway_core::framing;
use switchyard_gateway_core::handshake::{Form, Upgrade};
use switchyard_gateway_core::limits::OUTBOUND_BYTES_MAX;
use switchyard_gateway_core::outbound::Outbound;
use switchyard_gateway_core::session::{Context, FromRouter, Session, SessionEffects, Transport, dispatch};
use switchyard_gateway_core::wheel::Slot;
use switchyard_gateway_core::ws::{Decoder, Role, Step};
use switchyard_schema::limits::CLIENT_FRAME_BYTES_MAX;
use switchyard_schema::link::{SessionRef, ToGateway};

use crate::connection::{Connection, Held, Open, Phase, Unpacker};
use crate::counters::Stage;
use crate::limits::FLOOD_HELD_BYTES_MAX;
use crate::links::WaitsFor;
use crate::state::State;

impl State {
    /// The upgrade is done; the session begins.
    pub(crate) fn open_session(&mut self, slot: Slot, form: Form, upgrade: &Upgrade) {
        let decoder = Decoder::new(Role::Server, CLIENT_FRAME_BYTES_MAX);
        self.begin_session(slot, Unpacker::WebSocket(decoder), |session, context, effects| {
            Session::new(session, form, upgrade.token.clone(), context, effects)
        });
    }

    /// The client may speak; its Hello is awaited.
    pub(crate) fn begin_session(
        &mut self,
        slot: Slot,
        unpacker: Unpacker,
        session: impl FnOnce(SessionRef, &Context<'_>, &mut SessionEffects) -> Session,
    ) {
        let name = SessionRef { gateway: self.index, slot, epoch: self.table.epoch(slot) };
        let session = session(name, &self.around.context(), &mut self.effects);
        self.connection(slot).phase = Phase::Session(Open { unpacker, session });
        self.carry_out(slot);
    }

    /// Bytes of a session's client arrived.
    pub(crate) fn on_session_bytes(&mut self, slot: Slot, input: &mut [u8]) {
        self.step(slot, |open, context, _| open.session.on_received(context));
        self.take_events(slot, input);
    }

    /// Hands one event after the other to the session. When it must wait, what is left is kept.
    fn take_events(&mut self, slot: Slot, mut input: &mut [u8]) {
        while !input.is_empty() {
            let connection = self.table.get_mut(slot).expect("its bytes are being handled");
            if connection.must_wait() {
                if connection.is_flooded() && self.held_bytes + input.len() > FLOOD_HELD_BYTES_MAX {
                    self.counters.too_fast.add(1);
                    return self.step(slot, |open, context, effects| open.session.on_too_fast(context, effects));
                }
                self.held_bytes += input.len();
                connection.held.get_or_insert_default().rest.extend_from_slice(input);
                return;
            }
            let Phase::Session(open) = &mut connection.phase else { return };
            if open.session.awaits_hello() && !self.takes_hello(slot) {
                continue;
            }
            let connection = self.table.get_mut(slot).expect("it was just there");
            let transport = connection.transport;
            let Phase::Session(open) = &mut connection.phase else { return };
            let context = self.around.context();
            let consumed = match open.unpacker.decode(input) {
                Ok(Step { consumed, event }) => {
                    let Some(event) = event else { return };
                    if open.session.defers(&event) {
                        // It is kept with what is behind it.
                        let mut kept = framing::again(&event).to_vec();
                        drop(event);
                        kept.extend_from_slice(&input[consumed..]);
                        return self.take_events(slot, &mut kept);
                    }
                    self.counters.frames_in(transport).add(1);
                    open.session.on_event(&context, event, &mut self.users, &mut self.effects);
                    let pauses = u64::from(open.session.is_flooded());
                    self.counters.flood_pauses.add(pauses);
                    consumed
                }
                Err(error) => {
                    self.counters.protocol_errors(transport).add(1);
                    open.session.on_bad_bytes(&context, error, &mut self.effects);
                    input.len()
                }
            };
            self.carry_out(slot);
            input = &mut std::mem::take(&mut input)[consumed..];
        }
    }

    /// A router core says something to one or several sessions. Those that have ended are passed over.
    pub(crate) fn on_router_message(&mut self, message: &ToGateway) {
        dispatch(message, |to, said| {
            assert_eq!(to.gateway, self.index, "a message came to the wrong gateway thread");
            if let Some(connection) = self.table.get_epoch_mut(to.slot, to.epoch) {
                match said {
                    _ if connection.counted != Stage::Open => {}
                    FromRouter::Accepted(_) => self.counters.sends_accepted.add(1),
                    FromRouter::Deliver(_) => self.counters.deliveries.add(1),
                    _ => {}
                }
                self.step(to.slot, |open, context, effects| open.session.on_router(context, said, effects));
                self.go_on(to.slot);
            }
        });
    }

    /// The session's timer is due.
    pub(crate) fn on_session_timer(&mut self, slot: Slot) {
        let connection = self.connection(slot);
        let is_held = connection.hello_waits || connection.stands_in_line();
        let was_early = matches!(&connection.phase, Phase::Session(open) if open.session.is_early());
        self.step(slot, |open, context, effects| open.session.on_timer(context, is_held, effects));
        if was_early && !matches!(self.connection(slot).phase, Phase::Session(_)) {
            self.count_quic_handshake_timeout(slot);
        }
        // It may have been a flood that had to wait.
        self.go_on(slot);
    }

    /// The handshake is done that the session, if it has not ended, did not wait for.
    pub(crate) fn on_session_confirmed(&mut self, slot: Slot) {
        let Phase::Session(open) = &self.connection(slot).phase else { return };
        let (was_awaited, is_open) = (open.session.awaits_handshake(), open.session.is_open());
        self.counters.quic_early_held.add(u64::from(was_awaited));
        if is_open {
            self.quic_mut().widen(slot);
        }
        self.step(slot, |open, context, effects| open.session.on_confirmed(context, effects));
        self.go_on(slot);
    }

    /// The gateway goes away.
    pub(crate) fn on_session_drain(&mut self, slot: Slot) {
        self.step(slot, |open, context, effects| open.session.on_drain(context, effects));
    }

    /// The connection has ended under the session.
    pub(crate) fn on_session_eof(&mut self, slot: Slot) {
        self.step(slot, |open, context, effects| open.session.on_eof(context, effects));
    }

    /// Handles what was kept, when nothing stands against it any more, and lets the connection be read on.
    pub(crate) fn go_on(&mut self, slot: Slot) {
        let connection = self.connection(slot);
        if connection.must_wait() {
            return;
        }
        if let Some(mut held) = connection.held.take() {
            self.held_bytes -= held.rest.len();
            self.take_events(slot, &mut held.rest);
        }
        self.read_on(slot);
    }

    /// One step of a session, if the connection has one, and its effects.
    fn step(&mut self, slot: Slot, step: impl FnOnce(&mut Open, &Context<'_>, &mut SessionEffects)) {
        let Some(Connection { phase: Phase::Session(open), .. }) = self.table.get_mut(slot) else { return };
        let context = self.around.context();
        step(open, &context, &mut self.effects);
        self.carry_out(slot);
    }

    /// Does what the session asked for.
    fn carry_out(&mut self, slot: Slot) {
        if self.count_stage(slot)
            && let Connection { transport: Transport::Quic, phase: Phase::Session(open), .. } = self.connection(slot)
            && !open.session.is_early()
        {
            self.quic_mut().widen(slot);
        }
        if self.effects.sent_away {
            self.around.comebacks.reserve(self.around.now.monotonic);
        }
        self.effects.refused.iter().for_each(|&code| self.counters.count_refused(code));
        self.set_pages_aside(slot);
        let bytes_max = OUTBOUND_BYTES_MAX - self.aside_bytes(slot);
        let connection = self.table.get_mut(slot).expect("its session just made a step");
        self.counters.frames_out(connection.transport).add(self.effects.frame_count);
        let mut overflowed = false;
        if !self.effects.frames.is_empty() {
            let before_bytes = connection.outbound.queued_bytes();
            overflowed = self.effects.frames.drain(..).any(|frame| {
                connection.outbound.queued_bytes() + frame.len() > bytes_max || connection.outbound.push(frame).is_err()
            });
            if overflowed {
                self.counters.too_slow.add(1);
                let Phase::Session(open) = &mut connection.phase else { unreachable!("only sessions have effects") };
                let context = self.around.context();
                open.session.on_overflow(&context, &mut self.effects);
                replace_waiting(&mut connection.outbound, self.effects.frames.drain(..));
            }
            self.outbound_bytes = self.outbound_bytes - before_bytes + connection.outbound.queued_bytes();
            if self.effects.may_linger && !overflowed {
                self.let_linger(slot);
            } else {
                self.mark_dirty(slot);
            }
        }
        self.push_messages(slot);
        if let Some(close) = self.effects.close.take() {
            self.quic_mut().close_later(slot, close);
        }
        if self.effects.ping {
            self.quic_mut().ping(slot);
        }
        if let Some(at) = self.effects.timer {
            self.wheel.schedule(slot, at);
        }
        if self.effects.finish {
            self.close(slot);
        }
        self.effects.clear();
        // Over QUIC the close passes what the client does not take, so nothing is waited for.
        if overflowed && self.connection(slot).transport == Transport::Quic {
            self.abort(slot);
        }
    }

    /// Pushes the session's messages, behind those that wait already.
    fn push_messages(&mut self, slot: Slot) {
        let connection = self.table.get_mut(slot).expect("its session just made a step");
        for message in self.effects.messages.drain(..) {
            if connection.stands_in_line() {
                connection.held.get_or_insert_default().messages.push_back(message);
                continue;
            }
            match self.routers.place_for(&message, false) {
                Ok(place) => {
                    self.routers.push(place, message);
                    self.counters.router_out.add(1);
                }
                Err(waits_for) => {
                    match waits_for {
                        WaitsFor::Credit { .. } => self.counters.credit_stalls.add(1),
                        WaitsFor::Room(_) => self.counters.room_stalls.add(1),
                    }
                    connection.held.get_or_insert_default().messages.push_back(message);
                    self.routers.wait(slot, waits_for);
                }
            }
        }
    }

    /// Tries the messages of the connection that is first in a line again.
    pub(crate) fn retry_held(&mut self, slot: Slot) {
        let connection = self.table.get_mut(slot).expect("who stands in a line keeps its slot");
        let Held { messages, .. } = connection.held.as_deref_mut().expect("who stands in a line holds something");
        while let Some(message) = messages.front() {
            match self.routers.place_for(message, true) {
                Ok(place) => {
                    self.routers.push(place, messages.pop_front().expect("it was just looked at"));
                    self.counters.router_out.add(1);
                }
                Err(waits_for) => return self.routers.wait(slot, waits_for),
            }
        }
        if matches!(connection.phase, Phase::Gone) {
            self.free(slot);
        } else {
            self.go_on(slot);
        }
    }
}

impl Connection {
    /// Whether it stands in a line of its thread, because a message to the router did not fit.
    pub(crate) fn stands_in_line(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.messages.is_empty())
    }

    /// Whether nothing more of what it sent can be handled before the router has done something, a pause is over,
    /// or its turn has come.
    pub(crate) fn must_wait(&self) -> bool {
        self.hello_waits
            || self.stands_in_line()
            || matches!(&self.phase, Phase::Session(open) if !open.session.wants_read())
    }

    /// Whether it sent too many frames and has to pause.
    fn is_flooded(&self) -> bool {
        matches!(&self.phase, Phase::Session(open) if open.session.is_flooded())
    }
}

/// Drops what waits, but for the frame whose beginning may already be written, and puts the last frames behind it.
fn replace_waiting(outbound: &mut Outbound, last: impl Iterator<Item = Bytes>) {
    let begun = outbound.front().cloned();
    *outbound = Outbound::new(OUTBOUND_BYTES_MAX);
    for frame in begun.into_iter().chain(last) {
        outbound.push(frame).expect("one frame and a goodbye fit an empty queue");
    }
}
