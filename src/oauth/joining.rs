//! An account elsewhere on its way into one of ours: who it is, and what its provider gave us for it.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::connection::Identity;
use super::grants::Kept;
use super::{Oauth, store};
use crate::platform::db::Tx;
use crate::sessions::{OneTimeToken, Purpose};
use crate::users::{Email, fits_name};

/// What a joining account is sealed for; it opens only beside the code or challenge that it waits with.
const PURPOSE: &str = "joining account";
/// Longest texts of a provider that are kept, in characters.
const LONGEST: usize = 255;

/// Who somebody is elsewhere, as we keep it: everything cut and cleaned. It is bound to provider and subject, so that no
/// other account there can take its place (Keycloak CVE-2026-9087). While it waits it is sealed, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Joining {
    /// The provider.
    pub provider: String,
    /// Who they are there.
    pub subject: String,
    /// Their user name there.
    pub username: Option<String>,
    /// Their shown name there.
    pub display_name: Option<String>,
    /// Their address there, if the provider says that it is theirs; in our normal form.
    pub email: Option<String>,
    /// Their language.
    pub locale: Option<String>,
    /// Where their picture is.
    pub picture_url: Option<String>,
    /// What the provider gave us.
    pub(super) grant: Option<Kept>,
}

impl Joining {
    /// What counts of an identity. An address that its provider does not vouch for is none, and so is one that is no
    /// address. Nobody is called nothing.
    #[must_use]
    pub fn of(provider: &str, identity: Identity) -> Option<Self> {
        let is_somebody = (1..=LONGEST).contains(&identity.subject.len());
        let email = identity.email.filter(|_| identity.email_verified);
        let email = email.and_then(|email| Email::parse(&email).ok());
        let picture = identity.picture_url.filter(|url| url.scheme() == "https" || url.scheme() == "http");
        is_somebody.then(|| Self {
            provider: provider.to_owned(),
            subject: identity.subject,
            username: identity.username.as_deref().and_then(cleaned),
            display_name: identity.display_name.as_deref().and_then(cleaned),
            email: email.map(|email| email.as_str().to_owned()),
            locale: identity.locale.filter(|locale| locale.len() <= LONGEST),
            picture_url: picture.map(String::from).filter(|url| url.len() <= 2048),
            grant: identity.grant.as_ref().map(Kept::of),
        })
    }
}

impl Oauth {
    pub(super) fn seal_joining(&self, beside: &[u8], joining: &Joining) -> anyhow::Result<Vec<u8>> {
        let text = Zeroizing::new(serde_json::to_vec(joining)?);
        Ok(self.secrets.seal(&self.random, PURPOSE, beside, &text))
    }

    pub(super) fn open_joining(&self, beside: &[u8], sealed: &[u8]) -> anyhow::Result<Joining> {
        let text = self.secrets.open(PURPOSE, beside, sealed)?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Lets an account wait until the challenge of its owner is answered.
    pub async fn wait_in(&self, tx: &Tx, challenge: &OneTimeToken, joining: &Joining) -> anyhow::Result<()> {
        let digest = challenge.digest(Purpose::OtpChallenge);
        let sealed = self.seal_joining(&digest, joining)?;
        Ok(store::insert_joining(tx, &digest, sealed).await?)
    }

    /// What waits for this challenge to be answered. It goes with the challenge.
    pub async fn waiting_in(&self, tx: &Tx, challenge: &OneTimeToken) -> anyhow::Result<Option<Joining>> {
        let digest = challenge.digest(Purpose::OtpChallenge);
        let sealed = store::joining(tx, &digest).await?;
        sealed.map(|sealed| self.open_joining(&digest, &sealed)).transpose()
    }
}

/// A provider's words, fit to be shown: no control or formatting characters, cut, and none at all if nothing is left.
fn cleaned(words: &str) -> Option<String> {
    let shown: String = words.chars().filter(|char| fits_name(*char)).take(LONGEST).collect();
    let shown = shown.trim();
    (!shown.is_empty()).then(|| shown.to_owned())
}
