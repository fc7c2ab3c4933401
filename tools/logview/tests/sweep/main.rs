//! Damage in every region of a real data folder: each start recovers exactly what the rules of `router/log/FORMAT.md`
//! allow, or refuses and says where and what to do. Nothing panics, nothing but what was written is served, and no accepted
//! message disappears without a word.
//!
//! `cargo test` damages a sample; `cargo xtask sweep` everything (`SWITCHYARD_SWEEP=full`).

#[path = "../../../../router/server/tests/common/mod.rs"]
mod common;

mod command;
mod image;
mod journal;
mod places;
mod server;
mod state;
mod tally;

/// Every how many of the places are damaged.
fn sample(one_in: usize) -> usize {
    if std::env::var("SWITCHYARD_SWEEP").is_ok_and(|density| density == "full") { 1 } else { one_in }
}
