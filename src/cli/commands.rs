//! What the command line understands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::audit::Head;
use crate::workos::Since;

/// The users of your application: sign-up and sign-in, profiles, permissions, and the admin's tools.
#[derive(Debug, Parser)]
#[command(name = "gatehouse", version)]
pub struct CommandLine {
    /// File of settings, instead of gatehouse.toml in the working directory.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// What to do; without it, serve.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Commands that need the configuration, and most of them the database.
    #[command(flatten)]
    Server(ServerCommand),
    /// Print the settings as they are now and where each comes from, secrets masked.
    Config(ConfigForm),
    /// Hash a service's secret, read from standard input, for the list of service clients.
    HashSecret,
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What to print of the settings.
#[derive(Clone, Copy, Debug, Args)]
#[group(multiple = false)]
pub struct ConfigForm {
    /// Every setting there is, as JSON Schema.
    #[arg(long)]
    pub(super) schema: bool,
    /// Every setting there is, as a file to begin from (.env.example).
    #[arg(long)]
    pub(super) example: bool,
}

/// What to do with the configuration at hand.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum ServerCommand {
    /// Serve. This is what happens without a command.
    Serve,
    /// Change or show the state of the schema.
    #[command(subcommand)]
    Migrate(Migrate),
    /// Make and mend admins.
    #[command(subcommand)]
    Admin(Admin),
    /// Do everything that a start would do, without serving, and report.
    Check {
        /// Repair what can be repaired.
        #[arg(long)]
        fix: bool,
    },
    /// Print the OpenAPI document.
    Openapi,
    /// Ask the server that runs here whether it is ready: exit code 0 or 1.
    Health,
    /// Change the keys.
    #[command(subcommand)]
    Keys(Keys),
    /// Look at the log of what staff did.
    #[command(subcommand)]
    Audit(Audit),
    /// Write everything into a SQLite file, while the server serves.
    Export {
        /// The file.
        file: PathBuf,
        /// Overwrite it if it is there.
        #[arg(long)]
        force: bool,
    },
    /// Add what a file has more: missing rows, and what is empty; overwrite nothing.
    Import(Incoming),
    /// Put everything back to what a file says; what is not in it stays.
    Recover(Incoming),
    /// Make a backup: everything, with the bytes of the files, in one file that proves itself.
    Backup {
        /// The folder; without one, `BACKUP_DIR`.
        folder: Option<PathBuf>,
    },
    /// Put a backup back into an empty database, or look whether it is good.
    Restore(Restoring),
    /// Follow the directory at WorkOS until told to stop, without serving.
    WorkosSync,
    /// List what here is not as WorkOS says: exit code 0 if nothing, 1 otherwise.
    WorkosCheck {
        /// Forget, once it is listed, what could not be understood.
        #[arg(long)]
        forget: bool,
    },
    /// List everybody at WorkOS, and bring everybody here into line, while servers serve: who is not listed is deleted here.
    WorkosReconcile,
    /// Read events of WorkOS again, and do what was missed, while servers serve.
    WorkosResync {
        /// Since when, as 2026-01-15T12:00:00Z; at most 30 days ago.
        #[arg(long, value_name = "TIME")]
        since: Since,
    },
}

/// A file to be read in.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Incoming {
    /// A database of Gatehouse, an export or the file of a stopped server; or a SQLite database of S1.
    pub(super) file: PathBuf,
    /// Leave out second factors that no known secret opens, and take them from their owners, instead of refusing the file.
    #[arg(long)]
    pub(super) drop_second_factors: bool,
    /// Of a database of S1: the folder that its files lie in. Without it they are left out.
    #[arg(long, value_name = "DIR")]
    pub(super) files_root: Option<PathBuf>,
}

/// A backup to be put back.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Restoring {
    /// The backup.
    pub(super) backup: PathBuf,
    /// Only look whether it is whole and its secrets can be opened; touch nothing.
    #[arg(long, conflicts_with_all = ["over", "drop_second_factors"])]
    pub(super) verify: bool,
    /// Restore although there are accounts: what differs is overwritten, what is not in the backup stays.
    #[arg(long)]
    pub(super) over: bool,
    /// Leave out second factors that no known secret opens, and take them from their owners, instead of refusing the backup.
    #[arg(long)]
    pub(super) drop_second_factors: bool,
}

/// What to do with the schema.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Migrate {
    /// Bring the schema up to date.
    Up {
        /// Stop after this migration.
        #[arg(long, value_name = "NAME")]
        to: Option<String>,
    },
    /// Undo the newest migration.
    Down {
        /// Undo every migration after this one.
        #[arg(long, value_name = "NAME", conflicts_with = "all")]
        to: Option<String>,
        /// Undo every migration.
        #[arg(long)]
        all: bool,
    },
    /// Show which migrations have run.
    Status,
    /// Drop everything and begin anew; asks for the database's name, and is refused in production.
    Fresh {
        /// The database's name, to confirm without being asked.
        #[arg(long, value_name = "DATABASE")]
        confirm: Option<String>,
    },
    /// Write the file of a new migration.
    New {
        /// What it does, as `add_locale`.
        name: String,
    },
}

/// What to do with admins.
#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Admin {
    /// Make an admin.
    Create {
        /// The name to sign in with.
        username: String,
        /// E-mail address.
        #[arg(long)]
        email: Option<String>,
        /// Read the password from standard input instead of asking for it.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set an account's password and end its sessions.
    ResetPassword {
        /// Whose password.
        username: String,
        /// Read the password from standard input instead of asking for it.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Take off the second factor of somebody who lost it, and end their sessions.
    RemoveSecondFactor {
        /// Whose second factor.
        username: String,
    },
    /// Make an existing account an admin.
    Promote {
        /// Which account.
        username: String,
    },
}

/// What to do with the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Keys {
    /// Make a new signing key; the old one verifies until its last token has expired.
    Rotate {
        /// The old ones verify nothing any more, as somebody may have them. People stay signed in: their programs trade
        /// their refresh tokens.
        #[arg(long)]
        at_once: bool,
    },
    /// Seal everything with the present master secret that an earlier one sealed.
    Rewrap,
}

/// What to do with the log of what staff did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Audit {
    /// Walk the whole log: exit code 0 if each row is as it was written, 65 otherwise, 1 if that can't be found out.
    Verify {
        /// An end of the log that was noted down earlier, as this command prints it: finds out whether rows were cut off
        /// since.
        #[arg(long, value_name = "NUMBER:HASH")]
        head: Option<Head>,
    },
}

impl ServerCommand {
    /// Whether it must leave no file behind.
    pub(super) const fn only_looks(&self) -> bool {
        matches!(self, Self::Openapi | Self::Health | Self::Restore(Restoring { verify: true, .. }))
    }

    /// Whether it works on what exists. A database that is not there is the sign of settings that are not the
    /// server's, and to make an empty one would look like success.
    pub(super) const fn needs_database(&self) -> bool {
        matches!(
            self,
            Self::Migrate(Migrate::Status | Migrate::Down { .. })
                | Self::Admin(
                    Admin::ResetPassword { .. } | Admin::RemoveSecondFactor { .. } | Admin::Promote { .. }
                )
                | Self::Keys(_)
                | Self::Audit(_)
                | Self::Export { .. }
                | Self::Recover(_)
                | Self::Backup { .. }
                | Self::WorkosCheck { .. }
                | Self::WorkosReconcile
                | Self::WorkosResync { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(arguments: &str) -> Result<CommandLine, clap::Error> {
        CommandLine::try_parse_from(std::iter::once("gatehouse").chain(arguments.split_whitespace()))
    }

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn every_documented_command_is_understood() {
        for arguments in [
            "",
            "serve",
            "--config a.toml",
            "serve --config a.toml",
            "migrate up",
            "migrate up --to m0001_users",
            "migrate down",
            "migrate down --to m0001_users",
            "migrate down --all",
            "migrate status",
            "migrate fresh",
            "migrate fresh --confirm gatehouse",
            "migrate new add_locale",
            "admin create ann --email ann@example.com --password-stdin",
            "admin create ann",
            "admin reset-password ann --password-stdin",
            "admin remove-second-factor ann",
            "admin promote ann",
            "config",
            "config --schema",
            "config --example",
            "check",
            "check --fix",
            "openapi",
            "health",
            "keys rotate",
            "keys rewrap",
            "audit verify",
            "audit verify --head 0:0000000000000000000000000000000000000000000000000000000000000000",
            "export all.db",
            "export all.db --force",
            "import all.db",
            "import all.db --drop-second-factors",
            "recover all.db",
            "recover all.db --drop-second-factors",
            "import s1.db --files-root /srv/s1",
            "backup",
            "backup /mnt/backups",
            "restore gatehouse-20260101T030000Z.tar",
            "restore gatehouse-20260101T030000Z.tar --verify",
            "restore gatehouse-20260101T030000Z.tar --over --drop-second-factors",
            "workos-sync",
            "workos-check",
            "workos-check --forget",
            "workos-reconcile",
            "workos-resync --since 2026-01-15T12:00:00Z",
            "hash-secret",
            "completions bash",
        ] {
            assert!(parsed(arguments).is_ok(), "{arguments}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for arguments in [
            "migrate down --all --to m0001_users",
            "config --schema --example",
            "admin create",
            "audit verify --head 7",
            "workos-resync",
            "workos-resync --since yesterday",
            "workos-resync --since 2026-01-15T12:00:00Z --no-side-effects",
            "srve",
        ] {
            assert!(parsed(arguments).is_err(), "{arguments}");
        }
    }

    #[test]
    fn only_what_works_on_what_exists_needs_a_database() {
        let needs = |arguments: &str| match parsed(arguments).unwrap().command {
            Some(Command::Server(command)) => command.needs_database(),
            _ => panic!("{arguments}"),
        };
        for arguments in [
            "migrate status",
            "migrate down",
            "migrate down --all",
            "admin promote ann",
            "admin reset-password ann",
            "admin remove-second-factor ann",
            "keys rotate",
            "keys rewrap",
            "audit verify",
            "export all.db",
            "recover all.db",
            "backup",
            "workos-check",
            "workos-reconcile",
            "workos-resync --since 2026-01-15T12:00:00Z",
        ] {
            assert!(needs(arguments), "{arguments}");
        }
        for arguments in [
            "serve",
            "migrate up",
            "migrate fresh",
            "migrate new add_locale",
            "admin create ann",
            "check",
            "check --fix",
            "openapi",
            "health",
            "import all.db",
            "restore gatehouse.tar",
            "restore gatehouse.tar --verify",
            "workos-sync",
        ] {
            assert!(!needs(arguments), "{arguments}");
        }
    }
}
