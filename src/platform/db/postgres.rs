//! PostgreSQL: a pool whose connections commit durably and give up on what takes too long.

use std::str::FromStr;
use std::time::Duration;

use sea_orm::{DbErr, RuntimeErr};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor};

use super::damage::Damage;
use super::lack::Lack;
use super::links::Links;
use super::writer::Writer;
use super::{Database, Reader};

/// For every connection: an answered write is on disk, a forgotten transaction or lock ends by itself.
const SESSION: &str = "SET synchronous_commit = on; SET statement_timeout = '30s'; SET lock_timeout = '2s'; \
                       SET idle_in_transaction_session_timeout = '30s'";

/// `lock_timeout`, as far as the client must know it.
const LOCK: Duration = Duration::from_secs(2);
/// What a statement may take beside waiting for a lock; what takes longer has no place in a request.
const ANSWER: Duration = Duration::from_secs(1);

/// After this long without work a connection is asked whether it still lives.
const RESTED: Duration = Duration::from_secs(1);

/// Connects; a database that is missing is created where the role may.
pub async fn open(url: &str, max_connections: u32, acquire: Duration) -> Result<Database, DbErr> {
    let options = PgConnectOptions::from_str(url).map_err(refused)?.application_name("gatehouse");
    let options = options.statement_cache_capacity(256);
    create_if_missing(&options).await.map_err(refused)?;
    let pool = pool(options, max_connections, acquire).await.map_err(refused)?;
    let lack = Lack::default();
    let links = Links::of_postgres(pool, lack.clone());
    // A statement is answered, or given up, within the time that a connection is waited for.
    let reader = Reader::new(links.clone(), Some(acquire));
    // A server whose disk fails ends itself.
    let damage = Damage::default();
    Ok(Database::new(reader, Writer::Pool(links, Some(acquire.max(LOCK + ANSWER))), damage, lack))
}

async fn pool(options: PgConnectOptions, size: u32, acquire: Duration) -> Result<PgPool, sqlx::Error> {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(acquire)
        .test_before_acquire(false)
        // A connection that rested may be dead since the server restarted; one in steady use is not asked each time.
        .before_acquire(|connection, usage| {
            Box::pin(async move {
                if usage.idle_for > RESTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|connection, _| Box::pin(async move { connection.execute(SESSION).await.map(|_| ()) }))
        .connect_with(options)
        .await
}

/// `invalid_catalog_name`: the database is not there.
const NOT_THERE: &str = "3D000";

/// Whether the database is there. One that does not answer, or lets nobody in, counts as there: who connects is told
/// more.
pub async fn exists(url: &str, acquire: Duration) -> bool {
    let Ok(options) = PgConnectOptions::from_str(url) else { return true };
    match tokio::time::timeout(acquire, options.connect()).await {
        Ok(Err(error)) => state(&error).as_deref() != Some(NOT_THERE),
        Ok(Ok(connection)) => {
            drop(connection.close().await);
            true
        }
        Err(_) => true,
    }
}

async fn create_if_missing(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    match options.connect().await {
        Ok(connection) => connection.close().await,
        Err(error) if state(&error).as_deref() == Some(NOT_THERE) => create(options).await,
        Err(error) => Err(error),
    }
}

async fn create(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let name = options.get_database().unwrap_or_default().replace('"', "\"\"");
    let mut connection = options.clone().database("postgres").connect().await?;
    let sql = sqlx::AssertSqlSafe(format!("CREATE DATABASE \"{name}\""));
    match connection.execute(sql).await {
        // duplicate_database; unique_violation, when both were made in the same moment: another instance was faster.
        Err(error) if !matches!(state(&error).as_deref(), Some("42P04" | "23505")) => Err(error),
        _ => {
            tracing::info!(database = name, "created the database");
            connection.close().await
        }
    }
}

fn state(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}

fn refused(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}

/// The exact SQL that lets the connection or the migration succeed, for the operator; `None` when SQL is not the cure.
#[must_use]
pub fn remedy(error: &DbErr, url: &str) -> Option<String> {
    let (DbErr::Conn(RuntimeErr::SqlxError(cause))
    | DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))) = error
    else {
        return None;
    };
    let options = PgConnectOptions::from_str(url).ok()?;
    let (role, database) = (options.get_username(), options.get_database().unwrap_or("gatehouse"));
    let make_role = format!(
        "CREATE ROLE \"{role}\" LOGIN PASSWORD '…'; CREATE DATABASE \"{database}\" OWNER \"{role}\";"
    );
    match (state(cause)?.as_str(), error) {
        // invalid_password: said of a wrong password and, so as not to tell, of a role that does not exist
        ("28P01", _) => Some(format!(
            "if the role exists, ALTER ROLE \"{role}\" PASSWORD '…'; (or correct the password in the settings); \
             if not, {make_role}"
        )),
        // invalid_authorization_specification: no such role, unless pg_hba.conf keeps us out whoever we are
        ("28000", _) => (!cause.to_string().contains("pg_hba.conf")).then_some(make_role),
        // insufficient_privilege: to make the database, or anything in it
        ("42501", DbErr::Conn(_)) => Some(format!("CREATE DATABASE \"{database}\" OWNER \"{role}\";")),
        ("42501", _) => Some(format!("ALTER DATABASE \"{database}\" OWNER TO \"{role}\";")),
        _ => None,
    }
}
