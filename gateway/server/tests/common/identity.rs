//! A gateway's certificate, and clients that trust nothing else.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use switchyard_gateway_server::tls::certificates::{Certificate, Certificates};

/// The name in every certificate.
pub(crate) const NAME: &str = "localhost";

/// A gateway's certificates, of which there is one in the beginning, and what a client trusts.
pub(crate) struct Identity {
    pub(crate) certificates: Arc<Certificates>,
    trusted: CertificateDer<'static>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let (certificate, trusted) = made();
        Self { certificates: Arc::new(Certificates::new(certificate)), trusted }
    }

    /// A client that trusts the first certificate and speaks TLS 1.3.
    pub(crate) fn client(&self) -> ClientConfig {
        trusting(self.trusted.clone())
    }

    /// Shows another certificate from now on; answers a client that trusts only that one.
    pub(crate) fn replace(&self) -> ClientConfig {
        let (certificate, trusted) = made();
        self.certificates.replace(certificate);
        trusting(trusted)
    }
}

fn made() -> (Certificate, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
    let (pem, key_pem) = (certificate.pem(), key.serialize_pem());
    let files = (("chain.pem".as_ref(), pem.as_bytes()), ("key.pem".as_ref(), key_pem.as_bytes()));
    (Certificate::from_pem(files.0, files.1).unwrap(), certificate.der().clone())
}

fn trusting(trusted: CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}
