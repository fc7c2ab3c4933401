//! Users that nobody had before.

use crate::random::random;

/// A user from whom on there are only users that nobody had before.
#[must_use]
pub fn first_user() -> u64 {
    (random() >> 1) | (1 << 40)
}
