//! The body of a message: a FlatBuffer of its own inside the frames that carry it.
//!
//! The server verifies it once and passes its bytes on as they are, so whatever a newer client puts into it survives an
//! older server. A client reads it with [`parse`] and makes it with [`text`].

use flatbuffers::VerifierOptions;

use crate::frame_error::FrameError;
use crate::generated;
use crate::limits;
use crate::wire::{verified, verifier_options};

/// What this version understands of a body.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct BodyView<'a> {
    /// The text; `None` in a body that holds only things this version does not know.
    pub text: Option<&'a str>,
}

/// The encoded body of a text message. The bounds ([`limits::TEXT_CHARS_MAX`], not empty) are checked where it is parsed.
#[must_use]
pub fn text(text: &str) -> Vec<u8> {
    const STRING_AT: u32 = 20;
    let length = u32::try_from(text.len()).expect("a FlatBuffer is smaller than 4 GiB");
    let mut out = Vec::with_capacity(STRING_AT as usize + 4 + text.len() + 1);
    out.extend_from_slice(&12u32.to_le_bytes()); // root: the table
    for word in [6u16, 8, 4, 0] {
        out.extend_from_slice(&word.to_le_bytes()); // vtable: its bytes, the table's bytes, where `text` is; padding
    }
    out.extend_from_slice(&8i32.to_le_bytes()); // table: back to the vtable
    out.extend_from_slice(&(STRING_AT - 16).to_le_bytes()); // `text`: forward to the string
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    out
}

/// Verifies an encoded body and reads it.
///
/// # Errors
/// [`FrameError::InvalidField`] when it does not verify or says nothing at all, [`FrameError::TooLarge`] over
/// [`limits::BODY_BYTES_MAX`] or [`limits::TEXT_CHARS_MAX`].
pub fn parse(bytes: &[u8]) -> Result<BodyView<'_>, FrameError> {
    if bytes.len() > limits::BODY_BYTES_MAX {
        return Err(FrameError::too_large("body", limits::BODY_BYTES_MAX, "bytes"));
    }
    let options: VerifierOptions = verifier_options(bytes.len(), limits::FRAME_TABLES_MAX);
    let body =
        verified::<generated::Body<'_>>(bytes, &options).map_err(|problem| FrameError::invalid("body", problem))?;
    if !says_something(body) {
        return Err(FrameError::invalid("body", "is empty"));
    }
    let text = body.text();
    if let Some(text) = text {
        check_text(text)?;
    }
    Ok(BodyView { text })
}

/// Checks a text against the bounds of a body.
///
/// # Errors
/// [`FrameError::InvalidField`] when it is empty, [`FrameError::TooLarge`] over [`limits::TEXT_CHARS_MAX`].
pub fn check_text(text: &str) -> Result<(), FrameError> {
    if text.is_empty() {
        return Err(FrameError::invalid("body", "the text is empty"));
    }
    // Characters are at most as many as bytes, so most texts need not be counted.
    if text.len() > limits::TEXT_CHARS_MAX && text.chars().count() > limits::TEXT_CHARS_MAX {
        return Err(FrameError::too_large("text", limits::TEXT_CHARS_MAX, "characters"));
    }
    Ok(())
}

/// Whether any field is present, one of a newer schema included.
fn says_something(body: generated::Body<'_>) -> bool {
    let vtable = body._tab.vtable();
    let end = u16::try_from(vtable.num_bytes()).unwrap_or(u16::MAX);
    (4..end).step_by(2).any(|slot| vtable.get(slot) != 0)
}
