//! Signing keys in the database: made at the first start, rotated on demand, sealed under the master secret.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr};
use zeroize::Zeroizing;

use super::jws::Algorithm;
use super::keys::{KeyRing, SigningKey};
use super::{Sessions, store};
use crate::platform::clock::{Clock, Timestamp};
use crate::platform::db::{Database, Tx};
use crate::platform::random::Random;
use crate::platform::secrets::Secrets;

/// What the seal of a private key is for.
const PURPOSE: &str = "signing key";
/// Keys are looked for at most so often on account of unknown ones.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A retired key verifies this much longer than the tokens it signed live, for clocks that differ.
const OVERLAP: Duration = Duration::from_mins(5);

/// The ring of the stored keys; makes the first key of `algorithm` where there is none.
pub(super) async fn ring(
    db: &Database,
    clock: &Clock,
    random: &Random,
    secrets: &Secrets,
    algorithm: Algorithm,
) -> anyhow::Result<KeyRing> {
    let now = clock.now();
    if let Some(ring) = stored_ring(db.reader(), secrets, algorithm, now).await? {
        return Ok(ring);
    }
    let key = SigningKey::generate(algorithm, random, now)?;
    let row = row(&key, random, secrets);
    // Whoever comes first makes the key; the others find it.
    db.write::<_, KeyBreakage, _>(move |tx| add_first(tx, row, algorithm).boxed())
        .await
        .map_err(|error| error.0)?;
    let ring = stored_ring(db.reader(), secrets, algorithm, now).await?;
    ring.ok_or_else(|| anyhow::anyhow!("the signing key that was just stored is not there"))
}

/// Why a write about keys failed: whatever broke.
struct KeyBreakage(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for KeyBreakage {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

async fn add_first(tx: &Tx, row: store::signing_key::Model, algorithm: Algorithm) -> Result<(), KeyBreakage> {
    store::lock_signing_keys(tx).await?;
    let present = store::signing_keys(tx).await?;
    let signs =
        |key: &store::signing_key::Model| key.algorithm == algorithm.name() && key.retires_at.is_none();
    if !present.iter().any(signs) {
        store::insert_signing_key(tx, row).await?;
    }
    Ok(())
}

async fn stored_ring(
    db: &impl ConnectionTrait,
    secrets: &Secrets,
    algorithm: Algorithm,
    now: Timestamp,
) -> anyhow::Result<Option<KeyRing>> {
    let rows = store::signing_keys(db).await?;
    let in_use = rows.iter().filter(|row| row.retires_at.is_none_or(|moment| moment > now.millis()));
    let mut current = None;
    let mut earlier = Vec::new();
    for row in in_use {
        let key = key(row, secrets)?;
        if current.is_none() && key.algorithm() == algorithm && row.retires_at.is_none() {
            current = Some(key);
        } else {
            earlier.push(key);
        }
    }
    Ok(current.map(|key| KeyRing::new(key, earlier)))
}

/// What the seal is bound to: a sealed key can't be passed off under another name or algorithm.
fn context(kid: &str, algorithm: &str) -> Vec<u8> {
    format!("{kid} {algorithm}").into_bytes()
}

fn key(row: &store::signing_key::Model, secrets: &Secrets) -> anyhow::Result<SigningKey> {
    let algorithm = row.algorithm.parse()?;
    let stored = secrets.open(PURPOSE, &context(&row.kid, &row.algorithm), &row.sealed_private_key).map_err(|_| {
        anyhow::anyhow!(
            "a signing key can't be opened: JWT_SECRET_KEY has changed; name the old one in JWT_SECRET_KEY_PREVIOUS"
        )
    })?;
    let created_at = Timestamp::from_millis(row.created_at);
    Ok(SigningKey::from_stored(row.kid.clone(), algorithm, stored, created_at)?)
}

fn row(key: &SigningKey, random: &Random, secrets: &Secrets) -> store::signing_key::Model {
    store::signing_key::Model {
        kid: key.kid().to_owned(),
        algorithm: key.algorithm().name().to_owned(),
        sealed_private_key: secrets.seal(
            random,
            PURPOSE,
            &context(key.kid(), key.algorithm().name()),
            key.stored(),
        ),
        created_at: key.created_at().millis(),
        retires_at: None,
    }
}

/// What becomes of the keys before a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// They verify until the last token that they signed is over.
    Gradual,
    /// They verify nothing any more: somebody may have them.
    AtOnce,
}

impl Sessions {
    /// Makes a new key that signs from now on, and retires the ones before it.
    pub async fn rotate_keys(&self, retirement: Retirement) -> anyhow::Result<String> {
        let now = self.clock.now();
        let algorithm = self.settings.algorithm;
        let key = SigningKey::generate(algorithm, &self.random, now)?;
        let kid = key.kid().to_owned();
        let row = row(&key, &self.random, &self.secrets);
        // Whoever has one of them may have those of another algorithm, too.
        let (of, retires_at) = match retirement {
            Retirement::Gradual => {
                (Some(algorithm.name()), now.after(self.settings.access_lifetime + OVERLAP))
            }
            Retirement::AtOnce => (None, now),
        };
        self.db
            .write::<_, KeyBreakage, _>(move |tx| replace(tx, row, of, retires_at).boxed())
            .await
            .map_err(|failure| failure.0)?;
        self.reload_keys().await?;
        Ok(kid)
    }

    /// Reads the keys again: another instance or the command line may have rotated them.
    pub async fn reload_keys(&self) -> anyhow::Result<()> {
        let (reader, algorithm) = (self.db.reader(), self.settings.algorithm);
        let ring = stored_ring(reader, &self.secrets, algorithm, self.clock.now()).await?;
        if let Some(ring) = ring.filter(|ring| !ring.has_keys_of(&self.ring.load())) {
            self.ring.store(Arc::new(ring));
            // A remembered token of a key that is gone must not outlive it.
            self.verified.invalidate_all();
        }
        Ok(())
    }

    /// Reads the keys again for a token whose key is not known: another instance may have made it a moment ago. At most
    /// once a second, so that made-up key ids cost next to nothing; who comes meanwhile waits for the result.
    pub(super) async fn look_for_new_keys(&self) -> Result<(), DbErr> {
        let mut looked_at = self.looked_for_keys.lock().await;
        if looked_at.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return Ok(());
        }
        *looked_at = Some(Instant::now());
        match self.reload_keys().await.map_err(anyhow::Error::downcast::<DbErr>) {
            Ok(()) => {}
            Err(Ok(error)) => return Err(error),
            Err(Err(error)) => tracing::warn!(%error, "the signing keys could not be read again"),
        }
        Ok(())
    }

    /// Seals every key anew under the present master secret; returns how many were not.
    pub async fn rewrap_keys(&self) -> anyhow::Result<usize> {
        let rows = store::signing_keys(self.db.reader()).await?;
        let mut stale = Vec::new();
        for row in rows.iter().filter(|row| !self.secrets.is_current(&row.sealed_private_key)) {
            let key = key(row, &self.secrets)?;
            let stored = Zeroizing::new(key.stored().to_vec());
            let sealed =
                self.secrets.seal(&self.random, PURPOSE, &context(&row.kid, &row.algorithm), &stored);
            stale.push((row.kid.clone(), sealed));
        }
        let number = stale.len();
        self.db
            .write::<_, KeyBreakage, _>(move |tx| {
                async move {
                    for (kid, sealed) in stale {
                        store::reseal_signing_key(tx, &kid, sealed).await?;
                    }
                    Ok(())
                }
                .boxed()
            })
            .await
            .map_err(|failure| failure.0)?;
        Ok(number)
    }
}

async fn replace(
    tx: &Tx,
    row: store::signing_key::Model,
    of: Option<&str>,
    retires_at: Timestamp,
) -> Result<(), KeyBreakage> {
    store::lock_signing_keys(tx).await?;
    store::retire_signing_keys(tx, of, retires_at).await?;
    store::insert_signing_key(tx, row).await?;
    Ok(())
}
