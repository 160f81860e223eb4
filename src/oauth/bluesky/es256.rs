//! Keys that sign for this server (ES256), and what they sign: client assertions and DPoP proofs.

use aws_lc_rs::agreement::{self, ECDH_P256};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::platform::secrets::{Key32, digest};

/// A private key on P-256. It can't be printed.
pub struct Es256 {
    pair: EcdsaKeyPair,
    point: Vec<u8>,
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

    /// A name of the key: the thumbprint (RFC 7638).
    pub fn id(&self) -> String {
        let (x, y) = self.point[1..].split_at(32);
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, encode(x), encode(y));
        encode(&digest(canonical.as_bytes()))
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
