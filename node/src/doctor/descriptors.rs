//! Whether there are enough connections allowed and descriptors for them.

use switchyard_tuning::text::{counted, grouped};
use switchyard_tuning::{Finding, SysctlTree};

use super::Needs;
use super::limits::LIMIT_NOFILE;
use crate::config::CORES_MAX;
use crate::threads::{TooFewTables, descriptor_limit, enough};

pub(super) fn examine(needs: &Needs, tree: &SysctlTree) -> Vec<Finding> {
    let highest = tree.read("fs.nr_open").map_or(u64::MAX, |value| value.numbers()[0]);
    vec![judge_configured(needs), judge(needs, descriptor_limit(), highest)]
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

/// Each gateway thread has a descriptor table of its own, and the limit holds for each table. The server raises its limit to
/// the hard one, and starts as many threads as it needs tables. No limit can be set above `highest`.
fn judge(needs: &Needs, hard: u64, highest: u64) -> Finding {
    const NAME: &str = "descriptors";
    const MEANING: &str = "a connection is a descriptor, each gateway thread has its own table of so many, and the server does \
                           not start with more connections than the tables of all its threads hold";
    const UNIT: &str = "a systemd unit has its own limit (LimitNOFILE)";
    let in_a_table = format!("{} in a table (ulimit -Hn)", shown(hard));
    match &needs.threads {
        Ok(threads) if threads.by_descriptors => Finding::pass(
            NAME,
            format!("{in_a_table}: the server starts {}", counted(u64::from(threads.count), "gateway thread")),
            format!(
                "so many tables hold {} connections; {UNIT}",
                grouped(needs.connections.max(needs.max_connections))
            ),
        ),
        Ok(threads) => {
            let found = format!("{in_a_table}, for each of {}", counted(u64::from(threads.count), "gateway thread"));
            Finding::pass(NAME, found, UNIT)
        }
        Err(error) => {
            let found = format!(
                "{in_a_table}: {} gateway threads are needed, {} are possible",
                grouped(error.needed),
                error.possible
            );
            Finding::fail(NAME, found, MEANING, fix(error, highest))
        }
    }
}

/// What is proposed where `enough` is the least that would do: what the unit has that we ship, if that may be set.
fn limit(enough: u64, highest: u64) -> u64 {
    enough.max(LIMIT_NOFILE.min(highest))
}

fn fix(error: &TooFewTables, highest: u64) -> String {
    if error.enough <= highest {
        return format!("LimitNOFILE={} in the systemd unit{}", limit(error.enough, highest), error.or_cores);
    }
    let raised = format!("sysctl -w fs.nr_open={0}, and then LimitNOFILE={0} in the systemd unit", error.enough);
    let chosen = enough(CORES_MAX, error.max_connections);
    if !error.configured || chosen > highest {
        return raised;
    }
    let chosen = limit(chosen, highest);
    format!("set gateway.cores to 0, which chooses, and LimitNOFILE={chosen} in the systemd unit; or {raised}")
}

fn shown(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".to_owned() } else { grouped(limit) }
}

#[cfg(test)]
mod tests {
    use switchyard_tuning::Verdict;

    use super::super::tests::needs;
    use super::*;
    use crate::threads::GatewayThreads;

    #[track_caller]
    fn check(configured: Option<u16>, connections: u32, hard: u64, expect: Verdict, says: &str) {
        let threads = GatewayThreads::choose(configured, 1, connections, hard);
        let finding = judge(&Needs { connections: u64::from(connections), threads, ..needs() }, hard, 1 << 20);
        assert_eq!(finding.verdict, expect, "{}", finding.found);
        let said = finding.fix.unwrap_or(finding.found);
        assert!(said.contains(says), "{said}");
    }

    #[test]
    fn given_a_limit_then_it_counts_for_each_thread_and_the_server_starts_as_many_as_it_needs() {
        check(None, 15_000, 20_000, Verdict::Pass, "for each of 1 gateway thread");
        check(None, 1_000_000, 20_000, Verdict::Pass, "starts 54 gateway threads");
        check(None, 1_000_000, u64::MAX, Verdict::Pass, "for each of 1 gateway thread");
        check(None, 1_000_000, 1_024, Verdict::Fail, "LimitNOFILE=1048576");
        check(
            Some(2),
            1_000_000,
            20_000,
            Verdict::Fail,
            "LimitNOFILE=1048576 in the systemd unit, or set gateway.cores to 0",
        );
    }

    #[test]
    fn given_a_limit_that_cannot_be_set_then_the_fix_begins_with_what_makes_it_possible() {
        check(
            Some(1),
            1_100_000,
            20_000,
            Verdict::Fail,
            "set gateway.cores to 0, which chooses, and LimitNOFILE=1048576",
        );
        check(
            Some(1),
            1_100_000,
            20_000,
            Verdict::Fail,
            "or sysctl -w fs.nr_open=1100513, and then LimitNOFILE=1100513",
        );
        check(None, 200_000_000, 20_000, Verdict::Fail, "sysctl -w fs.nr_open=15");
        assert_eq!((limit(9_000, 65_536), limit(9_000, u64::MAX)), (65_536, LIMIT_NOFILE));
    }

    #[test]
    fn given_more_connections_than_configured_then_it_fails() {
        assert_eq!(judge_configured(&needs()).verdict, Verdict::Pass);
        let finding = judge_configured(&Needs { connections: 18_001, ..needs() });
        assert_eq!(finding.verdict, Verdict::Fail);
        assert!(finding.fix.expect("a failure says what to do").contains("max_connections = 18001"));
    }
}
