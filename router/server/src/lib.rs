//! router/server
