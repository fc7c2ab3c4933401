//! The commands: the arguments of each, and what it makes of them.

pub(crate) mod abuse;
pub(crate) mod chat;
pub(crate) mod connect;
pub(crate) mod crash;
pub(crate) mod echo;
mod many;
pub(crate) mod storm;
pub(crate) mod worker;

use std::time::Duration;

use serde::Serialize;
use switchyard_swarm::SwarmError;
use switchyard_swarm::report::Outcome;

/// Things a second: less often than every quarter of an hour is no load.
const RATE_MIN: f64 = 0.001;
/// No part of a run takes longer than a year; clocks cannot add everything that a number can say.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Says what came of a run; whether it was good.
pub(crate) fn conclude(outcome: Outcome) -> Result<bool, SwarmError> {
    print!("{}", outcome.text);
    outcome.complaint.map_or(Ok(outcome.good), Err)
}

/// The result of a command that shows nothing while it runs.
fn print(report: &impl Serialize) {
    println!("{}", serde_json::to_string_pretty(report).expect("a report is plain data"));
}

/// `10m`, `30s`, `500ms` as humans write a time, or seconds without a unit.
fn time(text: &str) -> Result<Duration, String> {
    let time = match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
        Err(_) => humantime::parse_duration(text).map_err(|error| error.to_string()),
    };
    match time {
        Ok(time) if time > TIME_MAX => Err("it is more than a year".to_owned()),
        Ok(time) => Ok(time),
        Err(why) => Err(format!("{why}; it should look like 30s, 10m or 0.5")),
    }
}

/// `5000` or `5000/s`.
fn rate(text: &str) -> Result<f64, String> {
    let rate = per_second(text)?;
    if rate.is_finite() && rate >= RATE_MIN { Ok(rate) } else { Err(format!("it should be {RATE_MIN} at least")) }
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
        for nonsense in ["0", "-1", "NaN", "inf", "0.0001", "x"] {
            assert!(rate(nonsense).is_err(), "{nonsense}");
        }
        assert_eq!((rate_or_none("0"), rate_or_none("2000/s")), (Ok(0.0), Ok(2_000.0)));
        assert!(rate_or_none("-1").is_err());
    }

    #[test]
    fn given_a_time_when_parsed_then_it_may_have_a_unit_or_none_and_is_one_that_a_clock_can_add() {
        for (text, expect_ms) in
            [("5", 5_000), ("5s", 5_000), ("0.25", 250), ("250ms", 250), ("10m", 600_000), ("0", 0)]
        {
            assert_eq!(time(text), Ok(Duration::from_millis(expect_ms)), "{text}");
        }
        for nonsense in ["-1", "NaN", "inf", "1e300", "1e12", "2y", "5 apples", ""] {
            assert!(time(nonsense).is_err(), "{nonsense}");
        }
    }
}
