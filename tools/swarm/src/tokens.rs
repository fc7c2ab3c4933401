//! Signs tokens with a development key, as `switchyard token` does, but thousands at a time.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use switchyard_gateway_core::auth::{AUDIENCE_DEFAULT, Claims, SigningKey};
use switchyard_gateway_core::key_file::{self, KeyFile};
use switchyard_schema::ids::{Millis, UserId};

use crate::SwarmError;

/// How long the tokens of a run are good for.
const TOKEN_MS: u64 = 24 * 60 * 60 * 1000;

/// The key that `switchyard serve --dev` made in a data folder.
#[derive(Debug)]
pub struct Signer(SigningKey);

impl Signer {
    /// Reads the key of a data folder.
    ///
    /// # Errors
    /// When there is none; the server must have been started with `--dev` before.
    pub fn of_data(data: &Path) -> Result<Self, SwarmError> {
        Self::of_key(&read_key(data)?)
    }

    /// Of the text of a key file.
    ///
    /// # Errors
    /// When it holds no private key.
    pub(crate) fn of_key(text: &str) -> Result<Self, SwarmError> {
        match key_file::parse(text) {
            Ok(KeyFile::Private(seed)) => Ok(Self(SigningKey::from_seed(seed).with_kid("dev"))),
            Ok(KeyFile::Public(_)) => Err(SwarmError::Key("the development key is not a private key".to_owned())),
            Err(error) => Err(SwarmError::Key(format!("the development key: {error}"))),
        }
    }

    /// A token for a user, good for any device.
    #[must_use]
    pub fn token(&self, user: UserId) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let expires = Millis(u64::try_from(now).unwrap_or(u64::MAX)).plus(TOKEN_MS);
        self.0.sign(AUDIENCE_DEFAULT, &Claims { user, device: None, expires })
    }
}

/// The text of a data folder's development key.
///
/// # Errors
/// When there is none; the server must have been started with `--dev` before.
pub fn read_key(data: &Path) -> Result<String, SwarmError> {
    let path = data.join("keys/dev.pem");
    fs::read_to_string(&path).map_err(|error| {
        SwarmError::Key(format!("{}: {error}; start `switchyard serve --dev` on that folder first", path.display()))
    })
}
