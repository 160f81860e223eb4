//! What has been tried on token verifiers elsewhere, tried on ours. Unless a case is about the signature, the forged
//! token is signed with the right key: so it is refused for what it says, not for who wrote it.

mod claims;
mod headers;

use proptest::prelude::*;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::*;
use crate::platform::random::Random;
use crate::sessions::jws::Algorithm;
use crate::sessions::keys::SigningKey;

/// Seconds since the Unix epoch.
const NOW: i64 = 1_700_000_000;
/// Seconds.
const VALID_FOR: i64 = 900;

fn now() -> Timestamp {
    Timestamp::from_seconds(NOW)
}

fn expected() -> Expected {
    Expected { issuer: "https://id.example.test".into(), audience: "https://api.example.test".into() }
}

fn claims() -> Claims {
    Claims {
        iss: expected().issuer,
        aud: expected().audience,
        sub: Uuid::from_u128(1),
        exp: NOW + VALID_FOR,
        iat: NOW,
        nbf: NOW,
        jti: Uuid::from_u128(2),
        sid: Uuid::from_u128(3),
        client_id: "gatehouse".into(),
        ver: 4,
        roles: vec!["user".into()],
        amr: vec!["pwd".into()],
    }
}

fn ring(algorithm: Algorithm) -> KeyRing {
    KeyRing::new(key(algorithm, 1), [key(algorithm, 2)])
}

fn key(algorithm: Algorithm, seed: u64) -> SigningKey {
    SigningKey::generate(algorithm, &Random::seeded(seed), now()).unwrap()
}

fn verify(ring: &KeyRing, token: &str) -> Result<Claims, TokenFault> {
    ring.verify(token, now(), &expected())
}

fn header(ring: &KeyRing) -> Value {
    json!({ "alg": ring.current().algorithm().name(), "typ": "at+jwt", "kid": ring.current().kid() })
}

fn payload() -> Value {
    serde_json::to_value(claims()).unwrap()
}

/// `value` with `member` set to another value.
fn with(mut value: Value, member: &str, new: Value) -> Value {
    value[member] = new;
    value
}

fn without(mut value: Value, member: &str) -> Value {
    value.as_object_mut().unwrap().remove(member).unwrap();
    value
}

#[expect(clippy::needless_pass_by_value, reason = "the tables of cases read better without references")]
fn unsigned(header: impl ToString, payload: impl ToString) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()))
}

/// Any header and payload, signed with the ring's own key.
fn forged(ring: &KeyRing, header: impl ToString, payload: impl ToString) -> String {
    let signed = unsigned(header, payload);
    let signature = ring.current().sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[track_caller]
fn refused(ring: &KeyRing, token: &str, fault: TokenFault) {
    assert_eq!(verify(ring, token), Err(fault), "{token}");
    let code = if fault == TokenFault::Expired { "token_expired" } else { "token_invalid" };
    assert_eq!(fault.code(), code);
}

#[test]
fn an_issued_token_verifies_by_every_algorithm() {
    for ring in Algorithm::ALL.map(ring) {
        let token = ring.issue(&claims()).unwrap();
        assert_eq!(verify(&ring, &token), Ok(claims()));
        assert_eq!(
            verify(&ring, &forged(&ring, header(&ring), payload())),
            Ok(claims()),
            "the forger is able"
        );
    }
}

#[test]
fn a_retired_key_verifies_and_a_removed_one_does_not() {
    let old = KeyRing::new(key(Algorithm::EdDsa, 1), []);
    let token = old.issue(&claims()).unwrap();
    let rotated = KeyRing::new(key(Algorithm::EdDsa, 2), [key(Algorithm::EdDsa, 1)]);
    assert_eq!(verify(&rotated, &token), Ok(claims()));
    assert_eq!(rotated.current().kid(), key(Algorithm::EdDsa, 2).kid());
    refused(&KeyRing::new(key(Algorithm::EdDsa, 2), []), &token, TokenFault::UnknownKey);
}

///
#[test]
fn only_the_compact_form_is_a_token() {
    let ring = ring(Algorithm::EdDsa);
    let token = ring.issue(&claims()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let (head, body, signature) = (parts[0], parts[1], parts[2]);
    let json_form = json!({ "protected": head, "payload": body, "signature": signature });
    let general_form =
        json!({ "payload": body, "signatures": [{ "protected": head, "signature": signature }] });
    for text in [
        String::new(),
        format!("{head}.{body}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!("{head}..{body}.{signature}.{signature}"),
        format!("{head}.{body}.{signature}="),
        format!("{head}=.{body}.{signature}"),
        format!("{head}.{body}==.{signature}"),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{head}.\n{body}.{signature}"),
        format!("{head}.{body}.{signature}\0"),
        format!("{head}+.{body}.{signature}"),
        format!("{head}.{body}/.{signature}"),
        format!("\"{token}\""),
        format!("Bearer {token}"),
        json_form.to_string(),
        general_form.to_string(),
    ] {
        refused(&ring, &text, TokenFault::Malformed);
    }
    // A token as the payload of a token.
    refused(&ring, &forged(&ring, header(&ring), &token), TokenFault::Malformed);
}

///
#[test]
fn a_signature_has_one_form() {
    for ring in Algorithm::ALL.map(ring) {
        let token = ring.issue(&claims()).unwrap();
        let (signed, text) = token.rsplit_once('.').unwrap();
        let right = URL_SAFE_NO_PAD.decode(text).unwrap();
        let half = right.len() / 2;
        let mut flipped = right.clone();
        flipped[half] ^= 1;
        for wrong in [
            Vec::new(),
            vec![0; right.len()],
            vec![0xff; right.len()],
            right[..right.len() - 1].to_vec(),
            right[1..].to_vec(),
            right[..half].to_vec(),
            [&right[..], &[0]].concat(),
            [&right[..], &right].concat(),
            [&right[half..], &right[..half]].concat(),
            flipped,
            der(&right),
        ] {
            refused(&ring, &format!("{signed}.{}", URL_SAFE_NO_PAD.encode(wrong)), TokenFault::BadSignature);
        }
    }
}

/// The ASN.1 form of a signature r ‖ s, which ECDSA has elsewhere.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| [&[2, u8::try_from(bytes.len() + 1).unwrap(), 0], bytes].concat();
    let (r, s) = signature.split_at(signature.len() / 2);
    let body = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

/// each bit of each letter, those that base64 leaves unused included.
#[test]
fn any_changed_letter_voids_the_token() {
    for ring in Algorithm::ALL.map(ring) {
        let token = ring.issue(&claims()).unwrap();
        for (index, bit) in (0..token.len()).flat_map(|index| (0..7).map(move |bit| (index, bit))) {
            let mut bytes = token.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verify(&ring, &changed).is_err(), "{index} {bit}: {changed}");
        }
        for length in 0..token.len() {
            assert!(verify(&ring, &token[..length]).is_err(), "cut at {length}");
        }
    }
}

/// An independent implementation reads our tokens with nothing but our key set: so can other services.
#[test]
fn another_implementation_agrees() {
    for ring in [Algorithm::EdDsa, Algorithm::Es256].map(ring) {
        let token = ring.issue(&claims()).unwrap();
        let set = serde_json::to_value(ring.jwks()).unwrap();
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(set).unwrap();
        let head = jsonwebtoken::decode_header(&token).unwrap();
        let jwk = set.find(&head.kid.unwrap()).unwrap();
        let mut validation = jsonwebtoken::Validation::new(head.alg);
        validation.validate_exp = false;
        validation.set_audience(&[expected().audience]);
        validation.set_issuer(&[expected().issuer]);
        let key = jsonwebtoken::DecodingKey::from_jwk(jwk).unwrap();
        let decoded = jsonwebtoken::decode::<Claims>(&token, &key, &validation).unwrap();
        assert_eq!(decoded.claims, claims());
    }
}

/// And ours reads what it signs with the same key.
#[test]
fn a_token_that_another_implementation_signed_verifies() {
    use jsonwebtoken::{Algorithm as Theirs, EncodingKey};
    for ring in Algorithm::ALL.map(ring) {
        let key = ring.current();
        let stored = Zeroizing::new(key.stored().to_vec());
        let (algorithm, encoding) = match key.algorithm() {
            Algorithm::EdDsa => (Theirs::EdDSA, EncodingKey::from_ed_der(&stored)),
            Algorithm::Es256 => (Theirs::ES256, EncodingKey::from_ec_der(&stored)),
            Algorithm::Hs256 => (Theirs::HS256, EncodingKey::from_secret(&stored)),
        };
        let mut head = jsonwebtoken::Header::new(algorithm);
        head.typ = Some(TYPE.into());
        head.kid = Some(key.kid().into());
        let token = jsonwebtoken::encode(&head, &claims(), &encoding).unwrap();
        assert_eq!(verify(&ring, &token), Ok(claims()));
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), ascii in "[A-Za-z0-9_.-]{0,200}") {
        let ring = ring(Algorithm::EdDsa);
        prop_assert!(verify(&ring, &text).is_err());
        prop_assert!(verify(&ring, &ascii).is_err());
    }

    #[test]
    fn no_signed_bytes_make_it_panic(head in any::<Vec<u8>>(), body in any::<Vec<u8>>()) {
        let ring = ring(Algorithm::EdDsa);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let right = encode(header(&ring).to_string().as_bytes());
        for head in [encode(&head), right] {
            let signed = format!("{head}.{}", encode(&body));
            let signature = encode(&ring.current().sign(signed.as_bytes()).unwrap());
            let token = format!("{signed}.{signature}");
            prop_assert!(verify(&ring, &token).is_err());
        }
    }

    #[test]
    fn claims_come_back_as_they_were_issued(
        exp in NOW + 1..i64::MAX, ver in any::<i64>(), id in any::<u128>(), name in ".{0,60}",
        roles in proptest::collection::vec(".{0,20}", 0..4),
    ) {
        let (ring, id) = (ring(Algorithm::EdDsa), Uuid::from_u128(id));
        let claims = Claims { exp, ver, sub: id, sid: id, jti: id, client_id: name, roles, ..claims() };
        prop_assert_eq!(verify(&ring, &ring.issue(&claims).unwrap()), Ok(claims));
    }
}
