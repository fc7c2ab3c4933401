//! The router's drivers on glommio: the loop of a router core, its journal on O_DIRECT files, the state store.
//!
//! ```text
//! DataFolder::open ──► Links::new ──► Router::recover_and_spawn ──► RouterHandle (counters, health, stop)
//! ```
#![deny(unsafe_code)]

mod blocking;
#[allow(unsafe_code)]
mod commit_ring;
mod core_loop;
pub mod counters;
pub mod executor;
pub mod folder;
mod guarded;
mod histogram;
mod journal_files;
mod journal_folder;
pub mod limits;
pub mod links;
mod reserve;
pub mod router;
pub mod segment_file;
pub mod store;
mod store_lists;
mod store_thread;
#[cfg(test)]
mod testing;

pub use counters::CoreCounters;
pub use folder::{DataFolder, OpenError};
pub use links::{CoreEnds, GatewayEnd, LinkConfig, Links};
pub use router::{Router, RouterConfig, RouterHandle, StartError};
pub use switchyard_router_core::effects::StorageState;
