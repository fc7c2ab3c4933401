//! What several machines found becomes what one run found, as if one machine had made it all.
//!
//! Whatever a machine hands in is declared with [`merged!`] and merged field by field: counts add up, histograms become
//! one, reasons are counted together. A field of a kind that nobody said how to merge does not compile, and none is
//! forgotten.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What can be made one with its like of another machine.
pub(crate) trait Merge {
    /// Adds what another machine found in the same run.
    fn merge(&mut self, other: Self);
}

/// What all machines found together; nothing when there were none.
pub(crate) fn merge_all<M: Merge>(all: impl IntoIterator<Item = M>) -> Option<M> {
    all.into_iter().reduce(|mut whole, one| {
        whole.merge(one);
        whole
    })
}

/// Declares a struct that is merged field by field.
macro_rules! merged {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $kind:ty,)*
        }
    ) => {
        $(#[$meta])*
        $visibility struct $name {
            $($(#[$field_meta])* $field_visibility $field: $kind,)*
        }

        impl $crate::merge::Merge for $name {
            fn merge(&mut self, other: Self) {
                $($crate::merge::Merge::merge(&mut self.$field, other.$field);)*
            }
        }
    };
}
pub(crate) use merged;

/// Counts add up. They come from other machines, so they may be anything.
impl Merge for u64 {
    fn merge(&mut self, other: Self) {
        *self = self.saturating_add(other);
    }
}

impl Merge for u32 {
    fn merge(&mut self, other: Self) {
        *self = self.saturating_add(other);
    }
}

/// What is said of a run holds on every machine.
impl Merge for bool {
    fn merge(&mut self, other: Self) {
        *self &= other;
    }
}

/// One example is enough.
impl Merge for Option<String> {
    fn merge(&mut self, other: Self) {
        *self = self.take().or(other);
    }
}

/// What happened one after the other happened on all machines at the same time.
impl<M: Merge> Merge for Vec<M> {
    fn merge(&mut self, other: Self) {
        let mut others = other.into_iter();
        self.iter_mut().zip(&mut others).for_each(|(mine, other)| mine.merge(other));
        self.extend(others);
    }
}

/// What has the same name is the same.
impl<M: Merge> Merge for BTreeMap<String, M> {
    fn merge(&mut self, other: Self) {
        for (name, one) in other {
            match self.get_mut(&name) {
                Some(mine) => mine.merge(one),
                None => drop(self.insert(name, one)),
            }
        }
    }
}

/// A number that does not grow with the machines, of which the largest is told.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Largest(pub(crate) usize);

impl Merge for Largest {
    fn merge(&mut self, other: Self) {
        self.0 = self.0.max(other.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    merged! {
        #[derive(Clone, PartialEq, Eq, Debug)]
        struct Found {
            count: u64,
            all_well: bool,
            first: Option<String>,
            rounds: Vec<u32>,
            reasons: BTreeMap<String, u64>,
            destinations: Largest,
        }
    }

    fn found(count: u64, rounds: &[u32], reason: &str) -> Found {
        Found {
            count,
            all_well: reason.is_empty(),
            first: (!reason.is_empty()).then(|| reason.to_owned()),
            rounds: rounds.to_vec(),
            reasons: BTreeMap::from([(reason.to_owned(), count)]),
            destinations: Largest(rounds.len()),
        }
    }

    #[test]
    fn given_what_three_machines_found_when_merged_then_nothing_is_missing_whoever_saw_it() {
        let all = [found(1, &[10], ""), found(2, &[20, 5], "lost"), found(u64::MAX, &[], "lost")];
        let expect = Found {
            count: u64::MAX,
            all_well: false,
            first: Some("lost".to_owned()),
            rounds: vec![30, 5],
            reasons: BTreeMap::from([(String::new(), 1), ("lost".to_owned(), u64::MAX)]),
            destinations: Largest(2),
        };
        assert_eq!(merge_all(all), Some(expect));
        assert_eq!(merge_all(Vec::<Found>::new()), None);
    }
}
