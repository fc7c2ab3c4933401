//! The configuration as it stands in the file: every key optional, nothing checked but its type.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use switchyard_gateway_core::limits;
use switchyard_gateway_server::limits::QUIC_RESUMPTIONS_DEFAULT;

/// The file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawConfig {
    pub(crate) data: Data,
    pub(crate) gateway: Gateway,
    pub(crate) limits: Limits,
    pub(crate) router: Router,
    pub(crate) admin: Admin,
    pub(crate) auth: Auth,
    pub(crate) log: Log,
    pub(crate) shutdown: Shutdown,
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name { $(pub(crate) $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

section!(
    /// `[data]`
    Data {
        dir: PathBuf = PathBuf::from("switchyard-data"),
        shard_count: u16 = switchyard_schema::limits::SHARD_COUNT_DEFAULT,
        segment_bytes: u64 = 64 << 20,
    }
);
section!(
    /// `[gateway]`
    Gateway {
        listen_ws: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7400)),
        listen_wss: MaybeAddress = MaybeAddress(None),
        listen_quic: MaybeAddress = MaybeAddress(None),
        quic_resumptions: usize = QUIC_RESUMPTIONS_DEFAULT,
        cores: u16 = 0,
        max_connections: usize = 18_000,
        reconnects_per_second: u32 = limits::ADMISSIONS_PER_SECOND,
        heartbeat_ms: u32 = 30_000,
        allowed_origins: Vec<String> = Vec::new(),
        echo: bool = false,
        pin: bool = true,
        tls: Tls = Tls::default(),
    }
);
section!(
    /// `[gateway.tls]`
    Tls {
        certificate: PathBuf = PathBuf::new(),
        key: PathBuf = PathBuf::new(),
        min_version: TlsVersion = TlsVersion::V13,
    }
);
section!(
    /// `[limits]`
    Limits {
        sends_per_second: u32 = limits::SENDS_PER_SECOND,
        fetches_per_second: u32 = limits::FETCHES_PER_SECOND,
        pings_per_second: u32 = limits::PINGS_PER_SECOND,
        frames_per_second: u32 = limits::FRAMES_PER_SECOND,
        user_sends_per_second: u32 = limits::USER_RATE_FACTOR * limits::SENDS_PER_SECOND,
        user_fetches_per_second: u32 = limits::USER_RATE_FACTOR * limits::FETCHES_PER_SECOND,
        user_pings_per_second: u32 = limits::USER_RATE_FACTOR * limits::PINGS_PER_SECOND,
        new_conversations_per_hour: u32 = limits::NEW_CONVERSATIONS_PER_HOUR,
        handshakes_per_second: u32 = limits::HANDSHAKES_PER_SECOND,
    }
);
section!(
    /// `[router]`
    Router {
        cores: u16 = 0,
        tail_bytes: usize = 64 << 20,
        state_bytes: usize = 512 << 20,
    }
);
section!(
    /// `[admin]`
    Admin {
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7401)),
    }
);
section!(
    /// `[auth]`
    Auth {
        keys_dir: PathBuf = PathBuf::new(),
        audience: String = "switchyard".to_owned(),
    }
);
section!(
    /// `[log]`
    Log {
        level: String = "info".to_owned(),
        format: LogFormat = LogFormat::Text,
    }
);
section!(
    /// `[shutdown]`
    Shutdown {
        drain_ms: u64 = 10_000,
        answers_ms: u64 = limits::DRAIN_GRACE_MS,
    }
);

/// An address, or an empty text for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct MaybeAddress(pub(crate) Option<SocketAddr>);

impl TryFrom<String> for MaybeAddress {
    type Error = std::net::AddrParseError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|address| Self(Some(address))) }
    }
}

impl From<MaybeAddress> for String {
    fn from(MaybeAddress(address): MaybeAddress) -> Self {
        address.map(|address| address.to_string()).unwrap_or_default()
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TlsVersion {
    #[serde(rename = "tls1.2")]
    V12,
    #[serde(rename = "tls1.3")]
    V13,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// One line a person reads.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the command line says; it wins over file and environment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    pub(crate) dev: bool,
    pub(crate) data: Option<PathBuf>,
    pub(crate) listen_ws: Option<SocketAddr>,
    pub(crate) listen_wss: Option<SocketAddr>,
    pub(crate) listen_quic: Option<SocketAddr>,
    pub(crate) listen_admin: Option<SocketAddr>,
    pub(crate) gateway_cores: Option<u16>,
    pub(crate) router_cores: Option<u16>,
    pub(crate) log_format: Option<LogFormat>,
}

impl RawConfig {
    /// Puts the flags over what the file and the environment say.
    pub(crate) fn apply(&mut self, flags: &Flags) {
        fn set<T: Clone>(place: &mut T, value: Option<&T>) {
            if let Some(value) = value {
                place.clone_from(value);
            }
        }
        set(&mut self.data.dir, flags.data.as_ref());
        set(&mut self.gateway.listen_ws, flags.listen_ws.as_ref());
        set(&mut self.gateway.listen_wss, flags.listen_wss.map(|address| MaybeAddress(Some(address))).as_ref());
        set(&mut self.gateway.listen_quic, flags.listen_quic.map(|address| MaybeAddress(Some(address))).as_ref());
        set(&mut self.admin.listen, flags.listen_admin.as_ref());
        set(&mut self.gateway.cores, flags.gateway_cores.as_ref());
        set(&mut self.router.cores, flags.router_cores.as_ref());
        set(&mut self.log.format, flags.log_format.as_ref());
    }
}
