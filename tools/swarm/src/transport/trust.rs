//! Whom the swarm believes that a server is the one it names.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::SwarmError;

/// How TLS is spoken, for this application protocol. Every connection is a stranger to the server, as the users of a run are:
/// none resumes what another has begun.
///
/// # Errors
/// When nobody may vouch for the server.
pub(super) fn client(authorities: Option<&str>, protocol: &str) -> Result<ClientConfig, SwarmError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks the default versions")
        .with_root_certificates(roots(authorities)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn roots(authorities: Option<&str>) -> Result<RootCertStore, SwarmError> {
    let refuse = |problem: &str| {
        SwarmError::Arguments(format!(
            "{problem}; name the file of who vouches for the server (--ca), such as DATA/tls/ca.pem of a development server"
        ))
    };
    let authorities = authorities.ok_or_else(|| refuse("nobody is named who could vouch for the server"))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        let certificate = certificate.map_err(|error| refuse(&error.to_string()))?;
        roots.add(certificate).map_err(|error| refuse(&error.to_string()))?;
    }
    if roots.is_empty() { Err(refuse("there is no certificate in PEM form")) } else { Ok(roots) }
}
