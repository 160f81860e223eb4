//! Why a value was turned away.

use std::borrow::Cow;

/// Why a value is not as it must be: one sentence for the person who typed it, without an echo of what was typed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(Cow<'static, str>);

impl Invalid {
    pub(super) fn new(words: impl Into<Cow<'static, str>>) -> Self {
        Self(words.into())
    }

    /// The sentence, for the field error of RFC 9457.
    #[must_use]
    pub fn into_words(self) -> Cow<'static, str> {
        self.0
    }
}
