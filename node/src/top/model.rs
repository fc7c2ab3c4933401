//! What happened between two readings, and how it stands now: all that is shown, and nothing of how.

use std::collections::BTreeMap;
use std::time::Duration;

use super::reading::{Labels, Reading};

/// A server over one interval.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) version: String,
    pub(super) uptime: Duration,
    pub(super) is_ready: bool,
    pub(super) faults: u64,
    pub(super) resident_bytes: u64,
    pub(super) data_free_bytes: u64,
    /// Processors that it kept busy.
    pub(super) cpu: f64,
    pub(super) connections: Connections,
    pub(super) messages: Messages,
    pub(super) commits: Commits,
    pub(super) rings: Rings,
    /// Sessions that lack messages, and the conversations that have them.
    pub(super) behind: (u64, u64),
    /// Codes of refusals, and how many a second; those that came.
    pub(super) refused: Vec<(String, f64)>,
    /// Parts of the memory, and their bytes.
    pub(super) memory: Vec<(&'static str, u64)>,
    pub(super) gateways: Vec<GatewayCore>,
    pub(super) routers: Vec<RouterCore>,
}

/// Connections, now and by the second.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Connections {
    pub(super) all: u64,
    pub(super) max: u64,
    pub(super) open: u64,
    /// Before they are open: in the handshake, without a Hello, being attached.
    pub(super) opening: u64,
    pub(super) echoing: u64,
    pub(super) closing: u64,
    pub(super) accepts_per_s: f64,
    pub(super) failures_per_s: f64,
}

/// Messages by the second.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Messages {
    pub(super) received_per_s: f64,
    pub(super) sent_per_s: f64,
    pub(super) received_bytes_per_s: f64,
    pub(super) sent_bytes_per_s: f64,
    pub(super) accepted_per_s: f64,
    pub(super) delivered_per_s: f64,
    pub(super) refused_per_s: f64,
}

/// Batches of one router core, or of all.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Commits {
    pub(super) per_s: f64,
    pub(super) bytes_per_s: f64,
    /// `None` when there was no batch.
    pub(super) records_mean: Option<f64>,
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
}

/// Rings between cores.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Rings {
    pub(super) depth: u64,
    pub(super) stalls_per_s: f64,
}

/// A gateway thread.
#[derive(Clone, Debug, Default)]
pub(super) struct GatewayCore {
    pub(super) core: String,
    pub(super) cpu: f64,
    pub(super) connections: u64,
    pub(super) open: u64,
    pub(super) received_per_s: f64,
    pub(super) sent_per_s: f64,
    pub(super) refused_per_s: f64,
    pub(super) rings: Rings,
    /// Bytes that wait to be handled or to be written.
    pub(super) waiting_bytes: u64,
}

/// A router core.
#[derive(Clone, Debug, Default)]
pub(super) struct RouterCore {
    pub(super) core: String,
    pub(super) cpu: f64,
    /// `ready`, `full` or `failed`.
    pub(super) journal: String,
    pub(super) commits: Commits,
    pub(super) rings: Rings,
    pub(super) behind: u64,
    pub(super) memory_bytes: u64,
}

const GATEWAY_STALLS: &[&str] = &["gateway_credit_stalls", "gateway_room_stalls"];
const ROUTER_STALLS: &[&str] = &["router_to_gateways_full", "router_to_cores_full"];
const ROUTER_DEPTHS: &[&str] = &["router_ring_depth", "router_peer_ring_depth"];
const HANDSHAKE_FAILURES: &[&str] = &[
    "gateway_handshakes_malformed",
    "gateway_handshakes_not_found",
    "gateway_handshakes_forbidden",
    "gateway_handshakes_timed_out",
    "gateway_handshakes_limited",
    "gateway_turned_away",
    "gateway_handshakes_put_off",
    "gateway_tls_not_tls",
    "gateway_tls_incompatible",
    "gateway_tls_refused",
    "gateway_tls_malformed",
    "gateway_tls_timed_out",
    "gateway_tls_abandoned",
    "gateway_quic_handshakes_malformed",
    "gateway_quic_handshakes_timed_out",
    "gateway_quic_handshakes_refused",
    "gateway_quic_handshakes_abandoned",
    "gateway_quic_handshakes_limited",
    "gateway_quic_turned_away",
    "gateway_quic_handshakes_put_off",
];
/// Sessions, over either transport.
const SESSIONS: &[&str] = &["gateway_sessions", "gateway_quic_sessions"];
const FRAMES_IN: &[&str] = &["gateway_frames_in", "gateway_quic_frames_in"];
const FRAMES_OUT: &[&str] = &["gateway_frames_out", "gateway_quic_frames_out"];
/// Connections on their way to a session.
const OPENING: &[&str] = &[
    "gateway_upgrading",
    "gateway_awaiting_hello",
    "gateway_attaching",
    "gateway_quic_upgrading",
    "gateway_quic_awaiting_hello",
    "gateway_quic_attaching",
];
/// Parts of a router core's memory, and their figures.
const ROUTER_MEMORY: &[(&str, &str)] = &[
    ("state", "router_state_bytes"),
    ("tail", "router_tail_bytes"),
    ("queue", "router_queued_bytes"),
    ("history", "router_history_cache_bytes"),
];
/// The same of a gateway thread: what waits to be handled or to be written.
const GATEWAY_MEMORY: &[(&str, &str)] =
    &[("held", "gateway_held_bytes"), ("outbound", "gateway_outbound_bytes"), ("tls", "gateway_tls_kept_bytes")];

impl Picture {
    /// What happened from `before` to `after`. `None` when these are not of the same process.
    pub(super) fn between(before: &Reading, after: &Reading) -> Option<Self> {
        if before.sum("process_started_ms", &[]) != after.sum("process_started_ms", &[]) {
            return None;
        }
        let change = Change { before, after };
        let sum = |name| after.sum(name, &[]);
        let codes = after.values_of("gateway_refused", "code");
        let refused =
            codes.into_iter().map(|code| (code.to_owned(), change.per_s("gateway_refused", &[("code", code)])));
        Some(Self {
            version: after.values_of("server_build", "version").first().copied().unwrap_or("?").to_owned(),
            uptime: Duration::from_millis(sum("process_uptime_ms")),
            is_ready: sum("server_ready") == 1,
            faults: sum("server_faults"),
            resident_bytes: sum("process_resident_bytes"),
            data_free_bytes: sum("data_free_bytes"),
            cpu: change.per_s("process_cpu_ms", &[]) / 1e3,
            connections: change.connections(),
            messages: change.messages(),
            commits: change.commits(&[]),
            rings: Rings {
                depth: change.sum_of(ROUTER_DEPTHS, &[]) + sum("gateway_ring_depth"),
                stalls_per_s: change.per_s_of(GATEWAY_STALLS, &[]) + change.per_s_of(ROUTER_STALLS, &[]),
            },
            behind: (sum("router_sessions_behind"), sum("router_conversations_behind")),
            refused: refused.filter(|(_, per_s)| *per_s > 0.0).collect(),
            memory: ROUTER_MEMORY.iter().chain(GATEWAY_MEMORY).map(|(part, name)| (*part, sum(name))).collect(),
            gateways: after.values_of("gateway_turns", "core").into_iter().map(|core| change.gateway(core)).collect(),
            routers: after.values_of("router_turns", "core").into_iter().map(|core| change.router(core)).collect(),
        })
    }
}

/// Two readings of one process.
struct Change<'a> {
    before: &'a Reading,
    after: &'a Reading,
}

impl Change<'_> {
    /// How much a figure grew, by the second.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn per_s(&self, name: &str, labels: Labels<'_>) -> f64 {
        let seconds = self.after.at.duration_since(self.before.at).as_secs_f64();
        let grown = self.after.sum(name, labels).saturating_sub(self.before.sum(name, labels));
        if seconds > 0.0 { grown as f64 / seconds } else { 0.0 }
    }

    fn per_s_of(&self, names: &[&str], labels: Labels<'_>) -> f64 {
        names.iter().map(|name| self.per_s(name, labels)).sum()
    }

    fn sum_of(&self, names: &[&str], labels: Labels<'_>) -> u64 {
        names.iter().map(|name| self.after.sum(name, labels)).sum()
    }

    fn bytes_of(&self, memory: &[(&str, &str)], labels: Labels<'_>) -> u64 {
        memory.iter().map(|(_, name)| self.after.sum(name, labels)).sum()
    }

    fn connections(&self) -> Connections {
        let sum = |name| self.after.sum(name, &[]);
        Connections {
            all: sum("gateway_open"),
            max: sum("gateway_connections_max"),
            open: self.sum_of(SESSIONS, &[]),
            opening: self.sum_of(OPENING, &[]),
            echoing: sum("gateway_echoing"),
            closing: sum("gateway_closing") + sum("gateway_quic_closing"),
            accepts_per_s: self.per_s_of(&["gateway_accepted", "gateway_quic_accepted"], &[]),
            failures_per_s: self.per_s_of(HANDSHAKE_FAILURES, &[]),
        }
    }

    fn messages(&self) -> Messages {
        let per_s = |name| self.per_s(name, &[]);
        Messages {
            received_per_s: self.per_s_of(FRAMES_IN, &[]),
            sent_per_s: self.per_s_of(FRAMES_OUT, &[]),
            received_bytes_per_s: per_s("gateway_bytes_in") + per_s("gateway_quic_bytes_in"),
            sent_bytes_per_s: per_s("gateway_bytes_out") + per_s("gateway_quic_bytes_out"),
            accepted_per_s: per_s("gateway_sends_accepted"),
            delivered_per_s: per_s("gateway_deliveries"),
            refused_per_s: per_s("gateway_refused"),
        }
    }

    fn commits(&self, labels: Labels<'_>) -> Commits {
        let mut buckets = self.after.buckets("router_commit_us_bucket", labels);
        for (bound, count) in self.before.buckets("router_commit_us_bucket", labels) {
            buckets.entry(bound).and_modify(|now| *now = now.saturating_sub(count));
        }
        let per_s = self.per_s("router_batches", labels);
        let records_mean = (per_s > 0.0).then(|| self.per_s("router_records", labels) / per_s);
        Commits {
            per_s,
            bytes_per_s: self.per_s("router_batch_bytes", labels),
            records_mean,
            p50_us: quantile(0.5, &buckets),
            p99_us: quantile(0.99, &buckets),
        }
    }

    fn gateway(&self, core: &str) -> GatewayCore {
        let labels: Labels<'_> = &[("core", core)];
        GatewayCore {
            core: core.to_owned(),
            cpu: self.cpu(&format!("gateway-{core}")),
            connections: self.after.sum("gateway_open", labels),
            open: self.sum_of(SESSIONS, labels),
            received_per_s: self.per_s_of(FRAMES_IN, labels),
            sent_per_s: self.per_s_of(FRAMES_OUT, labels),
            refused_per_s: self.per_s("gateway_refused", labels),
            rings: Rings {
                depth: self.after.sum("gateway_ring_depth", labels),
                stalls_per_s: self.per_s_of(GATEWAY_STALLS, labels),
            },
            waiting_bytes: self.bytes_of(GATEWAY_MEMORY, labels),
        }
    }

    fn router(&self, core: &str) -> RouterCore {
        let labels: Labels<'_> = &[("core", core)];
        let is = |state: &&&str| self.after.sum("router_journal", &[("core", core), ("state", state)]) == 1;
        RouterCore {
            core: core.to_owned(),
            cpu: self.cpu(&format!("router-{core}")),
            journal: (*["failed", "full", "ready"].iter().find(is).unwrap_or(&"?")).to_owned(),
            commits: self.commits(labels),
            rings: Rings {
                depth: self.sum_of(ROUTER_DEPTHS, labels),
                stalls_per_s: self.per_s_of(ROUTER_STALLS, labels),
            },
            behind: self.after.sum("router_sessions_behind", labels),
            memory_bytes: self.bytes_of(ROUTER_MEMORY, labels),
        }
    }

    fn cpu(&self, thread: &str) -> f64 {
        self.per_s("process_thread_cpu_ms", &[("thread", thread)]) / 1e3
    }
}

/// The value below which this share of a cumulative histogram lies, straight between two bounds; the highest bound for what
/// lies above it. `None` when there is nothing.
#[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
fn quantile(share: f64, cumulative: &BTreeMap<u64, u64>) -> Option<f64> {
    let all = *cumulative.values().next_back()?;
    if all == 0 {
        return None;
    }
    let wanted = share * all as f64;
    let (mut low, mut below) = (0, 0);
    for (&bound, &count) in cumulative {
        if count as f64 >= wanted {
            if bound == u64::MAX {
                break;
            }
            let into = (wanted - below as f64) / (count - below).max(1) as f64;
            return Some(low as f64 + into * (bound - low) as f64);
        }
        (low, below) = (bound, count);
    }
    Some(low as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::time::Instant;

    use serde_json::{Value, json};

    use super::*;
    use crate::serve::figures_of_nothing;

    fn reading(at: Instant, figures: &[(&str, Value, u64)]) -> Reading {
        let mut names = serde_json::Map::new();
        for (name, labels, value) in figures {
            let list = names.entry(*name).or_insert_with(|| json!([]));
            list.as_array_mut().expect("a list").push(json!({"labels": labels, "value": value}));
        }
        Reading::parse(at, Value::Object(names).to_string().as_bytes()).expect("it is of the right form")
    }

    #[test]
    fn given_two_readings_when_compared_then_counters_become_rates_and_gauges_stay() {
        let begun = Instant::now();
        let core = |core: u32| json!({"core": core.to_string()});
        let bucket = |bound: &str| json!({"core": "0", "le": bound});
        let before = reading(
            begun,
            &[
                ("process_started_ms", json!({}), 7),
                ("gateway_turns", core(0), 1),
                ("gateway_frames_in", core(0), 100),
                ("gateway_frames_in", core(10), 0),
                ("gateway_frames_out", core(0), 10),
                ("gateway_quic_frames_out", core(0), 5),
                ("gateway_refused", json!({"core": "0", "code": "overloaded"}), 4),
                ("process_thread_cpu_ms", json!({"thread": "gateway-0"}), 1_000),
            ],
        );
        let after = reading(
            begun + Duration::from_secs(2),
            &[
                ("process_started_ms", json!({}), 7),
                ("gateway_turns", core(10), 1),
                ("gateway_turns", core(2), 1),
                ("gateway_turns", core(0), 1),
                ("gateway_frames_in", core(0), 300),
                ("gateway_frames_in", core(10), 50),
                ("gateway_frames_out", core(0), 30),
                ("gateway_quic_frames_out", core(0), 45),
                ("gateway_sessions", core(0), 3),
                ("gateway_refused", json!({"core": "0", "code": "overloaded"}), 10),
                ("gateway_refused", json!({"core": "0", "code": "draining"}), 0),
                ("process_thread_cpu_ms", json!({"thread": "gateway-0"}), 2_500),
                ("router_turns", core(0), 1),
                ("router_journal", json!({"core": "0", "state": "ready"}), 0),
                ("router_journal", json!({"core": "0", "state": "full"}), 1),
                ("router_batches", core(0), 10),
                ("router_records", core(0), 40),
                ("router_commit_us_bucket", bucket("100"), 0),
                ("router_commit_us_bucket", bucket("200"), 10),
                ("router_commit_us_bucket", bucket("+Inf"), 10),
            ],
        );
        let picture = Picture::between(&before, &after).expect("the same process");
        assert!((picture.messages.received_per_s - 125.0).abs() < 1e-9);
        assert_eq!(picture.refused, [("overloaded".to_owned(), 3.0)]);
        assert_eq!(picture.connections.open, 3);
        let cores: Vec<_> = picture.gateways.iter().map(|gateway| gateway.core.as_str()).collect();
        assert_eq!(cores, ["0", "2", "10"]);
        assert!((picture.gateways[0].cpu - 0.75).abs() < 1e-9);
        assert!((picture.gateways[0].sent_per_s - 30.0).abs() < 1e-9, "over either transport");
        let router = &picture.routers[0];
        assert_eq!((router.journal.as_str(), router.commits.records_mean), ("full", Some(4.0)));
        assert_eq!((router.commits.p50_us, router.commits.p99_us), (Some(150.0), Some(199.0)));
    }

    #[test]
    fn given_a_server_then_every_figure_that_is_shown_is_one_of_its_own() {
        let samples = figures_of_nothing();
        let figures: Vec<_> = samples
            .iter()
            .map(|sample| {
                let labels: HashMap<_, _> = sample.labels.iter().cloned().collect();
                (sample.name.as_str(), json!(labels), sample.value)
            })
            .collect();
        let reading = reading(Instant::now(), &figures);
        let picture = Picture::between(&reading, &reading).expect("the same process");
        assert_eq!((picture.gateways.len(), picture.routers.len()), (1, 1));
        assert_eq!(reading.asked_in_vain(), [""; 0]);
    }

    #[test]
    fn given_a_server_that_was_started_anew_then_there_is_nothing_between() {
        let begun = Instant::now();
        let of = |started| reading(begun, &[("process_started_ms", json!({}), started)]);
        assert!(Picture::between(&of(1), &of(2)).is_none());
        assert!(Picture::between(&of(2), &of(2)).is_some());
    }

    #[test]
    fn given_histograms_when_asked_for_quantiles_then_they_lie_in_the_right_bucket() {
        #[track_caller]
        fn check(share: f64, cumulative: &[(u64, u64)], expect: Option<f64>) {
            assert_eq!(quantile(share, &cumulative.iter().copied().collect()), expect);
        }
        check(0.5, &[], None);
        check(0.5, &[(64, 0), (u64::MAX, 0)], None);
        check(0.5, &[(64, 4), (u64::MAX, 4)], Some(32.0));
        check(0.99, &[(100, 50), (200, 100), (u64::MAX, 100)], Some(198.0));
        check(0.99, &[(100, 50), (200, 60), (u64::MAX, 100)], Some(200.0));
    }
}
