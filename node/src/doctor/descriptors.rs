//! Whether there are enough connections allowed and descriptors for them.

use rustix::process::{Resource, getrlimit};
use switchyard_tuning::Finding;
use switchyard_tuning::text::{counted, grouped};

use super::Needs;
use super::limits::{DESCRIPTORS_BESIDE, GATEWAYS_MAX};

pub(super) fn examine(needs: &Needs) -> Vec<Finding> {
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    vec![judge_configured(needs), judge(needs, soft, hard)]
}

fn judge_configured(needs: &Needs) -> Finding {
    const NAME: &str = "max_connections";
    let (wanted, configured) = (needs.connections, needs.max_connections);
    let found = format!("{} configured", grouped(configured));
    if configured >= wanted {
        return Finding::pass(NAME, found, format!("{} are wanted", grouped(wanted)));
    }
    Finding::fail(
        NAME,
        found,
        format!("{} are wanted; who connects beyond what is configured is answered 503", grouped(wanted)),
        format!(
            "max_connections = {wanted} under [gateway] of the configuration, or SWITCHYARD_GATEWAY__MAX_CONNECTIONS={wanted}"
        ),
    )
}

/// Each gateway thread has a descriptor table of its own, and the limit holds for each table.
fn judge(needs: &Needs, soft: u64, hard: u64) -> Finding {
    const NAME: &str = "descriptors";
    const MEANING: &str = "a connection is a descriptor, and each gateway thread has its own table of so many; a thread whose \
                           table is full stops accepting until somebody leaves";
    let needed = needs.connections.div_ceil(needs.gateways) + DESCRIPTORS_BESIDE;
    let found = format!(
        "{} in this shell, for each of {}; {} are needed",
        shown(soft),
        counted(needs.gateways, "gateway thread"),
        grouped(needed)
    );
    if soft >= needed {
        return Finding::pass(NAME, found, "a systemd unit has its own (LimitNOFILE)");
    }
    let in_unit = format!("LimitNOFILE={} in the systemd unit", needed.max(1 << 20));
    let fix = if hard >= needed {
        format!("ulimit -n {needed} before a start by hand; {in_unit}")
    } else {
        let threads =
            hard.checked_sub(DESCRIPTORS_BESIDE).filter(|room| *room > 0).map(|room| needs.connections.div_ceil(room));
        match threads.filter(|threads| *threads <= GATEWAYS_MAX) {
            Some(threads) => format!(
                "{in_unit}; where the limit cannot be raised, cores = {threads} under [gateway] of the configuration: threads \
                 beyond the processors share them"
            ),
            None => in_unit,
        }
    };
    Finding::fail(NAME, found, MEANING, fix)
}

fn shown(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_owned() } else { grouped(limit) }
}

#[cfg(test)]
mod tests {
    use switchyard_tuning::Verdict;

    use super::super::tests::needs;
    use super::*;

    #[track_caller]
    fn check(needs: &Needs, soft: u64, hard: u64, expect: Verdict, fix: &str) {
        let finding = judge(needs, soft, hard);
        assert_eq!(finding.verdict, expect, "{}", finding.found);
        assert!(finding.fix.unwrap_or_default().contains(fix));
    }

    #[test]
    fn given_limits_and_threads_then_the_limit_counts_for_each_thread() {
        let few = needs();
        check(&few, 20_000, 20_000, Verdict::Pass, "");
        check(&few, 1_024, 524_288, Verdict::Fail, "ulimit -n 16024");
        let million = Needs { connections: 1_000_000, ..needs() };
        check(&million, 20_000, 20_000, Verdict::Fail, "cores = 53");
        check(&million, 1_024, 1_024, Verdict::Fail, "LimitNOFILE=1048576");
        check(&Needs { gateways: 53, ..million.clone() }, 20_000, 20_000, Verdict::Pass, "");
        check(&million, u64::MAX, u64::MAX, Verdict::Pass, "");
    }

    #[test]
    fn given_more_connections_than_configured_then_it_fails() {
        assert_eq!(judge_configured(&needs()).verdict, Verdict::Pass);
        let finding = judge_configured(&Needs { connections: 18_001, ..needs() });
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(finding.fix.expect("a failure says what to do").contains("max_connections = 18001"));
    }
}
