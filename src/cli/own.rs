//! A place of one's own, for commands that need the features and must touch nothing that the settings name.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::platform::config::{Config, DatabaseAddress};
use crate::platform::hexadecimal;
use crate::platform::random::Random;

/// A folder of our own in one that others may write to, too: nobody can have made it before, nor look into it. It goes with
/// its owner, whatever has happened.
pub(super) struct Own(PathBuf);

impl Own {
    /// Makes the folder, and leads the settings there: what a start writes is written in it.
    pub(super) fn lead(config: &mut Config) -> io::Result<Self> {
        let own = Self::lead_database(config)?;
        config.server.data_dir.clone_from(&own.0);
        config.files.storage = None;
        Ok(own)
    }

    /// Makes the folder, and leads only the database there, and the file of flags, which shows what the database holds:
    /// all else is looked at where it is.
    pub(super) fn lead_database(config: &mut Config) -> io::Result<Self> {
        // The file of flags is named from DATA_DIR on, wherever that is.
        let own = Self::make(&std::path::absolute(std::env::temp_dir())?)?;
        config.database.address = DatabaseAddress::Sqlite { path: own.0.join("gatehouse.db") };
        config.database.auto_migrate = true;
        config.flags.file = own.0.join("feature_flags.json");
        Ok(own)
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn make(beside: &Path) -> io::Result<Self> {
        let chance = hexadecimal::written(&Random::System.bytes::<16>());
        let folder = beside.join(format!("gatehouse-{chance}"));
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map(|()| Self(folder)).map_err(|error| {
            let words = format!(
                "no folder can be made in {}: {error}; set TMPDIR to one that may be written to",
                beside.display()
            );
            io::Error::new(error.kind(), words)
        })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            super::complain(&format!("gatehouse: {} could not be removed: {error}\n", self.0.display()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_folder_to_look_in_is_ones_own_alone_and_goes() {
        let beside = tempfile::tempdir().unwrap();
        let (one, other) = (Own::make(beside.path()).unwrap(), Own::make(beside.path()).unwrap());
        assert_ne!(one.0, other.0, "nobody can know its name");
        assert_eq!(fs::metadata(&one.0).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(one.0.join("gatehouse.db"), "x").unwrap();
        drop((one, other));
        assert_eq!(fs::read_dir(beside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_place_that_takes_no_folder_is_named_with_the_variable_that_names_another() {
        let outer = tempfile::tempdir().unwrap();
        let nowhere = outer.path().join("nowhere");
        let Err(error) = Own::make(&nowhere) else { panic!("it was made") };
        let words = error.to_string();
        assert!(words.starts_with(&format!("no folder can be made in {}: ", nowhere.display())), "{words}");
        assert!(words.contains("set TMPDIR"), "{words}");
    }

    #[test]
    fn a_file_of_flags_that_the_settings_name_elsewhere_is_left_alone() {
        let elsewhere = tempfile::tempdir().unwrap();
        let flags = elsewhere.path().join("flags.json");
        let named = [("FEATURE_FLAGS_FILE", flags.to_str().unwrap())];
        let mut config = Config::for_tests(elsewhere.path(), &named);
        assert_eq!(config.server.data_dir.join(&config.flags.file), flags);
        let own = Own::lead(&mut config).unwrap();
        assert!(config.server.data_dir.join(&config.flags.file).starts_with(own.path()));
    }

    #[test]
    fn a_database_of_ones_own_leaves_the_rest_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::for_tests(folder.path(), &[("STORAGE_URL", "s3://files?region=here")]);
        let own = Own::lead_database(&mut config).unwrap();
        let DatabaseAddress::Sqlite { path } = &config.database.address else { panic!("not a file") };
        assert!(path.starts_with(own.path()), "{}", path.display());
        assert!(config.server.data_dir.join(&config.flags.file).starts_with(own.path()));
        assert_eq!(config.server.data_dir, folder.path());
        assert!(config.files.storage.is_some());
    }
}
