//! How SQLite finds what the program asks it for: every statement that a test runs is explained when its program goes,
//! and none may look through a table that grows.
//!
//! The program never runs `ANALYZE`. So SQLite plans by the schema alone, and on the few rows of a test as on a million. What
//! a plan doesn't show is how far a range reaches, and what PostgreSQL would do.

use std::collections::BTreeSet;
use std::sync::{Mutex, Once, PoisonError};

use gatehouse::migrations::STEPS;
use gatehouse::platform::db::sqlite_script;
use rusqlite::Connection;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Tables that have few rows, however many people there are: any other one grows.
const SMALL: &[&str] = &[
    "audit_head",
    "backups",
    "file_storage",
    "flag_versions",
    "leases",
    "mail_batches",
    "one_time_tokens",
    "schema_steps",
    "signing_keys",
    "sqlite_master",
    "sqlite_schema",
    "sqlite_sequence",
    "webhooks",
    "workos_state",
];

/// Indexes that hold only what still waits for something, which are few rows of a large table.
const SHORT: &[&str] = &["events_unpublished", "mails_due", "second_factors_pending", "users_staff"];

/// What may be looked through from one end all the same: the table, words of the statement, and why.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("audit_log", "COUNT(*)", "how long the log is: staff only"),
    ("events", "position IS NULL", "never true on SQLite, where the position is the key: nothing is read"),
    ("files", "COUNT(*)", "how many there are: staff only"),
    ("mails", "GROUP BY state", "measurements: the index of what has ended and is forgotten after a while"),
    ("mails", "id DESC LIMIT", "a page, in the order of the key: staff only"),
    ("users", "GROUP BY 1, 2, 3, 4, 5", "statistics, which are remembered for half a minute"),
    ("users", "num_items", "the number of those listed, which is counted by one for all who ask"),
    (
        "users",
        "is_elsewhere",
        "a page, in the order of an index; what few pass (banned, tester) is asked by staff only",
    ),
];

/// What was run and is not explained yet.
static RUN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// From now on every statement of this process is noted.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Listener).expect("nobody else listens"));
}

/// Fails if one of the statements since the last time looks through a table that grows.
pub fn check() {
    let run = std::mem::take(&mut *RUN.lock().unwrap_or_else(PoisonError::into_inner));
    let database = schema();
    let found: Vec<String> = run.iter().flat_map(|sql| faults(&database, sql)).collect();
    assert!(found.is_empty(), "tables that grow are looked through:\n{}", found.join("\n"));
}

/// An empty database of ours.
pub fn schema() -> Connection {
    let database = Connection::open_in_memory().expect("a database");
    database.execute_batch(&sqlite_script(&STEPS.iter().collect::<Vec<_>>()).join(";")).expect("the schema");
    database
}

/// The steps in the plans of these statements that take longer with every row.
pub fn faults(database: &Connection, statements: &str) -> Vec<String> {
    statements.split(';').flat_map(|sql| faults_of_one(database, sql)).collect()
}

fn faults_of_one(database: &Connection, sql: &str) -> Vec<String> {
    let has_plan = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"]
        .iter()
        .any(|word| sql.trim_start().starts_with(word));
    if !has_plan {
        return Vec::new();
    }
    // What this schema doesn't know is asked of something else: a file that is imported, an older schema.
    let Ok(mut plan) = database.prepare(&format!("EXPLAIN QUERY PLAN {sql}")) else { return Vec::new() };
    let steps = plan.raw_query().mapped(|row| row.get::<_, String>(3));
    let steps: Vec<String> = steps.collect::<Result<_, _>>().expect("a plan");
    if is_page(sql, &steps) {
        return Vec::new();
    }
    let is_fault = |step: &&String| step.contains("AUTOMATIC") || looks_through(database, sql, step);
    steps.iter().filter(is_fault).map(|step| format!("{step}: {}", sql.trim())).collect()
}

/// Whether it reads an index from one end for as many rows as it shows, or counts a whole table, as an export does first.
fn is_page(sql: &str, steps: &[String]) -> bool {
    let picks = ["WHERE", "GROUP BY", "DISTINCT"].iter().any(|word| sql.contains(word));
    let sorts = steps.iter().any(|step| step.ends_with("B-TREE FOR ORDER BY"));
    !picks && !sorts && (sql.contains("LIMIT") || sql.trim_start().starts_with("SELECT COUNT(*) FROM"))
}

fn looks_through(database: &Connection, sql: &str, step: &str) -> bool {
    let Some((name, way)) = step.strip_prefix("SCAN ").map(|rest| rest.split_once(' ').unwrap_or((rest, "")))
    else {
        return false;
    };
    // Whatever else is looked through was made by another step.
    let Some(table) = table_of(database, sql, name) else { return false };
    let is_short = SHORT.iter().any(|index| way.ends_with(&format!("INDEX {index}")));
    let is_allowed = ALLOWED.iter().any(|(of, words, _)| *of == table && sql.contains(words));
    !SMALL.contains(&table.as_str()) && !is_short && !is_allowed
}

/// Which table goes by this name in the statement.
fn table_of(database: &Connection, sql: &str, name: &str) -> Option<String> {
    let is_table = |name: &str| database.table_exists(None, name).expect("an answer");
    let words: Vec<&str> = sql
        .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
        .collect();
    let before = |at: usize| match words[..at] {
        [.., table, last] if last.eq_ignore_ascii_case("as") => Some(table),
        [.., last] => Some(last),
        [] => None,
    };
    let mut renamed = (0..words.len()).filter(|at| words[*at] == name).filter_map(before);
    let table = if is_table(name) { Some(name) } else { renamed.find(|table| is_table(table)) };
    table.map(str::to_owned)
}

/// Notes the statements that sqlx tells of.
struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }

    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        // A short statement is its own summary.
        let sql = if said.statement.is_empty() { said.summary } else { said.statement };
        RUN.lock().unwrap_or_else(PoisonError::into_inner).insert(sql);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Said {
    summary: String,
    statement: String,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, text: &str) {
        match field.name() {
            "summary" => self.summary = text.to_owned(),
            "db.statement" => self.statement = text.to_owned(),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}
