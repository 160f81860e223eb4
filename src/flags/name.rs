//! The name of a flag.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub(super) const LONGEST: usize = 128;

/// A flag's name: 1 to 128 of `A-Z a-z 0-9 _ - . :`. It stands in files, paths and pages and needs no escape there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// The text is no flag's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a flag has 1 to 128 letters, digits, or characters of _ - . :")]
pub struct NotAName;

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
        let good = !text.is_empty() && text.len() <= LONGEST && text.bytes().all(known);
        if good { Ok(Self(text.into())) } else { Err(NotAName) }
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_operations_and_of_applications_are_names() {
        for good in ["READ_USERS_ME", "_PING", "new-checkout", "shop:checkout.v2", "x", &"a".repeat(128)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn what_would_need_an_escape_somewhere_is_none() {
        for bad in ["", " ", "a b", "a/b", "<b>", "\"", "é", "a\n", "a\0", "%41", &"a".repeat(129)] {
            assert_eq!(bad.parse::<Name>(), Err(NotAName), "{bad:?}");
        }
    }
}
