//! TLS: what the gateway shows (certificates) and how it is spoken.

pub mod certificates;
