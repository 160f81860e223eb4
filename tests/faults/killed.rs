//! The program is killed, at any moment.

use std::cell::Cell;

use sea_orm::{DatabaseConnection, DbBackend};

use crate::chance::{Dice, rounds};
use crate::database::{column, count};
use crate::gatehouse::{Server, Site};
use crate::ledger::{self, Entries};

#[tokio::test]
async fn no_answered_write_is_lost_when_the_program_is_killed() {
    let (dice, site) = (Dice::new(), Site::new());
    let mut server = site.start().await;
    let mut earlier = Vec::new();
    for _ in 0..rounds(4) {
        let entries = load_and_kill(&mut server, &dice).await;
        server = site.launch();
        let took = server.ready().await;
        println!("{} writes answered ({:?}), ready again after {took:?}", entries.done(), entries.answers);
        let db = site.database().await;
        is_sound(&db).await;
        entries.check(&db).await;
        entries.check_server(&server.client()).await;
        earlier.push(entries);
    }
    // What survived one kill survives those that follow.
    let db = site.database().await;
    for entries in &earlier {
        entries.check_kept(&db).await;
    }
    server.stop().await;
}

async fn load_and_kill(server: &mut Server<'_>, dice: &Dice) -> Entries {
    let (client, over) = (server.client(), Cell::new(false));
    let moment = dice.millis(200..1500);
    let killing = async {
        tokio::time::sleep(moment).await;
        server.kill();
        over.set(true);
    };
    tokio::join!(ledger::load(&client, dice, &over), killing).0
}

#[tokio::test]
async fn a_start_that_was_killed_is_completed_by_the_next() {
    let dice = Dice::new();
    for _ in 0..rounds(6) {
        let site = Site::new();
        let mut killed = site.launch();
        tokio::time::sleep(dice.millis(0..150)).await;
        killed.kill();
        let server = site.start().await;
        let db = site.database().await;
        is_sound(&db).await;
        let steps: Vec<String> = column(&db, "SELECT name FROM schema_steps ORDER BY position").await;
        assert_eq!(steps, gatehouse::migrations::STEPS.iter().map(|step| step.name).collect::<Vec<_>>());
        assert_eq!(count(&db, "SELECT count(*) FROM signing_keys").await, 1);
        let links = count(&db, "SELECT count(*) FROM one_time_tokens").await;
        assert!((1..=2).contains(&links), "{links} set-up links of two starts");
        server.stop().await;
    }
}

/// What SQLite itself can tell of its file; PostgreSQL was not the one that was killed.
pub async fn is_sound(db: &DatabaseConnection) {
    if db.get_database_backend() == DbBackend::Sqlite {
        assert_eq!(column::<String>(db, "PRAGMA integrity_check").await, ["ok"]);
        assert_eq!(crate::database::rows(db, "PRAGMA foreign_key_check").await.len(), 0);
    }
}
