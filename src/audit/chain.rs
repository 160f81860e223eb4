//! How a row is bound to the one before it.

use std::fmt;
use std::str::FromStr;

use super::store::Row;
use crate::platform::secrets::digest;

/// Names this way of writing a row down, so that another one can follow.
const LAYOUT: &[u8] = b"gatehouse audit 1";

/// The digest of a row and of all before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What stands before the first row.
    pub const NOTHING: Self = Self([0; 32]);

    /// What the hash of `row` must be, behind `before`.
    #[must_use]
    pub fn of(before: &Self, row: &Row) -> Self {
        let mut text = Canonical(Vec::with_capacity(256 + row.details.len()));
        text.push(LAYOUT);
        text.push(&before.0);
        text.push(&row.number.to_be_bytes());
        text.push(&row.at.to_be_bytes());
        text.push_if(row.actor_id.as_ref().map(|id| id.as_bytes().as_slice()));
        text.push(row.action.as_bytes());
        text.push(row.subject_type.as_bytes());
        text.push_if(row.subject_id.as_ref().map(|id| id.as_bytes().as_slice()));
        text.push(row.details.as_bytes());
        text.push_if(row.trace_id.as_deref().map(str::as_bytes));
        text.push(&[u8::from(row.follows_seal)]);
        Self(digest(&text.0))
    }

    /// Its bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash with these bytes, if they are as many as one has.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Hash({self})")
    }
}

/// The text is no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 hexadecimal digits")]
pub struct NoHash;

impl FromStr for Hash {
    type Err = NoHash;

    fn from_str(text: &str) -> Result<Self, NoHash> {
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NoHash);
        }
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| NoHash)?;
        }
        Ok(Self(bytes))
    }
}

/// Parts one after the other, each with its length before it, so that no two rows read the same.
struct Canonical(Vec<u8>);

impl Canonical {
    fn push(&mut self, part: &[u8]) {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(part);
    }

    /// A part that may be missing, which is not the same as empty.
    fn push_if(&mut self, part: Option<&[u8]>) {
        self.push(&[u8::from(part.is_some())]);
        self.push(part.unwrap_or_default());
    }
}
