//! `gatehouse backup` and `restore`: everything in one file that proves itself, and back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::commands::Restoring;
use super::own::Own;
use crate::app::{App, StartFault};
use crate::archive::{How, ImportOptions, Inspected, Made, Progress, RestoreRefusal};
use crate::platform::clock::Clock;
use crate::platform::config::{Config, Loaded};
use crate::platform::random::Random;

/// Makes a backup, beside a running server if there is one.
pub(super) async fn back_up(folder: Option<PathBuf>, loaded: Loaded) -> Result<ExitCode, StartFault> {
    let folder = folder.unwrap_or_else(|| loaded.config.backups.dir.clone());
    let app = App::open(loaded.config, Clock::System, Random::System).await?;
    let made = app.archive.back_up(&folder, &Progress::of_terminal()).await;
    if let Ok(made) = &made {
        app.archive.note_backup(made).await.map_err(anyhow::Error::from)?;
    }
    app.close().await;
    let Made { path, size, manifest } = made.map_err(anyhow::Error::from)?;
    let rows: u64 = manifest.rows.values().sum();
    super::say(&format!("{}: {rows} rows, {} files, {size} bytes\n", path.display(), manifest.files));
    if manifest.rows.get("users").is_none_or(|users| *users == 0) {
        super::complain("gatehouse: there is no account in it: are these the settings of the server?\n");
    }
    if manifest.flawed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    super::complain(&format!(
        "gatehouse: the bytes of {} file(s) are gone or damaged, and not in it; manifest.json names them\n",
        manifest.flawed
    ));
    Ok(ExitCode::FAILURE)
}

/// Looks at a backup, or puts it back.
pub(super) async fn restore(restoring: Restoring, loaded: Loaded) -> Result<ExitCode, StartFault> {
    if restoring.verify {
        Box::pin(verify(&restoring.backup, loaded.config)).await
    } else {
        Box::pin(put_back(restoring, loaded)).await
    }
}

/// Looks with the features of this program on a database of their own, so that the one of the settings is not touched.
async fn verify(backup: &Path, mut config: Config) -> Result<ExitCode, StartFault> {
    let own = Own::lead(&mut config).map_err(anyhow::Error::from)?;
    let app = App::open(config, Clock::System, Random::System).await?;
    let inspected = app.archive.inspect(backup, own.path()).await;
    app.close().await;
    drop(own);
    let inspected = inspected.map_err(|refusal| refused(&refusal, ""))?;
    super::say(&told(&inspected));
    let is_good = inspected.flawed == 0 && inspected.unopened == 0;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(inspected: &Inspected) -> String {
    let Inspected { manifest, flawed, unopened } = inspected;
    let made =
        format!("made at {} by gatehouse {} ({})", manifest.made_at, manifest.gatehouse, manifest.schema);
    let mut lines = vec![made];
    lines.extend(manifest.rows.iter().map(|(table, rows)| format!("{rows:>10} {table}")));
    lines.push(format!("{:>10} files with {} bytes", manifest.files, manifest.file_bytes));
    if *flawed > 0 {
        lines.push(format!("FAIL  the bytes of {flawed} file(s) are missing or damaged"));
    }
    if *unopened > 0 {
        lines.push(format!(
            "FAIL  no known secret opens {unopened} sealed value(s): set JWT_SECRET_KEY, or JWT_SECRET_KEY_PREVIOUS, \
             to the one it was made with"
        ));
    }
    if *flawed == 0 && *unopened == 0 {
        lines.push("ok    whole, and every secret in it opens".to_owned());
    }
    lines.join("\n") + "\n"
}

async fn put_back(restoring: Restoring, loaded: Loaded) -> Result<ExitCode, StartFault> {
    let scratch = loaded.config.server.data_dir.clone();
    let app = App::open(loaded.config, Clock::System, Random::System).await?;
    let how = if restoring.over { How::Recover } else { How::Import };
    let options =
        ImportOptions { drop_second_factors: restoring.drop_second_factors, ..ImportOptions::default() };
    let progress = Progress::of_terminal();
    let restored = app.archive.restore(&restoring.backup, &scratch, how, &options, &progress).await;
    app.close().await;
    let restored = restored.map_err(|refusal| refused(&refusal, ". Nothing was changed"))?;
    super::say(&super::archive::told(&restored.counts));
    if restored.inspected.flawed > 0 {
        super::complain(&format!(
            "gatehouse: {} file(s) could not be restored: the backup has not their bytes\n",
            restored.inspected.flawed
        ));
    }
    if restored.unmended > 0 {
        super::complain(&format!(
            "gatehouse: the bytes of {} file(s) here are wrong, and could not be replaced; the log says why\n",
            restored.unmended
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(refusal: &RestoreRefusal, then: &str) -> StartFault {
    anyhow::anyhow!("{refusal}{then}").into()
}
