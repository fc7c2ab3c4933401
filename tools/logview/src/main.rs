//! tools/logview
fn main() {}
