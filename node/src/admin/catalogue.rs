//! Every Prometheus metric: its name, its type, what it says, and which figures it is made of.
//!
//! Names and units follow <https://prometheus.io/docs/practices/naming/>; what any process has is named as everywhere.
//! `docs/metrics.md` lists them for people.

use Kind::{Counter, Gauge, Histogram};
use Unit::{Microseconds, Milliseconds, Plain};

/// A metric.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The unit of its figures. The metric itself is in base units.
    pub(super) unit: Unit,
    pub(super) help: &'static str,
    pub(super) series: &'static [Series],
}

/// How a metric behaves.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Made of the figure `<of>`, the sum, and the figures `<of>_bucket`, cumulative by their label `le`.
    Histogram,
}

/// What a figure is counted in.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// The base unit.
    Plain,
    Milliseconds,
    Microseconds,
}

/// The figures of one name, which keep their labels and get these.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) of: &'static str,
    pub(super) labels: &'static [Label],
}

type Label = (&'static str, &'static str);

const fn metric(name: &'static str, kind: Kind, unit: Unit, help: &'static str, series: &'static [Series]) -> Family {
    Family { name, kind, unit, help, series }
}

const fn of(of: &'static str) -> Series {
    Series { of, labels: &[] }
}

const fn labelled(of: &'static str, labels: &'static [Label]) -> Series {
    Series { of, labels }
}

const WEBSOCKET: Label = ("transport", "websocket");
const QUIC: Label = ("transport", "quic");

/// All metrics, in the order they are shown.
pub(super) const FAMILIES: &[Family] = &[
    metric(
        "switchyard_build_info",
        Gauge,
        Plain,
        "Always 1; the label says which version runs.",
        &[of("server_build")],
    ),
    metric(
        "process_start_time_seconds",
        Gauge,
        Milliseconds,
        "When the process began, in seconds since 1970.",
        &[of("process_started_ms")],
    ),
    metric(
        "switchyard_uptime_seconds",
        Gauge,
        Milliseconds,
        "How long the process has run.",
        &[of("process_uptime_ms")],
    ),
    metric(
        "process_resident_memory_bytes",
        Gauge,
        Plain,
        "Resident memory of the process.",
        &[of("process_resident_bytes")],
    ),
    metric(
        "process_cpu_seconds_total",
        Counter,
        Milliseconds,
        "User and system time of all threads.",
        &[of("process_cpu_ms")],
    ),
    metric(
        "switchyard_thread_cpu_seconds_total",
        Counter,
        Milliseconds,
        "User and system time of the lasting threads: gateway-N and router-N are the cores.",
        &[of("process_thread_cpu_ms")],
    ),
    metric("switchyard_ready", Gauge, Plain, "1 when clients should be sent here (/readyz).", &[of("server_ready")]),
    metric("switchyard_faults", Gauge, Plain, "What is broken now; /healthz says what it is.", &[of("server_faults")]),
    metric(
        "switchyard_data_free_bytes",
        Gauge,
        Plain,
        "What this process may still write on the disk of the data folder.",
        &[of("data_free_bytes")],
    ),
    metric(
        "switchyard_data_size_bytes",
        Gauge,
        Plain,
        "Size of the disk of the data folder.",
        &[of("data_size_bytes")],
    ),
    metric(
        "switchyard_tls_certificate_expiry_timestamp_seconds",
        Gauge,
        Milliseconds,
        "When the certificate that is shown expires, in seconds since 1970; with a TLS or QUIC listener only, as the next two.",
        &[of("tls_certificate_expires_ms")],
    ),
    metric(
        "switchyard_tls_certificate_reads_total",
        Counter,
        Plain,
        "Times that the certificate's files had changed or SIGHUP came, by whether what they held is shown or was refused.",
        &[of("tls_certificate_reads")],
    ),
    metric(
        "switchyard_tls_certificate_stale",
        Gauge,
        Plain,
        "1 while the certificate's files hold nothing that can be shown; the one before is.",
        &[of("tls_certificate_stale")],
    ),
    metric(
        "switchyard_gateway_connections",
        Gauge,
        Plain,
        "Connections by how far they are; each is counted once.",
        &[
            labelled("gateway_upgrading", &[WEBSOCKET, ("state", "handshake")]),
            labelled("gateway_awaiting_hello", &[WEBSOCKET, ("state", "awaiting_hello")]),
            labelled("gateway_attaching", &[WEBSOCKET, ("state", "attaching")]),
            labelled("gateway_sessions", &[WEBSOCKET, ("state", "open")]),
            labelled("gateway_echoing", &[WEBSOCKET, ("state", "echo")]),
            labelled("gateway_closing", &[WEBSOCKET, ("state", "closing")]),
            labelled("gateway_quic_upgrading", &[QUIC, ("state", "handshake")]),
            labelled("gateway_quic_awaiting_hello", &[QUIC, ("state", "awaiting_hello")]),
            labelled("gateway_quic_attaching", &[QUIC, ("state", "attaching")]),
            labelled("gateway_quic_sessions", &[QUIC, ("state", "open")]),
            labelled("gateway_quic_closing", &[QUIC, ("state", "closing")]),
        ],
    ),
    metric(
        "switchyard_gateway_connections_limit",
        Gauge,
        Plain,
        "The thread's even share of the connections that the server may hold; who comes beyond the sum is turned away.",
        &[of("gateway_connections_max")],
    ),
    metric(
        "switchyard_gateway_accepts_total",
        Counter,
        Plain,
        "Connections accepted, those included that were turned away at once; over QUIC those whose handshake was begun.",
        &[labelled("gateway_accepted", &[WEBSOCKET]), labelled("gateway_quic_accepted", &[QUIC])],
    ),
    metric(
        "switchyard_gateway_accept_pauses_total",
        Counter,
        Plain,
        "Times that accepting paused because descriptors or memory ran out.",
        &[of("gateway_accept_pauses")],
    ),
    metric(
        "switchyard_gateway_handshake_failures_total",
        Counter,
        Plain,
        "Connections that did not become a WebSocket, and QUIC handshakes that came to nothing, by why.",
        &[
            labelled("gateway_handshakes_malformed", &[WEBSOCKET, ("reason", "malformed")]),
            labelled("gateway_handshakes_not_found", &[WEBSOCKET, ("reason", "not_found")]),
            labelled("gateway_handshakes_forbidden", &[WEBSOCKET, ("reason", "forbidden")]),
            labelled("gateway_handshakes_timed_out", &[WEBSOCKET, ("reason", "timed_out")]),
            labelled("gateway_handshakes_limited", &[WEBSOCKET, ("reason", "rate_limited")]),
            labelled("gateway_turned_away", &[WEBSOCKET, ("reason", "full")]),
            labelled("gateway_handshakes_put_off", &[WEBSOCKET, ("reason", "busy")]),
            labelled("gateway_tls_not_tls", &[WEBSOCKET, ("reason", "tls_plain_text")]),
            labelled("gateway_tls_incompatible", &[WEBSOCKET, ("reason", "tls_incompatible")]),
            labelled("gateway_tls_refused", &[WEBSOCKET, ("reason", "tls_refused")]),
            labelled("gateway_tls_malformed", &[WEBSOCKET, ("reason", "tls_malformed")]),
            labelled("gateway_tls_timed_out", &[WEBSOCKET, ("reason", "tls_timed_out")]),
            labelled("gateway_tls_abandoned", &[WEBSOCKET, ("reason", "tls_abandoned")]),
            labelled("gateway_quic_handshakes_malformed", &[QUIC, ("reason", "malformed")]),
            labelled("gateway_quic_handshakes_timed_out", &[QUIC, ("reason", "timed_out")]),
            labelled("gateway_quic_handshakes_refused", &[QUIC, ("reason", "refused")]),
            labelled("gateway_quic_handshakes_abandoned", &[QUIC, ("reason", "abandoned")]),
            labelled("gateway_quic_handshakes_limited", &[QUIC, ("reason", "rate_limited")]),
            labelled("gateway_quic_turned_away", &[QUIC, ("reason", "full")]),
            labelled("gateway_quic_handshakes_put_off", &[QUIC, ("reason", "busy")]),
        ],
    ),
    metric(
        "switchyard_gateway_tls_connections",
        Gauge,
        Plain,
        "Connections with TLS, those included whose handshake is under way.",
        &[of("gateway_tls")],
    ),
    metric(
        "switchyard_gateway_tls_handshakes_total",
        Counter,
        Plain,
        "TLS handshakes done: in full, or spared because the client resumed.",
        &[
            labelled("gateway_tls_established", &[("kind", "full")]),
            labelled("gateway_tls_resumed", &[("kind", "resumed")]),
        ],
    ),
    metric(
        "switchyard_gateway_hellos_waiting",
        Gauge,
        Plain,
        "Sessions whose Hello has come and waits for its turn.",
        &[of("gateway_hellos_waiting")],
    ),
    metric(
        "switchyard_gateway_newcomers_through_total",
        Counter,
        Plain,
        "Newcomers that waited, for their Hello's turn or for the router, and no longer do, whatever became of them.",
        &[of("gateway_newcomers_through")],
    ),
    metric(
        "switchyard_gateway_turn_late_seconds",
        Gauge,
        Microseconds,
        "How long what arrives waits for its turn, on an average of the last few; newcomers are let in by it.",
        &[of("gateway_turn_late_us")],
    ),
    metric(
        "switchyard_gateway_dropped_connections_total",
        Counter,
        Plain,
        "Connections ended for what the client did, by what that was.",
        &[
            labelled("gateway_protocol_errors", &[WEBSOCKET, ("reason", "protocol_error")]),
            labelled("gateway_too_slow", &[WEBSOCKET, ("reason", "too_slow")]),
            labelled("gateway_too_fast", &[WEBSOCKET, ("reason", "too_fast")]),
            labelled("gateway_tls_broken", &[WEBSOCKET, ("reason", "tls_error")]),
            labelled("gateway_quic_protocol_errors", &[QUIC, ("reason", "protocol_error")]),
        ],
    ),
    metric(
        "switchyard_gateway_read_pauses_total",
        Counter,
        Plain,
        "Times that a session was not read for a while because too many frames came.",
        &[of("gateway_flood_pauses")],
    ),
    metric(
        "switchyard_gateway_messages_received_total",
        Counter,
        Plain,
        "WebSocket messages and control frames received, and frames over QUIC.",
        &[labelled("gateway_frames_in", &[WEBSOCKET]), labelled("gateway_quic_frames_in", &[QUIC])],
    ),
    metric(
        "switchyard_gateway_messages_sent_total",
        Counter,
        Plain,
        "WebSocket messages and control frames queued to be written, and frames over QUIC.",
        &[labelled("gateway_frames_out", &[WEBSOCKET]), labelled("gateway_quic_frames_out", &[QUIC])],
    ),
    metric(
        "switchyard_gateway_received_bytes_total",
        Counter,
        Plain,
        "Bytes received; over QUIC those of whole datagrams.",
        &[labelled("gateway_bytes_in", &[WEBSOCKET]), labelled("gateway_quic_bytes_in", &[QUIC])],
    ),
    metric(
        "switchyard_gateway_sent_bytes_total",
        Counter,
        Plain,
        "Bytes written; over QUIC those of whole datagrams.",
        &[labelled("gateway_bytes_out", &[WEBSOCKET]), labelled("gateway_quic_bytes_out", &[QUIC])],
    ),
    metric(
        "switchyard_gateway_quic_retries_total",
        Counter,
        Plain,
        "Clients that were told to prove their address before their QUIC handshake goes on.",
        &[of("gateway_quic_retries")],
    ),
    metric(
        "switchyard_gateway_quic_resumptions_total",
        Counter,
        Plain,
        "QUIC clients that came to resume, by whether what they resume was known; gateway.quic_resumptions says how many are.",
        &[
            labelled("gateway_quic_resumed", &[("result", "known")]),
            labelled("gateway_quic_not_resumed", &[("result", "unknown")]),
        ],
    ),
    metric(
        "switchyard_gateway_quic_early_sessions_total",
        Counter,
        Plain,
        "QUIC sessions that began before their handshake was done (0-RTT).",
        &[of("gateway_quic_early")],
    ),
    metric(
        "switchyard_gateway_quic_early_sessions_held_total",
        Counter,
        Plain,
        "Of those, sessions of which something had to wait for the handshake: it could do harm if it were a replay.",
        &[of("gateway_quic_early_held")],
    ),
    metric(
        "switchyard_gateway_quic_large_pages_total",
        Counter,
        Plain,
        "Large pages that went on QUIC streams of their own.",
        &[of("gateway_quic_pages_aside")],
    ),
    metric(
        "switchyard_gateway_quic_misrouted_total",
        Counter,
        Plain,
        "QUIC datagrams that came to another thread than that of their connection, by what became of them.",
        &[
            labelled("gateway_quic_passed_on", &[("result", "passed_on")]),
            labelled("gateway_quic_not_passed_on", &[("result", "dropped")]),
        ],
    ),
    metric(
        "switchyard_gateway_sends_accepted_total",
        Counter,
        Plain,
        "Messages whose sender was told that they are durable.",
        &[of("gateway_sends_accepted")],
    ),
    metric(
        "switchyard_gateway_deliveries_total",
        Counter,
        Plain,
        "Messages handed to a session, counted for each session.",
        &[of("gateway_deliveries")],
    ),
    metric(
        "switchyard_gateway_refusals_total",
        Counter,
        Plain,
        "Errors sent to clients, by the code's name in docs/protocol.md.",
        &[of("gateway_refused")],
    ),
    metric(
        "switchyard_gateway_ring_sent_total",
        Counter,
        Plain,
        "Messages pushed to router cores.",
        &[of("gateway_router_out")],
    ),
    metric(
        "switchyard_gateway_ring_received_total",
        Counter,
        Plain,
        "Messages popped from router cores.",
        &[of("gateway_router_in")],
    ),
    metric(
        "switchyard_gateway_ring_depth",
        Gauge,
        Plain,
        "Messages of router cores that waited when the newest turn began.",
        &[of("gateway_ring_depth")],
    ),
    metric(
        "switchyard_gateway_ring_stalls_total",
        Counter,
        Plain,
        "Messages to a router core that had to wait: for one of its credits, or for room in its ring.",
        &[
            labelled("gateway_credit_stalls", &[("waits_for", "credit")]),
            labelled("gateway_room_stalls", &[("waits_for", "room")]),
        ],
    ),
    metric(
        "switchyard_gateway_memory_bytes",
        Gauge,
        Plain,
        "Bytes that cannot be handled yet (held), that wait to be written (outbound), and records that are not whole or not taken (tls).",
        &[
            labelled("gateway_held_bytes", &[("part", "held")]),
            labelled("gateway_outbound_bytes", &[("part", "outbound")]),
            labelled("gateway_tls_kept_bytes", &[("part", "tls")]),
        ],
    ),
    metric("switchyard_gateway_turns_total", Counter, Plain, "Turns of the thread.", &[of("gateway_turns")]),
    metric(
        "switchyard_gateway_stalls_total",
        Counter,
        Plain,
        "Times that the thread stood still for longer than one that works does; counted when it goes on.",
        &[of("gateway_stalls")],
    ),
    metric(
        "switchyard_gateway_silence_seconds",
        Gauge,
        Milliseconds,
        "How long the thread has given no sign of life; one that works sleeps for up to half a second.",
        &[of("gateway_silence_ms")],
    ),
    metric(
        "switchyard_router_journal_state",
        Gauge,
        Plain,
        "1 for the state that the core's journal is in. Full and failed refuse messages; failed stays until a restart.",
        &[of("router_journal")],
    ),
    metric(
        "switchyard_router_commit_duration_seconds",
        Histogram,
        Microseconds,
        "Time of a batch from when its write began until it was durable.",
        &[of("router_commit_us")],
    ),
    metric("switchyard_router_commit_records", Histogram, Plain, "Records of a batch.", &[of("router_records")]),
    metric(
        "switchyard_router_commit_size_bytes",
        Histogram,
        Plain,
        "Bytes of a batch, padding included.",
        &[of("router_batch_bytes")],
    ),
    metric("switchyard_router_segments_total", Counter, Plain, "Journal segments made.", &[of("router_segments")]),
    metric(
        "switchyard_router_segment_failures_total",
        Counter,
        Plain,
        "Journal segments that could not be made.",
        &[of("router_segments_refused")],
    ),
    metric(
        "switchyard_router_ring_received_total",
        Counter,
        Plain,
        "Messages popped, by whom they came from.",
        &[
            labelled("router_gateway_messages", &[("from", "gateways")]),
            labelled("router_peer_messages", &[("from", "routers")]),
        ],
    ),
    metric(
        "switchyard_router_ring_sent_total",
        Counter,
        Plain,
        "Messages pushed, by whom they go to.",
        &[labelled("router_to_gateways", &[("to", "gateways")]), labelled("router_to_cores", &[("to", "routers")])],
    ),
    metric(
        "switchyard_router_ring_depth",
        Gauge,
        Plain,
        "Messages that waited when the newest turn came to their ring, by whom they come from.",
        &[
            labelled("router_ring_depth", &[("from", "gateways")]),
            labelled("router_peer_ring_depth", &[("from", "routers")]),
        ],
    ),
    metric(
        "switchyard_router_ring_stalls_total",
        Counter,
        Plain,
        "Times that a turn began with no open slot in a ring, by whom it goes to.",
        &[
            labelled("router_to_gateways_full", &[("to", "gateways")]),
            labelled("router_to_cores_full", &[("to", "routers")]),
        ],
    ),
    metric(
        "switchyard_router_sessions_behind",
        Gauge,
        Plain,
        "Attached sessions that lack messages: they are being caught up, or do not acknowledge.",
        &[of("router_sessions_behind")],
    ),
    metric(
        "switchyard_router_conversations_behind",
        Gauge,
        Plain,
        "Conversations that have messages for such sessions, counted for each session.",
        &[of("router_conversations_behind")],
    ),
    metric(
        "switchyard_router_memory_bytes",
        Gauge,
        Plain,
        "Memory by what for: users and conversations (state), newest messages (tail), records that wait for the journal \
         (queue), reads of the journal (history).",
        &[
            labelled("router_state_bytes", &[("part", "state")]),
            labelled("router_tail_bytes", &[("part", "tail")]),
            labelled("router_queued_bytes", &[("part", "queue")]),
            labelled("router_history_cache_bytes", &[("part", "history")]),
        ],
    ),
    metric("switchyard_router_users", Gauge, Plain, "Users in memory.", &[of("router_users")]),
    metric("switchyard_router_conversations", Gauge, Plain, "Conversations in memory.", &[of("router_conversations")]),
    metric(
        "switchyard_router_evictions_total",
        Counter,
        Plain,
        "Users and conversations that left memory.",
        &[of("router_evictions")],
    ),
    metric(
        "switchyard_router_loads_total",
        Counter,
        Plain,
        "Users and conversations loaded from the state store.",
        &[of("router_loads")],
    ),
    metric(
        "switchyard_router_snapshots_total",
        Counter,
        Plain,
        "Snapshots of a shard handed to the state store.",
        &[of("router_snapshots")],
    ),
    metric(
        "switchyard_router_store_backlog",
        Gauge,
        Plain,
        "Requests that wait for room at the state store.",
        &[of("router_store_backlog")],
    ),
    metric(
        "switchyard_router_history_reads_total",
        Counter,
        Plain,
        "Reads of the journal for history and catch-up.",
        &[of("router_history_reads")],
    ),
    metric(
        "switchyard_router_history_walks",
        Gauge,
        Plain,
        "Walks through history under way or in line.",
        &[of("router_history_walks")],
    ),
    metric(
        "switchyard_router_damaged_reads_total",
        Counter,
        Plain,
        "Reads of history that met damaged data, which is not served.",
        &[of("router_damaged_reads")],
    ),
    metric(
        "switchyard_router_queued_records",
        Gauge,
        Plain,
        "Records that wait for the next batches.",
        &[of("router_queued_records")],
    ),
    metric(
        "switchyard_router_pending_releases",
        Gauge,
        Plain,
        "Answers and facts that wait until their record is made and durable: what members were told waits for a tenth of a second.",
        &[of("router_pending")],
    ),
    metric(
        "switchyard_router_unconfirmed_facts",
        Gauge,
        Plain,
        "Facts that other shards have not confirmed: at rest none, else what was told in the last tenth of a second.",
        &[of("router_unconfirmed_facts")],
    ),
    metric(
        "switchyard_router_parked_inputs",
        Gauge,
        Plain,
        "Inputs that wait for users and conversations to be loaded.",
        &[of("router_parked_inputs")],
    ),
    metric("switchyard_router_turns_total", Counter, Plain, "Turns of the core's loop.", &[of("router_turns")]),
    metric("switchyard_router_sleeps_total", Counter, Plain, "Times that the loop slept.", &[of("router_sleeps")]),
    metric(
        "switchyard_router_stalls_total",
        Counter,
        Plain,
        "Times that the loop stood still for longer than a core that works does; counted when it goes on.",
        &[of("router_stalls")],
    ),
    metric(
        "switchyard_router_silence_seconds",
        Gauge,
        Milliseconds,
        "How long the core has given no sign of life; one that works sleeps for up to half a second.",
        &[of("router_silence_ms")],
    ),
    metric(
        "switchyard_router_replayed_records",
        Gauge,
        Plain,
        "Records that the start replayed; all of them are told with core 0.",
        &[of("router_replayed_records")],
    ),
    metric(
        "switchyard_router_recovery_duration_seconds",
        Gauge,
        Milliseconds,
        "How long recovery took at the start; told with core 0.",
        &[of("router_recovery_ms")],
    ),
];
