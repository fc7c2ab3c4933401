//! A figure of the running server, and all of them as JSON.

use serde_json::{Map, Value, json};

/// A figure. Figures of one name differ in their labels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sample {
    /// What it is the figure of, with its unit last.
    pub(crate) name: String,
    /// What tells it from others of its name.
    pub(crate) labels: Vec<(&'static str, String)>,
    /// The figure.
    pub(crate) value: u64,
}

impl Sample {
    /// A figure that there is once.
    pub(crate) fn new(name: impl Into<String>, value: u64) -> Self {
        Self { name: name.into(), labels: Vec::new(), value }
    }

    /// The same with one label more.
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.labels.push((name, value.to_string()));
        self
    }
}

/// `{"<name>": [{"labels": {…}, "value": n}, …], …}`.
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
