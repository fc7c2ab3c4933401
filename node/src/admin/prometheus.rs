//! The figures as Prometheus text (exposition format 0.0.4), as the catalogue says.

use std::collections::HashMap;

use indexmap::IndexMap;
use metrics::{Key, Label};
use metrics_exporter_prometheus::LabelSet;
use metrics_exporter_prometheus::formatting::{write_help_line, write_metric_line, write_type_line};

use super::catalogue::FAMILIES;
use super::family::{Family, Kind, Series, Unit};
use super::sample::Sample;

/// The label that bounds a bucket.
const BOUND: &str = "le";

/// Figures by name.
type Figures<'a> = HashMap<&'a str, Vec<&'a Sample>>;

/// Renders the figures. Threads count for themselves; this only reads, so a scrape costs the message path nothing.
pub(super) fn render(samples: &[Sample]) -> String {
    let mut figures = Figures::new();
    for sample in samples {
        figures.entry(&sample.name).or_default().push(sample);
    }
    let mut text = String::new();
    for family in FAMILIES {
        write_help_line(&mut text, family.name, None, None, family.help);
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        write_type_line(&mut text, family.name, None, None, kind);
        for series in family.series {
            match family.kind {
                Kind::Counter | Kind::Gauge => render_plain(family, series, &figures, &mut text),
                Kind::Histogram => render_histogram(family, series, &figures, &mut text),
            }
        }
    }
    text
}

fn render_plain(family: &Family, series: &Series, figures: &Figures<'_>, text: &mut String) {
    for sample in figures.get(series.of).into_iter().flatten() {
        let value = family.unit.in_base(sample.value);
        write_metric_line::<&str, _>(text, family.name, None, &labels(series, sample), None, value, None);
    }
}

fn render_histogram(family: &Family, series: &Series, figures: &Figures<'_>, text: &mut String) {
    let buckets = format!("{}_bucket", series.of);
    let sums = figures.get(series.of).into_iter().flatten();
    for sum in sums {
        let labels = labels(series, sum);
        let mut count = 0;
        for bucket in figures.get(buckets.as_str()).into_iter().flatten() {
            let (bounds, others): (Vec<_>, Vec<_>) = bucket.labels.iter().partition(|(name, _)| *name == BOUND);
            if !others.iter().copied().eq(&sum.labels) {
                continue;
            }
            let Some((_, bound)) = bounds.first() else { continue };
            // The last bound is no number: it is +Inf.
            let bound = bound.parse().map_or_else(|_| bound.clone(), |bound| family.unit.in_base(bound));
            write_metric_line(text, family.name, Some("bucket"), &labels, Some((BOUND, bound)), bucket.value, None);
            count = bucket.value;
        }
        let value = family.unit.in_base(sum.value);
        write_metric_line::<&str, _>(text, family.name, Some("sum"), &labels, None, value, None);
        write_metric_line::<&str, _>(text, family.name, Some("count"), &labels, None, count, None);
    }
}

fn labels(series: &Series, sample: &Sample) -> LabelSet {
    let own = sample.labels.iter().map(|(name, value)| Label::new(*name, value.clone()));
    let given = series.labels.iter().map(|(name, value)| Label::new(*name, *value));
    let key = Key::from_parts(series.of, own.chain(given).collect::<Vec<_>>());
    LabelSet::from_key_and_global(&key, &IndexMap::new())
}

impl Unit {
    /// A figure in this unit as a number of the base unit.
    fn in_base(self, value: u64) -> String {
        let parts = match self {
            Self::Plain => return value.to_string(),
            Self::Milliseconds => 1e3,
            Self::Microseconds => 1e6,
        };
        #[expect(clippy::cast_precision_loss, reason = "a value of Prometheus is a double")]
        let value = value as f64;
        (value / parts).to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::serve::figures_of_nothing;

    #[test]
    fn given_figures_when_rendered_then_the_text_has_help_type_labels_and_values_in_base_units() {
        let bucket =
            |bound: &str, count| Sample::new("router_commit_us_bucket", count).with("le", bound).with("core", 0);
        let text = render(&[
            Sample::new("gateway_accepted", 7).with("core", 0),
            Sample::new("gateway_accepted", 8).with("core", 1),
            Sample::new("process_started_ms", 1_500),
            bucket("64", 1),
            bucket("+Inf", 3),
            Sample::new("router_commit_us", 2_000_064).with("core", 0),
        ]);
        for line in [
            "# HELP switchyard_gateway_accepts_total Connections accepted, those included that were turned away at once; over QUIC \
             those whose handshake was begun.",
            "# TYPE switchyard_gateway_accepts_total counter",
            "switchyard_gateway_accepts_total{core=\"0\",transport=\"websocket\"} 7",
            "switchyard_gateway_accepts_total{core=\"1\",transport=\"websocket\"} 8",
            "# TYPE process_start_time_seconds gauge",
            "process_start_time_seconds 1.5",
            "# TYPE switchyard_router_commit_duration_seconds histogram",
            "switchyard_router_commit_duration_seconds_bucket{core=\"0\",le=\"0.000064\"} 1",
            "switchyard_router_commit_duration_seconds_bucket{core=\"0\",le=\"+Inf\"} 3",
            "switchyard_router_commit_duration_seconds_sum{core=\"0\"} 2.000064",
            "switchyard_router_commit_duration_seconds_count{core=\"0\"} 3",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
        }
    }

    /// Figures that no metric is made of, since the parts of one add up to them.
    const SUMS: &[&str] = &["gateway_open", "router_batches"];

    #[test]
    fn given_a_server_then_every_figure_is_in_one_metric_and_every_metric_has_its_figures() {
        let samples = figures_of_nothing();
        let mut figures: HashSet<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
        for family in FAMILIES {
            for series in family.series {
                assert!(figures.remove(series.of), "{} has no figure {} of its own", family.name, series.of);
                if family.kind == Kind::Histogram {
                    let buckets = format!("{}_bucket", series.of);
                    assert!(figures.remove(buckets.as_str()), "{} has no buckets", family.name);
                }
            }
        }
        for sum in SUMS {
            assert!(figures.remove(sum), "{sum} is no figure");
        }
        assert!(figures.is_empty(), "no metric shows {figures:?}");
    }
}
