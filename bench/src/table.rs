//! Results: one measurement, the median of several, a table for people and JSON for machines.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use switchyard_swarm::latency::Percentiles;

/// One measurement.
#[derive(Copy, Clone, PartialEq, Debug, Default, Serialize)]
pub struct Measured {
    /// Messages a second.
    pub messages_per_s: f64,
    /// Latency of half of them.
    pub p50_us: u64,
    /// Latency of 99 of a hundred.
    pub p99_us: u64,
    /// CPU time of all threads of the server per message.
    pub server_cpu_us: f64,
}

impl Measured {
    /// From what was counted.
    #[must_use]
    pub fn new(messages: u64, took: Duration, server_cpu: Duration, latency: &Percentiles) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let messages = messages as f64;
        Self {
            messages_per_s: messages / took.as_secs_f64(),
            p50_us: latency.p50_us,
            p99_us: latency.p99_us,
            server_cpu_us: server_cpu.as_secs_f64() * 1e6 / messages.max(1.0),
        }
    }

    /// The median of each value by itself.
    #[must_use]
    pub fn median(runs: &[Self]) -> Self {
        Self {
            messages_per_s: median(runs.iter().map(|run| run.messages_per_s)),
            p50_us: median(runs.iter().map(|run| run.p50_us)),
            p99_us: median(runs.iter().map(|run| run.p99_us)),
            server_cpu_us: median(runs.iter().map(|run| run.server_cpu_us)),
        }
    }
}

fn median<T: PartialOrd + Copy + Default>(values: impl Iterator<Item = T>) -> T {
    let mut sorted: Vec<T> = values.collect();
    sorted.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// One line of the table: ours beside the peer's.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was done.
    pub name: String,
    /// What the peer did meanwhile.
    pub peer: String,
    /// Ours, run by run.
    pub ours: Vec<Measured>,
    /// The peer's, run by run.
    pub theirs: Vec<Measured>,
}

impl Row {
    /// The lines of the table.
    #[must_use]
    pub fn lines(&self) -> String {
        let line = |name: &str, runs: &[Measured]| {
            let Measured { messages_per_s, p50_us, p99_us, server_cpu_us } = Measured::median(runs);
            format!("{name:<44} {messages_per_s:>10.0} {p50_us:>8} {p99_us:>8} {server_cpu_us:>8.2}\n")
        };
        line(&self.name, &self.ours) + &line(&format!("  beside {}", self.peer), &self.theirs)
    }
}

/// The head of the table.
#[must_use]
pub fn head() -> String {
    format!("{:<44} {:>10} {:>8} {:>8} {:>8}\n", "median", "messages/s", "p50 µs", "p99 µs", "CPU µs")
}

/// The target folder that cargo uses.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from)
}

/// Writes a result as `target/bench/<name>.json` and gives the path.
///
/// # Errors
/// When the file system refuses.
pub fn write_json(name: &str, result: &impl Serialize) -> std::io::Result<PathBuf> {
    let folder = target().join("bench");
    fs::create_dir_all(&folder)?;
    let path = folder.join(name).with_extension("json");
    fs::write(&path, serde_json::to_string_pretty(result)?)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_runs_when_summarised_then_each_value_is_the_median_of_its_own() {
        let run = |messages_per_s, p50_us| Measured { messages_per_s, p50_us, ..Measured::default() };
        let median = Measured::median(&[run(5.0, 1), run(1.0, 9), run(3.0, 4)]);
        assert_eq!((median.messages_per_s, median.p50_us), (3.0, 4));
    }
}
