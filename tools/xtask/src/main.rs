//! tools/xtask
fn main() {}
