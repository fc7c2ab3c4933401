//! Locked memory for the rings of gateway threads, kept free while router cores start.
//!
//! Router cores start first and take what the limit (`RLIMIT_MEMLOCK`) allows for their buffers, megabytes that they can do
//! without. Gateway threads cannot do without their rings, and there may be many. So the limit is lower by what those need
//! until the router cores run.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use switchyard_gateway_server::limits::RINGS_LOCKED_BYTES;
use switchyard_router_server::limits::MEMLOCK_BYTES_MIN;

/// The limit as it was. It is so again when this is dropped.
#[derive(Debug)]
pub(super) struct KeptFree(Rlimit);

impl KeptFree {
    /// Keeps what so many gateway threads need, as far as the limit goes; where it does not, one of them will say so.
    pub(super) fn for_gateways(threads: usize) -> Self {
        let usual = getrlimit(Resource::Memlock);
        if let Some(limit) = usual.current {
            set(Rlimit { current: Some(beside_gateways(limit, threads as u64)), ..usual });
        }
        Self(usual)
    }
}

impl Drop for KeptFree {
    fn drop(&mut self) {
        set(self.0);
    }
}

/// Lowering a limit, and raising it again to what is allowed, fails nowhere; where it did, the limit would stay as it is.
fn set(limit: Rlimit) {
    let _ = setrlimit(Resource::Memlock, limit);
}

/// What is left for router cores. They refuse to start with less than they need, and say that of the limit they see.
fn beside_gateways(limit: u64, threads: u64) -> u64 {
    limit.saturating_sub(threads * RINGS_LOCKED_BYTES).max(MEMLOCK_BYTES_MIN.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_limit_then_gateway_threads_come_first_and_router_cores_keep_what_they_need_to_start() {
        assert_eq!(beside_gateways(8 << 20, 54), (8 << 20) - 54 * RINGS_LOCKED_BYTES);
        assert_eq!(beside_gateways(1 << 20, 54), MEMLOCK_BYTES_MIN);
        assert_eq!(beside_gateways(65_536, 1), 65_536);
    }
}
