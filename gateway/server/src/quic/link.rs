//! One QUIC connection: quinn's state machine, and the stream that carries the session; large pages have streams of their own
//! ([`super::aside`]).
//!
//! The client opens the stream. The session's last frames are written to it and followed by its end; when the client has
//! acknowledged all of that, the connection is closed with the session's close code.

use std::io;
use std::time::Instant;

use quinn_proto::{Connection, Dir, ReadError, StreamId, VarInt, WriteError};
use switchyard_gateway_core::outbound::Outbound;
use switchyard_gateway_core::session::Close;
use switchyard_gateway_core::wheel::Slot;
use switchyard_schema::error::CloseCode;

use super::aside::Aside;
use super::congestion;
use super::deadlines::Armed;
use super::protocol::Protocol;
use super::unproven::{Came, Unproven};
use crate::flush::Written;
use crate::limits::{FLUSH_BYTES_PER_TURN, QUIC_IDS_UNSENT_MAX};

/// One QUIC connection.
pub(super) struct Link {
    pub(super) proto: Connection,
    /// Its place among the thread's connections. Without one it only waits for its last datagrams.
    pub(super) slot: Option<Slot>,
    /// Whether its handshake is under way with an address that may be forged.
    pub(super) unverified: bool,
    /// What it may be sent while its address may be forged.
    unproven: Option<Unproven>,
    /// How often ids were made for it: at its start, and for each that it gave back.
    pub(super) ids_made: u64,
    pub(super) armed: Armed,
    /// Whether it stands in the list of connections that something has happened to.
    pub(super) happened: bool,
    /// Whether it stands in the list of connections to send for.
    pub(super) touched: bool,
    stream: Option<StreamId>,
    /// Whether the end of the stream has been written.
    finishing: bool,
    /// Pages on streams of their own that the client has not acknowledged.
    pub(super) asides: Vec<Aside>,
    /// How it is to be closed.
    pub(super) close: Option<Close>,
}

impl Link {
    /// With an account of what it may be sent, if its address may be forged.
    pub(super) fn new(proto: Connection, unproven: Option<Unproven>) -> Self {
        Self {
            proto,
            slot: None,
            unverified: unproven.is_some(),
            unproven,
            ids_made: 0,
            armed: Armed::default(),
            happened: false,
            touched: false,
            stream: None,
            finishing: false,
            asides: Vec::new(),
            close: None,
        }
    }

    /// A datagram has come for it.
    pub(super) fn on_came(&mut self, came: Came) {
        self.unproven = self.unproven.and_then(|unproven| unproven.after(came));
    }

    /// Its handshake is done, and so its address is proven.
    pub(super) const fn on_proven(&mut self) {
        self.unproven = None;
    }

    /// How many datagrams it may be sent at once, of those that one call may carry.
    pub(super) fn datagrams_max(&self, per_send: usize) -> usize {
        self.unproven.map_or(per_send, |unproven| unproven.datagrams(self.proto.current_mtu()).min(per_send))
    }

    /// So many bytes go out to it.
    pub(super) fn on_sent(&mut self, bytes: usize) {
        if let Some(unproven) = &mut self.unproven {
            unproven.on_sent(bytes);
        }
    }

    /// Whether more ids wait to be sent to the client than may: it gives them back without having got them.
    pub(super) fn has_unsent_ids(&self) -> bool {
        self.ids_made > QUIC_IDS_UNSENT_MAX
            && self.ids_made - QUIC_IDS_UNSENT_MAX > self.proto.stats().frame_tx.new_connection_id
    }

    /// What the client has chosen to speak, once the handshake is done. None is possible only without a protocol (ALPN), and
    /// without one there is no handshake.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        Some(*self.proto.crypto_session().handshake_data()?.downcast().expect("our own session says this"))
    }

    /// Takes the stream that the client has opened. The limit of streams grants another only when this one has ended both ways,
    /// and with it the connection.
    pub(super) fn on_opened(&mut self) {
        if self.stream.is_none() {
            self.stream = self.proto.streams().accept(Dir::Bi);
        }
    }

    /// Reads from the stream into `buffer`; answers how much, and whether its end follows. Nothing, when the client says
    /// nothing more.
    ///
    /// # Errors
    /// `WouldBlock` when nothing has arrived.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        let (read_bytes, ended) = self.read_stream(buffer);
        if read_bytes > 0 {
            return Ok((read_bytes, ended));
        }
        // While the last frames are on their way it does not matter that the client says nothing more.
        if self.proto.is_closed() || ended && !self.finishing {
            return Ok((0, true));
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn read_stream(&mut self, buffer: &mut [u8]) -> (usize, bool) {
        let Some(stream) = self.stream else { return (0, false) };
        let mut stream = self.proto.recv_stream(stream);
        let Ok(mut chunks) = stream.read(true) else { return (0, true) };
        let mut read_bytes = 0;
        let mut ended = false;
        while read_bytes < buffer.len() {
            match chunks.next(buffer.len() - read_bytes) {
                Ok(Some(chunk)) => {
                    buffer[read_bytes..][..chunk.bytes.len()].copy_from_slice(&chunk.bytes);
                    read_bytes += chunk.bytes.len();
                }
                Err(ReadError::Blocked) => break,
                Ok(None) | Err(ReadError::Reset(_)) => {
                    ended = true;
                    break;
                }
            }
        }
        // More of the window may be free; what tells the client leaves at the end of the turn in any case.
        let _ = chunks.finalize();
        (read_bytes, ended)
    }

    /// Hands frames to the stream, as many as it takes. Before the client has opened it there is nobody to hear them.
    pub(super) fn write(&mut self, outbound: &mut Outbound) -> Written {
        let mut written_bytes = 0;
        while let Some(front) = outbound.front() {
            if written_bytes >= FLUSH_BYTES_PER_TURN {
                return Written::Enough;
            }
            let Some(stream) = self.stream else {
                outbound.advance(outbound.queued_bytes());
                return Written::All;
            };
            match self.proto.send_stream(stream).write_chunks(&mut [front.clone()]) {
                // When it took only a part, it says that it is blocked to the next one: only then it tells when it is not.
                Ok(written) => {
                    outbound.advance(written.bytes);
                    written_bytes += written.bytes;
                }
                Err(WriteError::Blocked) => return Written::Blocked,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return Written::Broken,
            }
        }
        Written::All
    }

    /// Writes the end of the stream. `false` when there is nothing whose arrival could be waited for.
    pub(super) fn finish(&mut self) -> bool {
        let finished = self.stream.is_some_and(|stream| self.proto.send_stream(stream).finish().is_ok());
        self.finishing |= finished;
        finished
    }

    /// Closes the connection, if it is not closed, as the session has asked for or else with `code`. What is not acknowledged
    /// by now may be lost.
    pub(super) fn close(&mut self, now: Instant, code: CloseCode) {
        let close = self.close.take().unwrap_or_else(|| Close { code, reason: "".into() });
        let code = VarInt::from_u32(u32::from(close.code as u16));
        congestion::let_close_pass(&self.proto);
        self.proto.close(now, code, String::from(close.reason).into());
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("slot", &self.slot).field("stream", &self.stream).finish_non_exhaustive()
    }
}
