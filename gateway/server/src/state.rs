//! What the tasks of a thread work on: connections, links, timers and the shared buffers. No call in here waits.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use switchyard_gateway_core::admission::Admission;
use switchyard_gateway_core::auth::KeySet;
use switchyard_gateway_core::comebacks::Comebacks;
use switchyard_gateway_core::limits::{CLOSE_GRACE_MS, HANDSHAKE_MS, WHEEL_TICK_MS};
use switchyard_gateway_core::outbound::Overflow;
use switchyard_gateway_core::rate::{KeyedRates, UserRates};
use switchyard_gateway_core::session::{SessionEffects, Surroundings, Transport};
use switchyard_gateway_core::wheel::{Slot, Wheel};
use switchyard_ring::Parker;
use switchyard_ring::limits::SLEEP_MS_MAX;
use switchyard_schema::error::CloseCode;
use switchyard_schema::ids::Millis;

use crate::address::AddressBlock;
use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::connection::{Connection, Phase};
use crate::control::{Control, DrainPlan};
use crate::counters::{Counters, Stage};
use crate::limits::{RECEIVE_BYTES, RESERVED_PLACES_MAX, TURNED_AWAY_MAX, WRITE_BYTES};
use crate::links::Routers;
use crate::poll_ring::PollRing;
use crate::quic::Quic;
use crate::sys;
use crate::table::Table;
use crate::tls::SecureTable;
use crate::to_read::ToRead;

/// The state of one gateway thread.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) index: u16,
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) clock: Clock,
    pub(crate) table: Table,
    /// TLS of the connections that have it.
    pub(crate) tls: SecureTable,
    pub(crate) wheel: Wheel,
    pub(crate) routers: Routers,
    pub(crate) parker: Parker,
    pub(crate) control: Arc<Control>,
    pub(crate) orders_seen: u64,
    /// What sessions are given.
    pub(crate) around: Surroundings,
    pub(crate) drain: Option<Drain>,
    pub(crate) counters: Arc<Counters>,
    /// Connections of all threads.
    pub(crate) occupied: Arc<AtomicU32>,
    /// `None` where QUIC is not spoken.
    pub(crate) quic: Option<Box<Quic>>,
    /// Connections with something to write.
    pub(crate) dirty: Vec<Slot>,
    /// Connections with something to write that may linger, and when it must be written.
    pub(crate) lingering: VecDeque<(Millis, Slot)>,
    /// Which sockets are ready.
    pub(crate) polls: PollRing,
    /// Connections whose socket may hold bytes that were not read.
    pub(crate) to_read: ToRead,
    /// Connections whose Hello waits for a turn, with their epoch, oldest first.
    pub(crate) hellos: VecDeque<(Slot, u32)>,
    /// How many newcomers the thread has room for.
    pub(crate) admission: Admission,
    /// Of the newcomers that have left the line, those that the admission knows of.
    pub(crate) left_line_known: u64,
    /// When the previous turn began, if it left something to do.
    pub(crate) resumed: Option<Instant>,
    /// Hellos that may be read before the next turn.
    pub(crate) hellos_left: usize,
    /// Connections that are not read because too many bytes are held.
    pub(crate) starved: VecDeque<Slot>,
    pub(crate) held_bytes: usize,
    /// Bytes that wait to be written, all connections together.
    pub(crate) outbound_bytes: usize,
    pub(crate) due: Vec<Slot>,
    /// What the step of a session that is just being made asks for.
    pub(crate) effects: SessionEffects,
    /// What the users of this thread have used up of their rates.
    pub(crate) users: UserRates,
    /// What addresses have used up of theirs.
    pub(crate) addresses: KeyedRates<AddressBlock>,
    /// Where every connection's bytes are received.
    pub(crate) receive_buffer: Vec<u8>,
    /// Where small frames gather to be written together.
    pub(crate) write_buffer: Vec<u8>,
}

/// How far a drain is.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Drain {
    pub(crate) plan: DrainPlan,
    /// Slots below this one have been told.
    pub(crate) told: usize,
    /// Whether what was left at the deadline has been closed.
    pub(crate) forced: bool,
}

/// How a turn ended.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum TurnEnd {
    /// Nothing is left to do; whoever has something rings.
    Idle,
    /// The turn's limits were reached.
    MoreToDo,
    /// Drained: the thread can end.
    Finished,
}

/// What a thread's state is made from.
pub(crate) struct Parts {
    pub(crate) index: u16,
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) routers: Routers,
    pub(crate) parker: Parker,
    pub(crate) control: Arc<Control>,
    pub(crate) keys: Arc<KeySet>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) occupied: Arc<AtomicU32>,
    pub(crate) seed: u64,
    /// How many such threads there are.
    pub(crate) threads: u32,
}

impl State {
    /// The state of the calling thread, which is the one that uses `polls`.
    pub(crate) fn new(parts: Parts, mut polls: PollRing, quic: Option<Box<Quic>>) -> Self {
        if let Some(quic) = &quic {
            quic.watch(&mut polls);
        }
        let Parts { index, config, routers, parker, control, keys, counters, occupied, seed, threads } = parts;
        let clock = Clock::new();
        let now = clock.now();
        let per_second = config.reconnects_per_second.div_ceil(threads);
        let admission = Admission::new(per_second);
        let around = Surroundings { now, keys, settings: config.session, comebacks: Comebacks::new(per_second) };
        let slots_max = config.connections_per_thread_max as usize + TURNED_AWAY_MAX;
        Self {
            index,
            table: Table::new(slots_max),
            tls: SecureTable::new(config.tls.as_ref().map(|tls| tls.config.clone())),
            wheel: Wheel::with_capacity(now.monotonic, slots_max.min(RESERVED_PLACES_MAX)),
            config,
            clock,
            routers,
            parker,
            control,
            orders_seen: 0,
            around,
            drain: None,
            counters,
            occupied,
            quic,
            dirty: Vec::new(),
            lingering: VecDeque::new(),
            polls,
            to_read: ToRead::default(),
            hellos: VecDeque::new(),
            hellos_left: admission.hellos_per_turn(),
            admission,
            left_line_known: 0,
            resumed: None,
            starved: VecDeque::new(),
            held_bytes: 0,
            outbound_bytes: 0,
            due: Vec::new(),
            effects: SessionEffects::new(),
            users: UserRates::new(seed),
            addresses: KeyedRates::new(seed),
            receive_buffer: vec![0; RECEIVE_BYTES],
            write_buffer: Vec::with_capacity(WRITE_BYTES),
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) const fn is_leaving(&self) -> bool {
        self.drain.is_some()
    }

    /// Takes a connection in, `secured` if it came to the TLS listener. When even a refusal has no place it is closed without a
    /// word, and so is one that could be told of it only after a TLS handshake, for which there is no room.
    pub(crate) fn on_accepted(&mut self, socket: OwnedFd, secured: bool) {
        self.around.now = self.clock.now();
        self.counters.accepted.add(1);
        if !self.table.has_room() {
            return self.counters.turned_away.add(1);
        }
        let turned_away = self.turns_away(socket.as_fd());
        if secured && turned_away.is_some() {
            return sys::reset(socket.as_fd());
        }
        let slot = self.enter(Connection::new(socket));
        let epoch = self.table.epoch(slot);
        let socket = self.table.get_mut(slot).and_then(|connection| connection.socket.as_ref());
        self.polls.watch(socket.expect("it was just put there").as_fd(), slot, epoch);
        if secured {
            return self.secure(slot);
        }
        match turned_away {
            Some(why) => {
                let refusal = self.refusal(why);
                self.say_last(slot, refusal.response.into());
            }
            None => self.schedule(slot, HANDSHAKE_MS),
        }
    }

    /// Takes a QUIC connection in, whose handshake begins. There is room for it.
    pub(crate) fn enter_quic(&mut self) -> Slot {
        self.counters.quic_accepted.add(1);
        let slot = self.enter(Connection::quic());
        self.schedule(slot, HANDSHAKE_MS);
        slot
    }

    fn enter(&mut self, connection: Connection) -> Slot {
        self.counters.enter(connection.transport, Stage::Upgrading);
        let slot = self.table.insert(connection).expect("there is room");
        self.occupied.fetch_add(1, Ordering::Relaxed);
        self.counters.open.set(self.table.used() as u64);
        slot
    }

    /// Empties the slot of a connection that is gone.
    pub(crate) fn free(&mut self, slot: Slot) {
        let connection = self.table.remove(slot);
        self.counters.leave(connection.transport, connection.counted);
        self.occupied.fetch_sub(1, Ordering::Relaxed);
        self.counters.open.set(self.table.used() as u64);
        debug_assert!(
            self.table.used() > 0 || self.outbound_bytes + self.held_bytes + self.tls.kept_bytes() == 0,
            "bytes that nobody holds"
        );
    }

    /// Counts a connection where it is now, after its phase or its session's state may have changed. Answers whether its session
    /// has just become open.
    pub(crate) fn count_stage(&mut self, slot: Slot) -> bool {
        let connection = self.connection(slot);
        let (transport, stage) = (connection.transport, connection.phase.stage());
        let before = std::mem::replace(&mut connection.counted, stage);
        if stage == before {
            return false;
        }
        self.counters.leave(transport, before);
        self.counters.enter(transport, stage);
        self.counters.newcomers_through.add(u64::from(before == Stage::Attaching));
        stage == Stage::Open
    }

    /// Queues bytes to be written.
    ///
    /// # Errors
    /// When the connection may hold no more.
    pub(crate) fn queue(&mut self, slot: Slot, bytes: Bytes) -> Result<(), Overflow> {
        let more_bytes = bytes.len();
        self.connection(slot).outbound.push(bytes)?;
        self.outbound_bytes += more_bytes;
        self.mark_dirty(slot);
        Ok(())
    }

    /// Whether the handshake of TLS or QUIC is under way, before which nothing can be said to the peer.
    pub(crate) fn is_securing(&self, slot: Slot) -> bool {
        let connection = self.table.get(slot).expect("a task, a line or a list names only slots in use");
        match connection.transport {
            Transport::WebSocket => self.tls.is_handshaking(slot),
            Transport::Quic => matches!(connection.phase, Phase::Handshake(_)),
        }
    }

    /// Queues the last bytes of a connection and lets it end when they are written. Where nothing can be said yet it ends at
    /// once.
    pub(crate) fn say_last(&mut self, slot: Slot, bytes: Bytes) {
        if self.is_securing(slot) {
            return self.abort(slot);
        }
        // A peer that has read so little that not even this fits is dropped when the grace is over.
        let _ = self.queue(slot, bytes);
        self.close(slot);
    }

    /// Lets a connection end when everything is written.
    pub(crate) fn close(&mut self, slot: Slot) {
        let connection = self.connection(slot);
        if matches!(connection.phase, Phase::Closing { .. } | Phase::Gone) {
            return;
        }
        connection.phase = Phase::Closing { half_closed: false };
        self.read_on(slot);
        self.count_stage(slot);
        self.mark_dirty(slot);
        self.schedule(slot, CLOSE_GRACE_MS);
    }

    /// Ends a connection at once, whatever waits to be written.
    pub(crate) fn abort(&mut self, slot: Slot) {
        self.on_session_eof(slot);
        self.drop_asides(slot);
        let code = if self.is_leaving() { CloseCode::GoingAway } else { CloseCode::Normal };
        let connection = self.table.get_mut(slot).expect("a task, a line or a list names only slots in use");
        let ends = match (&connection.socket, &mut self.quic) {
            (Some(socket), _) => {
                sys::reset(socket.as_fd());
                true
            }
            (None, Some(quic)) => quic.close(slot, code),
            (None, None) => false,
        };
        if ends {
            connection.phase = Phase::Closing { half_closed: true };
            // What is read next is the end.
            connection.unread = true;
            self.read_on(slot);
            self.count_stage(slot);
        }
    }

    pub(crate) fn mark_dirty(&mut self, slot: Slot) {
        let connection = self.connection(slot);
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(slot);
        }
    }

    pub(crate) fn schedule(&mut self, slot: Slot, in_ms: u64) {
        self.wheel.schedule(slot, self.around.now.monotonic.plus(in_ms));
    }

    /// The connection in a slot that is known to be used.
    pub(crate) fn connection(&mut self, slot: Slot) -> &mut Connection {
        self.table.get_mut(slot).expect("a task, a line or a list names only slots in use")
    }

    /// How long the thread may sleep when nobody wakes it: long enough to cost nothing, and short enough to be seen alive.
    /// What waits for room in a link is tried again more often, so that room which a router core made without answering
    /// anything is found.
    pub(crate) fn longest_sleep(&mut self) -> Duration {
        let now = self.around.now.monotonic;
        let looks_again = self.routers.anybody_waits() || self.drain.is_some();
        let next_look = looks_again.then(|| now.plus(WHEEL_TICK_MS));
        let lingers_until = self.lingering.front().map(|(until, _)| *until);
        let next = [self.wheel.next_look(), lingers_until, next_look].into_iter().flatten().min();
        let sleep = Duration::from_millis(next.map_or(SLEEP_MS_MAX, |next| next.since(now).min(SLEEP_MS_MAX)));
        let quic = self.quic.as_ref().and_then(|quic| quic.next_deadline());
        quic.map_or(sleep, |quic| sleep.min(quic.saturating_duration_since(Instant::now())))
    }

    /// Whether the drain's deadline has passed.
    pub(crate) fn is_past_deadline(&self) -> bool {
        self.drain.is_some_and(|drain| Instant::now() >= drain.plan.deadline)
    }
}

/// A thread may end with connections: at the end of a drain's time, and when it panics. They are no longer there for the
/// others, nor for those who look.
impl Drop for State {
    fn drop(&mut self) {
        let used = u32::try_from(self.table.used()).expect("no more than slots have names");
        self.occupied.fetch_sub(used, Ordering::Relaxed);
        self.counters.clear_gauges();
    }
}
