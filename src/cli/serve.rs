//! `gatehouse serve`: starts, says where to go, stops when told to.

use std::fs::File;
use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::app::{App, StartFault, admin_of_settings, require_database};
use crate::platform::clock::Clock;
use crate::platform::config::{Config, DatabaseAddress, Loaded};
use crate::platform::random::Random;
use crate::platform::telemetry::Losses;
use crate::server::{Limits, Server, Stop};

/// A balancer is told no longer than this when the database can't be relied on: nothing can be written meanwhile.
const NOTICE: Duration = Duration::from_millis(500);

/// Serves until a signal comes, or the database can't be relied on any more: that is a failure, so that whoever watches over
/// the program starts it anew.
pub(super) async fn serve(loaded: Loaded, losses: Losses) -> ExitCode {
    match Box::pin(start(loaded, losses)).await {
        Ok(code) => code,
        Err(fault) => super::fault(&fault),
    }
}

async fn start(loaded: Loaded, losses: Losses) -> Result<ExitCode, StartFault> {
    let mut config = loaded.config;
    // What is wrong in the settings is told before there is a database that it would be left in.
    if config.first_admin.is_some() && require_database(&config).await.is_err() {
        admin_of_settings(&config)?;
    }
    let clock = Clock::System;
    let limits = Limits::stopping_within(config.server.shutdown_timeout);
    // The address first: where it is taken, no database is touched.
    let address = config.server.address();
    let server = Server::bind(address, limits)
        .map_err(|error| anyhow::anyhow!("can't listen on {address}: {error}"))?;
    config.server.listens_on(server.local_addr().map_err(anyhow::Error::from)?);
    let notice = config.server.stop_notice;
    let mut app = App::open(config, clock, Random::System).await?;
    let _mark = mark(&app.config);
    let stop = Stop::on_signals(&app.tasks, notice).map_err(anyhow::Error::from)?;
    app.stopping = stop.announced.clone();
    app.metrics.tell(move || losses.measures());
    let link = app.first_start().await?;
    let endpoint = app.endpoint(&app.document())?;
    app.start_background();
    greet(&app, link.as_ref().map(crate::sessions::OpaqueToken::expose));
    let damaged = async {
        app.db.damaged().await;
        stop.begin(notice.min(NOTICE)).await;
        std::future::pending().await
    };
    let cut = tokio::select! {
        cut = server.serve(endpoint, stop.begun.clone()) => cut,
        () = stop.forced.cancelled() => 1,
        cut = damaged => cut,
    };
    let is_damaged = app.db.is_damaged();
    app.close().await;
    tracing::info!("stopped");
    Ok(if cut == 0 && !is_damaged { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Marks the data folder of a server on SQLite for as long as the file lives, and warns where another process has: one
/// server is what such a database is made for. The system takes the mark away with its process, however that ends.
/// Where a file system knows no marks, nobody is warned.
fn mark(config: &Config) -> Option<File> {
    if !matches!(config.database.address, DatabaseAddress::Sqlite { .. }) {
        return None;
    }
    let path = &config.server.data_dir;
    let folder = File::open(path).ok()?;
    if flock(&folder, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        tracing::warn!(
            folder = %path.display(),
            "another server runs on this DATA_DIR: SQLite is for one; limits are counted by each for itself"
        );
    }
    Some(folder)
}

/// Where to go now; for a new server, the link that makes its first admin. Only here is it ever shown.
fn greet(app: &App, set_up: Option<&str>) {
    let base = app.config.server.base_url.as_str().trim_end_matches('/');
    let lines = format!(
        "\n  {} {} on {}\n\n  Documentation   {base}/docs\n  Try it          {base}/interactive-docs\n",
        app.config.server.project_name,
        env!("CARGO_PKG_VERSION"),
        app.config.server.address(),
    );
    super::say(&lines);
    if let Some(token) = set_up {
        super::say(&format!(
            "\n  First start: make the administrator here (works once, for 24 hours):\n  {base}/setup?token={token}\n"
        ));
    }
    tracing::info!(address = %app.config.server.address(), environment = app.config.server.environment.name(), "listening");
}
