//! The machines that share a run keep step: each comes to a [`Point`] by itself and goes on when all are there.

use serde::{Deserialize, Serialize};

use crate::SwarmError;
use crate::latency::Latencies;
use crate::sample::Sample;

/// Points of a run at which the machines that share it wait for each other. No run comes twice to the same one.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Point {
    /// All connections are open, or no more will be.
    Opened,
    /// The server had time to calm down.
    Calm,
    /// From here on messages are measured.
    Due,
    /// The connections were held, or the messages measured, and the last one was sent.
    Held,
    /// What was under way has arrived, or will not.
    Arrived,
    /// All connections are to be cut off, for the n-th time.
    Cut(u32),
    /// All are back from that, or no more will be.
    Back(u32),
    /// Nothing is left but to close the connections.
    Closing,
}

impl Point {
    /// Whether something is measured from here on rather than up to here.
    pub(crate) const fn begins(self) -> bool {
        matches!(self, Self::Due | Self::Cut(_))
    }
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
