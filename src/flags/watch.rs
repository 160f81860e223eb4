//! Flags that change while the program runs: an edited file, a version that another instance made.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::RecommendedWatcher;
use sea_orm::DbErr;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{Flags, store};
use crate::platform::listening::listen;

/// How often file and database are looked at: network file systems tell of nothing, and other instances neither.
const EVERY: Duration = Duration::from_millis(500);

/// For how long the file must hold still before it is used: an editor may be in the middle of writing.
const STILL: Duration = Duration::from_millis(100);

impl Flags {
    /// Puts in force what was edited in the file or changed by another instance. Never ends; may be dropped at any time.
    pub async fn watch(self) {
        let changed = Arc::new(Notify::new());
        let mut ear = None;
        loop {
            // The file that is listened to may be gone, and another be in its place.
            ear = ear.or_else(|| ear_on(&self.0.settings.file, &changed));
            self.catch_up().await;
            tokio::select! {
                () = changed.notified() => ear = None,
                () = sleep(EVERY) => {}
            }
        }
    }

    /// Looks once. What is still changing is left for the next look.
    pub async fn catch_up(&self) {
        let mut known = self.0.known.lock().await;
        let reading = self.read_file().await;
        if reading != known.reading {
            sleep(STILL).await;
            if self.read_file().await == reading {
                self.take(&mut known, reading).await;
            }
        }
        match self.newer().await {
            Ok(Some(version)) => self.put_in_force(&mut known, version).await,
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "looking for flags of other instances failed"),
        }
    }

    async fn newer(&self) -> Result<Option<super::Version>, DbErr> {
        let number = self.in_force().number;
        store::newer_than(self.0.parts.ground.db.reader(), number).await
    }
}

/// Its folder is not listened to: the database may lie there, and is written all the time.
fn ear_on(file: &Path, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let ear = listen(file, changed);
    ear.inspect_err(|error| tracing::trace!(%error, "the file of flags is looked at every now and then")).ok()
}
