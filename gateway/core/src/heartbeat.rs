//! Silence on a connection: after one heartbeat of it the peer is pinged, after two the connection is given up.

use switchyard_schema::ids::Millis;

/// When a peer last gave a sign of life, and whether it was asked for one since.
#[derive(Copy, Clone, Debug)]
pub struct Heartbeat {
    /// The last sign in milliseconds, times two; one more when a sign was asked for since. Each connection has one of these.
    state: u64,
}

/// What is to be done about the silence.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Beat {
    /// Nothing.
    Quiet,
    /// Ask for a sign of life.
    Ping,
    /// Give the connection up.
    GiveUp,
}

impl Heartbeat {
    /// The connection begins.
    #[must_use]
    pub const fn new(now: Millis) -> Self {
        Self { state: now.0 << 1 }
    }

    /// A sign of life: bytes were received, whatever they are, or the peer has taken some of what waits for it.
    pub const fn on_sign(&mut self, now: Millis) {
        *self = Self::new(now);
    }

    /// Looks at the silence; asks for a ping once in each.
    pub const fn on_timer(&mut self, now: Millis, heartbeat_ms: u32) -> Beat {
        let silence_ms = self.silence_ms(now);
        if silence_ms >= 2 * heartbeat_ms as u64 {
            Beat::GiveUp
        } else if silence_ms >= heartbeat_ms as u64 && !self.was_pinged() {
            self.state |= 1;
            Beat::Ping
        } else {
            Beat::Quiet
        }
    }

    /// When to look again. A sign of life only ever moves it further away, so the timer need not be armed for each: one
    /// that comes too early looks again.
    #[must_use]
    pub const fn next_look(&self, heartbeat_ms: u32) -> Millis {
        self.last_sign().plus(heartbeat_ms as u64 * if self.was_pinged() { 2 } else { 1 })
    }

    /// How long nothing was heard.
    #[must_use]
    pub const fn silence_ms(&self, now: Millis) -> u64 {
        now.since(self.last_sign())
    }

    const fn last_sign(&self) -> Millis {
        Millis(self.state >> 1)
    }

    const fn was_pinged(&self) -> bool {
        self.state & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Millis = Millis(5_000);

    #[test]
    fn given_silence_when_looked_at_then_one_ping_after_a_heartbeat_and_the_end_after_two() {
        let mut heartbeat = Heartbeat::new(START);
        assert_eq!(heartbeat.next_look(1_000), START.plus(1_000));
        for (at, expect) in [
            (0, Beat::Quiet),
            (999, Beat::Quiet),
            (1_000, Beat::Ping),
            (1_001, Beat::Quiet),
            (1_999, Beat::Quiet),
            (2_000, Beat::GiveUp),
        ] {
            assert_eq!(heartbeat.on_timer(START.plus(at), 1_000), expect, "after {at} ms");
        }
        assert_eq!(heartbeat.next_look(1_000), START.plus(2_000));
    }

    #[test]
    fn given_a_sign_of_life_when_it_comes_in_time_then_the_silence_begins_anew() {
        let mut heartbeat = Heartbeat::new(START);
        let mut now = START;
        for _ in 0..3 {
            now = now.plus(1_000);
            assert_eq!(heartbeat.on_timer(now, 1_000), Beat::Ping);
            now = now.plus(999);
            assert_eq!(heartbeat.on_timer(now, 1_000), Beat::Quiet);
            heartbeat.on_sign(now);
            assert_eq!((heartbeat.next_look(1_000), heartbeat.silence_ms(now)), (now.plus(1_000), 0));
        }
    }
}
