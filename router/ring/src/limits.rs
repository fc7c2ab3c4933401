//! Limits of what threads use to talk to each other, each with its reason.

/// Slots of one link, reserved and open together: at the size of a gateway message about 40 MB, far above what the
/// busiest pair of threads needs between two turns. A larger figure is a mistake in the wiring.
pub const LINK_SLOTS_MAX: usize = 1 << 18;

/// A thread of the message path that has given no sign of life for so long has stalled. Far longer than any of them sleeps
/// or is kept from its processor on a busy machine, and short enough that the stall is seen before clients give up.
pub const STALL_AFTER_MS: u64 = 2_000;
/// The longest that a thread of the message path may sleep, so that one late wake-up or two look like no stall.
pub const SLEEP_MS_MAX: u64 = STALL_AFTER_MS / 4;
