//! What the kernel says of this process (proc(5)): memory, processor time by thread, room on the disk of the data folder.
//!
//! Read anew for each scrape, on the admin listener's thread. What cannot be read is left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::admin::Sample;

/// The threads whose time is told one by one, by how their names begin: those that last as long as the process does.
const LASTING: &[&str] = &["gateway-", "router-", "state-store", "admin"];

/// When the process began.
#[derive(Copy, Clone, Debug)]
pub(super) struct Began {
    wall: SystemTime,
    clock: Instant,
}

impl Began {
    pub(super) fn now() -> Self {
        Self { wall: SystemTime::now(), clock: Instant::now() }
    }

    pub(super) fn samples(&self) -> impl Iterator<Item = Sample> {
        let began = self.wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        [
            Sample::new("process_started_ms", millis(began)),
            Sample::new("process_uptime_ms", millis(self.clock.elapsed())),
        ]
        .into_iter()
    }
}

/// Resident memory, and the processor time of the process and of its lasting threads. Threads of one name are added up.
pub(super) fn usage() -> Vec<Sample> {
    let mut samples = Vec::new();
    if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_bytes) {
        samples.push(Sample::new("process_resident_bytes", bytes));
    }
    if let Some((_, cpu_ms)) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(name_and_cpu_ms) {
        samples.push(Sample::new("process_cpu_ms", cpu_ms));
    }
    let mut threads: BTreeMap<String, u64> = BTreeMap::new();
    for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        // A thread may have ended since it was listed.
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
        if let Some((name, cpu_ms)) = name_and_cpu_ms(&stat)
            && LASTING.iter().any(|begin| name.starts_with(begin))
        {
            *threads.entry(name.to_owned()).or_default() += cpu_ms;
        }
    }
    samples.extend(threads.into_iter().map(|(name, ms)| Sample::new("process_thread_cpu_ms", ms).with("thread", name)));
    samples
}

/// The size of the file system that holds `folder`, and what of it is free for this process.
pub(super) fn disk(folder: &Path) -> Vec<Sample> {
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Vec::new() };
    vec![
        Sample::new("data_free_bytes", disk.f_bavail * disk.f_frsize),
        Sample::new("data_size_bytes", disk.f_blocks * disk.f_frsize),
    ]
}

fn resident_bytes(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?;
    Some(kib.parse::<u64>().ok()? * 1024)
}

/// The name stands in brackets and may hold anything; user and system time are the 12th and 13th word behind it.
fn name_and_cpu_ms(stat: &str) -> Option<(&str, u64)> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut words = rest.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = words.next()?.ok()? + words.next()?.ok()?;
    Some((name, ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_lines_of_the_kernel_when_read_then_names_may_hold_brackets_and_spaces() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 1 0 99 0 0";
        assert_eq!(name_and_cpu_ms(stat), Some(("a (b) c", 300 * 1000 / rustix::param::clock_ticks_per_second())));
        assert_eq!(name_and_cpu_ms("7 (short) S 1"), None);
        assert_eq!(resident_bytes("VmPeak:\t  20 kB\nVmRSS:\t  12 kB\n"), Some(12 * 1024));
    }

    #[test]
    fn given_this_process_when_read_then_it_has_memory_threads_and_a_disk() {
        let lasting = std::thread::Builder::new().name("gateway-7".to_owned());
        let told = lasting.spawn(|| usage().into_iter().chain(disk(Path::new("."))).collect::<Vec<_>>());
        let told = told.expect("it starts").join().expect("it reads");
        for name in ["process_resident_bytes", "process_cpu_ms", "data_free_bytes", "data_size_bytes"] {
            assert!(told.iter().any(|sample| sample.name == name && sample.labels.is_empty()), "no {name}: {told:?}");
        }
        let of_thread = |sample: &Sample| sample.labels == [("thread", "gateway-7".to_owned())];
        assert!(told.iter().any(|sample| sample.name == "process_thread_cpu_ms" && of_thread(sample)), "{told:?}");
    }
}
