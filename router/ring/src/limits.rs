//! Limits of links between threads, each with its reason.

/// Slots of one link, reserved and open together: at the size of a gateway message about 40 MB, far above what the
/// busiest pair of threads needs between two turns. A larger figure is a mistake in the wiring.
pub const LINK_SLOTS_MAX: usize = 1 << 18;

/// Slots that a link has beyond those it promises, so that a push never meets a slot that a pop is just leaving (see
/// [`crate::link()`]).
pub const LINK_SPARE_SLOTS: usize = 1;
