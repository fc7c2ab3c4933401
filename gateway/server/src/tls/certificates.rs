//! Certificates and what rustls is configured with: read from PEM files, and replaced while the server runs.
//!
//! All listeners that speak TLS, over whatever transport, show the same [`Certificates`]. A handshake takes what is current
//! when it begins, so a replaced certificate ends no connection, and what clients resume with stays good.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig, SupportedProtocolVersion};
use switchyard_schema::ids::Millis;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::limits::TICKETS_PER_HANDSHAKE;

/// Why a certificate cannot be used; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}; check the path and the permissions")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no PEM, or holds something else.
    #[error("{path} holds no {expected} in PEM form: {reason}; replace it")]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The key is of another certificate.
    #[error(
        "the key {key} does not belong to the first certificate in {certificate}; put the two that belong together there"
    )]
    Mismatch {
        /// The file of the chain.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The certificate or the key is of a kind that cannot be used.
    #[error("the certificate in {path} cannot be used: {reason}; make one with an ECDSA P-256, Ed25519 or RSA key")]
    Unusable {
        /// The file of the chain.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// A certificate chain with its private key.
#[derive(Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    valid_from: Millis,
    expires: Millis,
}

impl Certificate {
    /// A chain, the server's own certificate first, and its key, from what two PEM files hold.
    ///
    /// # Errors
    /// [`CertificateError`], which names the files.
    pub fn from_pem(certificate: (&Path, &[u8]), key: (&Path, &[u8])) -> Result<Self, CertificateError> {
        let pem_error = |path: &Path, expected, error: &dyn fmt::Display| CertificateError::Pem {
            path: path.to_owned(),
            expected,
            reason: error.to_string(),
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.1)
            .collect::<Result<_, pem::Error>>()
            .map_err(|error| pem_error(certificate.0, "certificate", &error))?;
        let Some(own) = chain.first() else {
            return Err(pem_error(certificate.0, "certificate", &"there is no CERTIFICATE block"));
        };
        let private = PrivateKeyDer::from_pem_slice(key.1).map_err(|error| pem_error(key.0, "private key", &error))?;
        let unusable = |reason: String| CertificateError::Unusable { path: certificate.0.to_owned(), reason };
        let (_, parsed) = X509Certificate::from_der(own).map_err(|error| unusable(error.to_string()))?;
        let validity = parsed.validity();
        let (valid_from, expires) = (millis(validity.not_before.timestamp()), millis(validity.not_after.timestamp()));
        let key = CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                CertificateError::Mismatch { certificate: certificate.0.to_owned(), key: key.0.to_owned() }
            }
            error => unusable(error.to_string()),
        })?;
        Ok(Self { key: Arc::new(key), valid_from, expires })
    }

    /// Since when the server's own certificate is valid; the Unix epoch when that is earlier.
    #[must_use]
    pub const fn valid_from(&self) -> Millis {
        self.valid_from
    }

    /// Until when.
    #[must_use]
    pub const fn expires(&self) -> Millis {
        self.expires
    }
}

fn millis(seconds_since_epoch: i64) -> Millis {
    Millis(u64::try_from(seconds_since_epoch).unwrap_or_default().saturating_mul(1_000))
}

/// Its key stays out of every log.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// The certificate that handshakes show, shared by all threads.
#[derive(Debug)]
pub struct Certificates {
    /// Taken for the length of a clone, by handshakes only.
    current: RwLock<Certificate>,
}

impl Certificates {
    /// Handshakes show this one.
    #[must_use]
    pub const fn new(certificate: Certificate) -> Self {
        Self { current: RwLock::new(certificate) }
    }

    /// Handshakes that begin from now on show this one. Open connections stay as they are.
    pub fn replace(&self, certificate: Certificate) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    /// The one that handshakes show now.
    #[must_use]
    pub fn current(&self) -> Certificate {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current().key)
    }
}

/// Which versions of TLS are spoken.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Versions {
    /// TLS 1.3 (RFC 8446).
    Only13,
    /// TLS 1.2 (RFC 5246) as well.
    From12,
}

impl Versions {
    fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        static ONLY_13: [&SupportedProtocolVersion; 1] = [&TLS13];
        static FROM_12: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Self::Only13 => &ONLY_13,
            Self::From12 => &FROM_12,
        }
    }
}

/// What rustls is configured with, for one application protocol (ALPN, RFC 7301). All threads share one such configuration, so
/// that a client resumes at whichever it comes to.
///
/// Clients resume with tickets that only this process can read (RFC 8446 §4.6.1): nothing is kept for those that never come
/// back. They are good for half a day; their key is changed every six hours. Early data is not taken: nobody could tell that a
/// ticket is used twice.
///
/// # Errors
/// When the system gives no random bytes for the tickets' key.
pub fn server_config(
    certificates: Arc<Certificates>,
    versions: Versions,
    protocol: &[u8],
) -> Result<ServerConfig, rustls::Error> {
    let mut config = without_resumption(certificates, versions, vec![protocol.to_vec()])?;
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}

/// The same for several application protocols; nobody can resume.
///
/// # Errors
/// When the versions are not built in.
pub(crate) fn without_resumption(
    certificates: Arc<Certificates>,
    versions: Versions,
    protocols: Vec<Vec<u8>>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions.supported())?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = protocols;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
    Ok(config)
}

/// Where the cryptography comes from.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

#[cfg(test)]
mod tests {
    use super::super::testing::made;
    use super::*;

    fn parsed(certificate: &str, key: &str) -> Result<Certificate, CertificateError> {
        let (chain_path, key_path) = (Path::new("chain.pem"), Path::new("key.pem"));
        Certificate::from_pem((chain_path, certificate.as_bytes()), (key_path, key.as_bytes()))
    }

    #[test]
    fn given_a_certificate_and_its_key_when_read_then_its_time_is_known() {
        let (certificate, key) = made();
        let read = parsed(&certificate, &key).unwrap();
        assert_eq!((read.valid_from(), read.expires()), (Millis(1_577_836_800_000), Millis(2_051_222_400_000)));
        assert!(!format!("{read:?}").contains("key"), "a key stays out of logs");
    }

    #[test]
    fn given_files_that_are_no_pair_when_read_then_the_error_names_the_file_and_what_is_wrong() {
        let (certificate, key) = made();
        let (_, other) = made();
        let broken = certificate.replacen("MII", "AAA", 1);
        for (certificate, key, expect) in [
            (certificate.as_str(), other.as_str(), "key.pem does not belong"),
            (&certificate, "", "key.pem holds no private key"),
            ("", &key, "chain.pem holds no certificate"),
            (&key, &key, "chain.pem holds no certificate"),
            (&certificate[..100], &key, "chain.pem holds no certificate"),
            (&broken, &key, "chain.pem cannot be used"),
        ] {
            let error = parsed(certificate, key).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
    }

    #[test]
    fn given_certificates_when_replaced_then_the_next_handshake_is_shown_the_new_one() {
        let [(first, first_key), (second, second_key)] = [made(), made()];
        let certificates = Certificates::new(parsed(&first, &first_key).unwrap());
        let shown = certificates.current().key.end_entity_cert().unwrap().to_vec();
        certificates.replace(parsed(&second, &second_key).unwrap());
        assert_ne!(certificates.current().key.end_entity_cert().unwrap().to_vec(), shown);
    }
}
