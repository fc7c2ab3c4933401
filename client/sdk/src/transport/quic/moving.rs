//! Moves to another address: whether the server has heard of them.

use std::future::pending;

use quinn::Connection;
use tokio::time::{Instant, sleep_until};

use crate::limits::MOVE_TIMEOUT;

/// A change of this end's address that the server may not have heard of: not everywhere does UDP get through.
#[derive(Debug)]
pub(super) struct Move {
    until: Instant,
    challenges: u64,
}

impl Move {
    pub(super) fn new(connection: &Connection) -> Self {
        Self { until: Instant::now() + MOVE_TIMEOUT, challenges: connection.stats().frame_rx.path_challenge }
    }

    /// Whether the server has asked if this end is at the new address (RFC 9000 §9.3), which it does once it has heard from there.
    /// What still arrived at the old one proves nothing.
    pub(super) fn has_arrived(&self, connection: &Connection) -> bool {
        connection.stats().frame_rx.path_challenge > self.challenges
    }
}

/// Waits until it is time to know whether the server has heard of a move.
pub(super) async fn due(moving: Option<&Move>) {
    match moving {
        Some(moving) => sleep_until(moving.until).await,
        None => pending().await,
    }
}
