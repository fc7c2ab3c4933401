//! A token signed with the development key of a server's data folder.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use switchyard_client::{Millis, UserId};
use switchyard_gateway_core::auth::{AUDIENCE_DEFAULT, Claims, SigningKey};
use switchyard_gateway_core::key_file::{self, KeyFile};

const DEVELOPMENT_KID: &str = "dev";
const VALID_FOR_MS: u64 = 60 * 60 * 1000;

/// Why no token can be signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    #[error(
        "there is no development key {path} ({source}); start `switchyard serve --dev` on that data folder first, name \
         the folder with --data, or give a token with --token"
    )]
    NoKey { path: PathBuf, source: io::Error },
    #[error("{path} is not a private key; give a token with --token")]
    NotPrivate { path: PathBuf },
}

/// A token for `user`, good for an hour.
pub(crate) fn sign(data: &Path, user: UserId) -> Result<String, TokenError> {
    let path = data.join("keys").join(DEVELOPMENT_KID).with_extension("pem");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(TokenError::NoKey { path, source }),
    };
    let Ok(KeyFile::Private(seed)) = key_file::parse(&text) else { return Err(TokenError::NotPrivate { path }) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let expires = Millis(u64::try_from(now).unwrap_or(0)).plus(VALID_FOR_MS);
    let claims = Claims { user, device: None, expires };
    Ok(SigningKey::from_seed(seed).with_kid(DEVELOPMENT_KID).sign(AUDIENCE_DEFAULT, &claims))
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchyard_gateway_core::auth::KeySet;

    #[test]
    fn given_a_development_key_when_a_token_is_signed_then_the_server_takes_it() {
        let data = tempfile::tempdir().unwrap();
        let user = UserId::new(42).unwrap();
        assert!(sign(data.path(), user).unwrap_err().to_string().contains("serve --dev"));
        std::fs::create_dir(data.path().join("keys")).unwrap();
        std::fs::write(data.path().join("keys/dev.pem"), key_file::private_pem(&[7; 32])).unwrap();
        let token = sign(data.path(), user).unwrap();
        let mut keys = KeySet::new(AUDIENCE_DEFAULT);
        keys.insert(DEVELOPMENT_KID, SigningKey::from_seed([7; 32]).public_key());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        assert_eq!(keys.verify(&token, Millis(u64::try_from(now).unwrap())).unwrap().user, user);
    }
}
