//! Keeps count of every shard's LSNs while segments are read: which record is next, what is missing, who must refuse.

use switchyard_schema::ids::{ShardCount, ShardId};

use super::report::ShardTail;
use crate::manifest::LsnHole;

/// What to do with a record.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is the next one: pass it on.
    Deliver,
    /// Covered already, given up, or of a shard that refuses.
    Withhold,
    /// Records before it are missing. `trouble` is the damage that explains it, when one is known.
    Missing { expected: u64, trouble: Option<usize> },
    /// Its number was there before. `trouble` is the damage for which the shard refuses already.
    Repeated { trouble: Option<usize> },
}

#[derive(Copy, Clone, Debug)]
enum Trust {
    Whole,
    /// A damaged region may have held records of this shard. The next record tells: the one after the last proves that
    /// nothing is lost. Index of the damage.
    Suspect(usize),
    /// Records are lost. Index of the damage.
    Refuses(usize),
}

#[derive(Copy, Clone, Debug)]
struct Shard {
    covered: u64,
    last: u64,
    /// The highest LSN that was read, covered or not.
    read: u64,
    known: bool,
    trust: Trust,
}

#[derive(Debug)]
pub(super) struct Shards(Vec<Shard>);

impl Shards {
    /// Every shard at what the state store has; without one, at zero, or (`known` false) at whatever comes first.
    pub(super) fn new(count: ShardCount, covered: impl Fn(ShardId) -> u64, known: bool) -> Self {
        let shard = |number| {
            let covered = covered(ShardId(number));
            Shard { covered, last: covered, read: 0, known, trust: Trust::Whole }
        };
        Self((0..count.get()).map(shard).collect())
    }

    /// A record was read. The caller makes a damage of `Missing` and `Repeated` and calls [`Shards::refuse`].
    pub(super) fn on_record(&mut self, shard: ShardId, lsn: u64, given_up: &[LsnHole]) -> Option<Verdict> {
        let state = self.0.get_mut(usize::from(shard.0))?;
        state.read = state.read.max(lsn);
        if !state.known {
            (state.known, state.last) = (true, lsn - 1);
        }
        let refuses = match state.trust {
            Trust::Refuses(damage) => Some(damage),
            Trust::Whole | Trust::Suspect(_) => None,
        };
        if lsn <= state.covered {
            // Whatever a region before this record held was covered too.
            state.trust = if refuses.is_some() { state.trust } else { Trust::Whole };
            return Some(Verdict::Withhold);
        }
        let is_given_up =
            |from, to| given_up.iter().any(|hole| hole.shard == shard && hole.from <= from && to <= hole.to);
        if lsn <= state.last {
            return Some(if is_given_up(lsn, lsn) {
                Verdict::Withhold
            } else {
                Verdict::Repeated { trouble: refuses }
            });
        }
        let expected = state.last + 1;
        state.last = lsn;
        if lsn > expected && !is_given_up(expected, lsn - 1) {
            let trouble = match state.trust {
                Trust::Whole => None,
                Trust::Suspect(damage) | Trust::Refuses(damage) => Some(damage),
            };
            return Some(Verdict::Missing { expected, trouble });
        }
        if refuses.is_some() {
            return Some(Verdict::Withhold);
        }
        state.trust = Trust::Whole;
        Some(Verdict::Deliver)
    }

    /// A damaged region may have held records of `shard`.
    pub(super) fn suspect(&mut self, shard: ShardId, damage: usize) {
        if let Some(state) = self.0.get_mut(usize::from(shard.0))
            && matches!(state.trust, Trust::Whole)
        {
            state.trust = Trust::Suspect(damage);
        }
    }

    /// A segment that ends with this LSN of `shard` was read: a suspect that got so far lost nothing.
    pub(super) fn reaches(&mut self, shard: ShardId, lsn: u64) {
        if let Some(state) = self.0.get_mut(usize::from(shard.0))
            && matches!(state.trust, Trust::Suspect(_))
            && state.last >= lsn
        {
            state.trust = Trust::Whole;
        }
    }

    /// Records of `shard` are lost.
    pub(super) fn refuse(&mut self, shard: ShardId, damage: usize) {
        if let Some(state) = self.0.get_mut(usize::from(shard.0))
            && !matches!(state.trust, Trust::Refuses(_))
        {
            state.trust = Trust::Refuses(damage);
        }
    }

    /// Where every shard ends. A shard still suspect has no later record to clear it, so it refuses.
    pub(super) fn tails(&self) -> Vec<ShardTail> {
        let tail = |(shard, state): (u16, &Shard)| ShardTail {
            shard: ShardId(shard),
            last_lsn: state.last,
            read_lsn: state.read,
            refuses: match state.trust {
                Trust::Whole => None,
                Trust::Suspect(damage) | Trust::Refuses(damage) => Some(damage),
            },
        };
        (0..).zip(&self.0).map(tail).collect()
    }
}
