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

/// The payload of `token`, if `key` signed it: what the test vectors ask.
#[cfg(test)]
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

    /// Whether this is its signature of `message`, in the form of RFC 7518, 3.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), JwsFault> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    /// The key of RFC 7515, A.1.
    fn rfc_secret() -> Vec<u8> {
        bytes("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
    }

    /// The public key of RFC 7515, A.3.
    fn rfc_point() -> Vec<u8> {
        let (x, y) =
            ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        [vec![4], bytes(x), bytes(y)].concat()
    }

    /// Any text under a tag that fits it: shows that a text is refused for its form.
    fn tagged(signed: &str) -> String {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &rfc_secret()), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn encoded(json: &str) -> String {
        URL_SAFE_NO_PAD.encode(json)
    }

    fn fault(token: &str) -> JwsFault {
        verify(&VerifyingKey::hs256(&rfc_secret()).unwrap(), token).unwrap_err()
    }

    /// Header and payload of RFC 7515, A.1.
    const SIGNED: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
        eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    #[test]
    fn rfc_7515_a_1_verifies() {
        let token = format!("{SIGNED}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let payload = verify(&VerifyingKey::hs256(&rfc_secret()).unwrap(), &token).unwrap();
        let expected = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
        assert_eq!(payload, expected.as_bytes());
        assert_eq!(tagged(SIGNED), token);
    }

    #[test]
    fn rfc_7515_a_3_verifies() {
        let payload = SIGNED.split_once('.').unwrap().1;
        let signature =
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let token = format!("eyJhbGciOiJFUzI1NiJ9.{payload}.{signature}");
        assert!(verify(&VerifyingKey::es256(&rfc_point()).unwrap(), &token).is_ok());
    }

    #[test]
    fn rfc_8037_a_4_verifies() {
        let key = VerifyingKey::ed_dsa(&bytes("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")).unwrap();
        let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-\
            09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(verify(&key, token).unwrap(), b"Example of Ed25519 signing");
    }

    #[test]
    fn base64url_is_read_strictly_in_every_part() {
        let (header, payload) = (encoded(r#"{"alg":"HS256"}"#), encoded("{}"));
        assert!(
            verify(&VerifyingKey::hs256(&rfc_secret()).unwrap(), &tagged(&format!("{header}.{payload}")))
                .is_ok()
        );
        for spoiled in
            ["{}=", "{}==", " {}", "{} ", "{}\n", "{}\t", "{}?", "?{}", "{}+", "{}/", "{}\0", "{}é", "{}%3D"]
        {
            let spoil = |part: &str| spoiled.replace("{}", part);
            for signed in [format!("{}.{payload}", spoil(&header)), format!("{header}.{}", spoil(&payload))] {
                assert_eq!(fault(&tagged(&signed)), JwsFault::Malformed, "{signed:?}");
            }
            let token = tagged(&format!("{header}.{payload}"));
            let (signed, tag) = token.rsplit_once('.').unwrap();
            assert_eq!(
                fault(&format!("{signed}.{}", spoil(tag))),
                JwsFault::Malformed,
                "{spoiled:?} in the tag"
            );
        }
    }

    #[test]
    fn bits_that_mean_nothing_must_be_zero() {
        // "AA" and "AB" are the same byte to a lax decoder.
        let header = encoded(r#"{"alg":"HS256"}"#);
        assert!(Compact::parse(&tagged(&format!("{header}.AA"))).is_ok());
        assert_eq!(fault(&tagged(&format!("{header}.AB"))), JwsFault::Malformed);
        // The tag of A.1 ends in "k"; "l" differs in a bit that is not part of the tag.
        assert_eq!(
            fault(&format!("{SIGNED}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl")),
            JwsFault::Malformed
        );
    }

    #[test]
    fn a_token_has_three_parts() {
        for token in
            ["", ".", "..", "...", "a", SIGNED, &format!("{}.x", tagged(SIGNED)), &format!("{SIGNED}..x")]
        {
            assert_eq!(fault(token), JwsFault::Malformed, "{token:?}");
        }
        assert_eq!(fault(&format!("{SIGNED}.")), JwsFault::BadSignature);
    }

    #[test]
    fn a_token_is_at_most_4096_bytes() {
        let header = encoded(r#"{"alg":"HS256"}"#);
        let room = MAX_LEN - header.len() - 2 - 43;
        let token = |payload: usize| tagged(&format!("{header}.{}", "A".repeat(payload)));
        let key = VerifyingKey::hs256(&rfc_secret()).unwrap();
        assert_eq!(token(room).len(), MAX_LEN);
        assert!(verify(&key, &token(room)).is_ok());
        assert_eq!(fault(&token(room + 1)), JwsFault::Malformed);
        assert_eq!(fault(&token(5_000_000)), JwsFault::Malformed);
    }

    #[test]
    fn p_256_signatures_that_prove_nothing_are_refused() {
        const ORDER: &str = "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE";
        let (order, zero, one) = (bytes(ORDER), vec![0; 32], [vec![0; 31], vec![1]].concat());
        let values = [&order, &zero, &one, &vec![0xff; 32]];
        let key = VerifyingKey::es256(&rfc_point()).unwrap();
        for (r, s) in values.iter().flat_map(|r| values.map(|s| (*r, s))) {
            assert_eq!(key.verify(b"message", &[&r[..], s].concat()), Err(JwsFault::BadSignature));
        }
    }

    #[test]
    fn short_secrets_and_false_points_are_no_keys() {
        assert!(VerifyingKey::hs256(&[7; 31]).is_err());
        assert!(VerifyingKey::ed_dsa(&[7; 31]).is_err());
        let mut off_the_curve = rfc_point();
        off_the_curve[64] ^= 1;
        for point in [&off_the_curve[..], &[0; 65], &[0], &[], &rfc_point()[1..]] {
            assert!(VerifyingKey::es256(point).is_err());
        }
    }

    #[test]
    fn algorithms_are_named_exactly() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
        }
        for name in ["", "none", "eddsa", "EDDSA", "Ed25519", "es256", "HS512", "RS256", " HS256"] {
            assert_eq!(name.parse::<Algorithm>(), Err(UnknownAlgorithm), "{name:?}");
        }
    }
}
