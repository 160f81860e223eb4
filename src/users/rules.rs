//! The acts on people: create, change, delete, restore, purge.

use futures_util::FutureExt;
use sea_orm::ActiveValue::Set;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use uuid::Uuid;

use super::changes::{Change, Deed, Origin};
use super::store::{self, PasswordHash, history, user};
use super::told::{self, Source, UserCreated};
use super::{
    Changes, Description, DisplayName, Email, Locale, Metadata, OtpMethod, PersonName, Username, Users,
};
use crate::platform::clock::Timestamp;
use crate::platform::db::{Tx, violated_unique};
use crate::platform::problem::{Breakage, Failure, Refusal};
use crate::sessions::{Ending, Role, Roles};

crate::refusals! {
    /// Why an account is not created.
    pub enum CreateRefusal {
        IdTaken = 409 "user_id_taken" "An account with this uuid exists, or once existed.",
        UsernameTaken = 409 "username_taken" "This user name is taken.",
        EmailTaken = 409 "email_taken" "This e-mail address belongs to another account.",
    }
}

crate::refusals! {
    /// Why an account is not changed.
    pub enum ChangeRefusal {
        UsernameTaken = 409 "username_taken" "This user name is taken.",
        EmailTaken = 409 "email_taken" "This e-mail address belongs to another account.",
        SecondFactor = 409 "conflict" "The second factor is codes to the proved e-mail address. Choose another second factor first, or none.",
    }
    and Target(DeleteRefusal)
}

crate::refusals! {
    /// Why an account is not deleted.
    pub enum DeleteRefusal {
        NotFound = 404 "not_found" "There is no such user.",
        Deleted = 409 "user_deleted" "The user is deleted.",
        LastAdmin = 409 "last_admin" "Nobody could administer any more: this is the last active admin.",
        Stale = 412 "precondition_failed" "The user has changed since you read it.",
    }
}

crate::refusals! {
    /// Why an account does not come back.
    pub enum RestoreRefusal {
        NotFound = 404 "not_found" "There is no such user.",
        UsernameTaken = 409 "username_taken" "The user name was taken since.",
        EmailTaken = 409 "email_taken" "The e-mail address belongs to another account now.",
        Conflict = 409 "conflict" "The user is not deleted.",
    }
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// Chosen by the client; else made here.
    pub id: Option<Uuid>,
    /// The user name.
    pub username: Username,
    /// Else it is made from the user name.
    pub display_name: Option<DisplayName>,
    /// The address.
    pub email: Option<Email>,
    /// Whether the address is proved to be theirs.
    pub email_verified: bool,
    /// First, middle and last name.
    pub names: Names,
    /// About them, by them.
    pub description: Option<Description>,
    /// Their language.
    pub locale: Option<Locale>,
    /// Hash of their password; without one they can't sign in by password.
    pub password_hash: Option<String>,
    /// Their roles.
    pub roles: Roles,
    /// Whether they may sign in.
    pub is_active: bool,
    /// Whether they come by another provider only.
    pub is_external_only: bool,
    /// What admins note.
    pub metadata: Metadata,
    /// Where the account comes from.
    pub source: Source,
}

/// First, middle and last name.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// First name.
    pub first: Option<PersonName>,
    /// Middle name.
    pub middle: Option<PersonName>,
    /// Last name.
    pub last: Option<PersonName>,
}

/// An account that was changed.
#[derive(Clone, Debug)]
pub struct Updated {
    /// As it is now.
    pub user: user::Model,
    /// What history tells of it, if that is all that happened to the account since it was seen.
    pub told: Option<Vec<history::Model>>,
}

impl Users {
    /// Makes an account in the transaction of the act that calls for it.
    pub async fn create_in(
        &self,
        tx: &Tx,
        new: NewUser,
        origin: &Origin,
    ) -> Result<user::Model, Failure<CreateRefusal>> {
        // Whoever has the wanted id may be going for good right now; the caller's password's hash has waited for its turn.
        let wanted = new.id.into_iter().collect::<Vec<_>>();
        match &origin.caller {
            Some(caller) => caller.hold_all_in(tx, wanted).await?,
            None => crate::sessions::store::hold(tx, &wanted).await?,
        }
        if let Some(id) = new.id
            && store::is_spent(tx, id).await?
        {
            return Err(CreateRefusal::IdTaken.into());
        }
        let now = self.clock.now();
        let source = new.source.clone();
        let row = new.into_row(|| self.random.uuid_v7(now), now);
        if let Err(error) = store::insert(tx, row.clone()).await {
            return Err(not_written(tx, error, &row, |taken| Some(CreateRefusal::of(taken))).await);
        }
        let by = match origin.by {
            Some(by) if by == row.id => "signed up",
            Some(_) => "created by staff",
            None => "created by the operator",
        };
        let change = Change { user: row.id, deed: Deed::Created, words: by.to_owned(), origin, at: now };
        let told = vec![change.event(&UserCreated::of(&row, &source))?];
        self.record(tx, change, told).await?;
        Ok(row)
    }

    /// Makes an account.
    pub async fn create(&self, new: NewUser, origin: Origin) -> Result<user::Model, Failure<CreateRefusal>> {
        let users = self.clone();
        self.db.write(move |tx| async move { users.create_in(tx, new, &origin).await }.boxed()).await
    }

    /// Changes an account in the transaction of the act that calls for it. `revision` is the one that the client has
    /// read, if it cares.
    pub async fn update_in(
        &self,
        tx: &Tx,
        target: Uuid,
        changes: Changes,
        revision: Option<i64>,
        origin: &Origin,
    ) -> Result<user::Model, Failure<ChangeRefusal>> {
        let held = living(tx, target, revision).await.map_err(Failure::within)?;
        self.update_held_in(tx, &held, changes, origin).await
    }

    /// The same of an account that is held and may be deleted: it stays so, and is as it was changed when it comes back.
    pub async fn update_held_in(
        &self,
        tx: &Tx,
        held: &user::Model,
        changes: Changes,
        origin: &Origin,
    ) -> Result<user::Model, Failure<ChangeRefusal>> {
        let (now, target) = (self.clock.now(), held.id);
        let deeds = changes.deeds(held);
        if deeds.is_empty() {
            return Ok(held.clone());
        }
        if changes.ends_admin(held) {
            another_admin(tx, target).await.map_err(Failure::within)?;
        }
        if changes.cuts_off_second_factor(held) {
            return Err(ChangeRefusal::SecondFactor.into());
        }
        if changes.signs_out(held) {
            let kept = origin.session_of(target).filter(|_| changes.is_active != Some(false));
            let is_ban = changes.is_active == Some(false);
            let reason = if is_ban { Ending::Banned } else { Ending::EmailChanged };
            self.sessions.end_all(tx, target, kept, reason).await?;
        }
        let columns = changes.columns(held, self.settings.display_name_free, now);
        let row = written(tx, held, columns, ChangeRefusal::of).await?;
        let lines = self.lines(target, deeds, origin, now);
        let told = told::of_change(held, &row, origin, now)?;
        self.record_all(tx, target, &lines, told, origin).await?;
        Ok(row)
    }

    /// Changes an account that was seen a moment ago, in the transaction of the act that calls for it: without reading it
    /// again where nothing but what is shown of it changes, and nobody else changed it meanwhile.
    pub async fn update_seen_in(
        &self,
        tx: &Tx,
        seen: &user::Model,
        changes: Changes,
        revision: Option<i64>,
        origin: &Origin,
    ) -> Result<Updated, Failure<ChangeRefusal>> {
        let as_seen = revision.is_none_or(|revision| revision == seen.revision);
        // What others do goes into the log of what staff did as well, so that is no single statement.
        let is_simple = as_seen && !origin.is_another(seen.id);
        if is_simple && let Some(updated) = self.update_at_once_in(tx, seen, &changes, origin).await? {
            return Ok(updated);
        }
        let user = self.update_in(tx, seen.id, changes, revision, origin).await?;
        Ok(Updated { user, told: None })
    }

    async fn update_at_once_in(
        &self,
        tx: &Tx,
        seen: &user::Model,
        changes: &Changes,
        origin: &Origin,
    ) -> Result<Option<Updated>, DbErr> {
        let (now, user) = (self.clock.now(), seen.id);
        let deeds = changes.deeds(seen);
        let columns = changes.clone().columns(seen, self.settings.display_name_free, now);
        if seen.deleted_at.is_some() || deeds.is_empty() || store::changes_standing(seen, &columns) {
            return Ok(None);
        }
        let lines = self.lines(user, deeds, origin, now);
        let row = self.change_and_record(tx, seen, &columns, &lines, (origin, now)).await?;
        Ok(row.map(|user| Updated { user, told: Some(lines) }))
    }

    /// Adds a role on the operator's word, from the command line.
    pub async fn add_role(&self, target: Uuid, role: Role) -> anyhow::Result<user::Model> {
        let users = self.clone();
        let updated = self.db.write::<_, Failure<ChangeRefusal>, _>(move |tx| {
            async move {
                let held = living(tx, target, None).await.map_err(Failure::within::<ChangeRefusal>)?;
                let roles = Roles::from_bits(held.roles).iter().chain([role]).collect();
                let changes = Changes { roles: Some(roles), ..Changes::default() };
                let user = users.update_in(tx, target, changes, None, &Origin::default()).await?;
                users.audit_operator_in(tx, target, Deed::RolesChanged.name()).await?;
                Ok(user)
            }
            .boxed()
        });
        updated.await.map_err(|failure| anyhow::anyhow!("{}", failure.problem().detail))
    }

    /// Gives an account another password (its hash) in the transaction of the act that calls for it, and ends its
    /// sessions but the one to be kept.
    pub async fn set_password_in(
        &self,
        tx: &Tx,
        target: Uuid,
        hash: String,
        kept: Option<Uuid>,
        origin: &Origin,
    ) -> Result<user::Model, Failure<ChangeRefusal>> {
        let held = living(tx, target, None).await.map_err(Failure::within)?;
        let now = self.clock.now();
        self.sessions.end_all(tx, target, kept, Ending::PasswordChanged).await?;
        let columns = user::ActiveModel {
            password_hash: Set(Some(PasswordHash(hash))),
            password_changed_at: Set(Some(later_than(held.password_changed_at, now))),
            // The link that would prove it is dead with the old password; nobody must be offered it again.
            pending_email: Set(None),
            is_external_only: Set(false),
            updated_at: Set(now.millis()),
            ..Default::default()
        };
        let row = store::update(tx, &held, columns).await?;
        let change =
            Change { user: target, deed: Deed::PasswordChanged, words: String::new(), origin, at: now };
        let told = vec![change.event(&told::PasswordChanged {})?];
        self.record(tx, change, told).await?;
        Ok(row)
    }

    /// Notes that an address is proved: the one that waited for it becomes the account's, and the sessions but the one
    /// to be kept end, or the present one is proved from now on. 404 if it is neither.
    pub async fn prove_email_in(
        &self,
        tx: &Tx,
        target: Uuid,
        email: &str,
        kept: Option<Uuid>,
        origin: &Origin,
    ) -> Result<user::Model, Failure<ChangeRefusal>> {
        let held = living(tx, target, None).await.map_err(Failure::within::<ChangeRefusal>)?;
        let now = self.clock.now();
        let is_new = held.pending_email.as_deref() == Some(email);
        if !is_new && held.email.as_deref() != Some(email) {
            return Err(ChangeRefusal::Target(DeleteRefusal::NotFound).into());
        }
        if !is_new && held.email_verified {
            return Ok(held);
        }
        if is_new {
            self.sessions.end_all(tx, target, kept, Ending::EmailChanged).await?;
        }
        let columns = user::ActiveModel {
            email: Set(Some(email.to_owned())),
            email_verified: Set(true),
            pending_email: Set(held.pending_email.clone().filter(|_| !is_new)),
            updated_at: Set(now.millis()),
            ..Default::default()
        };
        let row = written(tx, &held, columns, ChangeRefusal::of).await?;
        let deed = if is_new { Deed::EmailChanged } else { Deed::EmailProved };
        let change = Change { user: target, deed, words: String::new(), origin, at: now };
        self.record(tx, change, told::of_change(&held, &row, origin, now)?).await?;
        Ok(row)
    }

    /// Gives an account another second factor in the transaction of the act that sets it up or takes it away.
    pub async fn set_otp_method_in(
        &self,
        tx: &Tx,
        target: Uuid,
        method: OtpMethod,
        origin: &Origin,
    ) -> Result<(), DbErr> {
        let Some(held) = store::held(tx, target).await? else { return Ok(()) };
        if method == OtpMethod::None && held.otp_method == OtpMethod::None {
            return Ok(());
        }
        let now = self.clock.now();
        let columns = user::ActiveModel {
            otp_method: Set(method),
            updated_at: Set(now.millis()),
            ..Default::default()
        };
        store::update(tx, &held, columns).await?;
        let words = format!("from {} to {method}", held.otp_method);
        let change = Change { user: target, deed: Deed::SecondFactorChanged, words, origin, at: now };
        let told = vec![change.event(&told::OtpChanged {})?];
        self.record(tx, change, told).await
    }

    /// Writes a line of history that comes without another change of the account.
    pub async fn note_in(
        &self,
        tx: &Tx,
        target: Uuid,
        deed: Deed,
        words: String,
        origin: &Origin,
    ) -> Result<(), DbErr> {
        let Some(held) = store::held(tx, target).await? else { return Ok(()) };
        let now = self.clock.now();
        let columns = user::ActiveModel { updated_at: Set(now.millis()), ..Default::default() };
        store::update(tx, &held, columns).await?;
        self.record(tx, Change { user: target, deed, words, origin, at: now }, Vec::new()).await
    }

    /// Notes that something is shown of an account otherwise that stands beside its row.
    pub async fn looks_other_in(&self, tx: &Tx, target: Uuid) -> Result<(), DbErr> {
        let Some(held) = store::held(tx, target).await? else { return Ok(()) };
        let now = self.clock.now().millis();
        let columns = user::ActiveModel { updated_at: Set(now), ..Default::default() };
        store::update(tx, &held, columns).await.map(|_| ())
    }

    /// Puts a fresh hash of the same password in the place of an old one, unless the password has changed meanwhile.
    pub async fn rehash_in(&self, tx: &Tx, held: &user::Model, hash: String) -> Result<(), DbErr> {
        let Some(present) = store::held(tx, held.id).await? else { return Ok(()) };
        if present.password_hash != held.password_hash {
            return Ok(());
        }
        let columns =
            user::ActiveModel { password_hash: Set(Some(PasswordHash(hash))), ..Default::default() };
        store::update(tx, &present, columns).await.map(|_| ())
    }

    /// Deletes an account in the transaction of the act that calls for it: its sessions end, its names are free, and it
    /// can be restored for a while.
    pub async fn delete_in(
        &self,
        tx: &Tx,
        target: Uuid,
        revision: Option<i64>,
        origin: &Origin,
    ) -> Result<user::Model, Failure<DeleteRefusal>> {
        origin.hold_in(tx, target).await?;
        let held = living(tx, target, revision).await?;
        if is_active_admin(&held) {
            another_admin(tx, target).await?;
        }
        let now = self.clock.now();
        self.sessions.end_all(tx, target, None, Ending::Deleted).await?;
        let columns = user::ActiveModel {
            deleted_at: Set(Some(now.millis())),
            updated_at: Set(now.millis()),
            token_version: Set(held.token_version + 1),
            ..Default::default()
        };
        let row = store::update(tx, &held, columns).await?;
        let change = Change { user: target, deed: Deed::Deleted, words: String::new(), origin, at: now };
        let told = vec![change.event(&told::UserDeleted {})?];
        self.record(tx, change, told).await?;
        Ok(row)
    }

    /// Deletes an account that is deleted already, by its owner perhaps: from now on only staff brings it back, and no
    /// sign-in to it that is half done goes on.
    pub async fn delete_again_in(&self, tx: &Tx, target: Uuid, origin: &Origin) -> Result<(), DbErr> {
        let Some(held) = store::held(tx, target).await? else { return Ok(()) };
        // Told behind the deletion before it, whatever the clock of the instance said that wrote that.
        let now = Timestamp::from_millis(later_than(held.deleted_at, self.clock.now()));
        self.sessions.end_all(tx, target, None, Ending::Deleted).await?;
        let columns = user::ActiveModel {
            updated_at: Set(now.millis()),
            token_version: Set(held.token_version + 1),
            ..Default::default()
        };
        store::update(tx, &held, columns).await?;
        let change = Change { user: target, deed: Deed::Deleted, words: String::new(), origin, at: now };
        self.record(tx, change, Vec::new()).await
    }

    /// Brings a deleted account back, if its names are still free.
    pub async fn restore(
        &self,
        target: Uuid,
        origin: Origin,
    ) -> Result<user::Model, Failure<RestoreRefusal>> {
        let users = self.clone();
        self.db.write(move |tx| async move { users.restore_in(tx, target, &origin).await }.boxed()).await
    }

    /// The same in the transaction of the act that calls for it.
    pub async fn restore_in(
        &self,
        tx: &Tx,
        target: Uuid,
        origin: &Origin,
    ) -> Result<user::Model, Failure<RestoreRefusal>> {
        origin.hold_in(tx, target).await?;
        let held = store::held(tx, target).await?.ok_or(RestoreRefusal::NotFound)?;
        if held.deleted_at.is_none() {
            return Err(RestoreRefusal::Conflict.into());
        }
        let now = self.clock.now();
        let columns =
            user::ActiveModel { deleted_at: Set(None), updated_at: Set(now.millis()), ..Default::default() };
        let row = written(tx, &held, columns, RestoreRefusal::of).await?;
        let change = Change { user: target, deed: Deed::Restored, words: String::new(), origin, at: now };
        let told = vec![change.event(&told::UserRestored {})?];
        self.record(tx, change, told).await?;
        Ok(row)
    }

    /// Holds an account that is to go for good, whoever loses files by that, and whoever asks: all at once, before anything
    /// else of the transaction, see [`Origin::hold_in`]. Who comes to have a file of theirs in this very moment is held
    /// behind them.
    pub async fn hold_purged_in(&self, tx: &Tx, target: Uuid, origin: &Origin) -> Result<(), Breakage> {
        let people = store::touched_by_purge(tx, target).await?;
        match &origin.caller {
            Some(caller) => caller.hold_all_in(tx, people).await,
            None => Ok(crate::sessions::store::hold(tx, &people).await?),
        }
    }

    /// Forgets an account for good, deleted before or not; it is held by [`Users::hold_purged_in`].
    pub async fn purge_in(
        &self,
        tx: &Tx,
        target: Uuid,
        revision: Option<i64>,
        origin: &Origin,
    ) -> Result<user::Model, Failure<DeleteRefusal>> {
        let held = store::held(tx, target).await?.ok_or(DeleteRefusal::NotFound)?;
        if revision.is_some_and(|revision| revision != held.revision) {
            return Err(DeleteRefusal::Stale.into());
        }
        if is_active_admin(&held) && held.deleted_at.is_none() {
            another_admin(tx, target).await?;
        }
        self.forget_in(tx, target, origin).await?;
        if origin.is_another(target) {
            self.audit_in(tx, target, "purged", "", origin).await?;
        }
        Ok(held)
    }

    /// Forgets an account that was deleted before `moment`, unless it was restored meanwhile; whether it has gone.
    pub(super) async fn forget_deleted_in(
        &self,
        tx: &Tx,
        target: Uuid,
        moment: Timestamp,
    ) -> Result<bool, DbErr> {
        crate::sessions::store::hold(tx, &store::touched_by_purge(tx, target).await?).await?;
        let held = store::held(tx, target).await?;
        let is_due = |user: &user::Model| user.deleted_at.is_some_and(|at| at < moment.millis());
        if held.is_none_or(|user| !is_due(&user)) {
            return Ok(false);
        }
        self.forget_in(tx, target, &Origin::default()).await?;
        Ok(true)
    }

    /// Forgets a user, who is held. Events count on the row, so they are written before it goes.
    async fn forget_in(&self, tx: &Tx, target: Uuid, origin: &Origin) -> Result<(), DbErr> {
        for (other, file) in store::left_by(tx, target).await? {
            match file {
                Some(name) => self.note_in(tx, other, Deed::FileRemoved, name, origin).await?,
                None => self.looks_other_in(tx, other).await?,
            }
        }
        store::leave_pictures(tx, target).await?;
        store::leave_block_lists(tx, target, self.clock.now()).await?;
        self.sessions.end_all(tx, target, None, Ending::Deleted).await?;
        self.tell_in(tx, target, &told::UserPurged {}, origin).await?;
        store::purge(tx, target, self.clock.now()).await
    }

    fn lines(
        &self,
        user: Uuid,
        deeds: Vec<(Deed, String)>,
        origin: &Origin,
        at: Timestamp,
    ) -> Vec<history::Model> {
        let line = |(deed, words)| {
            Change { user, deed, words, origin, at }.line(self.history_ids.next(&self.random, at))
        };
        deeds.into_iter().map(line).collect()
    }
}

async fn living(tx: &Tx, target: Uuid, revision: Option<i64>) -> Result<user::Model, Failure<DeleteRefusal>> {
    let held = store::held(tx, target).await?.ok_or(DeleteRefusal::NotFound)?;
    if held.deleted_at.is_some() {
        return Err(DeleteRefusal::Deleted.into());
    }
    if revision.is_some_and(|revision| revision != held.revision) {
        return Err(DeleteRefusal::Stale.into());
    }
    Ok(held)
}

async fn another_admin(tx: &Tx, target: Uuid) -> Result<(), Failure<DeleteRefusal>> {
    if store::other_admins(tx, target).await? == 0 {
        return Err(DeleteRefusal::LastAdmin.into());
    }
    Ok(())
}

/// Whether somebody else must be an admin for this account to go. Whoever has no password may sign in elsewhere.
pub(super) fn is_active_admin(user: &user::Model) -> bool {
    user.is_active && Roles::from_bits(user.roles).has(Role::Admin)
}

impl NewUser {
    /// Words that the person is known by, and that their password must not consist of.
    #[must_use]
    pub fn context(&self) -> Vec<String> {
        let local_part = self.email.as_ref().map(|email| email.local_part().to_owned());
        std::iter::once(self.username.as_str().to_owned()).chain(local_part).collect()
    }

    fn into_row(self, new_id: impl FnOnce() -> Uuid, now: Timestamp) -> user::Model {
        let display_name = self.display_name.unwrap_or_else(|| DisplayName::from_username(&self.username));
        user::Model {
            id: self.id.unwrap_or_else(new_id),
            username: self.username.as_str().to_owned(),
            search_name: display_name.search_key(),
            display_name: display_name.as_str().to_owned(),
            email_verified: self.email_verified && self.email.is_some(),
            email: self.email.map(|email| email.as_str().to_owned()),
            pending_email: None,
            first_name: text(self.names.first.as_ref(), PersonName::as_str),
            middle_name: text(self.names.middle.as_ref(), PersonName::as_str),
            last_name: text(self.names.last.as_ref(), PersonName::as_str),
            description: text(self.description.as_ref(), Description::as_str),
            locale: text(self.locale.as_ref(), Locale::as_str),
            is_external_only: self.is_external_only,
            password_changed_at: self.password_hash.as_ref().map(|_| now.millis()),
            password_hash: self.password_hash.map(PasswordHash),
            roles: self.roles.bits(),
            is_active: self.is_active,
            otp_method: OtpMethod::None,
            metadata: self.metadata.into_json(),
            token_version: 0,
            revision: 0,
            created_at: now.millis(),
            updated_at: now.millis(),
            deleted_at: None,
        }
    }
}

pub(super) fn text<V>(value: Option<&V>, as_str: impl Fn(&V) -> &str) -> Option<String> {
    value.map(|value| as_str(value).to_owned())
}

/// A moment behind the one before. Two passwords never bear the same one: what is bound to one must not outlive it.
fn later_than(before: Option<i64>, now: Timestamp) -> i64 {
    before.map_or(now.millis(), |before| now.millis().max(before.saturating_add(1)))
}

/// Writes changed columns; `told` is what a taken name means for the act.
async fn written<R: Refusal>(
    tx: &Tx,
    held: &user::Model,
    columns: user::ActiveModel,
    told: impl FnOnce(Taken) -> Option<R>,
) -> Result<user::Model, Failure<R>> {
    let mut wanted = held.clone();
    if let Set(username) = &columns.username {
        wanted.username.clone_from(username);
    }
    match store::update(tx, held, columns).await {
        Ok(row) => Ok(row),
        Err(error) => Err(not_written(tx, error, &wanted, told).await),
    }
}

/// Why a row was not written: one of its names is another account's, or the database broke.
///
/// Where both names are taken, the user name is told. PostgreSQL looks at its index first; SQLite looks at that of the
/// address first, but lets us ask on in the same transaction.
async fn not_written<R: Refusal>(
    tx: &Tx,
    error: DbErr,
    wanted: &user::Model,
    told: impl FnOnce(Taken) -> Option<R>,
) -> Failure<R> {
    let Some(mut taken) = violated_unique(&error).as_deref().and_then(Taken::by) else { return error.into() };
    if taken == Taken::Email && tx.get_database_backend() == DbBackend::Sqlite {
        match store::by_username(tx, &wanted.username).await {
            Ok(Some(other)) if other.id != wanted.id => taken = Taken::Username,
            Ok(_) => {}
            Err(error) => return error.into(),
        }
    }
    told(taken).map_or_else(|| error.into(), Failure::from)
}

/// What of an account is another's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Taken {
    Id,
    Username,
    Email,
}

impl CreateRefusal {
    const fn of(taken: Taken) -> Self {
        match taken {
            Taken::Id => Self::IdTaken,
            Taken::Username => Self::UsernameTaken,
            Taken::Email => Self::EmailTaken,
        }
    }
}

impl ChangeRefusal {
    fn of(taken: Taken) -> Option<Self> {
        taken.as_name(Self::UsernameTaken, Self::EmailTaken)
    }
}

impl RestoreRefusal {
    fn of(taken: Taken) -> Option<Self> {
        taken.as_name(Self::UsernameTaken, Self::EmailTaken)
    }
}

impl Taken {
    /// SQLite names the column, PostgreSQL the index. Another one is not known here.
    fn by(words: &str) -> Option<Self> {
        let known = [
            (Self::Username, "users.username", "users_username"),
            (Self::Email, "users.email", "users_email"),
            (Self::Id, "users.id", "users_pkey"),
        ];
        let named = |(_, column, index): &(Self, &str, &str)| words.contains(column) || words.contains(index);
        known.into_iter().find(named).map(|(taken, _, _)| taken)
    }

    /// What it means to an act in which the id stays: only names can be taken.
    fn as_name<R>(self, username: R, email: R) -> Option<R> {
        match self {
            Self::Id => None,
            Self::Username => Some(username),
            Self::Email => Some(email),
        }
    }
}
