//! What every part of Switchyard agrees on: identities, limits, error codes, the frames on the wire in both their forms,
//! the records of the journal and the messages between gateway and router threads.
//!
//! This crate does no IO and imports nothing of ours.
#![forbid(unsafe_code)]

pub mod error;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod link;
pub mod record;
