//! What flatc makes of `fbs/switchyard.fbs` (`tools/flatgen` writes it). Private to the crate: the accessors trust that
//! a buffer was verified, and [`crate::wire`] is where that happens.

#[rustfmt::skip]
#[allow(warnings, unsafe_code, clippy::all, clippy::undocumented_unsafe_blocks)]
mod switchyard_generated;

pub(crate) use switchyard_generated::switchyard::wire::*;
