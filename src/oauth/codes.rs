//! The one-time code that the application trades for tokens: no token is ever in an address.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sea_orm::DbErr;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::Oauth;
use super::joining::Joining;
use super::places::Place;
use super::store::{self, code};
use crate::platform::db::Tx;
use crate::platform::secrets::digest;
use crate::sessions::{OneTimeToken, OpaqueToken, Purpose};
use crate::users::store::{held, user};

/// How long a code may be traded.
pub const CODE_LASTS: Duration = Duration::from_mins(1);

/// What a code is bound to (RFC 7636, S256): 43 letters of base64url.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeChallenge(String);

impl CodeChallenge {
    /// Reads one: exactly the text of a SHA-256.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digest = text.len() == 43 && URL_SAFE_NO_PAD.decode(text).is_ok();
        is_digest.then(|| Self(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `verifier` is what it was made of.
    #[must_use]
    pub fn is_of(&self, verifier: &str) -> bool {
        // RFC 7636, 4.1
        let is_verifier = (43..=128).contains(&verifier.len())
            && verifier.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        let made = URL_SAFE_NO_PAD.encode(digest(verifier.as_bytes()));
        is_verifier && bool::from(made.as_bytes().ct_eq(self.0.as_bytes()))
    }
}

/// A code that somebody shows.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The code.
    pub code: String,
    /// Where it was given.
    pub place: String,
    /// What its challenge was made of.
    pub verifier: Option<String>,
}

/// Whose a code is.
#[derive(Debug)]
pub struct Traded {
    /// The account.
    pub user_id: Uuid,
    /// As the account had it when the code was given.
    pub token_version: i64,
    /// What joins the account once everything is proved.
    pub joining: Option<Joining>,
}

impl Oauth {
    /// A code for somebody who may sign in.
    pub async fn code_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        place: &Place,
        code_challenge: Option<&CodeChallenge>,
        joining: Option<&Joining>,
    ) -> anyhow::Result<OpaqueToken> {
        let (token, now) = (OneTimeToken::new(&self.random), self.clock.now());
        let digest = token.digest(Purpose::OauthCode);
        let row = code::Model {
            sealed_joining: joining.map(|joining| self.seal_joining(&digest, joining)).transpose()?,
            digest: digest.to_vec(),
            user_id: user.id,
            token_version: user.token_version,
            place: place.as_str().to_owned(),
            code_challenge: code_challenge.map(|challenge| challenge.as_str().to_owned()),
            created_at: now.millis(),
            expires_at: now.after(CODE_LASTS).millis(),
        };
        store::insert_code(tx, row).await?;
        Ok(token.text())
    }

    /// Uses a code up, and holds whose it is; none if it is not good for whoever shows it. Commit either.
    pub async fn trade_in(&self, tx: &Tx, shown: &Shown) -> anyhow::Result<Option<Traded>> {
        let Ok(token) = OneTimeToken::parse(&shown.code) else { return Ok(None) };
        let digest = token.digest(Purpose::OauthCode);
        let Some(owner) = store::owner_of_code(tx, &digest).await? else { return Ok(None) };
        // Whoever ends the sessions of an account holds it and takes its codes: in the same order here.
        held(tx, owner).await?;
        let Some(row) = store::take_code(tx, &digest).await? else { return Ok(None) };
        if row.expires_at <= self.clock.now().millis() || !is_shown_rightly(&row, shown) {
            return Ok(None);
        }
        let joining = row.sealed_joining.as_deref().map(|sealed| self.open_joining(&digest, sealed));
        Ok(Some(Traded {
            user_id: row.user_id,
            token_version: row.token_version,
            joining: joining.transpose()?,
        }))
    }

    /// Forgets transactions and codes whose time is over, in small steps.
    pub async fn sweep(&self) -> Result<(), DbErr> {
        use futures_util::FutureExt;
        let now = self.clock.now();
        self.db.write_in_steps(move |tx, most| store::forget_expired(tx, now, most).boxed()).await
    }
}

/// At the place where it was given, by whoever asked for it.
fn is_shown_rightly(row: &code::Model, shown: &Shown) -> bool {
    let same_place = match Place::kept(&shown.place) {
        Some(place) => place.as_str() == row.place,
        None => false,
    };
    let same_client = match (row.code_challenge.as_deref(), shown.verifier.as_deref()) {
        (None, None) => true,
        (Some(challenge), Some(verifier)) => {
            CodeChallenge::parse(challenge).is_some_and(|challenge| challenge.is_of(verifier))
        }
        // A verifier where there was no challenge: somebody took the challenge out (RFC 9700, 2.1.1).
        _ => false,
    };
    same_place && same_client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_met_by_its_verifier_only() {
        // RFC 7636, appendix B.
        let challenge = CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM").unwrap();
        assert!(challenge.is_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        for other in ["", "x", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl", challenge.as_str()] {
            assert!(!challenge.is_of(other), "{other}");
        }
    }

    #[test]
    fn only_the_text_of_a_digest_is_a_challenge() {
        for bad in [
            "",
            "x",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM=",
        ] {
            assert_eq!(CodeChallenge::parse(bad), None, "{bad}");
        }
    }
}
