//! The course of a run as plain lines, for logs and pipes.

use std::io::{self, Write};

use super::history::Point;
use super::units;
use crate::sample::Sample;

/// A line a second for so long.
const EACH_SECOND_S: f64 = 10.0;
/// Then one every so many seconds, and whenever something is dropped or refused.
const THEN_EVERY_S: f64 = 10.0;

/// Decides which samples are worth a line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    told: Option<Sample>,
}

impl Lines {
    /// Writes the line of a point, when it is worth one.
    pub(super) fn write(&mut self, point: &Point, out: &mut impl Write) -> io::Result<()> {
        if !self.is_worth_a_line(&point.sample) {
            return Ok(());
        }
        self.told = Some(point.sample);
        let line = line(point) + "\n";
        out.write_all(line.as_bytes())
    }

    fn is_worth_a_line(&self, sample: &Sample) -> bool {
        let Some(told) = &self.told else { return true };
        sample.at_s <= EACH_SECOND_S + 0.5
            // Samples come a little early or late.
            || sample.at_s - told.at_s > THEN_EVERY_S - 0.5
            || sample.dropped > told.dropped
            || sample.refused > told.refused
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn line(point: &Point) -> String {
    let sample = &point.sample;
    let count = |count: u64| units::number(count as f64);
    let mut parts = vec![format!("{:>5.0} s", sample.at_s), format!("open {}", count(sample.open))];
    if sample.opening > 0 {
        parts.push(format!("opening {}", count(sample.opening)));
    }
    if sample.dropped > 0 {
        parts.push(format!("dropped {}", count(sample.dropped)));
    }
    if sample.refused > 0 {
        parts.push(format!("refused {}", count(sample.refused)));
    }
    let rates = [
        ("sent", sample.sent, point.sent_per_s),
        ("accepted", sample.accepted, point.accepted_per_s),
        ("delivered", sample.delivered, point.delivered_per_s),
    ];
    for (name, _, per_s) in rates.into_iter().filter(|(_, all, _)| *all > 0 && point.is_rated) {
        parts.push(format!("{name} {}/s", units::number(per_s.round())));
    }
    if sample.latency.count > 0 {
        let (p50, p99) = (sample.latency.p50_us as f64, sample.latency.p99_us as f64);
        parts.push(format!("p50 {}  p99 {}", units::micros(p50), units::micros(p99)));
    }
    let cpu = |percent: f64| if point.is_rated { format!(" {percent:.0} % CPU") } else { String::new() };
    if let Some(server) = &sample.server {
        parts.push(format!("server {}{}", units::bytes(server.rss_bytes as f64), cpu(server.cpu_percent)));
    }
    if point.is_rated {
        parts.push(format!("swarm{}", cpu(sample.generator_cpu_percent)));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Percentiles;
    use crate::sample::ServerSample;

    #[test]
    fn given_a_sample_when_written_then_the_line_says_what_there_is_and_nothing_else() {
        let idle = Sample { at_s: 1.0, open: 900, opening: 100, generator_cpu_percent: 31.0, ..Sample::default() };
        assert_eq!(
            line(&Point { sample: idle, is_rated: true, ..Point::default() }),
            "    1 s  open 900  opening 100  swarm 31 % CPU"
        );
        let busy = Sample {
            at_s: 125.0,
            open: 1_000_000,
            dropped: 3,
            refused: 1,
            sent: 250_000,
            delivered: 249_000,
            latency: Percentiles { count: 1980, p50_us: 850, p99_us: 8_100, ..Percentiles::default() },
            server: Some(ServerSample { rss_bytes: 1 << 30, cpu_percent: 47.6 }),
            generator_cpu_percent: 12.4,
            ..Sample::default()
        };
        assert_eq!(
            line(&Point { sample: busy, ..Point::default() }),
            "  125 s  open 1,000,000  dropped 3  refused 1  p50 850 µs  p99 8.10 ms  server 1 GiB",
            "right after the sample before"
        );
        assert_eq!(
            line(&Point {
                sample: busy,
                sent_per_s: 2000.4,
                delivered_per_s: 1979.0,
                is_rated: true,
                ..Point::default()
            }),
            "  125 s  open 1,000,000  dropped 3  refused 1  sent 2,000/s  delivered 1,979/s  p50 850 µs  p99 8.10 ms  \
             server 1 GiB 48 % CPU  swarm 12 % CPU"
        );
    }

    #[test]
    fn given_a_long_run_when_written_then_lines_get_rare_but_a_loss_gets_its_own() {
        let (mut lines, mut out) = (Lines::default(), Vec::new());
        for second in 1..=60 {
            let sample = Sample { at_s: f64::from(second), dropped: u64::from(second >= 43), ..Sample::default() };
            lines.write(&Point { sample, ..Point::default() }, &mut out).expect("written");
        }
        let text = String::from_utf8(out).expect("text");
        let seconds: Vec<&str> = text.lines().map(|line| line[..5].trim()).collect();
        assert_eq!(seconds, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "20", "30", "40", "43", "53"]);
    }
}
