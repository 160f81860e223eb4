//! Paths of this very server, as visitors name them.

/// The longest, in bytes.
const LONGEST: usize = 512;

/// Whether this leads to a page of this very server: an absolute path, of plain characters. Browsers read a
/// backslash as a slash, and drop tabs and line ends.
#[must_use]
pub fn is_own_path(next: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~?&=%".contains(&byte);
    next.len() <= LONGEST
        && next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains("/.")
        && next.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_server_are_gone_back_to() {
        for own in ["/interactive-docs", "/account?tab=sessions", "/"] {
            assert!(is_own_path(own), "{own}");
        }
        for foreign in [
            "",
            "//evil.test",
            "/\\evil.test",
            "\\/\\/evil",
            "https:evil",
            "https://evil",
            "/\t/evil",
            "/%0d\n",
            "javascript:alert(1)",
            "///evil",
            "/.//evil",
            "/a/../..//evil",
            "evil",
            "/ä",
        ] {
            assert!(!is_own_path(foreign), "{foreign:?}");
        }
        assert!(!is_own_path(&format!("/{}", "a".repeat(8192))));
    }
}
