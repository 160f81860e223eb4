//! Headers that say what no header of ours says.

use aws_lc_rs::hmac;

use super::*;

#[track_caller]
fn header_refused(header: impl ToString, fault: TokenFault) {
    let ring = ring(Algorithm::EdDsa);
    refused(&ring, &forged(&ring, header, payload()), fault);
}

/// A-051
#[test]
fn no_token_chooses_its_algorithm() {
    for ring in Algorithm::ALL.map(ring) {
        let own = ring.current().algorithm().name();
        let names = [
            "none", "None", "NONE", "nOnE", "", " ", "HS256", "HS384", "HS512", "RS256", "PS256", "ES256",
            "ES384", "ES256K", "EdDSA", "eddsa", "Ed25519", "EdDSA ", "hs256", "HS256\0",
        ];
        for name in names.into_iter().filter(|name| *name != own) {
            let header = with(header(&ring), "alg", json!(name));
            refused(&ring, &forged(&ring, &header, payload()), TokenFault::WrongAlgorithm);
            refused(&ring, &format!("{}.", unsigned(&header, payload())), TokenFault::WrongAlgorithm);
        }
        for other in [json!(null), json!(0), json!([own]), json!({ "name": own }), json!(true)] {
            let header = with(header(&ring), "alg", other);
            refused(&ring, &forged(&ring, header, payload()), TokenFault::Malformed);
        }
        refused(&ring, &forged(&ring, without(header(&ring), "alg"), payload()), TokenFault::Malformed);
    }
}

/// A-051
#[test]
fn a_public_key_is_no_secret() {
    for ring in [Algorithm::EdDsa, Algorithm::Es256].map(ring) {
        let jwk = ring.current().jwk().unwrap();
        let x = URL_SAFE_NO_PAD.decode(&jwk.x).unwrap();
        let y = jwk.y.as_ref().map(|y| URL_SAFE_NO_PAD.decode(y).unwrap()).unwrap_or_default();
        let der = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], &x].concat();
        let base64 = base64::engine::general_purpose::STANDARD.encode(&der);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----");
        let json = serde_json::to_vec(&jwk).unwrap();
        let point = [&[4], &x[..], &y].concat();
        for public in [x, point, der, pem.into_bytes(), json, jwk.x.into_bytes(), Vec::new()] {
            for secret in [public.clone(), [&public[..], b"\n"].concat()] {
                let signed = unsigned(with(header(&ring), "alg", json!("HS256")), payload());
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
                let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
                refused(&ring, &token, TokenFault::WrongAlgorithm);
                // The same tag under the right name: it is no signature either.
                let signed = unsigned(header(&ring), payload());
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
                let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
                refused(&ring, &token, TokenFault::BadSignature);
            }
        }
    }
}

/// A-052
#[test]
fn a_key_id_is_only_ever_looked_up() {
    let own = header(&ring(Algorithm::EdDsa))["kid"].as_str().unwrap().to_owned();
    let unknown = [
        "../../dev/null",
        "/dev/null",
        "' UNION SELECT 'x",
        "https://evil.test/key",
        "",
        "00000000-0000-7000-8000-000000000000",
        &own.to_uppercase(),
        &format!("{own}\0"),
        &format!(" {own}"),
        &own[..35],
        &"k".repeat(65),
        &"k".repeat(1000),
    ];
    for kid in unknown {
        header_refused(with(header(&ring(Algorithm::EdDsa)), "kid", json!(kid)), TokenFault::UnknownKey);
    }
    for kid in [json!("k".repeat(10_000)), json!(1), json!(null), json!([own]), json!({})] {
        header_refused(with(header(&ring(Algorithm::EdDsa)), "kid", kid), TokenFault::Malformed);
    }
    header_refused(without(header(&ring(Algorithm::EdDsa)), "kid"), TokenFault::Malformed);
}

/// A-052: a token of one key under the name of another.
#[test]
fn a_key_signs_under_its_own_name_only() {
    let ring = ring(Algorithm::EdDsa);
    let other = key(Algorithm::EdDsa, 2);
    let token = forged(&ring, with(header(&ring), "kid", json!(other.kid())), payload());
    refused(&ring, &token, TokenFault::BadSignature);
}

/// A-053, A-054
#[test]
fn a_header_holds_nothing_but_what_we_write() {
    let own = header(&ring(Algorithm::EdDsa));
    let more = [
        ("jku", json!("http://127.0.0.1/jwks.json")),
        ("x5u", json!("http://127.0.0.1/chain.pem")),
        (
            "jwk",
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
        ),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("x")),
        ("crit", json!(["x"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
        ("nonce", json!("x")),
        ("ALG", json!("none")),
    ];
    for (member, value) in more {
        header_refused(with(own.clone(), member, value), TokenFault::Malformed);
    }
    let kid = own["kid"].as_str().unwrap();
    for header in [
        format!(r#"{{"alg":"EdDSA","alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"none","typ":"at+jwt","kid":"{kid}","\u0061lg":"EdDSA"}}"#),
        format!(r#"["EdDSA","at+jwt","{kid}"]"#),
        format!(r#" {{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}"}}{{}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{kid}",}}"#),
        format!(r#"{{alg:"EdDSA",typ:"at+jwt",kid:"{kid}"}}"#),
        String::new(),
        "null".into(),
        "{}".into(),
    ] {
        header_refused(header, TokenFault::Malformed);
    }
}

/// R-26: whatever else may be signed with such a key one day is not an access token.
#[test]
fn the_type_is_exactly_ours() {
    for typ in
        ["JWT", "jwt", "AT+JWT", "at+JWT", "application/at+jwt", "at+jwt ", "", "dpop+jwt", "logout+jwt"]
    {
        header_refused(with(header(&ring(Algorithm::EdDsa)), "typ", json!(typ)), TokenFault::Malformed);
    }
    for typ in [json!(null), json!(1), json!(["at+jwt"])] {
        header_refused(with(header(&ring(Algorithm::EdDsa)), "typ", typ), TokenFault::Malformed);
    }
    header_refused(without(header(&ring(Algorithm::EdDsa)), "typ"), TokenFault::Malformed);
}
