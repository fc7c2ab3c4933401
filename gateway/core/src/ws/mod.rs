//! The WebSocket framing of RFC 6455, sans IO, for both ends of a connection.
//!
//! [`Decoder`] takes received bytes and yields [`Event`]s; the functions of [`encode`] write frames. Extensions are not
//! negotiated, so every reserved bit is refused.
//!
//! ```
//! use switchyard_gateway_core::ws::{Decoder, Event, Opcode, Role, encode};
//!
//! let mut received = Vec::new();
//! encode::put_masked(&mut received, Opcode::Binary, b"hello", [1, 2, 3, 4]);
//! let mut decoder = Decoder::new(Role::Server, 1024);
//! let step = decoder.decode(&mut received).unwrap();
//! assert_eq!(step.event, Some(Event::Binary(b"hello".into())));
//! ```

mod close;
mod decode;
pub mod encode;
mod error;
mod header;
mod mask;

pub use close::{close_code_on_wire, parse_close};
pub use decode::{Decoder, Event, Step};
pub use error::WsError;
pub use header::Opcode;
pub use mask::apply_mask;

/// Which end of the connection this is. A client masks what it sends, a server does not (RFC 6455 §5.1).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// Receives masked frames.
    Server,
    /// Receives unmasked frames.
    Client,
}
