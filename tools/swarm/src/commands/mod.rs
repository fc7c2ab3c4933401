//! The commands: the arguments of each, and what it makes of them.

pub(crate) mod abuse;
pub(crate) mod chat;
pub(crate) mod connect;
pub(crate) mod crash;
pub(crate) mod echo;
mod machines;
mod many;
mod over;
pub(crate) mod relay;
pub(crate) mod storm;
pub(crate) mod worker;

use serde::Serialize;
use switchyard_swarm::SwarmError;
use switchyard_swarm::report::Outcome;

/// Things a second: less often than every quarter of an hour is no load.
const RATE_MIN: f64 = 0.001;
/// More than one machine sends: a thread would be kept by counting what has come due.
const RATE_MAX: f64 = 10_000_000.0;

/// Says what came of a run; whether it was good.
pub(crate) fn conclude(outcome: Outcome) -> Result<bool, SwarmError> {
    print!("{}", outcome.text);
    outcome.complaint.map_or(Ok(outcome.good), Err)
}

/// The result of a command that shows nothing while it runs.
fn print(report: &impl Serialize) {
    println!("{}", serde_json::to_string_pretty(report).expect("a report is plain data"));
}

/// `5000` or `5000/s`.
fn rate(text: &str) -> Result<f64, String> {
    let rate = per_second(text)?;
    if (RATE_MIN..=RATE_MAX).contains(&rate) {
        Ok(rate)
    } else {
        Err(format!("it should be between {RATE_MIN} and {RATE_MAX}"))
    }
}

/// The same, or 0 for none.
fn rate_or_none(text: &str) -> Result<f64, String> {
    if per_second(text)? == 0.0 { Ok(0.0) } else { rate(text).map_err(|why| why + ", or 0 for none") }
}

fn per_second(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number.parse().map_err(|error| format!("{error}; it should look like 5000 or 5000/s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_rate_when_parsed_then_none_at_all_is_refused_where_it_means_nothing() {
        assert_eq!((rate("5000"), rate("0.5/s")), (Ok(5_000.0), Ok(0.5)));
        for nonsense in ["0", "-1", "NaN", "inf", "0.0001", "1e9", "x"] {
            assert!(rate(nonsense).is_err(), "{nonsense}");
        }
        assert_eq!((rate_or_none("0"), rate_or_none("2000/s")), (Ok(0.0), Ok(2_000.0)));
        assert!(rate_or_none("-1").is_err());
    }
}
