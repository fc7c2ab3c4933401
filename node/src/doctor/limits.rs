//! Bounds of an examination, each with its reason, and the thresholds that its verdicts turn on.

use std::time::Duration;

/// Bytes of a file of `/proc` or `/sys` at most: the largest, a list of mounts, has some hundred lines.
pub(super) const HOST_FILE_BYTES_MAX: u64 = 1 << 20;
/// Groups of processes around this one at most; each may limit memory.
pub(super) const CGROUP_DEPTH_MAX: usize = 32;

/// The limit that is proposed where one is too low: what `packaging/switchyard.service` has.
pub(super) const LIMIT_NOFILE: u64 = 1 << 20;

/// Bytes of the file that is written to find out how fast the disk is, again and again: few enough for a disk that is
/// nearly full.
pub(super) const SYNC_FILE_BYTES: u64 = 16 << 20;
/// Durable writes of one size at most.
pub(super) const SYNC_WRITES_MAX: usize = 256;
/// How long they may take together: a slow disk is known after fewer.
pub(super) const SYNC_TIME_MAX: Duration = Duration::from_millis(750);
/// A durable write of one block within this time is what an idle conversation is quick with.
pub(super) const SYNC_GOOD: Duration = Duration::from_millis(2);
/// No disk makes a block durable faster; something before it only says so.
pub(super) const SYNC_INCREDIBLE: Duration = Duration::from_micros(8);

/// Readings of the clock of which the quickest round counts.
pub(super) const CLOCK_READINGS: u32 = 4_000;
/// Rounds of such readings; a round that was interrupted is not the quickest.
pub(super) const CLOCK_ROUNDS: u32 = 8;
/// A reading that takes longer goes through the kernel.
pub(super) const CLOCK_GOOD_NS: u64 = 150;

/// Of the memory that is available, so many percent may be used before it becomes tight: what is available includes a cache
/// that the host also wants.
pub(super) const MEMORY_PERCENT_GOOD: u64 = 80;

/// Free space that lets a server run for a while, in segments of each router core.
pub(super) const SEGMENTS_GOOD: u64 = 16;
/// Free space without which it does not start: the segment in use and the next one.
pub(super) const SEGMENTS_NEEDED: u64 = 2;
