//! What a process costs, from /proc: CPU time of all its threads, and memory.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{SwarmError, sys};

/// What a process has used so far.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// User and system time of all threads, in steps of the kernel's tick (10 ms).
    pub cpu: Duration,
    /// Resident memory.
    pub rss_bytes: u64,
}

/// Reads the usage of a process.
///
/// # Errors
/// When there is no such process.
pub fn usage(pid: u32) -> Result<Usage, SwarmError> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        fs::read_to_string(&path).map_err(SwarmError::io(path))
    };
    let stat = read("stat")?;
    // The name in brackets may hold spaces; after it, utime and stime are the 12th and 13th words (proc(5)).
    let words: Vec<u64> = stat
        .rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
        .map(|word| word.parse().unwrap_or_default())
        .collect();
    let ticks = words.get(11).copied().unwrap_or_default() + words.get(12).copied().unwrap_or_default();
    let status = read("status")?;
    let rss_kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or_default();
    let cpu = Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second());
    Ok(Usage { cpu, rss_bytes: rss_kib * 1024 })
}

/// Lets this process open as many descriptors as the kernel allows it.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // When it is refused, the run fails later with "too many open files", which says as much.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Lets the calling thread run only when nobody else wants its processor.
///
/// # Errors
/// When the kernel refuses.
pub fn yield_to_others() -> Result<(), SwarmError> {
    sys::run_when_idle().map_err(SwarmError::io("running only when nobody else does"))
}
