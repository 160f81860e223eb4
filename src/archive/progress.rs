//! How far a move has come, for somebody who watches.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Where it is told.
#[derive(Clone, Debug, Default)]
pub enum Progress {
    /// Nowhere.
    #[default]
    Silent,
    /// On a bar in a terminal.
    Bar(ProgressBar),
}

impl Progress {
    /// A bar on the standard error, if that is a terminal.
    #[must_use]
    pub fn of_terminal() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Silent;
        }
        let bar = ProgressBar::new(0);
        let style =
            ProgressStyle::with_template("{msg:>18} {wide_bar} {human_pos}/{human_len} rows, {eta} to go");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self::Bar(bar)
    }

    /// So many rows there will be.
    pub fn expect(&self, rows: u64) {
        if let Self::Bar(bar) = self {
            bar.set_length(rows);
            bar.set_position(0);
        }
    }

    /// What is being done.
    pub fn say(&self, what: &'static str) {
        if let Self::Bar(bar) = self {
            bar.set_message(what);
        }
    }

    /// So many rows more are done.
    pub fn done(&self, rows: u64) {
        if let Self::Bar(bar) = self {
            bar.inc(rows);
        }
    }

    /// It is over: the bar goes.
    pub fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
