//! What is wrong with a policy file, in one line.

use cedar_policy::ffi::DetailedError;

/// A policy file that can't be used: which, where, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {what}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct PolicyMistake {
    /// The file's name within its folder, or the folder.
    pub file: String,
    /// The line that it happened in, counted from 1, where that is known.
    pub line: Option<usize>,
    /// What is wrong, on one line.
    pub what: String,
}

impl PolicyMistake {
    /// A mistake of the file as a whole.
    pub(super) fn new(file: impl Into<String>, what: impl AsRef<str>) -> Self {
        Self { file: file.into(), line: None, what: one_line(what.as_ref()) }
    }

    /// A mistake that Cedar found in this text.
    pub(super) fn at(file: &str, text: &str, error: impl Into<DetailedError>) -> Self {
        let found: DetailedError = error.into();
        let line = found.source_locations.first().map(|label| line_of(text, label.loc.start));
        let advice = found.help.map(|help| format!(" ({help})")).unwrap_or_default();
        Self { line, ..Self::new(file, found.message + &advice) }
    }

    /// The same mistake when there are `others` besides.
    pub(super) fn and(mut self, others: usize) -> Self {
        if others > 0 {
            self.what = format!("{}; and {others} more", self.what);
        }
        self
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
