//! The course of a run so far, in bounded memory: samples as they come, and neighbours merged once there are too many.

use crate::latency::Percentiles;
use crate::limits::SAMPLES_KEPT_MAX;
use crate::sample::{Sample, ServerSample};

/// What is counted per second over a shorter interval says little, and processor time (in steps of 10 ms) less. The last
/// sample of a run may follow the one before that closely.
const INTERVAL_MIN_S: f64 = 0.25;

/// What was sampled.
#[derive(Clone, Debug)]
pub(super) struct History {
    samples: Vec<Sample>,
    /// How many samples an entry stands for once it is full.
    merged: usize,
    /// How many the last entry stands for.
    in_last: usize,
}

/// A sample and what happened per second since the one before.
#[derive(Copy, Clone, PartialEq, Debug, Default)]
pub(super) struct Point {
    pub(super) sample: Sample,
    /// Connections that came to be open. One that the swarm itself closed in the same interval counts against it.
    pub(super) opened_per_s: f64,
    pub(super) sent_per_s: f64,
    pub(super) accepted_per_s: f64,
    pub(super) delivered_per_s: f64,
    /// Whether the interval was long enough for what is measured over it.
    pub(super) is_rated: bool,
}

impl Default for History {
    fn default() -> Self {
        Self { samples: Vec::new(), merged: 1, in_last: 0 }
    }
}

impl History {
    /// Takes one more; gives it as a point.
    pub(super) fn push(&mut self, sample: Sample) -> Point {
        let before = self.samples.last().copied().unwrap_or_default();
        let point = Point::between(&before, sample);
        if self.in_last < self.merged
            && let Some(last) = self.samples.last_mut()
        {
            *last = merge(last, &sample);
            self.in_last += 1;
            return point;
        }
        if self.samples.len() == SAMPLES_KEPT_MAX {
            self.samples = self.samples.chunks(2).map(|pair| merge(&pair[0], &pair[pair.len() - 1])).collect();
            self.merged *= 2;
        }
        self.samples.push(sample);
        self.in_last = 1;
        point
    }

    /// The newest sample.
    pub(super) fn last(&self) -> Option<&Sample> {
        self.samples.last()
    }

    /// All of it, oldest first.
    pub(super) fn points(&self) -> impl Iterator<Item = Point> + '_ {
        let before = std::iter::once(Sample::default()).chain(self.samples.iter().copied());
        before.zip(&self.samples).map(|(before, sample)| Point::between(&before, *sample))
    }
}

impl Point {
    fn between(before: &Sample, sample: Sample) -> Self {
        let seconds = (sample.at_s - before.at_s).max(f64::MIN_POSITIVE);
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let per_s = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        Self {
            sample,
            opened_per_s: per_s(before.open + before.dropped, sample.open + sample.dropped),
            sent_per_s: per_s(before.sent, sample.sent),
            accepted_per_s: per_s(before.accepted, sample.accepted),
            delivered_per_s: per_s(before.delivered, sample.delivered),
            is_rated: seconds >= INTERVAL_MIN_S,
        }
    }
}

/// Two neighbours as one: counters are those of the later; of what is measured the worse, so that peaks stay visible.
fn merge(earlier: &Sample, later: &Sample) -> Sample {
    let (a, b) = (&earlier.latency, &later.latency);
    let latency = Percentiles {
        count: a.count + b.count,
        p50_us: a.p50_us.max(b.p50_us),
        p90_us: a.p90_us.max(b.p90_us),
        p99_us: a.p99_us.max(b.p99_us),
        p999_us: a.p999_us.max(b.p999_us),
        max_us: a.max_us.max(b.max_us),
    };
    let is_rated = later.at_s - earlier.at_s >= INTERVAL_MIN_S;
    let worse = |earlier: f64, later: f64| if is_rated { earlier.max(later) } else { earlier };
    let server = match (earlier.server, later.server) {
        (Some(a), Some(b)) => Some(ServerSample {
            rss_bytes: a.rss_bytes.max(b.rss_bytes),
            cpu_percent: worse(a.cpu_percent, b.cpu_percent),
        }),
        (a, b) => a.or(b),
    };
    let generator_cpu_percent = worse(earlier.generator_cpu_percent, later.generator_cpu_percent);
    Sample { latency, server, generator_cpu_percent, ..*later }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample each second, 10 messages in each, of which the one of second `peak` was slow.
    fn history(seconds: u32, peak: u32) -> History {
        let mut history = History::default();
        for second in 1..=seconds {
            let max_us = if second == peak { 9_000 } else { 100 };
            history.push(Sample {
                at_s: f64::from(second),
                sent: u64::from(second) * 10,
                latency: Percentiles { count: 10, max_us, ..Percentiles::default() },
                ..Sample::default()
            });
        }
        history
    }

    #[test]
    fn given_more_samples_than_are_kept_when_pushed_then_steps_grow_and_rates_counts_and_peaks_stay() {
        let kept = u32::try_from(SAMPLES_KEPT_MAX).expect("it is small");
        for seconds in [1, kept, kept + 1, 2 * kept, 5 * kept + 3] {
            let history = history(seconds, seconds / 2 + 1);
            let points: Vec<Point> = history.points().collect();
            assert!(points.len() <= SAMPLES_KEPT_MAX, "{seconds}: {} points", points.len());
            assert!(points.iter().all(|point| (point.sent_per_s - 10.0).abs() < 1e-9), "{seconds}: a rate changed");
            let count: u64 = points.iter().map(|point| point.sample.latency.count).sum();
            assert_eq!(count, u64::from(seconds) * 10, "{seconds}: messages");
            let peaks = points.iter().filter(|point| point.sample.latency.max_us == 9_000).count();
            assert_eq!(peaks, 1, "{seconds}: the peak");
            let end = points.last().expect("a point").sample;
            assert_eq!((end.at_s, end.sent), (f64::from(seconds), u64::from(seconds) * 10));
        }
    }

    #[test]
    fn given_connections_that_are_dropped_and_opened_when_pushed_then_only_the_opened_count() {
        let mut history = History::default();
        let mut opened_per_s =
            |at_s, open, dropped| history.push(Sample { at_s, open, dropped, ..Sample::default() }).opened_per_s;
        assert_eq!(opened_per_s(1.0, 100, 0), 100.0);
        assert_eq!(opened_per_s(3.0, 140, 20), 30.0);
        assert_eq!(opened_per_s(4.0, 40, 20), 0.0, "closed by the swarm itself");
    }
}
