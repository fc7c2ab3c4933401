//! What happened in a run: one line for every event that matters, folded into a hash, and kept when somebody will read it.

use std::fmt::{self, Write as _};

/// Lines kept of a story: the last ones, which led to the failure.
const LINES_KEPT: usize = 200_000;

/// The story of a run.
#[derive(Debug)]
pub struct Story {
    hash: u64,
    lines: Option<Vec<String>>,
    buffer: String,
}

impl Story {
    /// An empty story. Its lines are only kept when `told`; its hash is the same either way.
    #[must_use]
    pub fn new(told: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: told.then(Vec::new), buffer: String::new() }
    }

    /// Adds a line at a virtual time.
    pub fn tell(&mut self, at_us: u64, line: fmt::Arguments<'_>) {
        self.buffer.clear();
        let (seconds, rest) = (at_us / 1_000_000, at_us % 1_000_000);
        write!(self.buffer, "{seconds:>5}.{rest:06} {line}").expect("a String takes everything");
        for byte in self.buffer.as_bytes() {
            // FNV-1a (Fowler, Noll and Vo): small, fixed, and not for adversaries.
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(lines) = &mut self.lines {
            if lines.len() >= LINES_KEPT {
                lines.drain(..LINES_KEPT / 2);
            }
            lines.push(self.buffer.clone());
        }
    }

    /// Folds a number into the hash, where a line would say too much.
    pub const fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
    }

    /// What two runs that went the same way have in common.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines, if they were kept.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
