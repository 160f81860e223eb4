//! Codes: what people type, and what they are given.

use std::fmt;

use secrecy::SecretString;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::platform::clock::Timestamp;
use crate::platform::random::Random;
use crate::platform::secrets::digest;

/// Letters of a recovery code: 125 bits, so a fast hash keeps it.
const LETTERS: usize = 25;
/// Letters between two dashes.
const GROUP: usize = 5;
/// Crockford's base 32: no letter looks like another.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters of a typed recovery code, with dashes and spaces.
const LONGEST: usize = 64;

/// What somebody typed, if it has the form of a code.
#[derive(Clone, Debug)]
pub enum Code {
    /// Of an authenticator, or of a letter.
    Digits(Digits),
    /// A recovery code.
    Recovery(RecoveryCode),
}

impl Code {
    /// Exactly `digits` ASCII digits, or the letters of a recovery code in any case, with or without dashes and spaces.
    #[must_use]
    pub fn parse(typed: &str, digits: u8) -> Option<Self> {
        if typed.len() == usize::from(digits) && typed.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self::Digits(Digits(Zeroizing::new(typed.to_owned()))));
        }
        RecoveryCode::parse(typed).map(Self::Recovery)
    }
}

/// The digits of a code. They can't be printed and are wiped from memory when dropped.
#[derive(Clone)]
pub struct Digits(Zeroizing<String>);

impl Digits {
    /// So many digits, each number as likely as every other.
    pub(super) fn new(random: &Random, count: u8) -> Self {
        let bound = 10_u32.pow(u32::from(count));
        // Numbers above the last multiple of the bound would make the first ones likelier.
        let fair = u32::MAX - u32::MAX % bound;
        loop {
            let number = u32::from_be_bytes(random.bytes());
            if number < fair {
                let text = format!("{:0width$}", number % bound, width = usize::from(count));
                return Self(Zeroizing::new(text));
            }
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Digits(…)")
    }
}

/// A code to be sent by e-mail.
#[derive(Clone, Debug)]
pub struct EmailCode {
    /// The digits.
    pub code: SecretString,
    /// Until when it is good: sent later it is worthless.
    pub good_until: Timestamp,
    /// The same in whole minutes from now, for the letter.
    pub minutes: u64,
}

impl EmailCode {
    pub(super) fn new(digits: &Digits, now: Timestamp, good_until: Timestamp) -> Self {
        let code = SecretString::from(digits.as_str());
        Self { code, good_until, minutes: good_until.since(now).as_secs() / 60 }
    }

    /// The same, if what it is for ends earlier.
    pub(super) fn no_later_than(self, end: Timestamp, now: Timestamp) -> Self {
        let good_until = self.good_until.min(end);
        Self { good_until, minutes: good_until.since(now).as_secs() / 60, ..self }
    }
}

/// A code for the day on which the second factor is lost; it works once.
#[derive(Clone)]
pub struct RecoveryCode(Zeroizing<String>);

impl RecoveryCode {
    pub(super) fn new(random: &Random) -> Self {
        let bytes = Zeroizing::new(random.bytes::<LETTERS>());
        Self(Zeroizing::new(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect()))
    }

    fn parse(typed: &str) -> Option<Self> {
        if typed.len() > LONGEST {
            return None;
        }
        let mut letters = Zeroizing::new(String::with_capacity(LETTERS));
        for typed in typed.bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
            // Crockford, "Decoding": what looks alike means the same.
            let letter = match typed.to_ascii_uppercase() {
                b'O' => b'0',
                b'I' | b'L' => b'1',
                other => other,
            };
            if letters.len() == LETTERS || !ALPHABET.contains(&letter) {
                return None;
            }
            letters.push(char::from(letter));
        }
        (letters.len() == LETTERS).then_some(Self(letters))
    }

    /// The code for its owner: five groups of five letters.
    #[must_use]
    pub fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(LETTERS + LETTERS / GROUP));
        for (at, letter) in self.0.chars().enumerate() {
            if at > 0 && at % GROUP == 0 {
                text.push('-');
            }
            text.push(letter);
        }
        text
    }

    /// What is stored in its place. It hangs on no key, so that it outlives a change of the master secret.
    pub(super) fn digest(&self, user: Uuid) -> [u8; 32] {
        digest(&Zeroizing::new([b"recovery code\0", &user.as_bytes()[..], self.0.as_bytes()].concat()))
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("RecoveryCode(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(typed: &str, digits: u8) -> bool {
        Code::parse(typed, digits).is_none()
    }

    #[test]
    fn a_code_is_exactly_so_many_ascii_digits() {
        for (typed, digits) in [("000000", 6), ("1234567", 7), ("98765432", 8)] {
            let Some(Code::Digits(code)) = Code::parse(typed, digits) else { panic!("{typed}") };
            assert_eq!(code.as_str(), typed);
        }
    }

    //
    #[test]
    fn nothing_else_is_a_code() {
        let six = [
            "",
            " 123456",
            "123456 ",
            "123 456",
            "123-456",
            "12345",
            "1234567",
            "12345678",
            "-12345",
            "+12345",
            "123456\0",
            "0x1E24",
            "0x1E240",
            "1e5",
            "1e5000",
            "12345a",
            "１２３４５６",
            "١٢٣٤٥٦",
            "12345٦",
            "1２345",
            "12.456",
            "\u{feff}123456",
            "123456\n",
            "[1234]",
            "null",
            "true",
            "NaN",
        ];
        for typed in six {
            assert!(is_refused(typed, 6), "{typed:?}");
        }
        assert!(is_refused(&"1".repeat(1_000_000), 6) && is_refused("123456", 8));
    }

    #[test]
    fn a_recovery_code_is_read_in_any_case_with_or_without_dashes() {
        let code = RecoveryCode::new(&Random::seeded(1));
        let user = Uuid::from_bytes([7; 16]);
        let text = code.text();
        assert_eq!((text.len(), text.split('-').map(str::len).collect::<Vec<_>>()), (29, vec![5; 5]));
        let forms = [
            text.to_string(),
            text.to_lowercase(),
            text.replace('-', ""),
            text.replace('-', " "),
            text.replace('1', "l").replace('0', "o"),
            format!(" {} ", text.replace('1', "I").replace('0', "O")),
        ];
        for form in forms {
            let Some(Code::Recovery(read)) = Code::parse(&form, 6) else { panic!("{form}") };
            assert_eq!(read.digest(user), code.digest(user));
        }
        assert_ne!(code.digest(user), code.digest(Uuid::from_bytes([8; 16])));
    }

    #[test]
    fn what_is_nearly_a_recovery_code_is_none() {
        let text = RecoveryCode::new(&Random::seeded(1)).text();
        let letters = text.replace('-', "");
        for typed in [
            &text[1..],
            &format!("{}0", &*text),
            &format!("{letters}U"),
            &format!("U{}", &letters[1..]),
            &format!("{}\0", &letters[1..]),
            &format!("Ａ{}", &letters[1..]),
            &format!("{letters}{}", "-".repeat(64)),
            "-----",
        ] {
            assert!(is_refused(typed, 6), "{typed:?}");
        }
    }

    #[test]
    fn digits_are_as_many_as_asked_for_and_evenly_spread() {
        let random = Random::seeded(1);
        let mut counts = [0_u32; 10];
        for count in 6..=8 {
            for _ in 0..2000 {
                let digits = Digits::new(&random, count);
                assert_eq!(digits.as_str().len(), usize::from(count));
                counts[usize::from(digits.as_str().as_bytes()[0] - b'0')] += 1;
            }
        }
        assert!(counts.iter().all(|count| (500..700).contains(count)), "{counts:?}");
    }

    #[test]
    fn recovery_codes_use_every_letter_and_never_repeat() {
        let random = Random::seeded(1);
        let codes: std::collections::BTreeSet<String> =
            (0..1000).map(|_| RecoveryCode::new(&random).text().to_string()).collect();
        let letters: std::collections::BTreeSet<char> =
            codes.iter().flat_map(|code| code.chars()).filter(|letter| *letter != '-').collect();
        assert_eq!((codes.len(), letters.len()), (1000, 32));
    }

    #[test]
    fn codes_are_not_printed() {
        let random = Random::seeded(1);
        let (digits, recovery) = (Digits::new(&random, 6), RecoveryCode::new(&random));
        let email = EmailCode::new(&digits, Timestamp::default(), Timestamp::from_seconds(600));
        let printed = format!("{digits:?} {recovery:?} {email:?} {:?}", Code::Digits(digits.clone()));
        assert!(!printed.contains(digits.as_str()) && !printed.contains(&*recovery.text()), "{printed}");
        assert_eq!(email.minutes, 10);
    }
}
