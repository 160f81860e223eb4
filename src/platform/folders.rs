//! Folders that are still there after a loss of power.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a folder, and what is missing of those above it. Each is on disk in the one that it is in when this returns.
pub fn make(folder: &Path, mode: u32) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(above, mode)?;
    match DirBuilder::new().mode(mode).create(folder) {
        Ok(()) => sync(above),
        // Somebody else was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => sync(above),
        Err(error) => Err(error),
    }
}

/// A folder that may be written but not read can't be opened, and so not be synced.
fn sync(folder: &Path) -> io::Result<()> {
    match File::open(folder) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        opened => opened?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_missing_above_is_made_with_the_same_mode() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("a/b");
        make(&inner, 0o700).unwrap();
        make(&inner, 0o755).unwrap();
        for made in [outer.path().join("a"), inner] {
            assert_eq!(
                fs::metadata(&made).unwrap().permissions().mode() & 0o777,
                0o700,
                "{}",
                made.display()
            );
        }
    }

    #[test]
    fn a_file_in_its_place_is_told() {
        let outer = tempfile::tempdir().unwrap();
        let file = outer.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(make(&file, 0o700).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(make(&file.join("inside"), 0o700).is_err());
    }
}
