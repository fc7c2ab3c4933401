//! From what was written to what is possible: bounds, and what depends on the host.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use switchyard_gateway_core::rate::{Rate, RateLimits, Rates};
use switchyard_gateway_server::limits::QUIC_RESUMPTIONS_MAX;
use switchyard_gateway_server::tls::certificates::Versions;
use switchyard_schema::ids::ShardCount;

use super::raw::{Gateway, Limits, RawConfig, Tls, TlsVersion};
use super::{Config, ConfigError, TlsConfig};

/// Threads of one kind at most; each has rings to all of the other kind.
pub(crate) const CORES_MAX: u16 = 128;
/// Connections of one process at most: more than any host has memory for.
const CONNECTIONS_MAX: usize = 100_000_000;
const SEGMENT_BYTES_UNIT: u64 = 1 << 20;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;

pub(super) fn check(raw: RawConfig, dev: bool) -> Result<Config, ConfigError> {
    let host = std::thread::available_parallelism().map_or(1, NonZero::get);
    let segment_bytes = raw.data.segment_bytes;
    bounds(
        "data.segment_bytes",
        segment_bytes,
        (SEGMENT_BYTES_UNIT..=SEGMENT_BYTES_MAX).contains(&segment_bytes)
            && segment_bytes.is_multiple_of(SEGMENT_BYTES_UNIT),
        "it must be a multiple of 1048576 (1 MiB), at most 1073741824",
    )?;
    let shard_count = ShardCount::new(raw.data.shard_count).ok_or_else(|| ConfigError::Bounds {
        key: "data.shard_count",
        value: raw.data.shard_count.to_string(),
        reason: "it must lie between 1 and 1024".to_owned(),
    })?;
    bounds("gateway.cores", raw.gateway.cores, raw.gateway.cores <= CORES_MAX, "at most 128; 0 chooses")?;
    bounds("router.cores", raw.router.cores, raw.router.cores <= CORES_MAX, "at most 128; 0 chooses")?;
    bounds(
        "gateway.heartbeat_ms",
        raw.gateway.heartbeat_ms,
        (1_000..=3_600_000).contains(&raw.gateway.heartbeat_ms),
        "it must lie between 1000 (a second) and 3600000 (an hour)",
    )?;
    bounds(
        "gateway.max_connections",
        raw.gateway.max_connections,
        (1..=CONNECTIONS_MAX).contains(&raw.gateway.max_connections),
        "it must lie between 1 and 100000000",
    )?;
    bounds(
        "gateway.quic_resumptions",
        raw.gateway.quic_resumptions,
        raw.gateway.quic_resumptions <= QUIC_RESUMPTIONS_MAX,
        "it must be at most 16777216, for which memory is asked for at once",
    )?;
    bounds(
        "gateway.reconnects_per_second",
        raw.gateway.reconnects_per_second,
        (1..=1_000_000).contains(&raw.gateway.reconnects_per_second),
        "it must lie between 1 and 1000000",
    )?;
    bounds("router.tail_bytes", raw.router.tail_bytes, raw.router.tail_bytes >= 1 << 20, "at least 1048576 (1 MiB)")?;
    bounds(
        "router.state_bytes",
        raw.router.state_bytes,
        raw.router.state_bytes >= 1 << 20,
        "at least 1048576 (1 MiB)",
    )?;
    bounds(
        "admin.listen",
        raw.admin.listen,
        raw.admin.listen.ip().is_loopback(),
        "the admin listener has no authentication and stays on loopback; put a proxy with authentication before it",
    )?;
    let tls = tls(&raw.gateway, &raw.data.dir, dev)?;
    let keys_dir = if named(&raw.auth.keys_dir) { raw.auth.keys_dir } else { raw.data.dir.join("keys") };
    Ok(Config {
        data_dir: raw.data.dir,
        shard_count,
        segment_bytes: u32::try_from(segment_bytes).expect("bounded above"),
        listen_ws: raw.gateway.listen_ws,
        tls,
        unshown_certificate: unshown(&raw.gateway),
        gateway_cores: (raw.gateway.cores > 0).then_some(raw.gateway.cores),
        max_connections: u32::try_from(raw.gateway.max_connections).expect("bounded above"),
        reconnects_per_second: raw.gateway.reconnects_per_second,
        heartbeat_ms: raw.gateway.heartbeat_ms,
        allowed_origins: raw.gateway.allowed_origins,
        echo: raw.gateway.echo || dev,
        pin: raw.gateway.pin,
        router_cores: chosen(raw.router.cores, host),
        tail_bytes: raw.router.tail_bytes,
        state_bytes: raw.router.state_bytes,
        listen_admin: raw.admin.listen,
        keys_dir,
        audience: raw.auth.audience,
        log_level: raw.log.level,
        log_format: raw.log.format,
        drain_ms: raw.shutdown.drain_ms,
        answers_ms: raw.shutdown.answers_ms,
        rates: rates(&raw.limits),
        handshakes: Rate::per_second(raw.limits.handshakes_per_second),
        dev,
    })
}

/// The listeners that show a certificate, if there are any. Development makes itself a certificate where none is named.
fn tls(gateway: &Gateway, data_dir: &Path, dev: bool) -> Result<Option<TlsConfig>, ConfigError> {
    let (wss, quic) = (gateway.listen_wss.0, gateway.listen_quic.0);
    let Some((name, listen)) =
        wss.map(|address| ("gateway.listen_wss", address)).or(quic.map(|address| ("gateway.listen_quic", address)))
    else {
        return Ok(None);
    };
    if let Some(wss) = wss {
        // The two would share the port, and the kernel would choose between them for each connection.
        bounds(
            "gateway.listen_wss",
            wss,
            wss.port() == 0 || wss != gateway.listen_ws,
            "gateway.listen_ws has this address, for those without TLS; name another port for one of them",
        )?;
    }
    let Tls { certificate, key, min_version } = gateway.tls.clone();
    let alone = "a certificate and its key belong together: name gateway.tls.certificate and gateway.tls.key, or neither with \
                 --dev, which makes both";
    bounds("gateway.tls.certificate", certificate.display(), !named(&certificate) || named(&key), alone)?;
    bounds("gateway.tls.key", key.display(), !named(&key) || named(&certificate), alone)?;
    let made_in = (dev && !named(&certificate)).then(|| data_dir.join("tls"));
    bounds(
        name,
        listen,
        made_in.is_some() || named(&certificate),
        "this listener shows a certificate: name its PEM files with gateway.tls.certificate and gateway.tls.key, or start \
         with --dev to have one made",
    )?;
    let (certificate, key) = match &made_in {
        Some(folder) => (folder.join("server.pem"), folder.join("server-key.pem")),
        None => (certificate, key),
    };
    let versions = match min_version {
        TlsVersion::V12 => Versions::From12,
        TlsVersion::V13 => Versions::Only13,
    };
    let quic_resumptions_max = gateway.quic_resumptions;
    Ok(Some(TlsConfig { wss, quic, quic_resumptions_max, certificate, key, made_in, versions }))
}

/// A certificate that no listener shows.
fn unshown(gateway: &Gateway) -> Option<PathBuf> {
    let is_shown = gateway.listen_wss.0.or(gateway.listen_quic.0).is_some();
    [&gateway.tls.certificate, &gateway.tls.key].into_iter().find(|path| !is_shown && named(path)).cloned()
}

fn named(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

fn rates(limits: &Limits) -> RateLimits {
    RateLimits {
        frames: Rate::per_second(limits.frames_per_second),
        connection: Rates {
            sends: Rate::per_second(limits.sends_per_second),
            fetches: Rate::per_second(limits.fetches_per_second),
            pings: Rate::per_second(limits.pings_per_second),
            begins: Rate::UNLIMITED,
        },
        user: Rates {
            sends: Rate::per_second(limits.user_sends_per_second),
            fetches: Rate::per_second(limits.user_fetches_per_second),
            pings: Rate::per_second(limits.user_pings_per_second),
            begins: Rate::per_hour(limits.new_conversations_per_hour),
        },
    }
}

/// Half of the host's cores for each kind of thread, at least one.
pub(crate) fn chosen(configured: u16, host: usize) -> u16 {
    if configured > 0 { configured } else { u16::try_from(host.div_ceil(2)).unwrap_or(CORES_MAX).min(CORES_MAX) }
}

fn bounds(key: &'static str, value: impl ToString, holds: bool, reason: &str) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Bounds { key, value: value.to_string(), reason: reason.to_owned() }) }
}
