//! A session over QUIC: frames behind their length on one stream of both directions, and large ones of the server on streams
//! of their own. The connection outlives the address it was opened from.

mod early;
mod moving;
mod pages;
mod settings;
mod target;

use std::future::pending;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use quinn::{Connection, Endpoint, ReadError, RecvStream, SendStream, WriteError};
use switchyard_gateway_core::framing::{Decoder, length};
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::ws::Event;
use switchyard_schema::error::CloseCode;
use switchyard_schema::limits::SERVER_FRAME_BYTES_MAX;
use tokio::time::{Instant, timeout_at};

use super::{Progress, TransportError};
use crate::limits::{CLOSE_TIMEOUT, READ_CHUNKS_MAX};
use early::Early;
use moving::{Move, due};
use pages::Pages;
pub(super) use target::{Target, free_socket};

/// An open connection.
///
/// Whether it ends, and why, is what reading from its stream says: that comes after the last frames of the server, which may
/// matter more than that nothing can be written any more.
#[derive(Debug)]
pub(crate) struct Quic {
    endpoint: Endpoint,
    connection: Connection,
    /// While the handshake is not done.
    early: Option<Early>,
    sender: SendStream,
    receiver: RecvStream,
    decoder: Decoder,
    /// What has arrived on the stream and is not decoded yet.
    received: Vec<Bytes>,
    pages: Pages,
    unsent: BytesMut,
    /// The server has said all on the stream, and closes the connection until then.
    ends_until: Option<Instant>,
    /// Datagrams heard of so far.
    datagrams: u64,
    moving: Option<Move>,
}

impl Quic {
    async fn new(endpoint: Endpoint, connection: Connection, early: Option<Early>) -> Result<Self, TransportError> {
        let (sender, receiver) = connection.open_bi().await?;
        Ok(Self {
            endpoint,
            connection,
            early,
            sender,
            receiver,
            decoder: Decoder::new(Form::Binary, SERVER_FRAME_BYTES_MAX),
            received: Vec::new(),
            pages: Pages::default(),
            unsent: BytesMut::new(),
            ends_until: None,
            datagrams: 0,
            moving: None,
        })
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.unsent.extend_from_slice(&length(frame.len()));
        self.unsent.extend_from_slice(frame);
    }

    pub(crate) async fn progress(&mut self, read: bool) -> Result<Progress, TransportError> {
        let Self { connection, early, sender, receiver, received, pages, unsent, ends_until, moving, .. } = self;
        if read && (!received.is_empty() || pages.is_ready()) {
            return Ok(Progress::Received);
        }
        let mut chunks = [const { Bytes::new() }; READ_CHUNKS_MAX];
        loop {
            tokio::select! {
                stream = settle(early.as_mut(), connection) => {
                    let said = early.take().map(Early::into_said).unwrap_or_default();
                    if let Some(stream) = stream? {
                        (*sender, *receiver) = stream;
                        *unsent = [said, std::mem::take(unsent)].concat().as_slice().into();
                    }
                }
                written = sender.write(unsent), if !unsent.is_empty() => {
                    let written_bytes = match written {
                        Ok(bytes) => bytes,
                        // The handshake is done, and there is another stream for it.
                        Err(WriteError::ZeroRttRejected) => continue,
                        Err(_) => unsent.len(),
                    };
                    if let Some(early) = early {
                        early.on_said(&unsent[..written_bytes]);
                    }
                    unsent.advance(written_bytes);
                    if unsent.is_empty() && !read {
                        return Ok(Progress::Written);
                    }
                }
                got = receiver.read_chunks(&mut chunks), if read && ends_until.is_none() => match got {
                    Ok(Some(count)) => {
                        received.extend(chunks[..count].iter_mut().map(std::mem::take));
                        return Ok(Progress::Received);
                    }
                    Err(ReadError::ConnectionLost(error)) => return Err(error.into()),
                    Err(ReadError::ZeroRttRejected) => {}
                    Ok(None) | Err(_) => *ends_until = Some(Instant::now() + CLOSE_TIMEOUT),
                },
                page = pages.read(connection), if read => {
                    page?;
                    return Ok(Progress::Received);
                }
                () = due(moving.as_ref()) => {
                    if !moving.take().is_some_and(|moved| moved.has_arrived(connection)) {
                        return Err(TransportError::CutOff);
                    }
                }
                error = end(connection, *ends_until), if read => return Err(error),
            }
        }
    }

    pub(crate) fn decode(&mut self, mut on_frame: impl FnMut(&[u8])) -> Result<(), TransportError> {
        for chunk in self.received.drain(..) {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let step = self.decoder.decode(rest)?;
                if let Some(Event::Binary(frame)) = step.event {
                    on_frame(&frame);
                }
                rest = &rest[step.consumed..];
            }
        }
        self.pages.decode(on_frame)
    }

    /// Whether the server was heard of since this was asked last: its pings and acknowledgements bring nothing to decode.
    pub(crate) fn is_heard(&mut self) -> bool {
        let datagrams = self.connection.stats().udp_rx.datagrams;
        std::mem::replace(&mut self.datagrams, datagrams) != datagrams
    }

    /// Goes on from a new socket, and so from whatever address this machine has now.
    pub(crate) fn network_changed(&mut self) -> Result<(), TransportError> {
        if self.early.is_some() {
            // RFC 9000 §9: not before the handshake is done.
            return Err(TransportError::CutOff);
        }
        self.endpoint.rebind(free_socket(self.connection.remote_address())?)?;
        self.moving = Some(Move::new(&self.connection));
        Ok(())
    }

    /// Ends the stream and waits until the server, which closes the connection then, has all of it.
    pub(crate) async fn close(mut self) -> Result<(), TransportError> {
        self.sender.write_all(&self.unsent).await.map_err(io::Error::other)?;
        self.sender.finish().map_err(io::Error::other)?;
        self.connection.closed().await;
        Ok(())
    }
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.connection.close((CloseCode::Normal as u16).into(), b"");
    }
}

/// Waits until a handshake is done that is not yet.
async fn settle(
    early: Option<&mut Early>,
    connection: &Connection,
) -> Result<Option<(SendStream, RecvStream)>, TransportError> {
    match early {
        Some(early) => early.settle(connection).await,
        None => pending().await,
    }
}

/// Waits for the close that follows the end of the stream.
async fn end(connection: &Connection, until: Option<Instant>) -> TransportError {
    let Some(until) = until else { return pending().await };
    timeout_at(until, connection.closed()).await.map_or(TransportError::Closed(None), Into::into)
}
