//! An e-mail address as it is stored, compared and written to.
//!
//! The order matters: the address is brought into its one normal form first and judged after, and only the normal
//! form goes on. The other way round, an address could pass the rules as one string and be used as another
//! (next-auth CVE-2026-73420).

use std::fmt;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use unicode_normalization::{UnicodeNormalization, is_nfkc};

use super::Invalid;
use super::text::{is_mark, is_word};

/// The longest local part, in octets (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL_OCTETS: usize = 64;
/// The longest address, in octets: a path of 256 less its angle brackets (RFC 5321, 4.5.3.1.3).
const MAX_OCTETS: usize = 254;
/// The longest input, in characters. Longer input is not even looked at: no domain in Unicode needs so much.
const MAX_RAW_CHARS: usize = 1024;

/// An address in its normal form: lower case, the domain in A-labels. Tags (`ann+news@…`) are kept and distinct.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(String);

impl Email {
    /// The most characters of input that it has.
    pub(crate) const LONGEST: usize = MAX_RAW_CHARS;

    /// Reads an address: exactly one `@`, a local part of dot-separated atoms (RFC 5321, 4.1.2; RFC 6531, 3.3) that
    /// NFKC leaves alone, and the name of a host by UTS #46. No quotes, comments, address literals or white space.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        Self::normalised(raw)
            .ok_or_else(|| Invalid::new("Must be an e-mail address, such as ann@example.org."))
    }

    fn normalised(raw: &str) -> Option<Self> {
        let (local, domain) = raw.split_once('@').filter(|_| raw.chars().nth(MAX_RAW_CHARS).is_none())?;
        let address = format!("{}@{}", local_part(local)?, host(domain)?);
        (address.len() <= MAX_OCTETS).then_some(Self(address))
    }

    /// The address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands before the `@`.
    #[must_use]
    pub fn local_part(&self) -> &str {
        self.0.split_once('@').map_or("", |(local, _)| local)
    }

    /// What stands after the `@`, in A-labels.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

fn local_part(raw: &str) -> Option<String> {
    if !is_nfkc(raw) {
        return None;
    }
    // Character by character: `str::to_lowercase` would give a final sigma another form than one inside a word.
    let local: String = raw.chars().flat_map(char::to_lowercase).nfkc().collect();
    let is_atom =
        |atom: &str| atom.chars().all(is_atom_char) && atom.chars().next().is_some_and(|c| !is_mark(c));
    (local.len() <= MAX_LOCAL_OCTETS && local.split('.').all(is_atom)).then_some(local)
}

/// `atext` of RFC 5322, 3.2.3, and beyond ASCII the letters, marks and numbers that RFC 6531, 3.3 adds.
fn is_atom_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && is_word(c))
}

fn host(raw: &str) -> Option<String> {
    let uts46 = Uts46::new();
    let host = uts46
        .to_ascii(raw.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .ok()?;
    (!is_ipv4(&host)).then(|| host.into_owned())
}

/// A host whose last label is a number is an IPv4 address to some resolvers (WHATWG URL, 3.5, "ends in a number").
fn is_ipv4(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let hexadecimal =
        last.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    hexadecimal || last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(raw: &str) -> Option<String> {
        Email::parse(raw).ok().map(|email| email.to_string())
    }

    #[test]
    fn addresses_are_kept_in_their_normal_form() {
        for (raw, normal) in [
            ("a@x.test", "a@x.test"),
            ("A@X.TEST", "a@x.test"),
            ("Ann+News@x.test", "ann+news@x.test"),
            ("a@ｘ．test", "a@x.test"),
            ("a@x。test", "a@x.test"),
            ("a@BÜCHER.test", "a@xn--bcher-kva.test"),
            ("a@xn--bcher-kva.test", "a@xn--bcher-kva.test"),
            ("a@XN--BCHER-KVA.test", "a@xn--bcher-kva.test"),
            ("a@faß.test", "a@xn--fa-hia.test"),
            ("a@FAẞ.test", "a@xn--fa-hia.test"),
            ("a@\u{212A}.test", "a@k.test"),
            ("a@x\u{200B}y.test", "a@xy.test"),
            ("a@☃.test", "a@xn--n3h.test"),
            ("jörg@x.test", "jörg@x.test"),
            ("JÖRG@x.test", "jörg@x.test"),
            ("ΑΣ@x.test", "ασ@x.test"),
            ("ẞ@x.test", "ß@x.test"),
            ("o'neil@x.test", "o'neil@x.test"),
            ("test@localhost", "test@localhost"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(read(raw).as_deref(), Some(normal), "{raw:?}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for raw in [
            "",
            "@",
            "a",
            "a@",
            "@x.test",
            "a@b@c.test",
            "a@@x.test",
            "victim\u{FF20}x.test",
            "a\u{FF20}b@x.test",
            "a@b\u{FF20}x.test",
            "\"a@evil.test\"@x.test",
            "\"a\"@x.test",
            "a@x.test,b@evil.test",
            "a@x.test;b@evil.test",
            "a@x.test\r\nBcc:b@evil.test",
            "a@x.test\n",
            "a\r\n@x.test",
            "a@x.test\0",
            "a(comment)@x.test",
            "a@(comment)x.test",
            "Ann <a@x.test>",
            "<a@x.test>",
            " a@x.test",
            "a@x.test ",
            "a b@x.test",
            "a@x .test",
            "a@x.test.",
            "a@.test",
            "a@x..test",
            ".a@x.test",
            "a.@x.test",
            "a..b@x.test",
            "a@[127.0.0.1]",
            "a@[IPv6:::1]",
            "a@127.0.0.1",
            "a@1",
            "a@x.0x7f",
            "a@0x",
            "a@x_y.test",
            "a@-x.test",
            "a@x-.test",
            "a@x.test/",
            "a@x:25",
            "a@x%41.test",
            "a\\@x.test",
            "a@x\\.test",
            "a:b@x.test",
            "a[b@x.test",
        ] {
            assert_eq!(read(raw), None, "{raw:?}");
        }
    }

    #[test]
    fn a_local_part_that_compatibility_would_change_is_refused() {
        for local in [
            "ﬁve",
            "\u{212A}im",
            "ａnn",
            "e\u{301}",
            "ann\u{200B}",
            "ann\u{200F}",
            "ann\u{AD}",
            "①",
            "ann\u{E0061}",
            "\u{301}ann",
            "a.\u{301}b",
            "ann\u{3000}",
            "ann\u{2028}",
            "ann\u{FDD0}",
        ] {
            assert_eq!(read(&format!("{local}@x.test")), None, "{local:?}");
        }
    }

    #[test]
    fn a_turkish_capital_is_its_own_address_not_a_latin_one() {
        assert_ne!(read("İ@x.test"), read("i@x.test"));
        assert_ne!(read("ı@x.test"), read("i@x.test"));
    }

    #[test]
    fn punycode_that_decodes_to_plain_letters_is_refused() {
        // RUSTSEC-2024-0421: `xn--` followed by ASCII alone was another name for that ASCII.
        for domain in ["xn--example-.org", "xn--a-.test", "xn--.test", "xn--zz--.test"] {
            assert_eq!(read(&format!("a@{domain}")), None, "{domain}");
        }
    }

    #[test]
    fn the_local_part_ends_at_64_octets() {
        let local = "a".repeat(64);
        assert!(read(&format!("{local}@x.test")).is_some());
        assert_eq!(read(&format!("{local}a@x.test")), None);
        assert!(read(&format!("{}@x.test", "é".repeat(32))).is_some());
        assert_eq!(read(&format!("{}@x.test", "é".repeat(33))), None);
    }

    #[test]
    fn a_label_ends_at_63_octets() {
        let label = "x".repeat(63);
        assert!(read(&format!("a@{label}.test")).is_some());
        assert_eq!(read(&format!("a@{label}x.test")), None);
    }

    #[test]
    fn the_address_ends_at_254_octets() {
        let label = "x".repeat(63);
        let of_254 = format!("{}@{label}.{label}.{}", "a".repeat(64), "x".repeat(61));
        assert_eq!(of_254.len(), 254);
        assert!(read(&of_254).is_some());
        assert_eq!(read(&format!("{of_254}x")), None);
    }

    #[test]
    fn the_input_ends_at_1024_characters() {
        // Zero-width spaces are three bytes each, and nothing is left of them in a domain.
        let domain = |number| format!("a@x{}.test", "\u{200B}".repeat(number));
        assert_eq!(read(&domain(1016)).as_deref(), Some("a@x.test"));
        assert_eq!(read(&domain(1017)), None);
    }

    #[test]
    fn a_megabyte_is_refused_at_once() {
        assert_eq!(read(&format!("a@{}", "x.".repeat(500_000))), None);
    }

    proptest! {
        #[test]
        fn whatever_parses_is_safe_and_parses_to_itself(raw in r"\PC{1,20}@[\PC&&[^@]]{1,30}") {
            if let Some(normal) = read(&raw) {
                prop_assert_eq!(normal.matches('@').count(), 1);
                prop_assert!(normal.len() <= 254);
                prop_assert!(!normal.contains(|c: char| c.is_whitespace() || c.is_control() || ",;<>\"()[]\\:".contains(c)));
                prop_assert_eq!(read(&normal), Some(normal));
            }
        }

        #[test]
        fn capitals_make_no_second_account(raw in "[a-zA-Z0-9+_-]{1,20}@[a-zA-Z]{1,20}\\.[a-zA-Z]{2,6}") {
            prop_assert_eq!(read(&raw.to_uppercase()), read(&raw.to_lowercase()));
            prop_assert!(read(&raw).is_some());
        }
    }
}
