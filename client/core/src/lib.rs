//! client/core
