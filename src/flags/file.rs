//! The file of flags on the disk: read without ever hanging, replaced without ever being half there.
//!
//! Whatever lies in its place may be on its way in or out, or not be a file at all. Beside it stands a note of what was
//! last written or read there, so that after a restart an edit can be told from an old copy.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::set::LARGEST;
use crate::platform::random::Random;
use crate::platform::regular_file::read_at_most;
use crate::platform::secrets::digest;

/// What was found in the file's place: its bytes, nothing, or why it can't be read.
pub(super) type Reading = Result<Option<Vec<u8>>, String>;

/// Largest note, in bytes.
const LARGEST_NOTE: u64 = 256;
/// For a file that is made; one that is replaced keeps its own.
const MODE: u32 = 0o644;

/// Which version the file held when it was last written or read, and the digest of its bytes then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) version: i64,
    pub(super) digest: String,
}

impl Note {
    pub(super) fn new(version: i64, bytes: &[u8]) -> Self {
        Self { version, digest: URL_SAFE_NO_PAD.encode(digest(bytes)) }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let (version, digest) = std::str::from_utf8(text).ok()?.trim_end().split_once(' ')?;
        Some(Self { version: version.parse().ok()?, digest: digest.to_owned() })
    }
}

/// Reads the file; at most one byte more than a set may have.
pub(super) fn read(path: &Path) -> Reading {
    match read_at_most(path, LARGEST as u64 + 1) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads the note, if there is one that can be read.
pub(super) fn read_note(path: &Path) -> Option<Note> {
    Note::parse(&read_at_most(&note_of(path), LARGEST_NOTE).ok()?)
}

/// Replaces the file, and then the note.
pub(super) fn write(path: &Path, bytes: &[u8], version: i64, random: &Random) -> io::Result<()> {
    replace(&real_place(path), bytes, random)?;
    write_note(path, &Note::new(version, bytes), random)
}

/// Replaces the note.
pub(super) fn write_note(path: &Path, note: &Note, random: &Random) -> io::Result<()> {
    replace(&note_of(path), format!("{} {}\n", note.version, note.digest).as_bytes(), random)
}

fn note_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".version");
    path.with_file_name(name)
}

/// A link to a file is kept, and the file replaced. A link to anything else is replaced itself.
fn real_place(path: &Path) -> PathBuf {
    let real = fs::canonicalize(path).ok().filter(|real| real.is_file());
    real.unwrap_or_else(|| path.to_owned())
}

/// A draft beside the file, on the disk before it takes the file's place. Who reads meanwhile finds the one or the
/// other, whole; so does who reads after a power cut.
fn replace(path: &Path, bytes: &[u8], random: &Random) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.{}.draft", URL_SAFE_NO_PAD.encode(random.bytes::<12>())));
    let mode = fs::metadata(path).map_or(MODE, |present| present.permissions().mode() & 0o777);
    let replaced = draw_up(&draft, bytes, mode).and_then(|()| fs::rename(&draft, path));
    if replaced.is_err() && fs::remove_file(&draft).is_err() {
        tracing::debug!(draft = %draft.display(), "a draft could not be removed, or was never made");
    }
    replaced.and_then(|()| File::open(folder)?.sync_all())
}

fn draw_up(draft: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(draft)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flags.json");
        (folder, path)
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_written_is_read_with_its_note_and_no_draft_is_left() {
        let (folder, path) = folder();
        assert_eq!((read(&path), read_note(&path)), (Ok(None), None));
        for version in 1..=3 {
            let text = vec![b'x'; version];
            write(&path, &text, i64::try_from(version).unwrap(), &Random::System).unwrap();
            assert_eq!(read(&path), Ok(Some(text.clone())));
            assert_eq!(read_note(&path), Some(Note::new(i64::try_from(version).unwrap(), &text)));
        }
        assert_eq!(names(folder.path()), [".flags.json.version", "flags.json"]);
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_mode_and_the_link_that_leads_to_it() {
        let (folder, path) = folder();
        let real = folder.path().join("real.json");
        fs::write(&real, "{}").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        symlink("real.json", &path).unwrap();
        write(&path, b"{ }", 1, &Random::System).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!(fs::read(&real).unwrap(), b"{ }");
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[test]
    fn what_is_no_file_is_refused_at_once_and_can_be_replaced() {
        for target in ["/dev/zero", "pipe", "nowhere", "flags.json"] {
            let (folder, path) = folder();
            let pipe = folder.path().join("pipe");
            let fifo = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, rustix::fs::Mode::RWXU, 0).unwrap();
            symlink(folder.path().join(target), &path).unwrap();
            assert!(read(&path).is_err(), "{target}");
            write(&path, b"{}", 1, &Random::System).unwrap();
            assert_eq!(read(&path), Ok(Some(b"{}".to_vec())), "{target}");
            assert!(!Path::new("/dev/zero").is_file());
        }
    }

    #[test]
    fn a_folder_in_its_place_is_refused_and_stays() {
        let (folder, path) = folder();
        fs::create_dir(&path).unwrap();
        assert_eq!(read(&path), Err("it is not a regular file".to_owned()));
        write(&path, b"{}", 1, &Random::System).unwrap_err();
        assert_eq!(names(folder.path()), ["flags.json"]);
    }

    #[test]
    fn no_more_is_read_than_a_set_may_have() {
        let (_folder, path) = folder();
        File::create(&path).unwrap().set_len(10 * 1024 * 1024).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().len(), LARGEST + 1);
    }

    #[test]
    fn a_note_that_makes_no_sense_is_none() {
        let (_folder, path) = folder();
        for text in ["", "1", "x y", "\u{0}\u{0}"] {
            fs::write(note_of(&path), text).unwrap();
            assert_eq!(read_note(&path), None, "{text:?}");
        }
    }
}
