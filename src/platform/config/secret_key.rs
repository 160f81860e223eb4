//! `DATA_DIR/secret.key`: the master secret that a machine makes for itself at its first start.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::weakness;
use crate::platform::random::Random;

/// Where the key of this data folder is.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("secret.key")
}

/// The key of this data folder, made if there is none. The text of the file may also be given as `JWT_SECRET_KEY`.
pub(super) fn open(data_dir: &Path) -> Result<String, String> {
    let path = path(data_dir);
    match read(&path) {
        Err(Trouble::Missing) => {
            create(data_dir, &path).map_err(|error| unwritable(data_dir, &error))?;
            read(&path).map_err(Trouble::words)
        }
        other => other.map_err(Trouble::words),
    }
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
    DirBuilder::new().recursive(true).mode(0o700).create(data_dir)?;
    let draft =
        data_dir.join(format!(".secret.key.{}", URL_SAFE_NO_PAD.encode(Random::System.bytes::<12>())));
    let linked = write(&draft).and_then(|()| std::fs::hard_link(&draft, path));
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(data_dir)?.sync_all(),
    }
}

fn write(draft: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    writeln!(file, "{}", URL_SAFE_NO_PAD.encode(Random::System.bytes::<32>()))?;
    file.sync_all()
}

fn unwritable(data_dir: &Path, error: &std::io::Error) -> String {
    let folder = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let user = rustix::process::geteuid().as_raw();
    let folder = folder.display();
    format!("DATA_DIR {folder} can't be written to: {error}; make it, or run: chown -R {user} {folder}")
}
