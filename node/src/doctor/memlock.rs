//! Whether rings and their buffers fit the limit on locked memory.

use switchyard_gateway_server::limits::RING_LOCKED_BYTES;
use switchyard_router_server::limits::{MEMLOCK_BYTES_MIN, REGISTERED_BYTES_MAX};
use switchyard_tuning::text::bytes;
use switchyard_tuning::{Finding, Limit};

use super::{Needs, host};

pub(super) fn examine(needs: &Needs) -> Vec<Finding> {
    let exempt = host::may_lock_memory(&host::read("/proc/self/status").unwrap_or_default());
    vec![judge(needs, Limit::Memlock.of_this_process(), exempt)]
}

fn judge(needs: &Needs, limit: u64, exempt: bool) -> Finding {
    const NAME: &str = "locked memory";
    let shown = if limit == u64::MAX { "unlimited".to_owned() } else { bytes(limit) };
    if limit < MEMLOCK_BYTES_MIN {
        return Finding::fail(
            NAME,
            format!("{shown} in this shell; at least {}", bytes(MEMLOCK_BYTES_MIN)),
            "router cores refuse to start with less, whoever the user is",
            fix(needs),
        );
    }
    if exempt {
        return Finding::pass(NAME, "not limited for this user (CAP_IPC_LOCK)", "a systemd unit has LimitMEMLOCK");
    }
    let rings = needs.gateways * RING_LOCKED_BYTES;
    let found = format!("{shown} in this shell; at most {} are needed", bytes(most(needs)));
    if limit >= most(needs) {
        return Finding::pass(NAME, found, "a systemd unit has its own (LimitMEMLOCK)");
    }
    if limit < rings + MEMLOCK_BYTES_MIN {
        return Finding::fail(
            NAME,
            found,
            format!(
                "each gateway thread's ring takes {} of it where the kernel counts rings (6.14 and newer)",
                bytes(RING_LOCKED_BYTES)
            ),
            fix(needs),
        );
    }
    Finding::warn(
        NAME,
        found,
        format!(
            "router cores take up to {} each for buffers, and then a gateway thread's ring of {} may not fit any more: the \
             server does not start",
            bytes(REGISTERED_BYTES_MAX),
            bytes(RING_LOCKED_BYTES)
        ),
        fix(needs),
    )
}

/// What they take when everything fits.
const fn most(needs: &Needs) -> u64 {
    needs.gateways * RING_LOCKED_BYTES + needs.routers * (REGISTERED_BYTES_MAX + MEMLOCK_BYTES_MIN)
}

fn fix(needs: &Needs) -> String {
    format!(
        "LimitMEMLOCK=infinity in the systemd unit, as packaging/switchyard.service has; ulimit -l {} before a start by hand",
        most(needs) / 1024
    )
}

#[cfg(test)]
mod tests {
    use switchyard_tuning::Verdict;

    use super::super::tests::needs;
    use super::*;

    #[test]
    fn given_limits_then_the_verdict_is_what_a_start_with_them_did() {
        let with = |gateways, routers| Needs { gateways, routers, ..needs() };
        for (needs, limit, exempt, expect) in [
            (with(1, 1), u64::MAX, false, Verdict::Pass),
            (with(1, 1), 8 << 20, true, Verdict::Pass),
            (with(1, 1), 64 << 10, true, Verdict::Fail),
            (with(1, 1), 1 << 20, false, Verdict::Warn),
            (with(2, 1), 8 << 20, false, Verdict::Warn),
            (with(8, 1), 8 << 20, false, Verdict::Fail),
            (with(8, 8), 384 << 20, false, Verdict::Pass),
        ] {
            assert_eq!(judge(&needs, limit, exempt).verdict, expect, "{needs:?} {limit}");
        }
    }
}
