//! What an authenticator computes (TOTP, RFC 6238; HOTP, RFC 4226), and which of its codes is good now.

use std::fmt;

use totp_rs::{Algorithm, Builder, Secret, Totp};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Settings;
use super::code::Digits;
use crate::platform::clock::Timestamp;
use crate::platform::random::Random;
use crate::platform::secrets::{CannotOpen, Secrets};

/// Bytes of a seed: as many as the hash has (RFC 4226, 4).
const SEED_LEN: usize = 20;
/// What seeds are sealed for.
const PURPOSE: &str = "totp seed";

/// The secret that an authenticator shares with us. It can't be printed and is wiped from memory when dropped.
#[derive(Clone)]
pub(super) struct SeedBytes(Zeroizing<[u8; SEED_LEN]>);

impl From<[u8; SEED_LEN]> for SeedBytes {
    fn from(bytes: [u8; SEED_LEN]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for SeedBytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SeedBytes(…)")
    }
}

impl SeedBytes {
    pub(super) fn new(random: &Random) -> Self {
        random.bytes().into()
    }

    /// What is stored in its place; it opens only in its owner's row.
    pub(super) fn seal(&self, secrets: &Secrets, random: &Random, user: Uuid) -> Vec<u8> {
        secrets.seal(random, PURPOSE, &context(user), &self.0[..])
    }

    pub(super) fn open(secrets: &Secrets, user: Uuid, sealed: &[u8]) -> Result<Self, CannotOpen> {
        let bytes = secrets.open(PURPOSE, &context(user), sealed)?;
        <[u8; SEED_LEN]>::try_from(&bytes[..]).map(Self::from).map_err(|_| CannotOpen)
    }

    /// For typing it in.
    pub(super) fn base32(&self) -> Zeroizing<String> {
        Zeroizing::new(Secret::from(*self.0).to_base32())
    }

    /// The step whose code this is: one that is good at `now` and later than `last`, the last that was accepted.
    pub(super) fn step_of(
        &self,
        code: &Digits,
        now: Timestamp,
        last: i64,
        settings: &Settings,
    ) -> Option<i64> {
        let totp = self.totp(settings)?;
        let interval = settings.interval.as_secs();
        // A clock that stands before 1970 is in its first step.
        let present = u64::try_from(now.seconds()).unwrap_or(0) / interval;
        let window = u64::from(settings.window);
        let mut steps = present.saturating_sub(window)..=present.saturating_add(window);
        let step = steps.find(|step| {
            // The comparison takes the same time whatever the code is.
            let is_later = i64::try_from(*step).is_ok_and(|step| step > last);
            is_later && totp.check(code.as_str(), step.saturating_mul(interval)) == Some(*step)
        })?;
        i64::try_from(step).ok()
    }

    /// Knows one step at a time. `None` for settings that the configuration refuses.
    fn totp(&self, settings: &Settings) -> Option<Totp> {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(settings.digits)
            .with_skew(0)
            .with_step_duration(settings.interval.as_secs())
            .with_secret(*self.0)
            .build()
            .ok()
    }

    /// The code of a moment.
    #[cfg(test)]
    pub(super) fn code_at(&self, seconds: u64, settings: &Settings) -> String {
        self.totp(settings).unwrap().generate(seconds).to_string()
    }
}

fn context(user: Uuid) -> Vec<u8> {
    [b"second_factors ", &user.as_bytes()[..]].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Code;
    use super::*;

    const RFC: [u8; 20] = *b"12345678901234567890";

    fn settings(digits: u8, window: u8) -> Settings {
        Settings {
            issuer: "Gatehouse".to_owned(),
            digits,
            interval: Duration::from_secs(30),
            window,
            email_interval: Duration::from_mins(10),
            email_allowed: true,
        }
    }

    fn digits(text: &str) -> Digits {
        let Some(Code::Digits(digits)) = Code::parse(text, u8::try_from(text.len()).unwrap()) else {
            panic!("{text}")
        };
        digits
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    /// RFC 6238, appendix B, the rows of SHA-1.
    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        let seed = SeedBytes::from(RFC);
        for (seconds, code) in [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000_i64, "65353130"),
        ] {
            let step = seed.step_of(&digits(code), at(seconds), -1, &settings(8, 0));
            assert_eq!(step, Some(seconds / 30), "{seconds}");
            let six = seed.step_of(&digits(&code[2..]), at(seconds), -1, &settings(6, 0));
            assert_eq!(six, Some(seconds / 30), "{seconds}");
        }
    }

    /// RFC 4226, appendix D: what TOTP is with the step as counter.
    #[test]
    fn the_codes_are_those_of_rfc_4226() {
        let codes = [
            "755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871",
            "520489",
        ];
        let seed = SeedBytes::from(RFC);
        for (counter, code) in (0_i64..).zip(codes) {
            let step = seed.step_of(&digits(code), at(counter * 30 + 29), -1, &settings(6, 0));
            assert_eq!(step, Some(counter));
        }
    }

    //
    #[test]
    fn codes_of_one_step_before_and_after_are_good_and_no_others() {
        let seed = SeedBytes::from(RFC);
        let now = 1_767_225_615_u64;
        let present = i64::try_from(now / 30).unwrap();
        let step = |offset: i64, window| {
            let moment = now.checked_add_signed(offset * 30).unwrap();
            let code = digits(&seed.code_at(moment, &settings(6, window)));
            seed.step_of(&code, at(1_767_225_615), -1, &settings(6, window))
        };
        let of = |window| [-2, -1, 0, 1, 2].map(|offset| step(offset, window).map(|step| step - present));
        assert_eq!(of(1), [None, Some(-1), Some(0), Some(1), None]);
        assert_eq!(of(0), [None, None, Some(0), None, None]);
    }

    #[test]
    fn a_step_that_was_accepted_and_all_before_it_are_over() {
        let seed = SeedBytes::from(RFC);
        let now = 1_767_225_615_u64;
        let present = i64::try_from(now / 30).unwrap();
        let code = |offset: i64| {
            digits(&seed.code_at(now.checked_add_signed(offset * 30).unwrap(), &settings(6, 1)))
        };
        let step = |offset, last| seed.step_of(&code(offset), at(1_767_225_615), last, &settings(6, 1));
        assert_eq!(step(0, present - 1), Some(present));
        assert_eq!(step(0, present), None);
        assert_eq!(step(0, present + 1), None);
        assert_eq!(step(-1, present), None);
        assert_eq!(step(1, present), Some(present + 1));
    }

    #[test]
    fn no_moment_makes_it_panic() {
        let seed = SeedBytes::from(RFC);
        for millis in [i64::MIN, -1, 0, 1, i64::MAX] {
            for interval in [15, 30, 120] {
                let settings = Settings { interval: Duration::from_secs(interval), ..settings(6, 1) };
                let found = seed.step_of(&digits("755224"), Timestamp::from_millis(millis), -1, &settings);
                // The code of step 0; everything before 1970 is in it.
                assert_eq!(found.is_some(), millis <= 1, "{millis}");
            }
        }
    }

    #[test]
    fn a_seed_opens_in_its_owners_row_only() {
        let (secrets, random) = (Secrets::new(&[7; 32], &[]), Random::seeded(1));
        let (ann, bob) = (Uuid::from_bytes([1; 16]), Uuid::from_bytes([2; 16]));
        let seed = SeedBytes::new(&random);
        let sealed = seed.seal(&secrets, &random, ann);
        assert_eq!(SeedBytes::open(&secrets, ann, &sealed).unwrap().0, seed.0);
        assert!(SeedBytes::open(&secrets, bob, &sealed).is_err());
        assert!(SeedBytes::open(&Secrets::new(&[8; 32], &[]), ann, &sealed).is_err());
        assert!(SeedBytes::open(&Secrets::new(&[8; 32], &[&[7; 32]]), ann, &sealed).is_ok());
        assert!(!sealed.windows(4).any(|four| seed.0.windows(4).any(|clear| clear == four)));
    }

    #[test]
    fn seeds_have_160_bits_and_differ() {
        let random = Random::seeded(1);
        let (one, other) = (SeedBytes::new(&random), SeedBytes::new(&random));
        assert_ne!(one.0, other.0);
        assert_eq!((one.0.len() * 8, one.base32().len()), (160, 32));
        assert_eq!(format!("{one:?}"), "SeedBytes(…)");
    }
}
