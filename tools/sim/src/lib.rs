//! A deterministic simulator: the real code of Switchyard that has no IO, in one thread, under virtual time, from one seed.
//!
//! It plays everything else: the network, the disk, the state store's files, the clock, the persons, and the drivers of
//! `gateway/server`, `router/server` and `client/sdk`, whose loops it repeats around the same cores. A seed decides who takes
//! part, how small every ring and buffer is, and which faults happen when. After every run it is known what phones sent and
//! saw, and that is what the rules of [`Truth`](truth::Truth) are checked against.
//!
//! ```
//! let outcome = switchyard_sim::run(1, &switchyard_sim::Options::default());
//! assert_eq!(outcome.failure, None);
//! ```
#![forbid(unsafe_code)]

pub mod agenda;
mod budget;
pub mod canary;
pub mod disk;
pub mod fault;
mod gateway;
mod inject;
mod links;
mod network;
mod phone;
pub mod plan;
pub mod random;
mod router;
mod run;
mod server;
pub mod shared;
pub mod store;
pub mod story;
pub mod truth;
mod world;

pub use run::{Options, Outcome, run};
