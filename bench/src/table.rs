//! Results: what one run measured, several runs of each who took part, a table for people and JSON for machines.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use switchyard_swarm::latency::Percentiles;

/// What one run measured: a main figure, which is compared, and others.
pub trait Figures: Copy + Serialize {
    /// The name of the main figure, with its unit. Less is better.
    const MAIN: &'static str;

    /// The main figure.
    fn main(&self) -> f64;

    /// The names and the medians of the others.
    fn others(runs: &[Self]) -> Vec<(&'static str, String)>;
}

/// What a load measured.
#[derive(Copy, Clone, PartialEq, Debug, Default, Serialize)]
pub struct Measured {
    /// CPU time of all threads of the server per message, user and system.
    pub server_cpu_us: f64,
    /// Messages, or connections, a second.
    pub per_s: f64,
    /// Latency of half of them.
    pub p50_us: u64,
    /// Latency of 99 of a hundred.
    pub p99_us: u64,
    /// Processors that the server kept busy.
    pub server_busy: f64,
    /// Processors that the load kept busy: at 1 it is the load that goes no faster.
    pub load_busy: f64,
}

impl Measured {
    /// From what was counted.
    #[must_use]
    pub fn new(count: u64, took: Duration, server_cpu: Duration, load_cpu: Duration, latency: &Percentiles) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let count = count as f64;
        Self {
            server_cpu_us: server_cpu.as_secs_f64() * 1e6 / count.max(1.0),
            per_s: count / took.as_secs_f64(),
            p50_us: latency.p50_us,
            p99_us: latency.p99_us,
            server_busy: server_cpu.as_secs_f64() / took.as_secs_f64(),
            load_busy: load_cpu.as_secs_f64() / took.as_secs_f64(),
        }
    }
}

impl Figures for Measured {
    const MAIN: &'static str = "server CPU µs";

    fn main(&self) -> f64 {
        self.server_cpu_us
    }

    fn others(runs: &[Self]) -> Vec<(&'static str, String)> {
        let percent = |of: fn(&Self) -> f64| format!("{:.0} %", 100.0 * median(runs.iter().map(of)));
        vec![
            ("per second", format!("{:.0}", median(runs.iter().map(|run| run.per_s)))),
            ("p50 µs", median(runs.iter().map(|run| run.p50_us)).to_string()),
            ("p99 µs", median(runs.iter().map(|run| run.p99_us)).to_string()),
            ("server", percent(|run| run.server_busy)),
            ("load", percent(|run| run.load_busy)),
        ]
    }
}

/// What connections without traffic cost.
#[derive(Copy, Clone, PartialEq, Debug, Default, Serialize)]
pub struct Idle {
    /// Growth of the server's resident memory for each connection.
    pub bytes_per_connection: f64,
    /// Resident memory of the server at the end.
    pub rss_bytes: u64,
}

impl Idle {
    /// From the server's memory before and after `added` connections.
    #[must_use]
    pub fn new(before_bytes: u64, after_bytes: u64, added: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let bytes_per_connection = (after_bytes as f64 - before_bytes as f64) / added as f64;
        Self { bytes_per_connection, rss_bytes: after_bytes }
    }
}

impl Figures for Idle {
    const MAIN: &'static str = "bytes";

    fn main(&self) -> f64 {
        self.bytes_per_connection
    }

    fn others(runs: &[Self]) -> Vec<(&'static str, String)> {
        vec![("server MiB", (median(runs.iter().map(|run| run.rss_bytes)) >> 20).to_string())]
    }
}

/// What one who took part was measured at, run by run.
#[derive(Clone, Debug, Serialize)]
pub struct Entry<F> {
    /// Who, and with what.
    pub name: &'static str,
    /// Every run.
    pub runs: Vec<F>,
}

impl<F> Entry<F> {
    /// One that has not run yet.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, runs: Vec::new() }
    }
}

/// One comparison. The first entry is what the others are compared with.
#[derive(Clone, Debug, Serialize)]
pub struct Row<F> {
    /// What was done.
    pub name: &'static str,
    /// By whom.
    pub entries: Vec<Entry<F>>,
}

impl<F: Figures> Row<F> {
    /// The row as lines of text: a head, then each entry with its main figure (median, least and most) in relation to the
    /// first entry's, and the medians of the others.
    #[must_use]
    pub fn lines(&self) -> String {
        let first = self.entries.first().map_or(1.0, |entry| median(entry.runs.iter().map(F::main)));
        let mut text = format!("{:<44}{:>14}{:>9}{:>9}{:>8}", self.name, F::MAIN, "min", "max", "ratio");
        for (name, _) in F::others(&[]) {
            let _ = write!(text, "{name:>12}");
        }
        for Entry { name, runs } in &self.entries {
            let figures = || runs.iter().map(F::main);
            let middle = median(figures());
            let (least, most) = (figures().fold(f64::INFINITY, f64::min), figures().fold(0.0, f64::max));
            let digits = if middle < 100.0 { 2 } else { 0 };
            let _ = write!(text, "\n  {name:<42}{middle:>14.digits$}{least:>9.digits$}{most:>9.digits$}");
            let _ = write!(text, "{:>8.2}", middle / first);
            for (_, value) in F::others(runs) {
                let _ = write!(text, "{value:>12}");
            }
        }
        text.push('\n');
        text
    }
}

/// The middle one.
pub fn median<T: PartialOrd + Copy + Default>(values: impl Iterator<Item = T>) -> T {
    let mut sorted: Vec<T> = values.collect();
    sorted.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The target folder that cargo uses.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target"), PathBuf::from)
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
    fn given_runs_when_shown_then_each_figure_is_the_median_of_its_own_and_related_to_the_first_entry() {
        let run = |server_cpu_us, per_s| Measured { server_cpu_us, per_s, ..Measured::default() };
        let row = Row {
            name: "echo",
            entries: vec![
                Entry { name: "ours", runs: vec![run(4.0, 1.0), run(2.0, 9.0), run(3.0, 4.0)] },
                Entry { name: "theirs", runs: vec![run(6.0, 5.0)] },
            ],
        };
        let text = row.lines();
        let words =
            |line: usize| text.lines().nth(line).expect("a line").split_whitespace().take(6).collect::<Vec<_>>();
        assert_eq!(words(1), ["ours", "3.00", "2.00", "4.00", "1.00", "4"]);
        assert_eq!(words(2), ["theirs", "6.00", "6.00", "6.00", "2.00", "5"]);
    }
}
