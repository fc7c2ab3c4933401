//! What the benches share: the peer they stand beside, plain files, and how results are printed.
#![forbid(unsafe_code)]

pub mod plain_file;
pub mod redis;
pub mod table;
