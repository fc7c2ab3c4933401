//! The certificate of the listeners that show one, for wss:// and QUIC: where it comes from, and how it is kept current.

mod development;
mod reset;
mod shown;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use switchyard_gateway_server::tls::certificates::{CertificateError, server_config};
use switchyard_gateway_server::{QuicConfig, ResetKey, TlsListen};

pub(crate) use development::CA_FILE;
#[cfg(test)]
pub(crate) use shown::tests::figures_of_some;
pub(crate) use shown::{Shown, ShownFigures};

use crate::config::TlsConfig;

/// What follows the TLS handshake: a WebSocket begins as HTTP/1.1 (RFC 6455 §4.1).
const PROTOCOL: &[u8] = b"http/1.1";

/// Why there can be no TLS listener; each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    #[error("{path} cannot be made for development: {source}; check its permissions, or remove its folder")]
    Development { path: PathBuf, source: io::Error },
    #[error("{path} cannot be used: {source}; check its permissions")]
    ResetKey { path: PathBuf, source: io::Error },
    #[error(
        "{path} holds {bytes} bytes and not the {} of a key; remove it to have another made (phones that were connected before \
         the start then wait until they have heard nothing for a while)",
        ResetKey::SECRET_BYTES
    )]
    NoResetKey { path: PathBuf, bytes: usize },
    #[error("TLS cannot be set up: {0}; the system gives no random bytes, or the build lacks the chosen versions")]
    Setup(String),
}

/// The listeners that show the certificate.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    pub(crate) wss: Option<TlsListen>,
    pub(crate) quic: Option<QuicConfig>,
}

/// Reads the certificate, made before if it is for development, and sets the listeners up. What outlives the process is in the
/// data folder.
///
/// # Errors
/// [`TlsError`].
pub(crate) fn set_up(config: &TlsConfig, data_dir: &Path) -> Result<(Listeners, Shown), TlsError> {
    if let Some(folder) = &config.made_in {
        development::make(folder, config)?;
    }
    let shown = Shown::read(&config.certificate, &config.key)?;
    let listen = |listen| {
        let server = server_config(shown.certificates().clone(), config.versions, PROTOCOL);
        let server = server.map_err(|error| TlsError::Setup(error.to_string()))?;
        Ok::<_, TlsError>(TlsListen { listen, config: Arc::new(server) })
    };
    let wss = config.wss.map(listen).transpose()?;
    let speak = |listen| {
        let reset_key = reset::key(data_dir)?;
        Ok::<_, TlsError>(QuicConfig {
            resumptions_max: config.quic_resumptions_max,
            ..QuicConfig::new(listen, shown.certificates().clone(), reset_key)
        })
    };
    let quic = config.quic.map(speak).transpose()?;
    Ok((Listeners { wss, quic }, shown))
}
