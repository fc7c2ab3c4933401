//! Numbers as people read them. What a figure is measured in stands at the end of its name.

/// What a figure is measured in.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// A time; so many microseconds are one of the figure's own.
    Time {
        figure_us: u32,
    },
    Bytes,
    Percent,
    /// A count, a rate, or anything else that is read as it stands.
    Plain,
}

impl Unit {
    /// Of a figure.
    pub(super) fn of(figure: &str) -> Self {
        let ends = |suffix: &str| figure.ends_with(suffix);
        if ends("_us") {
            Self::Time { figure_us: 1 }
        } else if ends("_ms") {
            Self::Time { figure_us: 1_000 }
        } else if (ends("_s") && !ends("_per_s")) || figure == "seconds" {
            Self::Time { figure_us: 1_000_000 }
        } else if ends("_bytes") {
            Self::Bytes
        } else if ends("_percent") {
            Self::Percent
        } else {
            Self::Plain
        }
    }
}

/// The value of a figure with its unit: `12.3 ms`, `1.20 GiB`, `1,812`.
pub(super) fn figure(name: &str, value: f64) -> String {
    match Unit::of(name) {
        Unit::Time { figure_us } => micros(value * f64::from(figure_us)),
        Unit::Bytes => bytes(value),
        Unit::Percent => percent(value),
        Unit::Plain => number(value),
    }
}

/// A time given in microseconds.
pub(super) fn micros(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{} µs", significant(us)),
        us if us < 1e6 => format!("{} ms", significant(us / 1e3)),
        us => format!("{} s", significant(us / 1e6)),
    }
}

/// An amount of memory.
pub(super) fn bytes(bytes: f64) -> String {
    const STEPS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut amount, mut step) = (bytes, 0);
    while amount.abs() >= 1024.0 && step + 1 < STEPS.len() {
        amount /= 1024.0;
        step += 1;
    }
    format!("{} {}", significant(amount), STEPS[step])
}

/// A share of one processor.
pub(super) fn percent(percent: f64) -> String {
    format!("{} %", significant(percent))
}

/// A plain number: whole above a thousand, with its thousands set apart.
pub(super) fn number(value: f64) -> String {
    if value.abs() < 1e3 {
        return significant(value);
    }
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A whole number as it is, any other with three significant digits.
fn significant(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        small if small >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_figures_when_shown_then_the_end_of_the_name_says_the_unit() {
        for (name, value, expect) in [
            ("p99_us", 850.0, "850 µs"),
            ("p99_us", 12_340.0, "12.3 ms"),
            ("p999_us", 2_500_000.0, "2.50 s"),
            ("seconds", 4.0, "4 s"),
            ("reconnected_s", 59.96, "60.0 s"),
            ("heartbeat_ms", 30_000.0, "30 s"),
            ("server_rss_bytes", 1_288_490_188.0, "1.20 GiB"),
            ("server_rss_bytes", 1000.0, "1000 B"),
            ("cpu_percent", 99.51, "99.5 %"),
            ("messages_per_s", 1812.4, "1,812"),
            ("messages", 1_234_567.0, "1,234,567"),
            ("growth", -1_234_567.0, "-1,234,567"),
            ("server_cpu_us_per_message", 8.456, "8.46"),
            ("lost", 0.0, "0"),
        ] {
            assert_eq!(figure(name, value), expect, "{name} = {value}");
        }
    }
}
