//! The value of a setting: one number or a few, as the files below `/proc/sys` have them.

use std::fmt;

use crate::setting::Rule;

/// One or more numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Value(Vec<u64>);

impl Value {
    /// A value of these numbers.
    #[must_use]
    pub fn new(numbers: Vec<u64>) -> Self {
        Self(numbers)
    }

    /// Reads numbers with white space between them. `None` when there is anything else, or nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let numbers = text.split_ascii_whitespace().map(|word| word.parse().ok()).collect::<Option<Vec<u64>>>()?;
        (!numbers.is_empty()).then_some(Self(numbers))
    }

    /// Its numbers.
    #[must_use]
    pub fn numbers(&self) -> &[u64] {
        &self.0
    }

    /// Whether this value is as `rule` and `wanted` ask.
    #[must_use]
    pub fn holds(&self, rule: Rule, wanted: &Self) -> bool {
        self.moved_to(rule, wanted) == *self
    }

    /// This value, changed as little as `rule` and `wanted` need. What is better already stays: "at least" never lowers a
    /// number, "at most" never raises one, and a range only grows.
    #[must_use]
    pub fn moved_to(&self, rule: Rule, wanted: &Self) -> Self {
        if self.0.len() != wanted.0.len() {
            return wanted.clone();
        }
        let pairs = || self.0.iter().copied().zip(wanted.0.iter().copied());
        match rule {
            Rule::Exactly => wanted.clone(),
            Rule::AtLeast => Self(pairs().map(|(is, wanted)| is.max(wanted)).collect()),
            Rule::AtMost => Self(pairs().map(|(is, wanted)| is.min(wanted)).collect()),
            Rule::Covers => {
                let grown = |(index, (is, wanted)): (usize, (u64, u64))| {
                    if index == 0 { is.min(wanted) } else { is.max(wanted) }
                };
                Self(pairs().enumerate().map(grown).collect())
            }
        }
    }
}

/// As `sysctl(8)` prints it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        Value::parse(text).expect("numbers")
    }

    #[track_caller]
    fn check(is: &str, rule: Rule, wanted: &str, expect: &str) {
        let moved = value(is).moved_to(rule, &value(wanted));
        assert_eq!(moved, value(expect));
        assert!(moved.holds(rule, &value(wanted)), "what it is moved to holds");
        assert_eq!(value(is).holds(rule, &value(wanted)), value(is) == value(expect));
    }

    #[test]
    fn given_a_value_when_moved_then_it_changes_only_as_far_as_the_rule_needs() {
        check("128", Rule::AtLeast, "4096", "4096");
        check("8192", Rule::AtLeast, "4096", "8192");
        check("100 900 300", Rule::AtLeast, "200 400 800", "200 900 800");
        check("4096 131072 6291456", Rule::AtMost, "4096 131072 262144", "4096 131072 262144");
        check("4096 87380 262144", Rule::AtMost, "4096 131072 262144", "4096 87380 262144");
        check("32768 60999", Rule::Covers, "10000 65535", "10000 65535");
        check("1024 60999", Rule::Covers, "10000 65535", "1024 65535");
        check("2", Rule::Exactly, "0", "0");
    }

    #[test]
    fn given_text_when_parsed_then_only_numbers_are_a_value() {
        assert_eq!(Value::parse("32768\t60999\n"), Some(Value::new(vec![32_768, 60_999])));
        for text in ["", "\n", "-1", "bbr", "1 two"] {
            assert_eq!(Value::parse(text), None, "{text:?}");
        }
    }
}
