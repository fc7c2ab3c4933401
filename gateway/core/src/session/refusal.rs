//! An Error on its way to the client.

use switchyard_schema::error::ErrorCode;
use switchyard_schema::frame::{ErrorFrame, Regarding};

/// An Error to be sent.
#[derive(Copy, Clone)]
pub(super) struct Refusal<'a> {
    pub(super) code: ErrorCode,
    pub(super) reason: &'a str,
    pub(super) retry_after_ms: Option<u32>,
    pub(super) regarding: Regarding,
}

impl From<ErrorCode> for Refusal<'static> {
    /// With the reason of the table, about the session.
    fn from(code: ErrorCode) -> Self {
        Self { code, reason: code.reason(), retry_after_ms: None, regarding: Regarding::Session }
    }
}

impl<'a> Refusal<'a> {
    pub(super) fn frame(&self) -> ErrorFrame<'a> {
        ErrorFrame {
            code: self.code,
            reason: self.reason.into(),
            retry_after_ms: self.retry_after_ms,
            regarding: self.regarding,
        }
    }
}
