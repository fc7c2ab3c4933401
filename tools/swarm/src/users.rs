//! Users that nobody had before, and the randomness that makes them so.

/// A user from whom on there are only users that nobody had before.
#[must_use]
pub fn first_user() -> u64 {
    (random() >> 1) | (1 << 40)
}

/// Random numbers from the kernel.
///
/// # Panics
/// When the kernel has none, which Linux does not do after boot.
#[must_use]
pub fn random() -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).expect("Linux always has randomness");
    u64::from_le_bytes(bytes)
}
