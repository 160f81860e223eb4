//! The connections, and how a statement is run on one.
//!
//! sqlx's pool asks each connection that is given back whether it still lives: after every single statement one more
//! trip to the connection's thread (SQLite) or over the network (PostgreSQL). So connections in steady use are kept
//! here, the last used first. One that rested long or grew old goes back to the pool, which knows what to do with it; so
//! does one that was left in the middle of a statement on SQLite. On PostgreSQL such a one is closed, since the pool
//! would ask a silent server without end whether it still lives; and so is, on both, one that was left in the middle of
//! a transaction.

use std::mem::take;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sea_orm::sea_query::Values;
use sea_orm::{ConnAcquireErr, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use sea_query_sqlx::SqlxValues;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, Executor, IntoArguments, PgPool, Postgres, Sqlite, SqlitePool};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::damage::Damage;
use super::lack::Lack;

/// After this long without work a connection over the network is asked whether it still lives.
const RESTED: Duration = Duration::from_secs(1);
/// After this long without work a connection goes back to the pool, which closes it in its own time.
const UNUSED: Duration = Duration::from_mins(1);
/// After this long here a connection goes back to the pool, which knows how old one may become.
const OLD: Duration = Duration::from_mins(10);

/// Connections to one database.
#[derive(Clone)]
pub(super) struct Links(Arc<Shared>);

struct Shared {
    source: Source,
    /// The last used last; `None` once closed.
    kept: Mutex<Option<Vec<Kept>>>,
    room: Arc<Semaphore>,
    most: usize,
    waiting: AtomicUsize,
    patience: Duration,
    /// Where what its statements meet with may be damage.
    damage: Option<Damage>,
    /// Where what they meet with may be for want of room, or of permission.
    lack: Option<Lack>,
}

/// How busy the connections are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pressure {
    pub(super) most: usize,
    pub(super) borrowed: usize,
    pub(super) waiting: usize,
}

enum Source {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

struct Kept {
    link: Link,
    since: Instant,
}

struct Link {
    connection: Raw,
    taken: Instant,
}

enum Raw {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// Runs the same words on either kind of connection.
macro_rules! on {
    ($raw:expr, $connection:ident => $work:expr) => {
        match $raw {
            Raw::Sqlite($connection) => $work,
            Raw::Postgres($connection) => $work,
        }
    };
}

/// A connection in somebody's hands until it is dropped.
pub(super) struct Borrowed {
    link: Option<Link>,
    /// A statement runs, or was cut off.
    busy: bool,
    /// A statement was cut off before another one was run: what that one leaves behind is no better.
    spoiled: bool,
    transaction: Transaction,
    shared: Arc<Shared>,
    _place: OwnedSemaphorePermit,
}

/// How far the transaction of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transaction {
    None,
    /// It was begun, and has not ended.
    Open,
    /// So it is, but a statement of it failed. PostgreSQL keeps nothing of it then, and answers its `COMMIT` as if all were well.
    Failed,
}

impl Links {
    pub(super) fn of_sqlite(pool: SqlitePool) -> Self {
        let (room, patience) = (pool.options().get_max_connections(), pool.options().get_acquire_timeout());
        Self::new(Source::Sqlite(pool), room, patience, None, None)
    }

    /// The same for the connection that writes.
    pub(super) fn of_sqlite_writer(pool: SqlitePool, damage: Damage, lack: Lack) -> Self {
        let (room, patience) = (pool.options().get_max_connections(), pool.options().get_acquire_timeout());
        Self::new(Source::Sqlite(pool), room, patience, Some(damage), Some(lack))
    }

    pub(super) fn of_postgres(pool: PgPool, lack: Lack) -> Self {
        let (room, patience) = (pool.options().get_max_connections(), pool.options().get_acquire_timeout());
        Self::new(Source::Postgres(pool), room, patience, None, Some(lack))
    }

    fn new(
        source: Source,
        room: u32,
        patience: Duration,
        damage: Option<Damage>,
        lack: Option<Lack>,
    ) -> Self {
        let most = usize::try_from(room).unwrap_or(Semaphore::MAX_PERMITS);
        let (room, kept) = (Arc::new(Semaphore::new(most)), Mutex::new(Some(Vec::new())));
        let waiting = AtomicUsize::new(0);
        Self(Arc::new(Shared { source, kept, room, most, waiting, patience, damage, lack }))
    }

    pub(super) fn pressure(&self) -> Pressure {
        let Shared { room, most, waiting, .. } = &*self.0;
        let borrowed = most.saturating_sub(room.available_permits());
        Pressure { most: *most, borrowed, waiting: waiting.load(Relaxed) }
    }

    pub(super) fn backend(&self) -> DbBackend {
        self.0.backend()
    }

    /// Whether one of its statements met with damage.
    pub(super) fn is_damaged(&self) -> bool {
        self.0.damage.as_ref().is_some_and(Damage::is_found)
    }

    /// A connection, as soon as one is free.
    pub(super) async fn borrow(&self) -> Result<Borrowed, DbErr> {
        let shared = Arc::clone(&self.0);
        let place = match Arc::clone(&shared.room).try_acquire_owned() {
            Ok(place) => place,
            Err(_) => shared.place().await?,
        };
        let transaction = Transaction::None;
        let mut borrowed =
            Borrowed { link: None, busy: false, spoiled: false, transaction, shared, _place: place };
        if !borrowed.take_kept().await {
            let acquired = borrowed.shared.source.acquire().await;
            borrowed.link = Some(borrowed.shared.looked_at(acquired).map_err(not_acquired)?);
        }
        Ok(borrowed)
    }

    /// Closes every connection, once its statement has ended.
    pub(super) async fn close(&self) {
        self.0.room.close();
        drop(self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).take());
        match &self.0.source {
            Source::Sqlite(pool) => pool.close().await,
            Source::Postgres(pool) => pool.close().await,
        }
    }
}

/// Somebody who waits for a connection, until dropped.
struct Waits<'s>(&'s AtomicUsize);

impl<'s> Waits<'s> {
    fn begin(waiting: &'s AtomicUsize) -> Self {
        waiting.fetch_add(1, Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Shared {
    /// Nothing that goes wrong is damage unseen, or a full disk.
    fn looked_at<T>(&self, done: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if let Err(error) = &done {
            self.damage.iter().for_each(|damage| damage.look_at(error));
            self.lack.iter().for_each(|lack| lack.look_at(error));
        }
        done
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, DbErr> {
        let _waits = Waits::begin(&self.waiting);
        match tokio::time::timeout(self.patience, Arc::clone(&self.room).acquire_owned()).await {
            Ok(place) => place.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)),
            Err(_) => Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)),
        }
    }

    fn pop(&self) -> Option<Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.pop()
    }

    /// Keeps a connection for the next one who asks; those that nobody needed for long go back to the pool.
    fn keep(&self, link: Link) {
        if link.taken.elapsed() > OLD {
            return;
        }
        let mut lock = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = lock.as_mut() else { return };
        let unused = kept.first().is_some_and(|first| first.since.elapsed() > UNUSED).then(|| kept.remove(0));
        kept.push(Kept { link, since: Instant::now() });
        drop(lock);
        drop(unused);
    }
}

impl Drop for Shared {
    /// The pool would give itself its connections back in a task, for which it may be too late.
    fn drop(&mut self) {
        let kept = take(self.kept.get_mut().unwrap_or_else(PoisonError::into_inner));
        for Kept { link, .. } in kept.into_iter().flatten() {
            on!(link.connection, connection => drop(connection.leak()));
        }
    }
}

impl Source {
    async fn acquire(&self) -> Result<Link, sqlx::Error> {
        let connection = match self {
            Self::Sqlite(pool) => Raw::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Raw::Postgres(pool.acquire().await?),
        };
        Ok(Link { connection, taken: Instant::now() })
    }
}

impl Borrowed {
    /// Takes the connection that was used last and still lives, if there is one.
    async fn take_kept(&mut self) -> bool {
        while let Some(Kept { link, since }) = self.shared.pop() {
            let Raw::Postgres(connection) = &mut self.link.insert(link).connection else { return true };
            // It may be dead since the server restarted; one in steady use is not asked each time.
            if since.elapsed() < RESTED {
                return true;
            }
            // Whoever stops waiting for its answer leaves it in the middle of a statement.
            self.busy = true;
            let lives = connection.ping().await.is_ok();
            self.busy = false;
            if lives {
                return true;
            }
        }
        self.link = None;
        false
    }

    pub(super) fn backend(&self) -> DbBackend {
        self.shared.backend()
    }

    /// Whether its last statement was cut off, or broke it: asking it for anything more is in vain.
    pub(super) const fn is_of_no_use(&self) -> bool {
        self.busy
    }

    /// A transaction begins: unless it ends well, the connection is of no use to the next one.
    pub(super) fn begins(&mut self) {
        self.transaction = Transaction::Open;
    }

    /// Whether its transaction can only be undone.
    pub(super) fn is_doomed(&self) -> bool {
        self.transaction == Transaction::Failed && self.backend() == DbBackend::Postgres
    }

    /// The transaction has ended.
    pub(super) fn ended(&mut self) {
        self.transaction = Transaction::None;
    }

    pub(super) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let link = self.start()?;
        let done = on!(&mut link.connection, connection => {
            execute(&mut **connection, statement).await.map(|done| done.map(ExecResult::from))
        });
        let done = self.finish(done).map_err(|error| DbErr::Exec(RuntimeErr::SqlxError(error.into())))?;
        done.ok_or_else(|| DbErr::Custom("an empty statement".into()))
    }

    pub(super) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        let (link, sql) = (self.start()?, AssertSqlSafe(sql.to_owned()));
        let done = on!(&mut link.connection, connection => (&mut **connection).execute(sql).await.map(ExecResult::from));
        self.finish(done).map_err(|error| DbErr::Exec(RuntimeErr::SqlxError(error.into())))
    }

    pub(super) async fn query_one(&mut self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let link = self.start()?;
        let row = on!(&mut link.connection, connection => {
            (&mut **connection).fetch_optional(query(statement)).await.map(|row| row.map(QueryResult::from))
        });
        self.finish(row).map_err(|error| DbErr::Query(RuntimeErr::SqlxError(error.into())))
    }

    pub(super) async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let link = self.start()?;
        let rows = on!(&mut link.connection, connection => {
            let rows = (&mut **connection).fetch_all(query(statement)).await;
            rows.map(|rows| rows.into_iter().map(QueryResult::from).collect())
        });
        self.finish(rows).map_err(|error| DbErr::Query(RuntimeErr::SqlxError(error.into())))
    }

    /// Of a database that was found damaged nothing more is asked here, not even the end of a transaction.
    fn start(&mut self) -> Result<&mut Link, DbErr> {
        if self.shared.damage.as_ref().is_some_and(Damage::is_found) {
            self.spoiled = true;
            return Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed));
        }
        self.spoiled |= self.busy;
        self.busy = true;
        self.link.as_mut().ok_or(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))
    }

    fn finish<T>(&mut self, done: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        self.busy = self.spoiled || done.as_ref().is_err_and(|error| !leaves_whole(error));
        if done.is_err() && self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
        }
        self.shared.looked_at(done)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        let silent = self.busy && matches!(link.connection, Raw::Postgres(_));
        if self.transaction != Transaction::None || silent {
            on!(&mut link.connection, connection => connection.close_on_drop());
        } else if !self.busy {
            self.shared.keep(link);
        }
    }
}

impl Shared {
    const fn backend(&self) -> DbBackend {
        match self.source {
            Source::Sqlite(_) => DbBackend::Sqlite,
            Source::Postgres(_) => DbBackend::Postgres,
        }
    }
}

fn query<D: sqlx::Database>(statement: Statement) -> Query<'static, D, SqlxValues>
where
    SqlxValues: IntoArguments<D>,
{
    let values = statement.values.unwrap_or_else(|| Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}

/// The outcome of the last statement: where several stand in one text, the others only lead up to it.
async fn execute<'c, D, C>(connection: C, statement: Statement) -> Result<Option<D::QueryResult>, sqlx::Error>
where
    D: sqlx::Database,
    C: Executor<'c, Database = D>,
    SqlxValues: IntoArguments<D>,
{
    let mut outcomes = connection.fetch_many(query(statement));
    let mut last = None;
    while let Some(outcome) = outcomes.try_next().await? {
        last = outcome.left().or(last);
    }
    Ok(last)
}

/// What the database itself refused leaves the connection as good as it was, unless that was its last word
/// (`admin_shutdown` and the like).
fn leaves_whole(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().map(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| !code.is_some_and(|code| code.starts_with("57P") || code.starts_with("08")))
}

fn not_acquired(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        _ => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
    }
}
