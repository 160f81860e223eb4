//! Signing up.

use futures_util::FutureExt;

use sea_orm::DbErr;
use serde::{Deserialize, Serialize};

use super::pending::{self, Pending};
use super::throttle::{self, Act, End, Try};
use super::{Auth, SignedIn};
use crate::mail::{Languages, Letter, Occasion, Post};
use crate::platform::db::Tx;
use crate::platform::hashing::{Busy, Verdict};
use crate::platform::problem::{Breakage, Failure, FieldError, RetryAfter};
use crate::platform::web::ClientInfo;
use crate::profiles::SignUpFields;
use crate::proofs::{Subject, VERIFY_LASTS};
use crate::sessions::{Kind, NewSession, Purpose, Role, Roles};
use crate::users::store::{PasswordHash, held, user};
use crate::users::{ChangeRefusal, CreateRefusal, Email, Identifier, NewUser, Origin, Password};

crate::refusals! {
    /// Why nobody is signed up.
    pub enum SignUpRefusal {
        Closed = 403 "forbidden" "Sign-up is closed. Ask an admin for an account.",
        Foreign = 403 "forbidden" "This request was sent by another site.",
        UsernameTaken = 409 "username_taken" "This user name is taken.",
        EmailTaken = 409 "email_taken" "This e-mail address belongs to another account.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        TooOften(RetryAfter) = 429 "rate_limited" "Too many sign-ups from your address. Please wait before the next.",
        Busy(RetryAfter) = 503 "unavailable" "Too many people are signing in right now. Please try again in a moment.",
    }
}

impl From<CreateRefusal> for SignUpRefusal {
    fn from(refusal: CreateRefusal) -> Self {
        match refusal {
            // The id is made here, of 74 random bits.
            CreateRefusal::IdTaken | CreateRefusal::UsernameTaken => Self::UsernameTaken,
            CreateRefusal::EmailTaken => Self::EmailTaken,
        }
    }
}

/// The account went, or its address, while the link was on its way.
impl From<ChangeRefusal> for SignUpRefusal {
    fn from(_: ChangeRefusal) -> Self {
        Self::EmailTaken
    }
}

impl SignUpRefusal {
    pub(super) fn busy(busy: Busy) -> Self {
        Self::Busy(busy.into())
    }
}

/// What a sign-up says besides name, address and password.
#[derive(Serialize, Deserialize)]
struct PendingFields {
    display_name: Option<String>,
    first_name: Option<String>,
    middle_name: Option<String>,
    last_name: Option<String>,
}

/// Somebody who wants an account: fields that are valid, a password whose goodness is yet to be judged.
pub struct SignUp {
    /// The account, still without its hash and roles.
    pub new: NewUser,
    /// The password.
    pub password: Password,
    /// From where.
    pub client: ClientInfo,
    /// What the session will be carried by.
    pub kind: Kind,
}

/// What came of signing up.
pub enum SignedUp {
    /// An account, signed in.
    In(Box<SignedIn>),
    /// A mail: the account comes with the proof of the address.
    ToProve,
}

impl Auth {
    /// Makes an account and signs it in; where addresses have to be proved first, mails a link instead. Whether the
    /// address was free is not to be seen then: the same rows are written either way, and only its owner learns.
    pub async fn sign_up(&self, mut who: SignUp) -> Result<SignedUp, Failure<SignUpRefusal>> {
        if !self.settings.registration_enabled {
            return Err(SignUpRefusal::Closed.into());
        }
        self.passwords.room().map_err(SignUpRefusal::busy)?;
        who.new.roles = Role::User.into();
        if who.new.username.is_reserved() {
            let error = FieldError::new("username", "This user name is reserved.");
            return Err(SignUpRefusal::Invalid(vec![error]).into());
        }
        self.count_sign_up(&who.client).await?;
        let mut faults =
            self.domains.check(who.new.email.as_ref().map(Email::domain)).await.err().unwrap_or_default();
        faults.extend(self.passwords.judge(&who.password, who.new.context(), "password").await?);
        if !faults.is_empty() {
            return Err(SignUpRefusal::Invalid(faults).into());
        }
        if self.settings.verification {
            self.ask_for_proof(who).await?;
            return Ok(SignedUp::ToProve);
        }
        let hash = self.passwords.hash(&who.password).await.map_err(SignUpRefusal::busy)?;
        who.new.password_hash = Some(hash);
        let signed_in = self.make_and_let_in(who.new, who.kind, who.client).await?;
        Ok(SignedUp::In(Box::new(signed_in)))
    }

    /// Keeps the sign-up until its address is proved. Asked again with the same password, sends another link.
    async fn ask_for_proof(&self, who: SignUp) -> Result<(), Failure<SignUpRefusal>> {
        let Some(email) = who.new.email.clone() else {
            let error = FieldError::new("email", "Must be an e-mail address, such as ann@example.org.");
            return Err(SignUpRefusal::Invalid(vec![error]).into());
        };
        let username = who.new.username.as_str();
        let earlier = pending::by_username(self.db.reader(), username, self.clock.now()).await?;
        if let Some(earlier) = earlier {
            return self.ask_again(earlier, &who, email.as_str()).await;
        }
        let hash = self.passwords.hash(&who.password).await.map_err(SignUpRefusal::busy)?;
        let row = self.pending_row(&who.new, email.as_str(), hash)?;
        let (auth, client) = (self.clone(), who.client);
        self.db.write(move |tx| async move { auth.keep_in(tx, row, &client).await }.boxed()).await
    }

    async fn keep_in(
        &self,
        tx: &Tx,
        mut row: Pending,
        client: &ClientInfo,
    ) -> Result<(), Failure<SignUpRefusal>> {
        let owner = crate::users::store::by_email(tx, &row.email).await?;
        row.adds_to = owner.filter(may_be_given_a_password).map(|owner| owner.id);
        if crate::users::store::by_username(tx, &row.username).await?.is_some() {
            return Err(SignUpRefusal::UsernameTaken.into());
        }
        if !pending::insert(tx, &row, self.clock.now()).await? {
            return Err(SignUpRefusal::UsernameTaken.into());
        }
        Ok(self.mail_proof_in(tx, &row, client).await?)
    }

    /// Only who knows the password of a sign-up may have its mail sent again; to others the name is taken.
    async fn ask_again(
        &self,
        earlier: Pending,
        who: &SignUp,
        email: &str,
    ) -> Result<(), Failure<SignUpRefusal>> {
        if earlier.email != email {
            // Nothing is learned of the password; and it takes as long.
            let compared = self.passwords.compare(&who.password, Some(&earlier.password_hash.0)).await;
            compared.map_err(SignUpRefusal::busy)?;
            return Err(SignUpRefusal::UsernameTaken.into());
        }
        if self.compare_waiting(&earlier, &who.password).await? == Verdict::Wrong {
            return Err(SignUpRefusal::UsernameTaken.into());
        }
        let (auth, client) = (self.clone(), who.client.clone());
        let sent = self.db.write(move |tx| {
            async move {
                pending::prolong(tx, earlier.id, auth.clock.now()).await?;
                auth.mail_proof_in(tx, &earlier, &client).await
            }
            .boxed()
        });
        Ok(sent.await?)
    }

    /// Compares a password with that of a sign-up that waits. Wrong ones are counted with those of signing in under its name.
    async fn compare_waiting(
        &self,
        earlier: &Pending,
        password: &Password,
    ) -> Result<Verdict, Failure<SignUpRefusal>> {
        let name = Identifier::parse(&earlier.username);
        // Its client is counted already, as one that signs up.
        let tried = Try { bucket: self.bucket(None, &name, None), windows: Vec::new() };
        let (auth, hash, password) = (self.clone(), earlier.password_hash.clone(), password.clone());
        // In a task of its own from the count on: a client that leaves must not escape being counted.
        let compared = self.tasks.spawn(async move {
            auth.begin(&tried).await?;
            let verdict = auth.passwords.compare(&password, Some(&hash.0)).await;
            let end = match &verdict {
                Ok(Verdict::Right | Verdict::RightButOld) => End::Right,
                Ok(Verdict::Wrong) => End::Wrong,
                Err(_) => End::Nothing,
            };
            auth.settle(tried, end).await?;
            Ok(verdict.map_err(SignUpRefusal::busy)?)
        });
        compared.await.map_err(Breakage::from)?
    }

    async fn begin(&self, tried: &Try) -> Result<(), Failure<SignUpRefusal>> {
        let (tried, now) = (tried.clone(), self.clock.now());
        let begun = self
            .db
            .write::<_, DbErr, _>(move |tx| async move { throttle::begin(tx, &tried, now).await }.boxed());
        Ok(begun.await?.map_err(SignUpRefusal::TooOften)?)
    }

    /// Mails the link, or, to the owner of a taken address, that somebody tried. The link of a taken address is made
    /// too, and thrown away; but the owner of an account without a password is sent it, in plain words.
    pub(super) async fn mail_proof_in(
        &self,
        tx: &Tx,
        row: &Pending,
        client: &ClientInfo,
    ) -> Result<(), DbErr> {
        let owner = crate::users::store::by_email(tx, &row.email).await?;
        let subject = Subject::SignUp(row.id);
        let link = self.proofs.issue_in(tx, Purpose::Verify, subject, &row.email, None).await?;
        let now = self.clock.now();
        let hours = VERIFY_LASTS.as_secs() / 3600;
        let (letter, locale) = match &owner {
            Some(owner) if row.adds_to == Some(owner.id) && may_be_given_a_password(owner) => {
                let username = owner.username.clone();
                (Letter::AddPassword { username, token: link.token.text(), hours }, owner.locale.clone())
            }
            Some(owner) => (Letter::SignUpAttempt { username: owner.username.clone() }, owner.locale.clone()),
            None => {
                let username = row.username.clone();
                (Letter::Verification { username, token: link.token.text(), hours }, None)
            }
        };
        let post = Post {
            to: row.email.clone(),
            user_id: owner.map(|owner| owner.id),
            languages: Languages { locale, accept_language: client.accept_language.clone() },
            letter,
            good_until: Some(now.after(VERIFY_LASTS)),
            occasion: Occasion::of(client, now),
        };
        let sent = self.mail.post_in(tx, post).await?;
        self.proofs.settle_in(tx, &link, sent.is_some()).await
    }

    fn pending_row(&self, new: &NewUser, email: &str, hash: String) -> anyhow::Result<Pending> {
        let now = self.clock.now();
        let fields = PendingFields {
            display_name: new.display_name.as_ref().map(|name| name.as_str().to_owned()),
            first_name: new.names.first.as_ref().map(|name| name.as_str().to_owned()),
            middle_name: new.names.middle.as_ref().map(|name| name.as_str().to_owned()),
            last_name: new.names.last.as_ref().map(|name| name.as_str().to_owned()),
        };
        Ok(Pending {
            id: self.random.uuid_v7(now),
            username: new.username.as_str().to_owned(),
            email: email.to_owned(),
            fields: serde_json::to_string(&fields)?,
            password_hash: PasswordHash(hash),
            adds_to: None,
        })
    }

    /// What comes of a sign-up whose address is proved: an account, or the password of one that had none. Only the link
    /// that said so adds a password: one from before the account was there does not.
    pub(super) async fn prove_sign_up_in(
        &self,
        tx: &Tx,
        row: Pending,
        client: &ClientInfo,
    ) -> Result<user::Model, Failure<SignUpRefusal>> {
        let Some(owner) = row.adds_to else { return self.make_proved_in(tx, row, client).await };
        let owner = held(tx, owner).await?.filter(may_be_given_a_password);
        let owner = owner.filter(|owner| owner.email.as_ref() == Some(&row.email));
        let owner = owner.ok_or(SignUpRefusal::EmailTaken)?;
        let origin = Origin::of_oneself(owner.id, None, client);
        let hash = row.password_hash.0;
        let added = self.users.set_password_in(tx, owner.id, hash, None, &origin).await;
        let added = added.map_err(Failure::within::<SignUpRefusal>)?;
        pending::forget_of_email(tx, &row.email).await?;
        let letter = Letter::PasswordChanged { username: added.username.clone() };
        self.tell_in(tx, &added, letter, client).await?;
        Ok(added)
    }

    /// The account of a sign-up whose address is proved.
    async fn make_proved_in(
        &self,
        tx: &Tx,
        row: Pending,
        client: &ClientInfo,
    ) -> Result<user::Model, Failure<SignUpRefusal>> {
        let fields: PendingFields = serde_json::from_str(&row.fields).map_err(anyhow::Error::from)?;
        let fields = SignUpFields {
            username: &row.username,
            email: Some(&row.email),
            display_name: fields.display_name.as_deref(),
            first_name: fields.first_name.as_deref(),
            middle_name: fields.middle_name.as_deref(),
            last_name: fields.last_name.as_deref(),
        };
        let mut new = fields.read_without_password(self.users.settings()).map_err(SignUpRefusal::Invalid)?;
        let id = self.random.uuid_v7(self.clock.now());
        new.id = Some(id);
        new.email_verified = true;
        new.roles = Role::User.into();
        new.password_hash = Some(row.password_hash.0);
        let origin = Origin::of_oneself(id, None, client);
        let made = self.users.create_in(tx, new, &origin).await.map_err(Failure::within::<SignUpRefusal>)?;
        pending::forget_of_email(tx, &row.email).await?;
        Ok(made)
    }

    /// Makes the account and opens its first session, both or neither.
    pub(super) async fn make_and_let_in(
        &self,
        mut new: NewUser,
        kind: Kind,
        client: ClientInfo,
    ) -> Result<SignedIn, Failure<SignUpRefusal>> {
        let auth = self.clone();
        let now = self.clock.now();
        let id = *new.id.get_or_insert_with(|| self.random.uuid_v7(now));
        let origin = Origin::of_oneself(id, None, &client);
        let (user, session) = self
            .db
            .write(move |tx| {
                async move {
                    let user = auth
                        .users
                        .create_in(tx, new, &origin)
                        .await
                        .map_err(Failure::within::<SignUpRefusal>)?;
                    let roles = Roles::from_bits(user.roles);
                    let new = NewSession { user_id: user.id, roles, kind, amr: "pwd".to_owned(), client };
                    let session = auth.sessions.open_session(tx, new).await?;
                    Ok::<_, Failure<SignUpRefusal>>((user, session))
                }
                .boxed()
            })
            .await?;
        tracing::info!(user_id = %user.id, session_id = %session.id, "signed up");
        let device = self.new_device(user.id, now).text(&self.secrets);
        Ok(SignedIn { user, session, device })
    }

    async fn count_sign_up(&self, client: &ClientInfo) -> Result<(), Failure<SignUpRefusal>> {
        let (windows, now) = (self.windows(Act::SignUp, client), self.clock.now());
        self.db
            .write(move |tx| {
                async move {
                    let counted = throttle::enter_all(tx, &windows, now).await?;
                    Ok::<_, Failure<SignUpRefusal>>(counted.map_err(SignUpRefusal::TooOften)?)
                }
                .boxed()
            })
            .await
    }

    pub(super) async fn sweep_sign_ups(&self) -> Result<(), DbErr> {
        let now = self.clock.now();
        self.db.write_in_steps(move |tx, most| pending::forget(tx, now, most).boxed()).await
    }
}

/// Somebody who comes by another provider only, and whose address is proved.
fn may_be_given_a_password(user: &user::Model) -> bool {
    let lives = user.is_active && user.deleted_at.is_none();
    lives && user.is_external_only && user.password_hash.is_none() && user.email_verified
}
