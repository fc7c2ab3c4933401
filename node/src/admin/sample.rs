//! A figure of the running server, and all of them as JSON.

use serde_json::{Map, Value, json};

/// How a figure behaves.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A figure. Figures of one name differ in their labels.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Prometheus name without the prefix `switchyard_`.
    pub(crate) name: String,
    /// How it behaves.
    pub(crate) kind: Kind,
    /// What tells it from others of its name.
    pub(crate) labels: Vec<(&'static str, String)>,
    /// The figure.
    pub(crate) value: u64,
}

impl Sample {
    /// A figure with one label.
    pub(crate) fn new(name: impl Into<String>, kind: Kind, label: (&'static str, impl ToString), value: u64) -> Self {
        Self { name: name.into(), kind, labels: vec![(label.0, label.1.to_string())], value }
    }
}

/// `{"<name>": [{"labels": {…}, "value": n}, …], …}`, names in order of appearance.
pub(super) fn to_json(samples: &[Sample]) -> Value {
    let mut names = Map::new();
    for sample in samples {
        let labels: Map<String, Value> =
            sample.labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        let list = names.entry(sample.name.clone()).or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!({ "labels": labels, "value": sample.value }));
        }
    }
    Value::Object(names)
}
