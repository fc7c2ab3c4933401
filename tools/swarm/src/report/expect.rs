//! Thresholds that decide whether a run was good: `--expect 'p99<50ms'`, `--expect 'lost==0'`.
//!
//! An expectation names a figure of the command's report. A figure that is a time carries its unit at the end of its
//! name (`p99_us`), and may be named without it (`p99`); then the bound says its own unit. What was not measured holds
//! nothing: a run without a single message does not have a p99 below 50 ms.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::units::{self, Unit};

/// A threshold as it was written.
#[derive(Clone, PartialEq, Debug)]
pub struct Expectation {
    text: String,
    name: String,
    operator: Operator,
    bound: f64,
    unit: Option<TimeUnit>,
}

/// How a figure must stand to the bound.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Operator {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
}

/// The unit of a bound.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum TimeUnit {
    Microseconds,
    Milliseconds,
    Seconds,
}

/// Why an expectation cannot be judged.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExpectError {
    /// It has no operator, no name or no number.
    #[error("`{0}` is not an expectation; it should look like p99<50ms, lost==0 or messages_per_s>=2000")]
    Form(String),
    /// The bound is no number with a unit that exists.
    #[error("`{bound}` in `{text}` is not a number; it may end in us, ms or s")]
    Bound {
        /// The whole expectation.
        text: String,
        /// The part after the operator.
        bound: String,
    },
    /// There is no such figure.
    #[error("`{text}` names no figure of this command; its figures are {known}")]
    UnknownFigure {
        /// The whole expectation.
        text: String,
        /// All figures, for people.
        known: String,
    },
    /// A bound without a unit.
    #[error("`{text}` compares a time with a plain number; say {bound}us, {bound}ms or {bound}s")]
    UnitMissing {
        /// The whole expectation.
        text: String,
        /// The part after the operator.
        bound: String,
    },
    /// A unit where the figure is not a time.
    #[error("`{text}` compares with a time, but {figure} is not one; leave the unit out")]
    NotATime {
        /// The whole expectation.
        text: String,
        /// The figure.
        figure: String,
    },
}

/// An expectation whose figure exists, with the bound in the figure's own unit.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Threshold {
    text: String,
    figure: String,
    operator: Operator,
    bound: f64,
}

/// What came of an expectation.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Judged {
    /// As it was written.
    pub expect: String,
    /// The figure it names.
    pub figure: String,
    /// What the figure was; nothing when it was not measured.
    pub measured: Option<f64>,
    /// Whether it holds.
    pub held: bool,
}

impl FromStr for Expectation {
    type Err = ExpectError;

    fn from_str(text: &str) -> Result<Self, ExpectError> {
        let form = || ExpectError::Form(text.to_owned());
        let at = text.find(['<', '=', '>']).ok_or_else(form)?;
        let (name, rest) = text.split_at(at);
        // The longer operators first: `<` begins `<=` too.
        let (operator, bound) = Operator::ALL
            .iter()
            .find_map(|&operator| Some((operator, rest.strip_prefix(operator.symbol())?)))
            .ok_or_else(form)?;
        let (name, bound) = (name.trim(), bound.trim());
        if name.is_empty() || bound.is_empty() {
            return Err(form());
        }
        let (number, unit) = TimeUnit::split(bound);
        let value = number.parse().ok().filter(|value: &f64| value.is_finite());
        let bound = value.ok_or_else(|| ExpectError::Bound { text: text.to_owned(), bound: bound.to_owned() })?;
        Ok(Self { text: text.to_owned(), name: name.to_owned(), operator, bound, unit })
    }
}

impl Expectation {
    /// Finds the figure that is meant, so that a slip of the pen shows before the run and not after it.
    pub(super) fn resolve(&self, known: &[&str]) -> Result<Threshold, ExpectError> {
        let text = || self.text.clone();
        let figure = known
            .iter()
            .find(|figure| **figure == self.name)
            .or_else(|| known.iter().find(|figure| short_name(figure) == self.name))
            .ok_or_else(|| ExpectError::UnknownFigure { text: text(), known: list(known) })?;
        let bound = match (Unit::of(figure), self.unit) {
            (Unit::Time { figure_us }, Some(unit)) => self.bound * unit.micros() / f64::from(figure_us),
            // A name with its unit says what a plain number means.
            (Unit::Time { .. }, None) if *figure != self.name => {
                return Err(ExpectError::UnitMissing { text: text(), bound: self.bound.to_string() });
            }
            (_, None) => self.bound,
            (_, Some(_)) => return Err(ExpectError::NotATime { text: text(), figure: (*figure).to_owned() }),
        };
        Ok(Threshold { text: text(), figure: (*figure).to_owned(), operator: self.operator, bound })
    }
}

impl Threshold {
    /// Compares with what was measured.
    pub(super) fn judge(&self, figures: &[(&'static str, f64)]) -> Judged {
        let measured = figures.iter().find(|(name, _)| *name == self.figure).map(|(_, value)| *value);
        Judged {
            expect: self.text.clone(),
            figure: self.figure.clone(),
            measured,
            held: measured.is_some_and(|value| self.operator.holds(value, self.bound)),
        }
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.held { "held  " } else { "MISSED" };
        let measured = self.measured.map_or_else(
            || "was not measured".to_owned(),
            |value| format!("is {}", units::figure(&self.figure, value)),
        );
        write!(f, "{verdict}  {}: {} {measured}", self.expect, self.figure)
    }
}

impl Operator {
    const ALL: [Self; 5] = [Self::LessOrEqual, Self::GreaterOrEqual, Self::Equal, Self::Less, Self::Greater];

    const fn symbol(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Equal => "==",
            Self::GreaterOrEqual => ">=",
            Self::Greater => ">",
        }
    }

    #[expect(clippy::float_cmp, reason = "`==` is for counts, which are exact")]
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Less => value < bound,
            Self::LessOrEqual => value <= bound,
            Self::Equal => value == bound,
            Self::GreaterOrEqual => value >= bound,
            Self::Greater => value > bound,
        }
    }
}

impl TimeUnit {
    /// Number and unit of a bound.
    fn split(bound: &str) -> (&str, Option<Self>) {
        // `s` last: the others end in it.
        [("us", Self::Microseconds), ("µs", Self::Microseconds), ("ms", Self::Milliseconds), ("s", Self::Seconds)]
            .into_iter()
            .find_map(|(ending, unit)| Some((bound.strip_suffix(ending)?.trim_end(), Some(unit))))
            .unwrap_or((bound, None))
    }

    const fn micros(self) -> f64 {
        match self {
            Self::Microseconds => 1.0,
            Self::Milliseconds => 1e3,
            Self::Seconds => 1e6,
        }
    }
}

/// The name of a time without its unit.
fn short_name(figure: &str) -> &str {
    match Unit::of(figure) {
        Unit::Time { .. } => figure.rsplit_once('_').map_or(figure, |(name, _)| name),
        _ => figure,
    }
}

/// All figures for people, times by the name that takes a bound with a unit.
fn list(known: &[&str]) -> String {
    known.iter().map(|figure| short_name(figure)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] =
        &["lost", "messages_per_s", "p99_us", "p999_us", "seconds", "reconnected_s", "server_cpu_percent"];

    fn threshold(text: &str) -> Result<Threshold, String> {
        let expectation: Expectation = text.parse().map_err(|error: ExpectError| error.to_string())?;
        expectation.resolve(KNOWN).map_err(|error| error.to_string())
    }

    #[test]
    fn given_expectations_when_read_then_figure_operator_and_bound_are_understood() {
        use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        for (text, figure, operator, bound) in [
            ("p99<50ms", "p99_us", Less, 50_000.0),
            ("p99 <= 50 ms", "p99_us", LessOrEqual, 50_000.0),
            ("p999<1.5s", "p999_us", Less, 1_500_000.0),
            ("p99<800us", "p99_us", Less, 800.0),
            ("p99<800µs", "p99_us", Less, 800.0),
            ("p99_us<800", "p99_us", Less, 800.0),
            ("p99_us<1ms", "p99_us", Less, 1000.0),
            ("lost==0", "lost", Equal, 0.0),
            ("messages_per_s>=2000", "messages_per_s", GreaterOrEqual, 2000.0),
            ("messages_per_s>2e3", "messages_per_s", Greater, 2000.0),
            ("reconnected<60s", "reconnected_s", Less, 60.0),
            ("reconnected<500ms", "reconnected_s", Less, 0.5),
            ("seconds<60", "seconds", Less, 60.0),
            ("server_cpu_percent<95", "server_cpu_percent", Less, 95.0),
        ] {
            let expect = Threshold { text: text.to_owned(), figure: figure.to_owned(), operator, bound };
            assert_eq!(threshold(text), Ok(expect), "{text}");
        }
    }

    #[test]
    fn given_what_is_not_an_expectation_when_read_then_the_error_says_what_to_write() {
        for (text, says) in [
            ("", "should look like p99<50ms"),
            ("p99", "should look like"),
            ("<50ms", "should look like"),
            ("p99<", "should look like"),
            ("lost=0", "should look like"),
            ("lost=<0", "should look like"),
            ("p99<fast", "`fast` in `p99<fast` is not a number; it may end in us, ms or s"),
            ("p99<50min", "`50min` in `p99<50min` is not a number"),
            ("p99<ms", "`ms` in `p99<ms` is not a number"),
            ("lost<=inf", "is not a number"),
            ("lost<>0", "`>0` in `lost<>0` is not a number"),
            ("p99<50", "compares a time with a plain number; say 50us, 50ms or 50s"),
            ("lost<1ms", "lost is not one; leave the unit out"),
            ("messages_per_s>2s", "messages_per_s is not one"),
            (
                "p98<50ms",
                "`p98<50ms` names no figure of this command; its figures are lost, messages_per_s, p99, p999, seconds, reconnected, \
                 server_cpu_percent",
            ),
        ] {
            let error = threshold(text).expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn given_figures_when_judged_then_each_operator_holds_where_it_should_and_nothing_holds_unmeasured() {
        let figures = [("lost", 2.0), ("p99_us", 12_340.0)];
        for (text, held, says) in [
            ("lost<2", false, "MISSED  lost<2: lost is 2"),
            ("lost<=2", true, "held    lost<=2: lost is 2"),
            ("lost==2", true, "held    lost==2: lost is 2"),
            ("lost>=3", false, "MISSED  lost>=3: lost is 2"),
            ("lost>1", true, "held    lost>1: lost is 2"),
            ("p99<50ms", true, "held    p99<50ms: p99_us is 12.3 ms"),
            ("messages_per_s>=0", false, "MISSED  messages_per_s>=0: messages_per_s was not measured"),
        ] {
            let judged = threshold(text).expect("an expectation").judge(&figures);
            assert_eq!((judged.held, judged.to_string().as_str()), (held, says));
        }
    }
}
