//! The keys that sign access tokens, and the ring of those that are in use.
//!
//! A key is random, made here, kept in the database in sealed form by the store. The ring is a value that never
//! changes: rotation builds a new one and swaps it in.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use zeroize::Zeroizing;

use super::jws::{Algorithm, VerifyingKey};
use crate::platform::clock::Timestamp;
use crate::platform::random::Random;

/// The longest key id that is looked up, in bytes. Ours have 36.
const MAX_KID_LEN: usize = 64;
/// Bytes of an HS256 secret.
const HS256_LEN: usize = 32;

/// A key could not be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a usable {0} signing key")]
pub struct KeyFault(pub Algorithm);

/// The cryptographic library refused to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("signing with {0} failed")]
pub struct SigningFault(pub Algorithm);

/// A private key with its name. It can't be printed and is wiped from memory when dropped.
pub struct SigningKey {
    kid: String,
    created_at: Timestamp,
    stored: Zeroizing<Vec<u8>>,
    signer: Signer,
    verifier: VerifyingKey,
}

/// What signs: parsed once.
enum Signer {
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Hs256(Box<hmac::Key>),
}

impl SigningKey {
    /// A new random key. Its id is a UUID of version 7 and says nothing about the key.
    pub fn generate(algorithm: Algorithm, random: &Random, now: Timestamp) -> Result<Self, KeyFault> {
        let stored = new_private(algorithm, random).ok_or(KeyFault(algorithm))?;
        Self::from_stored(random.uuid_v7(now).to_string(), algorithm, stored, now)
    }

    /// A key from what [`SigningKey::stored`] gave.
    pub fn from_stored(
        kid: String,
        algorithm: Algorithm,
        stored: Zeroizing<Vec<u8>>,
        created_at: Timestamp,
    ) -> Result<Self, KeyFault> {
        let (signer, verifier) = pair(algorithm, &stored).ok_or(KeyFault(algorithm))?;
        Ok(Self { kid, created_at, stored, signer, verifier })
    }

    /// The private key for the store, which seals it: PKCS#8 (RFC 5958) of a key pair, the bare secret of HS256.
    #[must_use]
    pub fn stored(&self) -> &[u8] {
        &self.stored
    }

    /// Its name in headers and in the key set.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The one algorithm that it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.verifier.algorithm()
    }

    /// When it was made.
    #[must_use]
    pub const fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// What verifies its signatures.
    #[must_use]
    pub const fn verifier(&self) -> &VerifyingKey {
        &self.verifier
    }

    /// The signature of `message`, in the form of RFC 7518, 3.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFault> {
        match &self.signer {
            Signer::EdDsa(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()),
            Signer::Es256(pair) => {
                pair.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec())
            }
            Signer::Hs256(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
        .map_err(|_| SigningFault(self.algorithm()))
    }

    /// The public half for the key set; none for a secret, whose JWK would give it away.
    #[must_use]
    pub fn jwk(&self) -> Option<Jwk> {
        let (kty, crv, x, y) = match &self.signer {
            Signer::EdDsa(pair) => ("OKP", "Ed25519", encode(pair.public_key().as_ref()), None),
            Signer::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
                ("EC", "P-256", encode(x), Some(encode(y)))
            }
            Signer::Hs256(_) => return None,
        };
        Some(Jwk { kty, kid: self.kid.clone(), usage: "sig", alg: self.algorithm().name(), crv, x, y })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SigningKey({} {})", self.algorithm(), self.kid)
    }
}

fn new_private(algorithm: Algorithm, random: &Random) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = match algorithm {
        Algorithm::EdDsa => {
            let seed = Zeroizing::new(random.bytes::<32>());
            Ed25519KeyPair::from_seed_unchecked(&*seed).ok()?.to_pkcs8v1().ok()?.as_ref().to_vec()
        }
        // The library offers no way to choose this one: it comes from its own system generator.
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
            pair.to_pkcs8v1().ok()?.as_ref().to_vec()
        }
        Algorithm::Hs256 => random.bytes::<HS256_LEN>().to_vec(),
    };
    Some(Zeroizing::new(bytes))
}

fn pair(algorithm: Algorithm, stored: &[u8]) -> Option<(Signer, VerifyingKey)> {
    Some(match algorithm {
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(stored).ok()?;
            let verifier = VerifyingKey::ed_dsa(pair.public_key().as_ref()).ok()?;
            (Signer::EdDsa(pair), verifier)
        }
        Algorithm::Es256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, stored).ok()?;
            let verifier = VerifyingKey::es256(pair.public_key().as_ref()).ok()?;
            (Signer::Es256(pair), verifier)
        }
        Algorithm::Hs256 => {
            // Exactly as long as those made here, so that no private key of a pair is ever taken for a secret.
            let verifier = VerifyingKey::hs256(stored).ok().filter(|_| stored.len() == HS256_LEN)?;
            (Signer::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, stored))), verifier)
        }
    })
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A public key (RFC 7517, 4; RFC 7518, 6.2; RFC 8037, 2). It has no member that could hold a private one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    /// Family: `OKP` or `EC`.
    pub kty: &'static str,
    /// Its name in headers.
    pub kid: String,
    /// `sig`: for signatures only.
    #[serde(rename = "use")]
    pub usage: &'static str,
    /// The one algorithm that it is for.
    pub alg: &'static str,
    /// The curve.
    pub crv: &'static str,
    /// The public key, or its first coordinate; base64url.
    pub x: String,
    /// The second coordinate of `EC`; base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
}

/// A key set (RFC 7517, 5), as other services read it to verify tokens by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwks {
    /// The public keys, the signing one first.
    pub keys: Vec<Jwk>,
}

/// The keys in use: one signs, all verify.
pub struct KeyRing {
    current: Arc<SigningKey>,
    by_kid: HashMap<String, Arc<SigningKey>>,
}

impl KeyRing {
    /// A ring that signs with `current` and also verifies with `earlier` ones, until the last token that they
    /// signed has expired. Earlier keys of the other family (secret against key pair) are left out: the two never
    /// stand in one set, so that no public key can ever be taken for a secret (R-25).
    #[must_use]
    pub fn new(current: SigningKey, earlier: impl IntoIterator<Item = SigningKey>) -> Self {
        let current = Arc::new(current);
        let symmetric = current.algorithm().is_symmetric();
        let mut by_kid: HashMap<String, Arc<SigningKey>> = earlier
            .into_iter()
            .filter(|key| key.algorithm().is_symmetric() == symmetric)
            .map(|key| (key.kid.clone(), Arc::new(key)))
            .collect();
        by_kid.insert(current.kid.clone(), Arc::clone(&current));
        Self { current, by_kid }
    }

    /// The key that signs.
    #[must_use]
    pub fn current(&self) -> &SigningKey {
        &self.current
    }

    /// Whether both have the same keys and sign with the same one.
    #[must_use]
    pub fn has_keys_of(&self, other: &Self) -> bool {
        self.current.kid == other.current.kid
            && self.by_kid.len() == other.by_kid.len()
            && self.by_kid.keys().all(|kid| other.by_kid.contains_key(kid))
    }

    /// The key of this name. Names are looked up here and nowhere else: never a path, an address or a query.
    #[must_use]
    pub fn key(&self, kid: &str) -> Option<&SigningKey> {
        if kid.len() > MAX_KID_LEN {
            return None;
        }
        self.by_kid.get(kid).map(AsRef::as_ref)
    }

    /// The public keys, the signing one first, then the newest; empty where tokens are signed with a secret.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        let mut keys: Vec<&SigningKey> = self.by_kid.values().map(AsRef::as_ref).collect();
        keys.sort_by_key(|key| (key.kid != self.current.kid, std::cmp::Reverse(key.created_at)));
        Jwks { keys: keys.into_iter().filter_map(SigningKey::jwk).collect() }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyRing({:?} of {})", self.current, self.by_kid.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(algorithm: Algorithm, seed: u64) -> SigningKey {
        let now = Timestamp::from_seconds(1_700_000_000 + i64::try_from(seed).unwrap());
        SigningKey::generate(algorithm, &Random::seeded(seed), now).unwrap()
    }

    fn restored(key: &SigningKey, algorithm: Algorithm) -> Result<SigningKey, KeyFault> {
        let stored = Zeroizing::new(key.stored().to_vec());
        SigningKey::from_stored(key.kid().to_owned(), algorithm, stored, key.created_at())
    }

    #[test]
    fn a_key_comes_back_from_the_store_the_same() {
        for algorithm in Algorithm::ALL {
            let key = key(algorithm, 1);
            let again = restored(&key, algorithm).unwrap();
            let signature = again.sign(b"message").unwrap();
            assert_eq!(key.verifier().verify(b"message", &signature), Ok(()), "{algorithm}");
            assert_eq!(
                (again.kid(), again.created_at(), again.jwk()),
                (key.kid(), key.created_at(), key.jwk())
            );
        }
    }

    #[test]
    fn a_stored_key_does_not_load_as_another_algorithm() {
        for made in Algorithm::ALL {
            for asked in Algorithm::ALL.into_iter().filter(|asked| *asked != made) {
                assert_eq!(restored(&key(made, 1), asked).unwrap_err(), KeyFault(asked), "{made} as {asked}");
            }
        }
    }

    /// RFC 8037, A.1, A.2 and A.4, in the PKCS#8 of RFC 8410, 7.
    #[test]
    fn rfc_8037_signs_as_published() {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let frame = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        let seed = decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        let stored = Zeroizing::new([&frame[..], &seed].concat());
        let key =
            SigningKey::from_stored("rfc".into(), Algorithm::EdDsa, stored, Timestamp::default()).unwrap();
        let signature = key.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc").unwrap();
        let published =
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert_eq!(encode(&signature), published);
        assert_eq!(key.jwk().unwrap().x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    }

    #[test]
    fn the_key_set_holds_public_members_only() {
        let ring =
            KeyRing::new(key(Algorithm::EdDsa, 1), [key(Algorithm::Es256, 2), key(Algorithm::EdDsa, 3)]);
        let set = serde_json::to_value(ring.jwks()).unwrap();
        let members =
            |index: usize| -> Vec<&String> { set["keys"][index].as_object().unwrap().keys().collect() };
        assert_eq!(members(0), ["kty", "kid", "use", "alg", "crv", "x"]);
        assert_eq!(members(2), ["kty", "kid", "use", "alg", "crv", "x", "y"]);
        assert_eq!(set["keys"][0]["kid"], ring.current().kid(), "the signing key stands first");
        assert_eq!(set["keys"].as_array().unwrap().len(), 3);
        assert_eq!((&set["keys"][2]["alg"], &set["keys"][2]["crv"]), (&"ES256".into(), &"P-256".into()));
    }

    #[test]
    fn a_secret_is_never_in_the_key_set() {
        let ring = KeyRing::new(key(Algorithm::Hs256, 1), [key(Algorithm::Hs256, 2)]);
        assert_eq!(serde_json::to_string(&ring.jwks()).unwrap(), r#"{"keys":[]}"#);
    }

    #[test]
    fn secrets_and_key_pairs_never_stand_in_one_ring() {
        let (secret, pair) = (key(Algorithm::Hs256, 1), key(Algorithm::EdDsa, 2));
        let (secret_kid, pair_kid) = (secret.kid().to_owned(), pair.kid().to_owned());
        let ring = KeyRing::new(pair, [secret]);
        assert!(ring.key(&pair_kid).is_some() && ring.key(&secret_kid).is_none());
        let ring = KeyRing::new(key(Algorithm::Hs256, 1), [key(Algorithm::EdDsa, 2)]);
        assert!(ring.key(&secret_kid).is_some() && ring.key(&pair_kid).is_none());
    }

    #[test]
    fn keys_are_not_printed() {
        for algorithm in Algorithm::ALL {
            let key = key(algorithm, 1);
            let kid = key.kid().to_owned();
            let printed = format!("{key:?} {:?}", key.verifier());
            assert_eq!(printed, format!("SigningKey({algorithm} {kid}) VerifyingKey({algorithm})"));
            let printed = format!("{:?}", KeyRing::new(key, []));
            assert_eq!(printed, format!("KeyRing(SigningKey({algorithm} {kid}) of 1)"));
        }
    }
}
