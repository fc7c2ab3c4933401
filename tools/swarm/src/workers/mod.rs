//! One run on several machines. Whoever leads it connects to a [`serve`]d worker on each, gives it its share, and hears
//! once a second how it stands there; at each point of the run the workers wait for each other, and at the end each hands
//! in what it counted, with its latencies as histograms, which add up as percentiles do not.
//!
//! A command describes its run once (`Shared`): how it is divided, what a machine does for its part, and what it hands
//! in. Dividing, keeping step, and making one of all parts is the same for every command.
//!
//! The line between them is plain TCP with frames of JSON. It carries the server's development key, and whoever reaches a
//! worker may have it connect anywhere: it belongs into a private network.

mod frame;
mod lead;
mod serve;
mod share;
mod watch;

use serde::{Deserialize, Serialize};

use crate::company::Point;
use crate::latency::Latencies;
use crate::sample::Sample;

pub(crate) use lead::lead;
pub use serve::serve;
pub use share::Access;
use share::Share;
pub(crate) use share::{Place, Shared, Task, part_of_rate};

/// What both ends must have in common: shares and parts are of one version only.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a leader says.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// Do this.
    Begin { version: String, share: Box<Share> },
    /// All are where you are; whether all are whole.
    GoOn { whole: bool },
}

/// What a worker says; its part of a run is one of that run's kind.
#[derive(Debug, Serialize, Deserialize)]
enum Told<Part> {
    /// How it stands, and the latencies since the last time.
    Sample { sample: Box<Sample>, interval: Latencies },
    /// It has come to a point, and is whole or not.
    Reached { point: Point, whole: bool },
    /// It is done.
    Done(Box<Part>),
    /// It cannot go on, or did not begin.
    Failed(String),
}
