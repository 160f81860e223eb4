//! How changes are written.
//!
//! SQLite has one writer, so one task owns the only connection that writes. Acts that wait together share one
//! transaction, each in a savepoint of its own, and one `fsync`: a commit costs the disk the same for one act as for
//! sixty. PostgreSQL groups commits by itself, so there each act has its own connection.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm::{DbBackend, DbErr, RuntimeErr, Statement};
use tokio::sync::{mpsc, oneshot};

use super::links::{Borrowed, Links};
use super::tx::{Effects, Frame, Tx};
use crate::platform::freshness::Freshness;
use crate::platform::web::TraceId;

/// Acts that may wait for the one writer; more are refused at once with 503.
const WAITING: usize = 1024;
/// Acts that share one commit at most.
const TOGETHER: usize = 64;

/// An act on PostgreSQL that takes longer is not waited for; the server's own timeouts end it.
const LONGEST: Duration = Duration::from_secs(35);

/// Where acts are written.
#[derive(Clone)]
pub(super) enum Writer {
    /// The queue of SQLite's one writer, and its connection (for closing).
    Queue(mpsc::Sender<Job>, Links),
    /// PostgreSQL's connections.
    Pool(Links),
}

impl Writer {
    /// Starts the one writer of a SQLite database on its only writing connection.
    pub(super) fn start_queue(connection: Links) -> Self {
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
                let writing = tokio::spawn(in_trace_of(TraceId::current(), async move {
                    let tx = Tx::new(connections.borrow().await?, Frame::Whole);
                    let result = act(&tx).await;
                    let settled = settle(tx, result).await;
                    settled.effects.happen(&freshness);
                    settled.result
                }));
                match tokio::time::timeout(LONGEST, writing).await {
                    Ok(written) => written.unwrap_or_else(|_| Err(E::from(panicked()))),
                    Err(_) => Err(E::from(gone())),
                }
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
            connection.close().await;
        }
    }
}

/// An act on its way to the one writer.
pub(super) type Job = Box<dyn FnOnce(Tx) -> BoxFuture<'static, Outcome> + Send>;
/// Gives the caller its answer once it is known whether the shared commit succeeded.
type Answer = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// What came of an act.
pub(super) struct Outcome {
    answer: Answer,
    /// The connection, if it is where it should be: the act's part committed or undone, nothing in between.
    link: Option<Borrowed>,
}

/// An act's result, what it does beyond the database, and the connection if it is where it should be.
struct Settled<T, E> {
    result: Result<T, E>,
    effects: Effects,
    link: Option<Borrowed>,
}

fn job_of<T, E, F>(act: F, caller: oneshot::Sender<Result<T, E>>, freshness: Arc<Freshness>) -> Job
where
    F: for<'t> FnOnce(&'t Tx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<DbErr> + Send + 'static,
{
    let trace_id = TraceId::current();
    Box::new(move |tx| {
        let job = async move {
            let result = act(&tx).await;
            let Settled { result, effects, link } = settle(tx, result).await;
            let answer: Answer = Box::new(move |commit| {
                effects.happen(&freshness);
                let result = match (result, commit) {
                    (Ok(_), Err(reason)) => Err(E::from(not_committed(reason))),
                    (result, _) => result,
                };
                if caller.send(result).is_err() {
                    tracing::debug!("the caller of a finished write had left");
                }
            });
            Outcome { answer, link }
        };
        in_trace_of(trace_id, job).boxed()
    })
}

/// Commits after `Ok`, undoes after `Err`; its effects happen only after a commit, or one that may have happened.
async fn settle<T, E: From<DbErr>>(tx: Tx, result: Result<T, E>) -> Settled<T, E> {
    let (mut open, effects) = tx.into_parts();
    match result {
        Ok(value) => match open.commit().await {
            Ok(()) => Settled { result: Ok(value), effects, link: Some(open.link) },
            Err(error) => {
                let undone = open.undo().await.is_ok();
                Settled { result: Err(error.into()), effects, link: undone.then_some(open.link) }
            }
        },
        Err(refusal) => {
            let undone = open.undo().await;
            if let Err(error) = &undone {
                tracing::error!(%error, "undoing a refused write failed");
            }
            Settled {
                result: Err(refusal),
                effects: Effects::default(),
                link: undone.is_ok().then_some(open.link),
            }
        }
    }
}

/// The one writer: takes what waits, writes it together, answers.
async fn write_in_turn(connection: Links, mut queue: mpsc::Receiver<Job>) {
    let mut together = Vec::with_capacity(TOGETHER);
    while queue.recv_many(&mut together, TOGETHER).await > 0 {
        if together.len() == 1 {
            write_alone(&connection, together.pop()).await;
        } else {
            write_together(&connection, together.drain(..)).await;
        }
    }
}

async fn write_alone(connection: &Links, job: Option<Job>) {
    let Some(job) = job else { return };
    match connection.borrow().await {
        Ok(link) => {
            if let Some(outcome) = run(job, Tx::new(link, Frame::Whole)).await {
                (outcome.answer)(Ok(()));
            }
        }
        Err(error) => tracing::error!(%error, "the database did not begin a write"),
    }
}

async fn write_together(connection: &Links, jobs: impl Iterator<Item = Job>) {
    let outer = match begin(connection).await {
        Ok(outer) => outer,
        Err(error) => {
            tracing::error!(%error, "the database did not begin a write");
            return jobs.for_each(drop); // each caller sees that its act is gone: 503
        }
    };
    let (answers, outer) = write_each(outer, jobs).await;
    let commit = match outer {
        Some(outer) => commit(outer).await,
        None => Err(unsure()),
    };
    let commit = commit.map_err(|error| {
        tracing::error!(%error, "a shared commit failed");
        error.to_string()
    });
    for answer in answers {
        answer(commit.as_ref().copied().map_err(String::as_str));
    }
}

/// Runs each act in a savepoint of its own. The first that leaves the connection in doubt ends it for all: what
/// follows it could commit by itself, or not at all.
async fn write_each(outer: Borrowed, jobs: impl Iterator<Item = Job>) -> (Vec<Answer>, Option<Borrowed>) {
    let (mut answers, mut outer) = (Vec::with_capacity(TOGETHER), outer);
    for job in jobs {
        let Some(Outcome { answer, link }) = run(job, Tx::new(outer, Frame::Part)).await else {
            return (answers, None);
        };
        answers.push(answer);
        let Some(link) = link else { return (answers, None) };
        outer = link;
    }
    (answers, Some(outer))
}

/// Runs one act; `None` if it panicked (its transaction is undone, its caller sees that it is gone).
async fn run(job: Job, tx: Tx) -> Option<Outcome> {
    let outcome = AssertUnwindSafe(async { job(tx).await }).catch_unwind().await;
    if outcome.is_err() {
        tracing::error!("a write panicked; it was undone");
    }
    outcome.ok()
}

/// Begins the transaction that acts share.
async fn begin(connection: &Links) -> Result<Borrowed, DbErr> {
    let mut link = connection.borrow().await?;
    link.begins();
    link.execute(control(Frame::Whole.begin(DbBackend::Sqlite))).await?;
    Ok(link)
}

/// Commits it. If that fails, the connection is closed, which undoes it.
async fn commit(mut link: Borrowed) -> Result<(), DbErr> {
    link.execute(control(Frame::Whole.commit())).await?;
    link.ended();
    Ok(())
}

fn control(sql: &'static str) -> Statement {
    Statement::from_string(DbBackend::Sqlite, sql)
}

/// An act runs in another task than its request and keeps the request's trace id there.
async fn in_trace_of<F: Future>(trace_id: Option<TraceId>, work: F) -> F::Output {
    match trace_id {
        Some(trace_id) => trace_id.scope(work).await,
        None => work.await,
    }
}

fn panicked() -> DbErr {
    DbErr::Custom("a write panicked; it was undone".into())
}

fn unsure() -> DbErr {
    DbErr::Conn(RuntimeErr::Internal("the transaction is in doubt and was given up".into()))
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
