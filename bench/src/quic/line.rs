//! One connection and its stream.

use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use quinn_proto::{Connection, ConnectionEvent, ConnectionHandle, Dir, Endpoint, Event, StreamEvent, StreamId, VarInt};

use super::{Happened, Wire};

pub(super) struct Line {
    proto: Connection,
    from: IpAddr,
    stream: Option<StreamId>,
    /// What the stream has not taken yet.
    unsaid: Vec<u8>,
}

impl Line {
    pub(super) const fn new(proto: Connection, from: IpAddr) -> Self {
        Self { proto, from, stream: None, unsaid: Vec::new() }
    }

    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.unsaid.extend_from_slice(bytes);
        self.write();
    }

    pub(super) fn close(&mut self, now: Instant) {
        self.proto.close(now, VarInt::from_u32(0), Bytes::new());
    }

    pub(super) fn handle_event(&mut self, event: ConnectionEvent) {
        self.proto.handle_event(event);
    }

    /// Whether a timer was due.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let due = self.proto.poll_timeout().is_some_and(|at| at <= now);
        if due {
            self.proto.handle_timeout(now);
        }
        due
    }

    /// Tells what has happened, and says what `on` answers.
    pub(super) fn tell(&mut self, on: &mut dyn FnMut(Happened<'_>, &mut Vec<u8>)) {
        while let Some(event) = self.proto.poll() {
            match event {
                Event::Connected => {
                    self.stream = self.proto.streams().open(Dir::Bi);
                    on(Happened::Connected, &mut self.unsaid);
                }
                Event::ConnectionLost { reason } => on(Happened::Ended(reason.to_string()), &mut self.unsaid),
                Event::Stream(StreamEvent::Readable { .. }) => self.read(on),
                _ => {}
            }
        }
        self.write();
    }

    fn read(&mut self, on: &mut dyn FnMut(Happened<'_>, &mut Vec<u8>)) {
        let Some(stream) = self.stream else { return };
        let mut stream = self.proto.recv_stream(stream);
        let Ok(mut chunks) = stream.read(true) else { return };
        while let Ok(Some(chunk)) = chunks.next(usize::MAX) {
            on(Happened::Bytes(&chunk.bytes), &mut self.unsaid);
        }
        let _ = chunks.finalize();
    }

    fn write(&mut self) {
        let Some(stream) = self.stream.filter(|_| !self.unsaid.is_empty()) else { return };
        let written = self.proto.send_stream(stream).write(&self.unsaid).unwrap_or(0);
        self.unsaid.drain(..written);
        if self.unsaid.is_empty() {
            self.unsaid = Vec::new();
        }
    }

    pub(super) fn send(&mut self, now: Instant, datagrams_max: usize, wire: &mut Wire) {
        loop {
            wire.buffer.clear();
            let Some(transmit) = self.proto.poll_transmit(now, datagrams_max, &mut wire.buffer) else { return };
            wire.send(&transmit, self.from);
        }
    }

    /// Lets the connection and the endpoint tell each other what they have to. Whether nothing more comes of the connection.
    pub(super) fn exchange(&mut self, endpoint: &mut Endpoint, handle: ConnectionHandle) -> bool {
        let mut drained = false;
        while let Some(event) = self.proto.poll_endpoint_events() {
            drained |= event.is_drained();
            if let Some(answer) = endpoint.handle_event(handle, event) {
                self.proto.handle_event(answer);
            }
        }
        drained
    }
}
