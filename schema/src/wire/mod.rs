//! The binary form: one FlatBuffer `Frame` per WebSocket binary message.
//!
//! [`parse_client`] and [`parse_server`] verify before they read, with the bounds of [`crate::limits`]: the defaults of
//! the FlatBuffers crate let a few bytes claim gigabytes. [`Encoder`] writes frames into a buffer that it keeps;
//! [`crate::encode`] makes the one frame that is shared between recipients.

mod parse;
mod write;

use flatbuffers::{Follow, InvalidFlatbuffer, Verifiable, VerifierOptions};

use crate::limits;

pub use crate::frame_error::FrameError;
pub(crate) use parse::{check_token, fetch_limit, fetch_range};
pub use parse::{parse_client, parse_server};
pub use write::{Encoder, encode_client, encode_server};

/// The bounds of verification for a buffer of this length.
pub(crate) const fn verifier_options(bytes: usize, tables_max: usize) -> VerifierOptions {
    VerifierOptions {
        max_depth: limits::FRAME_DEPTH_MAX,
        max_tables: tables_max,
        max_apparent_size: bytes.saturating_mul(limits::FRAME_APPARENT_FACTOR_MAX),
        ignore_missing_null_terminator: false,
    }
}

/// The root table of a buffer, verified; or what is wrong with the buffer.
pub(crate) fn verified<'a, T>(bytes: &'a [u8], options: &VerifierOptions) -> Result<T::Inner, &'static str>
where
    T: Follow<'a> + Verifiable + 'a,
{
    flatbuffers::root_with_opts::<T>(options, bytes).map_err(|error| match error {
        InvalidFlatbuffer::MissingRequiredField { .. } => "a required field is missing",
        InvalidFlatbuffer::InconsistentUnion { .. } => "the union has a type or a value but not both",
        InvalidFlatbuffer::Utf8Error { .. } => "a string is not UTF-8",
        InvalidFlatbuffer::MissingNullTerminator { .. } => "a string does not end in a zero byte",
        InvalidFlatbuffer::Unaligned { .. } => "a value is not aligned",
        InvalidFlatbuffer::RangeOutOfBounds { .. } | InvalidFlatbuffer::SignedOffsetOutOfBounds { .. } => {
            "an offset points outside"
        }
        InvalidFlatbuffer::TooManyTables => "too many tables",
        InvalidFlatbuffer::ApparentSizeTooLarge => "its parts overlap",
        InvalidFlatbuffer::DepthLimitReached => "nested too deeply",
    })
}
