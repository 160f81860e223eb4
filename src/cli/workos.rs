//! `gatehouse workos-sync`, `workos-check`, `workos-reconcile` and `workos-resync`: the directory at WorkOS, followed,
//! compared and gone through again.

use std::process::ExitCode;
use std::time::Duration;

use crate::app::{App, StartFault};
use crate::platform::clock::Clock;
use crate::platform::config::Loaded;
use crate::platform::random::Random;
use crate::server::Stop;
use crate::workos::{Done, NotAgain, Since, Workos};

/// Follows the directory until a signal comes. Where another process follows, it waits for its turn.
pub(super) async fn sync(loaded: Loaded) -> Result<ExitCode, StartFault> {
    if loaded.config.workos.api_key.is_none() {
        return Err(switched_off());
    }
    let app = App::open(loaded.config, Clock::System, Random::System).await?;
    let stop = Stop::on_signals(&app.tasks, Duration::ZERO).map_err(anyhow::Error::from)?;
    let workos = app.workos.clone();
    app.tasks.keep("workos", move || workos.clone().follow());
    tracing::info!("following the directory at WorkOS");
    tokio::select! {
        () = stop.begun.cancelled() => {}
        () = app.db.damaged() => {}
    }
    let is_damaged = app.db.is_damaged();
    app.close().await;
    tracing::info!("stopped");
    Ok(if is_damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Lists what is not as WorkOS says.
pub(super) async fn check(forget: bool, loaded: Loaded) -> Result<ExitCode, StartFault> {
    let app = App::open(loaded.config, Clock::System, Random::System).await?;
    let compared = app.workos.drift().await;
    let compared = compared.map_err(|halt| anyhow::anyhow!("the directory can't be compared: {halt}"));
    if forget && compared.is_ok() {
        app.workos.forget_set_aside().await.map_err(anyhow::Error::from)?;
    }
    app.close().await;
    let drift = compared?.ok_or_else(switched_off)?;
    let lines = drift.found.iter().fold(String::new(), |lines, line| lines + &line.to_string() + "\n");
    super::say(&lines);
    let unknown = if drift.unknown > 0 {
        format!(", {} events of unknown types", drift.unknown)
    } else {
        String::new()
    };
    super::say(&format!("{} users at WorkOS, {} differences{unknown}\n", drift.there, drift.found.len()));
    Ok(if drift.found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Brings everybody here into line with everybody there, in the place of whoever follows the directory.
pub(super) async fn reconcile(loaded: Loaded) -> Result<ExitCode, StartFault> {
    Box::pin(again(loaded, async |workos| workos.reconcile().await)).await
}

/// Reads events again, in the place of whoever follows the directory.
pub(super) async fn resync(since: Since, loaded: Loaded) -> Result<ExitCode, StartFault> {
    Box::pin(again(loaded, async |workos| workos.resync(since).await)).await
}

async fn again(
    loaded: Loaded,
    go: impl AsyncFnOnce(&Workos) -> Result<Option<Done>, NotAgain>,
) -> Result<ExitCode, StartFault> {
    if loaded.config.workos.api_key.is_none() {
        return Err(switched_off());
    }
    let app = App::open(loaded.config, Clock::System, Random::System).await?;
    let done = go(&app.workos).await;
    app.close().await;
    let done = done.map_err(|why| anyhow::anyhow!("{why}"))?.ok_or_else(switched_off)?;
    let Done { seen, created, changed, removed, refused } = done;
    super::say(&format!(
        "{seen} seen: {created} created, {changed} changed, {removed} removed, {refused} refused\n"
    ));
    Ok(ExitCode::SUCCESS)
}

fn switched_off() -> StartFault {
    StartFault::Setting(anyhow::anyhow!("WORKOS_API_KEY is not set: there is no directory at WorkOS"))
}
