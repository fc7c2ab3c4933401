//! What every step of a session is given: the time, the keys and the settings of its gateway.

use std::sync::Arc;

use switchyard_schema::ids::Millis;

use crate::auth::KeySet;
use crate::comebacks::Comebacks;
use crate::limits::{DRAIN_GRACE_MS, HEARTBEAT_MS};
use crate::rate::RateLimits;

/// The time, by two clocks.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Now {
    /// By a clock that never jumps: everything that is waited for.
    pub monotonic: Millis,
    /// Since the Unix epoch: what tokens and the journal speak of.
    pub unix: Millis,
}

/// What the operator chose.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Silence after which the server pings; it gives up after twice this.
    pub heartbeat_ms: u32,
    /// How long a session that waits for answers may go on after it was told to connect elsewhere.
    pub drain_grace_ms: u64,
    /// How much a client may ask for.
    pub rates: RateLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self { heartbeat_ms: HEARTBEAT_MS, drain_grace_ms: DRAIN_GRACE_MS, rates: RateLimits::default() }
    }
}

/// What every step of a session is given.
#[derive(Copy, Clone, Debug)]
pub struct Context<'a> {
    /// The time.
    pub now: Now,
    /// What tokens are verified with.
    pub keys: &'a KeySet,
    /// What the operator chose.
    pub settings: &'a Settings,
    /// When a client that is sent away now is to come back.
    pub comebacks: Comebacks,
}

/// What the driver of many sessions keeps for all of them: one field of its state, so that it can be lent to a step beside the
/// session itself, the rates and the effects.
#[derive(Debug)]
pub struct Surroundings {
    /// The time of this turn or of the bytes just received.
    pub now: Now,
    /// What tokens are verified with.
    pub keys: Arc<KeySet>,
    /// What the operator chose.
    pub settings: Settings,
    /// When those come back that the driver has no room for, and those that are told to leave.
    pub comebacks: Comebacks,
}

impl Surroundings {
    /// What a step that happens now is given.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        Context { now: self.now, keys: &self.keys, settings: &self.settings, comebacks: self.comebacks }
    }
}
