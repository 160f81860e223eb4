//! Forged, bent and borrowed access tokens.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gatehouse::platform::secrets::Secrets;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::wire::request;
use super::{Scene, Wire};
use crate::harness::{Actor, claims};

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token's three parts as they stand in it.
fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<&str> = token.split('.').collect();
    parts.try_into().expect("three parts")
}

fn signed_with(secret: &[u8], header: &Value, payload: &str) -> String {
    let text = format!("{}.{}", encoded(header.to_string()), encoded(payload));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
    format!("{text}.{}", encoded(tag))
}

/// Each of these must be refused wherever a token is looked at, and the genuine one must still count.
async fn are_refused(scene: &Scene, genuine: &Actor, forged: &[(String, String)]) {
    for (what, token) in forged {
        // What no header can carry is no attack over HTTP.
        if reqwest::header::HeaderValue::from_str(token).is_err() {
            continue;
        }
        for path in ["/api/auth/token/validate", "/api/user/me"] {
            let reply = scene.with_bearer(token).get(path).await;
            assert!(matches!(reply.status(), 401 | 431), "{what}: {reply:?}");
            if reply.status() == 401 {
                let challenge = reply.header("www-authenticate").unwrap_or_default();
                assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{what}: {reply:?}");
            }
        }
    }
    genuine.me().await;
    scene.is_unharmed().await;
}

/// Signing out takes a token whose time is over, but only a genuine one.
async fn end_nothing(scene: &Scene, genuine: &Actor, forged: &[(String, String)]) {
    for (what, token) in forged {
        if reqwest::header::HeaderValue::from_str(token).is_ok() {
            let reply = scene.with_bearer(token).post("/api/auth/logout").await;
            assert!(matches!(reply.status(), 401 | 431), "{what}: {reply:?}");
        }
    }
    genuine.me().await;
}

/// What is forged, and the forgery.
type Forged = Vec<(String, String)>;

/// The token with another header.
fn with_bent_headers(token: &str) -> Forged {
    let [header, payload, signature] = parts(token);
    let said: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    let mut forged = Vec::new();
    let mut add = |what: &str, header: String| {
        forged.push((what.to_owned(), format!("{}.{payload}.{signature}", encoded(&header))));
        forged.push((format!("{what}, unsigned"), format!("{}.{payload}.", encoded(header))));
    };
    for alg in [
        json!("none"),
        json!("None"),
        json!("NONE"),
        json!("nOnE"),
        json!(""),
        json!(null),
        json!(0),
        json!([]),
        json!(["EdDSA"]),
        json!("HS384"),
        json!("HS512"),
        json!("RS256"),
        json!("PS256"),
        json!("ES384"),
        json!("ES256K"),
        json!("EdDSA "),
        json!("eddsa"),
        json!("Ed25519"),
        json!("HS256\u{0}"),
    ] {
        let bent = json!({"alg": alg, "typ": "at+jwt", "kid": said["kid"]});
        add("alg", bent.to_string());
    }
    for (name, value) in [
        ("crit", json!(["x"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("jku", json!("http://127.0.0.1:1/")),
        ("x5u", json!("http://127.0.0.1:1/")),
        ("x5c", json!(["MIIB"])),
        ("jwk", json!({"kty": "OKP"})),
        ("enc", json!("A256GCM")),
        ("epk", json!({})),
    ] {
        let mut bent = said.clone();
        bent[name] = value;
        add(name, bent.to_string());
    }
    for kid in [
        json!("../../../../dev/null"),
        json!("/dev/null"),
        json!("' UNION SELECT 'x"),
        json!("x".repeat(2000)),
        json!(7),
        json!(null),
        json!([]),
        json!({}),
        json!(""),
        json!("00000000-0000-7000-8000-000000000000"),
        json!("\u{0}"),
        json!(format!("{}\u{0}", said["kid"].as_str().unwrap())),
        json!("http://127.0.0.1:1/key"),
    ] {
        let mut bent = said.clone();
        bent["kid"] = kid;
        add("kid", bent.to_string());
    }
    for typ in [json!("JWT"), json!("at+JWT"), json!("application/at+jwt"), json!(null), json!("refresh")] {
        let mut bent = said.clone();
        bent["typ"] = typ;
        add("typ", bent.to_string());
    }
    let twice =
        format!("{{\"alg\":\"none\",\"alg\":{},\"typ\":\"at+jwt\",\"kid\":{}}}", said["alg"], said["kid"]);
    add("alg twice", twice);
    add("header twice encoded", header.to_owned());
    forged
}

/// The token in another form.
fn in_bent_forms(token: &str) -> Forged {
    let [header, payload, signature] = parts(token);
    let mut forged = Vec::new();
    let mut add = |what: &str, token: String| forged.push((what.to_owned(), token));
    add("two parts", format!("{header}.{payload}"));
    add("one part", header.to_owned());
    add("four parts", format!("{token}.x"));
    add("empty fourth part", format!("{token}."));
    add("five parts, as a JWE", format!("{header}.{payload}.{signature}.{payload}.{signature}"));
    add("nested", encoded(token));
    add(
        "JSON serialisation",
        json!({"payload": payload, "protected": header, "signature": signature}).to_string(),
    );
    add("padding", format!("{header}.{payload}=.{signature}"));
    add("padding of the signature", format!("{token}=="));
    add(
        "standard alphabet",
        format!("{header}.{payload}.{}", STANDARD.encode(URL_SAFE_NO_PAD.decode(signature).unwrap())),
    );
    add("dots before", format!(".{token}"));
    for space in [" ", "\t", "\u{a0}", "%20", "%0a", "\"", "'", ","] {
        add("space inside", format!("{header}.{payload}{space}.{signature}"));
        add("space behind", format!("{token}{space}x"));
    }
    add("empty", ".".to_owned());
    add("dots", "..".to_owned());
    add("long", format!("{header}.{}.{signature}", "A".repeat(4096)));
    forged
}

/// The token with another signature.
fn with_bent_signatures(token: &str) -> Forged {
    let [header, payload, signature] = parts(token);
    let mut forged = Vec::new();
    let mut add = |what: &str, token: String| forged.push((what.to_owned(), token));
    add("no signature", format!("{header}.{payload}."));
    add("signature cut", format!("{header}.{payload}.{}", &signature[..signature.len() - 1]));
    add("signature cut by a byte", format!("{header}.{payload}.{}", &signature[..signature.len() - 2]));
    add("signature doubled", format!("{header}.{payload}.{signature}{signature}"));
    let length = URL_SAFE_NO_PAD.decode(signature).unwrap().len();
    add("signature of zeros", format!("{header}.{payload}.{}", encoded(vec![0; length])));
    add("signature of ones", format!("{header}.{payload}.{}", encoded(vec![255; length])));
    add("signature in DER", format!("{header}.{payload}.{}", encoded([0x30, 0x06, 2, 1, 0, 2, 1, 0])));
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = signature.chars().last().unwrap();
    for letter in alphabet.chars().filter(|letter| *letter != last) {
        add("last letter", format!("{header}.{payload}.{}{letter}", &signature[..signature.len() - 1]));
    }
    forged
}

// A-051 …, on the outside of a genuine token.
#[tokio::test]
async fn no_bent_token_is_taken_for_a_genuine_one() {
    for algorithm in ["EdDSA", "ES256", "HS256"] {
        let scene = Scene::with(&[("JWT_ALGORITHM", algorithm)]).await;
        let ann = scene.user("ann").await;
        let [header, payload, signature] = parts(&ann.access);
        let mut forged =
            [with_bent_headers(&ann.access), in_bent_forms(&ann.access), with_bent_signatures(&ann.access)]
                .concat();
        let mut risen = claims(&ann.access);
        risen["roles"] = json!(["admin"]);
        let [_, others_payload, others_signature] = parts(&scene.bystander().access);
        forged.extend([
            ("risen".to_owned(), format!("{header}.{}.{signature}", encoded(risen.to_string()))),
            ("another's payload".to_owned(), format!("{header}.{others_payload}.{signature}")),
            ("another's signature".to_owned(), format!("{header}.{payload}.{others_signature}")),
        ]);
        are_refused(&scene, &ann, &forged).await;
        end_nothing(&scene, &ann, &forged).await;
    }
}

/// The bytes of the key that a JWK describes (of a curve's point: uncompressed, SEC 1, 2.3.3), and its
/// `SubjectPublicKeyInfo` (RFC 5480, RFC 8410).
fn public_key(jwk: &Value) -> (Vec<u8>, Vec<u8>) {
    const OF_ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    const OF_P256: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    let (raw, head) = if jwk["crv"] == "P-256" {
        ([vec![4], bytes("x"), bytes("y")].concat(), &OF_P256[..])
    } else {
        (bytes("x"), &OF_ED25519[..])
    };
    let spki = [head, &raw].concat();
    (raw, spki)
}

/// With this key the token was signed: a key that was put together wrongly would prove nothing.
#[track_caller]
fn has_signed(jwk: &Value, spki: &[u8], token: &str) {
    let algorithm: &'static dyn VerificationAlgorithm =
        if jwk["crv"] == "P-256" { &ECDSA_P256_SHA256_FIXED } else { &ED25519 };
    let (text, signature) = token.rsplit_once('.').unwrap();
    let key = ParsedPublicKey::new(algorithm, spki).unwrap();
    key.verify_sig(text.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
}

// whoever knows the public key must not sign with it.
#[tokio::test]
async fn the_public_key_is_no_secret_to_sign_with() {
    for algorithm in ["EdDSA", "ES256"] {
        let scene = Scene::with(&[("JWT_ALGORITHM", algorithm)]).await;
        let ann = scene.user("ann").await;
        let set = scene.get("/.well-known/jwks.json").await;
        let jwk = set.is(200).json()["keys"][0].clone();
        assert_eq!(jwk["alg"], algorithm);
        let (raw, spki) = public_key(&jwk);
        has_signed(&jwk, &spki, &ann.access);
        let pem = |line: usize| {
            let text = STANDARD.encode(&spki);
            let lines: Vec<&str> =
                text.as_bytes().chunks(line).map(|line| str::from_utf8(line).unwrap()).collect();
            format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n"))
        };
        let secrets: Vec<Vec<u8>> = vec![
            raw.clone(),
            // The point without the byte that says how it is written, and its first half.
            raw[raw.len() % 2..].to_vec(),
            raw[raw.len() % 2..][..32].to_vec(),
            spki.clone(),
            jwk["x"].as_str().unwrap().as_bytes().to_vec(),
            // On one line, and cut into lines as RFC 7468 asks for.
            pem(1000).into_bytes(),
            format!("{}\n", pem(1000)).into_bytes(),
            pem(64).into_bytes(),
            format!("{}\n", pem(64)).into_bytes(),
            jwk.to_string().into_bytes(),
            set.bytes().to_vec(),
            Vec::new(),
            b"changethis".to_vec(),
            vec![0; 32],
        ];
        let payload = claims(&ann.access).to_string();
        let mut forged = Vec::new();
        for secret in secrets {
            for alg in ["HS256", algorithm] {
                let header = json!({"alg": alg, "typ": "at+jwt", "kid": jwk["kid"]});
                forged.push((format!("{algorithm} by {alg}"), signed_with(&secret, &header, &payload)));
            }
        }
        are_refused(&scene, &ann, &forged).await;
        end_nothing(&scene, &ann, &forged).await;
    }
}

/// The secret that a program with `JWT_ALGORITHM=HS256` signs with, and its name: what nobody outside has.
async fn signing_secret(scene: &Scene) -> (Vec<u8>, String) {
    let reader = scene.inside.db.reader();
    let statement = Statement::from_string(
        reader.get_database_backend(),
        "SELECT kid, sealed_private_key FROM signing_keys",
    );
    let row = reader.query_one_raw(statement).await.unwrap().unwrap();
    let kid: String = row.try_get_by_index(0).unwrap();
    let sealed: Vec<u8> = row.try_get_by_index(1).unwrap();
    let secrets = Secrets::new(scene.inside.config.tokens.master_secret.expose(), &[]);
    let opened = secrets.open("signing key", format!("{kid} HS256").as_bytes(), &sealed).unwrap();
    (opened.to_vec(), kid)
}

// rightly signed, wrongly filled. A key that leaks into another program must not be enough.
#[tokio::test]
async fn a_rightly_signed_token_counts_only_with_exactly_our_claims() {
    let scene = Scene::with(&[("JWT_ALGORITHM", "HS256")]).await;
    let ann = scene.user("ann").await;
    let (secret, kid) = signing_secret(&scene).await;
    let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": kid});
    let ours = claims(&ann.access);
    let genuine = signed_with(&secret, &header, &ours.to_string());
    scene.with_bearer(&genuine).get("/api/user/me").await.is(200);

    let now = scene.clock.now().seconds();
    let mut forged = Vec::new();
    let changes = [
        ("exp", json!(now)),
        ("exp", json!(now - 1)),
        ("exp", json!("9999999999")),
        ("exp", json!(-1)),
        ("exp", json!(null)),
        ("exp", json!(9_999_999_999.5)),
        ("exp", json!([9_999_999_999_i64])),
        ("exp", json!(true)),
        ("exp", json!(0)),
        ("nbf", json!(now + 61)),
        ("nbf", json!("0")),
        ("nbf", json!(null)),
        ("iat", json!(now + 61)),
        ("iat", json!("0")),
        ("iss", json!("http://evil.test")),
        ("iss", json!("http://localhost:8000/")),
        ("iss", json!("HTTP://LOCALHOST:8000")),
        ("iss", json!("http://localhost:80")),
        ("iss", json!(["http://localhost:8000"])),
        ("iss", json!("")),
        ("aud", json!("http://evil.test")),
        ("aud", json!(["http://localhost:8000"])),
        ("aud", json!("http://localhost:8000/x")),
        ("aud", json!(["http://evil.test", "http://localhost:8000"])),
        ("aud", json!(null)),
        ("aud", json!("http://localhost")),
        ("sub", json!([ann.id])),
        ("sub", json!({"id": ann.id})),
        ("sub", json!(7)),
        ("sub", json!("me")),
        ("sub", json!(null)),
        ("sub", json!(scene.bystander().id)),
        ("sub", json!("00000000-0000-0000-0000-000000000000")),
        ("sid", json!(scene.bystander().session())),
        ("sid", json!(null)),
        ("sid", json!("")),
        ("sid", json!(ann.id)),
        ("ver", json!(1)),
        ("ver", json!(-1)),
        ("ver", json!("0")),
        ("ver", json!(null)),
        ("ver", json!(0.5)),
        ("roles", json!("admin")),
        ("jti", json!(7)),
        ("client_id", json!(null)),
        ("amr", json!("pwd")),
        ("extra", json!(1)),
    ];
    for (name, value) in &changes {
        let mut bent = ours.clone();
        bent[*name] = value.clone();
        forged.push((format!("{name}: {value}"), signed_with(&secret, &header, &bent.to_string())));
    }
    for name in ours.as_object().unwrap().keys() {
        let mut bent = ours.clone();
        bent.as_object_mut().unwrap().remove(name);
        forged.push((format!("without {name}"), signed_with(&secret, &header, &bent.to_string())));
    }
    let text = ours.to_string();
    for (what, payload) in [
        ("a list", format!("[{text}]")),
        ("a text", "\"x\"".to_owned()),
        ("null", "null".to_owned()),
        ("nothing", String::new()),
        ("sub twice", text.replacen('{', &format!("{{\"sub\":\"{}\",", scene.bystander().id), 1)),
        ("exp far away", text.replace(&ours["exp"].to_string(), "1e400")),
        ("exp in floats", text.replace(&ours["exp"].to_string(), "1e10")),
        ("deep", format!("{}{}", "[".repeat(1400), "]".repeat(1400))),
        ("behind", format!("{text}{{}}")),
        (
            "list of values",
            format!(
                "[{}]",
                ours.as_object().unwrap().values().map(Value::to_string).collect::<Vec<_>>().join(",")
            ),
        ),
    ] {
        forged.push((what.to_owned(), signed_with(&secret, &header, &payload)));
    }
    // Another key of the same program is not for this.
    let master = scene.inside.config.tokens.master_secret.expose().to_vec();
    forged.push(("the master secret".to_owned(), signed_with(&master, &header, &text)));
    are_refused(&scene, &ann, &forged).await;
    // Roles are read from the account, not from the token.
    let mut risen = ours.clone();
    risen["roles"] = json!(["admin"]);
    let risen = scene.with_bearer(&signed_with(&secret, &header, &risen.to_string()));
    assert_eq!(risen.get("/api/user/me").await.is(200).json()["roles"], json!(["user"]));
    risen.get("/api/user").await.refused(403, "forbidden");
    // A user who is gone for good.
    scene.admin().await.delete(&format!("{}?purge=true", ann.path())).await.ok();
    scene.with_bearer(&genuine).get("/api/user/me").await.refused(401, "token_invalid");
}

//
#[tokio::test]
async fn no_token_makes_the_server_call_anybody() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", canary.local_addr().unwrap());
    let [_, payload, signature] = parts(&ann.access);
    for name in ["jku", "x5u"] {
        for kid in [json!(url), json!("x")] {
            let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid, (name): url});
            let token = format!("{}.{payload}.{signature}", encoded(header.to_string()));
            scene.with_bearer(&token).get("/api/user/me").await.is(401);
        }
    }
    let call = tokio::time::timeout(std::time::Duration::from_millis(300), canary.accept()).await;
    assert!(call.is_err(), "somebody called");
}

//
#[tokio::test]
async fn one_form_of_the_authorization_header_counts() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let token = &ann.access;
    let me = async |headers: &[(&str, &str)]| {
        Wire::to(&scene).send(request("GET", "/api/user/me", headers, "")).await.status
    };
    for good in [format!("Bearer {token}"), format!("bearer {token}"), format!("BEARER {token}")] {
        assert_eq!(me(&[("authorization", &good)]).await, 200);
    }
    for bad in [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        format!("Bearer  {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer {token},"),
        format!("Bearer \"{token}\""),
        format!("Token {token}"),
        format!("Basic {token}"),
        "Basic".into(),
        "Basic ::::".into(),
        token.clone(),
        format!("Bearer {token} x"),
        format!("Bearer={token}"),
        format!("Bearer:{token}"),
        "Bearer é".into(),
        format!("Bearer é{token}"),
        "Bearer null".into(),
        "Bearer undefined".into(),
        format!("JWT {token}"),
        format!("Negotiate {token}"),
        "Digest username=\"ann\"".into(),
    ] {
        assert_eq!(me(&[("authorization", &bad)]).await, 401, "{bad}");
    }
    let good = format!("Bearer {token}");
    assert_eq!(me(&[("authorization", &good), ("authorization", &good)]).await, 401);
    assert_eq!(me(&[("authorization", "Basic YTpi"), ("authorization", &good)]).await, 401);
    let long = format!("Bearer {}", "x".repeat(64 * 1024));
    assert_eq!(me(&[("authorization", &long)]).await, 431);
    scene.is_unharmed().await;
}

//
#[tokio::test]
async fn a_token_elsewhere_than_in_the_header_is_none() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    for name in ["token", "access_token", "bearer", "authorization", "jwt"] {
        let path = format!("/api/user/me?{name}={}", ann.access);
        scene.get(&path).await.refused(401, "token_invalid");
        for cookie in [format!("{name}={}", ann.access), format!("gatehouse={}", ann.access)] {
            scene.get("/api/user/me").header("cookie", &cookie).await.refused(401, "token_invalid");
        }
        scene
            .get("/api/user/me")
            .header(&format!("x-{name}"), &ann.access)
            .await
            .refused(401, "token_invalid");
    }
    for header in ["proxy-authorization", "x-authorization", "x-forwarded-authorization", "x-access-token"] {
        scene
            .get("/api/user/me")
            .header(header, &format!("Bearer {}", ann.access))
            .await
            .refused(401, "token_invalid");
    }
    let body = json!({"access_token": ann.access, "token": ann.access});
    scene.patch(&ann.path()).json(&body).await.refused(401, "token_invalid");
    let form = [("access_token", ann.access.as_str())];
    scene.post("/api/auth/logout").form(&form).await.refused(401, "token_invalid");
    ann.me().await;
}

// A-062, T-26
#[tokio::test]
async fn a_refresh_token_is_whole_or_none() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let token = ann.refresh.clone();
    let mut bent: Vec<String> = (0..token.len()).map(|end| token[..end].to_owned()).collect();
    bent.extend((1..token.len()).map(|start| token[start..].to_owned()));
    bent.extend([
        format!("{token}A"),
        format!("{token}="),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        token.to_uppercase(),
        token.to_lowercase(),
        token.replace("gr_", ""),
        token.replace("gr_", "gr-"),
        token.replace('-', "+").replacen('_', "/", 5),
        format!("{token}.{token}"),
        "é".to_owned(),
        "\0".to_owned(),
    ]);
    bent.retain(|bent| *bent != token);
    for bent in bent {
        let reply = scene.post("/api/auth/token/refresh").json(&json!({"refresh_token": bent})).await;
        reply.refused(401, "token_invalid");
    }
    // A flipped letter anywhere, too.
    for at in 3..token.len() {
        let mut letters: Vec<char> = token.chars().collect();
        letters[at] = if letters[at] == 'A' { 'B' } else { 'A' };
        let bent: String = letters.into_iter().collect();
        scene
            .post("/api/auth/token/refresh")
            .json(&json!({"refresh_token": bent}))
            .await
            .refused(401, "token_invalid");
    }
    for odd in [json!(null), json!(7), json!([token]), json!({"a": token})] {
        scene
            .post("/api/auth/token/refresh")
            .json(&json!({"refresh_token": odd}))
            .await
            .invalid(&["refresh_token"]);
    }
    scene.post("/api/auth/token/refresh").json(&json!({"refresh_token": token})).await.is(200);
}
