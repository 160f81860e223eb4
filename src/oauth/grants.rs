//! What providers gave us for somebody: kept to be revoked there one day, sealed, told nobody.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use super::connection::{Connection, Grant, ProviderFault};
use super::store::external_account;
use super::{Oauth, PATIENCE};
use crate::platform::clock::Timestamp;
use crate::platform::rewrap::SealedColumn;

/// What grants are sealed for; they open only in the row of their account.
const PURPOSE: &str = "grant of external_accounts";
/// A token that ends so soon is traded for a new one before it is used.
const SOON: Duration = Duration::from_secs(30);
/// Where they are.
const GRANTS: SealedColumn = SealedColumn { table: "external_accounts", id: "id", column: "sealed_grant" };

/// A grant as it is sealed: JSON. It can't be printed and is wiped from memory when dropped.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    access_token: String,
    refresh_token: Option<String>,
    expires_at: Option<i64>,
    private: Option<String>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.access_token.zeroize();
        self.refresh_token.zeroize();
        self.private.zeroize();
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Kept(…)")
    }
}

impl Kept {
    pub(super) fn of(grant: &Grant) -> Self {
        let text = |secret: &SecretString| secret.expose_secret().to_owned();
        Self {
            access_token: text(&grant.access_token),
            refresh_token: grant.refresh_token.as_ref().map(text),
            expires_at: grant.expires_at.map(Timestamp::millis),
            private: grant.private.as_ref().map(text),
        }
    }
}

impl From<Kept> for Grant {
    fn from(kept: Kept) -> Self {
        let secret = |text: &String| SecretString::from(text.clone());
        Self {
            access_token: secret(&kept.access_token),
            refresh_token: kept.refresh_token.as_ref().map(secret),
            expires_at: kept.expires_at.map(Timestamp::from_millis),
            private: kept.private.as_ref().map(secret),
        }
    }
}

impl Oauth {
    pub(super) fn seal_grant(&self, account: Uuid, grant: &Kept) -> anyhow::Result<Vec<u8>> {
        let text = Zeroizing::new(serde_json::to_vec(grant)?);
        Ok(self.secrets.seal(&self.random, PURPOSE, account.as_bytes(), &text))
    }

    fn open_grant(&self, account: Uuid, sealed: &[u8]) -> anyhow::Result<Grant> {
        let text = self.secrets.open(PURPOSE, account.as_bytes(), sealed)?;
        Ok(serde_json::from_slice::<Kept>(&text)?.into())
    }

    /// Takes back at the provider what it gave us for an account that is no longer linked. Nobody waits for it, and the
    /// account is unlinked whatever comes of it.
    pub fn revoke_later(&self, account: external_account::Model) {
        let Some(connection) = self.connections.named(&account.provider).cloned() else { return };
        let oauth = self.clone();
        self.tasks.spawn(async move {
            let provider = account.provider.clone();
            let revoked = tokio::time::timeout(PATIENCE, oauth.revoke(&connection, &account)).await;
            match revoked {
                Ok(Ok(())) => tracing::info!(provider, "a grant was revoked at its provider"),
                Ok(Err(error)) => {
                    tracing::warn!(
                        provider,
                        error = format!("{error:#}"),
                        "a grant could not be revoked at its provider"
                    );
                }
                Err(_elapsed) => tracing::warn!(provider, "a provider took too long to revoke a grant"),
            }
        });
    }

    async fn revoke(&self, connection: &Connection, account: &external_account::Model) -> anyhow::Result<()> {
        let Some(sealed) = &account.sealed_grant else { return Ok(()) };
        let mut grant = self.open_grant(account.id, sealed)?;
        let is_over =
            grant.expires_at.is_some_and(|end| end.millis() <= self.clock.now().after(SOON).millis());
        if is_over && grant.refresh_token.is_some() {
            // Nothing is kept of the new one: it is about to end.
            grant = connection.refresh(&grant).await.map_err(told)?;
        }
        connection.revoke(&grant).await.map_err(told)
    }

    /// Whether a known master secret opens what a provider gave us for an account there.
    #[must_use]
    pub fn opens(&self, account: Uuid, sealed: &[u8]) -> bool {
        self.open_grant(account, sealed).is_ok()
    }

    /// Seals every grant anew under the present master secret; returns how many were not.
    pub async fn rewrap_grants(&self) -> anyhow::Result<u64> {
        let anew = GRANTS.rewrap(&self.db, &self.secrets, |account, old| {
            let text = self.secrets.open(PURPOSE, account.as_bytes(), old)?;
            Ok(self.secrets.seal(&self.random, PURPOSE, account.as_bytes(), &text))
        });
        anew.await
    }
}

/// A fault in words for the log: never what the provider wrote.
fn told(fault: ProviderFault) -> anyhow::Error {
    anyhow::anyhow!("{fault:?}")
}
