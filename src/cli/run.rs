//! From the arguments to the exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

use super::commands::{Audit, Command, CommandLine, ConfigForm, ServerCommand};
use super::output::{failed, fault, print, refused};
use super::{archive, audit, backup, check, config, database, hash_secret, serve, workos};
use crate::app;
use crate::archive::How;
use crate::platform::config::{Config, Loaded, LogFormat, Sources};
use crate::platform::telemetry::files::FileSettings;
use crate::platform::telemetry::{self, Format, Losses};

/// How long the end of the program waits for what the system does not let go of.
const LAST_WORK: Duration = Duration::from_secs(1);

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
        ServerCommand::WorkosReconcile => Box::pin(workos::reconcile(loaded)).await,
        ServerCommand::WorkosResync { since } => Box::pin(workos::resync(since, loaded)).await,
    };
    done.unwrap_or_else(|fault| self::fault(&fault))
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut CommandLine::command(), "gatehouse", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_know_the_commands() {
        assert!(completions(Shell::Bash).contains("hash-secret"));
    }
}
