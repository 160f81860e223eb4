//! The keys that sign ID tokens, and what may be wrong with a signature.

use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::CLIENT_SECRET;

/// How an ID token is signed. What is no forgery is one of the algorithms that are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forgery {
    /// Well, with ES256.
    #[default]
    None,
    /// Well, with RS256.
    Rs256,
    /// Well, with PS256.
    Ps256,
    /// Well, with `EdDSA`.
    EdDsa,
    /// Well, without a key id in the header.
    NoKeyId,
    /// `alg: none`, without a signature.
    Unsigned,
    /// HS256 with the client's secret.
    ClientSecret,
    /// HS256 with the public key as the secret.
    PublicKey,
    /// By another key under the right key id.
    ForeignKey,
    /// By a key whose id is in no key set, another one each time.
    UnknownKey,
    /// By a key that the header itself carries (`jwk`).
    OwnKey,
    /// Well, but a header is marked critical that nobody knows.
    Critical,
    /// Well, but the payload is an array.
    Array,
    /// Well, but `sub` stands in the payload twice.
    Twice,
    /// Well, but the token is 100 KiB long.
    Huge,
    /// One bit of the signature is another.
    Flipped,
}

/// The keys of the server.
pub struct Keys(Mutex<Arc<Ring>>);

struct Ring {
    number: usize,
    es256: EcdsaKeyPair,
    ed_dsa: Ed25519KeyPair,
}

impl Keys {
    pub fn new() -> Self {
        Self(Mutex::new(Arc::new(Ring::new(1))))
    }

    pub fn rotate(&self) {
        let mut ring = self.0.lock().expect("unbroken");
        *ring = Arc::new(Ring::new(ring.number + 1));
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.0.lock().expect("unbroken"))
    }

    /// The key set.
    pub fn jwks(&self) -> Value {
        let ring = self.ring();
        let mut keys = vec![ring.es256_jwk(), ring.ed_dsa_jwk()];
        // Beside the signing keys there may be others, which mean nothing here.
        keys.push(json!({"kty": "oct", "kid": "secret", "k": encode(CLIENT_SECRET)}));
        keys.push(json!({"kty": "new", "kid": "of a kind that nobody knows"}));
        if RSA.get().is_some() {
            keys.push(rsa_jwk());
        }
        json!({ "keys": keys })
    }

    /// `claims` in an ID token.
    pub fn sign(&self, claims: &Value, forgery: Forgery, number: usize) -> String {
        let ring = self.ring();
        let es256 = format!("es256-{}", ring.number);
        let header = match forgery {
            Forgery::Rs256 => json!({"alg": "RS256", "kid": "rsa"}),
            Forgery::Ps256 => json!({"alg": "PS256", "kid": "rsa"}),
            Forgery::EdDsa => json!({"alg": "EdDSA", "kid": format!("eddsa-{}", ring.number)}),
            Forgery::NoKeyId => json!({"alg": "ES256"}),
            Forgery::Unsigned => json!({"alg": "none", "kid": es256}),
            Forgery::ClientSecret => json!({"alg": "HS256", "kid": "secret"}),
            Forgery::PublicKey => json!({"alg": "HS256", "kid": es256}),
            Forgery::UnknownKey => json!({"alg": "ES256", "kid": format!("unknown-{number}")}),
            Forgery::OwnKey => {
                json!({"alg": "ES256", "kid": "my own", "jwk": Ring::new(99).es256_jwk()})
            }
            Forgery::Critical => json!({"alg": "ES256", "kid": es256, "crit": ["new"], "new": 1}),
            _ => json!({"alg": "ES256", "kid": es256, "typ": "JWT"}),
        };
        let mut payload = claims.to_string();
        match forgery {
            Forgery::Array => payload = format!("[{payload}]"),
            Forgery::Twice => payload = format!("{{\"sub\":\"0\",{}", &payload[1..]),
            Forgery::Huge => {
                payload = format!("{{\"filling\":\"{}\",{}", "x".repeat(100 << 10), &payload[1..]);
            }
            _ => {}
        }
        let signed = format!("{}.{}", encode(header.to_string()), encode(payload));
        let mut signature = ring.signature(&signed, forgery);
        if forgery == Forgery::Flipped {
            signature[5] ^= 1;
        }
        format!("{signed}.{}", encode(signature))
    }
}

impl Ring {
    fn new(number: usize) -> Self {
        Self {
            number,
            es256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
            ed_dsa: Ed25519KeyPair::generate().expect("a key"),
        }
    }

    fn es256_jwk(&self) -> Value {
        let point = self.es256.public_key().as_ref();
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": format!("es256-{}", self.number),
            "x": encode(&point[1..33]), "y": encode(&point[33..]),
        })
    }

    fn ed_dsa_jwk(&self) -> Value {
        json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig",
            "kid": format!("eddsa-{}", self.number), "x": encode(self.ed_dsa.public_key().as_ref()),
        })
    }

    fn signature(&self, signed: &str, forgery: Forgery) -> Vec<u8> {
        let es256 = |pair: &EcdsaKeyPair| {
            pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature").as_ref().to_vec()
        };
        let hs256 = |secret: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes()).as_ref().to_vec()
        };
        match forgery {
            Forgery::Rs256 => rsa_signature(signed, &RSA_PKCS1_SHA256),
            Forgery::Ps256 => rsa_signature(signed, &RSA_PSS_SHA256),
            Forgery::EdDsa => self.ed_dsa.sign(signed.as_bytes()).as_ref().to_vec(),
            Forgery::Unsigned => Vec::new(),
            Forgery::ClientSecret => hs256(CLIENT_SECRET.as_bytes()),
            Forgery::PublicKey => hs256(self.es256.public_key().as_ref()),
            Forgery::ForeignKey | Forgery::OwnKey => es256(&Self::new(99).es256),
            _ => es256(&self.es256),
        }
    }
}

/// Made when first asked for, because that takes a while.
static RSA: OnceLock<RsaKeyPair> = OnceLock::new();

fn rsa() -> &'static RsaKeyPair {
    RSA.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
}

fn rsa_signature(signed: &str, padding: &'static dyn RsaEncoding) -> Vec<u8> {
    let mut signature = vec![0; rsa().public_modulus_len()];
    rsa().sign(padding, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("a signature");
    signature
}

fn rsa_jwk() -> Value {
    let key = rsa().public_key();
    json!({
        "kty": "RSA", "use": "sig", "kid": "rsa",
        "n": encode(key.modulus().big_endian_without_leading_zero()),
        "e": encode(key.exponent().big_endian_without_leading_zero()),
    })
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
