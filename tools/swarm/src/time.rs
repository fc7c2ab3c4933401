//! Times as people write them, on command lines and in the settings of the benches.

use std::time::Duration;

use crate::limits::TIME_MAX;

/// `10m`, `30s`, `500ms`, or seconds without a unit.
///
/// # Errors
/// When it is no time, or one that is longer than any run; says what it should look like.
pub fn parse(text: &str) -> Result<Duration, String> {
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

/// The same where no time at all would measure nothing.
///
/// # Errors
/// As [`parse`], and when it is 0.
pub fn parse_some(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("in no time nothing is measured".to_owned()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_time_when_parsed_then_it_may_have_a_unit_or_none_and_is_one_that_a_clock_can_add() {
        for (text, expect_ms) in
            [("5", 5_000), ("5s", 5_000), ("0.25", 250), ("250ms", 250), ("10m", 600_000), ("0", 0)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(expect_ms)), "{text}");
        }
        for nonsense in ["-1", "NaN", "inf", "1e300", "1e12", "2y", "5 apples", ""] {
            assert!(parse(nonsense).is_err(), "{nonsense}");
        }
        assert_eq!(parse_some("1ms"), Ok(Duration::from_millis(1)));
        assert!(parse_some("0s").is_err());
    }
}
