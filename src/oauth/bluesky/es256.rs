//! Keys that sign for this server (ES256), and what they sign: client assertions and DPoP proofs.

use aws_lc_rs::agreement::{self, ECDH_P256};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};

use crate::platform::secrets::{Key32, digest};

/// A private key on P-256. It can't be printed.
pub struct Es256 {
    pair: EcdsaKeyPair,
    point: Vec<u8>,
}

/// A public key on P-256 with its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientKey {
    /// Its name.
    pub kid: String,
    /// Its first coordinate; base64url.
    pub x: String,
    /// Its second coordinate; base64url.
    pub y: String,
}

impl Es256 {
    /// The key whose private part is `secret`: the same wherever the same secret is known. None for the one in four
    /// thousand millions that is no private part.
    pub fn derived(secret: &Key32) -> Option<Self> {
        let private = agreement::PrivateKey::from_private_key(&ECDH_P256, secret.bytes()).ok()?;
        let public = private.compute_public_key().ok()?;
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            secret.bytes(),
            public.as_ref(),
        );
        Some(Self::of(pair.ok()?))
    }

    fn of(pair: EcdsaKeyPair) -> Self {
        let point = pair.public_key().as_ref().to_vec();
        Self { pair, point }
    }

    /// The public part (RFC 7517).
    pub fn jwk(&self) -> Value {
        let (x, y) = self.point[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
    }

    /// The public part under its name: the thumbprint (RFC 7638).
    pub fn public(&self) -> ClientKey {
        let (x, y) = self.point[1..].split_at(32);
        let (x, y) = (encode(x), encode(y));
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        ClientKey { kid: encode(&digest(canonical.as_bytes())), x, y }
    }

    /// A token (RFC 7515, 3.1).
    pub fn sign(&self, header: &Value, claims: &Value) -> Option<String> {
        let signed =
            format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", encode(signature.as_ref())))
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 6979, A.2.5: the private part of the example and its public part.
    #[test]
    fn the_public_part_follows_from_the_private_one() {
        let secret: Vec<u8> = (0..64)
            .step_by(2)
            .map(|at| {
                u8::from_str_radix(
                    &"C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"[at..at + 2],
                    16,
                )
            })
            .collect::<Result<_, _>>()
            .unwrap();
        let key = Es256::derived(&Key32::from(<[u8; 32]>::try_from(secret).unwrap())).unwrap();
        let public = key.public();
        assert_eq!(public.x, "YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y");
        assert_eq!(public.y, "eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk");
    }

    #[test]
    fn what_is_no_private_part_is_no_key() {
        assert!(Es256::derived(&Key32::from([0; 32])).is_none());
        assert!(Es256::derived(&Key32::from([0xff; 32])).is_none());
    }
}
