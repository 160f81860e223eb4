//! Ways back and proofs by mail: the forgotten password, the proved address.
//!
//! Asking tells nobody anything: the same rows are written for somebody as for nobody, and the mail leaves later. A
//! link opens a page; only its button uses it up.

use futures_util::FutureExt;
use sea_orm::DbErr;

use super::Auth;
use super::first_start::context_of;
use super::pending;
use super::sign_up::SignUpRefusal;
use super::throttle::{self, Act, Bucket, Window};
use crate::mail::Letter;
use crate::oauth::Account;
use crate::platform::db::Tx;
use crate::platform::problem::{Failure, FieldError, RetryAfter};
use crate::platform::web::ClientInfo;
use crate::proofs::{Link, RESET_LASTS, Subject, VERIFY_LASTS};
use crate::sessions::{Caller, OneTimeToken, Purpose};
use crate::users::store::{held, user};
use crate::users::{ChangeRefusal, Identifier, Origin, Password};

crate::refusals! {
    /// Why no link is sent.
    pub enum AskRefusal {
        Foreign = 403 "forbidden" "This request was sent by another site.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        TooOften(RetryAfter) = 429 "rate_limited" "Too many links were asked for from your address. Please wait before the next.",
        Unavailable(RetryAfter) = 503 "unavailable" "The server can't do this right now. Please try again in a moment.",
    }
}

crate::refusals! {
    /// Why a link does not give a new password.
    pub enum ResetRefusal {
        Invalid = 401 "token_invalid" "This link is not valid, or no longer. Ask for another one.",
        Foreign = 403 "forbidden" "This request was sent by another site.",
        Fields(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        Busy(RetryAfter) = 503 "unavailable" "The server is busy. Please try again in a moment.",
    }
}

crate::refusals! {
    /// Why a link does not prove an address.
    pub enum VerifyRefusal {
        Invalid = 401 "token_invalid" "This link is not valid, or no longer. Ask for another one.",
        Foreign = 403 "forbidden" "This request was sent by another site.",
        UsernameTaken = 409 "username_taken" "The user name was taken meanwhile. Please sign up again with another one.",
        EmailTaken = 409 "email_taken" "This e-mail address belongs to another account.",
    }
}

impl From<SignUpRefusal> for VerifyRefusal {
    fn from(refusal: SignUpRefusal) -> Self {
        match refusal {
            SignUpRefusal::UsernameTaken => Self::UsernameTaken,
            SignUpRefusal::EmailTaken => Self::EmailTaken,
            _ => Self::Invalid,
        }
    }
}

impl From<ChangeRefusal> for VerifyRefusal {
    fn from(refusal: ChangeRefusal) -> Self {
        match refusal {
            ChangeRefusal::EmailTaken => Self::EmailTaken,
            _ => Self::Invalid,
        }
    }
}

impl From<ChangeRefusal> for ResetRefusal {
    fn from(_: ChangeRefusal) -> Self {
        Self::Invalid
    }
}

impl Auth {
    /// Mails the owner of an account a link to a new password. Nothing about the account changes. `device`: the cookie of
    /// one that was signed in before.
    pub async fn forgot(
        &self,
        identifier: &Identifier,
        client: ClientInfo,
        device: Option<&str>,
    ) -> Result<(), Failure<AskRefusal>> {
        let found = self.users.signing_in(identifier).await?;
        let found = found.filter(|found| !found.deleted).map(|found| found.user);
        let known =
            found.as_ref().and_then(|user| self.device_of(user, device)).map(|device| device.device_id);
        self.mail_reset(found, identifier, known, client).await
    }

    /// The same for somebody who is signed in.
    pub async fn ask_for_reset(
        &self,
        caller: &Caller,
        client: ClientInfo,
    ) -> Result<(), Failure<AskRefusal>> {
        let Some(user) = self.users.by_id(caller.user_id).await? else { return Ok(()) };
        let identifier = Identifier::parse(&user.username);
        self.mail_reset(Some(user), &identifier, Some(caller.session_id), client).await
    }

    /// `known`: the device or the session by which whoever asks is known to be at home in the account. What strangers ask
    /// for in its name does not keep them from theirs.
    async fn mail_reset(
        &self,
        found: Option<user::Model>,
        identifier: &Identifier,
        known: Option<uuid::Uuid>,
        client: ClientInfo,
    ) -> Result<(), Failure<AskRefusal>> {
        if !self.mail.is_on() {
            return Ok(());
        }
        let asked = match (&found, known) {
            (Some(user), Some(known)) => {
                self.secrets.mac("links of a device", &[user.id.as_bytes(), known.as_bytes()])
            }
            (Some(user), None) => self.secrets.mac("links of an account", &[user.id.as_bytes()]),
            (None, _) => self.secrets.mac("links of nobody", &[identifier.canonical().as_bytes()]),
        };
        let reachable = found.filter(|user| user.is_active && user.email.is_some());
        let auth = self.clone();
        self.db
            .write(move |tx| {
                async move {
                    let within = auth.count_ask_in(tx, &asked, &client).await?;
                    auth.mail_reset_in(tx, reachable.filter(|_| within), known.is_some(), &client).await?;
                    Ok(())
                }
                .boxed()
            })
            .await
    }

    async fn mail_reset_in(
        &self,
        tx: &Tx,
        user: Option<user::Model>,
        is_known: bool,
        client: &ClientInfo,
    ) -> Result<(), DbErr> {
        let Some((user, address)) = user.and_then(|user| user.email.clone().map(|email| (user, email)))
        else {
            return self.pretend_in(tx, Purpose::Reset).await;
        };
        let link = self.proofs.issue_in(tx, Purpose::Reset, Subject::User(&user), &address, None).await?;
        let letter = Letter::Reset {
            username: user.username.clone(),
            token: link.token.text(),
            minutes: RESET_LASTS.as_secs() / 60,
        };
        let until = self.clock.now().after(RESET_LASTS);
        let post = self.post_to(&user, address, letter, Some(until), client);
        let sent = if is_known {
            self.mail.post_to_known_in(tx, post).await?
        } else {
            self.mail.post_in(tx, post).await?
        };
        self.proofs.settle_in(tx, &link, sent.is_some()).await
    }

    /// The work of a link and its letter, for nobody.
    async fn pretend_in(&self, tx: &Tx, purpose: Purpose) -> Result<(), DbErr> {
        let link = self.proofs.issue_in(tx, purpose, Subject::Nobody, "", None).await?;
        self.mail.pretend_in(tx).await?;
        self.proofs.settle_in(tx, &link, true).await
    }

    /// Sets a new password by a mailed link. Every session ends and nobody is signed in; the second factor stays. Where
    /// the address was not proved before, whoever linked accounts elsewhere need not be its owner: those are unlinked.
    pub async fn reset(
        &self,
        token: &str,
        new: &Password,
        client: ClientInfo,
    ) -> Result<(), Failure<ResetRefusal>> {
        let token = OneTimeToken::parse(token).map_err(|_| ResetRefusal::Invalid)?;
        // Nobody without a link makes us hash. Whether it still binds is decided where it is used.
        let owner = self.owner_of(Purpose::Reset, &token).await?.ok_or(ResetRefusal::Invalid)?;
        let faults = self.passwords.judge(new, context_of(&owner), "new_password").await?;
        if !faults.is_empty() {
            return Err(ResetRefusal::Fields(faults).into());
        }
        let hash = self.passwords.hash(new).await;
        let hash = hash.map_err(|busy| ResetRefusal::Busy(RetryAfter(busy.retry_after_seconds)))?;
        let auth = self.clone();
        let (user, unlinked) = self
            .db
            .write(move |tx| async move { auth.reset_in(tx, &token, hash, &client).await }.boxed())
            .await?;
        tracing::info!(user_id = %user.id, "a password was set by a mailed link");
        for account in unlinked {
            self.oauth.revoke_later(account);
        }
        Ok(())
    }

    async fn reset_in(
        &self,
        tx: &Tx,
        token: &OneTimeToken,
        hash: String,
        client: &ClientInfo,
    ) -> Result<(user::Model, Vec<Account>), Failure<ResetRefusal>> {
        self.hold_owner_in(tx, Purpose::Reset, token).await?;
        let link = self.proofs.consume_in(tx, Purpose::Reset, token).await?.ok_or(ResetRefusal::Invalid)?;
        let user = self.bound_in(tx, &link).await?.ok_or(ResetRefusal::Invalid)?;
        if user.email.as_deref() != Some(link.email.as_str()) {
            return Err(ResetRefusal::Invalid.into());
        }
        let origin = Origin::of_oneself(user.id, None, client);
        throttle::forgive(tx, &Bucket::Account(user.id), self.clock.now()).await?;
        self.users
            .set_password_in(tx, user.id, hash, None, &origin)
            .await
            .map_err(Failure::within::<ResetRefusal>)?;
        let unlinked = if user.email_verified {
            Vec::new()
        } else {
            self.unlink_all_in(tx, &user, &origin, client).await?
        };
        // Who has the link has the address.
        let proved = self.users.prove_email_in(tx, user.id, &link.email, None, &origin).await;
        let user = proved.map_err(Failure::within::<ResetRefusal>)?;
        let letter = Letter::PasswordChanged { username: user.username.clone() };
        self.tell_in(tx, &user, letter, client).await?;
        Ok((user, unlinked))
    }

    /// Takes every account elsewhere away from one here, which is held, and writes of each.
    async fn unlink_all_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        origin: &Origin,
        client: &ClientInfo,
    ) -> Result<Vec<Account>, DbErr> {
        let unlinked = self.oauth.unlink_all_in(tx, user, origin).await?;
        for account in &unlinked {
            let (username, provider) = (user.username.clone(), self.oauth.shown_name(&account.provider));
            self.tell_in(tx, user, Letter::AccountUnlinked { username, provider }, client).await?;
        }
        Ok(unlinked)
    }

    /// Mails a link that proves an address: of a sign-up that waits, or of an account whose address is not proved.
    pub async fn ask_for_verification(
        &self,
        email: &crate::users::Email,
        client: ClientInfo,
    ) -> Result<(), Failure<AskRefusal>> {
        if !self.mail.is_on() {
            return Ok(());
        }
        let asked = self.secrets.mac("links to prove", &[email.as_str().as_bytes()]);
        let owner = self.users.by_email(email).await?;
        let waiting = pending::by_email(self.db.reader(), email.as_str(), self.clock.now()).await?;
        let (auth, email) = (self.clone(), email.clone());
        self.db
            .write(move |tx| {
                async move {
                    let within = auth.count_ask_in(tx, &asked, &client).await?;
                    match (owner, waiting) {
                        (Some(owner), _) if within && !owner.email_verified && owner.is_active => {
                            // To the address that was named, whichever other one waits for its proof.
                            let address = email.as_str().to_owned();
                            auth.mail_proof_of_account_in(tx, &owner, address, None, &client).await?;
                        }
                        (None, Some(waiting)) if within => auth.mail_proof_in(tx, &waiting, &client).await?,
                        _ => auth.pretend_in(tx, Purpose::Verify).await?,
                    }
                    Ok(())
                }
                .boxed()
            })
            .await
    }

    /// The same for the caller: the address that waits for its proof, or else the present one.
    pub async fn ask_for_own_verification(
        &self,
        caller: &Caller,
        client: ClientInfo,
    ) -> Result<(), Failure<AskRefusal>> {
        if !self.mail.is_on() {
            return Ok(());
        }
        let asked = self.secrets.mac("links to prove", &[caller.user_id.as_bytes()]);
        let (auth, caller) = (self.clone(), caller.clone());
        self.db
            .write(move |tx| {
                async move {
                    let within = auth.count_ask_in(tx, &asked, &client).await?;
                    let Some(user) = held(tx, caller.user_id).await? else { return Ok(()) };
                    let present = user.email.clone().filter(|_| !user.email_verified);
                    if let Some(address) = user.pending_email.clone().or(present).filter(|_| within) {
                        let session = Some(caller.session_id);
                        auth.mail_proof_of_account_in(tx, &user, address, session, &client).await?;
                    }
                    Ok(())
                }
                .boxed()
            })
            .await
    }

    async fn mail_proof_of_account_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        address: String,
        session: Option<uuid::Uuid>,
        client: &ClientInfo,
    ) -> Result<(), DbErr> {
        let owner = crate::users::store::by_email(tx, &address).await?.filter(|owner| owner.id != user.id);
        let link = self.proofs.issue_in(tx, Purpose::Verify, Subject::User(user), &address, session).await?;
        let until = Some(self.clock.now().after(VERIFY_LASTS));
        let post = if let Some(owner) = owner {
            // The address was somebody's all along, or became so: they learn of it, and whoever asked does not.
            let letter = Letter::SignUpAttempt { username: owner.username.clone() };
            self.post_to(&owner, address, letter, until, client)
        } else {
            let (username, hours) = (user.username.clone(), VERIFY_LASTS.as_secs() / 3600);
            let letter = Letter::Verification { username, token: link.token.text(), hours };
            self.post_to(user, address, letter, until, client)
        };
        let sent = self.mail.post_in(tx, post).await?;
        self.proofs.settle_in(tx, &link, sent.is_some()).await
    }

    /// Proves an address by a mailed link: the sign-up becomes an account, or the account's address the new one.
    pub async fn verify(
        &self,
        token: &str,
        client: ClientInfo,
    ) -> Result<user::Model, Failure<VerifyRefusal>> {
        let token = OneTimeToken::parse(token).map_err(|_| VerifyRefusal::Invalid)?;
        let auth = self.clone();
        let user =
            self.db.write(move |tx| async move { auth.verify_in(tx, &token, &client).await }.boxed()).await?;
        tracing::info!(user_id = %user.id, "an e-mail address was proved");
        Ok(user)
    }

    async fn verify_in(
        &self,
        tx: &Tx,
        token: &OneTimeToken,
        client: &ClientInfo,
    ) -> Result<user::Model, Failure<VerifyRefusal>> {
        if let Some(email) = self.proofs.sign_up_email_in(tx, token).await? {
            // Several sign-ups may wait for one address: whoever comes second waits here, holding nothing.
            pending::hold_all(tx, &email).await?;
        } else {
            self.hold_owner_in(tx, Purpose::Verify, token).await?;
        }
        let link = self.proofs.consume_in(tx, Purpose::Verify, token).await?.ok_or(VerifyRefusal::Invalid)?;
        if let Some(sign_up) = link.sign_up_id {
            let row = pending::take(tx, sign_up, self.clock.now()).await?.ok_or(VerifyRefusal::Invalid)?;
            return self.prove_sign_up_in(tx, row, client).await.map_err(Failure::within);
        }
        let user = self.bound_in(tx, &link).await?.ok_or(VerifyRefusal::Invalid)?;
        let origin = Origin::of_oneself(user.id, link.session_id, client);
        let old = user.email.clone();
        let proved = self.users.prove_email_in(tx, user.id, &link.email, link.session_id, &origin).await;
        let proved = proved.map_err(Failure::within::<VerifyRefusal>)?;
        pending::forget_of_email(tx, &link.email).await?;
        if let Some(old) = old.filter(|old| *old != link.email) {
            // A link that went to the old address must not work again should that one come back.
            self.proofs.forget_in(tx, Purpose::Reset, proved.id).await?;
            let letter =
                Letter::EmailChanged { username: proved.username.clone(), new_address: link.email.clone() };
            let post = self.post_to(&proved, old, letter, None, client);
            self.mail.post_in(tx, post).await?;
        }
        Ok(proved)
    }

    async fn owner_of(&self, purpose: Purpose, token: &OneTimeToken) -> Result<Option<user::Model>, DbErr> {
        match self.proofs.owner(purpose, token).await? {
            Some(owner) => self.users.by_id(owner).await,
            None => Ok(None),
        }
    }

    async fn hold_owner_in(&self, tx: &Tx, purpose: Purpose, token: &OneTimeToken) -> Result<(), DbErr> {
        if let Some(owner) = self.proofs.owner_in(tx, purpose, token).await? {
            held(tx, owner).await?;
        }
        Ok(())
    }

    /// The account of a link, held, if it is as it was when the link was sent.
    async fn bound_in(&self, tx: &Tx, link: &Link) -> Result<Option<user::Model>, DbErr> {
        let Some(id) = link.user_id else { return Ok(None) };
        Ok(held(tx, id).await?.filter(|user| link.binds(user)))
    }

    /// Counts a question for a link. The client is told when it asks too often; for whom too much was asked is told
    /// nobody: whether there is room.
    async fn count_ask_in(
        &self,
        tx: &Tx,
        asked: &[u8; 32],
        client: &ClientInfo,
    ) -> Result<bool, Failure<AskRefusal>> {
        let now = self.clock.now();
        let windows = self.windows(Act::Forgot, client);
        throttle::enter_all(tx, &windows, now).await?.map_err(AskRefusal::TooOften)?;
        Ok(throttle::enter(tx, &Window::links(asked), now).await?.is_ok())
    }
}
