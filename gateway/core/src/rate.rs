//! Rate limits: how much a client may ask for, per connection and per user.
//!
//! A limit is a token bucket: so many per second with [`RATE_BURST_MS`]' worth at once, or so many per hour. It is kept as the time at which
//! the bucket is full again (the "virtual scheduling" form of the generic cell rate algorithm, ITU-T I.371), so a bucket
//! is one number, needs no timer, and one that is full holds nothing worth keeping.

use std::hash::Hash;

use foldhash::fast::FixedState;
use indexmap::IndexMap;
use switchyard_schema::ids::{Millis, UserId};

use crate::limits::{RATE_BURST_MS, RATED_KEYS_MAX};

/// So many per second, or per hour.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Rate {
    /// Microseconds that one of them uses up; 0 limits nothing.
    interval_us: u32,
    /// How much may be used at once, in what it takes to come back.
    burst_us: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self { interval_us: 0, burst_us: 0 };

    /// `count` per hour, all at once if need be; 0 is no limit.
    #[must_use]
    pub const fn per_hour(count: u32) -> Self {
        const HOUR_US: u32 = 3_600_000_000;
        match HOUR_US.checked_div(count) {
            Some(interval_us) => Self { interval_us, burst_us: HOUR_US },
            None => Self::UNLIMITED,
        }
    }

    /// `count` per second; 0 is no limit. More than a million is taken for a million.
    #[must_use]
    pub const fn per_second(count: u32) -> Self {
        const SECOND_US: u32 = 1_000_000;
        let interval_us = match count {
            0 => return Self::UNLIMITED,
            1..SECOND_US => SECOND_US / count,
            SECOND_US.. => 1,
        };
        Self { interval_us, burst_us: RATE_BURST_MS * 1_000 }
    }
}

/// How much of one limit is left.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Bucket {
    /// When nothing of it will be used up any more, in microseconds of the monotonic clock.
    full_at_us: u64,
}

impl Bucket {
    /// Takes one.
    ///
    /// # Errors
    /// When none is left: the milliseconds until there is one. Nothing is taken then.
    pub fn take(&mut self, now: Millis, rate: Rate) -> Result<(), u32> {
        let now_us = now.0.saturating_mul(1_000);
        let full_at_us = self.full_at_us.max(now_us) + u64::from(rate.interval_us);
        let ahead_us = full_at_us - now_us;
        let burst_us = u64::from(rate.burst_us);
        if rate != Rate::UNLIMITED && ahead_us > burst_us {
            let wait_ms = (ahead_us - burst_us).div_ceil(1_000);
            return Err(u32::try_from(wait_ms).expect("it is never longer than an interval"));
        }
        self.full_at_us = full_at_us;
        Ok(())
    }

    /// Puts some back that were taken and not needed.
    pub const fn put_back(&mut self, count: u16, rate: Rate) {
        self.full_at_us = self.full_at_us.saturating_sub(count as u64 * rate.interval_us as u64);
    }

    /// Whether nothing of it is used up.
    #[must_use]
    pub const fn is_full(&self, now: Millis) -> bool {
        self.full_at_us <= now.0.saturating_mul(1_000)
    }
}

/// What a client is limited in.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A Send.
    Send,
    /// A Fetch.
    Fetch,
    /// A Ping.
    Ping,
    /// A Send that begins a direct conversation.
    Begin,
}

/// A rate for each [`Kind`].
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// Sends.
    pub sends: Rate,
    /// Fetches.
    pub fetches: Rate,
    /// Pings.
    pub pings: Rate,
    /// Direct conversations that are begun.
    pub begins: Rate,
}

impl Rates {
    /// The rate of one kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> Rate {
        match kind {
            Kind::Send => self.sends,
            Kind::Fetch => self.fetches,
            Kind::Ping => self.pings,
            Kind::Begin => self.begins,
        }
    }
}

/// Every rate limit of a gateway. The default limits nothing.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct RateLimits {
    /// WebSocket messages and control frames of one connection, whatever they are. Beyond it the connection is not read
    /// for a while.
    pub frames: Rate,
    /// Of one connection. Beyond it `rate_limited`.
    pub connection: Rates,
    /// Of all connections of a user at one gateway thread. Beyond it `rate_limited`.
    pub user: Rates,
}

/// What is left of each limit of one connection.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Buckets {
    by_kind: [Bucket; 4],
}

impl Buckets {
    /// Takes one of this kind.
    ///
    /// # Errors
    /// As [`Bucket::take`].
    pub fn take(&mut self, now: Millis, kind: Kind, rates: &Rates) -> Result<(), u32> {
        self.by_kind[kind as usize].take(now, rates.of(kind))
    }

    /// Whether nothing of any is used up.
    #[must_use]
    pub fn are_full(&self, now: Millis) -> bool {
        self.by_kind.iter().all(|bucket| bucket.is_full(now))
    }
}

/// The rates of a thread's users.
pub type UserRates = KeyedRates<(UserId, Kind)>;

/// The buckets of many, such as users or addresses. Only who used something up lately is kept.
#[derive(Debug)]
pub struct KeyedRates<K> {
    buckets: IndexMap<K, Bucket, FixedState>,
    /// Where the next look for buckets that are full again begins.
    sweep: usize,
}

impl<K: Hash + Eq> KeyedRates<K> {
    /// Nobody has used anything up. The seed keeps outsiders from choosing keys that collide.
    #[must_use]
    pub fn new(hash_seed: u64) -> Self {
        Self { buckets: IndexMap::with_hasher(FixedState::with_seed(hash_seed)), sweep: 0 }
    }

    /// Takes one for a key. With [`RATED_KEYS_MAX`] others that are not full, a new one is not counted.
    ///
    /// # Errors
    /// As [`Bucket::take`].
    pub fn take(&mut self, now: Millis, key: K, rate: Rate) -> Result<(), u32> {
        if rate == Rate::UNLIMITED {
            return Ok(());
        }
        if let Some(bucket) = self.buckets.get_mut(&key) {
            return bucket.take(now, rate);
        }
        // Two looks for each newcomer: there are never much more than twice as many as are not full.
        self.forget_full(now);
        self.forget_full(now);
        let mut bucket = Bucket::default();
        let taken = bucket.take(now, rate);
        if self.buckets.len() < RATED_KEYS_MAX {
            self.buckets.insert(key, bucket);
        }
        taken
    }

    /// Puts some back that were taken for a key and not needed.
    pub fn put_back(&mut self, key: &K, count: u16, rate: Rate) {
        // Whoever is not kept has everything.
        if let Some(bucket) = self.buckets.get_mut(key) {
            bucket.put_back(count, rate);
        }
    }

    /// How many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    fn forget_full(&mut self, now: Millis) {
        if self.sweep >= self.buckets.len() {
            self.sweep = 0;
        }
        match self.buckets.get_index(self.sweep) {
            Some((_, bucket)) if bucket.is_full(now) => drop(self.buckets.swap_remove_index(self.sweep)),
            Some(_) => self.sweep += 1,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Millis = Millis(70_000);

    /// How many are granted in a row at one time.
    fn burst(bucket: &mut Bucket, now: Millis, rate: Rate) -> usize {
        (0..100_000).take_while(|_| bucket.take(now, rate).is_ok()).count()
    }

    #[test]
    fn given_a_rate_when_time_passes_then_ten_seconds_worth_at_once_and_the_rate_after_that() {
        let (rate, mut bucket) = (Rate::per_second(50), Bucket::default());
        assert_eq!(burst(&mut bucket, START, rate), 500);
        assert_eq!(bucket.take(START, rate), Err(20), "one comes back every 20 ms");
        assert_eq!(bucket.take(START.plus(19), rate), Err(1));
        assert_eq!(bucket.take(START.plus(20), rate), Ok(()));
        assert_eq!(burst(&mut bucket, START.plus(1_020), rate), 50);
        assert!(!bucket.is_full(START.plus(11_019)) && bucket.is_full(START.plus(11_020)));
        assert_eq!(burst(&mut bucket, START.plus(1_000_000), rate), 500, "no more than that is saved up");
    }

    #[test]
    fn given_a_rate_per_hour_when_some_is_put_back_then_it_can_be_taken_again() {
        let (rate, mut bucket) = (Rate::per_hour(100), Bucket::default());
        assert_eq!(burst(&mut bucket, START, rate), 100);
        assert_eq!(bucket.take(START, rate), Err(36_000));
        bucket.put_back(3, rate);
        assert_eq!(burst(&mut bucket, START, rate), 3);
        assert_eq!(burst(&mut bucket, START.plus(3_600_000), rate), 100);
    }

    #[test]
    fn given_no_limit_when_taking_then_there_is_always_one() {
        let mut bucket = Bucket::default();
        assert_eq!(burst(&mut bucket, START, Rate::per_second(0)), 100_000);
        assert!(bucket.is_full(START));
    }

    #[test]
    fn given_a_clock_at_either_end_when_taking_then_nothing_overflows() {
        for now in [Millis(0), Millis(1 << 50)] {
            assert_eq!(burst(&mut Bucket::default(), now, Rate::per_second(1)), 10);
        }
    }

    #[test]
    fn given_users_when_one_uses_up_the_limit_then_the_others_do_not_notice() {
        let (mut users, rate) = (UserRates::new(1), Rate::per_second(1));
        let [anna, ben] = [1, 2].map(|number| UserId::new(number).unwrap());
        for _ in 0..10 {
            assert_eq!(users.take(START, (anna, Kind::Send), rate), Ok(()));
        }
        assert_eq!(users.take(START, (anna, Kind::Send), rate), Err(1_000));
        assert_eq!(users.take(START, (anna, Kind::Fetch), rate), Ok(()));
        assert_eq!(users.take(START, (ben, Kind::Send), rate), Ok(()));
        assert_eq!(users.take(START, (anna, Kind::Send), Rate::UNLIMITED), Ok(()));
    }

    #[test]
    fn given_many_users_when_they_rest_then_they_are_forgotten() {
        let (mut users, rate) = (UserRates::new(1), Rate::per_second(1));
        let mut now = START;
        for number in 1..=10_000 {
            now = now.plus(10);
            assert_eq!(users.take(now, (UserId::new(number).unwrap(), Kind::Send), rate), Ok(()));
            // A second's worth of newcomers, each of whom has used up one second.
            assert!(users.len() <= 300, "{} after {number}", users.len());
        }
    }
}
