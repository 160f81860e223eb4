//! The signature of a webhook: `t=<milliseconds>, v1=<hexadecimal>`, an HMAC-SHA256 of time and body.

use std::time::Duration;

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};

use crate::platform::clock::Timestamp;
use crate::platform::hexadecimal;

/// How far its time may be from ours, in both directions.
const TOLERANCE: Duration = Duration::from_mins(3);

/// Whether whoever knows the secret signed this body, just now. The time that this takes does not depend on where a wrong
/// signature is wrong.
pub(super) fn is_genuine(secret: &SecretString, header: &str, body: &[u8], now: Timestamp) -> bool {
    let Some((time, signature)) = parts(header) else { return false };
    let Some(at) = time.parse().ok().map(Timestamp::from_millis) else { return false };
    if now.since(at).max(at.since(now)) > TOLERANCE {
        return false;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let message = [time.as_bytes(), b".", body].concat();
    hmac::verify(&key, &message, &signature).is_ok()
}

/// The time as it stands there, and the signature; each once.
fn parts(header: &str) -> Option<(&str, [u8; 32])> {
    let (mut time, mut signature) = (None, None);
    for part in header.split(',') {
        let (place, value) = match part.trim().split_once('=')? {
            ("t", value) => (&mut time, value),
            ("v1", value) => (&mut signature, value),
            _ => continue, // another version, beside the one that is known
        };
        if place.replace(value).is_some() {
            return None;
        }
    }
    let time =
        time.filter(|time| (1..=15).contains(&time.len()) && time.bytes().all(|b| b.is_ascii_digit()))?;
    Some((time, hexadecimal::read(signature?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: i64 = 1_700_000_000_000;
    const SMALL: &str = "8399216d111287e3bb28e25c0f4f31dffdf831c68c9ee2b96c2f67c9b81d341b";
    const BODY: &str = r#"{"id":"event_01EHZNVPK3SFK441A1RGBFSHRT","event":"user.created","data":{},"created_at":"2026-01-15T12:00:00.000Z"}"#;
    const LARGE: &str = "c8fc50786927fcb44320749e9ca0677bcb55a21482336f2a30e6970e575c2cef";

    fn judge(secret: &str, header: &str, body: &str, now: i64) -> bool {
        let secret = SecretString::from(secret.to_owned());
        is_genuine(&secret, header, body.as_bytes(), Timestamp::from_millis(now))
    }

    #[test]
    fn the_vectors_are_genuine_however_the_header_is_spaced() {
        assert!(judge("whsec_test", &format!("t={AT}, v1={LARGE}"), BODY, AT));
        for header in [
            format!("t={AT}, v1={SMALL}"),
            format!("t={AT},v1={SMALL}"),
            format!(" v1={SMALL} ,  t={AT} "),
            format!("t={AT}, v0=old, v1={SMALL}"),
        ] {
            assert!(judge("secret", &header, "{}", AT), "{header}");
        }
        for now in [AT - 180_000, AT + 180_000] {
            assert!(judge("secret", &format!("t={AT}, v1={SMALL}"), "{}", now));
        }
    }

    #[test]
    fn nothing_else_is() {
        let good = format!("t={AT}, v1={SMALL}");
        for (secret, header, body, now) in [
            ("secret", String::new(), "{}", AT),
            ("secret", format!("t={AT}"), "{}", AT),
            ("secret", format!("v1={SMALL}"), "{}", AT),
            ("secret", format!("t={AT}, v1="), "{}", AT),
            ("secret", format!("t={AT}, v1={}", &SMALL[..63]), "{}", AT),
            ("secret", format!("t={AT}, v1={}0", &SMALL[..63]), "{}", AT),
            ("secret", format!("t={AT}, v1={SMALL}00"), "{}", AT),
            ("secret", format!("t={AT}, v1={}", "z".repeat(64)), "{}", AT),
            ("secret", format!("t={AT}, v1={}", "é".repeat(32)), "{}", AT),
            ("secret", format!("t={AT}, v1={SMALL}, v1={SMALL}"), "{}", AT),
            ("secret", format!("t={AT}, t={AT}, v1={SMALL}"), "{}", AT),
            ("secret", format!("t=9999, v1={SMALL}"), "{}", AT),
            ("secret", format!("t=-{AT}, v1={SMALL}"), "{}", AT),
            ("secret", format!("t={AT}.0, v1={SMALL}"), "{}", AT),
            ("secret", format!("t=99999999999999999999, v1={SMALL}"), "{}", AT),
            ("secret", format!("t, v1={SMALL}"), "{}", AT),
            ("secret", good.clone(), "{ }", AT),
            ("secret", good.clone(), "", AT),
            ("Secret", good.clone(), "{}", AT),
            ("", good.clone(), "{}", AT),
            ("secret", good.clone(), "{}", AT + 180_001),
            ("secret", good.clone(), "{}", AT - 180_001),
            ("secret", good, "{}", 0),
        ] {
            assert!(!judge(secret, &header, body, now), "{secret} {header} {body} {now}");
        }
    }
}
