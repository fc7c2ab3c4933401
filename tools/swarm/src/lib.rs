//! The load generator, as a library for the benches and the crash test and as the command `swarm`.
//!
//! It shares its machine with the server it loads, so it must be cheap: one thread drives all its sockets with one
//! epoll ([`event_loop`]), frames are encoded into the socket's own buffer, and a socket is written once per turn.
//! What it drives with that:
//!
//! - [`chat`]: pairs of users, with every message checked;
//! - [`connect`]: very many connections, on as many threads as it takes;
//! - [`storm`]: all of them cut off at once, and back;
//! - [`echo`]: a plain WebSocket echo of any server;
//! - [`workers`]: the same run on several machines;
//! - [`idle`]: sessions that say nothing, for the bench of what one costs;
//! - [`abuse`]: what well-behaved pairs notice of others' floods;
//! - [`relay`]: a bad network in front of QUIC;
//! - [`crash`]: kill -9 in the middle, judged by what the clients saw.
//!
//! What a run shows and leaves behind is the business of [`report`].
#![deny(unsafe_code)]

pub mod abuse;
pub mod chat;
mod company;
mod conduct;
pub mod connect;
pub mod cost;
pub mod crash;
pub mod crew;
pub mod echo;
mod ending;
pub mod event_loop;
mod fleet;
pub mod idle;
pub mod latency;
pub mod limits;
mod merge;
pub mod process;
pub mod random;
pub mod reading;
pub mod relay;
pub mod report;
pub mod routes;
pub mod sample;
mod schedule;
pub mod server;
pub mod session;
mod stamp;
pub mod storm;
#[allow(unsafe_code)]
mod sys;
mod system;
mod tally;
pub mod target;
pub mod time;
pub mod tokens;
pub mod transport;
pub mod users;
pub mod wire;
pub mod workers;

/// Why a run could not be made; what a run finds out about the server is in its report instead.
#[derive(Debug, thiserror::Error)]
pub enum SwarmError {
    /// The machine refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What came of it.
        source: std::io::Error,
    },
    /// An expectation that this command cannot judge.
    #[error("--expect: {0}")]
    Expectation(#[from] report::ExpectError),
    /// Arguments that make no sense together.
    #[error("{0}")]
    Arguments(String),
    /// There is no key to sign tokens with.
    #[error("{0}")]
    Key(String),
    /// The server did something that ends the run.
    #[error("{0}")]
    Server(String),
}

impl SwarmError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
