//! The master secret and what is made of it: derived keys, sealed data, authentication codes.
//!
//! An operator keeps one secret (`JWT_SECRET_KEY`). Every key in the program is derived from it under a label of
//! its own (HKDF, RFC 5869), so that nothing made for one purpose means anything for another. After a change of
//! the master secret the previous ones still open and verify; only the current one seals and signs.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{constant_time, digest, hkdf, hmac};
use zeroize::Zeroizing;

use super::random::Random;

/// Keeps our derivations apart from those of any other program that was given the same secret.
const SALT: &[u8] = b"gatehouse master secret";
/// First byte of everything sealed: names this layout and AES-256-GCM.
const LAYOUT: u8 = 1;
/// Bytes that tell which master secret sealed something.
const KEY_ID_LEN: usize = 4;
/// Layout, key id and nonce, in front of the ciphertext.
const HEADER_LEN: usize = 1 + KEY_ID_LEN + NONCE_LEN;

/// A 256-bit key. It can't be printed and is wiped from memory when dropped.
#[derive(Clone)]
pub struct Key32(Zeroizing<[u8; 32]>);

impl Key32 {
    /// The key itself, for the algorithm that uses it.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Key32 {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Key32 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key32(…)")
    }
}

/// What was sealed can't be opened: made under another secret, for another purpose or context, or changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sealed data can't be opened: no known secret fits, or it was changed")]
pub struct CannotOpen;

/// The master secrets: the current one, and those before it.
pub struct Secrets {
    current: Master,
    previous: Vec<Master>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Secrets(…, {} previous)", self.previous.len())
    }
}

impl Secrets {
    /// Of the current master secret and the previous ones, newest first. The configuration has checked their length.
    #[must_use]
    pub fn new(current: &[u8], previous: &[&[u8]]) -> Self {
        Self {
            current: Master::new(current),
            previous: previous.iter().map(|old| Master::new(old)).collect(),
        }
    }

    /// The key for `label`, from the current master secret.
    #[must_use]
    pub fn derive(&self, label: &'static str) -> Key32 {
        self.current.derive("key", label)
    }

    /// Encrypts `plaintext` with AES-256-GCM under a key of `purpose`; it opens only with the same purpose and
    /// `context` (the row that it stands in, so that rows can't be swapped). 33 bytes longer than the plaintext.
    #[must_use]
    pub fn seal(&self, random: &Random, purpose: &'static str, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random.bytes();
        let mut body = Zeroizing::new(plaintext.to_vec());
        let tag = self.current.cipher(purpose).seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            associated(purpose, context),
            &mut body,
        );
        let tag = cannot_fail(tag, "a plaintext is far below the 64 GiB that GCM allows");
        [&[LAYOUT], &self.current.id[..], &nonce, &body, tag.as_ref()].concat()
    }

    /// Opens what [`Secrets::seal`] made with the same purpose and context, under any known master secret.
    pub fn open(
        &self,
        purpose: &'static str,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let (id, nonce, body) = parts_of(sealed).ok_or(CannotOpen)?;
        self.all()
            .filter(|master| master.id == id)
            .find_map(|master| master.open(purpose, context, nonce, body))
            .ok_or(CannotOpen)
    }

    /// Whether the current master secret sealed this: what `keys rewrap` may leave as it is.
    #[must_use]
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        parts_of(sealed).is_some_and(|(id, _, _)| id == self.current.id)
    }

    /// HMAC-SHA256 over the parts, each with its length before it, so that no two lists of parts read the same.
    #[must_use]
    pub fn mac(&self, label: &'static str, parts: &[&[u8]]) -> [u8; 32] {
        self.current.mac(label, parts)
    }

    /// Whether `tag` is the start of the MAC of these parts, under any known master secret. At least 16 bytes of it
    /// (RFC 2104, 5: half of the output); compared in constant time.
    #[must_use]
    pub fn verify_mac(&self, label: &'static str, parts: &[&[u8]], tag: &[u8]) -> bool {
        (16..=32).contains(&tag.len())
            && self.all().any(|master| {
                let expected = master.mac(label, parts);
                constant_time::verify_slices_are_equal(&expected[..tag.len()], tag).is_ok()
            })
    }

    fn all(&self) -> impl Iterator<Item = &Master> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

/// SHA-256.
#[must_use]
pub fn digest(bytes: &[u8]) -> [u8; 32] {
    array(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// One master secret.
struct Master {
    id: [u8; KEY_ID_LEN],
    root: hkdf::Prk,
}

impl Master {
    fn new(secret: &[u8]) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret);
        // Derived under a label of its own: it tells the secrets apart and tells nothing about them.
        let named = expand(&root, "id", "master");
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&named.bytes()[..KEY_ID_LEN]);
        Self { id, root }
    }

    fn derive(&self, usage: &'static str, label: &'static str) -> Key32 {
        expand(&self.root, usage, label)
    }

    fn cipher(&self, purpose: &'static str) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, self.derive("seal", purpose).bytes());
        LessSafeKey::new(cannot_fail(key, "the key has the length that AES-256 asks for"))
    }

    fn open(
        &self,
        purpose: &'static str,
        context: &[u8],
        nonce: [u8; NONCE_LEN],
        body: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut plain = Zeroizing::new(body.to_vec());
        let opened = self.cipher(purpose).open_in_place(
            Nonce::assume_unique_for_key(nonce),
            associated(purpose, context),
            &mut plain,
        );
        let length = opened.ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    fn mac(&self, label: &'static str, parts: &[&[u8]]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.derive("mac", label).bytes());
        let mut context = hmac::Context::with_key(&key);
        for part in parts {
            context.update(&length_of(part));
            context.update(part);
        }
        array(context.sign().as_ref())
    }
}

/// The use stands before the label, so that a MAC key and a cipher key of one label differ.
fn expand(root: &hkdf::Prk, usage: &'static str, label: &'static str) -> Key32 {
    let mut key = Key32::from([0; 32]);
    let info = [b"gatehouse 1 ", usage.as_bytes(), b" ", label.as_bytes()];
    let filled = root.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut key.0[..]));
    cannot_fail(filled, "HKDF gives up to 8160 bytes, and this asks for 32");
    key
}

/// What a sealed value is bound to besides its key.
fn associated(purpose: &'static str, context: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([&[LAYOUT], &length_of(purpose.as_bytes())[..], purpose.as_bytes(), context].concat())
}

/// Key id, nonce, and ciphertext with its tag.
fn parts_of(sealed: &[u8]) -> Option<([u8; KEY_ID_LEN], [u8; NONCE_LEN], &[u8])> {
    let (header, body) = sealed.split_at_checked(HEADER_LEN)?;
    let (layout, rest) = header.split_first()?;
    let (id, nonce) = rest.split_at(KEY_ID_LEN);
    (*layout == LAYOUT).then_some((id.try_into().ok()?, nonce.try_into().ok()?, body))
}

fn length_of(part: &[u8]) -> [u8; 8] {
    (part.len() as u64).to_be_bytes()
}

/// The 32 bytes of a SHA-256 output.
fn array(output: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(output);
    bytes
}

#[expect(
    clippy::panic,
    reason = "the library reports misuse as an error; with these fixed lengths there is none, and going on would be worse"
)]
fn cannot_fail<T>(result: Result<T, Unspecified>, why: &'static str) -> T {
    result.unwrap_or_else(|_| panic!("cryptography failed although {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &[u8] = b"the secret of last year, 32 bytes";
    const NEW: &[u8] = b"the secret of this year, 32 bytes";

    fn sealed(secrets: &Secrets) -> Vec<u8> {
        secrets.seal(&Random::seeded(7), "signing key", b"row 1", b"attack at dawn")
    }

    #[test]
    fn what_is_sealed_opens_again() {
        let secrets = Secrets::new(NEW, &[]);
        let sealed = sealed(&secrets);
        assert_eq!(sealed.len(), b"attack at dawn".len() + 33);
        assert_eq!(secrets.open("signing key", b"row 1", &sealed).unwrap().as_slice(), b"attack at dawn");
    }

    #[test]
    fn another_purpose_or_context_or_secret_does_not_open() {
        let secrets = Secrets::new(NEW, &[]);
        let sealed = sealed(&secrets);
        assert_eq!(secrets.open("totp seed", b"row 1", &sealed), Err(CannotOpen));
        assert_eq!(secrets.open("signing key", b"row 2", &sealed), Err(CannotOpen));
        assert_eq!(Secrets::new(OLD, &[]).open("signing key", b"row 1", &sealed), Err(CannotOpen));
    }

    #[test]
    fn any_changed_byte_or_length_is_noticed() {
        let secrets = Secrets::new(NEW, &[]);
        let sealed = sealed(&secrets);
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(secrets.open("signing key", b"row 1", &changed), Err(CannotOpen), "byte {index}");
            assert_eq!(
                secrets.open("signing key", b"row 1", &sealed[..index]),
                Err(CannotOpen),
                "cut at {index}"
            );
        }
    }

    #[test]
    fn a_previous_secret_opens_and_verifies_but_is_not_current() {
        let old = Secrets::new(OLD, &[]);
        let both = Secrets::new(NEW, &[OLD]);
        let sealed = sealed(&old);
        assert!(both.open("signing key", b"row 1", &sealed).is_ok());
        assert!(old.is_current(&sealed) && !both.is_current(&sealed));
        assert!(both.verify_mac("csrf", &[b"a"], &old.mac("csrf", &[b"a"])));
        assert_ne!(both.mac("csrf", &[b"a"]), old.mac("csrf", &[b"a"]));
    }

    #[test]
    fn the_same_plaintext_is_sealed_differently_each_time() {
        let (secrets, random) = (Secrets::new(NEW, &[]), Random::seeded(7));
        let seal = || secrets.seal(&random, "signing key", b"", b"same");
        assert_ne!(seal(), seal());
    }

    #[test]
    fn labels_uses_and_secrets_each_give_another_key() {
        let secrets = Secrets::new(NEW, &[]);
        let mut keys = vec![
            *secrets.derive("a").bytes(),
            *secrets.derive("b").bytes(),
            *secrets.current.derive("mac", "a").bytes(),
            *secrets.current.derive("seal", "a").bytes(),
            *Secrets::new(OLD, &[]).derive("a").bytes(),
        ];
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 5);
    }

    /// RFC 5869, 2: with 32 bytes of output HKDF is two calls of HMAC. Says that ours is that and stays that.
    #[test]
    fn a_key_is_hkdf_sha256_of_the_secret_and_the_label() {
        let hmac = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
        let root = hmac(SALT, NEW);
        let expected = hmac(root.as_ref(), b"gatehouse 1 key a\x01");
        assert_eq!(Secrets::new(NEW, &[]).derive("a").bytes(), expected.as_ref());
    }

    #[test]
    fn parts_can_not_be_shifted_into_each_other() {
        let secrets = Secrets::new(NEW, &[]);
        let tag = secrets.mac("label", &[b"ab", b"c"]);
        for other in [&[b"a".as_slice(), b"bc"][..], &[b"abc"], &[b"ab", b"c", b""], &[]] {
            assert!(!secrets.verify_mac("label", other, &tag));
        }
        assert!(!secrets.verify_mac("other", &[b"ab", b"c"], &tag));
    }

    #[test]
    fn a_tag_may_be_cut_to_half_but_no_further() {
        let secrets = Secrets::new(NEW, &[]);
        let tag = secrets.mac("label", &[b"a"]);
        assert!(
            secrets.verify_mac("label", &[b"a"], &tag) && secrets.verify_mac("label", &[b"a"], &tag[..16])
        );
        assert!(!secrets.verify_mac("label", &[b"a"], &tag[..15]));
        assert!(!secrets.verify_mac("label", &[b"a"], &[]));
        assert!(!secrets.verify_mac("label", &[b"a"], &[&tag[..], &[0]].concat()));
    }

    #[test]
    fn sha_256_is_sha_256() {
        // FIPS 180-4, the example "abc".
        assert_eq!(digest(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    #[test]
    fn secrets_are_not_printed() {
        let secrets = Secrets::new(NEW, &[OLD]);
        assert_eq!(format!("{secrets:?} {:?}", secrets.derive("a")), "Secrets(…, 1 previous) Key32(…)");
    }
}
