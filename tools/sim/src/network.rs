//! Connections: bytes in both directions, each in order, none of them certain to arrive.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::agenda::Event;
use crate::shared::Shared;

/// Names a connection for the whole run.
pub(crate) type ConnectionId = usize;

/// What travels.
#[derive(Debug)]
enum Flight {
    Bytes(Bytes),
    /// The other end has closed.
    End,
}

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    flying: VecDeque<Flight>,
    /// When the newest of them arrives: nothing overtakes.
    last_us: u64,
    /// Arrived and not read.
    pub(crate) arrived: VecDeque<Bytes>,
    pub(crate) ended: bool,
    /// Sent and not read.
    bytes: usize,
    /// Until when everything takes longer.
    lags_until_us: u64,
}

/// A connection of one phone to one gateway thread.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) phone: usize,
    pub(crate) gateway: usize,
    /// The start of the server that it was made to.
    pub(crate) life: u64,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    /// Whether the phone has it.
    pub(crate) phone_open: bool,
    /// Whether the server has it.
    pub(crate) server_open: bool,
    /// Nothing arrives any more, in either direction.
    black_hole: bool,
    /// The gateway found no room and is to be told.
    pub(crate) blocked: bool,
}

/// All connections of a run.
#[derive(Debug, Default)]
pub(crate) struct Network {
    connections: Vec<Connection>,
}

impl Network {
    /// A connection under way.
    pub(crate) fn open(&mut self, phone: usize, gateway: usize, life: u64) -> ConnectionId {
        self.connections.push(Connection {
            phone,
            gateway,
            life,
            up: Pipe::default(),
            down: Pipe::default(),
            phone_open: true,
            server_open: false,
            black_hole: false,
            blocked: false,
        });
        self.connections.len() - 1
    }

    pub(crate) fn get(&mut self, id: ConnectionId) -> &mut Connection {
        &mut self.connections[id]
    }

    /// The connections that both ends believe in.
    pub(crate) fn alive(&self) -> Vec<ConnectionId> {
        let alive = |(_, connection): &(usize, &Connection)| connection.phone_open && connection.server_open;
        self.connections.iter().enumerate().filter(alive).map(|(id, _)| id).collect()
    }

    /// Sends bytes in one direction.
    pub(crate) fn send(&mut self, shared: &mut Shared, id: ConnectionId, up: bool, bytes: Bytes) {
        let length = bytes.len();
        self.fly(shared, id, up, Flight::Bytes(bytes));
        self.pipe(id, up).bytes += length;
    }

    /// Closes one end: what was sent before still arrives.
    pub(crate) fn close(&mut self, shared: &mut Shared, id: ConnectionId, up: bool) {
        let connection = &mut self.connections[id];
        if up {
            connection.phone_open = false;
        } else {
            connection.server_open = false;
        }
        self.fly(shared, id, up, Flight::End);
    }

    fn fly(&mut self, shared: &mut Shared, id: ConnectionId, up: bool, flight: Flight) {
        if self.connections[id].black_hole {
            return;
        }
        let mut us = shared.plan.network.draw(&mut shared.random);
        let pipe = self.pipe(id, up);
        let now_us = shared.agenda.now_us();
        if now_us < pipe.lags_until_us {
            us += shared.random.below(8_000_000);
        }
        pipe.last_us = pipe.last_us.max(now_us + us);
        pipe.flying.push_back(flight);
        shared.agenda.at(pipe.last_us, Event::Arrived { connection: id, up });
    }

    fn pipe(&mut self, id: ConnectionId, up: bool) -> &mut Pipe {
        let connection = &mut self.connections[id];
        if up { &mut connection.up } else { &mut connection.down }
    }

    /// What flies first in a direction arrives. `false` when it was lost on the way.
    pub(crate) fn arrive(&mut self, id: ConnectionId, up: bool) -> bool {
        match self.pipe(id, up).flying.pop_front() {
            Some(Flight::Bytes(bytes)) => self.pipe(id, up).arrived.push_back(bytes),
            Some(Flight::End) => self.pipe(id, up).ended = true,
            None => return false,
        }
        true
    }

    /// Takes what has arrived, at most about `most` bytes.
    pub(crate) fn read(&mut self, id: ConnectionId, up: bool, most: usize) -> Vec<u8> {
        let pipe = self.pipe(id, up);
        let mut read = Vec::new();
        while let Some(bytes) = pipe.arrived.front_mut() {
            let room = most - read.len();
            if bytes.len() > room {
                read.extend_from_slice(&bytes.split_to(room));
                break;
            }
            read.extend_from_slice(bytes);
            pipe.arrived.pop_front();
        }
        pipe.bytes -= read.len();
        read
    }

    /// Bytes that the server may still put into a connection.
    pub(crate) fn room(&mut self, shared: &Shared, id: ConnectionId) -> usize {
        shared.plan.window_bytes.saturating_sub(self.connections[id].down.bytes)
    }

    /// The connection breaks: of what is on its way some is lost, and each end that is to hear of it does.
    pub(crate) fn cut(
        &mut self,
        shared: &mut Shared,
        id: ConnectionId,
        phone_hears_us: Option<u64>,
        server_hears_us: Option<u64>,
    ) {
        for up in [true, false] {
            let pipe = self.pipe(id, up);
            let kept = shared.random.index(pipe.flying.len() + 1);
            pipe.flying.truncate(kept);
            let hears_us = if up { server_hears_us } else { phone_hears_us };
            if let Some(us) = hears_us {
                pipe.last_us = pipe.last_us.max(shared.agenda.now_us() + us);
                pipe.flying.push_back(Flight::End);
                shared.agenda.at(pipe.last_us, Event::Arrived { connection: id, up });
            }
        }
        self.connections[id].black_hole = true;
    }

    /// The connection takes seconds for what it carries.
    pub(crate) fn lag(&mut self, id: ConnectionId, until_us: u64) {
        self.connections[id].up.lags_until_us = until_us;
        self.connections[id].down.lags_until_us = until_us;
    }

    /// The server is gone, and with it every connection; the phones hear of it now or never.
    pub(crate) fn lose_server(&mut self, shared: &mut Shared, phones_hear: bool) {
        for id in 0..self.connections.len() {
            if self.connections[id].server_open {
                self.connections[id].server_open = false;
                let us = shared.random.below(50_000);
                self.cut(shared, id, phones_hear.then_some(us), None);
            }
        }
    }
}
