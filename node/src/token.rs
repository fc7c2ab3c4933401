//! `switchyard token`: a token for a user, signed with the development key of a data folder.

use std::time::{SystemTime, UNIX_EPOCH};

use switchyard_gateway_core::auth::Claims;
use switchyard_schema::ids::{DeviceId, Millis, UserId};

use crate::cli::Token;
use crate::config::Config;
use crate::keys::{self, KeysError};

/// The token.
pub(crate) fn sign(config: &Config, arguments: &Token) -> Result<String, KeysError> {
    let key = keys::development_key(&config.keys_dir)?;
    let claims = Claims {
        user: UserId::new(arguments.user).expect("the command line refuses user 0"),
        device: arguments.device.map(|device| DeviceId::new(device).expect("the command line refuses device 0")),
        expires: now().plus(u64::try_from(arguments.ttl.as_millis()).unwrap_or(u64::MAX)),
    };
    Ok(key.sign(&config.audience, &claims))
}

/// The time since the Unix epoch; a clock before it counts as the epoch itself.
fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
