//! router/ring
