//! What a thread of a run counts while the main thread looks on.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::latency::Latencies;
use crate::limits::REASONS_MAX;
use crate::merge::Merge;

/// A number with one writer.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Only the owning thread may call this and the next two: they are plain accesses, not locked ones.
    pub(crate) fn add(&self, more: u64) {
        self.set(self.get() + more);
    }

    pub(crate) fn subtract(&self, less: u64) {
        self.set(self.get() - less);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counts of one thread.
        #[derive(Debug, Default)]
        pub(crate) struct Counts {
            $($(#[$doc])* pub(crate) $name: Count,)*
        }

        /// The counts of all threads together.
        #[derive(Copy, Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
        pub(crate) struct Totals {
            $($(#[$doc])* pub(crate) $name: u64,)*
        }

        impl Totals {
            fn add(&mut self, counts: &Counts) {
                $(self.$name += counts.$name.get();)*
            }
        }

        impl Merge for Totals {
            fn merge(&mut self, other: Self) {
                $(self.$name.merge(other.$name);)*
            }
        }
    };
}

counts! {
    /// Connections that are open and authenticated.
    open,
    /// Connections on their way there.
    opening,
    /// Connections that were ever open, each time counted.
    opened,
    /// Attempts to connect.
    attempts,
    /// Attempts that failed, whatever the reason.
    failed_attempts,
    /// Open connections that ended although nobody here wanted it.
    dropped,
    /// Connections that will not be tried again: the server said that it makes no sense.
    given_up,
    /// Attempts and messages that the server refused in words.
    refused,
    /// Of those, messages.
    refused_messages,
    /// Times that a thread has cut off all its connections.
    cuts,
    /// Threads that have sent the last message they had to send, counted when they were told to settle.
    settled,
    /// Messages sent.
    sent,
    /// Messages that were due and were never sent: whoever was to send them waited for answers.
    unsent,
    /// Messages that reached their recipient.
    delivered,
    /// Messages the server said it has.
    accepted,
    /// Messages that came with another number, or in another order, than the next one's.
    out_of_order,
    /// Messages that came again.
    duplicated,
    /// Messages that were under way on a connection that ended.
    cut_off,
    /// Heartbeats of the server that were answered.
    heartbeats,
    /// Connections that answered at the end, when they were asked whether they are alive.
    alive,
    /// Times that a connection has moved to another port and was answered there.
    migrations,
    /// Processor time of the thread in microseconds.
    cpu_us,
}

/// What one thread shares with the main thread.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) counts: Counts,
    /// From the intended send to the delivery; taken away with every sample.
    latency: Mutex<Latencies>,
    /// From the time a message was due until its thread saw that.
    lateness: Mutex<Latencies>,
    /// Why attempts failed and connections ended.
    reasons: Mutex<Reasons>,
}

/// What the reasons beyond the limit are counted as.
const OTHER_REASONS: &str = "something else";

/// How often each reason was met.
pub(crate) type Reasons = BTreeMap<String, u64>;

/// Counts one more, or so many. Those beyond the limit are one.
fn count(reasons: &mut Reasons, reason: &str, times: u64) {
    if let Some(counted) = reasons.get_mut(reason) {
        *counted += times;
        return;
    }
    let is_other = reasons.len() >= REASONS_MAX;
    *reasons.entry(if is_other { OTHER_REASONS } else { reason }.to_owned()).or_default() += times;
}

/// The same in words.
pub(crate) fn said(reasons: &Reasons) -> String {
    reasons.iter().map(|(reason, times)| format!("{reason}: {times}")).collect::<Vec<_>>().join(", ")
}

impl Tally {
    pub(crate) fn record_latency(&self, latency: std::time::Duration) {
        lock(&self.latency).record(latency);
    }

    pub(crate) fn record_lateness(&self, lateness: std::time::Duration) {
        lock(&self.lateness).record(lateness);
    }

    pub(crate) fn count_reason(&self, reason: String) {
        count(&mut lock(&self.reasons), &reason, 1);
    }

    /// Moves the latencies recorded since the last call to `to`.
    pub(crate) fn take_latency(&self, to: &mut Latencies) {
        lock(&self.latency).drain_to(to);
    }

    pub(crate) fn take_lateness(&self, to: &mut Latencies) {
        lock(&self.lateness).drain_to(to);
    }

    pub(crate) fn add_reasons(&self, to: &mut Reasons) {
        for (reason, times) in lock(&self.reasons).iter() {
            count(to, reason, *times);
        }
    }
}

/// The sum over threads.
pub(crate) fn totals<'t>(tallies: impl IntoIterator<Item = &'t Tally>) -> Totals {
    let mut totals = Totals::default();
    tallies.into_iter().for_each(|tally| totals.add(&tally.counts));
    totals
}

/// A thread that panicked left numbers behind that are as good as before.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_reasons_that_are_all_different_when_counted_then_none_is_missed_and_few_are_kept() {
        let tally = Tally::default();
        for number in 0..1_000 {
            tally.count_reason(format!("accepted as {number}"));
        }
        tally.count_reason("accepted as 0".to_owned());
        let mut reasons = Reasons::new();
        tally.add_reasons(&mut reasons);
        assert_eq!(reasons.len(), REASONS_MAX + 1);
        assert_eq!((reasons.values().sum::<u64>(), reasons["accepted as 0"]), (1_001, 2));
        // Nor are they many when several threads count others each.
        let other = Tally::default();
        (0..100).for_each(|number| other.count_reason(format!("closed with code {number}")));
        other.add_reasons(&mut reasons);
        assert_eq!((reasons.len(), reasons.values().sum::<u64>()), (REASONS_MAX + 1, 1_101));
    }
}
