//! How often values of which size came: fixed buckets of plain counters, one writer, nothing allocated when one is counted.

use crate::counters::Counter;

/// Counts values up to each bound, and all above the last.
#[derive(Debug)]
pub(crate) struct Histogram<const BUCKETS: usize> {
    bounds: &'static [u64; BUCKETS],
    buckets: [Counter; BUCKETS],
    above: Counter,
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    /// An empty one. `bounds` ascend.
    pub(crate) fn new(bounds: &'static [u64; BUCKETS]) -> Self {
        assert!(bounds.is_sorted(), "a bucket's bound is above that of the one before");
        Self { bounds, buckets: std::array::from_fn(|_| Counter::default()), above: Counter::default() }
    }

    /// Counts a value. Only the owner calls it.
    pub(crate) fn count(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.buckets.get(bucket).unwrap_or(&self.above).add(1);
    }

    /// How many values came up to each bound; up to `None` come all.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let counts = self.buckets.iter().chain([&self.above]).scan(0, |sum, bucket| {
            *sum += bucket.get();
            Some(*sum)
        });
        bounds.zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_values_at_and_between_bounds_when_counted_then_each_lies_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(&[1, 10, 100]);
        for value in [0, 1, 2, 10, 11, 100, 101, u64::MAX] {
            histogram.count(value);
        }
        let counted: Vec<_> = histogram.cumulative().collect();
        assert_eq!(counted, [(Some(1), 2), (Some(10), 4), (Some(100), 6), (None, 8)]);
    }
}
