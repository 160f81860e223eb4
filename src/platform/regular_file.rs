//! Files that others put where we look: read without ever hanging, and never more of them than is wanted.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// The beginning of a regular file: so many bytes of it, or all if it is no longer than that.
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file. Opening a pipe would wait for a writer: hence `NONBLOCK`, which files don't mind.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_more_is_read_than_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "abc").unwrap();
        for (most, read) in [(0, ""), (2, "ab"), (3, "abc"), (4, "abc")] {
            assert_eq!(read_at_most(&path, most).unwrap(), read.as_bytes(), "{most}");
        }
    }

    #[test]
    fn what_is_no_file_is_refused_at_once_and_a_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let within = |name: &str| folder.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, within("pipe"), rustix::fs::Mode::RWXU).unwrap();
        symlink("pipe", within("link to a pipe")).unwrap();
        symlink("/dev/zero", within("link to a device")).unwrap();
        for name in ["", "pipe", "link to a pipe", "link to a device"] {
            let refusal = read_at_most(&within(name), 1).unwrap_err();
            assert_eq!(refusal.to_string(), "it is not a regular file", "{name}");
        }
        assert_eq!(read_at_most(&within("nowhere"), 1).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(within("file"), "abc").unwrap();
        symlink("file", within("link to a file")).unwrap();
        assert_eq!(read_at_most(&within("link to a file"), 3).unwrap(), b"abc");
    }
}
