//! Who a client is: EdDSA JSON Web Tokens (RFC 7519, RFC 8037), verified against configured keys.
//!
//! A token names its key (`kid`), its user (`sub`, a decimal number), its end (`exp`), whom it is for (`aud`) and, if it
//! is for one device only, the device (`dev`). The same module signs, for `switchyard token` and for tests.

mod provider;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::ids::{DeviceId, Millis, UserId};
use switchyard_schema::limits::TOKEN_BYTES_MAX;

/// The audience of tokens unless the operator says otherwise.
pub const AUDIENCE_DEFAULT: &str = "switchyard";

/// What a verified token says.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Claims {
    /// Who it is.
    pub user: UserId,
    /// Which device it is good for; any when missing.
    pub device: Option<DeviceId>,
    /// When it ends, since the Unix epoch.
    pub expires: Millis,
}

/// Why a token is refused. The text reaches the client and names no secret.
#[derive(Copy, Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64url with a JSON header and JSON claims, or larger than allowed.
    #[error("the token is not a JSON Web Token")]
    Malformed,
    /// Signed with something else than EdDSA, or not at all.
    #[error("the token is not signed with EdDSA")]
    WrongAlgorithm,
    /// The header names no key, or one that is not configured here.
    #[error("the token names no key that this server knows (kid)")]
    UnknownKey,
    /// The signature is not by the key that the header names.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `sub`, `exp` or `dev` is missing or not in its form.
    #[error("a claim of the token is missing or malformed (sub and dev: decimal strings, exp: seconds)")]
    BadClaim,
    /// Meant for another service.
    #[error("the token is for another audience (aud)")]
    WrongAudience,
    /// Its time is over.
    #[error("the token has expired; get a new one and connect again")]
    Expired,
    /// Meant for another device than the Hello names.
    #[error("the token is for another device (dev)")]
    WrongDevice,
    /// Renewed with a token of another user.
    #[error("the token is for another user than this session")]
    WrongUser,
}

impl TokenError {
    /// The code that the client gets.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Expired => ErrorCode::TokenExpired,
            _ => ErrorCode::InvalidToken,
        }
    }
}

/// The public keys that tokens are verified with, by key id. Reloading makes a new one.
#[derive(Clone)]
pub struct KeySet {
    keys: BTreeMap<String, DecodingKey>,
    audience: String,
    validation: Validation,
}

impl KeySet {
    /// No keys yet: every token is refused.
    #[must_use]
    pub fn new(audience: impl Into<String>) -> Self {
        provider::install();
        // Time and audience are checked below: the crate would read the system's clock.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self { keys: BTreeMap::new(), audience: audience.into(), validation }
    }

    /// Adds an Ed25519 public key (32 bytes, RFC 8032), instead of one of the same name.
    pub fn insert(&mut self, kid: impl Into<String>, public_key: [u8; 32]) {
        self.keys.insert(kid.into(), DecodingKey::from_ed_der(&public_key));
    }

    /// The names of the keys.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// Verifies a token at the time `now` (since the Unix epoch).
    ///
    /// # Errors
    /// The first reason to refuse it: form, algorithm, key and signature come before any claim.
    pub fn verify(&self, token: &str, now: Millis) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|error| token_error(&error))?;
        if header.alg != Algorithm::EdDSA {
            return Err(TokenError::WrongAlgorithm);
        }
        // RFC 7515 §4.1.11: an extension that must be understood and is not makes the token invalid. None is.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let key = header.kid.as_deref().and_then(|kid| self.keys.get(kid)).ok_or(TokenError::UnknownKey)?;
        let claims = jsonwebtoken::decode::<RawClaims>(token, key, &self.validation)
            .map_err(|error| token_error(&error))?
            .claims;
        if !claims.aud.is_some_and(|audience| audience.contains(&self.audience)) {
            return Err(TokenError::WrongAudience);
        }
        let expires = claims.exp.and_then(Seconds::to_millis).ok_or(TokenError::BadClaim)?;
        if expires <= now {
            return Err(TokenError::Expired);
        }
        let user = claims.sub.as_deref().and_then(parse_id).and_then(UserId::new).ok_or(TokenError::BadClaim)?;
        let device = match claims.dev.as_deref() {
            None => None,
            Some(device) => Some(parse_id(device).and_then(DeviceId::new).ok_or(TokenError::BadClaim)?),
        };
        Ok(Claims { user, device, expires })
    }
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySet").field("kids", &self.keys.keys()).field("audience", &self.audience).finish()
    }
}

/// An Ed25519 key that signs tokens. Only development servers and tests hold one.
pub struct SigningKey {
    kid: String,
    pair: Ed25519KeyPair,
    encoding: EncodingKey,
}

impl SigningKey {
    /// The key of a seed (RFC 8032 §5.1.5); the seed is the secret. Its name is made from its public key, so that the
    /// same seed has the same name everywhere.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        provider::install();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are an Ed25519 seed");
        let kid = URL_SAFE_NO_PAD.encode(&pair.public_key().as_ref()[..9]);
        Self { kid, pair, encoding: EncodingKey::from_ed_der(&seed) }
    }

    /// The same key under another name.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = kid.into();
        self
    }

    /// The key's name.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What a [`KeySet`] needs of it.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
    }

    /// A signed token. `exp` counts whole seconds, so the end is rounded down.
    #[must_use]
    pub fn sign(&self, audience: &str, claims: &Claims) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.kid.clone());
        let raw = RawClaims {
            sub: Some(claims.user.to_string()),
            exp: Some(Seconds::Whole(claims.expires.0 / 1000)),
            aud: Some(Audience::One(audience.to_owned())),
            dev: claims.device.map(|device| device.to_string()),
        };
        jsonwebtoken::encode(&header, &raw, &self.encoding).expect("claims are plain JSON and the key is Ed25519")
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct RawClaims {
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
}

/// A NumericDate (RFC 7519 §2) may have a fraction.
#[derive(Copy, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Seconds {
    Whole(u64),
    Fraction(f64),
}

impl Seconds {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just before")]
    fn to_millis(self) -> Option<Millis> {
        match self {
            Self::Whole(seconds) => Some(Millis(seconds.saturating_mul(1000))),
            Self::Fraction(seconds) if (0.0..9.0e15).contains(&seconds) => Some(Millis((seconds * 1000.0) as u64)),
            Self::Fraction(_) => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn contains(&self, wanted: &str) -> bool {
        match self {
            Self::One(audience) => audience == wanted,
            Self::Several(audiences) => audiences.iter().any(|audience| audience == wanted),
        }
    }
}

/// A number in its one decimal form: no sign, no leading zero.
fn parse_id(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if canonical { text.parse().ok() } else { None }
}

fn token_error(error: &jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName | ErrorKind::UnsupportedAlgorithm => {
            TokenError::WrongAlgorithm
        }
        _ => TokenError::Malformed,
    }
}
