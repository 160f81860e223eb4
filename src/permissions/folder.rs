//! The operator's policy files: `DATA_DIR/policies/*.cedar`, in the order of their names.
//!
//! Whatever lies there may be on its way in or out, or not be a file at all; reading it never hangs and never takes
//! more memory than [`MAX_BYTES`].

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::PolicyMistake;
use super::policies::Source;
use crate::platform::regular_file;

/// What all files together may hold.
const MAX_BYTES: u64 = 1024 * 1024;

/// How many files there may be.
const MAX_FILES: usize = 256;

/// The files in the folder, which may be none; nothing where there is no folder.
pub(super) type Reading = Result<Option<Vec<Source>>, PolicyMistake>;

/// Reads every policy file of the folder. One that can't be read spoils the reading: without its `forbid`s, the
/// others might allow too much.
pub(super) fn read(folder: &Path) -> Reading {
    let paths = match policy_files(folder) {
        Ok(paths) => paths,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PolicyMistake::new(folder.to_string_lossy(), error.to_string())),
    };
    if paths.len() > MAX_FILES {
        let what = format!("there are more than {MAX_FILES} policy files");
        return Err(PolicyMistake::new(folder.to_string_lossy(), what));
    }
    let mut room = MAX_BYTES;
    let sources = paths.iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = read_text(path, room).map_err(|error| PolicyMistake::new(&name, error.to_string()))?;
        room = room.saturating_sub(text.len() as u64);
        Ok(Source { name, text })
    });
    sources.collect::<Result<_, _>>().map(Some)
}

fn policy_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Editors keep their own dot files beside the one they write.
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && path.extension().is_some_and(|extension| extension == "cedar") {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn read_text(path: &Path, room: u64) -> io::Result<String> {
    let bytes = regular_file::read_at_most(path, room + 1)?;
    if bytes.len() as u64 > room {
        return Err(io::Error::other("policies may not be larger than 1 MiB together"));
    }
    String::from_utf8(bytes)
        .map_err(|error| io::Error::other(format!("byte {} is not UTF-8", error.utf8_error().valid_up_to())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn refusal(folder: &tempfile::TempDir) -> String {
        read(folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn files_come_in_the_order_of_their_names_and_others_are_left_out() {
        let folder = folder();
        for name in ["20-b.cedar", "10-a.cedar", "notes.txt", ".10-a.cedar", "10-a.cedar~", "cedar"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let read = read(folder.path()).unwrap().unwrap();
        let names: Vec<_> = read.iter().map(|source| source.name.as_str()).collect();
        assert_eq!(names, ["10-a.cedar", "20-b.cedar"]);
        assert_eq!(read[0].text, "10-a.cedar");
    }

    #[test]
    fn no_folder_is_not_an_empty_folder() {
        let folder = folder();
        assert_eq!(read(folder.path()), Ok(Some(Vec::new())));
        assert_eq!(read(&folder.path().join("policies")), Ok(None));
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_refused() {
        let folder = folder();
        let path = folder.path().join("policies");
        fs::write(&path, "").unwrap();
        assert!(read(&path).unwrap_err().what.starts_with("Not a directory"));
    }

    #[test]
    fn a_folder_in_place_of_a_file_is_refused() {
        let folder = folder();
        fs::create_dir(folder.path().join("a.cedar")).unwrap();
        assert_eq!(refusal(&folder), "a.cedar: it is not a regular file");
    }

    #[test]
    fn what_is_not_utf_8_is_refused() {
        let folder = folder();
        fs::write(folder.path().join("a.cedar"), b"permit\xff").unwrap();
        assert_eq!(refusal(&folder), "a.cedar: byte 6 is not UTF-8");
    }

    #[test]
    fn files_larger_than_a_mebibyte_together_are_refused() {
        let folder = folder();
        fs::write(folder.path().join("a.cedar"), "/".repeat(1024 * 1024)).unwrap();
        assert!(read(folder.path()).is_ok());
        fs::write(folder.path().join("b.cedar"), "/").unwrap();
        assert_eq!(refusal(&folder), "b.cedar: policies may not be larger than 1 MiB together");
    }

    #[test]
    fn too_many_files_are_refused() {
        let folder = folder();
        for number in 0..=MAX_FILES {
            fs::write(folder.path().join(format!("{number}.cedar")), "").unwrap();
        }
        assert!(refusal(&folder).ends_with("there are more than 256 policy files"));
    }

    #[test]
    fn a_device_a_pipe_and_a_dangling_link_are_refused_at_once() {
        for target in ["/dev/zero", "pipe", "nowhere"] {
            let folder = folder();
            let pipe = folder.path().join("pipe");
            rustix::fs::mknodat(
                rustix::fs::CWD,
                &pipe,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RWXU,
                0,
            )
            .unwrap();
            symlink(folder.path().join(target), folder.path().join("a.cedar")).unwrap();
            assert!(refusal(&folder).starts_with("a.cedar: "), "{target}");
        }
    }

    #[test]
    fn a_link_to_a_file_is_followed() {
        let folder = folder();
        fs::write(folder.path().join("..data"), "permit").unwrap();
        symlink("..data", folder.path().join("a.cedar")).unwrap();
        assert_eq!(read(folder.path()).unwrap().unwrap()[0].text, "permit");
    }
}
