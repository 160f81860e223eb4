//! Leaving for a provider and coming back: one transaction on our side, bound to the browser, used up once.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use sea_orm::DbErr;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Oauth;
use super::codes::CodeChallenge;
use super::connection::{Begin, Connection, Finish, Identity, ProviderFault};
use super::places::Place;
use super::store::{self, transaction};
use crate::platform::clock::Timestamp;
use crate::platform::problem::{Failure, FieldError, RetryAfter};
use crate::platform::secrets::digest;
use crate::sessions::{OneTimeToken, OpaqueToken, Purpose};

/// How long somebody may stay at a provider.
pub const TRANSACTION_LASTS: Duration = Duration::from_mins(10);
/// What the private part of a transaction is sealed for; it opens only in its row.
const PURPOSE: &str = "oauth_transactions";

crate::refusals! {
    /// Why somebody does not get to a provider.
    pub enum BeginRefusal {
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be." oauth "invalid_request",
        Unavailable(RetryAfter) = 503 "unavailable" "The provider can't be reached right now. Please try again in a moment." oauth "temporarily_unavailable",
    }
}

/// What somebody leaves for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// To sign in, or up.
    SignIn,
    /// To link the account there to the one that they are signed in to.
    Link,
    /// To prove again who they are.
    Reauthenticate,
}

impl Intent {
    /// Its name in the database: never rename.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::Link => "link",
            Self::Reauthenticate => "reauthenticate",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::SignIn, Self::Link, Self::Reauthenticate].into_iter().find(|intent| intent.name() == name)
    }
}

/// Who leaves, where they are signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The account.
    pub user_id: Uuid,
    /// The session.
    pub session_id: Uuid,
}

/// Somebody who is about to leave.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// For what.
    pub intent: Intent,
    /// Who, unless it is to sign in.
    pub owner: Option<Owner>,
    /// Where they go on afterwards.
    pub place: Place,
    /// What the one-time code is to be bound to (RFC 7636).
    pub code_challenge: Option<CodeChallenge>,
    /// Who they are there, where that must be known beforehand.
    pub handle: Option<String>,
}

/// Somebody who leaves.
#[derive(Debug)]
pub struct Left {
    /// Where to.
    pub authorization_url: Url,
    /// What their browser must show when it comes back.
    pub cookie: OpaqueToken,
}

/// Somebody who is back. The transaction is used up.
pub struct Transaction {
    /// What they left for.
    pub intent: Intent,
    /// Who left, unless it was to sign in.
    pub owner: Option<Owner>,
    /// Where they go on.
    pub place: Place,
    /// What the one-time code is to be bound to.
    pub code_challenge: Option<CodeChallenge>,
    began: Timestamp,
    private: Private,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Transaction({:?}, …)", self.intent)
    }
}

/// What of a transaction nobody but us may know.
#[derive(Serialize, Deserialize)]
struct Private {
    nonce: String,
    verifier: String,
    provider: Option<String>,
}

/// What the browser brings back from a provider.
#[derive(Clone, Debug, Default)]
pub struct Brought<'a> {
    /// `code`.
    pub code: Option<&'a str>,
    /// `iss` (RFC 9207).
    pub iss: Option<&'a str>,
}

impl Oauth {
    /// Opens a transaction, and says where to go.
    pub async fn leave(
        &self,
        connection: &Connection,
        leaving: Leaving,
    ) -> Result<Left, Failure<BeginRefusal>> {
        let [state, nonce, verifier, cookie] = std::array::from_fn(|_| OneTimeToken::new(&self.random));
        let [state_text, nonce, verifier] = [&state, &nonce, &verifier].map(OneTimeToken::text);
        let challenge = URL_SAFE_NO_PAD.encode(digest(verifier.expose().as_bytes()));
        let redirect_uri = self.callback_of(connection.name());
        let beginning = connection.begin(Begin {
            state: state_text.expose(),
            nonce: nonce.expose(),
            challenge: &challenge,
            redirect_uri: &redirect_uri,
            handle: leaving.handle.as_deref(),
            is_proof: leaving.intent == Intent::Reauthenticate,
        });
        let begun = beginning.await.map_err(|fault| BeginRefusal::of(fault, connection.name()))?;
        let private = Private {
            nonce: nonce.expose().to_owned(),
            verifier: verifier.expose().to_owned(),
            provider: begun.private.as_ref().map(|private| private.expose_secret().to_owned()),
        };
        let row = self.row_of(connection.name(), leaving, (&state, &cookie), &private)?;
        self.db
            .write::<_, DbErr, _>(move |tx| async move { store::insert_transaction(tx, row).await }.boxed())
            .await?;
        Ok(Left { authorization_url: begun.authorization_url, cookie: cookie.text() })
    }

    fn row_of(
        &self,
        provider: &str,
        leaving: Leaving,
        (state, cookie): (&OneTimeToken, &OneTimeToken),
        private: &Private,
    ) -> anyhow::Result<transaction::Model> {
        let now = self.clock.now();
        let state_digest = state.digest(Purpose::OauthState);
        let text = Zeroizing::new(serde_json::to_vec(private)?);
        Ok(transaction::Model {
            sealed: self.secrets.seal(&self.random, PURPOSE, &state_digest, &text),
            state_digest: state_digest.to_vec(),
            cookie_digest: cookie.digest(Purpose::OauthCookie).to_vec(),
            provider: provider.to_owned(),
            intent: leaving.intent.name().to_owned(),
            user_id: leaving.owner.map(|owner| owner.user_id),
            session_id: leaving.owner.map(|owner| owner.session_id),
            place: leaving.place.as_str().to_owned(),
            code_challenge: leaving.code_challenge.map(|challenge| challenge.as_str().to_owned()),
            created_at: now.millis(),
            expires_at: now.after(TRANSACTION_LASTS).millis(),
        })
    }

    /// Uses up the transaction that somebody comes back with; none if it is not theirs, not this provider's, over, or
    /// used. Nothing is asked of the provider before.
    pub async fn take(
        &self,
        provider: &str,
        state: &str,
        cookie: &str,
    ) -> anyhow::Result<Option<Transaction>> {
        let (Ok(state), Ok(cookie)) = (OneTimeToken::parse(state), OneTimeToken::parse(cookie)) else {
            return Ok(None);
        };
        let (state, cookie) = (state.digest(Purpose::OauthState), cookie.digest(Purpose::OauthCookie));
        let (provider, now) = (provider.to_owned(), self.clock.now());
        let taken = self.db.write::<_, DbErr, _>(move |tx| {
            async move { store::take_transaction(tx, &state, &cookie, &provider, now).await }.boxed()
        });
        taken.await?.map(|row| self.read(&row)).transpose()
    }

    fn read(&self, row: &transaction::Model) -> anyhow::Result<Transaction> {
        let text = self.secrets.open(PURPOSE, &row.state_digest, &row.sealed)?;
        let owner = row.user_id.zip(row.session_id);
        let unreadable = || anyhow::anyhow!("a transaction that can't be read");
        Ok(Transaction {
            intent: Intent::named(&row.intent).ok_or_else(unreadable)?,
            owner: owner.map(|(user_id, session_id)| Owner { user_id, session_id }),
            place: Place::kept(&row.place).ok_or_else(unreadable)?,
            code_challenge: row.code_challenge.as_deref().and_then(CodeChallenge::parse),
            began: Timestamp::from_millis(row.created_at),
            private: serde_json::from_slice(&text)?,
        })
    }

    /// Asks the provider who came back.
    pub async fn identify(
        &self,
        connection: &Connection,
        transaction: &Transaction,
        brought: &Brought<'_>,
    ) -> Result<Identity, ProviderFault> {
        if connection.announces_iss() && brought.iss.is_none() {
            return Err(ProviderFault::Odd("iss is missing"));
        }
        let code =
            brought.code.filter(|code| !code.is_empty()).ok_or(ProviderFault::Odd("code is missing"))?;
        let redirect_uri = self.callback_of(connection.name());
        let verifier = SecretString::from(transaction.private.verifier.as_str());
        let private = transaction.private.provider.as_deref().map(SecretString::from);
        let finish = Finish {
            code,
            iss: brought.iss,
            nonce: &transaction.private.nonce,
            verifier: &verifier,
            redirect_uri: &redirect_uri,
            private: private.as_ref(),
            since: (transaction.intent == Intent::Reauthenticate).then_some(transaction.began),
        };
        connection.finish(finish).await
    }

    /// Where a provider sends people back to: one address for each, so that none can pass for another.
    fn callback_of(&self, provider: &str) -> String {
        format!("{}/oauth/{provider}/callback", self.settings.api_url)
    }
}

impl BeginRefusal {
    fn of(fault: ProviderFault, provider: &str) -> Self {
        tracing::warn!(provider, %fault, "nobody could be sent to a provider");
        match fault {
            // Before anybody has left, all that a provider can refuse is who they say they are.
            ProviderFault::Refused => {
                Self::Invalid(vec![FieldError::new("handle", "Nobody is known by this handle.")])
            }
            ProviderFault::Unavailable | ProviderFault::Odd(_) => Self::Unavailable(RetryAfter(5)),
        }
    }
}
