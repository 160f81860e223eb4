//! What a backup is made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The layout that is written and read.
pub(super) const FORMAT: u32 = 1;
/// What it is called while it is made.
pub(super) const TAPE: &str = "backup.tar";
/// What is in it.
pub(super) const DATABASE: &str = "database.db";
pub(super) const FILES: &str = "files/";
pub(super) const SUMS: &str = "SHA256SUMS";
pub(super) const MANIFEST: &str = "manifest.json";

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The layout.
    pub format: u32,
    /// The version of the program that made it.
    pub gatehouse: String,
    /// When, in RFC 3339.
    pub made_at: String,
    /// The newest step of the schema.
    pub schema: String,
    /// SHA-256 of the canonical dump of its rows.
    pub dump: String,
    /// Rows of each table.
    pub rows: BTreeMap<String, u64>,
    /// Files whose bytes are in it.
    pub files: u64,
    /// How many bytes those are.
    pub file_bytes: u64,
    /// Files whose bytes were gone, or were not those that belong to them, when it was made.
    pub flawed: u64,
    /// The first of these, by the names of their bytes.
    pub flawed_blobs: Vec<Uuid>,
}

/// A line of `SHA256SUMS`.
pub(super) fn line_of(sum: &str, name: &str) -> String {
    format!("{sum}  {name}\n")
}
