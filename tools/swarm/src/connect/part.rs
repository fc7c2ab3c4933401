//! What one machine did and saw of a run. Those of several make one, as if one machine had done it all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::company::Point;
use crate::conduct::Finish;
use crate::fleet::{Account, Left};
use crate::latency::Latencies;
use crate::merge::{Largest, Merge, merged};
use crate::reading::Costs;
use crate::system;
use crate::tally::{Reasons, Totals};

merged! {
    /// The part of one machine, or of several.
    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub(crate) struct Part {
        pub(super) threads: u32,
        pub(super) destinations: Largest,
        pub(super) totals: Totals,
        /// Messages that were delivered while the connections were held.
        pub(super) delivered_in_hold: u64,
        /// Messages between connections that stayed open that did not arrive. Both are on one machine.
        pub(super) lost: u64,
        /// Messages whose sender or recipient was cut off, and that did not arrive.
        pub(super) cut_off: u64,
        pub(super) reasons: Reasons,
        pub(super) latency: Latencies,
        pub(super) lateness: Latencies,
        pub(super) opening: Costs,
        pub(super) holding: Costs,
        /// What memory has grown, by machine: two workers on one see the same kernel.
        growth: BTreeMap<String, Growth>,
    }
}

/// How much more memory there was in use at the end than before, in bytes.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Growth {
    /// Slab of the kernel.
    pub(super) slab_bytes: i64,
    /// Buffers of TCP.
    pub(super) tcp_bytes: i64,
    /// Memory of the machine that is no longer free.
    pub(super) machine_bytes: i64,
    /// Resident memory of the swarm.
    pub(super) swarm_bytes: i64,
}

impl Part {
    /// `delivered` messages came between the beginning and the end of the hold.
    pub(super) fn new(
        (threads, destinations): (u32, usize),
        (totals, delivered): (Totals, u64),
        left: &[Left],
        finish: Finish,
    ) -> Self {
        let readings = &finish.readings;
        let (before, end) = (readings.before(), readings.at(Point::Arrived));
        let Balance { lost, cut_off, made_up } = balance(left, threads);
        let totals = Totals { out_of_order: totals.out_of_order + made_up, ..totals };
        let grown = |from: u64, to: u64| to.cast_signed().wrapping_sub(from.cast_signed());
        let growth = Growth {
            slab_bytes: grown(before.kernel.slab_bytes, end.kernel.slab_bytes),
            tcp_bytes: grown(before.kernel.tcp_bytes, end.kernel.tcp_bytes),
            machine_bytes: grown(end.kernel.free_bytes, before.kernel.free_bytes),
            swarm_bytes: grown(before.swarm.rss_bytes, end.swarm.rss_bytes),
        };
        Self {
            threads,
            destinations: Largest(destinations),
            totals,
            delivered_in_hold: delivered,
            lost,
            cut_off,
            opening: readings.at(Point::Opened).since(before),
            holding: readings.between(Point::Due, Point::Held),
            reasons: finish.reasons,
            latency: finish.latency,
            lateness: finish.lateness,
            growth: BTreeMap::from([(system::boot_id(), growth)]),
        }
    }

    /// What memory has grown on all machines.
    pub(super) fn growth(&self) -> Growth {
        let mut all = Growth::default();
        for one in self.growth.values() {
            all.slab_bytes = all.slab_bytes.saturating_add(one.slab_bytes);
            all.tcp_bytes = all.tcp_bytes.saturating_add(one.tcp_bytes);
            all.machine_bytes = all.machine_bytes.saturating_add(one.machine_bytes);
            all.swarm_bytes = all.swarm_bytes.saturating_add(one.swarm_bytes);
        }
        all
    }
}

/// That of another process on the same machine, which sees the same kernel.
impl Merge for Growth {
    fn merge(&mut self, other: Self) {
        let Self { slab_bytes, tcp_bytes, machine_bytes, swarm_bytes } = other;
        self.slab_bytes = self.slab_bytes.max(slab_bytes);
        self.tcp_bytes = self.tcp_bytes.max(tcp_bytes);
        self.machine_bytes = self.machine_bytes.max(machine_bytes);
        self.swarm_bytes = self.swarm_bytes.saturating_add(swarm_bytes);
    }
}

/// What users sent against what their partners got.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
struct Balance {
    /// Messages that did not arrive, between connections that stayed open.
    lost: u64,
    /// And between others.
    cut_off: u64,
    /// Users who got a message with a number that their partner never came to.
    made_up: u64,
}

fn balance(left: &[Left], threads: u32) -> Balance {
    let mut balance = Balance::default();
    let Some(pairing) = left.iter().find_map(|left| left.pairing) else { return balance };
    let of = |number: u32| -> Option<(Account, bool)> {
        let (thread, local) = ((number % threads) as usize, (number / threads) as usize);
        Some((*left.get(thread)?.accounts.get(local)?, left[thread].open[local]))
    };
    for number in 0.. {
        let Some((sender, sender_open)) = of(number) else { break };
        let Some((recipient, recipient_open)) = pairing.partner(number).and_then(of) else { continue };
        let missing = u64::from(sender.sent.saturating_sub(sender.refused).saturating_sub(recipient.delivered));
        *(if sender_open && recipient_open { &mut balance.lost } else { &mut balance.cut_off }) += missing;
        balance.made_up += u64::from(recipient.heard > sender.sent);
    }
    balance
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::connect::server_side::ServerSide;
    use crate::connect::{ConnectOptions, ConnectReport};

    fn part(machine: &str, ms: u64) -> Part {
        let growth = Growth { slab_bytes: 100, swarm_bytes: 10, ..Growth::default() };
        let mut part = Part {
            threads: 2,
            destinations: Largest(3),
            totals: Totals { opened: 500, alive: 499, ..Totals::default() },
            lost: 1,
            reasons: Reasons::from([("closed with code 4000".to_owned(), 1)]),
            growth: BTreeMap::from([(machine.to_owned(), growth)]),
            ..Part::default()
        };
        part.latency.record(Duration::from_millis(ms));
        part
    }

    #[test]
    fn given_parts_of_several_machines_when_merged_then_counts_and_latencies_add_up_and_a_kernel_counts_once() {
        let mut all = part("a", 1);
        all.merge(part("a", 2));
        let sent = serde_json::to_string(&part("b", 400)).expect("plain data");
        all.merge(serde_json::from_str(&sent).expect("what was sent"));
        assert_eq!((all.threads, all.destinations.0, all.lost), (6, 3, 3));
        assert_eq!((all.totals.opened, all.totals.alive), (1_500, 1_497));
        assert_eq!(all.reasons["closed with code 4000"], 3);
        let latency = all.latency.percentiles();
        assert_eq!(latency.count, 3);
        assert!(latency.max_us >= 400_000 && latency.p50_us < 3_000, "{latency:?}");
        assert_eq!((all.growth().slab_bytes, all.growth().swarm_bytes), (200, 30));
    }

    #[test]
    fn given_messages_that_come_when_the_hold_is_over_when_reported_then_they_count_and_the_rate_is_of_the_hold_alone()
    {
        let part = Part {
            totals: Totals { sent: 2_100, delivered: 2_100, ..Totals::default() },
            delivered_in_hold: 2_000,
            holding: Costs { seconds: 2.0, ..Costs::default() },
            ..Part::default()
        };
        let options = ConnectOptions::new("127.0.0.1:7400".parse().expect("an address"), 2);
        let report = ConnectReport::new(&options, 0, part, ServerSide::default());
        let messages = report.messages.expect("there were some");
        assert_eq!((messages.delivered, messages.per_s.to_string()), (2_100, "1000".to_owned()));
    }

    #[test]
    fn given_a_server_that_lets_nobody_in_when_reported_then_it_had_no_connects_a_second() {
        let options = ConnectOptions::new("127.0.0.1:7400".parse().expect("an address"), 2);
        let report = ConnectReport::new(&options, 0, Part::default(), ServerSide::default());
        assert_eq!(report.connects_per_s.to_string(), "0");
    }
}
