//! What one machine did and saw of a run. Those of several make one, as if one machine had done it all.

use serde::{Deserialize, Serialize};

use crate::latency::Latencies;
use crate::merge::merged;
use crate::reading::Costs;
use crate::tally::{Reasons, Totals};

merged! {
    /// The part of one machine, or of several.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub(crate) struct Part {
        pub(super) threads: u32,
        /// Of the whole run.
        pub(super) totals: Totals,
        /// Echoes that came while measured.
        pub(super) messages: u64,
        pub(super) latency: Latencies,
        pub(super) lateness: Latencies,
        pub(super) reasons: Reasons,
        /// While measured.
        pub(super) costs: Costs,
    }
}
