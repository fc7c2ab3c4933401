//! Reading what the kernel says about the host: small text files, and values in them.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::limits::HOST_FILE_BYTES_MAX;

/// The text of a file, without white space around it. `None` when it does not exist or cannot be read.
pub(super) fn read(path: impl AsRef<Path>) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(HOST_FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

/// The release of the running kernel; empty where the host does not say.
pub(super) fn kernel_release() -> String {
    read("/proc/sys/kernel/osrelease").unwrap_or_default()
}

/// The value of `name` in a text of lines `name: value unit`, as `/proc/meminfo` and `/proc/self/status` have.
pub(super) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.split_ascii_whitespace().next())
}

/// Whether this process may lock as much memory as it likes (`capabilities(7)`), from `/proc/self/status`.
pub(super) fn may_lock_memory(status: &str) -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let effective = field(status, "CapEff").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    effective.is_some_and(|bits| bits & (1 << CAP_IPC_LOCK) != 0)
}

/// Major and minor number of a kernel's release, as `6.1.0-13-amd64` has them in front.
pub(super) fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|digits| digits.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_lines_of_the_kernel_when_a_field_is_asked_for_then_its_first_word_is_the_value() {
        let text = "MemTotal:       24684092 kB\nMemAvailable:   23774020 kB\nCapEff:\t000001ffffffffff\n";
        assert_eq!(field(text, "MemAvailable"), Some("23774020"));
        assert_eq!(field(text, "Mem"), None);
        assert!(may_lock_memory(text));
        assert!(!may_lock_memory("CapEff:\t0000000000000000\n"));
        assert!(!may_lock_memory("CapEff:\t00000000a80425fb\n"), "what Docker leaves to a container's root");
    }
}
