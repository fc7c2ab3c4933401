//! TLS: what the gateway shows (certificates), how a connection speaks it (record), and where a thread keeps that of its
//! connections.
//!
//! TLS lies between a connection's socket and its WebSocket, and only connections of the TLS listener have it: the others keep
//! nothing for it and take no step through it.

pub mod certificates;
mod connections;
mod record;
mod table;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use table::SecureTable;
