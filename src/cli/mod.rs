//! The command line: what `gatehouse` can be asked to do.
//!
//! Commands that need no configuration are done here; the others get it and go to the module of their subject.

mod archive;
mod audit;
mod backup;
mod check;
mod config;
mod database;
mod hash_secret;
mod own;
pub mod prompt;
mod serve;
mod workos;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::app::{self, StartFault};
use crate::archive::How;
use crate::audit::Head;
use crate::platform::config::{Config, Loaded, LogFormat, Mistake, Sources};
use crate::platform::telemetry::files::FileSettings;
use crate::platform::telemetry::{self, Format, Losses};

/// Exit code of a start that the configuration forbids (`EX_CONFIG` of sysexits.h).
const CONFIGURATION: u8 = 78;
/// How long the end of the program waits for what the system does not let go of.
const LAST_WORK: Duration = Duration::from_secs(1);

/// The users of your application: sign-up and sign-in, profiles, permissions, and the admin's tools.
#[derive(Debug, Parser)]
#[command(name = "gatehouse", version)]
pub struct CommandLine {
    /// File of settings, instead of gatehouse.toml in the working directory.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to do; without it, serve.
    #[command(subcommand)]
    command: Option<Command>,
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
    schema: bool,
    /// Every setting there is, as a file to begin from (.env.example).
    #[arg(long)]
    example: bool,
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
}

/// A file to be read in.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Incoming {
    /// A database of Gatehouse, an export or the file of a stopped server; or a SQLite database of S1.
    file: PathBuf,
    /// Leave out second factors that no known secret opens, and take them from their owners, instead of refusing the file.
    #[arg(long)]
    drop_second_factors: bool,
    /// Of a database of S1: the folder that its files lie in. Without it they are left out.
    #[arg(long, value_name = "DIR")]
    files_root: Option<PathBuf>,
}

/// A backup to be put back.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Restoring {
    /// The backup.
    backup: PathBuf,
    /// Only look whether it is whole and its secrets can be opened; touch nothing.
    #[arg(long, conflicts_with_all = ["over", "drop_second_factors"])]
    verify: bool,
    /// Restore although there are accounts: what differs is overwritten, what is not in the backup stays.
    #[arg(long)]
    over: bool,
    /// Leave out second factors that no known secret opens, and take them from their owners, instead of refusing the backup.
    #[arg(long)]
    drop_second_factors: bool,
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
    Rotate,
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

/// Does what the arguments of the process ask for.
#[must_use]
pub fn main() -> ExitCode {
    let CommandLine { config: file, command } = CommandLine::parse();
    let sources = || Sources::of_process(file.as_deref());
    match command.unwrap_or(Command::Server(ServerCommand::Serve)) {
        Command::Server(command) if command.needs_database() => {
            // Looking first: to load the settings as a start does makes a folder and a key where there are none.
            let looked = Config::load(&sources().only_looking());
            match looked.map(|loaded| missing_database(&loaded.config)) {
                Err(mistakes) => refused(mistakes),
                Ok(Some(code)) => code,
                Ok(None) => load(command, &sources()),
            }
        }
        Command::Server(command) if command.only_looks() => load(command, &sources().only_looking()),
        Command::Server(command) => load(command, &sources()),
        Command::Config(ConfigForm { schema: true, .. }) => print(&config::schema()),
        Command::Config(ConfigForm { example: true, .. }) => print(&config::example()),
        Command::Config(_) => Config::load(&sources().only_looking())
            .map_or_else(refused, |loaded| print(&config::effective(&loaded))),
        Command::HashSecret => hash_secret::hash().map_or_else(|error| failed(&error), |hash| print(&hash)),
        Command::Completions { shell } => print(&completions(shell)),
    }
}

impl ServerCommand {
    /// Whether it must leave no file behind.
    const fn only_looks(&self) -> bool {
        matches!(self, Self::Openapi | Self::Health | Self::Restore(Restoring { verify: true, .. }))
    }

    /// Whether it works on what exists. A database that is not there is the sign of settings that are not the
    /// server's, and to make an empty one would look like success.
    const fn needs_database(&self) -> bool {
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
        )
    }
}

fn load(command: ServerCommand, sources: &Sources) -> ExitCode {
    Config::load(sources).map_or_else(refused, |loaded| serve(command, loaded))
}

/// Says that there is no database, where there is none. On a runtime of its own, since the command has none yet.
fn missing_database(config: &Config) -> Option<ExitCode> {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => {
            let found = runtime.block_on(app::require_database(config));
            // A name that is still looked up holds nobody up.
            runtime.shutdown_background();
            found.err().map(|fault| self::fault(&fault))
        }
        Err(error) => Some(failed(&error)),
    }
}

fn serve(command: ServerCommand, loaded: Loaded) -> ExitCode {
    let format = match loaded.config.log.format {
        LogFormat::Pretty => Format::Pretty,
        LogFormat::Json => Format::Json,
    };
    let is_service = matches!(command, ServerCommand::Serve | ServerCommand::WorkosSync);
    let filter = if is_service { &loaded.config.log.filter } else { "warn" };
    let settings = &loaded.config.log;
    let files = (settings.file_enabled && command == ServerCommand::Serve).then(|| {
        let folder = loaded.config.server.data_dir.join("logs");
        let (rotation, retention) = (settings.file_rotation, settings.file_retention);
        (settings.file_filter.as_str(), FileSettings { folder, rotation, retention })
    });
    let log = match telemetry::init(filter, format, files) {
        Ok(log) => log,
        Err(error) => return failed(&error),
    };
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(run(command, loaded, log.losses()));
            // All that matters has ended by now; the system may take a minute to give up a name that it looks up.
            runtime.shutdown_timeout(LAST_WORK);
            code
        }
        Err(error) => failed(&error),
    }
}

async fn run(command: ServerCommand, loaded: Loaded, losses: Losses) -> ExitCode {
    let done = match command {
        ServerCommand::Serve => return Box::pin(serve::serve(loaded, losses)).await,
        ServerCommand::Check { fix } => return Box::pin(check::check(fix, loaded)).await,
        ServerCommand::Health => return check::health(&loaded),
        ServerCommand::Migrate(command) => database::migrate(command, loaded).await,
        ServerCommand::Export { file, force } => Box::pin(archive::export(&file, force, loaded)).await,
        ServerCommand::Import(incoming) => Box::pin(archive::read_in(How::Import, incoming, loaded)).await,
        ServerCommand::Recover(incoming) => Box::pin(archive::read_in(How::Recover, incoming, loaded)).await,
        ServerCommand::Backup { folder } => Box::pin(backup::back_up(folder, loaded)).await,
        ServerCommand::Restore(restoring) => Box::pin(backup::restore(restoring, loaded)).await,
        ServerCommand::Admin(command) => Box::pin(database::admin(command, loaded)).await,
        ServerCommand::Keys(command) => Box::pin(database::keys(command, loaded)).await,
        ServerCommand::Audit(Audit::Verify { head }) => audit::verify(head, &loaded).await,
        ServerCommand::Openapi => Box::pin(check::openapi(loaded)).await,
        ServerCommand::WorkosSync => Box::pin(workos::sync(loaded)).await,
        ServerCommand::WorkosCheck { forget } => Box::pin(workos::check(forget, loaded)).await,
    };
    done.unwrap_or_else(|fault| self::fault(&fault))
}

/// Says why the program can't start; 78 where the configuration is to blame.
fn fault(fault: &StartFault) -> ExitCode {
    let code = if fault.is_configuration() { ExitCode::from(CONFIGURATION) } else { ExitCode::FAILURE };
    write(std::io::stderr(), &format!("gatehouse: {fault}\n"), code)
}

/// For people, on the standard output; a closed one is no reason to stop.
fn say(text: &str) {
    write(std::io::stdout(), text, ExitCode::SUCCESS);
}

/// For people, on the standard error.
fn complain(text: &str) {
    write(std::io::stderr(), text, ExitCode::SUCCESS);
}

/// One line per mistake, so that all can be mended in one go.
#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_or_else` asks for")]
fn refused(mistakes: Vec<Mistake>) -> ExitCode {
    let lines = mistakes
        .iter()
        .fold(String::new(), |lines, mistake| lines + "gatehouse: " + &mistake.to_string() + "\n");
    write(std::io::stderr(), &lines, ExitCode::from(CONFIGURATION))
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    write(std::io::stderr(), &format!("gatehouse: {error}\n"), ExitCode::FAILURE)
}

fn print(text: &str) -> ExitCode {
    write(std::io::stdout(), text, ExitCode::SUCCESS)
}

/// Writes and exits with `code`; a reader that has read enough (`| head`) is no failure.
fn write(mut stream: impl Write, text: &str, code: ExitCode) -> ExitCode {
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => code,
    }
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "gatehouse", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn completions_know_the_commands() {
        assert!(completions(Shell::Bash).contains("hash-secret"));
    }
}
