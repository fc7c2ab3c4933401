//! How many gateway threads there are.
//!
//! Normally half of the host's processors. But each thread has a descriptor table of its own, and when the limit of a table
//! (`RLIMIT_NOFILE`) does not hold every connection, there are as many threads as tables are needed.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{CORES_MAX, Config, chosen};

/// Descriptors of a table that are no connections: standard streams, rings, the journal's and the store's files, which a
/// thread's table is a copy of.
const DESCRIPTORS_ASIDE: u64 = 512;
/// Each connection goes to a thread at random, so a thread gets its share give or take the root of it. With six times that
/// kept free, not one start in a hundred million meets a thread that is full before all are.
const DEVIATIONS: u64 = 6;

/// The gateway threads of this process.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct GatewayThreads {
    pub(crate) count: u16,
    /// Connections that each may hold.
    pub(crate) connections_per_thread_max: u32,
    /// Descriptors that each one's table holds.
    pub(crate) descriptors: u64,
    /// The tables asked for more threads than the processors did.
    pub(crate) by_descriptors: bool,
}

/// The configuration asks for more connections than this host's descriptor tables hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "gateway.max_connections = {max_connections} needs {needed} gateway threads, because each has a descriptor table of \
     {descriptors} (ulimit -n), and there may be {possible}; raise the limit to {enough} (LimitNOFILE= in a systemd unit), \
     lower gateway.max_connections{or_cores}"
)]
pub(crate) struct TooFewTables {
    pub(crate) max_connections: u32,
    pub(crate) needed: u64,
    pub(crate) possible: u16,
    descriptors: u64,
    /// Descriptors of a table with which the possible threads hold all connections.
    pub(crate) enough: u64,
    /// The number of threads was chosen by the configuration.
    pub(crate) configured: bool,
    /// What else would do, as the end of a sentence.
    pub(crate) or_cores: &'static str,
}

/// What the limit of a descriptor table can be raised to.
pub(crate) fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
}

/// Raises the limit of a descriptor table to what this process may have, and gives it.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised it stays, and the threads are planned with what there is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

impl GatewayThreads {
    /// The threads for a configuration and so many connections, on a host whose descriptor tables hold `descriptors`.
    ///
    /// # Errors
    /// When no permitted number of threads holds all connections.
    pub(crate) fn plan(config: &Config, max_connections: u32, descriptors: u64) -> Result<Self, TooFewTables> {
        let host = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::choose(config.gateway_cores, chosen(0, host), max_connections, descriptors)
    }

    /// The threads when so many are configured, or else the processors ask for `by_processors`.
    ///
    /// # Errors
    /// As [`GatewayThreads::plan`].
    pub(crate) fn choose(
        configured: Option<u16>,
        by_processors: u16,
        max_connections: u32,
        descriptors: u64,
    ) -> Result<Self, TooFewTables> {
        let wanted = u64::from(max_connections);
        let (least, most) = configured.map_or((by_processors, CORES_MAX), |count| (count, count));
        let fitting = (least..=most).find(|&count| share(count, descriptors) * u64::from(count) >= wanted);
        let Some(count) = fitting else {
            let threads = u64::from(most);
            let needed = wanted.div_ceil(share(most, descriptors).max(1)).max(threads + 1);
            let others_would_do = share(CORES_MAX, descriptors) * u64::from(CORES_MAX) >= wanted;
            return Err(TooFewTables {
                max_connections,
                needed,
                possible: most,
                descriptors,
                enough: enough(most, max_connections),
                configured: configured.is_some(),
                or_cores: if others_would_do { ", or set gateway.cores to 0, which chooses" } else { "" },
            });
        };
        let even = wanted.div_ceil(u64::from(count));
        let uneven = if count == 1 { even } else { even + DEVIATIONS * even.isqrt() };
        Ok(Self {
            count,
            connections_per_thread_max: u32::try_from(uneven).unwrap_or(u32::MAX),
            descriptors,
            by_descriptors: configured.is_none() && count > by_processors,
        })
    }
}

/// The even share of connections that each of `count` tables holds, when the uneven spread is allowed for.
fn share(count: u16, descriptors: u64) -> u64 {
    // Every table has the doorbells of all threads.
    let places = descriptors.saturating_sub(DESCRIPTORS_ASIDE + u64::from(count));
    if count == 1 { places } else { places.saturating_sub(DEVIATIONS * places.isqrt()) }
}

/// The descriptors with which, or with any more, `count` tables hold so many connections: [`share`] the other way round.
pub(crate) fn enough(count: u16, max_connections: u32) -> u64 {
    let even = u64::from(max_connections).div_ceil(u64::from(count));
    let places = if count == 1 {
        even
    } else {
        // For the root r of the places, r² − 6r ≥ even wherever r ≥ 3 + √(9 + even).
        let half = DEVIATIONS / 2;
        let root = half + (half * half + even).isqrt() + 1;
        even + DEVIATIONS * root
    };
    places + DESCRIPTORS_ASIDE + u64::from(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn count(configured: Option<u16>, max_connections: u32, descriptors: u64) -> Result<(u16, u32), u64> {
        let chosen = GatewayThreads::choose(configured, 1, max_connections, descriptors);
        chosen.map(|threads| (threads.count, threads.connections_per_thread_max)).map_err(|error| error.needed)
    }

    #[test]
    fn given_tables_that_hold_everything_then_the_processors_decide_and_one_thread_holds_all() {
        assert_eq!(count(None, 18_000, 20_000), Ok((1, 18_000)));
        assert_eq!(count(None, 1_000_000, 1_048_576), Ok((1, 1_000_000)));
        assert_eq!(count(Some(2), 18_000, 20_000), Ok((2, 9_000 + 6 * 94)));
    }

    #[test]
    fn given_small_tables_then_there_are_as_many_threads_as_tables_are_needed_and_each_fits_its_own() {
        for max_connections in [19_500, 100_000, 1_000_000, 2_000_000] {
            let threads = GatewayThreads::choose(None, 1, max_connections, 20_000).unwrap();
            assert!(threads.by_descriptors);
            let most = u64::from(threads.connections_per_thread_max) + DESCRIPTORS_ASIDE + u64::from(threads.count);
            assert!(most <= 20_000, "{threads:?}");
            let fewer = threads.count - 1;
            assert!(share(fewer, 20_000) * u64::from(fewer) < u64::from(max_connections), "{threads:?}");
        }
        assert_eq!(count(None, 1_000_000, 20_000).unwrap().0, 54);
    }

    #[test]
    fn given_too_few_threads_or_tables_too_small_then_the_error_says_how_many_are_needed() {
        assert_eq!(count(Some(2), 1_000_000, 20_000), Err(54));
        assert!(count(None, 1_000_000, 1_024).unwrap_err() > 128);
        let error = GatewayThreads::choose(Some(2), 1, 1_000_000, 20_000).unwrap_err().to_string();
        assert!(
            ["max_connections = 1000000", "ulimit -n", "LimitNOFILE", "set gateway.cores to 0"]
                .iter()
                .all(|part| error.contains(part)),
            "{error}"
        );
        let error = GatewayThreads::choose(Some(2), 1, 1_000_000, 1_024).unwrap_err().to_string();
        assert!(!error.contains("gateway.cores"), "as many threads as there may be would not do either: {error}");
    }

    proptest! {
        #[test]
        fn given_a_limit_that_is_said_to_be_enough_or_a_higher_one_then_the_tables_hold_everything(
            count in 1..=CORES_MAX,
            max_connections in 1..8_000_000_u32,
            more in prop_oneof![Just(0), 0..2_000_000_u64],
        ) {
            let enough = enough(count, max_connections);
            let held = share(count, enough + more) * u64::from(count);
            prop_assert!(held >= u64::from(max_connections), "{held} with {enough} + {more}");
            let threads = GatewayThreads::choose(Some(count), 1, max_connections, enough + more).unwrap();
            let most = u64::from(threads.connections_per_thread_max) + DESCRIPTORS_ASIDE + u64::from(count);
            prop_assert!(most <= enough + more, "{threads:?}");
        }
    }
}
