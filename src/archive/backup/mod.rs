//! Backups: everything that travels, and the bytes of the files, in one file that proves itself.
//!
//! It is a tar archive: `database.db`, an export with the log of what staff did; `files/<blob>` for each file; `manifest.json`; and last `SHA256SUMS` of all
//! of them, as `sha256sum -c` reads it, so that what was cut short has none. It is made in a folder of its
//! own beside the others and gets its name when it is complete and on disk.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod layout;
mod log;
mod making;
mod names;
mod outcome;
mod packing;
mod restoring;
mod tape;
mod unpacking;

pub use layout::Manifest;
pub(super) use names::keep_newest;
pub use outcome::{BackupFault, Inspected, Made, RestoreRefusal, Restored};
