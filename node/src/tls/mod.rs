//! The certificate of the listeners that show one, for wss:// and QUIC: where it comes from, and how it is kept current.

mod development;
mod shown;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use switchyard_gateway_server::tls::certificates::{CertificateError, server_config};
use switchyard_gateway_server::{QuicConfig, TlsListen};

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
    #[error("TLS cannot be set up: {0}; the system gives no random bytes, or the build lacks the chosen versions")]
    Setup(String),
}

/// The listeners that show the certificate.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    pub(crate) wss: Option<TlsListen>,
    pub(crate) quic: Option<QuicConfig>,
}

/// Reads the certificate, made before if it is for development, and sets the listeners up.
///
/// # Errors
/// [`TlsError`].
pub(crate) fn set_up(config: &TlsConfig) -> Result<(Listeners, Shown), TlsError> {
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
    let quic = config.quic.map(|listen| QuicConfig::new(listen, shown.certificates().clone()));
    Ok((Listeners { wss, quic }, shown))
}
