//! The commands that need a server's parts. Temporary: nothing behind them is built yet.

use std::process::ExitCode;

use super::ServerCommand;
use crate::platform::config::Loaded;

/// Does `command` with this configuration.
#[expect(clippy::unused_async, reason = "the commands that come here will wait for the database")]
pub async fn run(command: ServerCommand, loaded: Loaded) -> ExitCode {
    tracing::debug!(?command, data_dir = ?loaded.config.server.data_dir, "asked for");
    super::failed(&std::io::Error::other("not built yet"))
}
