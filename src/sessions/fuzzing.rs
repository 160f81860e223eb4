//! What must hold of whatever is sent as an access token: see `src/fuzzing.rs`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::Algorithm;
use super::access_token::Expected;
use super::jws::Compact;
use super::keys::{KeyRing, SigningKey};
use crate::platform::clock::Timestamp;

const HEADER: &str = r#"{"alg":"HS256","typ":"at+jwt","kid":"key"}"#;
/// What lies beyond is no time that a clock shows.
const END_OF_TIME: i64 = 1 << 40;

/// Nobody else's text is a token. Behind a good signature, two lines of the input stand for header and claims, one for the
/// claims: what is taken is of our kind, is in its time, and is issued anew as the same.
pub(crate) fn access_token(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let stored = Zeroizing::new(vec![7; 32]);
    let key = SigningKey::from_stored("key".to_owned(), Algorithm::Hs256, stored, Timestamp::default());
    let ring = KeyRing::new(key.unwrap_or_else(|_| unreachable!("this is a key")), []);
    assert!(ring.authenticate(text).is_err(), "nobody signed it");

    let (header, claims) = text.split_once('\n').unwrap_or((HEADER, text));
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = ring.current().sign(signed.as_bytes());
    let signature = signature.unwrap_or_else(|_| unreachable!("a secret signs everything"));
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let Ok(claims) = ring.authenticate(&token) else { return };

    let compact = Compact::parse(&token).map(|compact| compact.header);
    let header = compact.unwrap_or_else(|_| unreachable!("it was taken"));
    assert_eq!((header.alg.as_str(), header.typ.as_deref()), ("HS256", Some("at+jwt")));
    assert_eq!(
        ring.issue(&claims).ok().and_then(|token| ring.authenticate(&token).ok()).as_ref(),
        Some(&claims)
    );
    let expected = Expected { issuer: "https://gate.test".into(), audience: "https://gate.test".into() };
    let is_taken = |seconds| claims.check(Timestamp::from_seconds(seconds), &expected).is_ok();
    if is_taken(1_800_000_000) {
        assert!((&claims.iss, &claims.aud) == (&expected.issuer, &expected.audience));
        assert!(claims.exp > 1_800_000_000 && claims.nbf.max(claims.iat) <= 1_800_000_060);
        assert!(claims.exp > END_OF_TIME || !is_taken(claims.exp));
    }
}
