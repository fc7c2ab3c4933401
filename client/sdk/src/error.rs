//! What can go wrong, in words for the person who must do something about it.

use std::path::PathBuf;

use switchyard_client_core::RefusalCode;
use switchyard_client_core::{FetchRefused, SendRefused, StopReason};

/// Why the SDK did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is not one that this SDK can connect to.
    #[error(
        "`{url}` is no address of a server: {problem}; it looks like wss://chat.example, quic://chat.example:443, or \
         ws://127.0.0.1:7400 without TLS"
    )]
    InvalidUrl {
        /// The address.
        url: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file of certificate authorities cannot be used.
    #[error(
        "{path} is no file of certificate authorities: {problem}; name a PEM file, such as DATA/tls/ca.pem of a development server"
    )]
    InvalidAuthority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The builder was given neither a token nor a token provider.
    #[error("there is no token; call token() or token_provider()")]
    NoToken,
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The text is empty or too long.
    #[error("the text cannot be sent: {0}")]
    InvalidText(switchyard_schema::wire::FrameError),
    /// The message cannot be taken now.
    #[error(transparent)]
    Send(#[from] SendRefused),
    /// The fetch cannot be taken now.
    #[error(transparent)]
    Fetch(#[from] FetchRefused),
    /// The server refused the fetch.
    #[error("the server refused the fetch: {} ({reason})", code)]
    FetchFailed {
        /// Why.
        code: RefusalCode,
        /// The server's words.
        reason: String,
    },
    /// The client has stopped; nothing can be asked of it any more.
    #[error("the client has stopped: {}", explain(*.0))]
    Stopped(StopReason),
    /// The store failed while the client ran, so it stopped: what is not stored must not be acknowledged.
    #[error("the client has stopped because its store failed; free disk space or repair it, then start again")]
    StoreFailed,
}

fn explain(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Closed => "it was closed",
        StopReason::Replaced => "the same device connected from somewhere else; use another device id there",
        StopReason::TokenRefused => "the server takes none of its tokens; get a valid one",
        StopReason::Refused(RefusalCode::Known(code)) => code.reason(),
        StopReason::Refused(RefusalCode::Newer(_)) => {
            "the server refused for a reason that this version does not know; use a newer one"
        }
        StopReason::WrongUser => "the token is for another user than the store; use a store per user",
    }
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite refused.
    #[error("the store cannot be used: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// Another client has it open.
    #[error("the store is in use by another client; give each client a store of its own")]
    InUse,
    /// It was written by a newer version.
    #[error("the store has version {found}, this program knows {known}; use a newer program")]
    NewerVersion {
        /// The store's version.
        found: i64,
        /// What this program can read.
        known: i64,
    },
    /// A row that this program never wrote.
    #[error("the store is damaged: {0}; remove the file to start afresh (unsent messages are lost with it)")]
    Damaged(&'static str),
    /// It belongs to another device.
    #[error("the store belongs to device {found}, not {wanted}; give each device a store of its own")]
    OtherDevice {
        /// The store's device.
        found: u64,
        /// The device asked for.
        wanted: u64,
    },
}

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendFailure {
    /// The server refused it for good.
    #[error("the server refused the message: {} ({reason})", code)]
    Refused {
        /// Why.
        code: RefusalCode,
        /// The server's words.
        reason: String,
    },
    /// The client stopped first. With a store on disk the message is still in the outbox and is sent on the next start.
    #[error("the client stopped before the message was accepted; it is still in the outbox")]
    Stopped,
}
