//! Large pages, each on a stream of its own where the client grants them: what is said on the session's stream meanwhile, a new
//! message above all, overtakes them.
//!
//! A page is handed to its stream as far as that takes it, and is the connection's until the client has acknowledged all of it: it
//! counts among what waits, and makes the window of what may be under way as much larger, so that it takes nothing from the
//! session's stream.

use std::mem;

use bytes::{Buf, Bytes};
use quinn_proto::{Dir, StreamId, VarInt, WriteError};
use switchyard_gateway_core::limits::OUTBOUND_BYTES_MAX;
use switchyard_gateway_core::wheel::Slot;

use super::link::Link;
use crate::connection::Phase;
use crate::limits::QUIC_SEND_WINDOW_BYTES;
use crate::state::State;

/// Behind the session's stream, whose priority is the default one, 0.
const PRIORITY: i32 = -1;

/// A page on its way.
#[derive(Debug)]
pub(super) struct Aside {
    stream: StreamId,
    /// What its stream has not taken.
    rest: Bytes,
    bytes: usize,
}

impl Link {
    /// Sends a page on a stream of its own. `false` when the client grants none now.
    fn set_aside(&mut self, page: &Bytes) -> bool {
        let Some(stream) = self.proto.streams().open(Dir::Uni) else { return false };
        self.asides.push(Aside { stream, rest: page.clone(), bytes: page.len() });
        self.fit_send_window();
        // It was just opened.
        let _ = self.proto.send_stream(stream).set_priority(PRIORITY);
        self.write_aside(stream);
        true
    }

    /// Whether it is a page's stream.
    pub(super) fn is_aside(&self, stream: StreamId) -> bool {
        self.asides.iter().any(|aside| aside.stream == stream)
    }

    /// Hands as much of a page to its stream as that takes.
    pub(super) fn write_aside(&mut self, stream: StreamId) {
        let Some(aside) = self.asides.iter_mut().find(|aside| aside.stream == stream) else { return };
        let mut stream = self.proto.send_stream(stream);
        while !aside.rest.is_empty() {
            match stream.write_chunks(&mut [aside.rest.clone()]) {
                Ok(written) => aside.rest.advance(written.bytes),
                // Either is told of when there is something to be done.
                Err(WriteError::Blocked | WriteError::Stopped(_) | WriteError::ClosedStream) => return,
            }
        }
        // The end is written once; a stream that was stopped needs none.
        let _ = stream.finish();
    }

    /// A page has arrived whole, or the client does not want it. Answers how many bytes it had.
    fn end_aside(&mut self, stream: StreamId, stopped: bool) -> usize {
        let Some(at) = self.asides.iter().position(|aside| aside.stream == stream) else { return 0 };
        let Aside { bytes, .. } = self.asides.swap_remove(at);
        if stopped {
            let _ = self.proto.send_stream(stream).reset(VarInt::from_u32(0));
        }
        if self.asides.is_empty() {
            // An idle connection keeps nothing for pages.
            self.asides = Vec::new();
        }
        self.fit_send_window();
        bytes
    }

    fn fit_send_window(&mut self) {
        self.proto.set_send_window(QUIC_SEND_WINDOW_BYTES + self.aside_bytes() as u64);
    }

    fn aside_bytes(&self) -> usize {
        self.asides.iter().map(|aside| aside.bytes).sum()
    }
}

impl State {
    /// Sends the large pages that a step of a session has said on streams of their own, as many as the client grants. The others
    /// are frames like any.
    pub(crate) fn set_pages_aside(&mut self, slot: Slot) {
        for page in mem::take(&mut self.effects.pages) {
            let bytes = page.len();
            let waiting_bytes = self.connection(slot).outbound.queued_bytes() + self.aside_bytes(slot);
            let fits = waiting_bytes + bytes <= OUTBOUND_BYTES_MAX;
            let quic = self.quic.as_mut().expect("only sessions over QUIC have such pages");
            let handle = quic.touch_slot(slot).filter(|_| fits);
            if !handle.and_then(|handle| quic.link(handle)).is_some_and(|link| link.set_aside(&page)) {
                self.effects.frames.push(page);
                continue;
            }
            self.outbound_bytes += bytes;
            self.counters.quic_pages_aside.add(1);
        }
    }

    /// Bytes of the connection's pages that the client has not acknowledged.
    pub(crate) fn aside_bytes(&mut self, slot: Slot) -> usize {
        self.quic.as_mut().and_then(|quic| quic.link_of(slot)).map_or(0, |link| link.aside_bytes())
    }

    /// Nothing more is sent of the connection's pages.
    pub(crate) fn drop_asides(&mut self, slot: Slot) {
        self.outbound_bytes -= self.aside_bytes(slot);
        if let Some(link) = self.quic.as_mut().and_then(|quic| quic.link_of(slot)) {
            link.asides = Vec::new();
        }
    }

    /// Nothing more comes on a page's stream: the client has all of it, or has stopped it.
    pub(super) fn on_aside_ended(&mut self, handle: usize, slot: Slot, stream: StreamId, stopped: bool) {
        let bytes = self.quic_mut().link(handle).map_or(0, |link| link.end_aside(stream, stopped));
        self.outbound_bytes -= bytes;
        if let Phase::Closing { .. } = self.connection(slot).phase {
            // It may be the last one that the end has waited for.
            self.mark_dirty(slot);
        }
        self.read_on(slot);
    }
}
