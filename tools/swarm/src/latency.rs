//! Latencies in an HDR histogram, in microseconds with two significant digits. Between machines it goes in HDR's own V2
//! format, which every reader of such histograms knows.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as HdrDeserializer, Serializer as _, V2Serializer};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::merge::Merge;

/// The longest latency that is told apart from longer ones.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Latencies of one kind.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u32>);

/// What a report says of them, in microseconds.
#[derive(Copy, Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many were recorded.
    pub count: u64,
    /// Half were at most this.
    pub p50_us: u64,
    /// Nine of ten.
    pub p90_us: u64,
    /// 99 of a hundred.
    pub p99_us: u64,
    /// 999 of a thousand.
    pub p999_us: u64,
    /// All.
    pub max_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).expect("the bounds are good"))
    }
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX);
        self.0.saturating_record(micros.max(1));
    }

    /// Moves everything to another one.
    pub fn drain_to(&mut self, other: &mut Self) {
        if !self.0.is_empty() {
            other.add(self);
            self.0.reset();
        }
    }

    /// Adds those of another thread or machine.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// The summary.
    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Percentiles {
            count: self.0.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.0.max(),
        }
    }
}

impl Merge for Latencies {
    fn merge(&mut self, other: Self) {
        self.add(&other);
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.0, &mut bytes).map_err(S::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        let histogram: Histogram<u32> =
            HdrDeserializer::new().deserialize(&mut bytes.as_slice()).map_err(|_| D::Error::custom("no histogram"))?;
        let Self(ours) = Self::default();
        let bounds = |of: &Histogram<u32>| (of.low(), of.high(), of.sigfig());
        // Those with other bounds could not be added to ours.
        if bounds(&histogram) != bounds(&ours) {
            return Err(D::Error::custom("a histogram with other bounds"));
        }
        Ok(Self(histogram))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_latencies_of_two_machines_when_one_sends_its_own_then_together_they_are_as_if_from_one() {
        let (mut here, mut there, mut all) = (Latencies::default(), Latencies::default(), Latencies::default());
        for ms in 1..=1_000 {
            let latency = Duration::from_millis(ms);
            if ms % 3 == 0 { &mut here } else { &mut there }.record(latency);
            all.record(latency);
        }
        let sent = serde_json::to_string(&there).expect("plain data");
        here.add(&serde_json::from_str(&sent).expect("what was sent"));
        assert_eq!(here.percentiles(), all.percentiles());
        let other = Latencies(Histogram::new_with_bounds(1, 1_000, 3).expect("good bounds"));
        let other = serde_json::to_string(&other).expect("plain data");
        for wrong in [other.as_str(), "\"\"", "\"AAAA\"", "7"] {
            assert!(serde_json::from_str::<Latencies>(wrong).is_err(), "{wrong}");
        }
    }
}
