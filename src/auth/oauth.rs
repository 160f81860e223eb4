//! Coming in by way of another provider, and what people do about their accounts there.
//!
//! The transaction is used up before the provider is asked anything, and what the provider says is acted on in one
//! transaction of ours: there is no account without its link, no link without its letter, and nothing of either where
//! somebody was faster.

use std::sync::Arc;

use futures_util::FutureExt;

use super::Auth;
use super::admission::{Admission, Arrival, EnterRefusal, Entered};
use super::door::Demand;
use super::pending;
use crate::flags::REGISTER;
use crate::mail::Letter;
use crate::oauth::{
    BeginRefusal, Brought, CodeChallenge, Connection, Intent, Joining, Leaving, Left, Owner, Place,
    ProviderFault, Recognised, Shown, Transaction, Trouble, UnlinkRefusal,
};
use crate::otp::Method;
use crate::platform::db::Tx;
use crate::platform::problem::{Failure, FieldError, RetryAfter};
use crate::platform::web::ClientInfo;
use crate::sessions::{Caller, Ending, Kind, OpaqueToken};
use crate::users::store::{held, user};
use crate::users::{DeleteRefusal, Origin};

/// How a sign-in at another provider is named (RFC 8176 has no word for it; this is what others use).
const AMR: &str = "fed";
/// So often it is looked again when somebody else was faster.
const TRIES: usize = 4;

crate::refusals! {
    /// Why a code gives no tokens.
    pub enum CodeRefusal {
        Invalid = 401 "token_invalid" "This code is not valid, or no longer, or was given to somebody else." oauth "invalid_grant",
        OtpRequired(Demand) = 401 "otp_required" "The provider knows you. Now show the second factor: POST /auth/OTP.",
        Foreign = 403 "forbidden" "This request was sent by another site." oauth "access_denied",
        Inactive(String) = 403 "user_inactive" "The account may not be used." oauth "invalid_grant",
        UsernameTaken = 409 "username_taken" "The account was deleted, and its user name was taken since. Ask an admin." oauth "invalid_grant",
        EmailTaken = 409 "email_taken" "The account was deleted, and its e-mail address was taken since. Ask an admin." oauth "invalid_grant",
        Unlinkable = 409 "conflict" "The account of the other provider can't be linked any more." oauth "invalid_grant",
        Malformed(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be." oauth "unsupported_grant_type",
    }
}

crate::refusals! {
    /// Why nobody is sent to a provider to sign in.
    pub enum LeaveToSignInRefusal {
        NotFound = 404 "not_found" "There is no such provider, or it is not configured." oauth "invalid_request",
    }
    and Begin(BeginRefusal)
}

crate::refusals! {
    /// Why nobody is sent to a provider to link an account there.
    pub enum LeaveToLinkRefusal {
        Unproved = 401 "reauthentication_required" "Please prove again who you are: POST /auth/reauthenticate." oauth "access_denied",
        NotFound = 404 "not_found" "There is no such provider, or it is not configured." oauth "invalid_request",
        Own = 409 "conflict" "An account at this provider is linked to yours already." oauth "invalid_request",
    }
    and Begin(BeginRefusal)
}

crate::refusals! {
    /// Why nobody is sent to a provider to prove again who they are.
    pub enum LeaveToProveRefusal {
        OtpRequired = 401 "otp_required" "The account has a second factor: send its code, too." oauth "access_denied",
        WrongCode = 401 "invalid_otp" "The code is wrong, has expired or was used before." oauth "access_denied",
        NotFound = 404 "not_found" "No account at such a provider is linked to yours." oauth "invalid_request",
        HasPassword = 409 "conflict" "Your account has a password: POST /auth/reauthenticate." oauth "invalid_request",
        TooOften(RetryAfter) = 429 "rate_limited" "Too many wrong codes. Please wait before the next.",
    }
    and Begin(BeginRefusal)
}

crate::refusals! {
    /// Why nothing is taken up yet that somebody left for: they may come back again.
    pub enum BackRefusal {
        Unavailable(RetryAfter) = 503 "unavailable" "The server can't do this right now. Please try again in a moment.",
    }
}

crate::refusals! {
    /// Why an account at a provider stays linked.
    pub enum LeaveRefusal {
        Unproved = 401 "reauthentication_required" "Please prove again who you are: POST /auth/reauthenticate, or POST /oauth/{provider}/reauthenticate." oauth "access_denied",
        LastAdmin = 409 "last_admin" "Nobody could administer any more: this is the last active admin." oauth "invalid_request",
    }
    and Unlink(UnlinkRefusal)
}

impl From<EnterRefusal> for CodeRefusal {
    fn from(refusal: EnterRefusal) -> Self {
        match refusal {
            EnterRefusal::UsernameTaken => Self::UsernameTaken,
            EnterRefusal::EmailTaken => Self::EmailTaken,
            EnterRefusal::Unlinkable => Self::Unlinkable,
            EnterRefusal::Gone => Self::Invalid,
        }
    }
}

impl From<EnterRefusal> for Trouble {
    fn from(refusal: EnterRefusal) -> Self {
        match refusal {
            EnterRefusal::UsernameTaken | EnterRefusal::EmailTaken => Self::Conflict,
            EnterRefusal::Unlinkable => Self::LinkRequired,
            EnterRefusal::Gone => Self::Inactive,
        }
    }
}

impl From<super::OtpRefusal> for LeaveToProveRefusal {
    fn from(refusal: super::OtpRefusal) -> Self {
        match refusal {
            super::OtpRefusal::TooOften(wait) => Self::TooOften(wait),
            _ => Self::WrongCode,
        }
    }
}

impl From<DeleteRefusal> for LeaveRefusal {
    fn from(refusal: DeleteRefusal) -> Self {
        match refusal {
            DeleteRefusal::LastAdmin => Self::LastAdmin,
            _ => Self::Unlink(UnlinkRefusal::NotFound),
        }
    }
}

/// Where somebody who left goes on afterwards, and what they say besides.
#[derive(Clone, Debug)]
pub struct Onward {
    /// The place.
    pub place: Place,
    /// What the one-time code is to be bound to.
    pub code_challenge: Option<CodeChallenge>,
    /// Who they are there, where that must be known beforehand.
    pub handle: Option<String>,
}

/// Somebody who is back from a provider.
#[derive(Clone, Debug)]
pub struct Back {
    /// The provider whose address they came to.
    pub provider: String,
    /// `state`.
    pub state: String,
    /// What their browser shows.
    pub cookie: String,
    /// `code`.
    pub code: Option<String>,
    /// `iss`.
    pub iss: Option<String>,
    /// Whether the provider says that it came to nothing; `access_denied` is told from all else.
    pub error: Option<String>,
    /// Who is signed in in the browser, by the cookie of our pages.
    pub signed_in: Option<Owner>,
    /// From where.
    pub client: ClientInfo,
    /// The cookie of a device that was signed in before.
    pub device: Option<String>,
}

/// Where they go on.
#[derive(Debug)]
pub enum GoesOn {
    /// Nowhere: nobody left so.
    Nowhere,
    /// To the application, with a code.
    WithCode(Place, OpaqueToken),
    /// To a page of ours, signed in or asked for the second factor.
    Admitted(Place, Admission),
    /// Back, what they left for done.
    Done(Place, Intent),
    /// Back, and it came to nothing.
    Troubled(Place, Intent, Trouble),
}

/// What came of it in the transaction.
enum Came {
    Code(OpaqueToken),
    Entered(Entered),
    Done,
}

impl Auth {
    /// Sends somebody to a provider to sign in, or up.
    pub async fn leave_to_sign_in(
        &self,
        connection: &Connection,
        onward: Onward,
    ) -> Result<Left, Failure<LeaveToSignInRefusal>> {
        self.leave(connection, Intent::SignIn, None, onward).await.map_err(Failure::within)
    }

    /// Sends the caller to a provider to link their account there.
    pub async fn leave_to_link(
        &self,
        caller: &Caller,
        connection: &Connection,
        onward: Onward,
    ) -> Result<Left, Failure<LeaveToLinkRefusal>> {
        caller.require_proof_or(self.clock.now(), LeaveToLinkRefusal::Unproved)?;
        if self.oauth.is_linked(self.db.reader(), caller.user_id, connection.name()).await? {
            return Err(LeaveToLinkRefusal::Own.into());
        }
        self.leave(connection, Intent::Link, Some(caller), onward).await.map_err(Failure::within)
    }

    /// Sends the caller, who has no password, to a provider to prove again who they are. The second factor, where they
    /// have one, is proved before.
    pub async fn leave_to_prove(
        &self,
        caller: &Caller,
        connection: &Connection,
        (onward, code): (Onward, Option<&str>),
        client: &ClientInfo,
    ) -> Result<Left, Failure<LeaveToProveRefusal>> {
        let user = self.users.by_id(caller.user_id).await?.ok_or(LeaveToProveRefusal::NotFound)?;
        if user.password_hash.is_some() {
            return Err(LeaveToProveRefusal::HasPassword.into());
        }
        if !self.oauth.is_linked(self.db.reader(), user.id, connection.name()).await? {
            return Err(LeaveToProveRefusal::NotFound.into());
        }
        if user.otp_method != Method::None && code.is_none() {
            return Err(LeaveToProveRefusal::OtpRequired.into());
        }
        let proves = self.proves_second_factor(&user, caller, code, client).await;
        if !proves.map_err(Failure::within::<LeaveToProveRefusal>)? {
            return Err(LeaveToProveRefusal::WrongCode.into());
        }
        self.leave(connection, Intent::Reauthenticate, Some(caller), onward).await.map_err(Failure::within)
    }

    async fn leave(
        &self,
        connection: &Connection,
        intent: Intent,
        caller: Option<&Caller>,
        onward: Onward,
    ) -> Result<Left, Failure<BeginRefusal>> {
        let owner = caller.map(|caller| Owner { user_id: caller.user_id, session_id: caller.session_id });
        let Onward { place, code_challenge, handle } = onward;
        self.oauth.leave(connection, Leaving { intent, owner, place, code_challenge, handle }).await
    }

    /// Takes up what somebody left for.
    pub async fn come_back(&self, back: Back) -> anyhow::Result<GoesOn> {
        let Some(connection) = self.oauth.connections().named(&back.provider).cloned() else {
            return Ok(GoesOn::Nowhere);
        };
        let taken = self.oauth.take(&back.provider, &back.state, &back.cookie).await?;
        let Some(transaction) = taken else {
            tracing::warn!(provider = back.provider, client_ip = %back.client.ip, "somebody came back who had not left");
            return Ok(GoesOn::Nowhere);
        };
        let (place, intent) = (transaction.place.clone(), transaction.intent);
        let came = match self.identify(&connection, &transaction, &back).await {
            Ok(joining) => self.take_up(transaction, joining, &back).await,
            Err(trouble) => Err(trouble.into()),
        };
        match came {
            Ok(Came::Code(code)) => Ok(GoesOn::WithCode(place, code)),
            Ok(Came::Entered(entered)) => {
                Ok(GoesOn::Admitted(place, self.admission(entered, &arrival_of(&back))))
            }
            Ok(Came::Done) => Ok(GoesOn::Done(place, intent)),
            Err(Failure::Refused(trouble)) => {
                tracing::info!(
                    provider = back.provider,
                    trouble = trouble.code(),
                    "a sign-in elsewhere came to nothing"
                );
                Ok(GoesOn::Troubled(place, intent, trouble))
            }
            Err(Failure::Broken(breakage)) => Ok(GoesOn::Troubled(place, intent, trouble_of(&breakage))),
        }
    }

    /// Who came back, as the provider tells.
    async fn identify(
        &self,
        connection: &Connection,
        transaction: &Transaction,
        back: &Back,
    ) -> Result<Joining, Trouble> {
        match back.error.as_deref() {
            Some("access_denied") => return Err(Trouble::Denied),
            Some("temporarily_unavailable" | "server_error") => return Err(Trouble::ProviderUnavailable),
            Some(_) => return Err(Trouble::ProviderRefused),
            None => {}
        }
        let brought = Brought { code: back.code.as_deref(), iss: back.iss.as_deref() };
        let identity = self.oauth.identify(connection, transaction, &brought).await.map_err(|fault| {
            tracing::warn!(provider = connection.name(), %fault, "a provider did not say who came back");
            match fault {
                ProviderFault::Unavailable => Trouble::ProviderUnavailable,
                ProviderFault::Refused | ProviderFault::Odd(_) => Trouble::ProviderRefused,
            }
        })?;
        Joining::of(connection.name(), identity).ok_or(Trouble::ProviderRefused)
    }

    /// Acts on it, and looks again where somebody else was faster.
    async fn take_up(
        &self,
        transaction: Transaction,
        joining: Joining,
        back: &Back,
    ) -> Result<Came, Failure<Trouble>> {
        let (transaction, joining) = (Arc::new(transaction), Arc::new(joining));
        for _ in 1..TRIES {
            match self.try_to_take_up(&transaction, &joining, back).await {
                Err(Failure::Refused(Trouble::Late)) => {}
                came => return came,
            }
        }
        self.try_to_take_up(&transaction, &joining, back).await
    }

    async fn try_to_take_up(
        &self,
        transaction: &Arc<Transaction>,
        joining: &Arc<Joining>,
        back: &Back,
    ) -> Result<Came, Failure<Trouble>> {
        let (auth, back) = (self.clone(), back.clone());
        let (transaction, joining) = (Arc::clone(transaction), Arc::clone(joining));
        self.db
            .write(move |tx| {
                async move {
                    match (transaction.intent, transaction.owner) {
                        (Intent::SignIn, _) => {
                            auth.sign_in_elsewhere_in(tx, &transaction, &joining, &back).await
                        }
                        (Intent::Link, Some(owner)) => auth.link_in(tx, owner, &joining, &back).await,
                        (Intent::Reauthenticate, Some(owner)) => {
                            auth.prove_in(tx, owner, &joining, &back).await
                        }
                        (Intent::Link | Intent::Reauthenticate, None) => Err(Trouble::SessionEnded.into()),
                    }
                }
                .boxed()
            })
            .await
    }

    async fn sign_in_elsewhere_in(
        &self,
        tx: &Tx,
        transaction: &Transaction,
        joining: &Joining,
        back: &Back,
    ) -> Result<Came, Failure<Trouble>> {
        let (user, joins) = match self.oauth.recognise_in(tx, joining).await? {
            Recognised::Linked(user) => {
                self.oauth.refresh_in(tx, joining).await?;
                (held(tx, user.id).await?.ok_or(Trouble::Late)?, None)
            }
            Recognised::Joins(user) => (*user, Some(joining.clone())),
            Recognised::New => (self.make_elsewhere_in(tx, joining, &back.client).await?, None),
            Recognised::Refused(trouble) => return Err(trouble.into()),
        };
        let place = &transaction.place;
        if let Place::App(_) = place {
            let challenge = transaction.code_challenge.as_ref();
            let code = self.oauth.code_in(tx, &user, place, challenge, joins.as_ref()).await?;
            return Ok(Came::Code(code));
        }
        let entered = self.admit_in(tx, user, (AMR, joins), &arrival_of(back)).await;
        Ok(Came::Entered(entered.map_err(Failure::within::<Trouble>)?))
    }

    async fn make_elsewhere_in(
        &self,
        tx: &Tx,
        joining: &Joining,
        client: &ClientInfo,
    ) -> Result<user::Model, Failure<Trouble>> {
        if !self.is_sign_up_open() {
            return Err(Trouble::SignUpClosed.into());
        }
        let user = self.oauth.make_in(tx, joining, client).await?;
        if let Some(email) = &user.email {
            // Whoever waits for a proof of this address did not have it.
            pending::forget_of_email(tx, email).await?;
        }
        tracing::info!(user_id = %user.id, provider = joining.provider, "signed up by another provider");
        Ok(user)
    }

    /// Whether somebody without an account may make one: by the settings, and by the flag of signing up as it is for
    /// nobody in particular.
    fn is_sign_up_open(&self) -> bool {
        let is_off = self.flags.are_enforced() && !self.flags.decide(REGISTER, None).on;
        self.settings.registration_enabled && !is_off
    }

    /// Nobody but who left comes back: in the same session, and, where that is a cookie's, in the same browser.
    async fn same_session_in(&self, tx: &Tx, owner: Owner, back: &Back) -> Result<(), Failure<Trouble>> {
        let kind = self.sessions.kind_of_living_in(tx, owner.user_id, owner.session_id).await?;
        let is_same = match (kind, back.signed_in) {
            (None, _) | (Some(Kind::Cookie), None) => false,
            (Some(Kind::Cookie), Some(present)) => present == owner,
            (Some(Kind::Token), present) => present.is_none_or(|present| present.user_id == owner.user_id),
        };
        if is_same { Ok(()) } else { Err(Trouble::SessionEnded.into()) }
    }

    async fn link_in(
        &self,
        tx: &Tx,
        owner: Owner,
        joining: &Joining,
        back: &Back,
    ) -> Result<Came, Failure<Trouble>> {
        let user = held(tx, owner.user_id).await?.filter(|user| user.is_active && user.deleted_at.is_none());
        let user = user.ok_or(Trouble::SessionEnded)?;
        self.same_session_in(tx, owner, back).await?;
        let origin = Origin::of_oneself(user.id, Some(owner.session_id), &back.client);
        self.oauth.link_in(tx, &user, joining, &origin).await.map_err(Failure::within::<Trouble>)?;
        self.tell_of_link_in(tx, &user, joining, &back.client).await?;
        Ok(Came::Done)
    }

    async fn prove_in(
        &self,
        tx: &Tx,
        owner: Owner,
        joining: &Joining,
        back: &Back,
    ) -> Result<Came, Failure<Trouble>> {
        self.same_session_in(tx, owner, back).await?;
        match self.oauth.recognise_in(tx, joining).await? {
            Recognised::Linked(user) if user.id == owner.user_id => {}
            _ => return Err(Trouble::NotYours.into()),
        }
        if !self.sessions.proved_in(tx, owner.user_id, owner.session_id).await? {
            return Err(Trouble::SessionEnded.into());
        }
        Ok(Came::Done)
    }

    /// Lets an account of another provider join the one that was signed in to with everything that it asks for.
    pub(super) async fn join_in(
        &self,
        tx: &Tx,
        user: user::Model,
        joining: &Joining,
        arrival: &Arrival,
    ) -> Result<user::Model, Failure<EnterRefusal>> {
        let origin = Origin::of_oneself(user.id, None, &arrival.client);
        let joined = self.oauth.join_in(tx, &user, joining, &origin).await;
        if joined.map_err(Failure::within::<EnterRefusal>)? {
            self.tell_of_link_in(tx, &user, joining, &arrival.client).await?;
        }
        Ok(held(tx, user.id).await?.ok_or(EnterRefusal::Gone)?)
    }

    async fn tell_of_link_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        joining: &Joining,
        client: &ClientInfo,
    ) -> Result<(), sea_orm::DbErr> {
        let (username, provider) = (user.username.clone(), self.oauth.shown_name(&joining.provider));
        self.tell_in(tx, user, Letter::AccountLinked { username, provider }, client).await
    }

    /// Trades a code for a session, or for the demand for the second factor.
    pub async fn trade(
        &self,
        shown: Shown,
        client: ClientInfo,
        device: Option<String>,
    ) -> Result<Admission, Failure<CodeRefusal>> {
        let arrival = Arrival { client, kind: Kind::Token, device };
        let (auth, coming) = (self.clone(), arrival.clone());
        let traded = self.db.write(move |tx| async move { auth.trade_in(tx, &shown, &coming).await }.boxed());
        Ok(self.admission(traded.await??, &arrival))
    }

    /// A refusal that has used the code up comes inside `Ok`.
    async fn trade_in(
        &self,
        tx: &Tx,
        shown: &Shown,
        arrival: &Arrival,
    ) -> Result<Result<Entered, CodeRefusal>, Failure<CodeRefusal>> {
        let Some(traded) = self.oauth.trade_in(tx, shown).await? else {
            return Ok(Err(CodeRefusal::Invalid));
        };
        let Some(user) = held(tx, traded.user_id).await? else { return Ok(Err(CodeRefusal::Invalid)) };
        if !user.is_active {
            let reason = self.reason(tx, user.id).await?;
            return Ok(Err(CodeRefusal::Inactive(reason)));
        }
        if user.token_version != traded.token_version || !self.oauth.may_come_back_in(tx, &user).await? {
            return Ok(Err(CodeRefusal::Invalid));
        }
        let entered = self.admit_in(tx, user, (AMR, traded.joining), arrival).await;
        Ok(Ok(entered.map_err(Failure::within::<CodeRefusal>)?))
    }

    /// Takes the caller's account at a provider away; with it their own, where they say so and there is no other way to
    /// it. Every other session of theirs ends. The provider is told beside.
    pub async fn unlink(
        &self,
        caller: &Caller,
        provider: &str,
        with_account: bool,
        client: &ClientInfo,
    ) -> Result<(), Failure<LeaveRefusal>> {
        caller.require_proof_or(self.clock.now(), LeaveRefusal::Unproved)?;
        let (auth, caller, client) = (self.clone(), caller.clone(), client.clone());
        let provider = provider.to_owned();
        let gone = self.db.write(move |tx| {
            async move { auth.unlink_in(tx, &caller, &provider, with_account, &client).await }.boxed()
        });
        self.oauth.revoke_later(gone.await?);
        Ok(())
    }

    async fn unlink_in(
        &self,
        tx: &Tx,
        caller: &Caller,
        provider: &str,
        with_account: bool,
        client: &ClientInfo,
    ) -> Result<crate::oauth::Account, Failure<LeaveRefusal>> {
        let (user, session) = (caller.user_id, caller.session_id);
        let user = held(tx, user).await?.ok_or(UnlinkRefusal::NotFound).map_err(LeaveRefusal::from)?;
        caller.still_in(tx).await?;
        let origin = Origin::of_oneself(user.id, Some(session), client);
        let unlinked = self.oauth.unlink_in(tx, &user, provider, with_account, &origin).await;
        let unlinked = unlinked.map_err(Failure::within::<LeaveRefusal>)?;
        let (username, provider) = (user.username.clone(), self.oauth.shown_name(provider));
        self.tell_in(tx, &user, Letter::AccountUnlinked { username, provider }, client).await?;
        if unlinked.was_last {
            let deleted = self.users.delete_in(tx, user.id, None, &origin).await;
            deleted.map_err(Failure::within::<LeaveRefusal>)?;
            // Without a way in, nobody but staff can bring it back.
            let letter = Letter::AccountDeleted { username: user.username.clone(), until: None };
            self.tell_in(tx, &user, letter, client).await?;
        } else {
            self.sessions.end_all(tx, user.id, Some(session), Ending::AccountUnlinked).await?;
        }
        Ok(unlinked.account)
    }
}

fn arrival_of(back: &Back) -> Arrival {
    Arrival { client: back.client.clone(), kind: Kind::Cookie, device: back.device.clone() }
}

/// What broke is logged; who came back is told to try again.
fn trouble_of(breakage: &crate::platform::problem::Breakage) -> Trouble {
    breakage.log();
    Trouble::Late
}
