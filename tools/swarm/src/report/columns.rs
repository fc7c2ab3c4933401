//! What is kept of each point of a run's course, by name: the columns of the CSV and of the page's plots.

use super::history::Point;

/// One column.
pub(super) struct Column {
    /// With the unit last.
    pub(super) name: &'static str,
    /// Its value; nothing where nothing was measured.
    pub(super) value: fn(&Point) -> Option<f64>,
}

/// All, in their order.
pub(super) const COLUMNS: &[Column] = &[
    Column { name: "at_s", value: |point| Some(point.sample.at_s) },
    Column { name: "open", value: |point| count(point.sample.open) },
    Column { name: "opening", value: |point| count(point.sample.opening) },
    Column { name: "dropped", value: |point| count(point.sample.dropped) },
    Column { name: "refused", value: |point| count(point.sample.refused) },
    Column { name: "sent", value: |point| count(point.sample.sent) },
    Column { name: "accepted", value: |point| count(point.sample.accepted) },
    Column { name: "delivered", value: |point| count(point.sample.delivered) },
    Column { name: "opened_per_s", value: |point| rated(point, point.opened_per_s) },
    Column { name: "sent_per_s", value: |point| rated(point, point.sent_per_s) },
    Column { name: "accepted_per_s", value: |point| rated(point, point.accepted_per_s) },
    Column { name: "delivered_per_s", value: |point| rated(point, point.delivered_per_s) },
    Column { name: "latency_count", value: |point| count(point.sample.latency.count) },
    Column { name: "p50_us", value: |point| latency(point, point.sample.latency.p50_us) },
    Column { name: "p90_us", value: |point| latency(point, point.sample.latency.p90_us) },
    Column { name: "p99_us", value: |point| latency(point, point.sample.latency.p99_us) },
    Column { name: "p999_us", value: |point| latency(point, point.sample.latency.p999_us) },
    Column { name: "max_us", value: |point| latency(point, point.sample.latency.max_us) },
    Column { name: "server_rss_bytes", value: |point| count(point.sample.server?.rss_bytes) },
    Column { name: "server_cpu_percent", value: |point| rated(point, point.sample.server?.cpu_percent) },
    Column { name: "generator_cpu_percent", value: |point| rated(point, point.sample.generator_cpu_percent) },
];

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn count(count: u64) -> Option<f64> {
    Some(count as f64)
}

/// An interval in which nothing was delivered has no latency.
fn latency(point: &Point, us: u64) -> Option<f64> {
    (point.sample.latency.count > 0).then(|| count(us)).flatten()
}

/// What is measured over an interval, when that was long enough.
fn rated(point: &Point, value: f64) -> Option<f64> {
    point.is_rated.then_some(value)
}
