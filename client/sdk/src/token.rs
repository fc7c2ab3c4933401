//! Tokens: from the application, when the client asks for one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Why a token provider has no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It may have one later; the client asks again after a back-off.
    #[error("no token at the moment: {0}")]
    Temporary(String),
    /// The user is signed out. A client that is not connected stops.
    #[error("no token: {0}")]
    Refused(String),
}

pub(crate) type TokenFuture = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send>>;

/// Makes a token each time it is called.
#[derive(Clone)]
pub(crate) struct TokenProvider(Arc<dyn Fn() -> TokenFuture + Send + Sync>);

impl TokenProvider {
    pub(crate) fn new<F, R>(provider: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(provider())))
    }

    /// One token, and none after it.
    pub(crate) fn fixed(token: String) -> Self {
        Self::new(move || {
            let token = token.clone();
            async move { Ok(token) }
        })
    }

    pub(crate) fn ask(&self) -> TokenFuture {
        (self.0)()
    }
}

/// How long a token is still valid by this machine's clock; `None` when it does not say, or is no JSON Web Token.
pub(crate) fn valid_for_ms(token: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: u64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(claims.exp.saturating_mul(1000).saturating_sub(u64::try_from(now.as_millis()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn given_a_token_when_read_then_its_remaining_life_is_known_if_it_says_so() {
        assert_eq!(valid_for_ms(&token(r#"{"sub":"42","exp":1}"#)), Some(0));
        assert!(valid_for_ms(&token(r#"{"exp":99999999999}"#)).is_some_and(|left| left > 1_000_000));
        assert_eq!(valid_for_ms(&token(r#"{"sub":"42"}"#)), None);
        assert_eq!(valid_for_ms("not a token"), None);
    }
}
