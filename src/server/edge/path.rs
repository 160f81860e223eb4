//! Paths that mean one thing only.
//!
//! A route, a proxy rule and a permission must see the same path. So what some programs clean up before they look
//! (`//`, `..`, `%2f`, `\`) is no path here at all, and a slash at the end means nothing.

/// What a path is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// It means what it says.
    Plain,
    /// The same, but for the slash at its end.
    SlashAtEnd,
    /// Others might read it as another path.
    Ambiguous,
}

pub(super) fn shape(path: &str) -> Shape {
    let bytes = path.as_bytes();
    if bytes.first() != Some(&b'/') || !bytes.iter().all(|byte| is_plain(*byte)) {
        return Shape::Ambiguous;
    }
    if bytes.windows(2).any(|two| two == b"//") || (bytes.contains(&b'.') && has_dot_segment(path)) {
        return Shape::Ambiguous;
    }
    if bytes.contains(&b'%') && !escapes_are_harmless(path) {
        return Shape::Ambiguous;
    }
    if path.len() > 1 && path.ends_with('/') { Shape::SlashAtEnd } else { Shape::Plain }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'\\'
}

fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// Whole escapes of text that changes neither where a segment ends nor what it is called.
fn escapes_are_harmless(path: &str) -> bool {
    let mut rest = path.as_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        match rest.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok()) {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                let byte = u8::from_str_radix(digits, 16).unwrap_or(0);
                if byte.is_ascii_control() || matches!(byte, b'/' | b'\\' | b'.' | b'%') {
                    return false;
                }
            }
            _ => return false,
        }
        rest = &rest[at + 3..];
    }
    percent_encoding::percent_decode_str(path).decode_utf8().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_pass() {
        for plain in ["/", "/api/user/me", "/api/user/@ann", "/openapi.json", "/a..b", "/x/%C3%A9", "/a%20b"]
        {
            assert_eq!(shape(plain), Shape::Plain, "{plain}");
        }
        assert_eq!(shape("/api/user/"), Shape::SlashAtEnd);
    }

    #[test]
    fn tricks_are_no_paths() {
        for trick in [
            "",
            "*",
            "api",
            "//",
            "//api/auth/login",
            "/api//auth",
            "/api/",
            "/api/./auth",
            "/api/../x",
            "/..",
            "/api/%2e%2e/x",
            "/api/%2E/x",
            "/api%2fauth",
            "/%2fapi",
            "/..%2f..%2fetc/passwd",
            "/a\\b",
            "/a%5cb",
            "/a%00",
            "/a%0d%0aX",
            "/%c0%ae",
            "/%ff",
            "/%",
            "/%4",
            "/%zz",
            "/%252e",
            "/é",
            "/a/..",
            "/user/",
        ] {
            let expected =
                if matches!(trick, "/api/" | "/user/") { Shape::SlashAtEnd } else { Shape::Ambiguous };
            assert_eq!(shape(trick), expected, "{trick}");
        }
    }
}
