//! The machines that share a run keep step: each comes to a [`Point`] by itself and goes on when all are there.

use serde::{Deserialize, Serialize};

use crate::SwarmError;
use crate::latency::Latencies;
use crate::sample::Sample;

/// Points of a run at which the machines that share it wait for each other.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Point {
    /// All connections are open, or no more will be.
    Opened,
    /// The server had time to calm down.
    Calm,
    /// The connections were held, and the last message was sent.
    Held,
    /// What was under way has arrived, or will not.
    Arrived,
    /// Every connection was asked whether it is alive.
    Asked,
}

/// The other machines of a run, as one of them sees them.
pub(crate) trait Company {
    /// This machine has come to a point; `whole` says whether all its connections are open.
    fn reach(&mut self, point: Point, whole: bool) -> Result<(), SwarmError>;

    /// Once all are there, whether all are whole.
    fn go_on(&mut self) -> Result<Option<bool>, SwarmError>;

    /// An error when the others are gone.
    fn check(&mut self) -> Result<(), SwarmError>;

    /// How it stands here, and the latencies since the last time.
    fn tell(&mut self, sample: &Sample, interval: &Latencies);
}

/// No other machine.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    reached: Option<bool>,
}

impl Company for Alone {
    fn reach(&mut self, _: Point, whole: bool) -> Result<(), SwarmError> {
        self.reached = Some(whole);
        Ok(())
    }

    fn go_on(&mut self) -> Result<Option<bool>, SwarmError> {
        Ok(self.reached.take())
    }

    fn check(&mut self) -> Result<(), SwarmError> {
        Ok(())
    }

    fn tell(&mut self, _: &Sample, _: &Latencies) {}
}
