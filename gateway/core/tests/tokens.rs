//! Tokens: what is accepted, and every reason to refuse one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;
use switchyard_gateway_core::auth::{AUDIENCE_DEFAULT, Claims, KeySet, SigningKey, TokenError};
use switchyard_schema::error::ErrorCode;
use switchyard_schema::ids::{DeviceId, Millis, UserId};

const SEED: [u8; 32] = [7; 32];
const NOW: Millis = Millis(1_800_000_000_000);

fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn claims() -> Claims {
    Claims { user: user(42), device: DeviceId::new(1), expires: NOW.plus(60_000) }
}

fn keys() -> KeySet {
    let key = SigningKey::from_seed(SEED);
    let mut keys = KeySet::new(AUDIENCE_DEFAULT);
    keys.insert(key.kid(), key.public_key());
    keys
}

/// A token made by hand, to say what our own signer never would.
fn token(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = Ed25519KeyPair::from_seed_unchecked(&SEED).unwrap().sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn header() -> String {
    format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, SigningKey::from_seed(SEED).kid())
}

fn check_claims(json: &str, expect: Result<Claims, TokenError>) {
    assert_eq!(keys().verify(&token(&header(), json), NOW), expect, "{json}");
}

#[test]
fn given_a_signed_token_when_verified_then_its_claims_come_back() {
    let signed = SigningKey::from_seed(SEED).sign(AUDIENCE_DEFAULT, &claims());
    assert_eq!(keys().verify(&signed, NOW), Ok(claims()));
    let any_device = Claims { device: None, ..claims() };
    let signed = SigningKey::from_seed(SEED).sign(AUDIENCE_DEFAULT, &any_device);
    assert_eq!(keys().verify(&signed, NOW), Ok(any_device));
}

#[test]
fn given_a_seed_of_rfc_8032_when_a_key_is_made_then_its_public_key_is_that_of_the_rfc() {
    let hex_bytes = |text: &str| -> [u8; 32] {
        std::array::from_fn(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
    };
    let seed = hex_bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    let public = hex_bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    assert_eq!(SigningKey::from_seed(seed).public_key(), public);
}

#[test]
fn given_the_time_when_it_reaches_exp_then_the_token_has_expired() {
    let signed = SigningKey::from_seed(SEED).sign(AUDIENCE_DEFAULT, &claims());
    assert_eq!(keys().verify(&signed, Millis(NOW.0 + 59_999)), Ok(claims()));
    assert_eq!(keys().verify(&signed, Millis(NOW.0 + 60_000)), Err(TokenError::Expired));
}

#[test]
fn given_claims_in_every_shape_when_verified_then_only_the_documented_ones_pass() {
    let good = Claims { user: user(42), device: None, expires: Millis(1_800_000_001_000) };
    check_claims(r#"{"sub":"42","exp":1800000001,"aud":"switchyard"}"#, Ok(good));
    check_claims(r#"{"sub":"42","exp":1800000001,"aud":["other","switchyard"],"iat":1,"x":{}}"#, Ok(good));
    let half = Claims { expires: Millis(1_800_000_001_500), ..good };
    check_claims(r#"{"sub":"42","exp":1800000001.5,"aud":"switchyard"}"#, Ok(half));
    let highest = Claims { user: user(u64::MAX), ..good };
    check_claims(r#"{"sub":"18446744073709551615","exp":1800000001,"aud":"switchyard"}"#, Ok(highest));
    let device = Claims { device: DeviceId::new(3), ..good };
    check_claims(r#"{"sub":"42","dev":"3","exp":1800000001,"aud":"switchyard"}"#, Ok(device));

    for sub in [
        r#""0""#,
        r#""042""#,
        r#""-1""#,
        r#""+1""#,
        r#""""#,
        r#"" 42""#,
        r#""abc""#,
        r#""18446744073709551616""#,
        "null",
    ] {
        check_claims(&format!(r#"{{"sub":{sub},"exp":1800000001,"aud":"switchyard"}}"#), Err(TokenError::BadClaim));
    }
    for dev in [r#""0""#, r#""x""#, r#""01""#] {
        let json = format!(r#"{{"sub":"42","dev":{dev},"exp":1800000001,"aud":"switchyard"}}"#);
        check_claims(&json, Err(TokenError::BadClaim));
    }
    check_claims(r#"{"exp":1800000001,"aud":"switchyard"}"#, Err(TokenError::BadClaim));
    check_claims(r#"{"sub":"42","aud":"switchyard"}"#, Err(TokenError::BadClaim));
    check_claims(r#"{"sub":"42","exp":1e300,"aud":"switchyard"}"#, Err(TokenError::BadClaim));
    check_claims(r#"{"sub":"42","exp":1800000001}"#, Err(TokenError::WrongAudience));
    check_claims(r#"{"sub":"42","exp":1800000001,"aud":"other"}"#, Err(TokenError::WrongAudience));
    check_claims(r#"{"sub":"42","exp":1800000001,"aud":[]}"#, Err(TokenError::WrongAudience));
    check_claims(r#"{"sub":"42","exp":1800000000,"aud":"switchyard"}"#, Err(TokenError::Expired));
    check_claims(r#"{"sub":42,"exp":1800000001,"aud":"switchyard"}"#, Err(TokenError::Malformed));
    check_claims(r#"{"sub":"42","exp":"1800000001","aud":"switchyard"}"#, Err(TokenError::Malformed));
    check_claims("[]", Err(TokenError::Malformed));
    check_claims("no json", Err(TokenError::Malformed));
}

#[test]
fn given_another_audience_when_configured_then_tokens_of_the_default_are_refused() {
    let key = SigningKey::from_seed(SEED);
    let mut keys = KeySet::new("elsewhere");
    keys.insert(key.kid(), key.public_key());
    assert_eq!(keys.verify(&key.sign(AUDIENCE_DEFAULT, &claims()), NOW), Err(TokenError::WrongAudience));
    assert_eq!(keys.verify(&key.sign("elsewhere", &claims()), NOW), Ok(claims()));
}

#[test]
fn given_a_header_when_it_is_not_ours_then_the_token_is_refused() {
    let good = r#"{"sub":"42","exp":1800000001,"aud":"switchyard"}"#;
    let kid = SigningKey::from_seed(SEED).kid().to_owned();
    for (header, expect) in [
        (r#"{"alg":"EdDSA"}"#.to_owned(), TokenError::UnknownKey),
        (r#"{"alg":"EdDSA","kid":"nobody"}"#.to_owned(), TokenError::UnknownKey),
        (format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), TokenError::WrongAlgorithm),
        (format!(r#"{{"alg":"none","kid":"{kid}"}}"#), TokenError::Malformed),
        (format!(r#"{{"alg":"EdDSA","kid":"{kid}","crit":["exp"]}}"#), TokenError::Malformed),
        ("{}".to_owned(), TokenError::Malformed),
    ] {
        assert_eq!(keys().verify(&token(&header, good), NOW), Err(expect), "{header}");
    }
}

#[test]
fn given_a_token_when_any_part_is_changed_then_its_signature_is_wrong() {
    let signed = SigningKey::from_seed(SEED).sign(AUDIENCE_DEFAULT, &claims());
    let parts: Vec<&str> = signed.split('.').collect();
    let other = SigningKey::from_seed(SEED).sign(AUDIENCE_DEFAULT, &Claims { user: user(43), ..claims() });
    let swapped = format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2]);
    assert_eq!(keys().verify(&swapped, NOW), Err(TokenError::BadSignature));
    let stranger = SigningKey::from_seed([8; 32]).with_kid(SigningKey::from_seed(SEED).kid());
    assert_eq!(keys().verify(&stranger.sign(AUDIENCE_DEFAULT, &claims()), NOW), Err(TokenError::BadSignature));
    let unsigned = format!("{}.{}.", parts[0], parts[1]);
    assert_eq!(keys().verify(&unsigned, NOW), Err(TokenError::BadSignature));
}

#[test]
fn given_anything_else_when_verified_then_it_is_malformed() {
    for token in ["", ".", "..", "a.b.c", "a.b", "....", "é.é.é", &"x".repeat(5000)] {
        assert_eq!(keys().verify(token, NOW), Err(TokenError::Malformed), "{token}");
    }
}

#[test]
fn given_several_keys_when_one_is_taken_away_then_only_its_tokens_are_refused() {
    let (old, new) =
        (SigningKey::from_seed([1; 32]).with_kid("2026-01"), SigningKey::from_seed([2; 32]).with_kid("2026-02"));
    let mut both = KeySet::new(AUDIENCE_DEFAULT);
    both.insert(old.kid(), old.public_key());
    both.insert(new.kid(), new.public_key());
    assert_eq!(both.kids().collect::<Vec<_>>(), ["2026-01", "2026-02"]);
    let mut reloaded = KeySet::new(AUDIENCE_DEFAULT);
    reloaded.insert(new.kid(), new.public_key());
    for (key, after_reload) in [(&old, Err(TokenError::UnknownKey)), (&new, Ok(claims()))] {
        let signed = key.sign(AUDIENCE_DEFAULT, &claims());
        assert_eq!(both.verify(&signed, NOW), Ok(claims()));
        assert_eq!(reloaded.verify(&signed, NOW), after_reload);
    }
}

#[test]
fn given_an_error_when_told_to_the_client_then_only_expiry_has_a_code_of_its_own() {
    assert_eq!(TokenError::Expired.code(), ErrorCode::TokenExpired);
    for error in [TokenError::Malformed, TokenError::UnknownKey, TokenError::BadSignature, TokenError::WrongDevice] {
        assert_eq!(error.code(), ErrorCode::InvalidToken);
    }
}

#[test]
fn given_keys_when_printed_then_no_secret_shows() {
    let key = SigningKey::from_seed(SEED);
    let printed = format!("{key:?} {:?}", keys());
    assert!(!printed.contains("7, 7") && printed.contains(key.kid()), "{printed}");
}
