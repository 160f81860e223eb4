//! PostgreSQL goes away and comes back.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::chance::Dice;
use crate::cluster::Cluster;
use crate::database::{PostgresDatabase, connect, count, postgres_server};
use crate::gatehouse::{Server, Site};
use crate::ledger::{self, Entries};
use crate::waiting::{SOON, until, until_true};
use crate::wire::Wire;

/// From the moment that the database is back: a few seconds, and more on a machine that stands still meanwhile.
const RECOVERY: Duration = Duration::from_secs(20);
/// Nobody waits longer to be told that it does not work now.
const LONGEST_REFUSAL: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_database_that_stops_and_comes_back_is_answered_503_meanwhile_and_loses_nothing() {
    let Some(cluster) = Cluster::start().await else { return };
    let (dice, site) = (Dice::new(), Site::on(Some(PostgresDatabase::at(cluster.url()))));
    let server = site.start().await;
    for fault in [Cluster::stop, Cluster::kill] {
        let entries = load_during(&server, &dice, async || {
            fault(&cluster);
            let probe = server.client();
            until_true("readiness says no", SOON, async || probe.readiness().await.unwrap().0 == 503).await;
            cluster.resume().await;
            recovers(&server).await;
        })
        .await;
        assert!(entries.answers.contains_key(&503), "{:?}", entries.answers);
        holds(&site, &server, &entries).await;
    }
    server.stop().await;
}

/// From a request to its 503 while the database says nothing: the time that a connection is waited for, and some more.
const SILENCE: Duration = Duration::from_secs(4);
/// `DATABASE_MAX_CONNECTIONS` of the program on a silent wire.
const CONNECTIONS: usize = 6;

#[tokio::test]
async fn a_database_that_falls_silent_is_answered_503_meanwhile_and_is_used_again_when_it_speaks() {
    let Some(postgres) = postgres_server() else { return };
    let wire = Wire::to(&postgres).await;
    let site = Site::on(Some(PostgresDatabase::at(postgres).through(wire.port())))
        .with("DATABASE_MAX_CONNECTIONS", &CONNECTIONS.to_string());
    let (dice, server) = (Dice::new(), site.start().await);
    let before = server.open_files();
    let mut most_open = 0;
    let entries = load_during(&server, &dice, async || {
        wire.hold();
        let probe = server.client();
        let (began, mut took) = (Instant::now(), Vec::new());
        while began.elapsed() < Duration::from_secs(12) {
            let asked = Instant::now();
            assert_eq!(probe.readiness().await.unwrap().0, 503);
            took.push(asked.elapsed());
            most_open = most_open.max(server.open_files());
        }
        assert!(is_mostly_within(SILENCE, &mut took), "a 503 took {took:?}");
        wire.carry();
        recovers(&server).await;
    })
    .await;
    assert!(
        most_open < before + 2 * CONNECTIONS + ledger::WORKERS + 2,
        "{before} files were open, then {most_open}"
    );
    assert!(entries.answers.contains_key(&503), "{:?}", entries.answers);
    holds(&site, &server, &entries).await;
    server.stop().await;
}

#[tokio::test]
async fn connections_that_the_database_ends_all_the_time_lose_nothing() {
    let Some(postgres) = postgres_server() else { return };
    let (dice, site) = (Dice::new(), Site::new());
    let server = site.start().await;
    let db = connect(postgres.as_str()).await;
    let sql = ends_connections(&site);
    let entries = load_during(&server, &dice, async || {
        let began = Instant::now();
        let mut ended = 0;
        while began.elapsed() < Duration::from_secs(2) {
            ended += count(&db, &sql).await;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        println!("{ended} connections ended");
        recovers(&server).await;
    })
    .await;
    holds(&site, &server, &entries).await;
    server.stop().await;
}

/// Ends every connection to the site's database, and counts them.
pub fn ends_connections(site: &Site) -> String {
    let name = site.database_name();
    format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'")
}

async fn load_during(server: &Server<'_>, dice: &Dice, fault: impl AsyncFnOnce()) -> Entries {
    let (client, over) = (server.client(), Cell::new(false));
    let happening = async {
        tokio::time::sleep(dice.millis(300..800)).await;
        fault().await;
        // Some more answers, now that all is well again.
        tokio::time::sleep(Duration::from_millis(300)).await;
        over.set(true);
    };
    tokio::join!(ledger::load(&client, dice, &over), happening).0
}

async fn recovers(server: &Server<'_>) {
    let began = Instant::now();
    let client = server.client();
    until("a write is answered", RECOVERY, async || {
        let answer = client.sign_up(&format!("after_{}", crate::chance::unique())).await;
        if matches!(&answer, Ok(answer) if answer.status == 201) {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
    println!("recovered after {:?}", began.elapsed());
}

/// Whether two of three took no longer. A machine that stands still holds up some, and none of them for longer than a
/// client has patience.
fn is_mostly_within(longest: Duration, took: &mut [Duration]) -> bool {
    took.sort_unstable();
    took.get(took.len() * 2 / 3).is_none_or(|took| *took < longest)
}

async fn holds(site: &Site, server: &Server<'_>, entries: &Entries) {
    let mut refusals = entries.refusals.clone();
    println!("answers: {:?}, the slowest 503 after {:?}", entries.answers, refusals.iter().max());
    assert!(entries.cut.is_empty(), "{:#?}", entries.cut);
    assert!(is_mostly_within(LONGEST_REFUSAL, &mut refusals), "a 503 took {refusals:?}");
    entries.check(&site.database().await).await;
    entries.check_server(&server.client()).await;
}
