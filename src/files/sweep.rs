//! Takes away what crashes and purges have left: uploads that were never finished, and bytes without a row.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use sea_orm::DbErr;
use uuid::Uuid;

use super::bring::PORTION;
use super::storage::StorageFault;
use super::{Files, store};
use crate::platform::clock::Timestamp;
use crate::platform::db::{Lease, Tx};

/// No upload, and no act behind it, takes as long as this, however slow the client and however wrong its server's clock: what
/// is younger may still get its row.
const AGE: Duration = Duration::from_hours(24);
/// Looking at every blob takes its time where there are millions.
const EVERY: Duration = Duration::from_hours(1);
/// How long whoever sweeps, or brings bytes whose rows come later, is believed to live without a word.
const HOLD: Duration = Duration::from_mins(2);
/// How often, and how many times, the end of a sweep is waited for: longer than for one that has died.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSES: u32 = 300;

/// Nobody sweeps for as long as this is held: bytes may come before their rows.
#[derive(Clone)]
pub struct Quiet(Lease);

impl Quiet {
    /// Whether nobody else can have swept since it began, nor will before this transaction ends. Whoever adds rows for bytes
    /// that came before them asks, and adds none if somebody can.
    pub async fn holds(&self, tx: &Tx) -> Result<bool, DbErr> {
        self.0.renew_in(tx).await
    }
}

/// Why nobody could be kept from sweeping.
#[derive(Debug, thiserror::Error)]
pub enum Unquiet {
    /// Somebody sweeps, or keeps others from it.
    #[error("a server sweeps its files, or somebody else imports or restores; please try again later")]
    Busy,
    /// The database did not answer.
    #[error(transparent)]
    Database(#[from] DbErr),
}

impl Files {
    /// Removes unfinished uploads and bytes without a row, if they are old enough.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        let now = self.clock.now();
        let before = now.before(AGE);
        if let Err(error) = self.sweep_unfinished(before).await {
            tracing::warn!(%error, "unfinished uploads could not be swept; it is tried again");
        }
        let last = Timestamp::from_millis(self.swept_at.load(Ordering::Relaxed));
        if now.is_soon_after(last, EVERY) {
            return Ok(());
        }
        match self.sweep_blobs(before).await {
            Ok(removed) => {
                self.swept_at.store(now.millis(), Ordering::Relaxed);
                if removed > 0 {
                    tracing::info!(removed, "removed the bytes of files that are gone");
                }
                Ok(())
            }
            Err(Unswept::Database(error)) => Err(error),
            Err(Unswept::Storage(error)) => {
                tracing::warn!(%error, "the storage of files could not be swept; it is tried again");
                Ok(())
            }
        }
    }

    async fn sweep_unfinished(&self, before: Timestamp) -> Result<(), StorageFault> {
        for blob in self.storage.unfinished().await? {
            if is_older(blob, before) {
                self.storage.give_up(blob).await?;
            }
        }
        Ok(())
    }

    /// Held by whoever sweeps, and by whoever brings the bytes of another database: their names tell of a time long ago,
    /// and their rows come last.
    fn sweeping(&self) -> Lease {
        Lease::new(self.db.clone(), "file sweep", self.random.uuid_v7(self.clock.now()), HOLD)
    }

    /// Waits until nobody sweeps, and keeps everybody from it until the work is done. Who stands still for too long may
    /// lose it: that is for the work to ask.
    pub async fn without_sweeping<F: Future>(
        &self,
        work: impl FnOnce(Quiet) -> F,
    ) -> Result<F::Output, Unquiet> {
        let lease = self.sweeping();
        for _ in 0..PAUSES {
            if lease.take().await? {
                let done = holding(&lease, work(Quiet(lease.clone()))).await;
                // What is done is done.
                if let Err(error) = lease.give_back().await {
                    tracing::warn!(%error, "the lease of sweeping was not given back; it runs out by itself");
                }
                return Ok(done);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Unquiet::Busy)
    }

    async fn sweep_blobs(&self, before: Timestamp) -> Result<usize, Unswept> {
        let lease = self.sweeping();
        if !lease.take().await? {
            return Ok(0);
        }
        let swept = tokio::select! {
            swept = self.sweep_blobs_alone(&lease, before) => swept,
            () = lease.lost() => {
                tracing::warn!("somebody else may sweep files by now, or restore: it ends here");
                Ok(0)
            }
        };
        lease.give_back().await?;
        swept
    }

    async fn sweep_blobs_alone(&self, lease: &Lease, before: Timestamp) -> Result<usize, Unswept> {
        if !self.is_ours().await? {
            tracing::warn!(
                storage = self.storage.words(),
                "the storage of files belongs to another database: nothing is swept there"
            );
            return Ok(0);
        }
        let (mut portions, mut removed) = (self.storage.blobs().await?, 0);
        while let Some(portion) = portions.next().await {
            let old: Vec<Uuid> = portion?.into_iter().filter(|blob| is_older(*blob, before)).collect();
            for some in old.chunks(PORTION) {
                let rowless = self.without_rows(some).await?;
                if rowless.is_empty() {
                    continue;
                }
                // A process may stand still for minutes, and somebody bring bytes whose rows come last meanwhile. So they
                // are looked for again while nobody does, and it is asked whether it has stayed so.
                let held = lease.renew().await?;
                let rowless = self.without_rows(&rowless).await?;
                if !held || !lease.renew().await? {
                    tracing::warn!("somebody else sweeps files by now, or restores: it ends here");
                    return Ok(removed);
                }
                for blob in rowless {
                    self.storage.remove(blob).await?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Which of these bytes have no row.
    pub(super) async fn without_rows(&self, blobs: &[Uuid]) -> Result<Vec<Uuid>, DbErr> {
        let kept = store::with_blobs(self.db.reader(), blobs).await?;
        Ok(blobs.iter().copied().filter(|blob| !kept.contains(blob)).collect())
    }

    /// Whether the storage is this database's. The first to sweep it makes it its own: another database, whose rows know
    /// nothing of these files, must not take them for rubbish.
    async fn is_ours(&self) -> Result<bool, Unswept> {
        let fresh = self.random.uuid_v7(self.clock.now());
        let ours = self.db.write::<_, DbErr, _>(move |tx| store::storage_id(tx, fresh).boxed()).await?;
        if let Some(owner) = self.storage.owner().await? {
            return Ok(owner == ours);
        }
        self.storage.claim(ours).await?;
        // Another database may have come at the same moment: what stands there now decides.
        Ok(self.storage.owner().await? == Some(ours))
    }
}

/// Does the work, and says meanwhile that it goes on.
async fn holding<T>(lease: &Lease, work: impl Future<Output = T>) -> T {
    let renewing = async {
        loop {
            lease.lost().await;
            tracing::warn!("somebody else may sweep files by now; if somebody does, no rows are added");
        }
    };
    tokio::select! {
        done = work => done,
        never = renewing => never,
    }
}

/// A blob's name begins with the time of its upload (RFC 9562, 5.7).
fn is_older(blob: Uuid, before: Timestamp) -> bool {
    let made = blob.get_timestamp().map(|made| made.to_unix());
    made.is_some_and(|(seconds, _)| i64::try_from(seconds).is_ok_and(|seconds| seconds < before.seconds()))
}

#[derive(Debug, thiserror::Error)]
enum Unswept {
    #[error(transparent)]
    Database(#[from] DbErr),
    #[error(transparent)]
    Storage(#[from] StorageFault),
}
