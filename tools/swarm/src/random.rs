//! Randomness of the kernel, for whatever must differ from run to run.

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
