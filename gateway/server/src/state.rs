//! What the tasks of a thread work on: connections, links, timers and the shared buffers. No call in here waits.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use monoio::net::TcpStream;
use switchyard_gateway_core::auth::KeySet;
use switchyard_gateway_core::handshake::Refusal;
use switchyard_gateway_core::limits::{CLOSE_GRACE_MS, HANDSHAKE_MS, OUTBOUND_BYTES_MAX, OUTBOUND_CONGESTED_BYTES};
use switchyard_gateway_core::outbound::Outbound;
use switchyard_gateway_core::rate::{KeyedRates, Rate, UserRates};
use switchyard_gateway_core::session::{Context as SessionContext, Now, SessionEffects};
use switchyard_gateway_core::wheel::{Slot, Wheel};
use switchyard_ring::Parker;
use switchyard_schema::ids::Millis;

use crate::address::AddressBlock;
use crate::clock::Clock;
use crate::config::GatewayConfig;
use crate::connection::{Connection, Phase};
use crate::control::{Control, DrainPlan};
use crate::counters::Counters;
use crate::limits::{HELD_BYTES_MAX, HELLOS_PER_TURN, RECEIVE_BYTES, RETRY_AFTER_S, TURNED_AWAY_MAX, WRITE_BYTES};
use crate::links::Routers;
use crate::sys;
use crate::table::Table;

/// The state of one gateway thread.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) index: u16,
    pub(crate) config: Arc<GatewayConfig>,
    pub(crate) clock: Clock,
    pub(crate) table: Table,
    pub(crate) wheel: Wheel,
    pub(crate) routers: Routers,
    pub(crate) parker: Parker,
    pub(crate) control: Arc<Control>,
    pub(crate) orders_seen: u64,
    pub(crate) keys: Arc<KeySet>,
    pub(crate) drain: Option<Drain>,
    pub(crate) counters: Arc<Counters>,
    /// Connections with something to write.
    pub(crate) dirty: Vec<Slot>,
    /// Connections with something to write that may linger, and when it must be written.
    pub(crate) lingering: VecDeque<(Millis, Slot)>,
    /// A task sleeps until the first of them is due.
    pub(crate) linger_timer: bool,
    /// Connections whose socket took no more, for which a task must wait.
    pub(crate) blocked: Vec<(Slot, u32, Rc<TcpStream>)>,
    /// Connections whose Hello waits for a turn, with their epoch, oldest first.
    pub(crate) hellos: VecDeque<(Slot, u32)>,
    /// Hellos that may be read before the next turn.
    pub(crate) hellos_left: usize,
    /// Connections that are not read because too many bytes are held.
    pub(crate) starved: VecDeque<Slot>,
    pub(crate) held_bytes: usize,
    pub(crate) due: Vec<Slot>,
    /// What the step of a session that is just being made asks for.
    pub(crate) effects: SessionEffects,
    /// What the users of this thread have used up of their rates.
    pub(crate) users: UserRates,
    /// What addresses have used up of theirs.
    addresses: KeyedRates<AddressBlock>,
    /// The time of this turn or of the bytes just received.
    pub(crate) now: Now,
    /// Where every connection's bytes are received.
    pub(crate) receive_buffer: Vec<u8>,
    /// Where small frames gather to be written together.
    pub(crate) write_buffer: Vec<u8>,
    /// State of a xorshift generator: spreads reconnects, protects nothing.
    pub(crate) jitter: u64,
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

/// What a connection's task does next.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Wait for more bytes.
    Read,
    /// Wait to be told to read on.
    Pause,
    /// Close the socket.
    End,
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
    pub(crate) seed: u64,
}

impl State {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { index, config, routers, parker, control, keys, counters, seed } = parts;
        let clock = Clock::new();
        let now = clock.now();
        let slots_max = config.connections_per_thread_max as usize + TURNED_AWAY_MAX;
        Self {
            index,
            table: Table::new(slots_max),
            wheel: Wheel::new(now.monotonic),
            config,
            clock,
            routers,
            parker,
            control,
            orders_seen: 0,
            keys,
            drain: None,
            counters,
            dirty: Vec::new(),
            lingering: VecDeque::new(),
            linger_timer: false,
            blocked: Vec::new(),
            hellos: VecDeque::new(),
            hellos_left: HELLOS_PER_TURN,
            starved: VecDeque::new(),
            held_bytes: 0,
            due: Vec::new(),
            effects: SessionEffects::new(),
            users: UserRates::new(seed),
            addresses: KeyedRates::new(seed),
            now,
            receive_buffer: vec![0; RECEIVE_BYTES],
            write_buffer: Vec::with_capacity(WRITE_BYTES),
            jitter: seed | 1,
        }
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) const fn is_leaving(&self) -> bool {
        self.drain.is_some()
    }

    /// Takes a connection in. `None` when even a refusal has no place.
    pub(crate) fn on_accepted(&mut self, stream: &Rc<TcpStream>) -> Option<Slot> {
        let connection = Connection {
            stream: Some(stream.clone()),
            phase: Phase::Handshake(Vec::new()),
            outbound: Outbound::new(OUTBOUND_BYTES_MAX),
            held: None,
            reader: None,
            dirty: false,
            lingers: false,
            blocked: false,
            is_counted: false,
            hello_waits: false,
            starved: false,
        };
        self.now = self.clock.now();
        self.counters.accepted.add(1);
        let refusal = self.refusal_of(stream);
        let slot = self.table.insert(connection)?;
        self.counters.open.set(self.table.used() as u64);
        match refusal {
            Some(refusal) => self.say_last(slot, refusal.response.into()),
            None => self.schedule(slot, HANDSHAKE_MS),
        }
        Some(slot)
    }

    /// Why a connection is turned away before anything of it is read.
    fn refusal_of(&mut self, stream: &TcpStream) -> Option<Refusal> {
        if self.table.used() >= self.config.connections_per_thread_max as usize {
            self.counters.turned_away.add(1);
            return Some(Refusal::unavailable("This gateway has no room; try again.", RETRY_AFTER_S));
        }
        if self.config.handshakes == Rate::UNLIMITED {
            return None;
        }
        // A peer that has gone already has no address, and needs no answer.
        let address = AddressBlock::from(stream.peer_addr().ok()?.ip());
        let wait_ms = self.addresses.take(self.now.monotonic, address, self.config.handshakes).err()?;
        self.counters.handshakes_limited.add(1);
        Some(Refusal::too_many(wait_ms.div_ceil(1_000)))
    }

    /// Reads what has arrived and handles it.
    pub(crate) fn on_readable(&mut self, slot: Slot, stream: &TcpStream) -> Next {
        let too_much_held = self.held_bytes > HELD_BYTES_MAX;
        let connection = self.connection(slot);
        if connection.is_paused() {
            return Next::Pause;
        }
        if too_much_held {
            connection.starved = true;
            self.starved.push_back(slot);
            return Next::Pause;
        }
        let mut buffer = std::mem::take(&mut self.receive_buffer);
        let next = match sys::receive(stream, &mut buffer) {
            Ok(0) => Next::End,
            Ok(bytes) => {
                self.counters.bytes_in.add(bytes as u64);
                self.now = self.clock.now();
                self.on_bytes(slot, &mut buffer[..bytes]);
                if self.connection(slot).is_paused() { Next::Pause } else { Next::Read }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Next::Read,
            Err(_) => Next::End,
        };
        self.receive_buffer = buffer;
        next
    }

    /// Ready when a paused connection may be read again.
    pub(crate) fn poll_resumed(&mut self, slot: Slot, context: &mut Context<'_>) -> Poll<()> {
        let connection = self.connection(slot);
        if connection.is_paused() {
            connection.reader = Some(context.waker().clone());
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    /// The connection's task has ended: nothing arrives any more. The slot stays until the last message to the router has
    /// been pushed.
    pub(crate) fn on_ended(&mut self, slot: Slot) {
        self.now = self.clock.now();
        self.on_session_eof(slot);
        self.wheel.cancel(slot);
        let connection = self.table.get_mut(slot).expect("a connection's task ends once");
        if let Some(stream) = connection.stream.take() {
            // A task that waits until it can write holds the socket too.
            sys::end(&stream);
        }
        connection.phase = Phase::Gone;
        connection.outbound = Outbound::new(0);
        if let Some(held) = &mut connection.held {
            self.held_bytes -= std::mem::take(&mut held.rest).len();
        }
        if !connection.stands_in_line() {
            self.free(slot);
        }
    }

    /// The socket takes bytes again.
    pub(crate) fn on_writable(&mut self, slot: Slot, epoch: u32) {
        if let Some(connection) = self.table.get_epoch_mut(slot, epoch) {
            connection.blocked = false;
            self.mark_dirty(slot);
            self.on_sign_of_life(slot);
        }
    }

    /// The peer has taken some of what waits for it. While much does, it is not read, and this is all that is heard of it.
    fn on_sign_of_life(&mut self, slot: Slot) {
        let now = self.clock.now();
        let context = SessionContext { now, keys: &self.keys, settings: &self.config.session };
        let connection = self.table.get_mut(slot).expect("it was just found");
        match &mut connection.phase {
            Phase::Session(open) => open.session.on_received(&context),
            Phase::Echo(echo) => echo.on_sign_of_life(now.monotonic),
            Phase::Handshake(_) | Phase::Closing { .. } | Phase::Gone => {}
        }
    }

    /// Tasks to start: each waits until its socket takes more.
    pub(crate) fn take_blocked(&mut self) -> Vec<(Slot, u32, Rc<TcpStream>)> {
        std::mem::take(&mut self.blocked)
    }

    /// Empties the slot of a connection that is gone.
    pub(crate) fn free(&mut self, slot: Slot) {
        self.table.remove(slot);
        self.counters.open.set(self.table.used() as u64);
    }

    /// Queues the last bytes of a connection and lets it end when they are written.
    pub(crate) fn say_last(&mut self, slot: Slot, bytes: bytes::Bytes) {
        // A peer that has read so little that not even this fits is dropped when the grace is over.
        let _ = self.connection(slot).outbound.push(bytes);
        self.close(slot);
    }

    /// Lets a connection end when everything is written.
    pub(crate) fn close(&mut self, slot: Slot) {
        let connection = self.connection(slot);
        if matches!(connection.phase, Phase::Closing { .. } | Phase::Gone) {
            return;
        }
        connection.phase = Phase::Closing { half_closed: false };
        connection.wake_reader();
        self.mark_dirty(slot);
        self.schedule(slot, CLOSE_GRACE_MS);
    }

    /// Ends a connection at once, whatever waits to be written.
    pub(crate) fn abort(&mut self, slot: Slot) {
        self.on_session_eof(slot);
        let connection = self.connection(slot);
        if let Some(stream) = &connection.stream {
            sys::reset(stream);
            connection.phase = Phase::Closing { half_closed: true };
            connection.wake_reader();
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
        self.wheel.schedule(slot, self.now.monotonic.plus(in_ms));
    }

    /// The connection in a slot that is known to be used.
    pub(crate) fn connection(&mut self, slot: Slot) -> &mut Connection {
        self.table.get_mut(slot).expect("a task, a line or a list names only slots in use")
    }

    /// Whether the drain's deadline has passed.
    pub(crate) fn is_past_deadline(&self) -> bool {
        self.drain.is_some_and(|drain| Instant::now() >= drain.plan.deadline)
    }

    /// A number from 0 to `max`, spread evenly enough.
    pub(crate) fn random_up_to(&mut self, max: u32) -> u32 {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        u32::try_from(self.jitter % (u64::from(max) + 1)).expect("a remainder below a u32 fits it")
    }
}

impl Connection {
    /// Whether it must not be read now: what it sent cannot be handled, or what it gets is not read.
    pub(crate) fn is_paused(&self) -> bool {
        match self.phase {
            Phase::Closing { .. } | Phase::Gone => false,
            _ => self.starved || self.must_wait() || self.outbound.queued_bytes() > OUTBOUND_CONGESTED_BYTES,
        }
    }

    /// Lets the connection's task look whether it may read again.
    pub(crate) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
