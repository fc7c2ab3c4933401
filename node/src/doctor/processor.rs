//! Processors for the threads, their speed, and the clock.

use std::collections::BTreeSet;
use std::fs;
use std::num::NonZero;
use std::time::Instant;

use switchyard_tuning::Finding;
use switchyard_tuning::text::counted;

use super::limits::{CLOCK_GOOD_NS, CLOCK_READINGS, CLOCK_ROUNDS};
use super::{Needs, host};
use crate::config::chosen;

pub(super) fn examine(needs: &Needs) -> Vec<Finding> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let source = |name| host::read(format!("/sys/devices/system/clocksource/clocksource0/{name}_clocksource"));
    vec![
        judge_processors(needs, processors),
        judge_governors(&governors()),
        judge_clock(
            &source("current").unwrap_or_else(|| "unknown".to_owned()),
            &source("available").unwrap_or_default(),
            nanoseconds_of_a_reading(),
        ),
    ]
}

/// What the system gives this process: fewer than there are, when it is confined to some or has a quota.
fn judge_processors(needs: &Needs, processors: u64) -> Finding {
    const NAME: &str = "processors";
    let threads = needs.gateways() + needs.routers;
    let (gateways, routers) = (counted(needs.gateways(), "gateway thread"), counted(needs.routers, "router core"));
    let found = format!("{processors} for {gateways} and {routers}");
    if threads <= processors {
        return Finding::pass(NAME, found, "each is pinned to one of its own");
    }
    // Half of an odd number, rounded up for both kinds, is one thread more than there are processors.
    let chosen = u64::from(chosen(0, usize::try_from(processors).unwrap_or(usize::MAX)));
    if (needs.gateways(), needs.routers) == (chosen, chosen) {
        return Finding::pass(NAME, found, "two threads share one, as the server chooses when it may");
    }
    // More than the server chooses for these processors was asked for by small descriptor tables, or else configured.
    let by_descriptors =
        needs.threads.as_ref().map_or_else(|error| !error.configured, |threads| threads.by_descriptors);
    let fix = if by_descriptors && needs.routers <= chosen {
        "a higher limit on descriptors (LimitNOFILE in the systemd unit) takes fewer gateway threads; otherwise a host with more"
    } else {
        "cores = 0 under [gateway] and [router] of the configuration lets the server choose; otherwise a host with more"
    };
    Finding::warn(NAME, found, "threads share processors, and wait for each other", fix)
}

/// The governors in use. None where the host does not say: under most hypervisors.
fn governors() -> BTreeSet<String> {
    let Ok(processors) = fs::read_dir("/sys/devices/system/cpu") else { return BTreeSet::new() };
    let files = processors.flatten().map(|processor| processor.path().join("cpufreq/scaling_governor"));
    files.filter_map(host::read).collect()
}

fn judge_governors(governors: &BTreeSet<String>) -> Finding {
    const NAME: &str = "governor";
    let found = governors.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if governors.is_empty() {
        return Finding::pass(NAME, "none", "the hypervisor or the firmware decides the processors' speed");
    }
    if governors.iter().all(|governor| governor == "performance") {
        return Finding::pass(NAME, found, "");
    }
    Finding::warn(
        NAME,
        found,
        "an idle processor slows down and takes milliseconds to be fast again: the first messages after a quiet moment wait",
        "cpupower frequency-set -g performance",
    )
}

/// Of the quickest round, in which nothing came between.
fn nanoseconds_of_a_reading() -> u64 {
    let round = || {
        let begun = Instant::now();
        for _ in 0..CLOCK_READINGS {
            std::hint::black_box(Instant::now());
        }
        begun.elapsed().as_nanos() / u128::from(CLOCK_READINGS)
    };
    let quickest = (0..CLOCK_ROUNDS).map(|_| round()).min().unwrap_or_default();
    u64::try_from(quickest).unwrap_or(u64::MAX)
}

fn judge_clock(source: &str, available: &str, nanoseconds: u64) -> Finding {
    const NAME: &str = "clock";
    const CHOICE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let found = format!("{source}, {nanoseconds} ns a reading");
    if nanoseconds <= CLOCK_GOOD_NS {
        return Finding::pass(NAME, found, "read without a system call");
    }
    let better =
        available.split(' ').find(|name| ["tsc", "kvm-clock", "arch_sys_counter"].contains(name) && *name != source);
    let fix = match better {
        Some(name) => {
            format!("echo {name} > {CHOICE} (as root; clocksource={name} on the kernel's command line lets it last)")
        }
        None => "ask for a machine type with a stable time stamp counter".to_owned(),
    };
    let meaning = "every reading is a system call, and every turn of a thread takes some";
    Finding::warn(NAME, found, meaning, fix)
}

#[cfg(test)]
mod tests {
    use switchyard_tuning::Verdict;

    use super::super::tests::{needs, with_threads};
    use super::*;
    use crate::threads::GatewayThreads;

    #[test]
    fn given_threads_then_each_needs_a_processor_of_its_own() {
        assert_eq!(judge_processors(&needs(), 2).verdict, Verdict::Pass);
        assert_eq!(judge_processors(&with_threads(60, 1), 2).verdict, Verdict::Warn);
    }

    #[test]
    fn given_threads_that_nobody_configured_then_the_limit_on_descriptors_is_what_to_change() {
        for (connections, descriptors) in [(1_000_000, 20_000), (1_000_000, 1_024)] {
            let threads = GatewayThreads::choose(None, 1, connections, descriptors);
            let fix = judge_processors(&Needs { threads, ..needs() }, 2).fix.expect("more than there are processors");
            assert!(fix.contains("LimitNOFILE"), "{fix}");
        }
        let threads = GatewayThreads::choose(Some(60), 1, 1_000_000, 1_024);
        let fix = judge_processors(&Needs { threads, ..needs() }, 2).fix.expect("more than there are processors");
        assert!(fix.starts_with("cores = 0"), "{fix}");
    }

    #[test]
    fn given_one_processor_or_an_odd_number_then_what_the_server_chooses_itself_is_good_and_more_is_not() {
        for (gateways, routers, processors) in [(1, 1, 1), (2, 2, 3), (3, 3, 5)] {
            assert_eq!(judge_processors(&with_threads(gateways, routers), processors).verdict, Verdict::Pass);
            let fix = judge_processors(&with_threads(gateways, routers + 1), processors).fix;
            assert!(fix.expect("more than it chooses").starts_with("cores = 0"));
        }
    }

    #[test]
    fn given_governors_then_all_must_be_performance_or_none_be_there() {
        let judge = |names: &[&str]| judge_governors(&names.iter().map(|name| (*name).to_owned()).collect()).verdict;
        assert_eq!(judge(&[]), Verdict::Pass);
        assert_eq!(judge(&["performance"]), Verdict::Pass);
        assert_eq!(judge(&["performance", "powersave"]), Verdict::Warn);
    }

    #[test]
    fn given_a_clock_that_is_a_system_call_then_a_better_one_is_named() {
        assert_eq!(judge_clock("tsc", "tsc kvm-clock", 25).verdict, Verdict::Pass);
        let fix = |source, available| judge_clock(source, available, 700).fix.expect("it is slow");
        assert!(fix("hpet", "hpet tsc acpi_pm").starts_with("echo tsc >"));
        assert!(fix("acpi_pm", "acpi_pm").contains("machine type"));
    }
}
