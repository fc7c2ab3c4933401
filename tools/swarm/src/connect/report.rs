//! What a run found.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ConnectOptions;
use super::part::{Growth, Part};
use super::server_side::ServerSide;
use crate::latency::Percentiles;
use crate::reading::Costs;

/// What a run found.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectReport {
    /// Connections that were wanted.
    pub count: u32,
    /// Machines of the swarm that shared the run; 0 when it was this one alone.
    pub workers: usize,
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
    /// Times that a connection has moved to another port and was answered there.
    pub migrations: u64,
    /// Heartbeats of the server that were answered; those of QUIC are not seen.
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
    /// Processor time while they were held, from when the first message was due.
    pub holding: Costs,
    /// Why the swarm rather than the server may have limited the run, if it looks like that.
    pub bottleneck: Option<String>,
}

/// The messages of a run.
#[derive(Clone, Debug, Serialize)]
pub struct MessagesReport {
    /// Messages a second that were asked for.
    pub asked_per_s: f64,
    /// Messages a second that were delivered while the connections were held.
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
    /// From the time they were due until the swarm saw to them: what it added.
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

impl ConnectReport {
    pub(super) fn new(options: &ConnectOptions, workers: usize, part: Part, server: ServerSide) -> Self {
        let growth = part.growth();
        let Part {
            threads, destinations, totals, delivered_in_hold, lost, cut_off, reasons, latency, lateness, ..
        } = part;
        let (opening, holding) = (part.opening.of_server(&server.opening), part.holding.of_server(&server.holding));
        let late = lateness.percentiles();
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let (ever_open, delivered) = (totals.opened as f64, delivered_in_hold as f64);
        let messages = (options.messages_per_s > 0.0).then(|| MessagesReport {
            asked_per_s: options.messages_per_s,
            per_s: delivered / holding.seconds.max(1e-3),
            unsent: totals.unsent,
            sent: totals.sent,
            accepted: totals.accepted,
            delivered: totals.delivered,
            lost,
            cut_off,
            refused: totals.refused_messages,
            out_of_order: totals.out_of_order,
            duplicated: totals.duplicated,
            latency: latency.percentiles(),
            late,
        });
        Self {
            count: options.count,
            workers,
            threads,
            destinations: destinations.0,
            opened: totals.opened,
            alive: totals.alive,
            dropped: totals.dropped,
            given_up: totals.given_up,
            failed_attempts: totals.failed_attempts,
            refused: totals.refused,
            reasons,
            connects_per_s: ever_open / opening.seconds.max(1e-3),
            migrations: totals.migrations,
            heartbeats: totals.heartbeats,
            messages,
            memory: MemoryReport::new(&server, &growth, totals.opened),
            course: server.course,
            server_cpu_us_per_connect: opening.server_cpu_us().map(|us| us / ever_open.max(1.0)),
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
    fn new(server: &ServerSide, growth: &Growth, connections: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "for people to read")]
        let per = |bytes: i64| bytes as f64 / connections.max(1) as f64;
        let grown = |to: Option<u64>| {
            let (from, to) = server.before_bytes.zip(to)?;
            Some(per(to.cast_signed().wrapping_sub(from.cast_signed())))
        };
        Self {
            server_before_bytes: server.before_bytes,
            server_open_bytes: server.open_bytes,
            server_end_bytes: server.end_bytes,
            server_bytes_per_connection: grown(server.open_bytes),
            server_bytes_per_connection_end: grown(server.end_bytes),
            kernel_slab_bytes_per_connection: per(growth.slab_bytes),
            kernel_tcp_bytes_per_connection: per(growth.tcp_bytes),
            machine_bytes_per_connection: per(growth.machine_bytes),
            swarm_bytes_per_connection: per(growth.swarm_bytes),
        }
    }
}
