//! Limits of the comparisons, each with its reason.

use std::time::Duration;

/// Connections that may be opening at once: fewer than any server's backlog, so that none is turned away.
pub const OPENING_MAX: usize = 200;
/// How long a server may take until it listens.
pub const START_MAX: Duration = Duration::from_secs(10);
/// How long the next connection may take to become ready.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a server gets to calm down before its memory is read: allocators give back what a burst of handshakes used.
pub const SETTLE: Duration = Duration::from_secs(1);
/// How long messages that ours keeps are sent before they are measured, to everybody alike: until the memory that a server keeps the newest in is full
/// (`router.tail_bytes`). As long as it grows, pages that are touched for the first time are a tenth of what a message costs.
pub const TAIL_WARM_UP: Duration = Duration::from_secs(5);
/// Users who connect in turn where connecting is measured: so many that each has been forgotten before it comes again,
/// and few enough that the tokens are signed before the clock starts.
pub const RETURNING_USERS: usize = 2_048;
