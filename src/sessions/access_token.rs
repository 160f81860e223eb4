//! Access tokens: signed claims of who is calling (RFC 9068), issued and verified.
//!
//! A token that passes here is genuine and in its time, nothing more. Whether the session still lives, the account
//! is active and its version is the same is asked on every request by `sessions`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::jws::{self, Compact, JwsFault};
use super::keys::{KeyRing, SigningFault};
use crate::platform::clock::Timestamp;

/// The kind of token, in its header (RFC 9068, 2.1); no other kind of token bears it.
const TYPE: &str = "at+jwt";
/// How far another server's clock may be ahead of ours, in seconds. It never lengthens a token's life.
const SKEW: i64 = 60;

/// What an access token says. Each claim is required, no other is known: we are the only issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Who issued it: our base URL.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// The account.
    pub sub: Uuid,
    /// When it ends; seconds since the Unix epoch, as in all three.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// When it begins.
    pub nbf: i64,
    /// Its own name.
    pub jti: Uuid,
    /// The session that it belongs to.
    pub sid: Uuid,
    /// The client that it was issued to (RFC 9068, 2.2).
    pub client_id: String,
    /// The account's token version when it was issued: a higher one since then voids the token.
    pub ver: i64,
    /// The roles when it was issued; for other services. We look up the present ones.
    pub roles: Vec<String>,
    /// How the person signed in (RFC 8176).
    pub amr: Vec<String>,
}

impl Claims {
    /// Whether they are meant for us and valid at `now`. A genuine token that has merely run out is told apart.
    pub fn check(&self, now: Timestamp, expected: &Expected) -> Result<(), TokenFault> {
        let now = now.seconds();
        if self.iss != expected.issuer {
            return Err(TokenFault::WrongIssuer);
        }
        if self.aud != expected.audience {
            return Err(TokenFault::WrongAudience);
        }
        if self.nbf.max(self.iat) > now.saturating_add(SKEW) {
            return Err(TokenFault::NotYetValid);
        }
        if self.exp <= now {
            return Err(TokenFault::Expired);
        }
        Ok(())
    }
}

/// What a token must say to be ours; both compared exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The `iss` that we write.
    pub issuer: String,
    /// The `aud` that we write.
    pub audience: String,
}

/// Why a token does not count. All are 401; which one it was is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not in the form that this server issues.
    #[error("not an access token in the form that this server issues")]
    Malformed,
    /// Signed with a key that we don't have, or no longer.
    #[error("the token's key is not known")]
    UnknownKey,
    /// Names another algorithm than its key has.
    #[error("the token names another algorithm than its key has")]
    WrongAlgorithm,
    /// Not signed by the key that it names.
    #[error("the token's signature does not fit")]
    BadSignature,
    /// Of another issuer.
    #[error("the token is another issuer's")]
    WrongIssuer,
    /// For somebody else.
    #[error("the token is for another audience")]
    WrongAudience,
    /// Begins, or was issued, in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Genuine, but its time is over.
    #[error("the token has expired")]
    Expired,
    /// Genuine and in its time, but the account's roles have changed since: a refresh brings the present ones.
    #[error("the token is of an earlier state of the account")]
    Outdated,
    /// Genuine and in its time, but its session was ended or its account switched off.
    #[error("the token was revoked")]
    Revoked,
}

impl TokenFault {
    /// The problem code: a client refreshes on `token_expired` and signs in again on `token_invalid`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Expired | Self::Outdated => "token_expired",
            _ => "token_invalid",
        }
    }
}

impl From<JwsFault> for TokenFault {
    fn from(fault: JwsFault) -> Self {
        match fault {
            JwsFault::Malformed => Self::Malformed,
            JwsFault::WrongAlgorithm => Self::WrongAlgorithm,
            JwsFault::BadSignature => Self::BadSignature,
        }
    }
}

#[derive(Serialize)]
struct OutgoingHeader<'a> {
    alg: &'static str,
    typ: &'static str,
    kid: &'a str,
}

impl KeyRing {
    /// Signs `claims` with the current key.
    pub fn issue(&self, claims: &Claims) -> Result<String, SigningFault> {
        let key = self.current();
        let fault = |_| SigningFault(key.algorithm());
        let header = OutgoingHeader { alg: key.algorithm().name(), typ: TYPE, kid: key.kid() };
        let header = serde_json::to_vec(&header).map_err(fault)?;
        let claims = serde_json::to_vec(claims).map_err(fault)?;
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = key.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The claims of `token`, if it is genuine, for us, and valid at `now`.
    #[cfg(test)]
    pub fn verify(&self, token: &str, now: Timestamp, expected: &Expected) -> Result<Claims, TokenFault> {
        let claims = self.authenticate(token)?;
        claims.check(now, expected)?;
        Ok(claims)
    }

    /// The claims of `token`, if one of our keys signed it. This is the dear half of verifying: what it
    /// gives may be remembered for as long as the ring stays the same; [`Claims::check`] must follow every time.
    pub fn authenticate(&self, token: &str) -> Result<Claims, TokenFault> {
        let compact = Compact::parse(token)?;
        if compact.header.typ.as_deref() != Some(TYPE) {
            return Err(TokenFault::Malformed);
        }
        let kid = compact.header.kid.as_deref().ok_or(TokenFault::Malformed)?;
        let key = self.key(kid).ok_or(TokenFault::UnknownKey)?;
        compact.verify(key.verifier())?;
        Ok(jws::object(&compact.payload)?)
    }
}

#[cfg(test)]
mod attacks;
