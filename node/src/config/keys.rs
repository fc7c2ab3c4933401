//! Every configuration key with what it means. `config print` and the tests are driven by this table.

/// A key of the configuration file.
pub(crate) struct Key {
    /// The table it stands in.
    pub(crate) section: &'static str,
    /// Its name in that table.
    pub(crate) name: &'static str,
    /// What it means, with unit and bounds.
    pub(crate) doc: &'static str,
}

const fn key(section: &'static str, name: &'static str, doc: &'static str) -> Key {
    Key { section, name, doc }
}

/// The section whose limits `--dev` lifts, so that one machine can be measured with a few connections.
pub(crate) const LIMITS: &str = "limits";

/// All keys, in the order they are printed.
pub(crate) const KEYS: &[Key] = &[
    key("data", "dir", "Folder of journal, state and keys. Created when missing; one server at a time."),
    key("data", "shard_count", "Shards of a new data folder, 1 to 1024. Fixed when the folder is made."),
    key("data", "segment_bytes", "Bytes of a journal segment, a multiple of 1 MiB, 1 MiB to 1 GiB."),
    key("gateway", "listen_ws", "Address of the WebSocket listener."),
    key("gateway", "listen_wss", "Address of the WebSocket listener that speaks TLS (wss://). Empty: there is none."),
    key(
        "gateway",
        "listen_quic",
        "Address of the QUIC listener (UDP), which shows the certificate of gateway.tls. Empty: there is none.",
    ),
    key(
        "gateway",
        "quic_resumptions",
        "QUIC clients that can resume and speak first (0-RTT), the newest, some 250 bytes each; 0: every handshake is in full.",
    ),
    key(
        "gateway",
        "cores",
        "Gateway threads; 0 chooses by the host's cores, and by how many descriptor tables max_connections needs.",
    ),
    key(
        "gateway",
        "max_connections",
        "Connections of the whole process; beyond it a handshake gets 503, TLS no answer, QUIC a refusal.",
    ),
    key(
        "gateway",
        "reconnects_per_second",
        "Connections that the whole server takes in a second; clients that are sent away come back at this rate.",
    ),
    key("gateway", "heartbeat_ms", "Silence after which the server pings; after twice this it gives up."),
    key("gateway", "allowed_origins", "Browser origins that may connect; a request without Origin always may."),
    key(
        "gateway",
        "echo",
        "Whether GET /echo upgrades to a plain echo, and QUIC has one (switchyard.echo), for conformance suites.",
    ),
    key("gateway", "pin", "Whether gateway and router threads are pinned to cores."),
    key(
        "gateway.tls",
        "certificate",
        "PEM file of the certificate chain, the server's own first. Read again when it changes, and at SIGHUP.",
    ),
    key("gateway.tls", "key", "PEM file of the certificate's private key. --dev makes both where none is named."),
    key("gateway.tls", "min_version", "Oldest version that is spoken: tls1.3, or tls1.2 for clients that are old."),
    key(
        "limits",
        "sends_per_second",
        "Sends of one connection; ten seconds' worth at once, as for all of these; 0: no limit.",
    ),
    key("limits", "fetches_per_second", "Fetches of one connection."),
    key("limits", "pings_per_second", "Ping frames of one connection."),
    key(
        "limits",
        "frames_per_second",
        "WebSocket messages and control frames of one connection, or QUIC frames; beyond it, it is not read.",
    ),
    key("limits", "user_sends_per_second", "Sends of all connections of a user, at each gateway thread."),
    key("limits", "user_fetches_per_second", "Fetches of all connections of a user, at each gateway thread."),
    key("limits", "user_pings_per_second", "Ping frames of all connections of a user, at each gateway thread."),
    key("limits", "new_conversations_per_hour", "Direct conversations that a user may begin, at each gateway thread."),
    key("limits", "handshakes_per_second", "New connections of one address, at each gateway thread; 0 behind a proxy."),
    key("router", "cores", "Router threads; 0 chooses by the host's cores."),
    key("router", "tail_bytes", "Memory for the newest messages of conversations, all shards together."),
    key("router", "state_bytes", "Memory for the hot set of users and conversations, all shards together."),
    key("admin", "listen", "Address of health, stats and metrics. Loopback only."),
    key("auth", "keys_dir", "Folder of Ed25519 public keys, <kid>.pem. Empty: `keys` in the data folder."),
    key("auth", "audience", "The `aud` that a token must name."),
    key("log", "level", "error, warn, info, debug, trace, or a tracing filter."),
    key("log", "format", "text or json."),
    key("shutdown", "drain_ms", "How long SIGTERM lets clients leave before their connections are closed."),
    key(
        "shutdown",
        "answers_ms",
        "How long of that a session may wait for answers; one without any open leaves at once.",
    ),
];
