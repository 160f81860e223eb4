//! A transaction as an act sees it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, Value};
use tokio::sync::Notify;
use uuid::Uuid;

use super::links::Borrowed;
use super::patience::within;
use super::traced::{kind_of, traced};
use crate::platform::freshness::{Freshness, View};

/// A transaction in which an act changes things.
///
/// Each trip to the connection costs more than most statements. So a transaction begins with its first statement and not
/// before; its last statement goes together with its end, where the database takes several at once (SQLite); and an act
/// that is one statement goes as it is ([`Tx::execute_alone`]).
pub struct Tx {
    backend: DbBackend,
    open: tokio::sync::Mutex<Open>,
    effects: Mutex<Effects>,
    patience: Option<Duration>,
    /// Since when its first statement is waited for: waiting for a connection and for its first word are one wait.
    awaited: Mutex<Option<Instant>>,
}

/// What an act does beyond the database, once it is committed.
#[derive(Default)]
pub(super) struct Effects {
    touched: Vec<(View, Uuid)>,
    waiting: Vec<Arc<Notify>>,
}

/// What a transaction is to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// All of it.
    Whole,
    /// A part of a shared one, which can be undone by itself (SQLite).
    Part,
}

/// The connection of a transaction, and how far that has come.
pub(super) struct Open {
    pub(super) link: Borrowed,
    frame: Frame,
    begun: bool,
    /// To be run with the end.
    last: Option<Statement>,
    /// Something was run that ends its transaction by itself: it may be kept, whatever becomes of the act.
    kept: bool,
}

impl Tx {
    /// `awaited` is when the wait for the connection began.
    pub(super) fn new(link: Borrowed, frame: Frame, patience: Option<Duration>, awaited: Instant) -> Self {
        let backend = link.backend();
        let open = tokio::sync::Mutex::new(Open { link, frame, begun: false, last: None, kept: false });
        Self { backend, open, effects: Mutex::default(), patience, awaited: Mutex::new(Some(awaited)) }
    }

    /// Says that this act changes what is known of `user`.
    pub fn touch(&self, user: Uuid) {
        self.effects().touched.push((View::Standing, user));
    }

    /// Says that this act changes what is shown of `user`, but nothing that decides about their tokens.
    pub fn touch_profile(&self, user: Uuid) {
        self.effects().touched.push((View::Profile, user));
    }

    /// Wakes whoever waits for what this act leaves behind, once it is committed.
    pub fn wake(&self, waiting: &Arc<Notify>) {
        self.effects().waiting.push(Arc::clone(waiting));
    }

    fn effects(&self) -> MutexGuard<'_, Effects> {
        self.effects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a statement with these values; how many rows it wrote.
    pub async fn run<const N: usize>(&self, sql: &str, values: [Value; N]) -> Result<u64, DbErr> {
        let statement = Statement::from_sql_and_values(self.backend, sql, values);
        Ok(self.execute_raw(statement).await?.rows_affected())
    }

    /// Runs a statement whose outcome the act doesn't need, at the latest with the end of the transaction. If it fails
    /// then, so does the act.
    pub async fn execute_at_the_end(&self, statement: Statement) -> Result<(), DbErr> {
        self.within(kind_of(&statement.sql), async {
            let mut open = self.open.lock().await;
            if self.backend != DbBackend::Sqlite || !open.begun {
                return open.execute(statement).await.map(|_| ());
            }
            open.run_last().await?;
            open.last = Some(statement);
            Ok(())
        })
        .await
    }

    /// Runs a statement that is a transaction by itself, in one trip where others take three; how many rows its last part
    /// wrote. What it did stays, whatever the act says afterwards. So it is for the first statement of an act, which may go
    /// on if that changed nothing.
    pub async fn execute_alone(&self, statement: Statement) -> Result<u64, DbErr> {
        let kind = kind_of(&statement.sql);
        let done = self.within(kind, async { self.open.lock().await.execute_alone(statement).await }).await;
        done.map(|done| done.rows_affected())
    }

    async fn within<T>(
        &self,
        kind: &'static str,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner).take();
        let waited = awaited.map_or(Duration::ZERO, |awaited| awaited.elapsed());
        let patience = self.patience.map(|patience| patience.saturating_sub(waited));
        traced(self.backend, kind, within(patience, work)).await
    }

    /// How long each statement is waited for.
    pub(super) const fn patience(&self) -> Option<Duration> {
        self.patience
    }

    pub(super) fn into_parts(self) -> (Open, Effects) {
        (self.open.into_inner(), self.effects.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Effects {
    pub(super) fn happen(&self, freshness: &Freshness) {
        freshness.touch_all(&self.touched);
        for waiting in &self.waiting {
            waiting.notify_one();
        }
    }
}

impl Open {
    /// Makes what was done last; afterwards the connection is where it should be only if both this, or in its place
    /// [`Open::undo`], succeeded.
    pub(super) async fn commit(&mut self) -> Result<(), DbErr> {
        if !self.begun {
            return Ok(());
        }
        if self.link.is_doomed() {
            return Err(DbErr::Custom("a statement failed before: nothing of this can be kept".into()));
        }
        let end = self.frame.commit();
        match self.last.take() {
            Some(mut last) => {
                last.sql = format!("{}; {end}", last.sql);
                self.link.execute(last).await?;
            }
            None => self.run(end).await?,
        }
        self.has_ended();
        Ok(())
    }

    /// Whether what the act did may be kept although it has failed: then it counts as having happened.
    pub(super) const fn may_be_kept(&self) -> bool {
        self.kept
    }

    /// Undoes everything.
    pub(super) async fn undo(&mut self) -> Result<(), DbErr> {
        if self.begun {
            self.run(self.frame.undo()).await?;
            self.has_ended();
        }
        Ok(())
    }

    /// Whatever is to be run next, with what must be run before it.
    async fn prepare(&mut self, sql: &mut String) -> Result<(), DbErr> {
        self.run_last().await?;
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        self.link.begins();
        let begin = self.frame.begin(self.link.backend());
        if self.link.backend() == DbBackend::Sqlite {
            *sql = format!("{begin}; {sql}");
            return Ok(());
        }
        self.link.execute_unprepared(begin).await.map(|_| ())
    }

    async fn run_last(&mut self) -> Result<(), DbErr> {
        match self.last.take() {
            Some(last) => self.link.execute(last).await.map(|_| ()),
            None => Ok(()),
        }
    }

    async fn execute(&mut self, mut statement: Statement) -> Result<ExecResult, DbErr> {
        self.prepare(&mut statement.sql).await?;
        self.link.execute(statement).await
    }

    async fn execute_alone(&mut self, mut statement: Statement) -> Result<ExecResult, DbErr> {
        if self.begun {
            return self.execute(statement).await;
        }
        self.kept = true;
        if self.link.backend() != DbBackend::Sqlite {
            // The server makes a transaction of each statement that stands alone.
            return self.link.execute(statement).await;
        }
        self.prepare(&mut statement.sql).await?;
        statement.sql = format!("{}; {}", statement.sql, self.frame.commit());
        let done = self.link.execute(statement).await?;
        self.has_ended();
        Ok(done)
    }

    /// Begins or ends something. PostgreSQL takes it as it is, SQLite remembers how to do it.
    async fn run(&mut self, sql: &'static str) -> Result<(), DbErr> {
        match self.link.backend() {
            DbBackend::Sqlite => self.link.execute(Statement::from_string(DbBackend::Sqlite, sql)).await,
            _ => self.link.execute_unprepared(sql).await,
        }
        .map(|_| ())
    }

    fn has_ended(&mut self) {
        self.begun = false;
        if self.frame == Frame::Whole {
            self.link.ended();
        }
    }
}

impl Frame {
    /// On SQLite the write lock is taken at once: taken later, after a read, it can't be waited for and would fail.
    pub(super) const fn begin(self, backend: DbBackend) -> &'static str {
        match (self, backend) {
            (Self::Part, _) => "SAVEPOINT act",
            (Self::Whole, DbBackend::Sqlite) => "BEGIN IMMEDIATE",
            (Self::Whole, _) => "BEGIN",
        }
    }

    pub(super) const fn commit(self) -> &'static str {
        match self {
            Self::Whole => "COMMIT",
            Self::Part => "RELEASE act",
        }
    }

    const fn undo(self) -> &'static str {
        match self {
            Self::Whole => "ROLLBACK",
            Self::Part => "ROLLBACK TO act; RELEASE act",
        }
    }
}

#[async_trait]
impl ConnectionTrait for Tx {
    fn get_database_backend(&self) -> DbBackend {
        self.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let kind = kind_of(&statement.sql);
        self.within(kind, async { self.open.lock().await.execute(statement).await }).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.within(kind_of(sql), async {
            let (mut open, mut sql) = (self.open.lock().await, sql.to_owned());
            open.prepare(&mut sql).await?;
            open.link.execute_unprepared(&sql).await
        })
        .await
    }

    async fn query_one_raw(&self, mut statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.within(kind_of(&statement.sql), async {
            let mut open = self.open.lock().await;
            open.prepare(&mut statement.sql).await?;
            open.link.query_one(statement).await
        })
        .await
    }

    async fn query_all_raw(&self, mut statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.within(kind_of(&statement.sql), async {
            let mut open = self.open.lock().await;
            open.prepare(&mut statement.sql).await?;
            open.link.query_all(statement).await
        })
        .await
    }
}
