//! A certificate, and both ends' configurations, for the tests of this module.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::certificates::{Certificate, Certificates, Versions, server_config};

/// A certificate and its key as PEM files hold them.
pub(super) fn made() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2035, 1, 1);
    (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// A server, and a client that trusts it and speaks the oldest version that the server does. What the client sends can be forged
/// with its secrets.
pub(crate) fn both_ends(versions: Versions) -> (Arc<ServerConfig>, ClientConfig) {
    let (certificate, key) = made();
    let read = Certificate::from_pem((Path::new("c"), certificate.as_bytes()), (Path::new("k"), key.as_bytes()));
    let certificates = Arc::new(Certificates::new(read.unwrap()));
    let server = server_config(certificates, versions, b"http/1.1").unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[if versions == Versions::From12 { &TLS12 } else { &TLS13 }])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.enable_secret_extraction = true;
    (Arc::new(server), client)
}
