//! The figures of a server at one time, as `/stats` shows them.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use serde::Deserialize;

/// All figures at one time.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) at: Instant,
    figures: HashMap<String, Vec<Figure>>,
    /// Every name that was asked for: one that no figure has gives 0, and nobody would notice.
    #[cfg(test)]
    asked: std::cell::RefCell<std::collections::BTreeSet<String>>,
}

#[derive(Debug, Deserialize)]
struct Figure {
    labels: BTreeMap<String, String>,
    value: u64,
}

/// Which figures of a name are meant: those with all of these labels.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Reading {
    pub(super) fn parse(at: Instant, body: &[u8]) -> serde_json::Result<Self> {
        let figures = serde_json::from_slice(body)?;
        Ok(Self {
            at,
            figures,
            #[cfg(test)]
            asked: std::cell::RefCell::default(),
        })
    }

    /// The figures of a name with these labels, added up; 0 when there is none.
    pub(super) fn sum(&self, name: &str, labels: Labels<'_>) -> u64 {
        self.named(name).filter(|figure| figure.has(labels)).map(|figure| figure.value).sum()
    }

    /// The values that a label has among the figures of a name, numbers in their order.
    pub(super) fn values_of(&self, name: &str, label: &str) -> Vec<&str> {
        let values = self.named(name).filter_map(|figure| figure.labels.get(label));
        let sorted: BTreeMap<_, _> = values.map(|value| ((value.parse::<u64>().ok(), value.as_str()), ())).collect();
        sorted.into_keys().map(|(_, value)| value).collect()
    }

    /// A cumulative histogram, all figures with these labels added up: by bound, and last all of them.
    pub(super) fn buckets(&self, name: &str, labels: Labels<'_>) -> BTreeMap<u64, u64> {
        let mut buckets = BTreeMap::new();
        for figure in self.named(name).filter(|figure| figure.has(labels)) {
            let Some(bound) = figure.labels.get("le") else { continue };
            // What is no number is +Inf.
            *buckets.entry(bound.parse().unwrap_or(u64::MAX)).or_default() += figure.value;
        }
        buckets
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Figure> {
        #[cfg(test)]
        self.asked.borrow_mut().insert(name.to_owned());
        self.figures.get(name).into_iter().flatten()
    }

    /// Names that were asked for and that no figure has.
    #[cfg(test)]
    pub(super) fn asked_in_vain(&self) -> Vec<String> {
        self.asked.borrow().iter().filter(|name| !self.figures.contains_key(*name)).cloned().collect()
    }
}

impl Figure {
    fn has(&self, labels: Labels<'_>) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|has| has == value))
    }
}
