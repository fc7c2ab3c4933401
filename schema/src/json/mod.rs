//! The JSON form: the same frames as WebSocket text messages, for browsers, scripts and anybody without FlatBuffers.
//!
//! `type` names the frame in snake_case. 64-bit numbers are canonical decimal strings, because JavaScript's numbers
//! would round them; small numbers are JSON numbers. A direct conversation is named by the other user, so both
//! directions need to know who the session's user is (`me`). Unknown fields are ignored and `null` is absent.
//!
//! Fields are first read as whatever JSON gives and then turned into typed values one by one, so that a refusal can
//! name the field and the Send or Fetch that it spoils.

mod client;
mod field;
mod object;
mod server;

pub use client::{encode_client, parse_client};
pub use server::{encode_server, parse_server};
