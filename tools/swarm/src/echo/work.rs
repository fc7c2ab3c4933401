//! The connections of one thread.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use switchyard_gateway_core::handshake::ClientRequest;
use switchyard_gateway_core::ws::{Opcode, encode};

use super::{EchoOptions, EchoPace};
use crate::SwarmError;
use crate::crew::{Member, Order, Seat, Stage};
use crate::ending::Ending;
use crate::event_loop::{Ended, SocketId, Sockets, Turn, Work};
use crate::limits::{
    ECHO_BYTES_MAX, ECHOES_PENDING_MAX, OPENING_MAX, OPENS_PER_TURN_MAX, SENDS_PER_TURN_MAX, TURN_PAUSE_MAX,
};
use crate::random::random;
use crate::routes::Routes;
use crate::schedule::Paced;
use crate::wire::{Masks, Said, Wire, put_pong};

/// Bytes at the start of a message that hold its number.
const NUMBER_BYTES: usize = 8;

pub(super) struct EchoWork {
    seat: Seat,
    options: Arc<EchoOptions>,
    routes: Arc<Routes>,
    connections: Vec<Connection>,
    /// By socket.
    owners: Vec<u32>,
    opened: u32,
    order: Order,
    /// Messages that were due earlier are not measured.
    measured_from: Option<Instant>,
    /// Of an open loop: whichever connection may send does.
    paced: Option<Paced>,
    next: usize,
    message: Vec<u8>,
    masks: Masks,
    failed: Option<SwarmError>,
}

#[derive(Default)]
struct Connection {
    wire: Wire,
    socket: SocketId,
    open: bool,
    sent: u64,
    received: u64,
    /// When those under way were due, the oldest first.
    due: VecDeque<Instant>,
}

impl Connection {
    /// Whether it can take one more message of an open loop.
    fn may_send(&self) -> bool {
        self.open && self.due.len() < ECHOES_PENDING_MAX
    }
}

impl EchoWork {
    pub(super) fn new(seat: Seat, options: Arc<EchoOptions>, routes: Arc<Routes>) -> Self {
        let mut connections = Vec::new();
        connections.resize_with(seat.layout.count_of(seat.thread) as usize, Connection::default);
        Self {
            message: vec![b'x'; options.bytes],
            options,
            routes,
            connections,
            owners: Vec::new(),
            opened: 0,
            order: seat.orders.first(),
            measured_from: None,
            paced: None,
            next: 0,
            masks: Masks::new(random()),
            failed: None,
            seat,
        }
    }

    /// Whether messages are to be sent now.
    fn talks(&self) -> bool {
        matches!(self.order.stage, Stage::Talk | Stage::Measure)
    }

    /// Does what a new order says. A short warm-up is over before this thread hears of it: the first order to send may be
    /// the one to measure.
    fn on_order(&mut self, sockets: &mut Sockets, order: Order, now: Instant) {
        let talked = self.talks();
        self.order = order;
        if order.stage == Stage::Measure {
            self.measured_from = Some(order.given);
        }
        match self.options.pace {
            _ if talked == self.talks() => {}
            _ if talked => self.on_settle(sockets, order.given),
            EchoPace::PerSecond(rate) => {
                let place = (self.seat.thread, self.seat.layout.threads);
                self.paced = Some(Paced::new(order.given + TURN_PAUSE_MAX, rate, place));
            }
            EchoPace::Depth(_) => {
                for index in 0..self.connections.len() {
                    self.fill(sockets, index, now);
                }
            }
        }
    }

    /// Sends what was due before the order was given, as far as it may be sent, and nothing more.
    fn on_settle(&mut self, sockets: &mut Sockets, given: Instant) {
        while self.send_due(sockets, given) {}
        for due in self.paced.take().into_iter().flat_map(|paced| paced.unsent(given)) {
            self.seat.tally.counts.unsent.add(1);
            if self.is_measured(due) {
                self.seat.tally.record_latency(given.saturating_duration_since(due));
            }
        }
        self.seat.tally.counts.settled.add(1);
    }

    fn open_some(&mut self, sockets: &mut Sockets) {
        let opening_max = u64::from(OPENING_MAX.div_ceil(self.seat.layout.threads));
        for _ in 0..OPENS_PER_TURN_MAX {
            if self.seat.tally.counts.opening.get() >= opening_max || self.opened as usize == self.connections.len() {
                return;
            }
            let number = self.opened;
            self.opened += 1;
            self.seat.tally.counts.opening.add(1);
            match sockets.connect(self.routes.of(self.seat.global(number))) {
                Ok(id) => {
                    self.connections[number as usize].socket = id;
                    self.owners.resize(self.owners.len().max(id + 1), 0);
                    self.owners[id] = number;
                }
                Err(error) => self.failed = Some(SwarmError::io("opening a connection")(error)),
            }
        }
    }

    /// Sends what a connection of a closed loop may send now.
    fn fill(&mut self, sockets: &mut Sockets, index: usize, now: Instant) {
        let EchoPace::Depth(depth) = self.options.pace else { return };
        if self.talks() {
            while self.connections[index].due.len() < depth as usize {
                if !self.send(sockets, index, now) {
                    return;
                }
            }
        }
    }

    /// Sends what is due by `until` in an open loop. `true` when there is more than one turn's worth.
    fn send_due(&mut self, sockets: &mut Sockets, until: Instant) -> bool {
        self.notice(until);
        for _ in 0..SENDS_PER_TURN_MAX {
            let Some(due) = self.paced.as_ref().and_then(Paced::oldest_owed) else { return false };
            let Some(index) = self.next_free() else { return false };
            if let Some(paced) = &mut self.paced {
                paced.on_sent();
            }
            self.send(sockets, index, due);
        }
        true
    }

    /// Notes how late this thread sees what has come due. Whether it may be sent is up to the server.
    fn notice(&mut self, until: Instant) {
        let now = Instant::now();
        while let Some(due) = self.paced.as_mut().and_then(|paced| paced.take_due(until)) {
            if self.is_measured(due) {
                self.seat.tally.record_lateness(now.saturating_duration_since(due));
            }
        }
    }

    /// The next connection in turn that may send.
    fn next_free(&mut self) -> Option<usize> {
        let count = self.connections.len();
        let mut in_turn = (self.next..count).chain(0..self.next);
        let index = in_turn.find(|&index| self.connections[index].may_send())?;
        self.next = (index + 1) % count;
        Some(index)
    }

    /// `false` when the connection is gone.
    fn send(&mut self, sockets: &mut Sockets, index: usize, due: Instant) -> bool {
        let connection = &mut self.connections[index];
        let Some(out) = sockets.out(connection.socket).filter(|_| connection.open) else { return false };
        let number = connection.sent.to_le_bytes();
        let marked = number.len().min(self.message.len());
        self.message[..marked].copy_from_slice(&number[..marked]);
        encode::put_masked(out, Opcode::Binary, &self.message, self.masks.next_mask());
        connection.sent += 1;
        connection.due.push_back(due);
        self.seat.tally.counts.sent.add(1);
        true
    }

    fn is_measured(&self, due: Instant) -> bool {
        self.measured_from.is_some_and(|from| due >= from)
    }

    fn on_echo(&mut self, index: usize, message: &[u8], now: Instant) {
        let connection = &mut self.connections[index];
        let number = connection.received.to_le_bytes();
        let marked = NUMBER_BYTES.min(self.message.len());
        let Some(due) = connection.due.pop_front() else {
            return self.seat.fault(&self.seat.tally.counts.duplicated, "an echo of nothing");
        };
        connection.received += 1;
        self.seat.tally.counts.delivered.add(1);
        if message.len() != self.message.len() || message[..marked] != number[..marked] {
            self.seat.fault(&self.seat.tally.counts.out_of_order, "another message came back than the next");
        }
        if self.is_measured(due) {
            self.seat.tally.record_latency(now.saturating_duration_since(due));
        }
    }

    fn on_said(&mut self, sockets: &mut Sockets, id: SocketId, index: usize, said: Said<'_>, now: Instant) {
        match said {
            Said::Upgraded => {
                self.connections[index].open = true;
                self.seat.tally.counts.opening.subtract(1);
                self.seat.tally.counts.open.add(1);
            }
            Said::Binary(message) => self.on_echo(index, &message, now),
            Said::Text(message) => self.on_echo(index, message.as_bytes(), now),
            Said::Ping(payload) => {
                if let Some(out) = sockets.out(id) {
                    put_pong(out, &payload, &mut self.masks);
                }
            }
            Said::Pong => {}
            Said::Close { code } => {
                sockets.close(id);
                self.on_gone(index, Ending::CloseCode(code).to_string());
            }
        }
    }

    fn on_gone(&mut self, index: usize, why: String) {
        let (connection, counts) = (&mut self.connections[index], &self.seat.tally.counts);
        if std::mem::take(&mut connection.open) {
            counts.open.subtract(1);
            counts.dropped.add(1);
        } else {
            counts.opening.subtract(1);
            counts.given_up.add(1);
        }
        counts.cut_off.add(connection.due.len() as u64);
        connection.due.clear();
        self.seat.tally.count_reason(why);
    }
}

impl Work for EchoWork {
    fn on_open(&mut self, sockets: &mut Sockets, id: SocketId) {
        let index = self.owners[id] as usize;
        let request = request(&self.options, self.owners[id]);
        if let Some(out) = sockets.out(id) {
            self.connections[index].wire.start(&request, out);
        }
    }

    fn on_bytes(&mut self, sockets: &mut Sockets, id: SocketId, bytes: &mut [u8]) {
        let (now, number, mut at) = (Instant::now(), self.owners[id], 0);
        let (index, options) = (number as usize, Arc::clone(&self.options));
        while at < bytes.len() && sockets.holds(id) {
            let wire = &mut self.connections[index].wire;
            match wire.decode(&mut bytes[at..], &request(&options, number), ECHO_BYTES_MAX) {
                Ok(step) => {
                    at += step.consumed;
                    if let Some(said) = step.said {
                        self.on_said(sockets, id, index, said, now);
                    }
                }
                Err(error) => {
                    sockets.close(id);
                    self.on_gone(index, error.to_string());
                }
            }
        }
        self.fill(sockets, index, now);
    }

    fn on_closed(&mut self, _: &mut Sockets, id: SocketId, ended: Ended) {
        self.on_gone(self.owners[id] as usize, Ending::of(ended).to_string());
    }

    fn on_turn(&mut self, sockets: &mut Sockets, now: Instant) -> Turn {
        self.seat.note_cpu(now);
        let order = self.seat.orders.present();
        if order != self.order {
            self.on_order(sockets, order, now);
        }
        if order.stage == Stage::Stop || self.failed.is_some() {
            return Turn::Stop;
        }
        self.open_some(sockets);
        if self.send_due(sockets, now) {
            return Turn::By(now);
        }
        // What is due and cannot be sent waits for an echo.
        Turn::By(self.paced.as_ref().map_or(now + TURN_PAUSE_MAX, Paced::next_due))
    }
}

impl Member for EchoWork {
    type Left = ();

    fn finish(self) -> Result<(), SwarmError> {
        self.failed.map_or(Ok(()), Err)
    }
}

fn request(options: &EchoOptions, number: u32) -> ClientRequest<'_> {
    let mut nonce = [9; 16];
    nonce[..4].copy_from_slice(&number.to_le_bytes());
    ClientRequest { host: &options.target.host, path: &options.target.path, form: None, token: None, nonce }
}
