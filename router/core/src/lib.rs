//! One shard of the router: conversations and users, without IO.
//!
//! Inputs go in through `Shard::handle_*` with `now` as an argument; effects come out through [`Effects`]. Same inputs,
//! same effects. The engine (`router/engine`) owns the shards of a router core, appends their records, and tells them
//! when a record is durable.
#![forbid(unsafe_code)]

pub mod config;
pub mod effects;
pub mod limits;
pub mod peer;
pub mod rows;
mod shard;

pub use config::ShardConfig;
pub use effects::Effects;
pub use peer::Peer;
pub use shard::Shard;
