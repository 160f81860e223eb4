//! The keys that an issuer signs with (RFC 7517).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use super::ProviderFault;

/// The algorithms that a signature may have. None takes a secret: whoever could verify could sign.
pub const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
    ("PS256", Algorithm::PS256),
];
/// More keys are not looked at.
const MOST_KEYS: usize = 64;

/// A key set.
pub struct Keys(Vec<Key>);

struct Key {
    id: Option<String>,
    /// The algorithm that it says it is for.
    algorithm: Option<KeyAlgorithm>,
    /// Those that its family could be for.
    fits: &'static [Algorithm],
    key: DecodingKey,
}

/// Why a key set has no key for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// None has this id: the set may be an old one.
    Unknown,
    /// The one of this id is for something else, or it is not said which it is.
    Unfit,
}

impl Keys {
    /// The keys of a set that verify signatures; others may stand beside them.
    pub fn read(set: &Value) -> Result<Self, ProviderFault> {
        let keys = set["keys"].as_array().ok_or(ProviderFault::Odd("no key set"))?;
        Ok(Self(keys.iter().take(MOST_KEYS).filter_map(Key::read).collect()))
    }

    /// The key of this id that is for this algorithm; without an id, the only one that is.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&DecodingKey, NoKey> {
        let named = self.0.iter().filter(|key| id.is_none() || key.id.as_deref() == id);
        let mut fit = named.clone().filter(|key| key.is_for(algorithm));
        match (fit.next(), fit.next()) {
            (Some(key), None) => Ok(&key.key),
            (None, _) if id.is_some() && named.count() == 0 => Err(NoKey::Unknown),
            _ => Err(NoKey::Unfit),
        }
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let jwk = Jwk::deserialize(value).ok()?;
        if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
            return None;
        }
        let fits: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[Algorithm::RS256, Algorithm::PS256],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
                &[Algorithm::ES256]
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                &[Algorithm::EdDSA]
            }
            _ => return None,
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id, algorithm: jwk.common.key_algorithm, fits, key })
    }

    fn is_for(&self, algorithm: Algorithm) -> bool {
        self.fits.contains(&algorithm)
            && self.algorithm.is_none_or(|stated| stated == KeyAlgorithm::from(algorithm))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn keys() -> Keys {
        let set = json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "a", "alg": "ES256", "use": "sig", "x": X, "y": Y},
            {"kty": "EC", "crv": "P-384", "kid": "b", "x": X, "y": Y},
            {"kty": "EC", "crv": "P-256", "kid": "c", "use": "enc", "x": X, "y": Y},
            {"kty": "OKP", "crv": "Ed25519", "kid": "d", "x": X},
            {"kty": "RSA", "kid": "e", "alg": "RS256", "n": "AQAB", "e": "AQAB"},
            {"kty": "RSA", "kid": "f", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB"},
            {"kty": "oct", "kid": "g", "k": X},
            {"kty": "new", "kid": "h"}, {}, null, "x", [],
            {"kty": "EC", "crv": "P-256", "kid": "i", "alg": "HS256", "x": X, "y": Y},
        ]});
        Keys::read(&set).unwrap()
    }

    #[test]
    fn a_key_is_found_by_its_id_and_for_its_algorithm_alone() {
        let keys = keys();
        let find = |id, algorithm| keys.find(Some(id), algorithm).map(|_| ());
        assert_eq!(find("a", Algorithm::ES256), Ok(()));
        assert_eq!(find("d", Algorithm::EdDSA), Ok(()));
        assert_eq!(find("e", Algorithm::RS256), Ok(()));
        for (id, algorithm) in [
            ("a", Algorithm::EdDSA),
            ("a", Algorithm::HS256),
            ("e", Algorithm::PS256),
            ("f", Algorithm::RS256),
            ("d", Algorithm::HS256),
            ("i", Algorithm::ES256),
            ("i", Algorithm::HS256),
        ] {
            assert_eq!(find(id, algorithm), Err(NoKey::Unfit), "{id} {algorithm:?}");
        }
        for id in ["b", "c", "g", "h", "z", ""] {
            assert_eq!(find(id, Algorithm::HS256), Err(NoKey::Unknown), "{id}");
        }
    }

    #[test]
    fn without_an_id_there_must_be_no_choice() {
        let keys = keys();
        assert!(keys.find(None, Algorithm::ES256).is_ok());
        assert_eq!(keys.find(None, Algorithm::PS256).err(), Some(NoKey::Unfit));
        let twice = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": X}, {"kty": "OKP", "crv": "Ed25519", "kid": "2", "x": Y},
        ]});
        assert_eq!(Keys::read(&twice).unwrap().find(None, Algorithm::EdDSA).err(), Some(NoKey::Unfit));
    }

    #[test]
    fn what_is_no_set_has_no_keys() {
        for none in [json!([]), json!({}), json!({"keys": {}}), json!(null)] {
            assert!(Keys::read(&none).is_err(), "{none}");
        }
    }
}
