//! The figures as Prometheus text (exposition format 0.0.4).

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::sample::{Kind, Sample};

/// Renders the figures. Threads count for themselves; this only reads, so a scrape costs the message path nothing.
pub(super) fn render(samples: &[Sample]) -> String {
    static METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);
    let recorder = PrometheusBuilder::new().build_recorder();
    for sample in samples {
        let labels: Vec<Label> = sample.labels.iter().map(|(name, value)| Label::new(*name, value.clone())).collect();
        let name = match sample.kind {
            Kind::Counter => format!("switchyard_{}_total", sample.name),
            Kind::Gauge => format!("switchyard_{}", sample.name),
        };
        let key = Key::from_parts(KeyName::from(name), labels);
        match sample.kind {
            Kind::Counter => recorder.register_counter(&key, &METADATA).absolute(sample.value),
            #[expect(clippy::cast_precision_loss, reason = "a gauge of Prometheus is a double")]
            Kind::Gauge => recorder.register_gauge(&key, &METADATA).set(sample.value as f64),
        }
    }
    recorder.handle().render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_counter_and_a_gauge_when_rendered_then_the_text_names_type_labels_and_value() {
        let text = render(&[
            Sample::new("gateway_accepted", Kind::Counter, ("core", 0), 7),
            Sample::new("gateway_accepted", Kind::Counter, ("core", 1), 8),
            Sample::new("gateway_open", Kind::Gauge, ("core", 0), 3),
        ]);
        for line in [
            "# TYPE switchyard_gateway_accepted_total counter",
            "switchyard_gateway_accepted_total{core=\"0\"} 7",
            "switchyard_gateway_accepted_total{core=\"1\"} 8",
            "# TYPE switchyard_gateway_open gauge",
            "switchyard_gateway_open{core=\"0\"} 3",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
