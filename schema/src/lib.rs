//! What every part of Switchyard agrees on: identities, limits, error codes, the frames on the wire in both their forms,
//! the records of the journal and the messages between gateway and router threads.
//!
//! This crate does no IO and imports nothing of ours. The only unsafe code is what flatc generates.
#![deny(unsafe_code)]

pub mod body;
pub mod encode;
pub mod error;
pub mod frame;
mod frame_error;
mod generated;
pub mod ids;
pub mod json;
pub mod limits;
pub mod link;
pub mod record;
pub mod wire;

pub use frame_error::{FrameError, NewerError};
