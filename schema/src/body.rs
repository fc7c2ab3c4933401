//! The body of a message: a FlatBuffer of its own inside the frames that carry it.
//!
//! The server checks it once ([`check`]) and passes its bytes on as they are, so whatever a newer client puts into it
//! survives an older server. A client makes one with [`text`] and reads what arrives with [`parse`], which verifies but
//! leaves the bounds to the server: those of a newer server may be wider.

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

/// The encoded body of a text message. The bounds ([`limits::TEXT_CHARS_MAX`], not empty) are the server's to check.
#[must_use]
pub fn text(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a FlatBuffer is smaller than 4 GiB");
    let mut out = Vec::with_capacity(24 + text.len() + 1);
    out.extend_from_slice(&12u32.to_le_bytes()); // root: the table
    for word in [6u16, 8, 4, 0] {
        out.extend_from_slice(&word.to_le_bytes()); // vtable: its bytes, the table's bytes, where `text` is; padding
    }
    out.extend_from_slice(&8i32.to_le_bytes()); // table: back to the vtable
    out.extend_from_slice(&4u32.to_le_bytes()); // `text`: forward to the string
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    out
}

/// The body that says nothing: what the JSON form is left with of a body that it cannot express.
pub(crate) fn empty() -> Vec<u8> {
    vec![8, 0, 0, 0, 4, 0, 4, 0, 4, 0, 0, 0] // root: the table; vtable without fields; table: back to the vtable
}

/// Verifies an encoded body and reads it.
///
/// # Errors
/// [`FrameError::InvalidField`] when it does not verify.
pub fn parse(bytes: &[u8]) -> Result<BodyView<'_>, FrameError> {
    let body = root(bytes)?;
    Ok(BodyView { text: body.text() })
}

/// Verifies an encoded body and checks it against the bounds of a message.
///
/// # Errors
/// [`FrameError::InvalidField`] when it does not verify or says nothing at all, [`FrameError::TooLarge`] over
/// [`limits::BODY_BYTES_MAX`] or [`limits::TEXT_CHARS_MAX`].
pub fn check(bytes: &[u8]) -> Result<(), FrameError> {
    if bytes.len() > limits::BODY_BYTES_MAX {
        return Err(FrameError::too_large("body", limits::BODY_BYTES_MAX, "bytes"));
    }
    let body = root(bytes)?;
    if !says_something(body) {
        return Err(FrameError::invalid("body", "is empty"));
    }
    body.text().map_or(Ok(()), check_text)
}

/// Checks a text against the bounds of a message.
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

fn root(bytes: &[u8]) -> Result<generated::Body<'_>, FrameError> {
    verified::<generated::Body<'_>>(bytes, &verifier_options(bytes.len(), limits::FRAME_TABLES_MAX))
        .map_err(|problem| FrameError::invalid("body", problem))
}

/// Whether any field is present, one of a newer schema included.
fn says_something(body: generated::Body<'_>) -> bool {
    let vtable = body._tab.vtable();
    let end = u16::try_from(vtable.num_bytes()).unwrap_or(u16::MAX);
    (4..end).step_by(2).any(|slot| vtable.get(slot) != 0)
}
