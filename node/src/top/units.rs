//! Numbers as people read them: three digits and a unit.

/// A number or a rate: `0`, `0.4`, `999`, `12.3k`, `4.56M`.
pub(super) fn number(value: f64) -> String {
    scaled(value, 1e3, &["", "k", "M", "G", "T"])
}

/// A count.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn count(value: u64) -> String {
    number(value as f64)
}

/// Bytes: `999 B`, `12.3 KiB`.
pub(super) fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

/// Bytes that are held.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn size(value: u64) -> String {
    bytes(value as f64)
}

/// A duration of microseconds; a dash when there was nothing to measure.
pub(super) fn micros(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| scaled(value, 1e3, &[" µs", " ms", " s"]))
}

/// A share: `7 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // What is rounded to a whole step belongs to the next unit.
    while value >= step - 0.5 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let decimals = match value {
        value if unit == 0 && (value.fract() == 0.0 || value >= 100.0) => 0,
        value if value < 10.0 && unit > 0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_values_then_each_is_shown_with_three_digits_and_its_unit() {
        for (value, expect) in [
            (0.0, "0"),
            (0.25, "0.2"),
            (7.0, "7"),
            (99.96, "100.0"),
            (999.2, "999"),
            (999.7, "1.00k"),
            (12_345.0, "12.3k"),
            (4_560_000.0, "4.56M"),
        ] {
            assert_eq!(number(value), expect, "{value}");
        }
        assert_eq!((size(0), size(1023), size(1536)), ("0 B".to_owned(), "1023 B".to_owned(), "1.50 KiB".to_owned()));
        assert_eq!(
            (micros(None), micros(Some(450.0)), micros(Some(2_340.0))),
            ("–".to_owned(), "450 µs".to_owned(), "2.34 ms".to_owned())
        );
        assert_eq!((percent(0.0), percent(0.876)), ("0 %".to_owned(), "88 %".to_owned()));
    }
}
