//! Secrets under a new master secret.

use futures_util::FutureExt;
use sea_orm::DbErr;

use super::secret::SigningSecret;
use super::{Webhooks, store};

impl Webhooks {
    /// Seals every secret anew under the present master secret; returns how many were not.
    pub async fn rewrap_secrets(&self) -> anyhow::Result<u64> {
        let mut anew = Vec::new();
        for webhook in store::all(self.0.db.reader()).await? {
            let both = [Some(webhook.sealed_secret), webhook.sealed_previous];
            for old in both.into_iter().flatten().filter(|old| !self.0.secrets.is_current(old)) {
                let secret = SigningSecret::open(&self.0.secrets, webhook.id, &old)?;
                anew.push((webhook.id, old, secret.seal(&self.0.secrets, &self.0.random, webhook.id)));
            }
        }
        let written = self.0.db.write::<_, DbErr, _>(move |tx| {
            async move {
                let mut changed = 0;
                for (webhook, old, new) in anew {
                    changed += store::reseal(tx, webhook, old, new).await?;
                }
                Ok(changed)
            }
            .boxed()
        });
        Ok(written.await?)
    }
}
