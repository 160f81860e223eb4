//! The acts: issue, look at, consume.

use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::DbErr;
use uuid::Uuid;

use super::{Proofs, RESET_LASTS, VERIFY_LASTS, store};
use crate::platform::db::Tx;
use crate::sessions::{OneTimeToken, Purpose};
use crate::users::store::user;

/// For whom a link is issued.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// An account.
    User(&'a user::Model),
    /// A sign-up that waits for its address to be proved.
    SignUp(Uuid),
    /// Nobody: the same work, for a link that nobody will ever have.
    Nobody,
}

/// A link that was used.
#[derive(Clone, Debug)]
pub struct Link {
    /// The account that it was sent for.
    pub user_id: Option<Uuid>,
    /// The sign-up that it was sent for.
    pub sign_up_id: Option<Uuid>,
    /// The session that asked for it.
    pub session_id: Option<Uuid>,
    /// The address that it was sent to.
    pub email: String,
    /// The account's as it was sent.
    pub(super) token_version: i64,
    /// The account's as it was sent.
    pub(super) password_changed_at: i64,
}

impl Link {
    /// Whether the account is as it was when the link was sent: no ban, deletion, other role or password since.
    #[must_use]
    pub fn binds(&self, user: &user::Model) -> bool {
        self.user_id == Some(user.id)
            && user.is_active
            && user.deleted_at.is_none()
            && self.token_version == user.token_version
            && self.password_changed_at == user.password_changed_at.unwrap_or_default()
    }
}

/// A link that was issued, and whose letter is not on its way yet.
pub struct Issued {
    /// What the letter has to show.
    pub token: OneTimeToken,
    purpose: Purpose,
    link: Link,
}

impl Proofs {
    /// Issues a link. To be followed by [`Proofs::settle_in`] once it is known whether its letter goes.
    pub async fn issue_in(
        &self,
        tx: &Tx,
        purpose: Purpose,
        subject: Subject<'_>,
        email: &str,
        session_id: Option<Uuid>,
    ) -> Result<Issued, DbErr> {
        let now = self.clock.now();
        let token = OneTimeToken::new(&self.random);
        let (user, sign_up_id) = match subject {
            Subject::User(user) => (Some(user), None),
            Subject::SignUp(id) => (None, Some(id)),
            Subject::Nobody => (None, None),
        };
        let link = Link {
            user_id: user.map(|user| user.id),
            sign_up_id,
            session_id,
            email: email.to_owned(),
            token_version: user.map_or(0, |user| user.token_version),
            password_changed_at: user.and_then(|user| user.password_changed_at).unwrap_or_default(),
        };
        store::insert(tx, &token.digest(purpose), purpose, &link, now, now.after(lifetime(purpose))).await?;
        Ok(Issued { token, purpose, link })
    }

    /// Where the letter goes, the links of the same purpose that its owner was sent before stop working; with
    /// [`Purpose::Verify`], those for the same address. Where it doesn't, this one does, and they stay as they were: strangers
    /// may use up what an address may be sent, and must not void what lies in its mailbox.
    pub async fn settle_in(&self, tx: &Tx, issued: &Issued, is_sent: bool) -> Result<(), DbErr> {
        let digest = issued.token.digest(issued.purpose);
        if is_sent {
            store::forget_before(tx, &digest, issued.purpose, &issued.link).await
        } else {
            store::forget_one(tx, &digest).await
        }
    }

    /// The account that a link was sent for; only [`Proofs::consume_in`] decides whether it works.
    pub async fn owner(&self, purpose: Purpose, token: &OneTimeToken) -> Result<Option<Uuid>, DbErr> {
        store::owner(self.db.reader(), &token.digest(purpose), purpose, self.clock.now()).await
    }

    /// The same in a transaction, to hold the account before its link is used up: that is the order of whoever voids links.
    pub async fn owner_in(
        &self,
        tx: &Tx,
        purpose: Purpose,
        token: &OneTimeToken,
    ) -> Result<Option<Uuid>, DbErr> {
        store::owner(tx, &token.digest(purpose), purpose, self.clock.now()).await
    }

    /// The address of the sign-up that a verification link was sent for, if it was for one.
    pub async fn sign_up_email_in(&self, tx: &Tx, token: &OneTimeToken) -> Result<Option<String>, DbErr> {
        store::sign_up_email(tx, &token.digest(Purpose::Verify)).await
    }

    /// Uses a link up: something for exactly one of any number of tries.
    pub async fn consume_in(
        &self,
        tx: &Tx,
        purpose: Purpose,
        token: &OneTimeToken,
    ) -> Result<Option<Link>, DbErr> {
        store::consume(tx, &token.digest(purpose), purpose, self.clock.now()).await
    }

    /// Ends the links of this purpose that an account was sent: for what is no part of what they are bound to.
    pub async fn forget_in(&self, tx: &Tx, purpose: Purpose, user: Uuid) -> Result<(), DbErr> {
        store::forget_of_user(tx, purpose, user).await
    }

    pub(super) async fn forget_expired(&self) -> Result<(), DbErr> {
        let now = self.clock.now();
        self.db.write_in_steps(move |tx, most| store::forget(tx, now, most).boxed()).await
    }
}

const fn lifetime(purpose: Purpose) -> Duration {
    match purpose {
        Purpose::Verify => VERIFY_LASTS,
        _ => RESET_LASTS,
    }
}
