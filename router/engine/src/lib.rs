//! router/engine
