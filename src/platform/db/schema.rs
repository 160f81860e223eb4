//! Brings the database to the shape that this program knows, and back.
//!
//! All pending steps run in one transaction that first takes a lock, so any number of instances may start at once:
//! one migrates, the others wait and find nothing to do. Each applied step records the lowest program version that
//! understands the schema with it; an older program refuses to serve.

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use thiserror::Error;

use super::{Database, Lock, Tx};
use crate::migrations::{STEPS, Step};

/// A migration of a large table takes its time, and so does waiting for another instance that runs one.
const PATIENCE: &str = "SET LOCAL lock_timeout = '10min'; SET LOCAL statement_timeout = 0";

/// What keeps which steps a database has.
const STEPS_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_steps (
        name TEXT NOT NULL PRIMARY KEY, min_binary TEXT NOT NULL, position INTEGER NOT NULL)";

/// Which way to migrate, and how far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Apply pending steps, up to and with the named one.
    Up(Option<String>),
    /// Undo applied steps, newest first, down to but without the named one; `None`: the last one only.
    Down(Option<String>),
    /// Undo every step.
    DownAll,
}

/// One step and whether the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepStatus {
    /// The step's name.
    pub name: String,
    /// Whether it was applied.
    pub applied: bool,
}

/// Why the schema is not as it must be.
#[derive(Debug, Error)]
pub enum SchemaFault {
    /// The database was made by a newer program that this one can't work beside.
    #[error("the database needs gatehouse {needed} or newer (step {step}); this is {this}")]
    TooOld {
        /// The step that needs it.
        step: String,
        /// The lowest version that may serve.
        needed: String,
        /// This version.
        this: &'static str,
    },
    /// Steps are pending and the program may not apply them itself.
    #[error(
        "the database lacks {0} migration step(s): run `gatehouse migrate up`, or start with AUTO_MIGRATE on"
    )]
    Pending(usize),
    /// No step has that name.
    #[error("there is no migration step named {0}")]
    UnknownStep(String),
    /// A step that this program doesn't know lies on top of those that it would undo.
    #[error("the step {0} is of a newer program, and lies on top: only that program can undo it")]
    Beneath(String),
    /// The database refused.
    #[error(transparent)]
    Database(#[from] DbErr),
}

/// The schema of one database.
pub struct Schema<'a>(pub &'a Database);

impl Schema<'_> {
    /// Moves the schema; returns the names of the steps that were applied or undone, in order.
    pub async fn migrate(&self, direction: Direction) -> Result<Vec<&'static str>, SchemaFault> {
        self.0.write_at_leisure(move |tx| migrate(tx, direction).boxed()).await
    }

    /// Every step of this program and whether it was applied; behind them, those of a newer program.
    pub async fn status(&self) -> Result<Vec<StepStatus>, SchemaFault> {
        let applied = self.applied().await?;
        let status = |step: &Step| StepStatus {
            name: step.name.to_owned(),
            applied: applied.iter().any(|(name, _)| name == step.name),
        };
        let newer = unknown(&applied).map(|name| StepStatus { name: name.to_owned(), applied: true });
        Ok(STEPS.iter().map(status).chain(newer).collect())
    }

    /// Whether this program may serve on the database as it is.
    pub async fn check(&self) -> Result<(), SchemaFault> {
        let applied = self.applied().await?;
        refuse_newer(&applied)?;
        let pending = STEPS.iter().filter(|step| !applied.iter().any(|(name, _)| name == step.name)).count();
        if pending == 0 { Ok(()) } else { Err(SchemaFault::Pending(pending)) }
    }

    async fn applied(&self) -> Result<Vec<(String, String)>, DbErr> {
        let reader = self.0.reader();
        let sql = match reader.get_database_backend() {
            DbBackend::Sqlite => "SELECT 1 FROM sqlite_master WHERE name = 'schema_steps'",
            _ => "SELECT 1 WHERE to_regclass('schema_steps') IS NOT NULL",
        };
        match reader.query_one_raw(Statement::from_string(reader.get_database_backend(), sql)).await? {
            Some(_) => applied(reader).await,
            None => Ok(Vec::new()),
        }
    }
}

async fn migrate(tx: &Tx, direction: Direction) -> Result<Vec<&'static str>, SchemaFault> {
    lock(tx).await?;
    let applied = applied(tx).await?;
    refuse_newer(&applied)?;
    let has = |step: &&Step| applied.iter().any(|(name, _)| name == step.name);
    let steps: Vec<&Step> = match &direction {
        Direction::Up(to) => {
            let end = to.as_deref().map_or(Ok(STEPS.len()), |name| position(name).map(|at| at + 1))?;
            STEPS[..end].iter().filter(|step| !has(step)).collect()
        }
        Direction::Down(None) => STEPS.iter().rev().filter(has).take(1).collect(),
        Direction::Down(Some(name)) => STEPS[position(name)? + 1..].iter().rev().filter(has).collect(),
        Direction::DownAll => STEPS.iter().rev().filter(has).collect(),
    };
    let up = matches!(direction, Direction::Up(_));
    if let Some(newer) = unknown(&applied).next().filter(|_| !up) {
        return Err(SchemaFault::Beneath(newer.to_owned()));
    }
    for step in &steps {
        if up { apply(tx, step).await? } else { undo(tx, step).await? }
    }
    Ok(steps.into_iter().map(|step| step.name).collect())
}

fn position(name: &str) -> Result<usize, SchemaFault> {
    STEPS.iter().position(|step| step.name == name).ok_or_else(|| SchemaFault::UnknownStep(name.to_owned()))
}

/// One migration at a time: PostgreSQL by an advisory lock of the transaction, SQLite by its one writer.
async fn lock(tx: &Tx) -> Result<(), DbErr> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared(PATIENCE).await?;
    }
    tx.lock(Lock::SCHEMA).await?;
    tx.execute_unprepared(STEPS_TABLE).await.map(|_| ())
}

/// The applied steps with the lowest program version that each of them allows.
async fn applied(connection: &impl ConnectionTrait) -> Result<Vec<(String, String)>, DbErr> {
    let sql = "SELECT name, min_binary FROM schema_steps ORDER BY position";
    let rows =
        connection.query_all_raw(Statement::from_string(connection.get_database_backend(), sql)).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

/// The applied steps that this program doesn't have.
fn unknown(applied: &[(String, String)]) -> impl Iterator<Item = &str> {
    let names = applied.iter().map(|(name, _)| name.as_str());
    names.filter(|name| !STEPS.iter().any(|step| step.name == *name))
}

fn refuse_newer(applied: &[(String, String)]) -> Result<(), SchemaFault> {
    let this = env!("CARGO_PKG_VERSION");
    let too_new = applied.iter().find(|(_, needed)| version(needed) > version(this));
    match too_new {
        Some((step, needed)) => Err(SchemaFault::TooOld { step: step.clone(), needed: needed.clone(), this }),
        None => Ok(()),
    }
}

/// Numbers of a version, for comparing; what can't be read compares as newest, so that it is refused.
fn version(text: &str) -> Vec<u64> {
    text.split('.').map(|part| part.parse().unwrap_or(u64::MAX)).collect()
}

async fn apply(tx: &Tx, step: &Step) -> Result<(), DbErr> {
    for sql in in_dialect(step.up, tx.get_database_backend()) {
        tx.execute_unprepared(&sql).await?;
    }
    let record = "INSERT INTO schema_steps (name, min_binary, position) \
                  VALUES ($1, $2, (SELECT COALESCE(MAX(position), 0) + 1 FROM schema_steps))";
    let values = [step.name.into(), step.min_binary.into()];
    tx.execute_raw(Statement::from_sql_and_values(tx.get_database_backend(), record, values)).await?;
    Ok(())
}

async fn undo(tx: &Tx, step: &Step) -> Result<(), DbErr> {
    for sql in in_dialect(step.down, tx.get_database_backend()) {
        tx.execute_unprepared(&sql).await?;
    }
    let forget = "DELETE FROM schema_steps WHERE name = $1";
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), forget, [step.name.into()]);
    tx.execute_raw(statement).await.map(|_| ())
}

/// Everything that makes an empty SQLite file into a database with these steps, as [`Schema::migrate`] would.
#[must_use]
pub fn sqlite_script(steps: &[&Step]) -> Vec<String> {
    let mut script = vec![STEPS_TABLE.to_owned()];
    for (step, position) in steps.iter().zip(1..) {
        script.extend(in_dialect(step.up, DbBackend::Sqlite));
        let (name, min_binary) = (step.name, step.min_binary);
        script.push(format!(
            "INSERT INTO schema_steps (name, min_binary, position) VALUES ('{name}', '{min_binary}', {position})"
        ));
    }
    script
}

/// Steps are written once; only what stands in braces differs between the two databases.
fn in_dialect(statements: &[&str], backend: DbBackend) -> impl Iterator<Item = String> {
    let words = match backend {
        DbBackend::Postgres => [
            ("{postgres}", ""),
            ("{sqlite}", ""),
            ("{uuid}", "UUID"),
            ("{bytes}", "BYTEA"),
            ("{key}", "TEXT COLLATE \"C\""),
            ("{serial}", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
            ("{turn}", "number BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, position BIGINT"),
            ("{by_key}", ""),
        ],
        _ => [
            ("{postgres}", ""),
            ("{sqlite}", ""),
            ("{uuid}", "BLOB"),
            ("{bytes}", "BLOB"),
            ("{key}", "TEXT"),
            // Without AUTOINCREMENT the number of a row that is gone would be given again.
            ("{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
            // Without it: the newest event stays (`events::store::forget`), and each change would pay for the counter.
            ("{turn}", "position INTEGER PRIMARY KEY"),
            ("{by_key}", " WITHOUT ROWID"),
        ],
    };
    let elsewhere = if backend == DbBackend::Postgres { "{sqlite}" } else { "{postgres}" };
    let here = statements.iter().filter(move |sql| !sql.starts_with(elsewhere));
    here.map(move |sql| words.iter().fold((*sql).to_owned(), |sql, (word, meant)| sql.replace(word, meant)))
}
