//! The loads: each drives any [`Client`](crate::client::Client) on the event loop of the swarm, one thread and one epoll,
//! so that no server is met by a cheaper or dearer client than another.

pub mod connects;
pub mod idle;
mod line;
pub mod messages;
pub mod quic;
mod run;

use std::net::SocketAddr;
use std::time::Duration;

/// Whom a load is for.
#[derive(Copy, Clone, Debug)]
pub struct Target {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Its process.
    pub pid: u32,
}

/// How long a load lasts.
#[derive(Copy, Clone, Debug)]
pub struct Times {
    /// Not measured.
    pub warm_up: Duration,
    /// Measured.
    pub measured: Duration,
}
