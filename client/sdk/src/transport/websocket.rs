//! A WebSocket over any stream, with the codec that the gateway uses too.

use std::net::{SocketAddr, UdpSocket};

use bytes::{Buf, BytesMut};
use switchyard_gateway_core::handshake::{ClientHandshake, ClientRequest, Form, client_request, parse_response};
use switchyard_gateway_core::ws::encode::{close_payload, put_masked};
use switchyard_gateway_core::ws::{Decoder, Event, Opcode, Role};
use switchyard_schema::error::CloseCode;
use switchyard_schema::limits::SERVER_FRAME_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::{Progress, TransportError};
use crate::address::WebSocketAddress;
use crate::entropy;
use crate::limits::{HANDSHAKE_BYTES_MAX, READ_BYTES};

#[derive(Debug)]
pub(crate) struct WebSocket<S> {
    /// This end of it.
    local: SocketAddr,
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    decoder: Decoder,
    received: BytesMut,
    unsent: BytesMut,
    /// Whether the stream may keep something that was written: TLS does when its socket is full.
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite> WebSocket<S> {
    /// Performs the handshake (RFC 6455 §4.1).
    pub(crate) async fn open(
        mut stream: S,
        address: &WebSocketAddress,
        local: SocketAddr,
    ) -> Result<Self, TransportError>
    where
        S: Unpin,
    {
        let request = ClientRequest {
            host: &address.authority,
            path: &address.path,
            form: Some(Form::Binary),
            token: None,
            nonce: entropy::bytes(),
        };
        stream.write_all(&client_request(&request)).await?;
        stream.flush().await?;
        let mut received = BytesMut::with_capacity(HANDSHAKE_BYTES_MAX);
        loop {
            if stream.read_buf(&mut received).await? == 0 {
                return Err(TransportError::Closed(None));
            }
            if let ClientHandshake::Open { consumed } = parse_response(&received, &request)? {
                received.advance(consumed);
                break;
            }
        }
        Ok(Self::after_handshake(stream, local, received))
    }

    /// `received` is what came right behind the server's answer.
    fn after_handshake(stream: S, local: SocketAddr, received: BytesMut) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let decoder = Decoder::new(Role::Client, SERVER_FRAME_BYTES_MAX);
        Self { local, reader, writer, decoder, received, unsent: BytesMut::new(), unflushed: false }
    }

    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.put(Opcode::Binary, frame);
    }

    pub(crate) async fn progress(&mut self, read: bool) -> Result<Progress, TransportError> {
        let Self { reader, writer, received, unsent, unflushed, .. } = self;
        if read && !received.is_empty() {
            return Ok(Progress::Received);
        }
        loop {
            tokio::select! {
                flushed = write_some(writer, unsent), if !unsent.is_empty() || *unflushed => {
                    *unflushed = !flushed?;
                    if !*unflushed && !read {
                        return Ok(Progress::Written);
                    }
                }
                got = read_some(reader, received), if read => {
                    return if got? == 0 { Err(TransportError::Closed(None)) } else { Ok(Progress::Received) };
                }
                else => return std::future::pending().await,
            }
        }
    }

    pub(crate) fn decode(&mut self, mut on_frame: impl FnMut(&[u8])) -> Result<(), TransportError> {
        let mut received = std::mem::take(&mut self.received);
        let mut rest = &mut received[..];
        while !rest.is_empty() {
            let step = self.decoder.decode(rest)?;
            let consumed = step.consumed;
            match step.event {
                Some(Event::Binary(frame)) => on_frame(&frame),
                Some(Event::Ping(payload)) => put(&mut self.unsent, Opcode::Pong, &payload),
                Some(Event::Pong(_)) | None => {}
                Some(Event::Text(_)) => return Err(TransportError::Text),
                Some(Event::Close { code, .. }) => return Err(TransportError::Closed(code.map(u64::from))),
            }
            rest = &mut rest[consumed..];
        }
        received.clear();
        self.received = received;
        Ok(())
    }

    /// Whether the connection can go on: TCP cannot when this machine has lost the address.
    pub(crate) fn network_changed(&self) -> Result<(), TransportError> {
        let mut any_port = self.local;
        any_port.set_port(0);
        UdpSocket::bind(any_port).map(drop).map_err(|_| TransportError::CutOff)
    }

    pub(crate) async fn close(mut self) -> Result<(), TransportError> {
        self.put(Opcode::Close, &close_payload(CloseCode::Normal as u16, ""));
        self.writer.write_all(&self.unsent).await?;
        self.writer.shutdown().await?;
        Ok(())
    }

    fn put(&mut self, opcode: Opcode, payload: &[u8]) {
        put(&mut self.unsent, opcode, payload);
    }
}

/// Appends a masked frame; the key is fresh chance for each (RFC 6455 §5.3).
fn put(unsent: &mut BytesMut, opcode: Opcode, payload: &[u8]) {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    put_masked(&mut frame, opcode, payload, entropy::bytes());
    unsent.extend_from_slice(&frame);
}

/// Writes some of what is unsent, or lets the stream write what it kept of that. `true` when everything is written.
async fn write_some(writer: &mut (impl AsyncWrite + Unpin), unsent: &mut BytesMut) -> Result<bool, TransportError> {
    if unsent.is_empty() {
        writer.flush().await?;
        return Ok(true);
    }
    match writer.write(unsent).await? {
        0 => Err(TransportError::Closed(None)),
        written => {
            unsent.advance(written);
            Ok(false)
        }
    }
}

async fn read_some(reader: &mut (impl AsyncRead + Unpin), received: &mut BytesMut) -> Result<usize, TransportError> {
    received.reserve(READ_BYTES);
    Ok(reader.take(READ_BYTES as u64).read_buf(received).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn given_a_server_that_says_nothing_when_all_is_written_then_that_does_not_count_as_received() {
        let (near, mut far) = tokio::io::duplex(1024);
        let mut websocket = WebSocket::after_handshake(near, ([127, 0, 0, 1], 1).into(), BytesMut::new());
        websocket.send(b"a frame");
        assert_eq!(websocket.progress(false).await.unwrap(), Progress::Written);
        far.write_all(&[0x89, 0]).await.unwrap();
        assert_eq!(websocket.progress(true).await.unwrap(), Progress::Received);
    }

    #[tokio::test]
    async fn given_an_address_that_the_machine_has_lost_when_the_network_changes_then_the_connection_is_given_up() {
        let at = |address: [u8; 4]| {
            let (near, _) = tokio::io::duplex(64);
            WebSocket::after_handshake(near, (address, 1).into(), BytesMut::new())
        };
        assert!(at([127, 0, 0, 1]).network_changed().is_ok());
        // TEST-NET-1 (RFC 5737) is nobody's.
        assert!(matches!(at([192, 0, 2, 1]).network_changed(), Err(TransportError::CutOff)));
    }
}
