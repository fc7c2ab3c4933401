//! router/log
