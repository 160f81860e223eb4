//! Where a list goes on, as a text that only this server can make.

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::platform::problem::{FieldError, Problem};

const TAG: usize = 16;
const MAX_LENGTH: usize = 512;

/// Seals and opens cursors: base64url of the position and 128 bits of its HMAC-SHA-256. A position is not secret;
/// it must not be made up.
#[derive(Debug)]
pub struct Cursor;

impl Cursor {
    /// The cursor of this position.
    #[must_use]
    pub fn seal(key: &[u8; 32], position: &[u8]) -> String {
        let mut sealed = position.to_vec();
        sealed.extend_from_slice(&tag(key, position));
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The position in a cursor that was sealed with this key; anything else is 422.
    pub fn open(key: &[u8; 32], cursor: &str) -> Result<Vec<u8>, Problem> {
        opened(key, cursor).ok_or_else(|| {
            Problem::invalid(vec![FieldError::new("cursor", "is not one that this server gave")])
        })
    }
}

fn opened(key: &[u8; 32], cursor: &str) -> Option<Vec<u8>> {
    if cursor.len() > MAX_LENGTH {
        return None;
    }
    let mut sealed = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let given = sealed.split_off(sealed.len().checked_sub(TAG)?);
    constant_time::verify_slices_are_equal(&tag(key, &sealed), &given).ok()?;
    Some(sealed)
}

fn tag(key: &[u8; 32], position: &[u8]) -> [u8; TAG] {
    let whole = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), position);
    let mut tag = [0; TAG];
    tag.copy_from_slice(&whole.as_ref()[..TAG]);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_cursor_opens_with_its_key() {
        for position in [&b""[..], b"1234", &[0; 300]] {
            assert_eq!(Cursor::open(&KEY, &Cursor::seal(&KEY, position)).unwrap(), position);
        }
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let sealed = URL_SAFE_NO_PAD.decode(Cursor::seal(&KEY, b"position")).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut tampered = sealed.clone();
            tampered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                Cursor::open(&KEY, &URL_SAFE_NO_PAD.encode(tampered)).unwrap_err().status.as_u16(),
                422
            );
        }
    }

    #[test]
    fn made_up_cursors_are_refused() {
        let cursor = Cursor::seal(&KEY, b"position");
        let padded = format!("{cursor}=");
        let long = "A".repeat(100_000);
        for bad in ["", "A", "' OR 1=1--", &cursor[..cursor.len() - 1], &padded, &long] {
            assert!(Cursor::open(&KEY, bad).is_err(), "{bad}");
        }
        assert!(Cursor::open(&[8; 32], &cursor).is_err());
    }
}
