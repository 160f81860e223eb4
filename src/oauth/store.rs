//! The rows of third-party sign-in.

use sea_orm::entity::prelude::*;
use sea_orm::{FromQueryResult, IntoActiveModel, QueryOrder, QuerySelect, Statement};

use crate::platform::clock::Timestamp;
use crate::platform::db::{Tx, columns, scalar};

/// Table `external_accounts`.
pub mod external_account {
    use sea_orm::entity::prelude::*;

    /// Somebody's account at another provider. What the provider gave us for it is sealed.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "external_accounts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        /// Its id here.
        pub id: Uuid,
        /// The provider.
        pub provider: String,
        /// Who they are there: never an address.
        pub subject: String,
        /// Whose it is here.
        pub user_id: Uuid,
        /// The user name there.
        pub username: Option<String>,
        /// The shown name there.
        pub display_name: Option<String>,
        /// The address there, if the provider vouches for it.
        pub email: Option<String>,
        /// Where the picture there is.
        pub picture_url: Option<String>,
        /// What the provider gave us, sealed.
        pub sealed_grant: Option<Vec<u8>>,
        /// When it was linked.
        pub created_at: i64,
        /// When the provider last told of it.
        pub updated_at: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `oauth_transactions`.
pub mod transaction {
    use sea_orm::entity::prelude::*;

    /// Somebody who has left for a provider.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "oauth_transactions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub state_digest: Vec<u8>,
        pub cookie_digest: Vec<u8>,
        pub provider: String,
        pub intent: String,
        pub user_id: Option<Uuid>,
        pub session_id: Option<Uuid>,
        pub place: String,
        pub code_challenge: Option<String>,
        pub sealed: Vec<u8>,
        pub created_at: i64,
        pub expires_at: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `oauth_codes`.
pub mod code {
    use sea_orm::entity::prelude::*;

    /// A right sign-in elsewhere, to be traded for tokens.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "oauth_codes")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub digest: Vec<u8>,
        pub user_id: Uuid,
        /// As the account had it then.
        pub token_version: i64,
        pub place: String,
        pub code_challenge: Option<String>,
        pub sealed_joining: Option<Vec<u8>>,
        pub created_at: i64,
        pub expires_at: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The account of this subject at this provider.
pub async fn account(
    db: &impl ConnectionTrait,
    provider: &str,
    subject: &str,
) -> Result<Option<external_account::Model>, DbErr> {
    external_account::Entity::find()
        .filter(external_account::Column::Provider.eq(provider))
        .filter(external_account::Column::Subject.eq(subject))
        .one(db)
        .await
}

/// A user's accounts elsewhere, the oldest first.
pub async fn accounts_of(
    db: &impl ConnectionTrait,
    user: Uuid,
) -> Result<Vec<external_account::Model>, DbErr> {
    external_account::Entity::find()
        .filter(external_account::Column::UserId.eq(user))
        .order_by_asc(external_account::Column::CreatedAt)
        .order_by_asc(external_account::Column::Id)
        .all(db)
        .await
}

/// Adds an account; that it is somebody's already is the unique index's to say.
pub async fn insert_account(tx: &Tx, row: external_account::Model) -> Result<(), DbErr> {
    tx.touch_profile(row.user_id);
    external_account::Entity::insert(row.into_active_model()).exec_without_returning(tx).await.map(|_| ())
}

/// Writes what a provider says of an account by now.
pub async fn update_account(tx: &Tx, row: external_account::Model) -> Result<(), DbErr> {
    tx.touch_profile(row.user_id);
    row.into_active_model().reset_all().update(tx).await.map(|_| ())
}

/// Takes a user's account at a provider away, whoever comes first.
pub async fn take_account(
    tx: &Tx,
    user: Uuid,
    provider: &str,
) -> Result<Option<external_account::Model>, DbErr> {
    tx.touch_profile(user);
    let sql = format!(
        "DELETE FROM external_accounts WHERE user_id = $1 AND provider = $2 RETURNING {}",
        columns::<external_account::Entity>("external_accounts")
    );
    one(tx, sql, [user.into(), provider.into()]).await
}

/// Opens a transaction.
pub async fn insert_transaction(tx: &Tx, row: transaction::Model) -> Result<(), DbErr> {
    transaction::Entity::insert(row.into_active_model()).exec_without_returning(tx).await.map(|_| ())
}

/// Uses a transaction up, whoever comes first; only by the browser that opened it, at the provider that it was opened
/// for, in its time.
pub async fn take_transaction(
    tx: &Tx,
    state: &[u8],
    cookie: &[u8],
    provider: &str,
    now: Timestamp,
) -> Result<Option<transaction::Model>, DbErr> {
    let sql = format!(
        "DELETE FROM oauth_transactions WHERE state_digest = $1 AND cookie_digest = $2 AND provider = $3 \
         AND expires_at > $4 RETURNING {}",
        columns::<transaction::Entity>("oauth_transactions")
    );
    one(tx, sql, [state.into(), cookie.into(), provider.into(), now.millis().into()]).await
}

/// Keeps a code.
pub async fn insert_code(tx: &Tx, row: code::Model) -> Result<(), DbErr> {
    code::Entity::insert(row.into_active_model()).exec_without_returning(tx).await.map(|_| ())
}

/// Whose a code is.
pub async fn owner_of_code(tx: &Tx, digest: &[u8]) -> Result<Option<Uuid>, DbErr> {
    let sql = "SELECT user_id FROM oauth_codes WHERE digest = $1";
    scalar(tx, sql, [digest.into()]).await
}

/// Uses a code up, whoever comes first.
pub async fn take_code(tx: &Tx, digest: &[u8]) -> Result<Option<code::Model>, DbErr> {
    let sql = format!(
        "DELETE FROM oauth_codes WHERE digest = $1 RETURNING {}",
        columns::<code::Entity>("oauth_codes")
    );
    one(tx, sql, [digest.into()]).await
}

/// Keeps an account that joins once a challenge is answered.
pub async fn insert_joining(tx: &Tx, challenge: &[u8], sealed: Vec<u8>) -> Result<(), DbErr> {
    let sql = "INSERT INTO oauth_joinings (challenge, sealed) VALUES ($1, $2)";
    tx.run(sql, [challenge.into(), sealed.into()]).await.map(|_| ())
}

/// What joins once a challenge is answered. It goes with the challenge.
pub async fn joining(db: &impl ConnectionTrait, challenge: &[u8]) -> Result<Option<Vec<u8>>, DbErr> {
    let sql = "SELECT sealed FROM oauth_joinings WHERE challenge = $1";
    scalar(db, sql, [challenge.into()]).await
}

/// Forgets transactions and codes whose time is over, at most `limit` of each; returns how many.
pub async fn forget_expired(tx: &Tx, now: Timestamp, limit: i64) -> Result<u64, DbErr> {
    let sql = "DELETE FROM oauth_transactions WHERE state_digest IN \
               (SELECT state_digest FROM oauth_transactions WHERE expires_at <= $1 LIMIT $2)";
    let transactions = tx.run(sql, [now.millis().into(), limit.into()]).await?;
    let sql = "DELETE FROM oauth_codes WHERE digest IN \
               (SELECT digest FROM oauth_codes WHERE expires_at <= $1 LIMIT $2)";
    Ok(transactions + tx.run(sql, [now.millis().into(), limit.into()]).await?)
}

/// Which of these user names are taken.
pub async fn taken_names(tx: &Tx, names: &[&str]) -> Result<Vec<String>, DbErr> {
    use crate::users::store::user;
    user::Entity::find()
        .select_only()
        .column(user::Column::Username)
        .filter(user::Column::Username.is_in(names.iter().copied()))
        .filter(user::Column::DeletedAt.is_null())
        .into_tuple()
        .all(tx)
        .await
}

async fn one<M: FromQueryResult, const N: usize>(
    tx: &Tx,
    sql: String,
    values: [Value; N],
) -> Result<Option<M>, DbErr> {
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    M::find_by_statement(statement).one(tx).await
}
