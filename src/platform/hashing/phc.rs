//! The arithmetic of hashes, and their text form (PHC string format).

use std::fmt;

use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, PasswordHash, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;

use super::Verdict;
use super::limits::Busy;
use super::memory::Memory;

const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 32;

/// What a stored hash may cost at most; a hash that asks for more did not come from here.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_ITERATIONS: u32 = 10;
/// The highest cost of an imported bcrypt hash: 16 384 rounds, about 0.8 s.
const MAX_BCRYPT_COST: u32 = 14;
/// As much of a secret as bcrypt looks at, in bytes.
const BCRYPT_BYTES: usize = 72;

/// The cost is none that argon2 can have, or beyond what a hash may cost here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("argon2 needs 8 KiB to 1 GiB of memory for each lane, 1 to 10 iterations and at least one lane")]
pub struct InvalidCost;

/// Memory, iterations and lanes of argon2id, within bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cost(Params);

impl Cost {
    pub(super) fn new(memory_kib: u32, iterations: u32, lanes: u32) -> Result<Self, InvalidCost> {
        let params = Params::new(memory_kib, iterations, lanes, None).map_err(|_| InvalidCost)?;
        let is_bounded = memory_kib <= MAX_MEMORY_KIB && iterations <= MAX_ITERATIONS;
        if is_bounded { Ok(Self(params)) } else { Err(InvalidCost) }
    }

    /// The memory of one hash, in blocks of 1 KiB.
    pub(super) fn blocks(&self) -> usize {
        self.0.block_count()
    }

    /// Fills `tag`. Fails only when there is no memory for it.
    fn fill(&self, tag: &mut [u8], secret: &[u8], salt: &[u8], memory: &mut Memory) -> Result<(), Busy> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.0.clone());
        let blocks = memory.blocks(self.blocks()).ok_or(Busy::A_MOMENT)?;
        argon2.hash_password_into_with_memory(secret, salt, tag, blocks).map_err(|_| Busy::A_MOMENT)
    }
}

/// A hash as it is stored: algorithm, cost, salt and tag in one line.
#[derive(Clone, PartialEq, Eq)]
pub struct PhcString(String);

impl PhcString {
    pub(super) fn of(
        secret: &[u8],
        salt: [u8; SALT_BYTES],
        cost: &Cost,
        memory: &mut Memory,
    ) -> Result<Self, Busy> {
        let mut tag = [0; TAG_BYTES];
        cost.fill(&mut tag, secret, &salt, memory)?;
        let (m, t, p) = (cost.0.m_cost(), cost.0.t_cost(), cost.0.p_cost());
        let (salt, tag) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(tag));
        Ok(Self(format!("$argon2id$v=19$m={m},t={t},p={p}${salt}${tag}")))
    }

    /// The line, for the database and nothing else.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PhcString {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PhcString(…)")
    }
}

/// Compares `secret` with what is stored, or makes a hash of `cost` for nothing when there is nothing to compare with.
pub(super) fn verify(
    secret: &[u8],
    stored: Option<&str>,
    cost: &Cost,
    memory: &mut Memory,
) -> Result<Verdict, Busy> {
    match stored.and_then(Stored::read) {
        Some(Stored::Argon2id(stored)) => stored.verify(secret, cost, memory),
        Some(Stored::Bcrypt(line)) => Ok(verify_bcrypt(secret, line)),
        None => {
            cost.fill(&mut [0; TAG_BYTES], secret, &[0; SALT_BYTES], memory)?;
            Ok(Verdict::Wrong)
        }
    }
}

/// Whether a line can be compared with, at a cost that is within bounds: for hashes that come from elsewhere.
#[must_use]
pub fn is_usable(line: &str) -> bool {
    Stored::read(line).is_some()
}

/// A stored hash that can be compared with.
enum Stored<'a> {
    Argon2id(StoredArgon2id),
    Bcrypt(&'a str),
}

struct StoredArgon2id {
    cost: Cost,
    salt: Vec<u8>,
    tag: Vec<u8>,
}

impl<'a> Stored<'a> {
    fn read(line: &'a str) -> Option<Self> {
        if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| line.starts_with(prefix)) {
            let parts: bcrypt::HashParts = line.parse().ok()?;
            return (parts.get_cost() <= MAX_BCRYPT_COST).then_some(Self::Bcrypt(line));
        }
        StoredArgon2id::read(line).map(Self::Argon2id)
    }
}

impl StoredArgon2id {
    fn read(line: &str) -> Option<Self> {
        let hash = PasswordHash::new(line).ok()?;
        let is_known = hash.algorithm == ARGON2ID_IDENT && hash.version == Some(Version::V0x13.into());
        let params = Params::try_from(&hash).ok().filter(|_| is_known)?;
        let cost = Cost::new(params.m_cost(), params.t_cost(), params.p_cost()).ok()?;
        Some(Self { cost, salt: hash.salt?.as_ref().to_vec(), tag: hash.hash?.as_bytes().to_vec() })
    }

    fn verify(&self, secret: &[u8], wanted: &Cost, memory: &mut Memory) -> Result<Verdict, Busy> {
        let mut tag = vec![0; self.tag.len()];
        self.cost.fill(&mut tag, secret, &self.salt, memory)?;
        let is_right = bool::from(tag.ct_eq(&self.tag));
        Ok(match (is_right, self.is_of(wanted)) {
            (false, _) => Verdict::Wrong,
            (true, true) => Verdict::Right,
            (true, false) => Verdict::RightButOld,
        })
    }

    fn is_of(&self, wanted: &Cost) -> bool {
        self.cost == *wanted && self.salt.len() == SALT_BYTES && self.tag.len() == TAG_BYTES
    }
}

/// S1 hashed the first 72 bytes, as bcrypt does; the hash that replaces this one is of the whole secret.
fn verify_bcrypt(secret: &[u8], line: &str) -> Verdict {
    let seen = &secret[..secret.len().min(BCRYPT_BYTES)];
    match bcrypt::verify(seen, line) {
        Ok(true) => Verdict::RightButOld,
        Ok(false) | Err(_) => Verdict::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use argon2::{AssociatedData, ParamsBuilder};

    use super::*;

    fn cheap() -> Cost {
        Cost::new(64, 2, 1).unwrap()
    }

    /// The verdict, and how many blocks of memory were filled for it.
    fn verdict_and_work(secret: &[u8], stored: Option<&str>) -> (Verdict, u64) {
        let mut memory = Memory::default();
        let verdict = verify(secret, stored, &cheap(), &mut memory).unwrap();
        (verdict, memory.handed_out)
    }

    #[test]
    fn the_vector_of_rfc_9106_holds_in_memory_that_was_used_before() {
        let params = ParamsBuilder::new()
            .m_cost(32)
            .t_cost(3)
            .p_cost(4)
            .data(AssociatedData::new(&[4; 12]).unwrap())
            .build()
            .unwrap();
        let argon2 = Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
        let (mut memory, mut tag) = (Memory::default(), [0; 32]);
        Cost::new(32, 1, 1).unwrap().fill(&mut tag, b"other", b"other salt", &mut memory).unwrap();

        let blocks = memory.blocks(32).unwrap();
        argon2.hash_password_into_with_memory(&[1; 32], &[2; 16], &mut tag, blocks).unwrap();

        let published = [
            0x0d, 0x64, 0x0d, 0xf5, 0x8d, 0x78, 0x76, 0x6c, 0x08, 0xc0, 0x37, 0xa3, 0x4a, 0x8b, 0x53, 0xc9,
            0xd0, 0x1e, 0xf0, 0x45, 0x2d, 0x75, 0xb6, 0x5e, 0xb5, 0x25, 0x20, 0xe9, 0x6b, 0x01, 0xe6, 0x59,
        ];
        assert_eq!(tag, published);
    }

    #[test]
    fn a_hash_of_the_reference_implementation_is_understood() {
        let line = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert_eq!(verdict_and_work(b"password", Some(line)).0, Verdict::RightButOld);
        assert_eq!(verdict_and_work(b"differentpassword", Some(line)).0, Verdict::Wrong);
    }

    #[test]
    fn a_hash_is_written_as_a_phc_string() {
        let hash = PhcString::of(b"secret", [7; 16], &cheap(), &mut Memory::default()).unwrap();
        let parts: Vec<_> = hash.as_str().split('$').collect();
        assert_eq!(parts[..5], ["", "argon2id", "v=19", "m=64,t=2,p=1", "BwcHBwcHBwcHBwcHBwcHBw"]);
        assert_eq!((parts.len(), parts[5].len()), (6, 43));
        assert_eq!(format!("{hash:?}"), "PhcString(…)");
    }

    #[test]
    fn nothing_to_compare_with_costs_a_hash_all_the_same() {
        let stored = PhcString::of(b"secret", [7; 16], &cheap(), &mut Memory::default()).unwrap();
        let (verdict, work) = verdict_and_work(b"wrong", Some(stored.as_str()));
        assert_eq!((verdict, work), (Verdict::Wrong, 64));
        for nothing in
            [None, Some("ThirdPartyOnlyAcc"), Some(""), Some("secret"), Some("$2b$"), Some("$argon2id$")]
        {
            assert_eq!(verdict_and_work(b"secret", nothing), (Verdict::Wrong, work), "{nothing:?}");
        }
    }

    #[test]
    fn a_hash_of_another_kind_or_beyond_reason_is_nothing_to_compare_with() {
        let tag = "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        for start in [
            "$argon2i$v=19$m=64,t=2,p=1$c29tZXNhbHQ",
            "$argon2d$v=19$m=64,t=2,p=1$c29tZXNhbHQ",
            "$argon2id$v=16$m=64,t=2,p=1$c29tZXNhbHQ",
            "$argon2id$m=64,t=2,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=1048577,t=2,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=4294967295,t=2,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=64,t=11,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=64,t=2,p=16777215$c29tZXNhbHQ",
            "$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ",
        ] {
            let line = format!("{start}${tag}");
            assert_eq!(verdict_and_work(b"secret", Some(&line)), (Verdict::Wrong, 64), "{line}");
        }
        let line = format!("$2b$15${}", "a".repeat(53));
        assert_eq!(verdict_and_work(b"secret", Some(&line)), (Verdict::Wrong, 64), "{line}");
    }

    #[test]
    fn hashes_of_bcrypt_are_right_but_old() {
        for (secret, line) in [
            ("", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
            ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
            ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
            ("abcdefghijklmnopqrstuvwxyz", "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC"),
            (
                "~!@#$%^&*()      ~!@#$%^&*()PNBFRD",
                "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO",
            ),
        ] {
            for version in ["$2a$", "$2b$", "$2y$"] {
                let line = line.replace("$2a$", version);
                assert_eq!(
                    verdict_and_work(secret.as_bytes(), Some(&line)).0,
                    Verdict::RightButOld,
                    "{secret:?}"
                );
                assert_eq!(verdict_and_work(b"other", Some(&line)).0, Verdict::Wrong, "{secret:?}");
            }
        }
    }

    #[test]
    fn bcrypt_alone_looks_at_72_bytes_only() {
        let of_80 = [b'x'; 80];
        let line = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
        for (length, verdict) in
            [(71, Verdict::Wrong), (72, Verdict::RightButOld), (80, Verdict::RightButOld)]
        {
            assert_eq!(verdict_and_work(&of_80[..length], Some(line)).0, verdict, "{length}");
        }
        let stored = PhcString::of(&of_80[..72], [7; 16], &cheap(), &mut Memory::default()).unwrap();
        assert_eq!(verdict_and_work(&of_80, Some(stored.as_str())).0, Verdict::Wrong);
    }
}
