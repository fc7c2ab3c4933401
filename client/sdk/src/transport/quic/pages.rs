//! Frames that the server sends on a stream of their own, so that what is small need not wait behind them.

use std::future::pending;

use quinn::{Connection, ReadToEndError, RecvStream};
use switchyard_gateway_core::framing::{Decoder, FramingError, LENGTH_BYTES};
use switchyard_gateway_core::handshake::Form;
use switchyard_gateway_core::ws::Event;
use switchyard_schema::limits::SERVER_FRAME_BYTES_MAX;
use tokio::task::JoinSet;

use crate::transport::TransportError;

/// The streams that are being read: as many at once as the server is let open
/// ([`QUIC_PAGES_MAX`](crate::limits::QUIC_PAGES_MAX)).
#[derive(Debug, Default)]
pub(super) struct Pages {
    reading: JoinSet<Result<Vec<u8>, TransportError>>,
    whole: Vec<u8>,
}

impl Pages {
    /// Whether there is something to decode.
    pub(super) const fn is_ready(&self) -> bool {
        !self.whole.is_empty()
    }

    /// Waits until a stream is read to its end. Losing the future loses nothing.
    pub(super) async fn read(&mut self, connection: &Connection) -> Result<(), TransportError> {
        while self.whole.is_empty() {
            tokio::select! {
                stream = connection.accept_uni() => match stream {
                    Ok(stream) => drop(self.reading.spawn(read_whole(stream))),
                    // That the connection ends is told by the session's stream, after its last frames.
                    Err(_) => return pending().await,
                },
                Some(page) = self.reading.join_next() => {
                    self.whole = page.expect("reading does not panic, and is given up with the connection only")?;
                }
            }
        }
        Ok(())
    }

    /// Hands over the frame that has been read.
    pub(super) fn decode(&mut self, mut on_frame: impl FnMut(&[u8])) -> Result<(), TransportError> {
        let whole = std::mem::take(&mut self.whole);
        if whole.is_empty() {
            return Ok(());
        }
        match Decoder::new(Form::Binary, SERVER_FRAME_BYTES_MAX).decode(&whole)?.event {
            Some(Event::Binary(frame)) => on_frame(&frame),
            _ => return Err(TransportError::Truncated),
        }
        Ok(())
    }
}

/// A stream's bytes, or none when the server gave it up: then it is as if it had not been begun.
async fn read_whole(mut stream: RecvStream) -> Result<Vec<u8>, TransportError> {
    match stream.read_to_end(LENGTH_BYTES + SERVER_FRAME_BYTES_MAX).await {
        Ok(bytes) => Ok(bytes),
        Err(ReadToEndError::TooLong) => Err(FramingError::TooBig.into()),
        Err(ReadToEndError::Read(_)) => Ok(Vec::new()),
    }
}
