//! The first steps of a start, from the folder to the schema, and why they can fail.

use rustix::fs::{Access, access};
use sea_orm::DbErr;
use secrecy::ExposeSecret;

use super::settings;
use crate::permissions::PolicyMistake;
use crate::platform::causes::told;
use crate::platform::config::{Config, DatabaseAddress};
use crate::platform::db::{Database, Direction, Schema, SchemaFault, postgres, sqlite};
use crate::platform::folders;
use crate::platform::outgoing::NoClient;
use crate::platform::problem::FieldError;
use crate::profiles::SignUpFields;
use crate::users::{NewUser, Password};

/// Why the program can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// The database can't be reached, opened or migrated.
    #[error("the database {address} can't be used: {reason}{}", remedy.as_ref().map(|sql| format!("\n  A superuser can mend this: {sql}")).unwrap_or_default())]
    Database {
        /// Where it is; without a password.
        address: String,
        /// What the database said.
        reason: String,
        /// The SQL that would help.
        remedy: Option<String>,
    },
    /// There is no database, where a command works on what exists.
    #[error("there is no database at {0}: are these the settings of the server?")]
    NoDatabase(String),
    /// The schema is not as it must be.
    #[error(transparent)]
    Schema(#[from] SchemaFault),
    /// A policy file is wrong.
    #[error("the policies in DATA_DIR/policies can't be used: {0}")]
    Policies(#[from] PolicyMistake),
    /// A folder can't be used.
    #[error("{path} can't be written: {reason}. Make it the server's own: chown -R {uid} {path}")]
    Folder {
        /// The folder.
        path: String,
        /// What the system said.
        reason: std::io::Error,
        /// The user that the server runs as.
        uid: u32,
    },
    /// A file that a setting names can't be used.
    #[error("{}", told(.0))]
    Setting(anyhow::Error),
    /// Something else.
    #[error("{}", told(.0))]
    Other(#[from] anyhow::Error),
}

impl StartFault {
    /// Whether an operator mends it in the configuration (exit code 78).
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            Self::Schema(SchemaFault::TooOld { .. } | SchemaFault::Pending(_) | SchemaFault::Beneath(_))
                | Self::Policies(_)
                | Self::Setting(_)
                | Self::Folder { .. }
        ) || self.lacks_certificates()
    }

    /// Whether a feature that asks other servers was opened on a machine that trusts nobody.
    fn lacks_certificates(&self) -> bool {
        matches!(self, Self::Other(error) if error.chain().any(<dyn std::error::Error>::is::<NoClient>))
    }
}

/// Who is to be the first admin by the settings, if they name somebody, with the password, which is a good one. Nothing
/// but the settings is needed, so that a start can ask before it makes anything.
pub fn admin_of_settings(config: &Config) -> Result<Option<(NewUser, Password)>, StartFault> {
    let Some(admin) = &config.first_admin else { return Ok(None) };
    let fields =
        SignUpFields { username: &admin.username, email: admin.email.as_deref(), ..SignUpFields::default() };
    let password = admin.password.expose_secret();
    let read = fields.read(password, password, &settings::users(config));
    let (new, password) = read.map_err(|errors| wrong_admin(&errors))?;
    let known = new.context();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    // Milliseconds of this thread; nobody is served yet.
    match settings::passwords(config).check(&password, &known) {
        Ok(()) => Ok(Some((new, password))),
        Err(flaws) => {
            let errors = flaws.into_iter().map(|flaw| FieldError::new("password", flaw.words()));
            Err(wrong_admin(&errors.collect::<Vec<_>>()))
        }
    }
}

fn wrong_admin(errors: &[FieldError]) -> StartFault {
    let lines: Vec<String> = errors
        .iter()
        .map(|error| format!("ADMIN_{}: {}", error.field.to_uppercase(), error.message))
        .collect();
    StartFault::Setting(anyhow::anyhow!("{}", lines.join("; ")))
}

/// Refuses settings that name a database which does not exist. Makes nothing, while connecting would make it.
pub async fn require_database(config: &Config) -> Result<(), StartFault> {
    let settings = &config.database;
    let exists = match &settings.address {
        // What may not be looked at is no proof that there is nothing: opening it tells more.
        DatabaseAddress::Sqlite { path } => path.try_exists().unwrap_or(true),
        DatabaseAddress::Postgres { url, .. } => {
            postgres::exists(url.expose_secret(), settings.acquire_timeout).await
        }
    };
    if exists { Ok(()) } else { Err(StartFault::NoDatabase(settings.address.to_string())) }
}

/// Connects to the database of the settings.
pub async fn connect(config: &Config) -> Result<Database, StartFault> {
    let settings = &config.database;
    let (connections, acquire) = (settings.max_connections, settings.acquire_timeout);
    let opened = match &settings.address {
        DatabaseAddress::Sqlite { path } => {
            make_folder(path.parent())?;
            sqlite::open(path, connections, acquire).await
        }
        DatabaseAddress::Postgres { url, .. } => {
            postgres::open(url.expose_secret(), connections, acquire).await
        }
    };
    opened.map_err(|error| unusable(&settings.address, &error))
}

/// Moves the schema; returns the names of the steps that were applied or undone, in order.
pub async fn migrate(
    config: &Config,
    db: &Database,
    direction: Direction,
) -> Result<Vec<&'static str>, StartFault> {
    Schema(db).migrate(direction).await.map_err(|fault| match fault {
        SchemaFault::Database(error) => unusable(&config.database.address, &error),
        other => other.into(),
    })
}

fn unusable(address: &DatabaseAddress, error: &DbErr) -> StartFault {
    StartFault::Database {
        address: address.to_string(),
        reason: error.to_string(),
        remedy: match address {
            DatabaseAddress::Postgres { url, .. } => postgres::remedy(error, url.expose_secret()),
            DatabaseAddress::Sqlite { .. } => None,
        },
    }
}

/// Makes a folder, and sees to it that it can be written.
pub(super) fn make_folder(path: Option<&std::path::Path>) -> Result<(), StartFault> {
    let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else { return Ok(()) };
    let made = folders::make(path, 0o777);
    // SQLite would only say that it can't open the file.
    let writable = made.and_then(|()| Ok(access(path, Access::WRITE_OK | Access::EXEC_OK)?));
    writable.map_err(|reason| StartFault::Folder {
        path: path.display().to_string(),
        reason,
        uid: rustix::process::getuid().as_raw(),
    })
}

/// Moves the schema where that is wanted; it is as it must be afterwards.
pub(super) async fn prepare_schema(config: &Config, db: &Database) -> Result<(), StartFault> {
    if config.database.auto_migrate {
        let applied = migrate(config, db, Direction::Up(None)).await?;
        if !applied.is_empty() {
            tracing::info!(steps = applied.len(), "migrated the database");
        }
    }
    Ok(Schema(db).check().await?)
}
