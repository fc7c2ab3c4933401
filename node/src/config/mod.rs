//! Configuration: a TOML file, environment overrides, flags; parsed once into [`Config`].
//!
//! Later wins: defaults, file, environment (`SWITCHYARD_GATEWAY__LISTEN_WS`), flags. An unknown key is an error.

mod check;
mod environment;
mod keys;
mod print;
mod raw;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use switchyard_gateway_core::rate::{Rate, RateLimits};
use switchyard_gateway_server::tls::certificates::Versions;
use switchyard_schema::ids::ShardCount;

pub(crate) use check::{CORES_MAX, chosen};
pub(crate) use print::print;
pub(crate) use raw::{Flags, LogFormat};

/// The configuration that the server runs with: every value is in its bounds.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) shard_count: ShardCount,
    pub(crate) segment_bytes: u32,
    pub(crate) listen_ws: SocketAddr,
    pub(crate) tls: Option<TlsConfig>,
    /// The certificate, or its key, that is named although no listener shows one.
    pub(crate) unshown_certificate: Option<PathBuf>,
    /// Gateway threads; `None`: as many as the processors and the descriptor tables ask for.
    pub(crate) gateway_cores: Option<u16>,
    pub(crate) max_connections: u32,
    pub(crate) reconnects_per_second: u32,
    pub(crate) heartbeat_ms: u32,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) echo: bool,
    pub(crate) pin: bool,
    pub(crate) router_cores: u16,
    pub(crate) tail_bytes: usize,
    pub(crate) state_bytes: usize,
    pub(crate) listen_admin: SocketAddr,
    pub(crate) keys_dir: PathBuf,
    pub(crate) audience: String,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    pub(crate) drain_ms: u64,
    pub(crate) answers_ms: u64,
    pub(crate) rates: RateLimits,
    /// New connections of one address, at each gateway thread.
    pub(crate) handshakes: Rate,
    /// `--dev`: a development key in the data folder, and `/echo`.
    pub(crate) dev: bool,
}

/// The listeners that show a certificate: there is one at least.
#[derive(Debug, Clone)]
pub(crate) struct TlsConfig {
    /// For WebSockets.
    pub(crate) wss: Option<SocketAddr>,
    /// For QUIC, over UDP.
    pub(crate) quic: Option<SocketAddr>,
    /// Clients over QUIC that can resume.
    pub(crate) quic_resumptions_max: usize,
    /// PEM files.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// Development makes the two itself, in this folder.
    pub(crate) made_in: Option<PathBuf>,
    /// On the WebSocket listener; QUIC has TLS 1.3 only.
    pub(crate) versions: Versions,
}

/// Why there is no configuration; each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("the configuration file {path} cannot be read: {source}; check the path given with --config")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error(
        "the configuration file {path} is not valid: {reason}\n`switchyard config print` shows every key with its default"
    )]
    Invalid { path: PathBuf, reason: String },
    #[error("the environment variable {name} is not valid: {reason}")]
    Environment { name: String, reason: String },
    #[error("{key} = {value} is not possible: {reason}")]
    Bounds { key: &'static str, value: String, reason: String },
}

/// Reads and checks the configuration.
pub(crate) fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Config, ConfigError> {
    check::check(raw(file, environment, flags)?, flags.dev)
}

/// What the file, the environment and the flags say together, before the bounds are checked.
pub(crate) fn raw(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<raw::RawConfig, ConfigError> {
    let mut table = toml::Table::new();
    let mut origin = PathBuf::from("(defaults)");
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        table = text.parse().map_err(|error: toml::de::Error| ConfigError::Invalid {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        path.clone_into(&mut origin);
    }
    environment::apply(&mut table, environment)?;
    if flags.dev {
        lift_limits(&mut table);
    }
    let mut raw: raw::RawConfig =
        table.try_into().map_err(|error| ConfigError::Invalid { path: origin, reason: error.to_string() })?;
    raw.apply(flags);
    Ok(raw)
}

/// Development has no rate limits but those that somebody named: a benchmark on one machine is what they are against.
fn lift_limits(table: &mut toml::Table) {
    let section = table.entry(keys::LIMITS).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    // Anything else than a table is refused by name right after this.
    let Some(section) = section.as_table_mut() else { return };
    for key in keys::KEYS.iter().filter(|key| key.section == keys::LIMITS) {
        section.entry(key.name).or_insert(toml::Value::Integer(0));
    }
}
