//! Figures and lines as a person reads them.

/// `1048576` as `1,048,576`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things, `1 router core` or `2 router cores`.
#[must_use]
pub fn counted(number: u64, thing: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{} {thing}{end}", grouped(number))
}

/// A number of bytes with two or three significant digits and the fitting unit.
#[must_use]
pub fn bytes(number: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((unit, name)) = UNITS.iter().find(|(unit, _)| number >= *unit) else { return format!("{number} bytes") };
    let tenths = (number / (unit / 10)).min(10 * 1024);
    if tenths < 100 && !tenths.is_multiple_of(10) {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    } else {
        format!("{} {name}", grouped((number + unit / 2) / unit))
    }
}

/// `text` in lines of at most `columns` characters, broken at spaces; a longer word gets a line of its own.
#[must_use]
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_numbers_then_they_are_grouped_and_sized() {
        for (number, expect) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_048_576, "1,048,576")] {
            assert_eq!(grouped(number), expect);
        }
        for (number, expect) in [
            (900, "900 bytes"),
            (64 << 10, "64 KiB"),
            (1_536, "1.5 KiB"),
            (5 << 30, "5 GiB"),
            (5_905_580_032, "5.5 GiB"),
            (24 << 30, "24 GiB"),
            (1_200 << 30, "1.1 TiB"),
        ] {
            assert_eq!(bytes(number), expect);
        }
    }

    #[test]
    fn given_a_text_when_wrapped_then_no_word_is_lost_and_lines_are_as_long_as_they_may_be() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a verylongword b", 5), ["a", "verylongword", "b"]);
        assert_eq!(wrapped("", 5), [""]);
    }
}
