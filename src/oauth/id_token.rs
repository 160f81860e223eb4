//! ID tokens (OpenID Connect Core, 3.1.3.7), read strictly.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::Value;
use subtle::ConstantTimeEq;

use super::ProviderFault;
use super::jwks::{ALGORITHMS, Keys, NoKey};
use crate::platform::clock::Timestamp;
use crate::platform::web::check_json;

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 32 * 1024;
/// How far the clocks of a provider and of this server may differ.
const LEEWAY: Duration = Duration::from_mins(1);

/// What a token must say.
pub struct Expected<'a> {
    /// The issuer, letter for letter: that of this connection, not of any other that is trusted.
    pub issuer: &'a str,
    /// Whom it must be for.
    pub client_id: &'a str,
    /// What the sign-in began with.
    pub nonce: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// Why a token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// Its key is in no key set that is known.
    UnknownKey,
    /// It is wrong in this.
    Wrong(&'static str),
}

impl From<TokenFault> for ProviderFault {
    fn from(fault: TokenFault) -> Self {
        match fault {
            TokenFault::UnknownKey => Self::Odd("id token: unknown key"),
            TokenFault::Wrong(what) => Self::Odd(what),
        }
    }
}

/// The claims of a token, if it is signed by one of `keys` and says what is `expected`.
pub fn verify(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Value, TokenFault> {
    if token.len() > LONGEST {
        return Err(TokenFault::Wrong("id token: too long"));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenFault::Wrong("id token: not three parts"));
    };
    let (algorithm, key_id) = read_header(&object(header)?)?;
    let key = keys.find(key_id.as_deref(), algorithm).map_err(|none| match none {
        NoKey::Unknown => TokenFault::UnknownKey,
        NoKey::Unfit => TokenFault::Wrong("id token: a key for something else"),
    })?;
    let signed = &token[..header.len() + 1 + payload.len()];
    match jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm) {
        Ok(true) => {}
        _ => return Err(TokenFault::Wrong("id token: signature")),
    }
    let claims = object(payload)?;
    check(&claims, expected).map_err(TokenFault::Wrong)?;
    Ok(claims)
}

/// Refuses the token of somebody who was last there before `since`. An issuer that was asked by `max_age` must say when that
/// was (OpenID Connect Core, 3.1.2.1); of one that does not know of it, that they have come back is all there is.
pub fn check_presence(claims: &Value, since: Timestamp) -> Result<(), TokenFault> {
    let earliest = since.before(LEEWAY).seconds();
    match claims.get("auth_time") {
        None => Ok(()),
        Some(at) if whole_seconds(at).is_some_and(|at| at >= earliest) => Ok(()),
        Some(_) => Err(TokenFault::Wrong("id token: of an older sign-in")),
    }
}

/// The algorithm and the key's id. What else a header may hold is not obeyed: no key comes from the token itself.
fn read_header(header: &Value) -> Result<(Algorithm, Option<String>), TokenFault> {
    if header.get("crit").is_some() {
        return Err(TokenFault::Wrong("id token: critical header"));
    }
    let named = ALGORITHMS.into_iter().find(|(name, _)| header["alg"] == *name);
    let (_, algorithm) = named.ok_or(TokenFault::Wrong("id token: algorithm"))?;
    match header.get("kid") {
        None => Ok((algorithm, None)),
        Some(Value::String(id)) => Ok((algorithm, Some(id.clone()))),
        Some(_) => Err(TokenFault::Wrong("id token: key id")),
    }
}

/// A part as a JSON object with one reading.
fn object(part: &str) -> Result<Value, TokenFault> {
    let wrong = TokenFault::Wrong("id token: not JSON");
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| wrong)?;
    check_json(&bytes).map_err(|_| wrong)?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| wrong)?;
    if value.is_object() { Ok(value) } else { Err(wrong) }
}

fn check(claims: &Value, expected: &Expected<'_>) -> Result<(), &'static str> {
    if claims["iss"] != expected.issuer {
        return Err("id token: issuer");
    }
    check_audience(claims, expected.client_id)?;
    check_times(claims, expected.now)?;
    let nonce = claims["nonce"].as_str().ok_or("id token: no nonce")?;
    if !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
        return Err("id token: another nonce");
    }
    if claims["sub"].is_string() { Ok(()) } else { Err("id token: no subject") }
}

/// For us; among several, issued to us.
fn check_audience(claims: &Value, client_id: &str) -> Result<(), &'static str> {
    let several = match &claims["aud"] {
        Value::String(one) if one == client_id => false,
        Value::Array(many)
            if many.iter().all(Value::is_string) && many.iter().any(|one| one == client_id) =>
        {
            many.len() > 1
        }
        _ => return Err("id token: audience"),
    };
    match claims.get("azp") {
        None if !several => Ok(()),
        Some(Value::String(party)) if party == client_id => Ok(()),
        _ => Err("id token: authorized party"),
    }
}

fn check_times(claims: &Value, now: Timestamp) -> Result<(), &'static str> {
    let seconds = |name: &str| whole_seconds(&claims[name]);
    let ends = seconds("exp").ok_or("id token: no end")?;
    if ends <= now.before(LEEWAY).seconds() {
        return Err("id token: expired");
    }
    let latest = now.after(LEEWAY).seconds();
    if seconds("iat").ok_or("id token: no time")? > latest {
        return Err("id token: from the future");
    }
    match claims.get("nbf") {
        None => Ok(()),
        Some(from) if whole_seconds(from).is_some_and(|from| from <= latest) => Ok(()),
        Some(_) => Err("id token: not yet valid"),
    }
}

/// A `NumericDate` (RFC 7519, 2), which may have a fraction.
fn whole_seconds(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    #[expect(clippy::cast_possible_truncation, reason = "rounds, and saturates beyond what is a time")]
    number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64))
}
