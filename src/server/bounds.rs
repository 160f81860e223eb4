//! How large a head may be.
//!
//! A target of 8 KiB is enough for all but the operations that take lists in their query: of ids, as many as a thousand
//! (47 kB), or of a hundred addresses. They alone get the room, for the target and not for fields: all others are
//! refused as if there were no such lists.

use poem::http::{Request, StatusCode};

/// What the paths of operations that take lists in their query end with.
const TAKE_LISTS: [&[u8]; 4] =
    [b"/user/users", b"/file/files", b"/blocked_users", b"/email/send-email-multiple"];
/// What HTTP/2 adds to the length of each field (RFC 9113, 6.5.2).
const FIELD: usize = 32;

/// Bytes of a head and of the target in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Of the whole head, its target counted up to what is usual.
    pub(super) head: usize,
    /// Of a target.
    pub(super) target: usize,
    /// Of a target with a list in its query. It is not less.
    pub(super) list: usize,
}

impl Bounds {
    /// Of the largest head of all.
    pub(super) fn largest(&self) -> usize {
        self.head + self.list.saturating_sub(self.target)
    }

    /// Weighs a head of HTTP/2. It comes compressed and in frames, so nobody can weigh it before it is whole: hyper holds
    /// it to the largest of all, and this to what it asks for.
    pub(super) fn weigh<B>(&self, request: &Request<B>) -> Result<(), StatusCode> {
        let uri = request.uri();
        let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
        let beyond = target.saturating_sub(self.target);
        let is_list = || uri.path().len() <= self.target && takes_list(uri.path().as_bytes());
        if beyond > 0 && (target > self.list || !is_list()) {
            return Err(StatusCode::URI_TOO_LONG);
        }
        let host = uri.authority().map_or(0, |host| host.as_str().len());
        let line = request.method().as_str().len() + host + target;
        let fields = request.headers().iter();
        let fields: usize = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum();
        if line + fields > self.head + beyond {
            return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        }
        Ok(())
    }
}

/// Whether an operation at this path takes a list in its query.
pub(super) fn takes_list(path: &[u8]) -> bool {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    TAKE_LISTS.iter().any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { head: 16_384, target: 8192, list: 49_152 };

    fn weigh(uri: &str, field: usize) -> Result<(), u16> {
        let request = Request::builder().uri(uri).header("a", "b".repeat(field)).body(()).unwrap();
        BOUNDS.weigh(&request).map_err(|status| status.as_u16())
    }

    #[test]
    fn lists_are_known_by_their_paths() {
        for path in [
            "/api/user/users",
            "/api/user/users/",
            "/file/files",
            "/api/user/@ann/blocked_users",
            "/x/user/users",
            "/api/email/send-email-multiple",
        ] {
            assert!(takes_list(path.as_bytes()), "{path}");
        }
        for path in [
            "",
            "/",
            "/api/user",
            "/api/user/users/x",
            "/api/superuser/users",
            "/api/user/users//",
            "/api/email/send-email-all",
        ] {
            assert!(!takes_list(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn only_a_list_may_be_long() {
        let ids = |bytes: usize| "i".repeat(bytes);
        assert_eq!(weigh("http://x/api/user/users", 16_000), Ok(()));
        assert_eq!(weigh("http://x/api/user/users", 16_400), Err(431));
        assert_eq!(weigh(&format!("http://x/api/hello?{}", ids(8000)), 8000), Ok(()));
        assert_eq!(weigh(&format!("http://x/api/hello?{}", ids(8200)), 1), Err(414));
        assert_eq!(weigh(&format!("http://x/api/user/users?{}", ids(48_000)), 8000), Ok(()));
        assert_eq!(weigh(&format!("http://x/api/user/users?{}", ids(48_000)), 8200), Err(431));
        assert_eq!(weigh(&format!("http://x/api/user/users?{}", ids(49_152)), 1), Err(414));
        assert_eq!(weigh(&format!("http://x/{}/user/users?i", ids(9000)), 1), Err(414));
        assert_eq!(weigh(&format!("http://{}/api/user/users", ids(17_000)), 1), Err(431));
    }
}
