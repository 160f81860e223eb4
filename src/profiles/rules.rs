//! The acts on profiles: who may change which field, and what is shown afterwards.

use std::collections::HashMap;

use futures_util::FutureExt;
use poem::Request;
use sea_orm::DbErr;
use uuid::Uuid;

use super::answer::Profile;
use super::fields::{NewUserBody, UserPatch};
use super::shown::{Picture, PublicUser, Shown, User, etag_of_full, etag_of_public};
use super::target::{
    ChangeBlocks, CreateUser, DeleteUser, ListUsers, ReadUser, Target, UpdateUser, if_match,
};
use super::{Own, Profiles};
use crate::files::file;
use crate::permissions::{Account, Action, Allowed, Context, Fields as FieldSet, Permission, Resource};
use crate::platform::db::Order;
use crate::platform::freshness::Stamp;
use crate::platform::problem::{Failure, FieldError, RetryAfter};
use crate::platform::web::{ClientInfo, Json, Listing, Paging, Part, PartQuery, RawJson};
use crate::sessions::{Role, Roles};
use crate::users::listing::{Filter, Sort, UserMark};
use crate::users::store::{self, Listed, user};
use crate::users::{
    BlockChange, BlockRefusal, ChangeRefusal, Changes, DeleteRefusal, Email, Extra, NewUser, Origin,
    Password, Updated, Username,
};
use crate::workos::CreationRefusal;

crate::refusals! {
    /// Why an account is not made.
    pub enum NewUserRefusal {
        Forbidden = 403 "forbidden" "You may not create an account with these fields or roles.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
        Busy(RetryAfter) = 503 "unavailable" "The server is busy. Please try again in a moment.",
    }
    and Create(CreationRefusal)
}

crate::refusals! {
    /// Why an account is not changed.
    pub enum PatchRefusal {
        Unproved = 401 "reauthentication_required" "Please prove again who you are: POST /auth/reauthenticate.",
        Forbidden = 403 "forbidden" "You may not change these fields.",
        Managed = 409 "managed_by_directory" "The address and the names of this user are kept by the directory at WorkOS.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
    and Change(ChangeRefusal)
}

crate::refusals! {
    /// Why an account is not deleted.
    pub enum RemoveRefusal {
        Forbidden = 403 "forbidden" "You may not delete this account, or not for good.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
    and Delete(DeleteRefusal)
}

crate::refusals! {
    /// Why a block list is not changed.
    pub enum BlocksRefusal {
        NotFound = 404 "not_found" "There is no such user.",
        Deleted = 409 "user_deleted" "The user is deleted.",
        TooMany = 409 "quota_exceeded" "A block list holds at most 1000 users.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

impl BlocksRefusal {
    /// `field` is the parameter that names the owner, if one does.
    fn of(refusal: &BlockRefusal, field: &str) -> Self {
        match refusal {
            BlockRefusal::NotFound => Self::NotFound,
            BlockRefusal::Deleted => Self::Deleted,
            BlockRefusal::TooMany => Self::TooMany,
            BlockRefusal::Oneself => {
                Self::Invalid(vec![FieldError::new(field, "Nobody can block themselves.")])
            }
        }
    }
}

/// What somebody asks to be changed, as policies are asked about it: at the door, and again about whoever is held.
#[derive(Clone, Copy)]
struct Asked {
    fields: FieldSet,
    roles: Option<Roles>,
    switches: bool,
}

impl Asked {
    fn by(patch: &UserPatch) -> Self {
        let roles: Option<Roles> = patch.roles.as_ref().map(|names| {
            let known = names.iter().filter_map(|name| name.parse::<Role>().ok());
            known.collect()
        });
        Self { fields: patch.set(), roles, switches: patch.is_active.is_some() }
    }

    fn is_fine(self, may: impl Fn(Action, Context) -> bool) -> bool {
        let none = Context::default();
        may(Action::UserUpdate, Context { fields: self.fields, ..none })
            && self.roles.is_none_or(|roles| may(Action::UserSetRoles, Context { roles, ..none }))
            && (!self.switches || may(Action::UserSetActive, none))
    }

    /// The same with the refusal of the door: whoever is not shown is not there.
    fn judge(self, may: impl Fn(Action, Context) -> bool) -> Result<(), PatchRefusal> {
        if self.is_fine(&may) {
            return Ok(());
        }
        let is_shown = may(Action::UserRead, Context::default());
        Err(if is_shown {
            PatchRefusal::Forbidden
        } else {
            ChangeRefusal::from(DeleteRefusal::NotFound).into()
        })
    }
}

fn reserved() -> FieldError {
    FieldError::new("username", "This user name is reserved.")
}

impl Profiles {
    /// Makes an account for somebody else.
    pub(super) async fn create(
        &self,
        allowed: &Allowed<CreateUser>,
        body: NewUserBody,
        origin: Origin,
    ) -> Result<user::Model, Failure<NewUserRefusal>> {
        let fields = body.set();
        let (mut new, password) = body.read(self.users.settings()).map_err(NewUserRefusal::Invalid)?;
        let context = Context { fields, roles: new.roles, directory_open: false };
        if !allowed.may(Action::UserCreate, context) {
            return Err(NewUserRefusal::Forbidden.into());
        }
        let is_admin = allowed.caller.roles.has(Role::Admin);
        if !is_admin && !new.is_active {
            return Err(NewUserRefusal::Forbidden.into());
        }
        if !is_admin && new.username.is_reserved() {
            return Err(NewUserRefusal::Invalid(vec![reserved()]).into());
        }
        let domain = new.email.as_ref().map(Email::domain);
        self.domains.check(domain).await.map_err(NewUserRefusal::Invalid)?;
        if let Some(password) = password {
            new.password_hash = Some(self.hash(&password, &new).await?);
        }
        self.workos.create(new, origin).await.map_err(Failure::within)
    }

    async fn hash(&self, password: &Password, new: &NewUser) -> Result<String, Failure<NewUserRefusal>> {
        let faults = self.passwords.judge(password, new.context(), "password").await?;
        if !faults.is_empty() {
            return Err(NewUserRefusal::Invalid(faults).into());
        }
        let hash = self.passwords.hash(password).await;
        Ok(hash.map_err(|busy| NewUserRefusal::Busy(busy.into()))?)
    }

    /// Changes an account: first whether the caller may change these fields, then whether the values are good.
    pub(super) async fn patch(
        &self,
        allowed: Allowed<UpdateUser>,
        patch: UserPatch,
        request: &Request,
        client: &ClientInfo,
    ) -> Result<Profile<Shown>, Failure<PatchRefusal>> {
        let revision = if_match(request, allowed.on.0.user.revision);
        let revision = revision.map_err(|problem| PatchRefusal::Invalid(problem.errors))?;
        let asked = Asked::by(&patch);
        if !asked.is_fine(|action, context| allowed.may(action, context)) {
            return Err(PatchRefusal::Forbidden.into());
        }
        let changes = self.checked(&allowed, patch).await?;
        let remembered = self.own.get_stamped(allowed.on.id());
        let updated = self.written(&allowed, asked, changes, revision, client).await?;
        Ok(self.answer_after(&allowed, updated, remembered).await?)
    }

    /// What is to be changed, if the values are good and nothing else stands against them.
    async fn checked(
        &self,
        allowed: &Allowed<UpdateUser>,
        patch: UserPatch,
    ) -> Result<Changes, Failure<PatchRefusal>> {
        let changes = patch.read(&allowed.on.0.user.username, self.users.settings());
        let changes = changes.map_err(PatchRefusal::Invalid)?;
        let is_admin = allowed.caller.roles.has(Role::Admin);
        let renamed = changes.username.as_ref().filter(|name| name.as_str() != allowed.on.0.user.username);
        if !is_admin && renamed.is_some_and(Username::is_reserved) {
            return Err(PatchRefusal::Invalid(vec![reserved()]).into());
        }
        if changes.email.is_some() && allowed.caller.user_id == allowed.on.id() {
            // The address is what an account is recovered by.
            allowed.caller.require_proof_or(self.clock.now(), PatchRefusal::Unproved)?;
        }
        let domain = changes.email.as_ref().and_then(|email| email.as_ref().map(Email::domain));
        self.domains.check(domain).await.map_err(PatchRefusal::Invalid)?;
        if changes.touches_directory(&allowed.on.0.user) && self.workos.keeps(allowed.on.id()).await? {
            return Err(PatchRefusal::Managed.into());
        }
        Ok(self.to_be_proved(changes, &allowed.on.0.user))
    }

    /// Writes what was asked for; whether the caller may do that is asked again about whoever is held.
    async fn written(
        &self,
        allowed: &Allowed<UpdateUser>,
        asked: Asked,
        changes: Changes,
        revision: Option<i64>,
        client: &ClientInfo,
    ) -> Result<Updated, Failure<PatchRefusal>> {
        let (id, origin) = (allowed.on.id(), Origin::of(&allowed.caller, client));
        let (profiles, session, client) = (self.clone(), allowed.caller.session_id, client.clone());
        let is_grave = changes.is_grave();
        let moves = changes.email.is_some() || changes.pending_email.is_some();
        let (met, may, is_another) = (allowed.on.0.clone(), allowed.later(), origin.is_another(id));
        let written = self.db.write(move |tx| {
            async move {
                if is_grave {
                    origin.hold_in(tx, id).await?;
                }
                // Whether there is such a user is found out below.
                let before = if moves || is_another { store::held(tx, id).await? } else { None };
                if is_another && let Some(held) = &before {
                    // Somebody may have made an admin of them since the head of the request came.
                    let (blocks, blocked) = (met.blocks_viewer, met.blocked_by_viewer);
                    let account =
                        Account { blocks_subject: blocks, blocked_by_subject: blocked, ..held.account() };
                    asked.judge(|action, context| may(&Resource::Account(account), action, context))?;
                }
                let now = profiles.users.update_seen_in(tx, &met.user, changes, revision, &origin).await;
                let now = now.map_err(Failure::within::<PatchRefusal>)?;
                // Only who moves is told of it.
                if let Some(before) = before.filter(|_| moves) {
                    profiles.tell_of_address_in(tx, &before, &now.user, session, &client).await?;
                }
                Ok::<_, Failure<PatchRefusal>>(now)
            }
            .boxed()
        });
        written.await
    }

    /// A user in the state after a change. What is remembered of them from before it is only added to, if nothing else
    /// happened since.
    async fn answer_after(
        &self,
        allowed: &Allowed<UpdateUser>,
        updated: Updated,
        remembered: Option<(Stamp, Own)>,
    ) -> anyhow::Result<Profile<Shown>> {
        let Updated { user, told } = updated;
        let (Some((stamp, before)), Some(told)) = (remembered, told) else {
            return self.answer_with(allowed, user).await;
        };
        if before.user.revision + 1 != user.revision
            || !allowed.may(Action::UserReadPrivate, Context::default())
        {
            return self.answer_with(allowed, user).await;
        }
        let own = before.after(user, told)?;
        self.own.keep_changed(allowed.on.id(), stamp, own.clone());
        Ok(own.profile())
    }

    /// Deletes an account, for a while or for good.
    pub(super) async fn delete(
        &self,
        allowed: Allowed<DeleteUser>,
        for_good: bool,
        request: &Request,
        client: &ClientInfo,
    ) -> Result<Profile<Shown>, Failure<RemoveRefusal>> {
        let revision = if_match(request, allowed.on.0.user.revision);
        let revision = revision.map_err(|problem| RemoveRefusal::Invalid(problem.errors))?;
        if for_good && !allowed.may(Action::UserPurge, Context::default()) {
            return Err(RemoveRefusal::Forbidden.into());
        }
        let (id, origin) = (allowed.on.id(), Origin::of(&allowed.caller, client));
        let gone = if for_good {
            self.purge(id, revision, origin).await
        } else {
            let (profiles, client) = (self.clone(), client.clone());
            let deleted = self.db.write(move |tx| {
                async move {
                    let gone = profiles.users.delete_in(tx, id, revision, &origin).await?;
                    let retention = profiles.users.settings().deleted_retention;
                    let until = origin.is(id).then(|| profiles.clock.now().after(retention));
                    profiles.tell_of_deletion_in(tx, &gone, until, &client).await?;
                    Ok::<_, Failure<DeleteRefusal>>(gone)
                }
                .boxed()
            });
            deleted.await
        };
        Ok(self.answer_with(&allowed, gone.map_err(Failure::within)?).await?)
    }

    /// Forgets an account for good, and the bytes of its files after the commit, whether or not the client waits for it.
    async fn purge(
        &self,
        id: Uuid,
        revision: Option<i64>,
        origin: Origin,
    ) -> Result<user::Model, Failure<DeleteRefusal>> {
        let profiles = self.clone();
        self.tasks.finish(async move { profiles.purge_and_discard(id, revision, origin).await }).await
    }

    async fn purge_and_discard(
        &self,
        id: Uuid,
        revision: Option<i64>,
        origin: Origin,
    ) -> Result<user::Model, Failure<DeleteRefusal>> {
        let (profiles, by) = (self.clone(), origin.by);
        let purged = self.db.write(move |tx| {
            async move {
                profiles.users.hold_purged_in(tx, id, &origin).await?;
                let blobs = profiles.files.blobs_of_held(tx, id).await?;
                let gone = profiles.users.purge_in(tx, id, revision, &origin).await?;
                Ok::<_, Failure<DeleteRefusal>>((gone, blobs))
            }
            .boxed()
        });
        let (gone, blobs) = purged.await?;
        // The history went with the account; the log keeps who did it.
        tracing::warn!(user_id = %id, by = by.map(tracing::field::display), "an account was purged");
        self.files.discard(blobs).await;
        Ok(gone)
    }

    /// Changes a block list; the list as it is then. `field` is the parameter that names the owner, if one does.
    pub(super) async fn change_blocks(
        &self,
        allowed: &Allowed<ChangeBlocks>,
        change: BlockChange,
        field: &str,
        client: &ClientInfo,
    ) -> Result<Json<Vec<Uuid>>, Failure<BlocksRefusal>> {
        let origin = Origin::of(&allowed.caller, client);
        let blocked = self.users.change_blocks(allowed.on.id(), change, origin).await;
        blocked.map(Json).map_err(|failure| match failure {
            Failure::Refused(refusal) => BlocksRefusal::of(&refusal, field).into(),
            Failure::Broken(breakage) => Failure::Broken(breakage),
        })
    }

    /// The user of the path, as the caller may see them.
    pub(super) async fn answer(&self, mut allowed: Allowed<ReadUser>) -> anyhow::Result<Profile<Shown>> {
        let extra = std::mem::take(&mut allowed.on.0.extra);
        let user = allowed.on.0.user.clone();
        self.answer_of(&allowed, user, extra).await
    }

    /// A user in the state after an act, as the caller may see them.
    pub(super) async fn answer_with<P: Permission<On = Target>>(
        &self,
        allowed: &Allowed<P>,
        user: user::Model,
    ) -> anyhow::Result<Profile<Shown>> {
        self.answer_of(allowed, user, Extra::Nothing).await
    }

    /// The same, where what is shown beside the row may have been read already.
    async fn answer_of<P: Permission<On = Target>>(
        &self,
        allowed: &Allowed<P>,
        user: user::Model,
        extra: Extra,
    ) -> anyhow::Result<Profile<Shown>> {
        let (etag, shown) = if allowed.may(Action::UserReadPrivate, Context::default()) {
            let etag = etag_of_full(&user);
            (etag, Shown::Full(self.full_with(user, extra).await?))
        } else {
            (etag_of_public(&user), Shown::Public(self.public_with(user, extra).await?))
        };
        Ok(Profile { body: RawJson::new(serde_json::to_vec(&shown)?.into()), etag })
    }

    /// A user in full.
    pub(super) async fn answer_in_full(&self, user: user::Model) -> anyhow::Result<Profile<User>> {
        let etag = etag_of_full(&user);
        let full = self.full(user).await?;
        Ok(Profile { body: RawJson::new(serde_json::to_vec(&full)?.into()), etag })
    }

    /// A page of users.
    pub(super) async fn list(
        &self,
        allowed: &Allowed<ListUsers>,
        filter: &Filter,
        sort: Sort,
        paging: &Paging,
    ) -> Result<Listing<Shown>, Failure<ListRefusal>> {
        let key = self.cursor_key.bytes();
        let asked = PartQuery::of(paging, key, Order::Asc).map_err(ListRefusal::Invalid)?;
        if asked.span.after.as_ref().is_some_and(|mark: &UserMark| mark.sort != sort) {
            let error = FieldError::new("cursor", "is of a list that is sorted otherwise");
            return Err(ListRefusal::Invalid(vec![error]).into());
        }
        let listed = self.users.list(filter, sort, &asked.span).await?;
        let total = self.users.total(filter).await?;
        let part = asked.part(listed, total, |row| UserMark::of(&row.user, sort));
        let Part { rows: listed, links, .. } = part;
        let who =
            |has: fn(&Listed) -> bool| listed.iter().filter(|row| has(row)).map(|row| row.user.id).collect();
        let having = Having {
            blocks: who(|row| row.blocks),
            accounts: who(|row| row.is_elsewhere),
            pictures: who(|row| row.is_pictured),
        };
        let users: Vec<user::Model> = listed.into_iter().map(|row| row.user).collect();
        Ok(Listing { rows: self.rows(allowed, users, &having).await?, total, links })
    }

    /// Users by their ids, in that order; whom the caller may not see is left out.
    pub(super) async fn by_ids(
        &self,
        allowed: &Allowed<ListUsers>,
        ids: &[Uuid],
    ) -> Result<Vec<Shown>, Failure<ListRefusal>> {
        let visible_to = scope(allowed);
        let users = self.users.by_ids(ids, visible_to).await?;
        let having = Having { blocks: ids.to_vec(), accounts: ids.to_vec(), pictures: ids.to_vec() };
        Ok(self.rows(allowed, users, &having).await?)
    }

    /// Users as rows of a list: in full for admins, but for history and files. Whom a list is about is written in SQL, so
    /// that pages and numbers are right; each row is asked of the policies besides, which may take away from it.
    async fn rows(
        &self,
        allowed: &Allowed<ListUsers>,
        users: Vec<user::Model>,
        having: &Having,
    ) -> Result<Vec<Shown>, DbErr> {
        let pictures = self.files.pictures_of(&having.pictures).await?;
        let mut pictures: HashMap<Option<Uuid>, file::Model> =
            pictures.into_iter().map(|picture| (picture.picture_of, picture)).collect();
        let is_admin = is_admin(allowed);
        let (mut blocks, mut external) = if is_admin {
            (self.users.blocks_of(&having.blocks).await?, self.users.external_of(&having.accounts).await?)
        } else {
            Default::default()
        };
        let may = allowed.later();
        let row = |user: user::Model| {
            let account = Resource::Account(user.account());
            let may = |action| may(&account, action, Context::default());
            if !may(Action::UserRead) {
                return None;
            }
            let picture = Picture::of(pictures.remove(&Some(user.id)), &self.api_url);
            if !is_admin || !may(Action::UserReadPrivate) {
                return Some(Shown::Public(PublicUser::of(user, picture)));
            }
            let blocked = blocks.remove(&user.id).unwrap_or_default();
            let external = external.remove(&user.id).unwrap_or_default();
            Some(Shown::Full(User::of(user, blocked, external, picture)))
        };
        Ok(users.into_iter().filter_map(row).collect())
    }
}

/// Who in a list has something beside their row, or may have.
struct Having {
    blocks: Vec<Uuid>,
    accounts: Vec<Uuid>,
    pictures: Vec<Uuid>,
}

crate::refusals! {
    /// Why somebody is not shown.
    pub enum ReadRefusal {
        NotFound = 404 "not_found" "There is no such user.",
    }
}

crate::refusals! {
    /// Why a history is not shown.
    pub enum HistoryRefusal {
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

crate::refusals! {
    /// Why a list is not shown.
    pub enum ListRefusal {
        Forbidden = 403 "forbidden" "You may not list users, or not deleted ones.",
        Invalid(Vec<FieldError>) = 422 "validation_failed" "Some fields are not as they must be.",
    }
}

/// Whose eyes a list is for: none for staff, who see everybody.
pub(super) fn scope(allowed: &Allowed<ListUsers>) -> Option<Uuid> {
    let roles = allowed.caller.roles;
    let is_staff = roles.has(Role::Admin) || roles.has(Role::Moderator);
    (!is_staff).then_some(allowed.caller.user_id)
}

pub(super) fn is_admin(allowed: &Allowed<ListUsers>) -> bool {
    allowed.caller.roles.has(Role::Admin)
}
