//! The router's drivers on glommio: the loop of a router core, its journal on O_DIRECT files, the state store.
#![deny(unsafe_code)]

pub mod executor;
pub mod folder;
pub mod limits;
pub mod segment_file;
pub mod store;
#[cfg(test)]
mod testing;

pub use folder::{DataFolder, OpenError};
