//! How changes are written.
//!
//! SQLite has one writer, so one task owns the only connection that writes. Acts that wait together share one
//! transaction, each in a savepoint of its own, and one `fsync`: a commit costs the disk the same for one act as for
//! sixty. PostgreSQL groups commits by itself, so there each act has its own connection.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    RuntimeErr, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::platform::freshness::Freshness;

/// Acts that may wait for the one writer; more are refused at once with 503.
const WAITING: usize = 1024;
/// Acts that share one commit at most.
const TOGETHER: usize = 64;

/// A transaction in which an act changes things.
pub struct Tx {
    inner: DatabaseTransaction,
    touched: Mutex<Vec<Uuid>>,
}

impl Tx {
    fn new(inner: DatabaseTransaction) -> Self {
        Self { inner, touched: Mutex::new(Vec::new()) }
    }

    /// Says that this act changes what is known of `user`.
    pub fn touch(&self, user: Uuid) {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).push(user);
    }

    fn into_parts(self) -> (DatabaseTransaction, Vec<Uuid>) {
        (self.inner, self.touched.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl ConnectionTrait for Tx {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.inner.execute_raw(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.inner.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.inner.query_one_raw(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.inner.query_all_raw(statement).await
    }
}

/// Where acts are written.
#[derive(Clone)]
pub(super) enum Writer {
    /// The queue of SQLite's one writer, and its connection (for closing).
    Queue(mpsc::Sender<Job>, DatabaseConnection),
    /// PostgreSQL's connections.
    Pool(DatabaseConnection),
}

impl Writer {
    /// Starts the one writer of a SQLite database on its only writing connection.
    pub(super) fn start_queue(connection: DatabaseConnection) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        #[expect(clippy::disallowed_methods, reason = "it ends by itself when the last sender is gone")]
        tokio::spawn(write_in_turn(connection.clone(), receiver));
        Self::Queue(sender, connection)
    }

    pub(super) async fn write<T, E, F>(&self, freshness: &Arc<Freshness>, act: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<DbErr> + Send + 'static,
    {
        match self {
            Self::Pool(connections) => {
                let (connections, freshness) = (connections.clone(), Arc::clone(freshness));
                // A task of its own: a client that leaves must not cut a commit off from its bookkeeping.
                #[expect(clippy::disallowed_methods, reason = "its caller waits for it")]
                let writing = tokio::spawn(async move {
                    let tx = Tx::new(connections.begin().await?);
                    let result = act(&tx).await;
                    let (settled, touched) = settle(tx, result).await;
                    freshness.touch_all(&touched);
                    settled
                });
                writing.await.unwrap_or_else(|_| Err(E::from(gone())))
            }
            Self::Queue(queue, _) => {
                let (answer, answered) = oneshot::channel();
                let job = job_of(act, answer, Arc::clone(freshness));
                queue.try_send(job).map_err(|_| too_busy())?;
                answered.await.unwrap_or_else(|_| Err(E::from(gone())))
            }
        }
    }

    pub(super) async fn close(self) {
        if let Self::Queue(queue, connection) = self {
            drop(queue);
            if let Err(error) = connection.close().await {
                tracing::warn!(%error, "closing the database's writer");
            }
        }
    }
}

/// An act on its way to the one writer.
pub(super) type Job = Box<dyn FnOnce(Tx) -> BoxFuture<'static, Answer> + Send>;
/// Gives the caller its answer once it is known whether the shared commit succeeded.
type Answer = Box<dyn FnOnce(Result<(), &str>) + Send>;

fn job_of<T, E, F>(act: F, caller: oneshot::Sender<Result<T, E>>, freshness: Arc<Freshness>) -> Job
where
    F: for<'t> FnOnce(&'t Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<DbErr> + Send + 'static,
{
    Box::new(move |tx| {
        Box::pin(async move {
            let result = act(&tx).await;
            let (settled, touched) = settle(tx, result).await;
            let answer: Answer = Box::new(move |commit| {
                freshness.touch_all(&touched);
                let result = match (settled, commit) {
                    (Ok(_), Err(reason)) => Err(E::from(not_committed(reason))),
                    (settled, _) => settled,
                };
                if caller.send(result).is_err() {
                    tracing::debug!("the caller of a finished write had left");
                }
            });
            answer
        })
    })
}

/// Commits after `Ok`, undoes after `Err`; what was touched counts only after a commit.
async fn settle<T, E: From<DbErr>>(tx: Tx, result: Result<T, E>) -> (Result<T, E>, Vec<Uuid>) {
    let (inner, touched) = tx.into_parts();
    match result {
        Ok(value) => match inner.commit().await {
            Ok(()) => (Ok(value), touched),
            // The commit may or may not have happened: what was cached can't be trusted.
            Err(error) => (Err(error.into()), touched),
        },
        Err(refusal) => {
            if let Err(error) = inner.rollback().await {
                tracing::warn!(%error, "undoing a refused write");
            }
            (Err(refusal), Vec::new())
        }
    }
}

/// The one writer: takes what waits, writes it together, answers.
async fn write_in_turn(connection: DatabaseConnection, mut queue: mpsc::Receiver<Job>) {
    let mut together = Vec::with_capacity(TOGETHER);
    while queue.recv_many(&mut together, TOGETHER).await > 0 {
        if together.len() == 1 {
            write_alone(&connection, together.pop()).await;
        } else {
            write_together(&connection, together.drain(..)).await;
        }
    }
}

async fn write_alone(connection: &DatabaseConnection, job: Option<Job>) {
    let Some(job) = job else { return };
    match begin(connection).await {
        Ok(transaction) => {
            if let Some(answer) = run(job, transaction).await {
                answer(Ok(()));
            }
        }
        Err(error) => tracing::error!(%error, "the database did not begin a write"),
    }
}

async fn write_together(connection: &DatabaseConnection, jobs: impl Iterator<Item = Job>) {
    let outer = match begin(connection).await {
        Ok(outer) => outer,
        Err(error) => {
            tracing::error!(%error, "the database did not begin a write");
            return jobs.for_each(drop); // each caller sees that its act is gone: 503
        }
    };
    let mut answers = Vec::with_capacity(TOGETHER);
    for job in jobs {
        match outer.begin().await {
            Ok(savepoint) => answers.extend(run(job, savepoint).await),
            Err(error) => tracing::error!(%error, "the database did not set a savepoint"),
        }
    }
    let commit = outer.commit().await.map_err(|error| {
        tracing::error!(%error, "a shared commit failed");
        error.to_string()
    });
    for answer in answers {
        answer(commit.as_ref().copied().map_err(String::as_str));
    }
}

/// Runs one act; `None` if it panicked (its transaction is undone, its caller sees that it is gone).
async fn run(job: Job, transaction: DatabaseTransaction) -> Option<Answer> {
    let outcome = AssertUnwindSafe(async { job(Tx::new(transaction)).await }).catch_unwind().await;
    if outcome.is_err() {
        tracing::error!("a write panicked; it was undone");
    }
    outcome.ok()
}

/// Takes the write lock at once: a lock taken later, after a read, can't wait and would fail instead.
async fn begin(connection: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    connection.begin_with_options(options).await
}

fn too_busy() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("too many writes are waiting".into()))
}

fn gone() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("the write did not happen; see the log".into()))
}

fn not_committed(reason: &str) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(format!("the commit failed: {reason}")))
}
