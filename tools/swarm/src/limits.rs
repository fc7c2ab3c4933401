//! Limits of the swarm, each with its reason.

use std::time::Duration;

/// Bytes read from a socket at once.
pub const READ_BYTES: usize = 64 * 1024;
/// Reads from one socket in a row, so that a busy one does not starve the rest.
pub const READS_PER_EVENT_MAX: usize = 16;
/// Events taken from the kernel at once.
pub const EVENTS_PER_TURN_MAX: usize = 1024;
/// The longest a thread sleeps when nothing arrives: how late it may notice what the main thread wants.
pub const TURN_PAUSE_MAX: Duration = Duration::from_millis(100);
/// Write buffers that a thread keeps for the next sockets that have something to say: those of one turn.
pub const SPARE_BUFFERS_MAX: usize = EVENTS_PER_TURN_MAX;
/// A kept write buffer is no larger; one that had to hold a burst is given back.
pub const SPARE_BUFFER_BYTES_MAX: usize = 16 * 1024;
/// Samples of a run's course that are kept: an hour and more at one a second, and some 700 KiB of a page. A longer run is
/// told in coarser steps; a screen has fewer columns anyway.
pub const SAMPLES_KEPT_MAX: usize = 4096;

/// A thread of the swarm that is busier than this, in percent, cannot be trusted to be on time.
pub const BUSY_PERCENT_MAX: f64 = 90.0;
