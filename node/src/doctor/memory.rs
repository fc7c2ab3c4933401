//! Whether so many connections fit into memory, from what one was measured to cost.

use std::path::{Path, PathBuf};

use switchyard_router_server::limits::{STORE_CACHE_BYTES, STORE_WRITE_BUFFER_BYTES};
use switchyard_tuning::Finding;
use switchyard_tuning::text::{bytes, grouped};

use super::costs::{
    KERNEL_BYTES_PER_CONNECTION, QUIC_BYTES_PER_CONNECTION, START_BYTES, START_THREADS, THREAD_BYTES,
    TLS_BYTES_PER_CONNECTION, USER_BYTES_PER_CONNECTION,
};
use super::limits::{CGROUP_DEPTH_MAX, MEMORY_PERCENT_GOOD};
use super::{Needs, host};

pub(super) fn examine(needs: &Needs) -> Vec<Finding> {
    let available = host::read("/proc/meminfo").as_deref().and_then(available_bytes);
    let limit = host::read("/proc/self/cgroup").and_then(|text| cgroup_limit(&limit_files(&text)));
    vec![judge(needs, available, limit)]
}

/// `MemAvailable`: what could be had without swapping.
fn available_bytes(meminfo: &str) -> Option<u64> {
    host::field(meminfo, "MemAvailable")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The files that may limit the memory of this process, from `/proc/self/cgroup` (cgroups(7)): those of its group and of
/// every group around it, in version 2 and in version 1.
fn limit_files(cgroup: &str) -> Vec<PathBuf> {
    const ROOT: &str = "/sys/fs/cgroup";
    let mut files = Vec::new();
    for line in cgroup.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (root, name) = if controllers.is_empty() {
            (ROOT.to_owned(), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (format!("{ROOT}/memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        let groups = Path::new(path).ancestors().take(CGROUP_DEPTH_MAX);
        files.extend(groups.map(|group| Path::new(&root).join(group.strip_prefix("/").unwrap_or(group)).join(name)));
    }
    files
}

fn cgroup_limit(files: &[PathBuf]) -> Option<u64> {
    // `max` of version 2 is no number; version 1 writes a number that no machine has.
    files.iter().filter_map(|file| host::read(file)?.parse().ok()).min()
}

fn judge(needs: &Needs, available: Option<u64>, limit: Option<u64>) -> Finding {
    const NAME: &str = "memory";
    let Some(available) = available else {
        return Finding::warn(NAME, "unknown", "/proc/meminfo does not say what is available", "free -m");
    };
    // Kernel memory of sockets counts against the limit of a group as well.
    let usable = available.min(limit.unwrap_or(u64::MAX));
    let Cost { user, kernel, over } = cost(needs);
    let each = user + kernel;
    let fixed = fixed_bytes(needs);
    let needed = fixed + needs.connections * each;
    let confined = if usable < available { " for this group of processes" } else { "" };
    let found = format!("{} of {} available{confined}", bytes(needed), bytes(usable));
    let meaning = format!(
        "{} for {} connections ({} bytes in the server and {} in the kernel each{over}), {} for everything else",
        bytes(needs.connections * each),
        grouped(needs.connections),
        grouped(user),
        grouped(kernel),
        bytes(fixed)
    );
    let fit = usable.saturating_sub(fixed) * MEMORY_PERCENT_GOOD / 100 / each;
    let fix = format!(
        "a host or a limit with {}; or max_connections = {fit} under [gateway]; or less for router.tail_bytes and \
         router.state_bytes",
        bytes(needed * 100 / MEMORY_PERCENT_GOOD)
    );
    if needed > usable {
        Finding::fail(NAME, found, meaning, fix)
    } else if needed > usable / 100 * MEMORY_PERCENT_GOOD {
        Finding::warn(NAME, found, meaning, fix)
    } else {
        Finding::pass(NAME, found, meaning)
    }
}

/// What a connection costs.
struct Cost {
    /// Bytes in the server.
    user: u64,
    /// Bytes in the kernel.
    kernel: u64,
    /// How it came, for the finding.
    over: &'static str,
}

/// The largest of the costs of the ways in which clients may come, for all may come in the same one.
fn cost(needs: &Needs) -> Cost {
    let websocket = |user, over| Cost { user, kernel: KERNEL_BYTES_PER_CONNECTION, over };
    let plain = websocket(USER_BYTES_PER_CONNECTION, "");
    let tls = needs.tls.then(|| websocket(USER_BYTES_PER_CONNECTION + TLS_BYTES_PER_CONNECTION, ", with TLS"));
    let quic = needs.quic.then_some(Cost { user: QUIC_BYTES_PER_CONNECTION, kernel: 0, over: ", over QUIC" });
    [tls, quic]
        .into_iter()
        .flatten()
        .fold(plain, |most, other| if other.user + other.kernel > most.user + most.kernel { other } else { most })
}

/// What the server takes whoever is connected, when its caches are full.
fn fixed_bytes(needs: &Needs) -> u64 {
    let threads = needs.gateways() + needs.routers;
    START_BYTES
        + threads.saturating_sub(START_THREADS) * THREAD_BYTES
        + needs.tail_bytes
        + needs.state_bytes
        + STORE_CACHE_BYTES
        + STORE_WRITE_BUFFER_BYTES
}

#[cfg(test)]
mod tests {
    use switchyard_tuning::Verdict;

    use super::super::tests::{needs, with_threads};
    use super::*;

    #[test]
    fn given_memory_and_connections_then_they_fit_or_the_finding_says_how_many_do() {
        let with = |connections| Needs { connections, ..needs() };
        for (connections, available, limit, expect) in [
            (15_000, Some(2_u64 << 30), None, Verdict::Pass),
            (15_000, Some(2 << 30), Some(512_u64 << 20), Verdict::Fail),
            (1_000_000, Some(24 << 30), Some(1 << 62), Verdict::Pass),
            (1_000_000, Some(6 << 30), None, Verdict::Warn),
            (1_000_000, Some(4 << 30), None, Verdict::Fail),
            (1, None, None, Verdict::Warn),
        ] {
            let finding = judge(&with(connections), available, limit);
            assert_eq!(finding.verdict, expect, "{connections} {available:?} {limit:?}: {}", finding.found);
        }
        let fix = judge(&with(1_000_000), Some(4 << 30), None).fix.expect("it does not fit");
        let fit: u64 = fix
            .split("max_connections = ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse().ok())
            .expect("a number");
        assert_ne!(judge(&with(fit), Some(4 << 30), None).verdict, Verdict::Fail);
        let secured = Needs { tls: true, ..with(1_000_000) };
        assert_eq!(judge(&secured, Some(6 << 30), None).verdict, Verdict::Fail, "TLS takes more");
        let quic = Needs { quic: true, ..secured };
        let finding = judge(&quic, Some(12 << 30), None);
        assert_eq!(finding.verdict, Verdict::Fail, "QUIC takes most");
        assert!(finding.meaning.contains("over QUIC"), "{}", finding.meaning);
    }

    #[test]
    fn given_threads_then_each_beyond_the_first_of_both_kinds_costs_more() {
        let with = |gateways, routers| fixed_bytes(&with_threads(gateways, routers));
        let caches = needs().tail_bytes + needs().state_bytes + STORE_CACHE_BYTES + STORE_WRITE_BUFFER_BYTES;
        assert_eq!(with(1, 1), START_BYTES + caches);
        assert_eq!(with(4, 2), START_BYTES + 4 * THREAD_BYTES + caches);
    }

    #[test]
    fn given_groups_of_processes_then_every_one_around_this_one_may_limit_it() {
        let version_2 = limit_files("0::/system.slice/switchyard.service\n");
        assert_eq!(version_2[0], Path::new("/sys/fs/cgroup/system.slice/switchyard.service/memory.max"));
        assert_eq!(version_2.len(), 3);
        let version_1 = limit_files("5:freezer:/\n4:memory:/docker/abc\n");
        assert_eq!(version_1[0], Path::new("/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes"));
        let folder = tempfile::tempdir().expect("a folder");
        let files = [("outer", "max\n"), ("inner", "1073741824\n")].map(|(name, text)| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        });
        assert_eq!(cgroup_limit(&files), Some(1 << 30));
    }

    #[test]
    fn given_meminfo_then_what_is_available_is_read() {
        assert_eq!(available_bytes("MemTotal:  4 kB\nMemAvailable:   3 kB\n"), Some(3 * 1024));
    }
}
