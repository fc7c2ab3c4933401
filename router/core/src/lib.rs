//! router/core
