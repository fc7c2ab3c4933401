//! One router core without its IO: its shards joined with its journal.
//!
//! [`Engine`] takes what arrives, groups the records of all its shards into batches, and lets nothing be seen before the
//! batch that holds it is durable. It loads and evicts through the state store, keeps snapshots back until they describe
//! durable records only, and walks back through the journal for history. The driver (`router/server`) and the simulator run
//! the same engine.
#![forbid(unsafe_code)]

pub mod clock;
mod commit;
pub mod config;
mod engine;
mod given_up;
mod history;
pub mod limits;
pub mod outbox;
pub mod recovery;
mod refusal;
pub mod snapshots;
mod stats;

pub use clock::SteadyClock;
pub use config::EngineConfig;
pub use engine::Engine;
pub use history::DamagedMessage;
pub use outbox::{JournalRead, Outbox, StoreAsk, StoreFailed, StoreReply};
pub use stats::EngineStats;
