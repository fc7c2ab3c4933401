//! What a client did wrong below the level of frames, whatever carries them.

use switchyard_schema::error::CloseCode;

use crate::framing::FramingError;
use crate::ws::WsError;

/// What a client did wrong below the level of frames. The connection is closed with [`BadBytes::close_code`].
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(transparent)]
pub enum BadBytes {
    /// On a WebSocket.
    WebSocket(#[from] WsError),
    /// On a stream.
    Stream(#[from] FramingError),
}

impl BadBytes {
    /// The close code that says so.
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::WebSocket(error) => error.close_code(),
            Self::Stream(error) => error.close_code(),
        }
    }
}
