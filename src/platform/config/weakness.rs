//! Secrets that are none: placeholders, short ones, patterns.

/// Fewest bytes of a key: 256 bits.
const SHORTEST_KEY: usize = 32;

/// What examples and templates put where a secret belongs.
const PLACEHOLDERS: [&str; 28] = [
    "changethis",
    "changeme",
    "change",
    "replace",
    "insecure",
    "password",
    "passwort",
    "secret",
    "default",
    "example",
    "placeholder",
    "your",
    "this",
    "that",
    "with",
    "please",
    "admin",
    "gatehouse",
    "production",
    "local",
    "token",
    "test",
    "jwt",
    "key",
    "supersecret",
    "very",
    "long",
    "random",
];

/// Whether `text` is no key: too short, words of a template, a pattern that repeats, or hardly any variety.
pub(super) fn is_weak_key(text: &str) -> bool {
    let unknown = without_placeholders(text).len();
    text.len() < SHORTEST_KEY || unknown < SHORTEST_KEY / 2 || repeats(text.as_bytes()) || variety(text) < 8
}

/// Whether `text` is what a template has in the place of a password.
pub(super) fn is_placeholder(text: &str) -> bool {
    without_placeholders(text).len() < 3 || variety(text) < 3
}

/// The letters and digits of `text` that are not part of a placeholder.
fn without_placeholders(text: &str) -> String {
    let letters: String = text.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect();
    PLACEHOLDERS.iter().fold(letters, |rest, word| rest.replace(word, ""))
}

fn variety(text: &str) -> usize {
    text.chars().collect::<std::collections::HashSet<_>>().len()
}

/// Whether the text is a shorter one over and over.
fn repeats(bytes: &[u8]) -> bool {
    (1..=bytes.len() / 2).any(|period| bytes.iter().zip(&bytes[period..]).all(|(one, next)| one == next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_and_patterns_are_no_keys() {
        for text in [
            "",
            "secret",
            "short-but-otherwise-fine-9Kx2",
            "changethis-changethis-changethis-changethis",
            "please-change-this-secret-key-in-production!",
            "0123456789abcdef0123456789abcdef",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abababababababababababababababababababab",
            "your-super-secret-jwt-key-that-is-very-long",
            "--------------------------------",
        ] {
            assert!(is_weak_key(text), "{text}");
        }
    }

    #[test]
    fn keys_of_chance_are_keys() {
        for text in [
            "9f86d081884c7d659a2feaa0c55ad015",
            "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg",
            "dnAY7xnIB3fGUqXJ0Wb6mGgQm3J5cT2p8Zt1oVh4kLs=",
        ] {
            assert!(!is_weak_key(text), "{text}");
        }
    }

    #[test]
    fn a_password_of_a_template_is_a_placeholder() {
        for text in ["changethis", "ChangeMe!", "secret", "admin", "password1", "aaaaaaaaaaaa", ""] {
            assert!(is_placeholder(text), "{text}");
        }
        assert!(!is_placeholder("correct horse battery staple"));
    }
}
