//! Signed text: the compact form of a JWS (RFC 7515, 3.1), read strictly.
//!
//! The form, the algorithm and the signature are judged here; what the payload means is judged by
//! [`access_token`](super::access_token). A verifier asks a key, and the key knows its one algorithm: what the
//! token says about itself is compared, never obeyed (RFC 8725, 3.1).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The longest token that is looked at, in bytes.
pub const MAX_LEN: usize = 4096;

/// How a token is signed (RFC 7518, 3.1; RFC 8037, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032).
    EdDsa,
    /// ECDSA on P-256 with SHA-256; the signature is r ‖ s, 64 bytes.
    Es256,
    /// HMAC-SHA256: whoever can verify can also sign.
    Hs256,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Hs256];

    /// Its name in headers, key sets and settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Hs256 => "HS256",
        }
    }

    /// Whether signing and verifying take one and the same secret.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name).ok_or(UnknownAlgorithm)
    }
}

/// The name is no algorithm's; names are case-sensitive (RFC 7515, 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be EdDSA, ES256 or HS256")]
pub struct UnknownAlgorithm;

/// Why a text is not a JWS of this key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsFault {
    /// Too long, not three parts of base64url, or a header that is not what a header must be.
    #[error("not a token in the form that this server issues")]
    Malformed,
    /// The header names another algorithm than the key's.
    #[error("the token names another algorithm than its key has")]
    WrongAlgorithm,
    /// The signature is not this key's over this text.
    #[error("the signature does not fit")]
    BadSignature,
}

/// The header. Whatever else a header may hold (`jwk`, `jku`, `x5c`, `crit`, `b64`, `zip`, …) makes the token
/// malformed: nothing we issue has it, and each has been the way in somewhere.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// Name of the algorithm.
    pub alg: String,
    /// What kind of token it is.
    pub typ: Option<String>,
    /// Which key signed it.
    pub kid: Option<String>,
}

/// A JWS taken apart; nothing in it is proven yet.
pub struct Compact<'a> {
    /// The header.
    pub header: Header,
    /// The payload, as it was signed.
    pub payload: Vec<u8>,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    /// Takes `token` apart: at most [`MAX_LEN`] bytes, exactly three parts, base64url without padding and without
    /// stray bits (RFC 4648, 3.5).
    pub fn parse(token: &'a str) -> Result<Self, JwsFault> {
        if token.len() > MAX_LEN {
            return Err(JwsFault::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwsFault::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsFault::Malformed)?;
        // A fourth part would leave a dot in the payload, which is not in the alphabet.
        Ok(Self {
            header: object(&decode(header)?)?,
            payload: decode(payload)?,
            signed,
            signature: decode(signature)?,
        })
    }

    /// Whether `key` signed it.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), JwsFault> {
        if self.header.alg != key.algorithm().name() {
            return Err(JwsFault::WrongAlgorithm);
        }
        key.verify(self.signed.as_bytes(), &self.signature)
    }
}

/// The payload of `token`, if `key` signed it.
pub fn verify(key: &VerifyingKey, token: &str) -> Result<Vec<u8>, JwsFault> {
    let compact = Compact::parse(token)?;
    compact.verify(key)?;
    Ok(compact.payload)
}

/// Reads a JSON object. Duplicate members are refused, unknown ones where `T` refuses them; serde alone would also
/// take an array for a struct.
pub fn object<T: DeserializeOwned>(json: &[u8]) -> Result<T, JwsFault> {
    if json.first() != Some(&b'{') {
        return Err(JwsFault::Malformed);
    }
    serde_json::from_slice(json).map_err(|_| JwsFault::Malformed)
}

fn decode(part: &str) -> Result<Vec<u8>, JwsFault> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsFault::Malformed)
}

/// What verifies: parsed once, bound to one algorithm.
#[derive(Clone)]
pub enum VerifyingKey {
    /// An Ed25519 public key.
    EdDsa(ParsedPublicKey),
    /// A point on P-256.
    Es256(ParsedPublicKey),
    /// A secret.
    Hs256(Box<hmac::Key>),
}

/// The bytes are not a key of this algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key of this algorithm")]
pub struct NotAKey;

impl VerifyingKey {
    /// An Ed25519 public key: 32 bytes (RFC 8032, 5.1.5).
    pub fn ed_dsa(public: &[u8]) -> Result<Self, NotAKey> {
        ParsedPublicKey::new(&ED25519, public).map(Self::EdDsa).map_err(|_| NotAKey)
    }

    /// An uncompressed point on P-256: 65 bytes (SEC 1, 2.3.3).
    pub fn es256(point: &[u8]) -> Result<Self, NotAKey> {
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map(Self::Es256).map_err(|_| NotAKey)
    }

    /// A secret of at least 32 bytes (RFC 7518, 3.2).
    pub fn hs256(secret: &[u8]) -> Result<Self, NotAKey> {
        if secret.len() < 32 {
            return Err(NotAKey);
        }
        Ok(Self::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret))))
    }

    /// The one algorithm that it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::EdDsa(_) => Algorithm::EdDsa,
            Self::Es256(_) => Algorithm::Es256,
            Self::Hs256(_) => Algorithm::Hs256,
        }
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), JwsFault> {
        match self {
            Self::EdDsa(key) | Self::Es256(key) => key.verify_sig(message, signature),
            Self::Hs256(key) => hmac::verify(key, message, signature),
        }
        .map_err(|_| JwsFault::BadSignature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "VerifyingKey({})", self.algorithm())
    }
}
