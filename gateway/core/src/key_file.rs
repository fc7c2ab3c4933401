//! Ed25519 key files: PEM as OpenSSL writes it (`openssl genpkey -algorithm ed25519`, `openssl pkey -pubout`), RFC 8410.
//!
//! The file's name without its ending is the key's `kid`. A private key file also serves as its public key, so the
//! development key is one file.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What stands before the 32 bytes of the seed in a PKCS#8 Ed25519 private key (RFC 8410 §7).
const PRIVATE_PREFIX: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// What stands before the 32 bytes of the key in an Ed25519 SubjectPublicKeyInfo (RFC 8410 §4).
const PUBLIC_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// What a key file held.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyFile {
    /// The seed of a private key.
    Private([u8; 32]),
    /// A public key.
    Public([u8; 32]),
}

/// Why a file is not an Ed25519 key.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyFileError {
    /// No `-----BEGIN PRIVATE KEY-----` or `-----BEGIN PUBLIC KEY-----` block.
    #[error("it holds no PEM block `PRIVATE KEY` or `PUBLIC KEY`")]
    NoPemBlock,
    /// The block is not base64.
    #[error("its PEM block is not base64")]
    NotBase64,
    /// Another algorithm than Ed25519.
    #[error("it is not an Ed25519 key; make one with `openssl genpkey -algorithm ed25519`")]
    NotEd25519,
}

/// Reads a key file's text.
///
/// # Errors
/// [`KeyFileError`] when it is not an Ed25519 key in PEM.
pub fn parse(text: &str) -> Result<KeyFile, KeyFileError> {
    if let Some(der) = block(text, "PRIVATE KEY")? {
        after(&der, &PRIVATE_PREFIX).map(KeyFile::Private)
    } else if let Some(der) = block(text, "PUBLIC KEY")? {
        after(&der, &PUBLIC_PREFIX).map(KeyFile::Public)
    } else {
        Err(KeyFileError::NoPemBlock)
    }
}

/// The text of a private key file.
#[must_use]
pub fn private_pem(seed: &[u8; 32]) -> String {
    let der = [&PRIVATE_PREFIX[..], &seed[..]].concat();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

fn block(text: &str, label: &str) -> Result<Option<Vec<u8>>, KeyFileError> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let Some((_, rest)) = text.split_once(&begin) else { return Ok(None) };
    let Some((body, _)) = rest.split_once(&end) else { return Ok(None) };
    let base64: String = body.split_whitespace().collect();
    STANDARD.decode(base64).map(Some).map_err(|_| KeyFileError::NotBase64)
}

fn after(der: &[u8], prefix: &[u8]) -> Result<[u8; 32], KeyFileError> {
    der.strip_prefix(prefix).and_then(|key| key.try_into().ok()).ok_or(KeyFileError::NotEd25519)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 8410 §10.3 and §10.1.
    const RFC_PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
    const RFC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

    #[test]
    fn given_the_examples_of_the_rfc_when_parsed_then_they_are_keys() {
        let Ok(KeyFile::Private(seed)) = parse(RFC_PRIVATE) else { panic!("a private key") };
        assert_eq!(&seed[..4], &[0xd4, 0xee, 0x72, 0xdb]);
        assert_eq!(private_pem(&seed), RFC_PRIVATE);
        let Ok(KeyFile::Public(key)) = parse(RFC_PUBLIC) else { panic!("a public key") };
        assert_eq!(&key[..4], &[0x19, 0xbf, 0x44, 0x09]);
    }

    #[test]
    fn given_something_else_when_parsed_then_the_error_says_what() {
        assert_eq!(parse("hello").err(), Some(KeyFileError::NoPemBlock));
        assert_eq!(parse(&RFC_PUBLIC.replace("MCow", "M*ow")).err(), Some(KeyFileError::NotBase64));
        assert_eq!(parse(&RFC_PUBLIC.replace("MCow", "MCox")).err(), Some(KeyFileError::NotEd25519));
    }
}
