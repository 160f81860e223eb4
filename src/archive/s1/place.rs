//! Opens files below one folder, and nothing that only seems to lie there: each step of a path is taken from the
//! folder before it, and no step is a link.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};

/// The folder that S1's files lie in.
pub(super) struct Place {
    folder: OwnedFd,
    /// How absolute paths into it begin: as the folder was named, and what that means.
    begins: [PathBuf; 2],
}

/// Why a file is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotOpened {
    #[error("its path leads out of the files' folder")]
    Outside,
    #[error("there is no such file in the files' folder, or a link is on the way to it")]
    Missing,
    #[error("it is no plain file")]
    NoFile,
    #[error("it can't be read")]
    Unreadable,
}

impl Place {
    /// The folder of this name.
    pub fn open(root: &Path) -> io::Result<Self> {
        let begins = [std::path::absolute(root)?, root.canonicalize()?];
        let folder = open(&begins[1], OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { folder, begins })
    }

    /// The file at a path that S1 has written down: absolute, or from the folder on.
    pub fn file(&self, path: &str) -> Result<File, NotOpened> {
        let steps = self.steps(Path::new(path))?;
        let (last, folders) = steps.split_last().ok_or(NotOpened::Outside)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = None;
        for step in folders {
            let at = folder.as_ref().unwrap_or(&self.folder);
            let next = openat(at, *step, flags | OFlags::DIRECTORY, Mode::empty());
            folder = Some(next.map_err(|_| NotOpened::Missing)?);
        }
        // Nobody waits for the other end of a pipe.
        let at = folder.as_ref().unwrap_or(&self.folder);
        let file = openat(at, *last, flags | OFlags::NONBLOCK, Mode::empty());
        let file = File::from(file.map_err(|_| NotOpened::Missing)?);
        let is_file = file.metadata().map_err(|_| NotOpened::Unreadable)?.is_file();
        is_file.then_some(file).ok_or(NotOpened::NoFile)
    }

    fn steps<'p>(&self, path: &'p Path) -> Result<Vec<&'p OsStr>, NotOpened> {
        let inside = if path.is_absolute() {
            let inside = self.begins.iter().find_map(|root| path.strip_prefix(root).ok());
            inside.ok_or(NotOpened::Outside)?
        } else {
            path
        };
        let step = |component| match component {
            Component::Normal(name) => Some(Ok(name)),
            Component::CurDir => None,
            _ => Some(Err(NotOpened::Outside)),
        };
        inside.components().filter_map(step).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn read(place: &Place, path: &str) -> Result<String, NotOpened> {
        let mut text = String::new();
        place.file(path)?.read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn what_lies_in_the_folder_is_opened_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("s1");
        fs::create_dir_all(root.join("data/users")).unwrap();
        fs::write(root.join("data/users/a.txt"), "inside").unwrap();
        fs::write(folder.path().join("secret"), "outside").unwrap();
        symlink(folder.path().join("secret"), root.join("link")).unwrap();
        symlink(folder.path(), root.join("up")).unwrap();
        symlink("users", root.join("data/same")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), Mode::RUSR).unwrap();
        let place = Place::open(&root).unwrap();

        let absolute = root.join("data/users/a.txt").display().to_string();
        for path in ["data/users/a.txt", "./data//users/./a.txt", &absolute] {
            assert_eq!(read(&place, path), Ok("inside".to_owned()), "{path}");
        }
        let secret = folder.path().join("secret").display().to_string();
        let around = root.join("../secret").display().to_string();
        for path in ["../secret", "data/../../secret", "/etc/passwd", &secret, &around, "", "/", "."] {
            assert_eq!(read(&place, path), Err(NotOpened::Outside), "{path}");
        }
        for path in ["link", "up/secret", "data/same/a.txt", "nothing", "data/users/a.txt/b", "a\0b"] {
            assert_eq!(read(&place, path), Err(NotOpened::Missing), "{path}");
        }
        for path in ["data", "pipe"] {
            assert_eq!(read(&place, path), Err(NotOpened::NoFile), "{path}");
        }
    }
}
