//! The rows of the directory: who of it is who here, how far it was followed, what was not understood.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::Expr;
use sea_orm::{FromQueryResult, IntoActiveModel, QueryOrder, QuerySelect, Statement};

use crate::platform::clock::Timestamp;
use crate::platform::db::Tx;

/// Table `workos_users`.
pub mod known {
    use sea_orm::entity::prelude::*;

    /// Somebody of the directory.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "workos_users")]
    pub struct Model {
        /// Who they are there.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        /// Who they are here; none if they never were here, or were purged.
        pub user_id: Option<Uuid>,
        /// When they were last changed, by WorkOS's clock.
        pub updated_at: i64,
        /// When they were deleted there, by WorkOS's clock.
        pub deleted_at: Option<i64>,
        /// When this row was made, by our clock.
        pub noted_at: i64,
        /// The last full listing that named them.
        pub listing: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `workos_state`: one row.
pub mod state {
    use sea_orm::entity::prelude::*;

    /// How far the directory was followed.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "workos_state")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: i32,
        /// Moves with every page.
        pub revision: i64,
        /// What is done at present.
        pub phase: Phase,
        /// The last event that was applied, or kept for people to look at.
        pub last_event: Option<String>,
        /// When it happened, by WorkOS's clock; never ahead of ours.
        pub last_event_at: Option<i64>,
        /// Where events begin that are not behind one.
        pub range_start: Option<i64>,
        /// The number of the full listing.
        pub listing: i64,
        /// When it began, by our clock.
        pub listing_from: Option<i64>,
        /// Behind whom it goes on.
        pub listing_after: Option<String>,
        /// When everything there was here, by our clock.
        pub synced_at: Option<i64>,
        pub applied: i64,
        pub skipped: i64,
        pub quarantined: i64,
        /// Why it doesn't go on, if it doesn't.
        pub trouble: Option<String>,
    }

    /// What is done at present.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
    #[sea_orm(rs_type = "String", db_type = "Text")]
    pub enum Phase {
        /// Nothing is known yet, or nothing that could be gone on from: everybody is to be listed.
        #[sea_orm(string_value = "new")]
        New,
        /// Everybody is listed.
        #[sea_orm(string_value = "listing")]
        Listing,
        /// Everybody was listed; who was not named goes.
        #[sea_orm(string_value = "removing")]
        Removing,
        /// Events are followed.
        #[sea_orm(string_value = "following")]
        Following,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `workos_quarantine`.
pub mod odd {
    use sea_orm::entity::prelude::*;

    /// What could not be understood, or not be done.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "workos_quarantine")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: String,
        pub body: String,
        pub reason: String,
        pub at: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `workos_intents`.
pub mod intent {
    use sea_orm::entity::prelude::*;

    /// Somebody who is about to be made there, or to be taken back.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "workos_intents")]
    pub struct Model {
        /// Who they are to be here.
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        /// When it began, by our clock.
        pub begun_at: i64,
        /// When it was given up the last time; none: whoever began it may still make the account.
        pub given_up_at: Option<i64>,
        /// The newest that was told of them meanwhile, by WorkOS's clock.
        pub told_at: Option<i64>,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) use state::{Model as State, Phase};

/// How far the directory was followed.
pub(super) async fn state(db: &impl ConnectionTrait) -> Result<State, DbErr> {
    let row = state::Entity::find().one(db).await?;
    row.ok_or_else(|| DbErr::RecordNotFound("workos_state has no row".to_owned()))
}

/// Whether the state is still that one; if so, nobody else moves it on in this transaction's time.
pub(super) async fn claim(tx: &Tx, state: &mut State) -> Result<bool, DbErr> {
    let sql = "UPDATE workos_state SET revision = revision + 1 WHERE id = $1 AND revision = $2";
    let claimed = tx.run(sql, [state.id.into(), state.revision.into()]).await? == 1;
    state.revision += i64::from(claimed);
    Ok(claimed)
}

/// Writes the state, which was claimed.
pub(super) async fn save(tx: &Tx, state: State) -> Result<(), DbErr> {
    state.into_active_model().reset_all().update(tx).await.map(|_| ())
}

/// Notes that everything there is here, or why not.
pub(super) async fn note(
    tx: &Tx,
    synced_at: Option<Timestamp>,
    trouble: Option<String>,
) -> Result<(), DbErr> {
    let sql = "UPDATE workos_state SET synced_at = COALESCE($2, synced_at), trouble = $3 WHERE id = $1";
    let values = [1_i32.into(), synced_at.map(Timestamp::millis).into(), trouble.into()];
    tx.run(sql, values).await.map(|_| ())
}

/// Somebody of the directory.
pub(super) async fn known(db: &impl ConnectionTrait, id: &str) -> Result<Option<known::Model>, DbErr> {
    known::Entity::find_by_id(id).one(db).await
}

/// Those of the directory with these ids, in no particular order.
pub(super) async fn known_of(
    db: &impl ConnectionTrait,
    ids: impl IntoIterator<Item = &str>,
) -> Result<Vec<known::Model>, DbErr> {
    known::Entity::find().filter(known::Column::Id.is_in(ids)).all(db).await
}

/// Those of the directory behind `after`, in the order of their ids.
pub(super) async fn behind(
    db: &impl ConnectionTrait,
    after: &str,
    limit: u64,
) -> Result<Vec<known::Model>, DbErr> {
    known::Entity::find()
        .filter(known::Column::Id.gt(after))
        .order_by_asc(known::Column::Id)
        .limit(limit)
        .all(db)
        .await
}

/// Whether somebody here is kept by the directory.
pub(super) async fn keeps(db: &impl ConnectionTrait, user: Uuid) -> Result<bool, DbErr> {
    let query = known::Entity::find().filter(known::Column::UserId.eq(user));
    Ok(query.filter(known::Column::DeletedAt.is_null()).count(db).await? > 0)
}

/// Whether somebody here is kept by the directory, and what is known of them is no newer than that.
pub(super) async fn keeps_as_of(tx: &Tx, user: Uuid, at: Timestamp) -> Result<bool, DbErr> {
    let query = known::Entity::find().filter(known::Column::UserId.eq(user));
    let query = query.filter(known::Column::DeletedAt.is_null());
    Ok(query.filter(known::Column::UpdatedAt.lte(at.millis())).count(tx).await? > 0)
}

/// Adds somebody. Whoever is added twice at the same moment is the primary key's to refuse.
pub(super) async fn add(tx: &Tx, row: known::Model) -> Result<(), DbErr> {
    known::Entity::insert(row.into_active_model()).exec_without_returning(tx).await.map(|_| ())
}

/// Notes when somebody was last changed.
pub(super) async fn changed(tx: &Tx, id: &str, at: Timestamp) -> Result<(), DbErr> {
    let sql = "UPDATE workos_users SET updated_at = $2 WHERE id = $1";
    tx.run(sql, [id.into(), at.millis().into()]).await.map(|_| ())
}

/// Puts up a tombstone.
pub(super) async fn bury(tx: &Tx, id: &str, at: Timestamp, now: Timestamp) -> Result<(), DbErr> {
    let sql = "INSERT INTO workos_users (id, user_id, updated_at, deleted_at, noted_at, listing) \
               VALUES ($1, NULL, $2, $2, $3, 0) \
               ON CONFLICT (id) DO UPDATE SET deleted_at = excluded.deleted_at";
    tx.run(sql, [id.into(), at.millis().into(), now.millis().into()]).await.map(|_| ())
}

/// Puts up a tombstone of somebody of whom nothing is known.
pub(super) async fn bury_unknown(tx: &Tx, id: &str, at: Timestamp, now: Timestamp) -> Result<(), DbErr> {
    let sql = "INSERT INTO workos_users (id, user_id, updated_at, deleted_at, noted_at, listing) \
               VALUES ($1, NULL, $2, $2, $3, 0) ON CONFLICT (id) DO NOTHING";
    tx.run(sql, [id.into(), at.millis().into(), now.millis().into()]).await.map(|_| ())
}

/// Notes that a full listing named these.
pub(super) async fn listed(tx: &Tx, ids: &[&str], listing: i64) -> Result<(), DbErr> {
    known::Entity::update_many()
        .col_expr(known::Column::Listing, Expr::value(listing))
        .filter(known::Column::Id.is_in(ids.iter().copied()))
        .exec(tx)
        .await
        .map(|_| ())
}

/// Those whom a full listing that began at `from` did not name, at most `limit`.
pub(super) async fn unlisted(
    tx: &Tx,
    listing: i64,
    from: Timestamp,
    limit: u64,
) -> Result<Vec<known::Model>, DbErr> {
    known::Entity::find()
        .filter(known::Column::DeletedAt.is_null())
        .filter(known::Column::Listing.lt(listing))
        .filter(known::Column::NotedAt.lt(from.millis()))
        .limit(limit)
        .all(tx)
        .await
}

/// Whether a full listing named none of those who were known before it, although there are some.
pub(super) async fn lists_nobody_known(
    db: &impl ConnectionTrait,
    listing: i64,
    from: Timestamp,
) -> Result<bool, DbErr> {
    let known = || {
        known::Entity::find()
            .filter(known::Column::DeletedAt.is_null())
            .filter(known::Column::NotedAt.lt(from.millis()))
    };
    let is_named = known().filter(known::Column::Listing.eq(listing)).one(db).await?.is_some();
    Ok(!is_named && known().one(db).await?.is_some())
}

/// Keeps what could not be understood; once.
pub(super) async fn set_aside(
    tx: &Tx,
    id: &str,
    body: String,
    reason: &str,
    at: Timestamp,
) -> Result<(), DbErr> {
    let sql = "INSERT INTO workos_quarantine (id, body, reason, at) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (id) DO NOTHING";
    tx.run(sql, [id.into(), body.into(), reason.into(), at.millis().into()]).await.map(|_| ())
}

/// What could not be understood, the oldest first.
pub(super) async fn set_aside_of(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<odd::Model>, DbErr> {
    let query = odd::Entity::find().order_by_asc(odd::Column::At).order_by_asc(odd::Column::Id);
    query.limit(limit).all(db).await
}

/// Forgets what was set aside before `moment`, at most `limit`; how much that was.
pub(super) async fn forget_set_aside(tx: &Tx, moment: Timestamp, limit: i64) -> Result<u64, DbErr> {
    let sql = "DELETE FROM workos_quarantine WHERE id IN \
               (SELECT id FROM workos_quarantine WHERE at < $1 LIMIT $2)";
    tx.run(sql, [moment.millis().into(), limit.into()]).await
}

/// Notes that somebody who shall have this id here is about to be made there.
pub(super) async fn intend(tx: &Tx, id: Uuid, now: Timestamp) -> Result<(), DbErr> {
    let sql = "INSERT INTO workos_intents (id, begun_at) VALUES ($1, $2)";
    tx.run(sql, [id.into(), now.millis().into()]).await.map(|_| ())
}

/// Those of these ids with which somebody is about to be made, or to be taken back.
pub(super) async fn intended(db: &impl ConnectionTrait, ids: Vec<Uuid>) -> Result<Vec<Uuid>, DbErr> {
    let intents = intent::Entity::find().filter(intent::Column::Id.is_in(ids)).all(db).await?;
    Ok(intents.into_iter().map(|intent| intent.id).collect())
}

/// Notes what was told of such a one; whether it still is one. Whoever makes the account at this moment is waited for.
pub(super) async fn told_of_intended(tx: &Tx, id: Uuid, at: Timestamp) -> Result<bool, DbErr> {
    let sql = "UPDATE workos_intents SET told_at = CASE WHEN told_at > $2 THEN told_at ELSE $2 END \
               WHERE id = $1";
    Ok(tx.run(sql, [id.into(), at.millis().into()]).await? == 1)
}

/// Ends an intent with the account that the same transaction makes; whether it may make it of what was so at `at`: it
/// was not given up, and nothing newer was told.
pub(super) async fn fulfil(tx: &Tx, id: Uuid, at: Timestamp) -> Result<bool, DbErr> {
    let sql = "DELETE FROM workos_intents \
               WHERE id = $1 AND given_up_at IS NULL AND (told_at IS NULL OR told_at <= $2)";
    Ok(tx.run(sql, [id.into(), at.millis().into()]).await? == 1)
}

/// Gives an intent up: from now on no account is made of it. If there is one, or it is no intent any more, nobody is to
/// be taken back.
pub(super) async fn give_up(tx: &Tx, id: Uuid, now: Timestamp) -> Result<bool, DbErr> {
    let made = "DELETE FROM workos_intents \
                WHERE id = $1 AND EXISTS (SELECT 1 FROM users WHERE users.id = workos_intents.id)";
    tx.run(made, [id.into()]).await?;
    let sql = "UPDATE workos_intents SET given_up_at = $2 \
               WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM users WHERE users.id = workos_intents.id)";
    Ok(tx.run(sql, [id.into(), now.millis().into()]).await? == 1)
}

/// Forgets an intent of which nothing is there.
pub(super) async fn forget_intent(tx: &Tx, id: Uuid) -> Result<(), DbErr> {
    tx.run("DELETE FROM workos_intents WHERE id = $1", [id.into()]).await.map(|_| ())
}

/// Intents that nobody has seen to since `due`, the oldest first, at most `limit`. What lies ahead of `now` for as long
/// was noted before the clock was set back.
pub(super) async fn overdue(
    db: &impl ConnectionTrait,
    due: Timestamp,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<intent::Model>, DbErr> {
    let sql = "SELECT id, begun_at, given_up_at, told_at FROM workos_intents \
               WHERE COALESCE(given_up_at, begun_at) NOT BETWEEN $1 AND $2 ORDER BY id LIMIT $3";
    let ahead = now.after(now.since(due));
    let values = [due.millis().into(), ahead.millis().into(), limit.into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    intent::Model::find_by_statement(statement).all(db).await
}
