//! tools/chat
fn main() {}
