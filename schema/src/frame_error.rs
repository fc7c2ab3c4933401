//! Why received bytes are not a frame, in terms that the sender can be told.

use crate::error::ErrorCode;
use crate::frame::Regarding;

/// Why received bytes are not a frame. [`FrameError::code`], [`FrameError::regarding`] and the text of `Display` make
/// the error frame that answers it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The bytes break the form itself.
    #[error("the frame cannot be parsed: {problem}")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
        /// What the frame was about, as far as it could be read.
        regarding: Regarding,
    },
    /// A frame of a newer protocol, or of the other direction.
    #[error("this side does not take that type of frame")]
    Unsupported {
        /// What the frame was about, as far as it could be read.
        regarding: Regarding,
    },
    /// A field is missing or out of its bounds.
    #[error("{field}: {problem}")]
    InvalidField {
        /// The name of the field, as in both forms.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
        /// What the frame was about.
        regarding: Regarding,
    },
    /// The frame, or a part of it, is too large.
    #[error("{field} is larger than {limit} {unit}")]
    TooLarge {
        /// What is too large.
        field: &'static str,
        /// The most that is taken.
        limit: usize,
        /// What `limit` counts.
        unit: &'static str,
        /// What the frame was about.
        regarding: Regarding,
    },
    /// The JSON form names a direct conversation by the other user, which means nothing before Hello said who speaks.
    #[error("the first frame must be hello")]
    BeforeHello {
        /// What the frame was about.
        regarding: Regarding,
    },
    /// An error frame of a newer server, whose code this client does not know.
    #[error("the server refused with code {}, which this client does not know", .0.code)]
    UnknownErrorCode(Box<NewerError>),
}

/// An error frame whose code is newer than this client, which goes by what the frame says besides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewerError {
    /// The number that this client does not know.
    pub code: u16,
    /// What happened and what to do, for people.
    pub reason: String,
    /// Whether the server closes the session now.
    pub fatal: bool,
    /// Whether the same may succeed later.
    pub retry: bool,
    /// How long to wait at least, if known.
    pub retry_after_ms: Option<u32>,
    /// What was refused.
    pub regarding: Regarding,
}

impl FrameError {
    /// The code that answers it.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed { .. } | Self::UnknownErrorCode(_) => ErrorCode::MalformedFrame,
            Self::Unsupported { .. } => ErrorCode::UnsupportedFrame,
            Self::InvalidField { .. } => ErrorCode::InvalidField,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::BeforeHello { .. } => ErrorCode::UnexpectedFrame,
        }
    }

    /// The Send or Fetch that the frame was, where that much could be read.
    #[must_use]
    pub const fn regarding(&self) -> Regarding {
        match self {
            Self::Malformed { regarding, .. }
            | Self::Unsupported { regarding }
            | Self::InvalidField { regarding, .. }
            | Self::TooLarge { regarding, .. }
            | Self::BeforeHello { regarding } => *regarding,
            Self::UnknownErrorCode(error) => error.regarding,
        }
    }

    pub(crate) const fn malformed(problem: &'static str) -> Self {
        Self::Malformed { problem, regarding: Regarding::Session }
    }

    pub(crate) const fn invalid(field: &'static str, problem: &'static str) -> Self {
        Self::InvalidField { field, problem, regarding: Regarding::Session }
    }

    pub(crate) const fn too_large(field: &'static str, limit: usize, unit: &'static str) -> Self {
        Self::TooLarge { field, limit, unit, regarding: Regarding::Session }
    }

    /// The same refusal of a frame whose subject is known.
    pub(crate) fn about(mut self, subject: Regarding) -> Self {
        match &mut self {
            Self::Malformed { regarding, .. }
            | Self::Unsupported { regarding }
            | Self::InvalidField { regarding, .. }
            | Self::TooLarge { regarding, .. }
            | Self::BeforeHello { regarding } => *regarding = subject,
            Self::UnknownErrorCode(_) => {}
        }
        self
    }
}
