//! What every step of a session on this thread is given. One field of the thread's state, so that it can be lent to a step
//! beside the session itself, the rates and the effects.

use std::sync::Arc;

use switchyard_gateway_core::auth::KeySet;
use switchyard_gateway_core::comebacks::Comebacks;
use switchyard_gateway_core::session::{Context, Now, Settings};

/// The time, the keys and the settings of one gateway thread.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// The time of this turn or of the bytes just received.
    pub(crate) now: Now,
    pub(crate) keys: Arc<KeySet>,
    pub(crate) settings: Settings,
    /// When those come back that the thread has no room for, and those that are told to leave.
    pub(crate) comebacks: Comebacks,
}

impl Surroundings {
    /// What a step that happens now is given.
    pub(crate) fn context(&self) -> Context<'_> {
        Context { now: self.now, keys: &self.keys, settings: &self.settings, comebacks: self.comebacks }
    }
}
