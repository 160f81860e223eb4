//! What people are written when their account changes, and the address that waits for its proof.

use sea_orm::DbErr;
use uuid::Uuid;

use super::Profiles;
use crate::mail::{Languages, Letter, Occasion, Post};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::platform::web::ClientInfo;
use crate::proofs::{Subject, VERIFY_LASTS};
use crate::sessions::Purpose;
use crate::users::Changes;
use crate::users::store::{self, user};

impl Profiles {
    /// Where mail is on, a new address counts only once it is proved; unless an admin vouches for it.
    pub(super) fn to_be_proved(&self, changes: Changes, user: &user::Model) -> Changes {
        let vouched = changes.email_verified == Some(true);
        if !self.mail.is_on() || vouched {
            return changes;
        }
        match changes.email {
            Some(Some(email)) => {
                let is_present = user.email.as_deref() == Some(email.as_str());
                Changes { email: None, pending_email: Some((!is_present).then_some(email)), ..changes }
            }
            email => Changes { email, ..changes },
        }
    }

    /// Writes about a change of the address: a link to the new one, a notice to the old one.
    pub(super) async fn tell_of_address_in(
        &self,
        tx: &Tx,
        before: &user::Model,
        now: &user::Model,
        session: Uuid,
        client: &ClientInfo,
    ) -> Result<(), DbErr> {
        if let Some(address) = now.pending_email.clone().filter(|_| now.pending_email != before.pending_email)
        {
            self.ask_for_proof_in(tx, now, address, session, client).await?;
        }
        if let Some(old) = before.email.clone().filter(|_| now.email != before.email) {
            self.proofs.forget_in(tx, Purpose::Reset, now.id).await?;
            let new_address = now.email.clone().unwrap_or_default();
            let letter = Letter::EmailChanged { username: now.username.clone(), new_address };
            self.write_in(tx, now, old, letter, None, client).await?;
        }
        Ok(())
    }

    /// Mails the link; to the owner of a taken address, that somebody tried. Whoever asked can't tell.
    async fn ask_for_proof_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        address: String,
        session: Uuid,
        client: &ClientInfo,
    ) -> Result<(), DbErr> {
        let owner = store::by_email(tx, &address).await?;
        let link =
            self.proofs.issue_in(tx, Purpose::Verify, Subject::User(user), &address, Some(session)).await?;
        let until = Some(self.clock.now().after(VERIFY_LASTS));
        let is_sent = if let Some(owner) = owner {
            let letter = Letter::SignUpAttempt { username: owner.username.clone() };
            self.write_in(tx, &owner, address, letter, until, client).await?
        } else {
            let (username, hours) = (user.username.clone(), VERIFY_LASTS.as_secs() / 3600);
            let letter = Letter::Verification { username, token: link.token.text(), hours };
            self.write_in(tx, user, address, letter, until, client).await?
        };
        self.proofs.settle_in(tx, &link, is_sent).await
    }

    /// Writes that an account was deleted, and until when that can be taken back.
    pub(super) async fn tell_of_deletion_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        until: Option<Timestamp>,
        client: &ClientInfo,
    ) -> Result<(), DbErr> {
        let Some(address) = user.email.clone() else { return Ok(()) };
        let letter = Letter::AccountDeleted { username: user.username.clone(), until };
        self.write_in(tx, user, address, letter, None, client).await.map(|_| ())
    }

    /// Whether it goes: an address is sent so much and no more.
    async fn write_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        to: String,
        letter: Letter,
        good_until: Option<Timestamp>,
        client: &ClientInfo,
    ) -> Result<bool, DbErr> {
        let languages =
            Languages { locale: user.locale.clone(), accept_language: client.accept_language.clone() };
        let occasion = Occasion::of(client, self.clock.now());
        let post = Post { to, user_id: Some(user.id), languages, letter, good_until, occasion };
        Ok(self.mail.post_in(tx, post).await?.is_some())
    }
}
