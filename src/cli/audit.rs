//! `gatehouse audit verify`: whether the log of what staff did is as it was written.

use std::process::ExitCode;
use std::sync::Arc;

use crate::app::{StartFault, connect, secrets};
use crate::audit::{Audit, Head, Verdict};
use crate::platform::clock::Clock;
use crate::platform::config::Loaded;
use crate::platform::db::Schema;

/// Exit code of a log that is not as it was written (`EX_DATAERR` of sysexits.h).
const BROKEN: u8 = 65;

/// Walks the log; `noted` is an end of it that was kept elsewhere. Changes nothing.
pub(super) async fn verify(noted: Option<Head>, loaded: &Loaded) -> Result<ExitCode, StartFault> {
    let db = connect(&loaded.config).await?;
    let verdict = async {
        Schema(&db).check().await?;
        let audit = Audit::new(db.clone(), Clock::System, Arc::new(secrets(&loaded.config)));
        Ok::<_, StartFault>(audit.verify(noted).await.map_err(anyhow::Error::from)?)
    };
    let verdict = verdict.await;
    db.close().await;
    let Verdict { good, flaw } = verdict?;
    if let Some(flaw) = flaw {
        super::complain(&format!("gatehouse: {flaw}; the rows before it are good, up to {good}\n"));
        return Ok(ExitCode::from(BROKEN));
    }
    super::say(&format!("{} rows are as they were written; the last is {good}\n", good.number));
    Ok(ExitCode::SUCCESS)
}
