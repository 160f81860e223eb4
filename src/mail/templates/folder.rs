//! The operator's templates, as they lie in their folder. Whatever lies there, reading it never hangs and never takes
//! more memory than a bound.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use crate::platform::regular_file;

/// Texts by their name: the path within the folder, with `/`.
pub(super) type Files = BTreeMap<String, String>;

/// What a file may hold.
const MAX_BYTES: u64 = 256 * 1024;
/// How many files there may be.
const MAX_FILES: usize = 2000;
/// `language/letter/file`.
const DEPTH: usize = 3;

/// Every template in the folder; one that can't be read is left out, with a line in the log.
pub(super) fn read(folder: &Path) -> Files {
    let mut files = Files::new();
    read_into(&mut files, folder, "", DEPTH);
    files
}

fn read_into(files: &mut Files, folder: &Path, prefix: &str, depth: usize) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        Err(error) => return tracing::warn!(%error, folder = prefix, "mail templates can't be read"),
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Some(name) =
            path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'))
        else {
            continue;
        };
        let name = format!("{prefix}{name}");
        let is_template = path.extension().is_some_and(|extension| extension == "txt" || extension == "html");
        if is_template && files.len() < MAX_FILES {
            match read_text(&path) {
                Ok(text) => drop(files.insert(name, text)),
                Err(error) => tracing::warn!(%error, file = name, "a mail template can't be read"),
            }
        } else if depth > 1 && path.is_dir() {
            read_into(files, &path, &format!("{name}/"), depth - 1);
        }
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    let bytes = regular_file::read_at_most(path, MAX_BYTES + 1)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 256 KiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}
