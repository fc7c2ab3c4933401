//! One client connection without any IO: the WebSocket handshake and codec, the frames of a QUIC stream, the session's
//! state machine, the queue of frames to write and the timers.
//!
//! `gateway/server` feeds it with received bytes, the time and the router's messages and carries out what it answers.
//! The SDK and the load generator use the same codec in the client's role. There is no clock, no randomness and no
//! socket in here: time, keys and masks are arguments.
#![forbid(unsafe_code)]

pub mod admission;
pub mod auth;
pub mod comebacks;
mod deadline;
pub mod framing;
pub mod handshake;
pub mod heartbeat;
pub mod key_file;
pub mod limits;
pub mod outbound;
pub mod rate;
pub mod routing;
pub mod session;
pub mod wheel;
pub mod ws;
