//! Secrets under a new master secret.

use super::Webhooks;
use super::secret::SigningSecret;
use crate::platform::rewrap::SealedColumn;

/// The one before stands last: a secret that is replaced meanwhile is found there.
const SECRETS: [SealedColumn; 2] = [
    SealedColumn { table: "webhooks", id: "id", column: "sealed_secret" },
    SealedColumn { table: "webhooks", id: "id", column: "sealed_previous" },
];

impl Webhooks {
    /// Seals every secret anew under the present master secret; returns how many were not.
    pub async fn rewrap_secrets(&self) -> anyhow::Result<u64> {
        let (secrets, random) = (&self.0.secrets, &self.0.random);
        let mut number = 0;
        for column in SECRETS {
            let anew = column.rewrap(&self.0.db, secrets, |webhook, old| {
                Ok(SigningSecret::open(secrets, webhook, old)?.seal(secrets, random, webhook))
            });
            number += anew.await?;
        }
        Ok(number)
    }
}
