//! A migration is killed in the middle: between any two statements on PostgreSQL, before any write on SQLite.

use std::process::Child;

use sea_orm::{ConnectionTrait, DatabaseConnection};

use gatehouse::migrations::STEPS;

use crate::chance::{Dice, rounds};
use crate::database::{column, connect, count, postgres_server};
use crate::gatehouse::{Finished, Site};
use crate::preload::library;
use crate::waiting::{SOON, until_true};

#[tokio::test]
async fn a_migration_killed_after_any_statement_leaves_nothing_and_is_completed_by_the_next() {
    let Some(postgres) = postgres_server() else { return };
    let postgres = connect(postgres.as_str()).await;
    // The table of the steps comes before them.
    let statements = 1 + STEPS.iter().flat_map(|step| step.up).filter(|sql| is_definition(sql)).count();
    // Some of them, others each time: a server is started for each. All with `FAULT_ROUNDS` for each.
    let stride = statements.div_ceil(usize::try_from(rounds(12)).unwrap());
    let first = 1 + Dice::new().below(stride);
    for at in (first..statements).step_by(stride).chain([statements]) {
        let site = Site::new();
        run(&postgres, &format!("CREATE DATABASE {}", site.database_name())).await;
        let db = site.database().await;
        pause_after(&db, at).await;
        let mut migration = site.command(&["migrate", "up"]).spawn().unwrap();
        let paused = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        until_true("the migration pauses", SOON, async || count(&db, paused).await == 1).await;
        kill(&mut migration);
        // It would be missed when the pause is over.
        let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        count(&db, others).await;
        until_true("its connection ends", SOON, async || count(&db, paused).await == 0).await;
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(count(&db, tables).await, 0, "after statement {at}");
        run(&db, "DROP EVENT TRIGGER pause").await;
        site.must(&["migrate", "up"]);
        is_complete(&db).await;
        if at == statements {
            site.start().await.stop().await;
        }
    }
}

#[tokio::test]
async fn a_migration_killed_before_any_write_is_completed_by_the_next() {
    let tools = tempfile::tempdir().unwrap();
    let library = library(tools.path(), "kill_at_write");
    // Every eighth or so, from another one on each time; each with `FAULT_ROUNDS` for every write.
    let stride = usize::try_from(8_u64.saturating_sub(rounds(0)).max(1)).unwrap();
    let (mut at, mut killed) = (1 + Dice::new().below(stride), 0_usize);
    loop {
        let site = Site::on(None);
        let mut migration = site.command(&["migrate", "up"]);
        migration.env("LD_PRELOAD", &library).env("KILL_AT", at.to_string());
        if Finished::of(migration).code.is_some() {
            break; // it has ended before
        }
        (at, killed) = (at + stride, killed + 1);
        site.must(&["migrate", "up"]);
        let db = site.database().await;
        is_complete(&db).await;
        assert_eq!(column::<String>(&db, "PRAGMA integrity_check").await, ["ok"]);
    }
    println!("killed before each of {killed} writes");
    assert!(killed * stride > 20, "{killed} writes are no migration");
}

/// Every step is there, and what the steps make.
async fn is_complete(db: &DatabaseConnection) {
    let steps: Vec<String> = column(db, "SELECT name FROM schema_steps ORDER BY position").await;
    assert_eq!(steps, STEPS.iter().map(|step| step.name).collect::<Vec<_>>());
    assert_eq!(count(db, "SELECT count(*) FROM users").await, 0);
}

/// What an event trigger of PostgreSQL sees.
fn is_definition(sql: &str) -> bool {
    ["CREATE", "ALTER", "DROP"].iter().any(|word| sql.trim_start().starts_with(word))
}

/// Whoever defines something in this database waits after the `at`-th definition, its transaction still open.
async fn pause_after(db: &DatabaseConnection, at: usize) {
    run(db, "CREATE SCHEMA pausing").await;
    run(db, "CREATE SEQUENCE pausing.definitions").await;
    let function = format!(
        "CREATE FUNCTION pausing.pause() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('pausing.definitions') = {at} THEN PERFORM pg_sleep(600); END IF;
         END $$"
    );
    run(db, &function).await;
    run(db, "CREATE EVENT TRIGGER pause ON ddl_command_end EXECUTE FUNCTION pausing.pause()").await;
}

fn kill(process: &mut Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

async fn run(db: &DatabaseConnection, sql: &str) {
    db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
