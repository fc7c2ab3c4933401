//! Whether rings and their buffers fit the limit on locked memory.
//!
//! Rings come first: a server keeps free what those of its gateway threads need while router cores start. Each of these
//! registers buffers when they fit into what is left, and goes on without them when they do not.

use switchyard_gateway_server::limits::RINGS_LOCKED_BYTES as GATEWAY_RINGS;
use switchyard_router_server::limits::{MEMLOCK_BYTES_MIN, REGISTERED_BYTES_MAX, RINGS_LOCKED_BYTES as ROUTER_RINGS};
use switchyard_tuning::text::bytes;
use switchyard_tuning::{Finding, Limit};

use super::{Needs, host};

/// The first kernel that counts rings.
const RINGS_COUNTED_SINCE: (u32, u32) = (6, 14);

pub(super) fn examine(needs: &Needs) -> Vec<Finding> {
    let exempt = host::may_lock_memory(&host::read("/proc/self/status").unwrap_or_default());
    let counts_rings =
        host::kernel_version(&host::kernel_release()).is_none_or(|version| version >= RINGS_COUNTED_SINCE);
    vec![judge(needs, Limit::Memlock.of_this_process(), exempt, counts_rings)]
}

fn judge(needs: &Needs, limit: u64, exempt: bool, counts_rings: bool) -> Finding {
    const NAME: &str = "locked memory";
    let shown = if limit == u64::MAX { "unlimited".to_owned() } else { bytes(limit) };
    let rings = needs.gateways() * GATEWAY_RINGS + needs.routers * ROUTER_RINGS;
    let most = rings + needs.routers * REGISTERED_BYTES_MAX;
    let found = format!("{shown} in this shell; {} to {} are used", bytes(rings), bytes(most));
    let fix = format!(
        "LimitMEMLOCK=infinity in the systemd unit, as packaging/switchyard.service has; ulimit -l {} before a start by hand",
        most.max(MEMLOCK_BYTES_MIN) / 1024
    );
    if limit < MEMLOCK_BYTES_MIN {
        let meaning =
            format!("router cores refuse to start with less than {}, whoever the user is", bytes(MEMLOCK_BYTES_MIN));
        return Finding::fail(NAME, found, meaning, fix);
    }
    if exempt {
        return Finding::pass(NAME, "not limited for this user (CAP_IPC_LOCK)", "a systemd unit has LimitMEMLOCK");
    }
    if limit < rings && counts_rings {
        let meaning = "threads find no room for their rings, and the server does not start";
        return Finding::fail(NAME, found, meaning, fix);
    }
    if limit < rings {
        let meaning = "this kernel does not count rings; on one that does (6.14 and newer) the server would not start";
        return Finding::warn(NAME, found, meaning, fix);
    }
    Finding::pass(NAME, found, "a systemd unit has its own (LimitMEMLOCK)")
}

#[cfg(test)]
mod tests {
    use switchyard_tuning::Verdict;

    use super::super::tests::with_threads;
    use super::*;

    /// What a start with that many gateway threads, router cores and that limit did is written beside each.
    #[test]
    fn given_limits_then_the_verdict_is_what_a_start_with_them_did() {
        for (needs, limit, exempt, expect) in [
            (with_threads(1, 1), 64 << 10, true, Verdict::Fail), // refused by the router core
            (with_threads(1, 1), 8 << 20, true, Verdict::Pass),  // started, as root
            (with_threads(1, 1), 512 << 10, false, Verdict::Pass), // started
            (with_threads(4, 1), 1 << 20, false, Verdict::Pass), // started
            (with_threads(16, 1), 8 << 20, false, Verdict::Pass), // started
            (with_threads(54, 1), 8 << 20, false, Verdict::Pass), // started
            (with_threads(30, 2), 4 << 20, false, Verdict::Pass), // started
            (with_threads(60, 1), 4 << 20, false, Verdict::Fail), // refused
            (with_threads(60, 1), u64::MAX, false, Verdict::Pass), // as packaging/switchyard.service has it
        ] {
            assert_eq!(judge(&needs, limit, exempt, true).verdict, expect, "{needs:?} {limit}");
        }
        let before = judge(&with_threads(60, 1), 4 << 20, false, false);
        assert_eq!(before.verdict, Verdict::Warn, "a kernel that does not count rings starts them");
    }
}
