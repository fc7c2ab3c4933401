//! What the kernel says of itself: memory that belongs to no process, processor time, and the room for ports.

use std::fs;
use std::time::Duration;

/// Kernel memory.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct KernelMemory {
    /// `Slab` of /proc/meminfo: sockets, files, polls and everything else that the kernel keeps in small pieces.
    pub(crate) slab_bytes: u64,
    /// `mem` of TCP in /proc/net/sockstat: what waits in the buffers of sockets.
    pub(crate) tcp_bytes: u64,
    /// `MemFree` of /proc/meminfo.
    pub(crate) free_bytes: u64,
}

impl KernelMemory {
    /// What /proc says now; zero where it says nothing.
    pub(crate) fn read() -> Self {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = |name| word_after(&meminfo, name, "") * 1024;
        let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        Self {
            slab_bytes: kib("Slab:"),
            tcp_bytes: word_after(&sockets, "TCP:", "mem") * rustix::param::page_size() as u64,
            free_bytes: kib("MemFree:"),
        }
    }
}

/// Processor time of the whole machine.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct MachineTime {
    busy: Duration,
    total: Duration,
}

impl MachineTime {
    /// From the first line of /proc/stat.
    pub(crate) fn read() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let words = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = words.map(|word| word.parse().unwrap_or_default()).collect();
        let time = |ticks: u64| Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second());
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        let total = ticks.iter().sum::<u64>();
        Self { busy: time(total - idle), total: time(total) }
    }

    /// How much of all processors was used since `before`, in percent.
    pub(crate) fn busy_percent_since(&self, before: &Self) -> f64 {
        let total = self.total.saturating_sub(before.total).as_secs_f64();
        if total > 0.0 { 100.0 * self.busy.saturating_sub(before.busy).as_secs_f64() / total } else { 0.0 }
    }
}

/// What tells this machine, since its last start, from every other.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Local ports that the kernel gives to connections towards one address.
pub(crate) fn local_ports() -> u32 {
    const LINUX_DEFAULT: u32 = 28_232;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut ends = range.split_whitespace().map(|word| word.parse::<u32>().ok());
    match (ends.next().flatten(), ends.next().flatten()) {
        (Some(first), Some(last)) if last >= first => last - first + 1,
        _ => LINUX_DEFAULT,
    }
}

/// The number behind `key` in the line that begins with `begin`; right behind `begin` when `key` is empty.
fn word_after(text: &str, begin: &str, key: &str) -> u64 {
    let Some(rest) = text.lines().find_map(|line| line.strip_prefix(begin)) else { return 0 };
    let mut words = rest.split_whitespace();
    if !key.is_empty() {
        words.find(|word| *word == key);
    }
    words.next().and_then(|word| word.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_what_proc_says_when_read_then_the_numbers_are_found_by_name() {
        let sockstat = "sockets: used 21\nTCP: inuse 1 orphan 0 tw 0 alloc 3 mem 49\nUDP: inuse 0 mem 3\n";
        assert_eq!(word_after(sockstat, "TCP:", "mem"), 49);
        assert_eq!(word_after("MemFree:  7 kB\nSlab:   962276 kB\n", "Slab:", ""), 962_276);
        assert_eq!(word_after(sockstat, "SCTP:", "mem"), 0);
        assert!(KernelMemory::read().slab_bytes > 0 && local_ports() > 1_000);
    }
}
