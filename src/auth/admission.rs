//! What follows a right first factor, whichever it was: the second factor where the account has one, else the session.
//!
//! Every way of signing in ends here, so none can forget the second factor, the ban or the notice of a new device.

use std::time::Duration;

use sea_orm::DbErr;

use super::Auth;
use super::throttle::{self, Bucket};
use crate::mail::{Languages, Letter, Occasion, Post};
use crate::oauth::{Joining, LinkRefusal};
use crate::otp::{EmailCode, FirstFactor, Method};
use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;
use crate::platform::problem::Failure;
use crate::platform::web::ClientInfo;
use crate::sessions::{Kind, NewSession, OpaqueToken, OpenSession, Roles};
use crate::users::store::user;
use crate::users::{Origin, RestoreRefusal};

crate::refusals! {
    /// Why somebody whose factors are all right is not in.
    pub(super) enum EnterRefusal {
        Gone = 404 "not_found" "There is no such user.",
        UsernameTaken = 409 "username_taken" "The account was deleted, and its user name was taken since. Ask an admin.",
        EmailTaken = 409 "email_taken" "The account was deleted, and its e-mail address was taken since. Ask an admin.",
        Unlinkable = 409 "conflict" "The account of the other provider can't be linked any more.",
    }
}

impl From<RestoreRefusal> for EnterRefusal {
    fn from(refusal: RestoreRefusal) -> Self {
        match refusal {
            RestoreRefusal::UsernameTaken => Self::UsernameTaken,
            RestoreRefusal::EmailTaken => Self::EmailTaken,
            RestoreRefusal::NotFound | RestoreRefusal::Conflict => Self::Gone,
        }
    }
}

impl From<LinkRefusal> for EnterRefusal {
    fn from(_: LinkRefusal) -> Self {
        Self::Unlinkable
    }
}

/// The first factor that is a password, as RFC 8176 names it.
pub(super) const BY_PASSWORD: &str = "pwd";

/// The first sign-in to an account that is not older is its owner's.
const JUST_MADE: Duration = Duration::from_hours(24);

/// Somebody who is in.
#[derive(Debug)]
pub struct SignedIn {
    /// Who.
    pub user: user::Model,
    /// Their session.
    pub session: OpenSession,
    /// What makes this device a known one.
    pub device: OpaqueToken,
}

/// Somebody who still has to show their second factor.
#[derive(Debug)]
pub struct Challenged {
    /// What the answer has to come with.
    pub token: OpaqueToken,
    /// The factor that is asked for.
    pub method: Method,
}

/// Where a right first factor leads.
#[derive(Debug)]
pub enum Admission {
    /// In.
    In(Box<SignedIn>),
    /// To the second factor.
    Challenged(Challenged),
}

/// From where somebody comes in, and how the session will be carried.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// From where.
    pub client: ClientInfo,
    /// What carries the session.
    pub kind: Kind,
    /// The cookie of a device that was signed in before.
    pub device: Option<String>,
}

/// The same as [`Admission`], before the transaction has ended.
pub(super) enum Entered {
    In(Box<user::Model>, OpenSession),
    Challenged(Challenged),
}

impl Auth {
    /// Leads on from a right first factor: `amr` names it (RFC 8176). The account is held, and may be used. An account
    /// of another provider that is to join it does so once everything is proved, and not before.
    pub(super) async fn admit_in(
        &self,
        tx: &Tx,
        user: user::Model,
        (amr, joining): (&str, Option<Joining>),
        arrival: &Arrival,
    ) -> Result<Entered, Failure<EnterRefusal>> {
        if user.otp_method == Method::None {
            let (user, session) = self.enter_in(tx, user, (amr.to_owned(), joining), arrival).await?;
            return Ok(Entered::In(Box::new(user), session));
        }
        let first = FirstFactor { kind: arrival.kind, amr: amr.to_owned() };
        let challenge = self.otp.challenge_in(tx, &user, first).await?;
        if let Some(joining) = &joining {
            self.oauth.wait_in(tx, &challenge.token, joining).await?;
        }
        if let Some(code) = challenge.code {
            // Where it doesn't come, the codes of challenges before this one are as good as they were.
            self.mail_code_in(tx, &user, code, &arrival.client).await?;
        }
        Ok(Entered::Challenged(Challenged { token: challenge.token.text(), method: challenge.method }))
    }

    /// Opens the session: everything that had to be proved is. An account that its owner deleted comes back.
    pub(super) async fn enter_in(
        &self,
        tx: &Tx,
        mut user: user::Model,
        (amr, joining): (String, Option<Joining>),
        arrival: &Arrival,
    ) -> Result<(user::Model, OpenSession), Failure<EnterRefusal>> {
        let origin = Origin::of_oneself(user.id, None, &arrival.client);
        if user.deleted_at.is_some() {
            user =
                self.users.restore_in(tx, user.id, &origin).await.map_err(Failure::within::<EnterRefusal>)?;
        }
        if let Some(joining) = joining {
            user = self.join_in(tx, user, &joining, arrival).await?;
        }
        // Who came by another provider has not shown the password: each time the owner does, whoever guesses it would
        // have a hundred tries more.
        if amr.split(' ').next() == Some(BY_PASSWORD) {
            self.forgive_in(tx, &user, arrival).await?;
        }
        self.tell_of_new_device_in(tx, &user, arrival).await?;
        let new = NewSession {
            user_id: user.id,
            roles: Roles::from_bits(user.roles),
            kind: arrival.kind,
            amr,
            client: arrival.client.clone(),
        };
        let session = self.sessions.open_session(tx, new).await?;
        Ok((user, session))
    }

    /// Everything was proved. Where there is a second factor, the right password by itself forgave the device nothing.
    async fn forgive_in(&self, tx: &Tx, user: &user::Model, arrival: &Arrival) -> Result<(), DbErr> {
        let (now, account) = (self.clock.now(), Bucket::Account(user.id));
        let tried_by = self.bucket_of(user, arrival.device.as_deref());
        if user.otp_method != Method::None && tried_by != account {
            throttle::forgive(tx, &tried_by, now).await?;
        }
        throttle::forgive(tx, &account, now).await
    }

    /// What is told the client of somebody who is in, or nearly.
    pub(super) fn admission(&self, entered: Entered, arrival: &Arrival) -> Admission {
        match entered {
            Entered::Challenged(challenged) => Admission::Challenged(challenged),
            Entered::In(user, session) => {
                let (user_id, session_id, client_ip) = (user.id, session.id, arrival.client.ip);
                tracing::info!(%user_id, %session_id, %client_ip, "signed in");
                let device = self.known_device(&user, arrival.device.as_deref());
                Admission::In(Box::new(SignedIn { user: *user, session, device }))
            }
        }
    }

    async fn tell_of_new_device_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        arrival: &Arrival,
    ) -> Result<(), DbErr> {
        if !self.mail.is_on() || self.device_of(user, arrival.device.as_deref()).is_some() {
            return Ok(());
        }
        let age = self.clock.now().since(Timestamp::from_millis(user.created_at));
        // Whoever has just signed up and comes in for the first time knows that.
        let known = self.sessions.knows_in(tx, user.id, &arrival.client).await?;
        if known.unwrap_or(age < JUST_MADE) {
            return Ok(());
        }
        let letter = Letter::NewDevice { username: user.username.clone() };
        self.tell_in(tx, user, letter, &arrival.client).await
    }

    /// Writes to the owner of an account about it.
    pub(super) async fn tell_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        letter: Letter,
        client: &ClientInfo,
    ) -> Result<(), DbErr> {
        let Some(address) = user.email.clone() else { return Ok(()) };
        let post = self.post_to(user, address, letter, None, client);
        self.mail.post_in(tx, post).await.map(|_| ())
    }

    /// Mails a code of the second factor. `false`: its address had as many as an hour allows, and this one won't come.
    pub(super) async fn mail_code_in(
        &self,
        tx: &Tx,
        user: &user::Model,
        code: EmailCode,
        client: &ClientInfo,
    ) -> Result<bool, DbErr> {
        let Some(address) = user.email.clone() else { return Ok(true) };
        let EmailCode { code, good_until, minutes } = code;
        let letter = Letter::Code { username: user.username.clone(), code, minutes };
        let post = self.post_to(user, address, letter, Some(good_until), client);
        Ok(self.mail.post_in(tx, post).await?.is_some() || !self.mail.is_on())
    }

    pub(super) fn post_to(
        &self,
        user: &user::Model,
        to: String,
        letter: Letter,
        good_until: Option<Timestamp>,
        client: &ClientInfo,
    ) -> Post {
        Post {
            to,
            user_id: Some(user.id),
            languages: Languages {
                locale: user.locale.clone(),
                accept_language: client.accept_language.clone(),
            },
            letter,
            good_until,
            occasion: Occasion::of(client, self.clock.now()),
        }
    }
}
