//! What shards say to each other.

/// A message between shards. Which of them are reserved (ride on a credit) is said at each.
#[derive(Debug)]
pub enum Peer {}
