//! One shard of the router: conversations and users, without IO.
//!
//! Inputs go in through `Shard::handle_*` with `now` as an argument; effects come out through [`Effects`]. Same inputs,
//! same effects. The engine (`router/engine`) owns the shards of a router core, appends their records, and tells them
//! when a record is durable.
//!
//! | file | idea |
//! |---|---|
//! | `shard` | inputs, and which file takes them |
//! | `sending` | a Send at its conversation: dedupe, place, release |
//! | `delivery` | a head fact at a member: journal, deliver |
//! | `receipts`, `watermarks` | acks, receipts; facts told until they are confirmed |
//! | `catchup`, `reading` | what a session lacks, asked for and read |
//! | `attach` | sessions begin and end |
//! | `snapshot`, `recovery`, `rows` | the state at rest |
#![forbid(unsafe_code)]

mod agenda;
mod attach;
mod catchup;
pub mod config;
mod conversation;
mod cursor;
mod dedupe;
mod delivery;
pub mod effects;
mod facts;
mod inboxes;
pub mod limits;
mod log;
mod memory;
mod parking;
pub mod peer;
mod post;
mod reading;
mod receipts;
mod recovery;
pub mod rows;
mod sending;
mod session;
mod shard;
mod snapshot;
mod tail;
mod user;
mod watermarks;

pub use config::ShardConfig;
pub use effects::Effects;
pub use peer::Peer;
pub use shard::{Shard, ShardStats};
