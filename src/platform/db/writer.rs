//! How changes are written.
//!
//! SQLite has one writer, so one task owns the only connection that writes. Acts that wait together share one
//! transaction, each in a savepoint of its own, and one `fsync`: a commit costs the disk the same for one act as for
//! sixty. PostgreSQL groups commits by itself, so there each act has its own connection.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm::{DbBackend, DbErr, RuntimeErr, Statement};
use tokio::sync::{mpsc, oneshot};

use super::links::{Borrowed, Links};
use super::patience::within;
use super::tx::{Effects, Frame, Tx};
use crate::platform::freshness::Freshness;
use crate::platform::web::Errand;

/// Acts that may wait for the one writer; more are refused at once with 503.
const WAITING: usize = 1024;
/// Acts that share one commit at most.
const TOGETHER: usize = 64;

/// An act on PostgreSQL that takes longer is not waited for; the server's own timeouts end it.
const LONGEST: Duration = Duration::from_secs(35);

/// A refusal does not wait longer for its transaction to be undone; the server does that by itself.
const UNDOING: Duration = Duration::from_millis(500);

/// Where acts are written.
#[derive(Clone)]
pub(super) enum Writer {
    /// The queue of SQLite's one writer, and its connection (for closing).
    Queue(mpsc::Sender<Job>, Links),
    /// PostgreSQL's connections, and how long each statement is waited for.
    Pool(Links, Option<Duration>),
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
        let (answer, answered) = oneshot::channel();
        let job = job_of(act, answer, Arc::clone(freshness));
        match self {
            Self::Pool(connections, patience) => {
                let awaited = Instant::now();
                let link = within(*patience, connections.borrow()).await?;
                let work = job(Tx::new(link, Frame::Whole, *patience, awaited));
                // A task of its own: a client that leaves must not cut a commit off from its bookkeeping.
                #[expect(clippy::disallowed_methods, reason = "its caller waits for it")]
                tokio::spawn(alone(work));
                let longest = patience.map_or(Duration::MAX, |_| LONGEST);
                match tokio::time::timeout(longest, answered).await {
                    Ok(written) => written.unwrap_or_else(|_| Err(E::from(gone()))),
                    Err(_) => Err(E::from(gone())),
                }
            }
            Self::Queue(queue, _) => {
                queue.try_send(job).map_err(|_| too_busy())?;
                answered.await.unwrap_or_else(|_| Err(E::from(gone())))
            }
        }
    }

    /// The same, with all the time in the world.
    pub(super) fn at_leisure(&self) -> Self {
        match self {
            Self::Pool(connections, _) => Self::Pool(connections.clone(), None),
            Self::Queue(queue, connection) => Self::Queue(queue.clone(), connection.clone()),
        }
    }

    /// How many acts wait for the one writer; none where there are many.
    pub(super) fn waiting(&self) -> Option<usize> {
        match self {
            Self::Queue(queue, _) => Some(queue.max_capacity() - queue.capacity()),
            Self::Pool(..) => None,
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
    let errand = Errand::current();
    Box::new(move |tx| {
        let job = async move {
            // Also what an act does before it is a future: a panic there would end the one writer.
            let acted = AssertUnwindSafe(async { act(&tx).await }).catch_unwind().await;
            let result = acted.unwrap_or_else(|_| Err(E::from(panicked())));
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
        in_course_of(errand, job.boxed())
    })
}

/// Commits after `Ok`, undoes after `Err`; its effects happen only after a commit, or what may have been one.
async fn settle<T, E: From<DbErr>>(tx: Tx, result: Result<T, E>) -> Settled<T, E> {
    let patience = tx.patience();
    let undoing = patience.map(|_| UNDOING);
    let (mut open, mut effects) = tx.into_parts();
    if result.is_err() && !open.may_be_kept() {
        effects = Effects::default();
    }
    if result.is_err() && open.link.is_of_no_use() {
        // The server undoes by itself what it hears no more of.
        return Settled { result, effects, link: None };
    }
    match result {
        Ok(value) => match within(patience, open.commit()).await {
            Ok(()) => Settled { result: Ok(value), effects, link: Some(open.link) },
            Err(error) => {
                let undone = within(undoing, open.undo()).await.is_ok();
                Settled { result: Err(error.into()), effects, link: undone.then_some(open.link) }
            }
        },
        Err(refusal) => {
            let undone = within(undoing, open.undo()).await;
            if let Err(error) = &undone {
                tracing::error!(%error, "undoing a refused write failed");
            }
            Settled { result: Err(refusal), effects, link: undone.is_ok().then_some(open.link) }
        }
    }
}

/// The one writer: takes what waits, writes it together, answers.
async fn write_in_turn(connection: Links, mut queue: mpsc::Receiver<Job>) {
    let mut together = Vec::with_capacity(TOGETHER);
    while queue.recv_many(&mut together, TOGETHER).await > 0 {
        if connection.is_damaged() {
            together.clear(); // each caller sees that its act is gone: 503
        } else if together.len() == 1 {
            write_alone(&connection, together.pop()).await;
        } else {
            write_together(&connection, together.drain(..)).await;
        }
    }
}

async fn write_alone(connection: &Links, job: Option<Job>) {
    let Some(job) = job else { return };
    match connection.borrow().await {
        Ok(link) => alone(job(Tx::new(link, Frame::Whole, None, Instant::now()))).await,
        Err(error) => tracing::error!(%error, "the database did not begin a write"),
    }
}

/// Sees an act through that has its transaction to itself: once it is settled, so is the commit.
async fn alone(work: BoxFuture<'static, Outcome>) {
    let Outcome { answer, link } = work.await;
    drop(link); // so that the next act finds it
    answer(Ok(()));
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
        let Outcome { answer, link } = job(Tx::new(outer, Frame::Part, None, Instant::now())).await;
        answers.push(answer);
        let Some(link) = link else { return (answers, None) };
        outer = link;
    }
    (answers, Some(outer))
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

/// An act runs in another task than its request and keeps the request's trace id there, and its span. One function for
/// all acts: a future of its own for each of a hundred took a fifth of a megabyte.
fn in_course_of(errand: Option<Errand>, work: BoxFuture<'static, Outcome>) -> BoxFuture<'static, Outcome> {
    match errand {
        Some(errand) => errand.scope(work).boxed(),
        None => work,
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

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use sea_orm::ConnectionTrait;

    use super::*;
    use crate::platform::db::{Database, is_passing, sqlite};

    async fn database() -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let db = sqlite::open(&folder.path().join("test.db"), 2, Duration::from_secs(3)).await.unwrap();
        add(&db, "CREATE TABLE lines (line TEXT)").await.unwrap();
        (folder, db)
    }

    async fn add(db: &Database, sql: &'static str) -> Result<(), DbErr> {
        db.write(move |tx| async move { tx.execute_unprepared(sql).await.map(|_| ()) }.boxed()).await
    }

    async fn panic(db: &Database) -> Result<(), DbErr> {
        db.write(move |tx| {
            async move {
                tx.execute_unprepared("INSERT INTO lines VALUES ('never')").await?;
                "no number".parse::<u64>().unwrap();
                Ok(())
            }
            .boxed()
        })
        .await
    }

    async fn lines(db: &Database) -> usize {
        let all = Statement::from_string(db.backend(), "SELECT line FROM lines");
        db.reader().query_all_raw(all).await.unwrap().len()
    }

    #[tokio::test]
    async fn an_act_that_panics_is_breakage_and_is_undone() {
        let (_folder, db) = database().await;
        let error = panic(&db).await.unwrap_err();
        assert!(!is_passing(&error), "it would not go better the next time: {error}");
        assert_eq!(lines(&db).await, 0);
        add(&db, "INSERT INTO lines VALUES ('next')").await.unwrap();
        assert_eq!(lines(&db).await, 1);
    }

    #[tokio::test]
    async fn an_act_that_panics_before_it_is_a_future_does_not_end_the_writer() {
        let (_folder, db) = database().await;
        let never = db.write::<(), DbErr, _>(|_| panic!("no future"));
        assert!(!is_passing(&never.await.unwrap_err()));
        add(&db, "INSERT INTO lines VALUES ('next')").await.unwrap();
        assert_eq!(lines(&db).await, 1);
    }

    #[tokio::test]
    async fn acts_that_share_a_commit_with_one_that_panics_are_kept() {
        let (_folder, db) = database().await;
        let acts = (0..40).map(|number| {
            let db = &db;
            async move {
                if number % 4 == 1 {
                    panic(db).await
                } else {
                    add(db, "INSERT INTO lines VALUES ('x')").await
                }
            }
        });
        let kept = join_all(acts).await.into_iter().flatten().count();
        assert_eq!((kept, lines(&db).await), (30, 30));
    }

    /// The last statement of an act goes with its end; it can only fail there.
    async fn fail_at_the_end(db: &Database) -> Result<(), DbErr> {
        db.write(move |tx| {
            async move {
                tx.execute_unprepared("INSERT INTO lines VALUES ('never')").await?;
                let sql = "INSERT INTO lines VALUES ($1, 'too much')";
                tx.execute_at_the_end(Statement::from_sql_and_values(
                    tx.get_database_backend(),
                    sql,
                    [1.into()],
                ))
                .await
            }
            .boxed()
        })
        .await
    }

    #[tokio::test]
    async fn an_act_whose_last_statement_fails_is_undone_and_its_neighbours_are_kept() {
        let (_folder, db) = database().await;
        fail_at_the_end(&db).await.unwrap_err();
        assert_eq!(lines(&db).await, 0);
        let acts = (0..40).map(|number| {
            let db = &db;
            async move {
                if number % 4 == 1 {
                    fail_at_the_end(db).await
                } else {
                    add(db, "INSERT INTO lines VALUES ('x')").await
                }
            }
        });
        let kept = join_all(acts).await.into_iter().flatten().count();
        assert_eq!((kept, lines(&db).await), (30, 30));
    }

    #[tokio::test]
    async fn a_statement_that_begins_its_transaction_counts_only_its_own_rows() {
        let (_folder, db) = database().await;
        add(&db, "INSERT INTO lines VALUES ('a'), ('b'), ('c')").await.unwrap();
        let counted = |sql: &'static str| {
            db.write::<_, DbErr, _>(move |tx| {
                async move {
                    let statement = Statement::from_string(tx.get_database_backend(), sql);
                    Ok(tx.execute_raw(statement).await?.rows_affected())
                }
                .boxed()
            })
        };
        assert_eq!(counted("DELETE FROM lines WHERE line = 'none'").await.unwrap(), 0);
        assert_eq!(counted("DELETE FROM lines WHERE line = 'a'").await.unwrap(), 1);
    }

    #[tokio::test]
    async fn semicolons_in_a_text_end_nothing() {
        let (_folder, db) = database().await;
        let written = alone(&db, "INSERT INTO lines VALUES ('a;b'), (';;')", false).await.unwrap();
        let sql = "SELECT line FROM lines WHERE line = 'a;b' OR line = ';;'";
        let found = db.reader().query_all_raw(Statement::from_string(db.backend(), sql)).await.unwrap();
        assert_eq!((written, found.len()), (2, 2));
    }

    /// Runs one statement alone, and refuses afterwards if told to.
    async fn alone(db: &Database, sql: &'static str, refuses: bool) -> Result<u64, DbErr> {
        db.write(move |tx| {
            async move {
                let written =
                    tx.execute_alone(Statement::from_string(tx.get_database_backend(), sql)).await?;
                if refuses { Err(DbErr::Custom("refused".into())) } else { Ok(written) }
            }
            .boxed()
        })
        .await
    }

    const TWO: &str = "INSERT INTO lines VALUES ('x'); INSERT INTO lines VALUES ('y')";
    const BROKEN: &str = "INSERT INTO lines VALUES ('never'); INSERT INTO lines VALUES ('y', 'too much')";

    #[tokio::test]
    async fn a_statement_alone_stays_whatever_its_act_says_afterwards() {
        let (_folder, db) = database().await;
        assert_eq!(alone(&db, TWO, false).await.unwrap(), 1, "the rows of its last part");
        alone(&db, TWO, true).await.unwrap_err();
        assert_eq!(lines(&db).await, 4);
        assert_eq!(alone(&db, "DELETE FROM lines WHERE line = 'none'", false).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_statement_alone_that_fails_is_undone_and_its_neighbours_are_kept() {
        let (_folder, db) = database().await;
        alone(&db, BROKEN, false).await.unwrap_err();
        assert_eq!(lines(&db).await, 0);
        let acts = (0..40).map(|number| {
            let db = &db;
            async move { alone(db, if number % 4 == 1 { BROKEN } else { TWO }, number % 4 == 2).await }
        });
        let kept = join_all(acts).await.into_iter().flatten().count();
        assert_eq!((kept, lines(&db).await), (20, 60));
    }

    #[tokio::test]
    async fn an_act_goes_on_after_a_statement_alone_in_a_transaction_of_its_own() {
        let (_folder, db) = database().await;
        let act = |fails: bool| {
            db.write::<(), DbErr, _>(move |tx| {
                async move {
                    let backend = tx.get_database_backend();
                    tx.execute_alone(Statement::from_string(backend, TWO)).await?;
                    tx.execute_unprepared("INSERT INTO lines VALUES ('z')").await?;
                    if fails { Err(DbErr::Custom("refused".into())) } else { Ok(()) }
                }
                .boxed()
            })
        };
        act(true).await.unwrap_err();
        assert_eq!(lines(&db).await, 2);
        act(false).await.unwrap();
        assert_eq!(lines(&db).await, 5);
    }

    #[tokio::test]
    async fn what_a_refused_act_may_have_done_counts_as_done() {
        let (_folder, db) = database().await;
        let ann = uuid::Uuid::from_u128(1);
        let view = crate::platform::freshness::View::Profile;
        for alone in [false, true] {
            let before = db.freshness().stamp(view, ann);
            let refused = db.write::<(), DbErr, _>(move |tx| {
                async move {
                    tx.touch_profile(ann);
                    let statement = Statement::from_string(tx.get_database_backend(), TWO);
                    if alone {
                        tx.execute_alone(statement).await.map(drop)?;
                    }
                    Err(DbErr::Custom("refused".into()))
                }
                .boxed()
            });
            refused.await.unwrap_err();
            assert_eq!(db.freshness().is_current(view, ann, &before), !alone);
        }
    }

    #[tokio::test]
    async fn an_act_that_asks_for_nothing_needs_no_transaction() {
        let (_folder, db) = database().await;
        let refused: Result<(), DbErr> =
            db.write(|_| async { Err(DbErr::Custom("refused".into())) }.boxed()).await;
        assert_eq!(refused.unwrap_err().to_string(), "Custom Error: refused");
        add(&db, "INSERT INTO lines VALUES ('next')").await.unwrap();
        assert_eq!(lines(&db).await, 1);
    }
}
