//! `DATA_DIR/secret.key`: the master secret that a machine makes for itself at its first start.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::sources::KeyUse;
use super::weakness;
use crate::platform::folders;
use crate::platform::random::Random;

/// Where the key of this data folder is.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("secret.key")
}

/// The key of this data folder, made if there is none: kept, or forgotten with the process.
/// The text of the file may also be given as `JWT_SECRET_KEY`.
pub(super) fn open(data_dir: &Path, usage: KeyUse) -> Result<String, String> {
    let path = path(data_dir);
    match read(&path) {
        Err(Trouble::Missing) if usage == KeyUse::Look => Ok(fresh()),
        Err(Trouble::Missing) => {
            create(data_dir, &path).map_err(|error| unwritable(data_dir, &error))?;
            read(&path).map_err(Trouble::words)
        }
        other => other.map_err(Trouble::words),
    }
}

fn fresh() -> String {
    URL_SAFE_NO_PAD.encode(Random::System.bytes::<32>())
}

enum Trouble {
    Missing,
    Other(String),
}

impl Trouble {
    fn words(self) -> String {
        match self {
            Self::Missing => "secret.key vanished as soon as it was made".to_owned(),
            Self::Other(words) => words,
        }
    }
}

fn read(path: &Path) -> Result<String, Trouble> {
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Trouble::Missing,
        _ => Trouble::Other(format!("{} can't be read: {error}", path.display())),
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    if about.permissions().mode() & 0o077 != 0 {
        let words = format!("{0} can be read by others; run: chmod 600 {0}", path.display());
        return Err(Trouble::Other(words));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    let text = text.trim_end();
    if weakness::is_weak_key(text) {
        let words =
            format!("{} holds no key: restore it from a backup, or set JWT_SECRET_KEY", path.display());
        return Err(Trouble::Other(words));
    }
    Ok(text.to_owned())
}

/// Writes the key beside its place and links it there: a link never replaces, so that of two first starts one wins
/// and both read the winner's key, whole.
fn create(data_dir: &Path, path: &Path) -> std::io::Result<()> {
    folders::make(data_dir, 0o700)?;
    let draft =
        data_dir.join(format!(".secret.key.{}", URL_SAFE_NO_PAD.encode(Random::System.bytes::<12>())));
    let linked = write(&draft).and_then(|()| std::fs::hard_link(&draft, path));
    let removed = std::fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => removed,
        Err(error) => Err(error),
        Ok(()) => removed.and_then(|()| File::open(data_dir)?.sync_all()),
    }
}

fn write(draft: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    writeln!(file, "{}", fresh())?;
    file.sync_all()
}

fn unwritable(data_dir: &Path, error: &std::io::Error) -> String {
    let folder = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let user = rustix::process::geteuid().as_raw();
    let folder = folder.display();
    format!("DATA_DIR {folder} can't be written to: {error}; make it, or run: chown -R {user} {folder}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
    }

    #[test]
    fn the_first_start_makes_a_key_that_only_its_owner_can_read_and_the_next_uses_it() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("new/data");
        let key = keep(&folder);
        assert!(!weakness::is_weak_key(&key));
        assert_eq!(keep(&folder), key);
        assert_eq!((mode(&path(&folder)), mode(&folder)), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(&folder).expect("a folder").count(), 1, "no draft is left");
    }

    #[test]
    fn starts_at_the_same_time_agree_on_one_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let keys: Vec<String> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..16).map(|_| scope.spawn(|| keep(folder))).collect();
            starts.into_iter().map(|start| start.join().expect("a key")).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]), "{} starts", keys.len());
        assert_eq!(std::fs::read_dir(folder).expect("a folder").count(), 1, "no draft is left");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().expect("a folder");
        keep(folder.path());
        let path = path(folder.path());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        let words = open(folder.path(), KeyUse::Keep).expect_err("refused");
        assert!(words.ends_with(&format!("; run: chmod 600 {}", path.display())), "{words}");
    }

    #[test]
    fn a_file_without_a_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        keep(folder.path());
        let path = path(folder.path());
        std::fs::write(&path, "changethis\n").expect("written");
        let words = open(folder.path(), KeyUse::Keep).expect_err("refused");
        assert!(words.contains("holds no key") && !words.contains("changethis"), "{words}");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "changethis\n");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let occupied = folder.path().join("data");
        std::fs::write(&occupied, "").expect("written");
        let words = open(&occupied.join("deeper"), KeyUse::Keep).expect_err("refused");
        assert!(words.contains(&occupied.display().to_string()), "{words}");
    }

    #[test]
    fn whoever_only_looks_writes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        open(folder.path(), KeyUse::Look).expect("a key");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    }

    fn keep(folder: &Path) -> String {
        open(folder, KeyUse::Keep).expect("a key")
    }
}
