//! Moves of data: everything into a file, and back out of one, whichever database it was and is.
//!
//! What travels stands in `tables.rs`, with what does not and why. An export reads one consistent view of the database
//! ([`Snapshot`](crate::platform::db::Snapshot)), table by table in the order of their keys, into a SQLite file that is a Gatehouse
//! database itself. An import trusts nothing of a file: its schema must be exactly one that the migrations make, it is
//! read under limits, each row must pass the rules of its feature ([`check`](self)), all of it before the first change; then
//! one transaction changes everything or nothing.

mod api;
mod backup;
mod batch;
mod before;
mod blank;
mod check;
mod export;
mod file;
mod import;
mod letters;
mod merge;
mod moves;
mod order;
mod outcome;
mod parts;
mod person;
mod progress;
mod reading;
mod row;
mod s1;
mod schedule;
mod tables;
mod unfinished;

use std::sync::Arc;

use tokio::sync::Semaphore;

pub use api::ArchiveApi;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use backup::fuzzing;
pub use backup::{BackupFault, Inspected, Made, Manifest, RestoreRefusal, Restored};
pub use order::{How, ImportOptions, Mover};
pub use outcome::{ArchiveFault, Counts, Exported, ImportRefusal, TableCounts};
pub use parts::Parts;
pub use progress::Progress;
pub use reading::canonical_dump;
pub use row::{Cell, Flaw, Row};
pub use schedule::{Plan, Schedule};
pub use tables::{Column, Kind, Part, STAYS, TRAVELS, Table};

/// The feature: what it owns.
#[derive(Clone)]
pub struct Archive {
    parts: Arc<Parts>,
    exports: Arc<Semaphore>,
    imports: Arc<Semaphore>,
}
