//! The rows of people, their history and their block lists.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{
    Expr, ExprTrait, LockType, OnConflict, Query, SelectStatement, SimpleExpr, UnionType,
};
use sea_orm::{
    ActiveValue, Condition, DbBackend, IntoActiveModel, Iterable, QueryOrder, QueryResult, QuerySelect,
    QueryTrait, Statement,
};

use super::at_once::changed;
use super::listing::{Filter, LineMark, Search, Sort, UserMark};
use super::otp_method::UnknownMethod;
use super::rows::Extra;
use super::{OtpMethod, Username};
use crate::permissions::Account;
use crate::platform::clock::Timestamp;
use crate::platform::db::{Cells, Lock, Span, Tx, Values, scalars};
use crate::platform::random::first_uuid_v7;
use crate::sessions::{Role, Roles};

/// A stored password hash (PHC string); never printed.
#[derive(Clone, PartialEq, Eq, DeriveValueType)]
pub struct PasswordHash(pub String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PasswordHash(…)")
    }
}

/// Table `users`.
pub mod user {
    use sea_orm::entity::prelude::*;

    use super::PasswordHash;
    use crate::users::OtpMethod;

    /// A person with an account. Moments are milliseconds since the Unix epoch.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "users")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub username: String,
        pub display_name: String,
        /// The display name as prefix search compares it.
        pub search_name: String,
        pub email: Option<String>,
        pub email_verified: bool,
        /// The address that the account will have once it is proved.
        pub pending_email: Option<String>,
        pub first_name: Option<String>,
        pub last_name: Option<String>,
        pub middle_name: Option<String>,
        pub description: Option<String>,
        pub locale: Option<String>,
        pub password_hash: Option<PasswordHash>,
        /// When the password was last chosen; known devices from before it are known no more.
        pub password_changed_at: Option<i64>,
        /// See [`crate::sessions::Roles`].
        pub roles: i32,
        pub is_active: bool,
        pub is_external_only: bool,
        pub otp_method: OtpMethod,
        /// A JSON object.
        pub metadata: String,
        /// Access tokens carry it; moving it on ends them all.
        pub token_version: i64,
        /// Moves with every change; the ETag.
        pub revision: i64,
        pub created_at: i64,
        pub updated_at: i64,
        pub deleted_at: Option<i64>,
    }

    /// None: related rows are asked for by their own queries.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `user_history`.
pub mod history {
    use sea_orm::entity::prelude::*;

    /// One thing that happened to an account.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "user_history")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub user_id: Uuid,
        pub at: i64,
        pub action: String,
        pub description: String,
        /// Who did it; `None`: the server itself.
        pub by_id: Option<Uuid>,
        pub trace_id: Option<String>,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

impl user::Model {
    /// From all columns of the table, in the order of [`user::Column`].
    pub(super) fn read(cells: &mut Cells<'_>) -> Result<Self, DbErr> {
        Ok(Self {
            id: cells.take()?,
            username: cells.take()?,
            display_name: cells.take()?,
            search_name: cells.take()?,
            email: cells.take()?,
            email_verified: cells.take()?,
            pending_email: cells.take()?,
            first_name: cells.take()?,
            last_name: cells.take()?,
            middle_name: cells.take()?,
            description: cells.take()?,
            locale: cells.take()?,
            password_hash: cells.take::<Option<String>>()?.map(PasswordHash),
            password_changed_at: cells.take()?,
            roles: cells.take()?,
            is_active: cells.take()?,
            is_external_only: cells.take()?,
            otp_method: known(cells.take::<&str>()?)?,
            metadata: cells.take()?,
            token_version: cells.take()?,
            revision: cells.take()?,
            created_at: cells.take()?,
            updated_at: cells.take()?,
            deleted_at: cells.take()?,
        })
    }
}

fn known(method: &str) -> Result<OtpMethod, DbErr> {
    method.parse().map_err(|error: UnknownMethod| DbErr::Type(error.to_string()))
}

/// A user as one particular viewer meets them.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The row.
    pub user: user::Model,
    /// Whether this user blocks the viewer.
    pub blocks_viewer: bool,
    /// Whether the viewer blocks this user.
    pub blocked_by_viewer: bool,
    /// What was asked for beside the row.
    pub extra: Extra,
}

impl Seen {
    /// From all columns of the table, and those that say who of the two blocks the other.
    pub(super) fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let mut cells = Cells::of(row);
        let user = user::Model::read(&mut cells)?;
        Ok(Self {
            user,
            blocks_viewer: cells.take()?,
            blocked_by_viewer: cells.take()?,
            extra: Extra::Nothing,
        })
    }

    /// Somebody as they meet themselves.
    #[must_use]
    pub const fn oneself(user: user::Model) -> Self {
        Self { user, blocks_viewer: false, blocked_by_viewer: false, extra: Extra::Nothing }
    }

    /// The account as policies see it, when the viewer does something to it.
    #[must_use]
    pub fn account(&self) -> Account {
        Account {
            blocks_subject: self.blocks_viewer,
            blocked_by_subject: self.blocked_by_viewer,
            ..self.user.account()
        }
    }
}

impl user::Model {
    /// The account as policies see it, where nobody blocks anybody.
    #[must_use]
    pub fn account(&self) -> Account {
        let account = Account::active(self.id, Roles::from_bits(self.roles));
        Account { active: self.is_active, deleted: self.deleted_at.is_some(), ..account }
    }
}

/// A user in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The row.
    pub user: user::Model,
    /// Whether this user blocks anybody.
    pub blocks: bool,
    /// Whether this user has accounts at other providers.
    pub is_elsewhere: bool,
    /// Whether this user has a picture.
    pub is_pictured: bool,
}

impl Listed {
    /// From all columns of the table, and those of [`list`].
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let mut cells = Cells::of(row);
        let user = user::Model::read(&mut cells)?;
        Ok(Self { user, blocks: cells.take()?, is_elsewhere: cells.take()?, is_pictured: cells.take()? })
    }
}

/// How a user is named in a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// By id.
    Id(Uuid),
    /// By user name, among accounts that are not deleted.
    Username(String),
}

impl Named {
    /// `@name`, or a UUID with its hyphens in any case (RFC 9562, 4); nothing else.
    #[must_use]
    pub fn in_path(segment: &str) -> Option<Self> {
        match segment.strip_prefix('@') {
            Some(name) => Username::for_lookup(name).map(|name| Self::Username(name.as_str().to_owned())),
            None => (segment.len() == 36).then(|| Uuid::try_parse(segment).ok()).flatten().map(Self::Id),
        }
    }
}

/// The user with this id, deleted or not.
pub async fn by_id(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<user::Model>, DbErr> {
    user::Entity::find_by_id(id).one(db).await
}

/// The user with this id, held until the transaction ends, so that what is decided on it stays true.
pub async fn held(tx: &Tx, id: Uuid) -> Result<Option<user::Model>, DbErr> {
    let query = user::Entity::find_by_id(id);
    match tx.get_database_backend() {
        // Weaker than `FOR UPDATE`: rows that only refer to this one don't have to wait, nor can they deadlock.
        DbBackend::Postgres => query.lock(LockType::NoKeyUpdate).one(tx).await,
        _ => query.one(tx).await, // the one writer holds everything
    }
}

/// The account with this user name.
pub async fn by_username(db: &impl ConnectionTrait, name: &str) -> Result<Option<user::Model>, DbErr> {
    let living = user::Column::DeletedAt.is_null();
    user::Entity::find().filter(user::Column::Username.eq(name)).filter(living).one(db).await
}

/// The account with this e-mail address.
pub async fn by_email(db: &impl ConnectionTrait, email: &str) -> Result<Option<user::Model>, DbErr> {
    let living = user::Column::DeletedAt.is_null();
    user::Entity::find().filter(user::Column::Email.eq(email)).filter(living).one(db).await
}

/// The accounts that have one of these e-mail addresses.
pub async fn ids_by_emails(
    db: &impl ConnectionTrait,
    emails: impl IntoIterator<Item = &str>,
) -> Result<Vec<Uuid>, DbErr> {
    let living = user::Column::DeletedAt.is_null();
    let query = user::Entity::find().filter(user::Column::Email.is_in(emails)).filter(living);
    query.select_only().column(user::Column::Id).into_tuple().all(db).await
}

/// A deleted account, still in its grace period, by user name or e-mail address; the newest of several.
pub async fn deleted_since(
    db: &impl ConnectionTrait,
    identifier: &str,
    since: Timestamp,
) -> Result<Option<user::Model>, DbErr> {
    let column = if identifier.contains('@') { user::Column::Email } else { user::Column::Username };
    user::Entity::find()
        .filter(column.eq(identifier))
        .filter(user::Column::DeletedAt.gte(since.millis()))
        .order_by_desc(user::Column::DeletedAt)
        .limit(1)
        .one(db)
        .await
}

/// The users with these ids that are not deleted, in no particular order; only those whom `viewer` may see, if named.
pub async fn by_ids(
    db: &impl ConnectionTrait,
    ids: &[Uuid],
    viewer: Option<Uuid>,
) -> Result<Vec<user::Model>, DbErr> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let filter = Filter { visible_to: viewer, ..Filter::default() };
    filtered(&filter).filter(user::Column::Id.is_in(ids.iter().copied())).all(db).await
}

/// Adds a user; a taken id, user name or address is the unique index's to refuse.
pub async fn insert(tx: &Tx, row: user::Model) -> Result<(), DbErr> {
    tx.touch(row.id);
    user::Entity::insert(row.into_active_model()).exec_without_returning(tx).await.map(|_| ())
}

/// Writes the changed columns of a held user, with the next revision and the time.
pub async fn update(
    tx: &Tx,
    held: &user::Model,
    mut changes: user::ActiveModel,
) -> Result<user::Model, DbErr> {
    if changes_standing(held, &changes) {
        tx.touch(held.id);
    } else {
        tx.touch_profile(held.id);
    }
    changes.id = ActiveValue::Unchanged(held.id);
    changes.revision = ActiveValue::Set(held.revision + 1);
    changes.update(tx).await
}

/// Whether it changes anything but what is shown of the user: see `sessions::store::standing`.
pub(super) fn changes_standing(held: &user::Model, changes: &user::ActiveModel) -> bool {
    use user::Column::{
        Description, DisplayName, FirstName, LastName, Locale, Metadata, MiddleName, SearchName, UpdatedAt,
    };
    let only_shown = |column: &user::Column| {
        matches!(
            column,
            Description
                | DisplayName
                | FirstName
                | LastName
                | Locale
                | Metadata
                | MiddleName
                | SearchName
                | UpdatedAt
        )
    };
    changed(held, changes).any(|(column, _)| !only_shown(&column))
}

/// Who is left without something, or with something of their own, when this user goes for good, in the order of ids: the
/// name of each file that was linked to them; no name, where they have a picture from this user or gave them one.
pub async fn left_by(tx: &Tx, id: Uuid) -> Result<Vec<(Uuid, Option<String>)>, DbErr> {
    let sql = "SELECT l.user_id, f.name FROM files f JOIN file_links l ON l.file_id = f.id \
               WHERE f.created_by = $1 AND f.picture_of IS NULL AND l.user_id <> $1 \
               UNION ALL SELECT picture_of, NULL FROM files WHERE created_by = $1 AND picture_of <> $1 \
               UNION ALL SELECT created_by, NULL FROM files WHERE picture_of = $1 AND created_by <> $1";
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, [id.into()]);
    let rows = tx.query_all_raw(statement).await?;
    let left = rows.iter().map(|row| Ok::<_, DbErr>((row.try_get_by_index(0)?, row.try_get_by_index(1)?)));
    let mut left: Vec<(Uuid, Option<String>)> = left.collect::<Result<_, _>>()?;
    left.sort_unstable();
    Ok(left)
}

/// Whose rows change when this user goes for good: theirs, those of [`left_by`], and of whoever blocks them.
pub async fn touched_by_purge(tx: &Tx, id: Uuid) -> Result<Vec<Uuid>, DbErr> {
    let mut people: Vec<Uuid> = left_by(tx, id).await?.into_iter().map(|(user, _)| user).collect();
    let sql = "SELECT user_id FROM user_blocks WHERE blocked_id = $1";
    people.extend(scalars::<Uuid>(tx, sql, [id.into()]).await?);
    people.push(id);
    Ok(people)
}

/// Leaves the pictures that a user has given others to those whom they show. Whoever is shown is held.
pub async fn leave_pictures(tx: &Tx, id: Uuid) -> Result<(), DbErr> {
    // Nobody needs a link to a file of their own.
    let sql = "DELETE FROM file_links WHERE file_id IN \
               (SELECT id FROM files WHERE created_by = $1 AND picture_of IS NOT NULL) \
               AND user_id = (SELECT picture_of FROM files WHERE id = file_links.file_id)";
    tx.run(sql, [id.into()]).await?;
    let sql = "UPDATE files SET created_by = picture_of WHERE created_by = $1 AND picture_of <> $1";
    tx.run(sql, [id.into()]).await.map(|_| ())
}

/// Takes a user off the lists of whoever blocks them, who are held: any number of people, so it is one statement for all.
pub async fn leave_block_lists(tx: &Tx, id: Uuid, now: Timestamp) -> Result<(), DbErr> {
    let backend = tx.get_database_backend();
    let in_order = if backend == DbBackend::Postgres { "ORDER BY id FOR NO KEY UPDATE" } else { "" };
    let sql = format!(
        "UPDATE users SET revision = revision + 1, updated_at = $2 WHERE id IN (SELECT id FROM users \
         WHERE id IN (SELECT user_id FROM user_blocks WHERE blocked_id = $1) {in_order}) RETURNING id"
    );
    let statement = Statement::from_sql_and_values(backend, sql, [id.into(), now.millis().into()]);
    for row in tx.query_all_raw(statement).await? {
        tx.touch_profile(row.try_get_by_index(0)?);
    }
    tx.run("DELETE FROM user_blocks WHERE blocked_id = $1", [id.into()]).await.map(|_| ())
}

/// Forgets a user, who is held, and everything that hangs on the row. The id is spent.
pub async fn purge(tx: &Tx, id: Uuid, now: Timestamp) -> Result<(), DbErr> {
    tx.touch(id);
    user::Entity::delete_by_id(id).exec(tx).await?;
    let sql = "INSERT INTO spent_user_ids (id, spent_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    let values = [id.into(), now.millis().into()];
    tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await.map(|_| ())
}

/// Whether the id was an account's that is gone for good.
pub async fn is_spent(tx: &Tx, id: Uuid) -> Result<bool, DbErr> {
    let sql = "SELECT 1 FROM spent_user_ids WHERE id = $1";
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, [id.into()]);
    Ok(tx.query_one_raw(statement).await?.is_some())
}

/// Ids of users deleted before `moment`, at most `limit`.
pub async fn deleted_before(
    db: &impl ConnectionTrait,
    moment: Timestamp,
    limit: u64,
) -> Result<Vec<Uuid>, DbErr> {
    user::Entity::find()
        .select_only()
        .column(user::Column::Id)
        .filter(user::Column::DeletedAt.lt(moment.millis()))
        .limit(limit)
        .into_tuple()
        .all(db)
        .await
}

/// How many admins could sign in, had `except` gone. Whoever asks holds the answer until the transaction ends.
pub async fn other_admins(tx: &Tx, except: Uuid) -> Result<u64, DbErr> {
    // Two admins who demote each other hold different rows: both must pass through here.
    tx.lock(Lock::LAST_ADMIN).await?;
    active_admins().filter(user::Column::Id.ne(except)).count(tx).await
}

/// Whether there is any account, deleted or not.
pub async fn is_any(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    Ok(user::Entity::find()
        .select_only()
        .column(user::Column::Id)
        .limit(1)
        .into_tuple::<Uuid>()
        .one(db)
        .await?
        .is_some())
}

/// Whether any admin could sign in.
pub async fn has_admin(db: &impl ConnectionTrait) -> Result<bool, DbErr> {
    Ok(active_admins().count(db).await? > 0)
}

/// Those who may sign in and have something to do it with: a password, or an account at another provider.
fn active_admins() -> Select<user::Entity> {
    let elsewhere = is_there("external_accounts", "user_id");
    let has_key = Condition::any().add(user::Column::PasswordHash.is_not_null()).add(elsewhere);
    // The first condition is the one of the index `users_staff`.
    user::Entity::find()
        .filter(Expr::cust("(roles & 3) <> 0"))
        .filter(has_role(Role::Admin))
        .filter(user::Column::IsActive.eq(true))
        .filter(user::Column::DeletedAt.is_null())
        .filter(has_key)
}

fn has_role(role: Role) -> SimpleExpr {
    Expr::cust(format!("(roles & {}) <> 0", role.bit()))
}

/// A part of a list of users that is sorted so.
pub async fn list(
    db: &impl ConnectionTrait,
    filter: &Filter,
    sort: Sort,
    span: &Span<UserMark>,
) -> Result<Vec<Listed>, DbErr> {
    let blocks = is_there("user_blocks", "user_id");
    let elsewhere = is_there("external_accounts", "user_id");
    let pictured = is_there("files", "picture_of");
    let order = sea_orm::Order::from(span.order);
    let mut query = filtered(filter).order_by(sort.column(), order.clone()).order_by(user::Column::Id, order);
    if let Some(mark) = &span.after {
        query = query.filter(mark.behind(span.order));
    }
    let query = query.expr_as(blocks, "blocks").expr_as(elsewhere, "is_elsewhere");
    let query = query.expr_as(pictured, "is_pictured");
    let query = query.offset(given(span.offset)).limit(span.limit);
    db.query_all(&query.into_query()).await?.iter().map(Listed::read).collect()
}

/// Somebody who can be written to.
#[derive(Clone, Debug)]
pub struct Reachable {
    /// Who.
    pub id: Uuid,
    /// Their address.
    pub email: String,
    /// The language they want to be written to in.
    pub locale: Option<String>,
}

/// Active people with an address, behind `after` in the order of ids.
pub async fn reachable_after(tx: &Tx, after: Option<Uuid>, limit: usize) -> Result<Vec<Reachable>, DbErr> {
    // One range of the key, so that the last step costs what the first did.
    let range = if after.is_some() { "id > $1" } else { "id >= $1" };
    let sql = format!(
        "SELECT id, email, locale FROM users WHERE {range} AND email IS NOT NULL AND is_active \
         AND deleted_at IS NULL ORDER BY id LIMIT $2"
    );
    let values = [after.unwrap_or_default().into(), i64::try_from(limit).unwrap_or(i64::MAX).into()];
    let rows =
        tx.query_all_raw(Statement::from_sql_and_values(tx.get_database_backend(), sql, values)).await?;
    let reachable = |row: &sea_orm::QueryResult| {
        let (id, email, locale) =
            (row.try_get("", "id")?, row.try_get("", "email")?, row.try_get("", "locale")?);
        Ok(Reachable { id, email, locale })
    };
    rows.iter().map(reachable).collect()
}

/// Active admins whose address is proved, at most `limit`.
pub async fn reachable_admins(tx: &Tx, limit: u64) -> Result<Vec<Reachable>, DbErr> {
    let admins = user::Entity::find()
        .filter(user::Column::Id.in_subquery(staff()))
        .filter(has_role(Role::Admin))
        .filter(user::Column::IsActive.eq(true))
        .filter(user::Column::EmailVerified.eq(true))
        .order_by_asc(user::Column::Id)
        .limit(limit)
        .all(tx)
        .await?;
    let reachable = |admin: user::Model| {
        let user::Model { id, email, locale, .. } = admin;
        Some(Reachable { id, email: email?, locale })
    };
    Ok(admins.into_iter().filter_map(reachable).collect())
}

/// How many users the filter finds.
pub async fn count(db: &impl ConnectionTrait, filter: &Filter) -> Result<u64, DbErr> {
    let mut query = filtered(filter);
    if *filter == Filter::default() {
        // True of every row, it lets SQLite count the index of living users' names; the table is several times its size.
        query = query.filter(user::Column::Username.gte(""));
    }
    query.count(db).await
}

fn filtered(filter: &Filter) -> Select<user::Entity> {
    let mut query = user::Entity::find();
    query = if filter.deleted {
        let gone = Expr::col(user::Column::DeletedAt).is_not_null();
        query.filter(user::Column::Id.in_subquery(few(Condition::all().add(gone))))
    } else {
        query.filter(user::Column::DeletedAt.is_null())
    };
    if let Some(viewer) = filter.visible_to {
        query = query.filter(visible_to(viewer));
    }
    if let Some(role) = filter.role {
        if matches!(role, Role::Admin | Role::Moderator) && !filter.deleted {
            query = query.filter(user::Column::Id.in_subquery(staff()));
        }
        query = query.filter(has_role(role));
    }
    if let Some(active) = filter.is_active {
        query = query.filter(user::Column::IsActive.eq(active));
    }
    if let Some(search) = &filter.search {
        query = query.filter(user::Column::Id.in_subquery(found_by(search, filter.deleted)));
    }
    query
}

/// Whether a row of this table names a listed user in this column. Were it written with `EXISTS`, PostgreSQL would rather
/// read the whole table, once for each page.
fn is_there(table: &str, column: &str) -> SimpleExpr {
    Expr::cust(format!("(SELECT 1 FROM {table} WHERE {table}.{column} = users.id LIMIT 1) IS NOT NULL"))
}

/// The ids of staff who are not deleted: the condition is that of the index `users_staff`.
fn staff() -> SelectStatement {
    let living = Expr::col(user::Column::DeletedAt).is_null();
    few(Condition::all().add(Expr::cust("(roles & 3) <> 0")).add(living))
}

/// The ids of those few whom an index knows by this condition. As a condition of the query itself it would be tried on
/// every row in the order of the list.
fn few(condition: Condition) -> SelectStatement {
    Query::select().column(user::Column::Id).from(user::Entity).cond_where(condition).to_owned()
}

/// The ids that a search finds: one range of an index for each column. Written as alternatives of one condition, they
/// would be tried on every row in the order of the list.
fn found_by(search: &Search, deleted: bool) -> SelectStatement {
    let found = |column: user::Column, prefix: &str| {
        let deleted_at = Expr::col(user::Column::DeletedAt);
        let living = if deleted { deleted_at.is_not_null() } else { deleted_at.is_null() };
        few(starts_with(column, prefix).add(living))
    };
    let mut ids = found(user::Column::Username, &search.username);
    ids.union(UnionType::Distinct, found(user::Column::SearchName, &search.name));
    if let Some(email) = &search.email {
        ids.union(UnionType::Distinct, found(user::Column::Email, email));
    }
    ids
}

/// Active people with no block between them and `viewer`.
fn visible_to(viewer: Uuid) -> Condition {
    let id = || Expr::col((user::Entity, user::Column::Id));
    let blocked_by = |who| Query::select().column("blocked_id").from("user_blocks").and_where(who).to_owned();
    let blocking = |whom| Query::select().column("user_id").from("user_blocks").and_where(whom).to_owned();
    Condition::all()
        .add(user::Column::IsActive.eq(true))
        .add(id().not_in_subquery(blocked_by(Expr::col("user_id").eq(viewer))))
        .add(id().not_in_subquery(blocking(Expr::col("blocked_id").eq(viewer))))
}

/// A range and not `LIKE`: it uses the index on both databases, and `%` and `_` mean themselves.
fn starts_with(column: user::Column, prefix: &str) -> Condition {
    let range = Condition::all().add(column.gte(prefix));
    match successor(prefix) {
        Some(end) => range.add(column.lt(end)),
        None => range,
    }
}

/// The smallest text above every text that starts with `prefix`.
fn successor(prefix: &str) -> Option<String> {
    let mut text: Vec<char> = prefix.chars().collect();
    while let Some(last) = text.pop() {
        let next = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
        if let Some(next) = next {
            text.push(next);
            return Some(text.into_iter().collect());
        }
    }
    None
}

impl Sort {
    pub(super) fn column(self) -> user::Column {
        match self {
            Self::CreatedAt => user::Column::CreatedAt,
            Self::Username => user::Column::Username,
            Self::UpdatedAt => user::Column::UpdatedAt,
        }
    }
}

/// Where lines of history go.
pub(super) const INTO_HISTORY: &str =
    "INSERT INTO user_history (id, user_id, at, action, description, by_id, trace_id)";

/// Lines of history as rows for [`INTO_HISTORY`].
pub(super) fn history_rows(values: &mut Values, lines: &[history::Model]) -> String {
    let row = |line: &history::Model| values.row(history::Column::iter().map(|column| line.get(column)));
    lines.iter().map(row).collect::<Vec<_>>().join(", ")
}

/// A part of a user's history.
pub async fn history_of(
    db: &impl ConnectionTrait,
    user: Uuid,
    span: &Span<LineMark>,
) -> Result<Vec<history::Model>, DbErr> {
    let order = sea_orm::Order::from(span.order);
    let mut query = history::Entity::find()
        .filter(history::Column::UserId.eq(user))
        .order_by(history::Column::At, order.clone())
        .order_by(history::Column::Id, order);
    if let Some(mark) = span.after {
        query = query.filter(mark.behind(span.order));
    }
    query.offset(given(span.offset)).limit(span.limit).all(db).await
}

/// An offset that leaves out nothing is not said.
fn given(offset: u64) -> Option<u64> {
    (offset > 0).then_some(offset)
}

/// The newest line of a user's history that tells of one of these actions.
pub async fn last_told(
    db: &impl ConnectionTrait,
    user: Uuid,
    actions: &[&str],
) -> Result<Option<history::Model>, DbErr> {
    history::Entity::find()
        .filter(history::Column::UserId.eq(user))
        .filter(history::Column::Action.is_in(actions.iter().copied()))
        .order_by_desc(history::Column::At)
        .order_by_desc(history::Column::Id)
        .limit(1)
        .one(db)
        .await
}

/// How many lines a user's history has.
pub async fn history_count(db: &impl ConnectionTrait, user: Uuid) -> Result<u64, DbErr> {
    history::Entity::find().filter(history::Column::UserId.eq(user)).count(db).await
}

/// Forgets history older than `moment`, at most `limit` lines; returns how many. Its ids begin with the moment. Why an
/// account is banned, and who deleted it, is asked for as long as it is so, and stays as long.
pub async fn forget_history(tx: &Tx, moment: Timestamp, limit: i64) -> Result<u64, DbErr> {
    let sql = "DELETE FROM user_history WHERE id IN \
               (SELECT h.id FROM user_history h WHERE h.id < $1 AND h.at < $2 \
                AND (h.action NOT IN ('banned', 'deactivated', 'deleted') OR EXISTS \
                     (SELECT 1 FROM users u WHERE u.id = h.user_id AND u.is_active AND u.deleted_at IS NULL)) \
                LIMIT $3)";
    tx.run(sql, [first_uuid_v7(moment).into(), moment.millis().into(), limit.into()]).await
}

/// Whom a user blocks, oldest block first.
pub async fn blocked_by(db: &impl ConnectionTrait, user: Uuid) -> Result<Vec<Uuid>, DbErr> {
    let sql = "SELECT blocked_id FROM user_blocks WHERE user_id = $1 ORDER BY created_at, blocked_id";
    scalars(db, sql, [user.into()]).await
}

/// Adds blocks; those that stand already stay as they are.
pub async fn block(tx: &Tx, user: Uuid, blocked: &[Uuid], now: Timestamp) -> Result<(), DbErr> {
    if blocked.is_empty() {
        return Ok(());
    }
    let mut query = Query::insert();
    query.into_table("user_blocks").columns(["user_id", "blocked_id", "created_at"]);
    for other in blocked {
        query.values_panic([user.into(), (*other).into(), now.millis().into()]);
    }
    let nothing = OnConflict::columns(["user_id", "blocked_id"]).do_nothing().to_owned();
    tx.execute(query.on_conflict(nothing)).await.map(|_| ())
}

/// Takes blocks away; those that don't stand are none.
pub async fn unblock(tx: &Tx, user: Uuid, blocked: &[Uuid]) -> Result<(), DbErr> {
    let mut query = Query::delete();
    query
        .from_table("user_blocks")
        .and_where(Expr::col("user_id").eq(user))
        .and_where(Expr::col("blocked_id").is_in(blocked.iter().copied()));
    tx.execute(&query).await.map(|_| ())
}

/// Whom each of these users blocks, as pairs of who and whom, oldest block first.
pub async fn blocks_of(db: &impl ConnectionTrait, users: &[Uuid]) -> Result<Vec<(Uuid, Uuid)>, DbErr> {
    let query = Query::select()
        .columns(["user_id", "blocked_id"])
        .from("user_blocks")
        .and_where(Expr::col("user_id").is_in(users.iter().copied()))
        .order_by("created_at", sea_orm::Order::Asc)
        .order_by("blocked_id", sea_orm::Order::Asc)
        .to_owned();
    let rows = db.query_all(&query).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use sea_orm::Schema;
    use sea_orm::sea_query::SqliteQueryBuilder;

    use super::*;
    use crate::platform::db::{Order, sqlite};
    use crate::users::rows::{With, seen_by};

    /// Somebody whose every column has a value of its own, or none.
    fn somebody(number: i64, is_full: bool) -> user::Model {
        let may = |text: &str| is_full.then(|| format!("{text} {number}"));
        user::Model {
            id: Uuid::from_u128(number.unsigned_abs().into()),
            username: format!("username{number}"),
            display_name: format!("display name {number}"),
            search_name: format!("search name {number}"),
            email: may("email"),
            email_verified: is_full,
            pending_email: may("pending"),
            first_name: may("first"),
            last_name: may("last"),
            middle_name: may("middle"),
            description: may("description"),
            locale: may("locale"),
            password_hash: may("hash").map(PasswordHash),
            password_changed_at: is_full.then_some(number + 1),
            roles: 3,
            is_active: true,
            is_external_only: !is_full,
            otp_method: if is_full { OtpMethod::Email } else { OtpMethod::None },
            metadata: format!("{{\"n\":{number}}}"),
            token_version: number + 2,
            revision: number + 3,
            created_at: number + 4,
            updated_at: number + 5,
            deleted_at: None,
        }
    }

    #[tokio::test]
    async fn a_row_read_in_the_order_of_its_columns_is_the_row_read_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let db = sqlite::open(&folder.path().join("test.db"), 2, Duration::from_secs(3)).await.unwrap();
        let users = Schema::new(DbBackend::Sqlite).create_table_from_entity(user::Entity);
        let others = "CREATE TABLE user_blocks (user_id BLOB, blocked_id BLOB, created_at BIGINT, PRIMARY KEY (user_id, blocked_id)); \
                      CREATE TABLE external_accounts (user_id BLOB); CREATE TABLE files (picture_of BLOB)";
        let tables = format!("{}; {others}", users.to_string(SqliteQueryBuilder));
        let people = [somebody(100, true), somebody(200, false)];
        let (rows, blocker) = (people.clone(), people[1].id);
        let filled = db.write::<_, DbErr, _>(move |tx| {
            async move {
                tx.execute_unprepared(&tables).await?;
                for person in rows {
                    user::Entity::insert(person.into_active_model()).exec(tx).await?;
                }
                block(tx, blocker, &[Uuid::from_u128(100)], Timestamp::from_millis(0)).await
            }
            .boxed()
        });
        filled.await.unwrap();
        let reader = db.reader();
        let whole = Span { order: Order::Asc, after: None, offset: 0, limit: 9 };
        let listed = list(reader, &Filter::default(), Sort::CreatedAt, &whole).await.unwrap();
        let found: Vec<_> = listed.iter().map(|row| (&row.user, row.blocks)).collect();
        assert_eq!(found, [(&people[0], false), (&people[1], true)]);
        assert!(listed.iter().all(|row| !row.is_elsewhere && !row.is_pictured));
        for person in &people {
            let named = by_id(reader, person.id).await.unwrap().unwrap();
            let named_so = Named::Id(person.id);
            let seen = seen_by(reader, people[0].id, &named_so, With::Nothing).await.unwrap().unwrap();
            assert_eq!((&named, &seen.user), (person, person));
            assert_eq!((seen.blocks_viewer, seen.blocked_by_viewer), (person.id == blocker, false));
        }
    }

    #[test]
    fn a_user_is_named_by_uuid_or_by_name_and_in_no_other_way() {
        let id = "0190a5c0-7e3b-7c2a-8f00-1234567890ab";
        assert_eq!(Named::in_path(id), Uuid::try_parse(id).ok().map(Named::Id));
        assert_eq!(Named::in_path(&id.to_uppercase()), Named::in_path(id));
        assert_eq!(Named::in_path("@Ann_1"), Some(Named::Username("ann_1".into())));
        let longest = "名".repeat(32);
        assert_eq!(Named::in_path(&format!("@{longest}")), Some(Named::Username(longest)));
        for other in [
            "me2",
            "",
            "@",
            "1",
            "{0190a5c0-7e3b-7c2a-8f00-1234567890ab}",
            "0190a5c07e3b7c2a8f001234567890ab",
        ] {
            assert_eq!(Named::in_path(other), None, "{other}");
        }
    }
}
