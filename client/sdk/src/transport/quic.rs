//! A session over QUIC: frames behind their length on one stream of both directions, and large ones of the server on streams
//! of their own. The connection outlives the address it was opened from.

mod pages;
mod settings;

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, ReadError, RecvStream, SendStream, TokioRuntime};
use switchyard_gateway_core::framing::{Decoder, length};
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::ws::Event;
use switchyard_schema::error::CloseCode;
use switchyard_schema::limits::SERVER_FRAME_BYTES_MAX;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::race::{self, Attempt};
use super::{Progress, TransportError};
use crate::address::Host;
use crate::error::Error;
use crate::limits::{CLOSE_TIMEOUT, HEAD_START, MOVE_TIMEOUT, QUIC_ADDRESSES_MAX, READ_CHUNKS_MAX};
use crate::trust::Trust;
use pages::Pages;

/// A server that speaks QUIC.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    host: Host,
    /// Kept for all connections of a client: it knows what they resume with.
    config: ClientConfig,
}

impl Target {
    /// # Errors
    /// [`Error::InvalidAuthority`].
    pub(crate) fn new(host: Host, trust: &Trust) -> Result<Self, Error> {
        Ok(Self { host, config: settings::client(trust.quic()?) })
    }

    pub(crate) async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let addresses = tokio::net::lookup_host((self.host.name.as_str(), self.host.port)).await?;
        Ok(addresses.take(QUIC_ADDRESSES_MAX).collect())
    }

    /// Connects to whichever of the addresses answers first.
    pub(crate) async fn open(&self, addresses: Vec<SocketAddr>) -> Result<Quic, TransportError> {
        let attempts = addresses.into_iter().map(|address| Box::pin(self.open_at(address)) as Attempt<'_, Quic>);
        race::first(attempts.collect(), HEAD_START).await
    }

    async fn open_at(&self, address: SocketAddr) -> Result<Quic, TransportError> {
        let socket = free_socket(address)?;
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
        let connecting = endpoint.connect_with(self.config.clone(), address, &self.host.name);
        let connection = connecting.map_err(io::Error::other)?.await?;
        Quic::new(endpoint, connection).await
    }
}

/// A socket from which `remote` can be reached.
pub(super) fn free_socket(remote: SocketAddr) -> io::Result<UdpSocket> {
    match remote {
        SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)),
    }
}

/// An open connection.
///
/// Whether it ends, and why, is what reading from its stream says: that comes after the last frames of the server, which may
/// matter more than that nothing can be written any more.
#[derive(Debug)]
pub(crate) struct Quic {
    endpoint: Endpoint,
    connection: Connection,
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
    async fn new(endpoint: Endpoint, connection: Connection) -> Result<Self, TransportError> {
        let (sender, receiver) = connection.open_bi().await?;
        Ok(Self {
            endpoint,
            connection,
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
        let Self { connection, sender, receiver, received, pages, unsent, ends_until, moving, .. } = self;
        if read && (!received.is_empty() || pages.is_ready()) {
            return Ok(Progress::Received);
        }
        let mut chunks = [const { Bytes::new() }; READ_CHUNKS_MAX];
        loop {
            tokio::select! {
                written = sender.write(unsent), if !unsent.is_empty() => {
                    unsent.advance(written.unwrap_or(unsent.len()));
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

/// A change of this end's address that the server may not have heard of: not everywhere does UDP get through.
#[derive(Debug)]
struct Move {
    until: Instant,
    challenges: u64,
}

impl Move {
    fn new(connection: &Connection) -> Self {
        Self { until: Instant::now() + MOVE_TIMEOUT, challenges: connection.stats().frame_rx.path_challenge }
    }

    /// Whether the server has asked if this end is at the new address (RFC 9000 §9.3), which it does once it has heard from there.
    /// What still arrived at the old one proves nothing.
    fn has_arrived(&self, connection: &Connection) -> bool {
        connection.stats().frame_rx.path_challenge > self.challenges
    }
}

/// Waits until it is time to know whether the server has heard of a move.
async fn due(moving: Option<&Move>) {
    match moving {
        Some(moving) => sleep_until(moving.until).await,
        None => pending().await,
    }
}

/// Waits for the close that follows the end of the stream.
async fn end(connection: &Connection, until: Option<Instant>) -> TransportError {
    let Some(until) = until else { return pending().await };
    timeout_at(until, connection.closed()).await.map_or(TransportError::Closed(None), Into::into)
}
