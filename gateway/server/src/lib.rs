//! Gateway threads: sockets, WebSockets, QUIC and sessions on one side, links to router cores on the other.
//!
//! `switchyard-gateway-core` decides; this crate moves bytes. Each thread has its own io_uring (monoio), its own listener on
//! the shared port, its own connections, timers and links, and shares nothing with the others but their orders.
//!
//! ```no_run
//! use std::sync::Arc;
//! use switchyard_gateway_core::auth::KeySet;
//! use switchyard_gateway_server::{Gateway, GatewayConfig, RouterEnd, ThreadParts, doorbell};
//! use switchyard_gateway_server::limits::LinkSizes;
//! use switchyard_ring::{EventFd, link, wake};
//! use switchyard_schema::ids::ShardCount;
//!
//! // One gateway thread and one router core.
//! let sizes = LinkSizes::of(1, 1);
//! let (requests, _router_requests) = link(sizes.reserved(), sizes.open_to_router);
//! let (_router_answers, answers) = link(sizes.reserved(), sizes.open_to_gateway);
//! let (doorbell, _wakes_this_thread) = doorbell()?;
//! let (_router_parker, waker) = wake::pair(|| { /* wake the router core */ });
//! let thread = ThreadParts { doorbell, routers: vec![RouterEnd { requests, answers, waker }], processor: None };
//!
//! let shards = ShardCount::new(64).expect("64 is a legal number of shards");
//! let config = GatewayConfig::new("127.0.0.1:8080".parse()?, shards);
//! let gateway = Gateway::spawn(config, Arc::new(KeySet::new("switchyard")), vec![thread])?;
//! println!("listening at {}", gateway.local_address());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accept;
mod address;
mod alarm;
mod clock;
mod config;
mod connection;
mod control;
mod counters;
mod door;
mod echo;
mod flush;
mod gateway;
mod hellos;
pub mod limits;
mod links;
mod poll_ring;
mod quic;
mod readiness;
mod receive;
mod runtime;
mod sessions;
mod state;
mod sys;
mod table;
mod thread;
pub mod tls;
mod to_read;
mod turn;

pub use config::{GatewayConfig, ThreadParts, TlsListen};
pub use control::DrainPlan;
pub use counters::{Counter, Counters};
pub use gateway::{Gateway, SpawnError, ThreadsFailed, check_io_uring};
pub use links::{Doorbell, RouterEnd, doorbell};
pub use quic::{QuicConfig, ResetKey};
pub use runtime::missing_ring_operations;
pub use table::CONNECTION_BYTES;
