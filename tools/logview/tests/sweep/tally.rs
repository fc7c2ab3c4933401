//! What became of every damage.

use std::collections::BTreeMap;

use crate::places::Damage;

/// How a start, or a look, ended.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Outcome {
    /// Space that nothing uses, or that is covered: nothing to notice.
    Unused,
    /// Everything is served, and the damage is told.
    Told,
    /// A tail that nothing closed was cut off and set aside.
    Tail,
    /// Some shards refuse; the others serve.
    ShardsRefuse,
    /// The start is refused.
    StartRefused,
}

/// Outcomes counted, for one part of a folder.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    outcomes: BTreeMap<Outcome, u64>,
    bytes: u64,
}

impl Tally {
    pub(crate) fn note(&mut self, outcome: Outcome, damage: &Damage, file: &[u8]) {
        *self.outcomes.entry(outcome).or_default() += 1;
        self.bytes += damage.bytes(file) as u64;
    }

    /// Says it in one line, which `cargo xtask sweep` shows.
    pub(crate) fn show(&self, what: &str) {
        let cases: u64 = self.outcomes.values().sum();
        let outcomes: Vec<String> =
            self.outcomes.iter().map(|(outcome, count)| format!("{outcome:?} {count}")).collect();
        eprintln!("sweep of {what}: {cases} damages, {} bytes; {}", self.bytes, outcomes.join(", "));
        assert!(cases > 0, "a sweep without a case shows nothing");
    }
}
