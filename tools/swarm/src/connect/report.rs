//! What a run found.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ConnectOptions;
use crate::conduct::Finish;
use crate::fleet::{Account, Left};
use crate::latency::Percentiles;
use crate::reading::{Costs, Reading, bytes_per};
use crate::tally::Totals;

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectReport {
    /// Connections that were wanted.
    pub count: u32,
    /// Threads of the swarm.
    pub threads: u32,
    /// Addresses that they were spread over.
    pub destinations: usize,
    /// Connections that were opened and authenticated.
    pub opened: u64,
    /// Connections that answered at the end.
    pub alive: u64,
    /// Connections that ended although they should not.
    pub dropped: u64,
    /// Connections that the server refused for good.
    pub given_up: u64,
    /// Attempts to connect that failed, and were repeated unless given up.
    pub failed_attempts: u64,
    /// Attempts and messages that the server refused in words.
    pub refused: u64,
    /// Why attempts failed, connections ended, or messages were not what they should be.
    pub reasons: BTreeMap<String, u64>,
    /// Connections opened per second, from the first to the last.
    pub connects_per_s: f64,
    /// Heartbeats of the server that were answered.
    pub heartbeats: u64,
    /// The messages, if there were any.
    pub messages: Option<MessagesReport>,
    /// Memory of the server, of the kernel and of the swarm.
    pub memory: MemoryReport,
    /// The server's memory while connections were being opened.
    pub course: Vec<Course>,
    /// Processor time of the server per connection while they were being opened, in microseconds.
    pub server_cpu_us_per_connect: Option<f64>,
    /// Processor time while they were being opened.
    pub opening: Costs,
    /// Processor time while they were held.
    pub holding: Costs,
    /// Why the swarm rather than the server may have limited the run, if it looks like that.
    pub bottleneck: Option<String>,
}

/// The messages of a run.
#[derive(Clone, Debug, Serialize)]
pub struct MessagesReport {
    /// Messages a second that were asked for.
    pub asked_per_s: f64,
    /// Messages a second that were delivered.
    pub per_s: f64,
    /// Messages that were due and were never sent, because those who were to send them had too many without an answer.
    pub unsent: u64,
    /// Messages sent.
    pub sent: u64,
    /// Messages that the server said it has.
    pub accepted: u64,
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages between connections that stayed open that did not arrive.
    pub lost: u64,
    /// Messages whose sender or recipient was cut off, and that did not arrive.
    pub cut_off: u64,
    /// Messages that the server refused.
    pub refused: u64,
    /// Messages that came out of order, or not as they were sent.
    pub out_of_order: u64,
    /// Messages that came again.
    pub duplicated: u64,
    /// From the time they were due until they were delivered.
    pub latency: Percentiles,
    /// From the time they were due until they were sent: what the swarm added.
    pub late: Percentiles,
}

/// Memory before the first connection, with all of them open, and at the end; differences per connection.
#[derive(Copy, Clone, PartialEq, Debug, Default, Serialize)]
pub struct MemoryReport {
    /// Resident memory of the server before.
    pub server_before_bytes: Option<u64>,
    /// With all connections open and nothing said yet.
    pub server_open_bytes: Option<u64>,
    /// At the end.
    pub server_end_bytes: Option<u64>,
    /// Of the server, open against before.
    pub server_bytes_per_connection: Option<f64>,
    /// Of the server, the end against before: what the messages left behind is in it.
    pub server_bytes_per_connection_end: Option<f64>,
    /// Slab of the kernel, both ends when the server is on this machine.
    pub kernel_slab_bytes_per_connection: f64,
    /// Buffers of TCP, both ends likewise.
    pub kernel_tcp_bytes_per_connection: f64,
    /// Free memory of the machine that is gone, whoever has it.
    pub machine_bytes_per_connection: f64,
    /// Of the swarm.
    pub swarm_bytes_per_connection: f64,
}

/// One point of the course of the server's memory.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Course {
    /// Connections that were open.
    pub open: u64,
    /// The server's resident memory.
    pub rss_bytes: u64,
}

/// What a report is made from.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) totals: Totals,
    pub(super) left: Vec<Left>,
    pub(super) finish: Finish,
    /// Before, with everybody open, after a rest, after the hold.
    pub(super) readings: [Reading; 4],
    pub(super) course: Vec<Course>,
    pub(super) number_of_destinations: usize,
}

impl ConnectReport {
    pub(super) fn new(options: &ConnectOptions, gathered: &Gathered) -> Self {
        let Gathered { totals, left, finish, readings, course, number_of_destinations } = gathered;
        let [before, opened, calm, held] = readings;
        let (opening, holding) = (opened.since(before), held.since(calm));
        let late = finish.lateness.percentiles();
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let (ever_open, delivered) = (totals.opened.max(1) as f64, totals.delivered as f64);
        let messages = (options.messages_per_s > 0.0).then(|| {
            let (lost, cut_off) = missing(left, options.layout.threads);
            MessagesReport {
                asked_per_s: options.messages_per_s,
                per_s: delivered / holding.seconds,
                unsent: totals.unsent,
                sent: totals.sent,
                accepted: totals.accepted,
                delivered: totals.delivered,
                lost,
                cut_off,
                refused: totals.refused_messages,
                out_of_order: totals.out_of_order,
                duplicated: totals.duplicated,
                latency: finish.latency.percentiles(),
                late,
            }
        });
        Self {
            count: options.layout.count,
            threads: options.layout.threads,
            destinations: *number_of_destinations,
            opened: totals.opened,
            alive: totals.alive,
            dropped: totals.dropped,
            given_up: totals.given_up,
            failed_attempts: totals.failed_attempts,
            refused: totals.refused,
            reasons: finish.reasons.clone(),
            connects_per_s: ever_open / opening.seconds,
            heartbeats: totals.heartbeats,
            messages,
            memory: MemoryReport::new(before, calm, held, totals.opened),
            course: course.clone(),
            server_cpu_us_per_connect: opening
                .server_cpu_percent
                .map(|percent| percent * 1e4 * opening.seconds / ever_open),
            opening,
            holding,
            bottleneck: holding.bottleneck(&late).or_else(|| {
                let opening = opening.bottleneck(&Percentiles::default())?;
                Some(format!("while connections were opened, {opening}"))
            }),
        }
    }
}

impl MemoryReport {
    fn new(before: &Reading, calm: &Reading, held: &Reading, connections: u64) -> Self {
        let server = |reading: &Reading| reading.server.map(|usage| usage.rss_bytes);
        let per = |from: u64, to: u64| bytes_per(from, to, connections);
        Self {
            server_before_bytes: server(before),
            server_open_bytes: server(calm),
            server_end_bytes: server(held),
            server_bytes_per_connection: server(before).zip(server(calm)).map(|(from, to)| per(from, to)),
            server_bytes_per_connection_end: server(before).zip(server(held)).map(|(from, to)| per(from, to)),
            kernel_slab_bytes_per_connection: per(before.kernel.slab_bytes, held.kernel.slab_bytes),
            kernel_tcp_bytes_per_connection: per(before.kernel.tcp_bytes, held.kernel.tcp_bytes),
            machine_bytes_per_connection: per(held.kernel.free_bytes, before.kernel.free_bytes),
            swarm_bytes_per_connection: per(before.swarm.rss_bytes, held.swarm.rss_bytes),
        }
    }
}

/// Messages that did not arrive: between connections that stayed open, and the others.
fn missing(left: &[Left], threads: u32) -> (u64, u64) {
    let Some(pairing) = left.iter().find_map(|left| left.pairing) else { return (0, 0) };
    let of = |number: u32| -> Option<(Account, bool)> {
        let (thread, local) = ((number % threads) as usize, (number / threads) as usize);
        Some((*left.get(thread)?.accounts.get(local)?, left[thread].open[local]))
    };
    let (mut lost, mut cut_off) = (0, 0);
    for number in 0.. {
        let Some((sender, sender_open)) = of(number) else { return (lost, cut_off) };
        let Some((recipient, recipient_open)) = pairing.partner(number).and_then(of) else { continue };
        let missing = u64::from(sender.sent.saturating_sub(sender.refused).saturating_sub(recipient.delivered));
        *(if sender_open && recipient_open { &mut lost } else { &mut cut_off }) += missing;
    }
    unreachable!("the numbers end with the users")
}
