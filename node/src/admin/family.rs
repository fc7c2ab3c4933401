//! What a Prometheus metric is made of.

/// A metric.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The unit of its figures. The metric itself is in base units.
    pub(super) unit: Unit,
    pub(super) help: &'static str,
    pub(super) series: &'static [Series],
}

/// How a metric behaves.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Made of the figure `<of>`, the sum, and the figures `<of>_bucket`, cumulative by their label `le`.
    Histogram,
}

/// What a figure is counted in.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// The base unit.
    Plain,
    Milliseconds,
    Microseconds,
}

/// The figures of one name, which keep their labels and get these.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) of: &'static str,
    pub(super) labels: &'static [Label],
}

pub(super) type Label = (&'static str, &'static str);

/// A metric of the list.
pub(super) const fn metric(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    help: &'static str,
    series: &'static [Series],
) -> Family {
    Family { name, kind, unit, help, series }
}

/// The figure of this name.
pub(super) const fn of(of: &'static str) -> Series {
    Series { of, labels: &[] }
}

/// The same, with labels that it gets.
pub(super) const fn labelled(of: &'static str, labels: &'static [Label]) -> Series {
    Series { of, labels }
}
