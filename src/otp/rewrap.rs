//! Seeds under a new master secret.

use futures_util::FutureExt;
use sea_orm::DbErr;
use uuid::Uuid;

use super::Otp;
use super::authenticator::SeedBytes;
use super::store;

/// Accounts looked at in one step.
const STEP: u64 = 500;

impl Otp {
    /// Whether a known master secret opens the seed of a user.
    #[must_use]
    pub fn opens(&self, user: Uuid, sealed: &[u8]) -> bool {
        SeedBytes::open(&self.secrets, user, sealed).is_ok()
    }

    /// Seals every seed anew under the present master secret; returns how many were not. Seeds that wait for their
    /// first code are left as they are: they wait ten minutes at most.
    pub async fn rewrap_seeds(&self) -> anyhow::Result<u64> {
        let (mut after, mut number) = (Uuid::nil(), 0);
        loop {
            let sealed = store::sealed_seeds(self.db.reader(), after, STEP).await?;
            let Some((last, _)) = sealed.last() else { return Ok(number) };
            after = *last;
            let mut anew = Vec::new();
            for (user, old) in sealed.into_iter().filter(|(_, old)| !self.secrets.is_current(old)) {
                let seed = SeedBytes::open(&self.secrets, user, &old)?;
                anew.push((user, old, seed.seal(&self.secrets, &self.random, user)));
            }
            number += self
                .db
                .write::<_, DbErr, _>(move |tx| {
                    async move {
                        let mut changed = 0;
                        for (user, old, new) in anew {
                            changed += store::reseal(tx, user, old, new).await?;
                        }
                        Ok(changed)
                    }
                    .boxed()
                })
                .await?;
        }
    }
}
