//! What must hold of signatures: see `src/fuzzing.rs`.

use aws_lc_rs::hmac;
use secrecy::SecretString;

use super::signature::is_genuine;
use crate::platform::clock::Timestamp;
use crate::platform::hexadecimal;

/// The first line is what a stranger says, the rest a body: without the secret nothing is genuine, and what is genuine is so
/// for this body alone.
pub(crate) fn signature(input: &[u8]) {
    const MILLIS: i64 = 1_800_000_000_000;
    let now = Timestamp::from_millis(MILLIS);
    let (secret, other) = (SecretString::from("the secret"), SecretString::from("another"));
    let (said, body) = match memchr::memchr(b'\n', input) {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &[][..]),
    };
    let said = String::from_utf8_lossy(said);
    assert!(!is_genuine(&secret, &said, body, now), "{said}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"the secret");
    let tag = hmac::sign(&key, &[MILLIS.to_string().as_bytes(), b".", body].concat());
    let header = format!("t={MILLIS}, v1={}", hexadecimal::written(tag.as_ref()));
    assert!(is_genuine(&secret, &header, body, now));
    assert!(!is_genuine(&other, &header, body, now));
    assert!(!is_genuine(&secret, &header, &[body, b"."].concat(), now));
    assert!(!is_genuine(&secret, &format!("{header},{header}"), body, now));
}
