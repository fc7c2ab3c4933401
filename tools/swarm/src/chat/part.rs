//! What one machine did and saw of a run. Those of several make one, as if one machine had done it all.

use serde::{Deserialize, Serialize};

use super::report::Faults;
use crate::latency::Latencies;
use crate::merge::merged;
use crate::reading::Costs;

merged! {
    /// The part of one machine, or of several.
    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub(crate) struct Part {
        pub(super) threads: u32,
        pub(super) found: Found,
        /// While measured. The threads share the work evenly, and none is busier than the others.
        pub(super) costs: Costs,
    }
}

merged! {
    /// What one thread found, or several.
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub(super) struct Found {
        /// Routed while measured.
        pub(super) messages: u64,
        /// Routed in the whole run.
        pub(super) total_messages: u64,
        pub(super) accepted: Latencies,
        pub(super) delivered: Latencies,
        pub(super) receipted: Latencies,
        pub(super) late: Latencies,
        pub(super) unsent: u64,
        pub(super) migrations: u64,
        pub(super) faults: Faults,
    }
}
