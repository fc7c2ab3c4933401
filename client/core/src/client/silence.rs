//! How a connection lives while the server says nothing.
//!
//! The server pings after one heartbeat in which it heard nothing. What it heard is not what the client heard: a client
//! that only sends what has no answer is never pinged. So when a ping is late the client asks, and no answer to that
//! within a heartbeat means that the connection is dead.

use switchyard_schema::ids::Millis;

use crate::limits::{ALIVE_HEARTBEAT_PART, PING_LATE_MS};

/// What is known of the server, and since when.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Silence {
    /// Something was received.
    Heard { since: Millis },
    /// The server was asked and has not answered yet.
    Asked { since: Millis },
    /// The driver does not read, so nothing is known of the server, and its pings are not answered. At `since` the client
    /// last said that it lives, or stopped reading.
    NotListening { since: Millis },
}

/// What is to be done about the silence.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Nothing yet.
    Wait,
    /// Send a Ping.
    Ping,
    /// The connection is dead.
    GiveUp,
}

impl Silence {
    pub(super) const fn new(now: Millis) -> Self {
        Self::Heard { since: now }
    }

    pub(super) const fn on_received(&mut self, now: Millis) {
        *self = Self::new(now);
    }

    /// Whether the driver reads.
    pub(super) const fn on_listening(&mut self, now: Millis, listens: bool) {
        match (&self, listens) {
            (Self::NotListening { .. }, true) => *self = Self::new(now),
            (Self::Heard { .. } | Self::Asked { .. }, false) => *self = Self::NotListening { since: now },
            _ => {}
        }
    }

    /// When to call [`Self::on_time`].
    pub(super) const fn due(self, heartbeat_ms: u32) -> Millis {
        let heartbeat_ms = heartbeat_ms as u64;
        match self {
            Self::Heard { since } => since.plus(heartbeat_ms + PING_LATE_MS),
            Self::Asked { since } => since.plus(heartbeat_ms),
            Self::NotListening { since } => since.plus(heartbeat_ms / ALIVE_HEARTBEAT_PART),
        }
    }

    pub(super) fn on_time(&mut self, now: Millis, heartbeat_ms: u32) -> Step {
        if now < self.due(heartbeat_ms) {
            return Step::Wait;
        }
        match self {
            Self::Heard { .. } => *self = Self::Asked { since: now },
            Self::Asked { .. } => return Step::GiveUp,
            Self::NotListening { since } => *since = now,
        }
        Step::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT_MS: u32 = 30_000;
    const ASK_MS: u64 = HEARTBEAT_MS as u64 + PING_LATE_MS;

    #[test]
    fn given_silence_when_the_servers_ping_is_late_then_the_client_asks_once_and_gives_up_a_heartbeat_after() {
        let mut silence = Silence::new(Millis(0));
        let gone_ms = ASK_MS + u64::from(HEARTBEAT_MS);
        let steps =
            [(ASK_MS - 1, Step::Wait), (ASK_MS, Step::Ping), (gone_ms - 1, Step::Wait), (gone_ms, Step::GiveUp)];
        for (at, step) in steps {
            assert_eq!(silence.on_time(Millis(at), HEARTBEAT_MS), step, "at {at}");
        }
    }

    #[test]
    fn given_an_answer_when_the_client_had_asked_then_the_silence_begins_anew() {
        let mut silence = Silence::new(Millis(0));
        assert_eq!(silence.on_time(Millis(ASK_MS), HEARTBEAT_MS), Step::Ping);
        silence.on_received(Millis(ASK_MS + 50));
        assert_eq!(silence, Silence::new(Millis(ASK_MS + 50)));
    }

    #[test]
    fn given_nobody_who_listens_when_time_passes_then_the_server_hears_of_the_client_and_is_not_given_up() {
        let mut silence = Silence::new(Millis(0));
        silence.on_listening(Millis(1), false);
        silence.on_listening(Millis(2), false);
        let part_ms = u64::from(HEARTBEAT_MS) / ALIVE_HEARTBEAT_PART;
        for part in 1..20 {
            assert_eq!(silence.on_time(Millis(part * part_ms), HEARTBEAT_MS), Step::Wait);
            assert_eq!(silence.on_time(Millis(1 + part * part_ms), HEARTBEAT_MS), Step::Ping);
        }
        silence.on_listening(Millis(9), true);
        assert_eq!(silence, Silence::new(Millis(9)));
    }
}
