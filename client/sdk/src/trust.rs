//! Whom the client trusts to vouch for a server that speaks TLS or QUIC.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use switchyard_gateway_core::handshake::Form;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::Error;

/// What follows the TLS handshake: a WebSocket begins as HTTP/1.1 (RFC 6455 §4.1).
const WEBSOCKET_PROTOCOL: &str = "http/1.1";

/// The authorities.
#[derive(Clone, Debug, Default)]
pub(crate) enum Trust {
    /// Those that browsers trust, as Mozilla lists them.
    #[default]
    Public,
    /// Those in a PEM file, and no others.
    File(PathBuf),
}

impl Trust {
    /// What opens TLS connections. It is kept for all connections of a client: it knows what they resume with.
    ///
    /// # Errors
    /// [`Error::InvalidAuthority`].
    pub(crate) fn connector(&self) -> Result<TlsConnector, Error> {
        Ok(TlsConnector::from(Arc::new(self.config(WEBSOCKET_PROTOCOL)?)))
    }

    /// The same for connections over QUIC.
    ///
    /// # Errors
    /// [`Error::InvalidAuthority`].
    pub(crate) fn quic(&self) -> Result<QuicClientConfig, Error> {
        let mut config = self.config(Form::Binary.subprotocol())?;
        config.enable_early_data = true;
        Ok(QuicClientConfig::try_from(config).expect("ring has what a first packet is encrypted with"))
    }

    fn config(&self, protocol: &str) -> Result<ClientConfig, Error> {
        let roots = match self {
            Self::Public => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
            Self::File(path) => read(path)?,
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks the default versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Ok(config)
    }
}

fn read(path: &Path) -> Result<RootCertStore, Error> {
    let refuse = |problem: String| Error::InvalidAuthority { path: path.to_owned(), problem };
    let file = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&file) {
        let certificate = certificate.map_err(|error: pem::Error| refuse(error.to_string()))?;
        roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
    }
    if roots.is_empty() { Err(refuse("it holds no certificate in PEM form".to_owned())) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_a_file_without_a_certificate_then_the_error_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let refused = |path: &Path| Trust::File(path.to_owned()).connector().map(drop).unwrap_err().to_string();
        assert!(refused(&path).contains("ca.pem"));
        std::fs::write(&path, "nothing").unwrap();
        assert!(refused(&path).contains("holds no certificate"));
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        assert!(refused(&path).contains("ca.pem"));
        assert!(Trust::Public.connector().is_ok() && Trust::Public.quic().is_ok());
    }
}
