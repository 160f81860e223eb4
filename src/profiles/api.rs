//! The operations of `/user`.

use poem::Request;
use poem_openapi::param::{Path, Query};
use poem_openapi::{Enum, OpenApi, Tags};
use uuid::Uuid;

use super::Profiles;
use super::answer::{CreatedProfile, Profile};
use super::fields::{FullName, NewUserBody, NewUsername, UserPatch};
use super::rules::{
    BlocksRefusal, HistoryRefusal, ListRefusal, NewUserRefusal, PatchRefusal, ReadRefusal, RemoveRefusal,
    is_admin, scope,
};
use super::shown::{HistoryLine, Shown, User};
use super::target::{
    ChangeBlocks, CreateUser, DeleteUser, ListUsers, ReadHistory, ReadUser, RestoreUser, UpdateUser,
};
use crate::permissions::Allowed;
use crate::platform::db::Order;
use crate::platform::problem::{Failure, FieldError};
use crate::platform::web::{ClientInfo, Json, Listing, Paging, PartQuery, Whole};
use crate::sessions::{Enrolling, Role};
use crate::users::listing::{Filter, LineMark, Search, Sort};
use crate::users::{BlockChange, DisplayName, Origin, RestoreRefusal};

/// Ids that one request may name.
pub(super) const MOST_IDS: usize = 1000;
/// Characters that are searched for.
pub(super) const LONGEST_SEARCH: usize = 256;

/// The operations of `/user`.
pub struct UserApi(pub Profiles);

#[derive(Tags)]
enum Section {
    /// People with an account.
    Users,
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename_all = "snake_case")]
pub enum SortBy {
    /// When the account was made.
    CreatedAt,
    /// The user name.
    Username,
    /// When it was last changed.
    UpdatedAt,
}

/// A role.
#[derive(Clone, Copy, Debug, Enum)]
#[oai(rename_all = "snake_case")]
pub enum RoleName {
    /// May do everything.
    Admin,
    /// Looks after ordinary accounts.
    Moderator,
    /// Sees new things first.
    Tester,
    /// An ordinary account.
    User,
}

#[OpenApi(tag = "Section::Users")]
impl UserApi {
    /// Create a user
    ///
    /// For staff. `username` is required; moderators create ordinary accounts only. A password may be given here and
    /// nowhere else by another than its owner.
    #[oai(path = "/user", method = "post", operation_id = "new_user")]
    async fn create(
        &self,
        allowed: Allowed<CreateUser>,
        client: ClientInfo,
        body: Json<NewUserBody>,
    ) -> Result<CreatedProfile<User>, Failure<NewUserRefusal>> {
        let user = self.0.create(&allowed, body.0, Origin::of(&allowed.caller, &client)).await?;
        let location = format!("{}/user/{}", self.0.api_url, user.id);
        let profile = self.0.answer_in_full(user).await?;
        Ok(CreatedProfile { profile, location })
    }

    /// List users
    ///
    /// For staff, and for everybody where `USER_DIRECTORY=members` (then without e-mail addresses, and only people who
    /// are visible to the caller). Admins see users in full, but for history and files. Policies of the operator's own
    /// may hide rows of a page; `X-Total-Count` counts them all the same.
    #[oai(path = "/user", method = "get", operation_id = "read_users")]
    #[expect(clippy::too_many_arguments, reason = "one for each parameter of the contract")]
    async fn list(
        &self,
        allowed: Allowed<ListUsers>,
        paging: Paging,
        /// Prefix of the user name, display name or e-mail address (the address for admins only).
        q: Query<Option<String>>,
        /// A role that they have.
        role: Query<Option<RoleName>>,
        /// Whether the account may be used.
        is_active: Query<Option<bool>>,
        /// Deleted users instead of the others; for admins.
        deleted: Query<Option<bool>>,
        /// What the list is sorted by; `created_at` if not given.
        sort: Query<Option<SortBy>>,
    ) -> Result<Listing<Shown>, Failure<ListRefusal>> {
        let filter = filter(&allowed, q.0, role.0, is_active.0, deleted.0)?;
        let sort = sort.0.map_or(Sort::CreatedAt, Sort::from);
        self.0.list(&allowed, &filter, sort, &paging).await
    }

    /// Users by their ids
    ///
    /// In the order of the ids; unknown ones are left out. At most 1000.
    #[oai(path = "/user/users", method = "get", operation_id = "read_users_list")]
    async fn by_ids(
        &self,
        allowed: Allowed<ListUsers>,
        /// The ids, one parameter each.
        #[oai(default)]
        users_ids: Query<Vec<Uuid>>,
    ) -> Result<Whole<Shown>, Failure<ListRefusal>> {
        if users_ids.len() > MOST_IDS {
            let error = FieldError::new("users_ids", "Must be at most 1000 ids.");
            return Err(ListRefusal::Invalid(vec![error]).into());
        }
        Ok(Whole(self.0.by_ids(&allowed, &users_ids.0).await?))
    }

    /// Number of users
    ///
    /// With the same filters as the list, whose `X-Total-Count` it is.
    #[oai(path = "/user/count", method = "get", operation_id = "read_users_number")]
    async fn count(
        &self,
        allowed: Allowed<ListUsers>,
        /// Prefix of the user name, display name or e-mail address (the address for admins only).
        q: Query<Option<String>>,
        /// A role that they have.
        role: Query<Option<RoleName>>,
        /// Whether the account may be used.
        is_active: Query<Option<bool>>,
        /// Deleted users instead of the others; for admins.
        deleted: Query<Option<bool>>,
    ) -> Result<Json<u64>, Failure<ListRefusal>> {
        let filter = filter(&allowed, q.0, role.0, is_active.0, deleted.0)?;
        Ok(Json(self.0.users.total(&filter).await?))
    }

    /// The caller
    #[oai(path = "/user/me", method = "get", operation_id = "read_users_me")]
    async fn me(&self, caller: Enrolling) -> Result<Profile<User>, Failure<ReadRefusal>> {
        let own = self.0.own(caller.user_id).await?.ok_or(ReadRefusal::NotFound)?;
        Ok(own.profile())
    }

    /// A user
    ///
    /// By id, or by `@` and user name. In full for the user and for admins, else what others may see.
    #[oai(path = "/user/:user", method = "get", operation_id = "get_user")]
    async fn read(
        &self,
        allowed: Allowed<ReadUser>,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
    ) -> Result<Profile<Shown>, Failure<ReadRefusal>> {
        Ok(self.0.answer(allowed).await?)
    }

    /// A user, in S1's spelling of the path
    #[oai(path = "/user/:user/details", method = "get", operation_id = "read_user")]
    async fn details(
        &self,
        allowed: Allowed<ReadUser>,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
    ) -> Result<Profile<Shown>, Failure<ReadRefusal>> {
        Ok(self.0.answer(allowed).await?)
    }

    /// Change a user
    ///
    /// A field left out stays as it is, `null` empties it. With `If-Match`, 412 if the user has changed since.
    /// A rename resets a display name that no longer fits; another e-mail address is not proved.
    #[oai(path = "/user/:user", method = "patch", operation_id = "patch_user")]
    async fn patch(
        &self,
        allowed: Allowed<UpdateUser>,
        client: ClientInfo,
        request: &Request,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        body: Json<UserPatch>,
    ) -> Result<Profile<Shown>, Failure<PatchRefusal>> {
        self.0.patch(allowed, body.0, request, &client).await
    }

    /// Change a user, with PUT
    ///
    /// The same as PATCH: what is left out stays.
    #[oai(path = "/user/:user", method = "put", operation_id = "put_user")]
    async fn put(
        &self,
        allowed: Allowed<UpdateUser>,
        client: ClientInfo,
        request: &Request,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        body: Json<UserPatch>,
    ) -> Result<Profile<Shown>, Failure<PatchRefusal>> {
        self.0.patch(allowed, body.0, request, &client).await
    }

    /// Change a user name
    #[oai(path = "/user/:user/username", method = "put", operation_id = "put_username")]
    async fn rename(
        &self,
        allowed: Allowed<UpdateUser>,
        client: ClientInfo,
        request: &Request,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        body: Json<NewUsername>,
    ) -> Result<Profile<Shown>, Failure<PatchRefusal>> {
        self.0.patch(allowed, body.0.into(), request, &client).await
    }

    /// Change a full name
    ///
    /// What is left out is emptied.
    #[oai(path = "/user/:user/full-name", method = "put", operation_id = "put_full_name")]
    async fn set_full_name(
        &self,
        allowed: Allowed<UpdateUser>,
        client: ClientInfo,
        request: &Request,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        body: Json<FullName>,
    ) -> Result<Profile<Shown>, Failure<PatchRefusal>> {
        self.0.patch(allowed, body.0.into(), request, &client).await
    }

    /// Delete a user
    ///
    /// The sessions end and the names are free at once. The account can be restored for a while; with `purge=true`
    /// (admins) it is gone for good. The last active admin can't be deleted.
    #[oai(path = "/user/:user", method = "delete", operation_id = "remove_user")]
    async fn delete(
        &self,
        allowed: Allowed<DeleteUser>,
        client: ClientInfo,
        request: &Request,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        /// Whether to remove everything for good.
        purge: Query<Option<bool>>,
    ) -> Result<Profile<Shown>, Failure<RemoveRefusal>> {
        self.0.delete(allowed, purge.0.unwrap_or(false), request, &client).await
    }

    /// Restore a deleted user
    ///
    /// For admins. 409 if the user name or the e-mail address was taken since.
    #[oai(path = "/user/:user/restore", method = "post", operation_id = "restore_user")]
    async fn restore(
        &self,
        allowed: Allowed<RestoreUser>,
        client: ClientInfo,
        /// The id.
        #[oai(name = "user")]
        _user: Path<String>,
    ) -> Result<Profile<User>, Failure<RestoreRefusal>> {
        let user = self.0.users.restore(allowed.on.id(), Origin::of(&allowed.caller, &client)).await?;
        Ok(self.0.answer_in_full(user).await?)
    }

    /// Replace a block list
    #[oai(path = "/user/:user/blocked_users", method = "put", operation_id = "block_users")]
    async fn replace_blocks(
        &self,
        allowed: Allowed<ChangeBlocks>,
        client: ClientInfo,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        /// Whom to block, one parameter each.
        #[oai(default)]
        users_ids: Query<Vec<Uuid>>,
    ) -> Result<Json<Vec<Uuid>>, Failure<BlocksRefusal>> {
        let change = BlockChange::Replace(users_ids.0);
        self.0.change_blocks(&allowed, change, "users_ids", &client).await
    }

    /// Add to and take from a block list
    #[oai(path = "/user/:user/blocked_users", method = "patch", operation_id = "update_blocked_users")]
    async fn edit_blocks(
        &self,
        allowed: Allowed<ChangeBlocks>,
        client: ClientInfo,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        /// Whom to block, one parameter each.
        #[oai(default)]
        add: Query<Vec<Uuid>>,
        /// Whom to block no longer, one parameter each.
        #[oai(default)]
        remove: Query<Vec<Uuid>>,
    ) -> Result<Json<Vec<Uuid>>, Failure<BlocksRefusal>> {
        let field = if add.contains(&allowed.on.id()) { "add" } else { "remove" };
        let change = BlockChange::Edit { add: add.0, remove: remove.0 };
        self.0.change_blocks(&allowed, change, field, &client).await
    }

    /// Take from a block list
    #[oai(path = "/user/:user/blocked_users", method = "delete", operation_id = "delete_blocked_users")]
    async fn remove_blocks(
        &self,
        allowed: Allowed<ChangeBlocks>,
        client: ClientInfo,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        /// Whom to block no longer, one parameter each.
        #[oai(default)]
        users_ids: Query<Vec<Uuid>>,
    ) -> Result<Json<Vec<Uuid>>, Failure<BlocksRefusal>> {
        let change = BlockChange::Edit { add: Vec::new(), remove: users_ids.0 };
        self.0.change_blocks(&allowed, change, "users_ids", &client).await
    }

    /// A user's history
    ///
    /// Newest first, unless `order=asc` asks for the oldest.
    #[oai(path = "/user/:user/history", method = "get", operation_id = "read_user_history")]
    async fn history(
        &self,
        allowed: Allowed<ReadHistory>,
        /// The id, or `@` and the user name.
        #[oai(name = "user")]
        _user: Path<String>,
        paging: Paging,
    ) -> Result<Listing<HistoryLine>, Failure<HistoryRefusal>> {
        let (user, key) = (allowed.on.id(), self.0.cursor_key.bytes());
        let asked = PartQuery::of(&paging, key, Order::Desc).map_err(HistoryRefusal::Invalid)?;
        let lines = self.0.users.history(user, &asked.span).await?;
        let total = self.0.users.history_count(user).await?;
        Ok(asked.part(lines, total, LineMark::of).listing(HistoryLine::from))
    }
}

impl From<SortBy> for Sort {
    fn from(sort: SortBy) -> Self {
        match sort {
            SortBy::CreatedAt => Self::CreatedAt,
            SortBy::Username => Self::Username,
            SortBy::UpdatedAt => Self::UpdatedAt,
        }
    }
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Admin => Self::Admin,
            RoleName::Moderator => Self::Moderator,
            RoleName::Tester => Self::Tester,
            RoleName::User => Self::User,
        }
    }
}

/// Who is meant, as far as the caller may ask.
fn filter(
    allowed: &Allowed<ListUsers>,
    q: Option<String>,
    role: Option<RoleName>,
    is_active: Option<bool>,
    deleted: Option<bool>,
) -> Result<Filter, ListRefusal> {
    let deleted = deleted.unwrap_or(false);
    if deleted && !is_admin(allowed) {
        return Err(ListRefusal::Forbidden);
    }
    let search = q.filter(|q| !q.is_empty()).map(|q| search(&q, is_admin(allowed))).transpose()?;
    Ok(Filter { search, role: role.map(Role::from), is_active, deleted, visible_to: scope(allowed) })
}

fn search(q: &str, with_email: bool) -> Result<Search, ListRefusal> {
    if q.chars().nth(LONGEST_SEARCH).is_some() || q.contains('\0') {
        let error = FieldError::new("q", "Must be at most 256 characters, without NUL.");
        return Err(ListRefusal::Invalid(vec![error]));
    }
    Ok(Search {
        username: q.to_lowercase(),
        name: DisplayName::search_key_of(q),
        email: with_email.then(|| q.to_lowercase()),
    })
}
