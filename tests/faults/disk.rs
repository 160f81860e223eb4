//! The disk takes no more: commits fail for real.
//!
//! The server may write no file beyond a size (`RLIMIT_FSIZE`), which is set on the running process and taken away
//! again. Where a shell lets it ignore `SIGXFSZ`, the write that goes beyond fails as on a full disk, in the middle of
//! a commit.

use std::cell::Cell;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;

use crate::chance::Dice;
use crate::client::{Answer, Client};
use crate::database::column;
use crate::gatehouse::{PASSWORD, Server, Site};
use crate::ledger;
use crate::waiting::{SOON, until, until_true};

/// What readiness says of the database then.
const FULL: &str = "degraded: nothing can be written: the disk is full, or takes no more";

#[tokio::test]
async fn a_commit_that_fails_is_answered_503_and_undone_and_the_next_works_without_a_restart() {
    let site = Site::on(None);
    let server = start(&site).await;
    let client = server.client();
    let token = client.sign_up("ann").await.unwrap().text("access_token");
    assert_eq!(client.describe("ann", &token, "before").await.unwrap().status, 200);
    for round in 0..3 {
        fill(&site, &server);
        for _ in 0..3 {
            let refused = client.describe("ann", &token, "lost").await.unwrap();
            assert_eq!((refused.status, refused.text("code").as_str()), (503, "unavailable"));
            assert_eq!(client.sign_up(&format!("lost_{round}")).await.unwrap().status, 503);
        }
        let me = client.me(&token).await.unwrap();
        assert!(me.status == 200 && me.text("description") != "lost", "reading goes on: {me:?}");
        for _ in 0..3 {
            let (status, report) = client.readiness().await.unwrap();
            assert_eq!((status, report["status"].as_str()), (200, Some("degraded")), "{report}");
            assert_eq!(report["parts"]["database"], FULL, "{report}");
        }
        empty(&server);
        // Without anybody else writing.
        until("readiness tells that there is room", SOON, async || {
            let (status, report) = client.readiness().await.unwrap();
            if (status, &report["parts"]["database"]) == (200, &json!("ok")) {
                Ok(())
            } else {
                Err(report.to_string())
            }
        })
        .await;
        let after = format!("after {round}");
        assert_eq!(client.describe("ann", &token, &after).await.unwrap().status, 200);
        assert_eq!(client.sign_up(&format!("kept_{round}")).await.unwrap().status, 201);
        assert_eq!(client.me(&token).await.unwrap().text("description"), after);
    }
    server.stop().await;
    let db = site.database().await;
    let people: Vec<String> = column(&db, "SELECT username FROM users ORDER BY username").await;
    assert_eq!(people, ["ann", "kept_0", "kept_1", "kept_2"]);
    assert_eq!(column::<String>(&db, "SELECT name FROM leases WHERE name = 'trial'").await.len(), 0);
    assert_eq!(column::<String>(&db, "PRAGMA integrity_check").await, ["ok"]);
}

#[tokio::test]
async fn on_a_full_disk_signing_in_and_out_and_refreshing_are_503_and_whoever_is_signed_in_stays_so() {
    let site = Site::on(None);
    let server = start(&site).await;
    let client = server.client();
    let ann = client.sign_up("ann").await.unwrap();
    let (token, refresh) = (ann.text("access_token"), ann.text("refresh_token"));
    fill(&site, &server);
    for refused in [
        client.sign_in("ann", PASSWORD).await.unwrap(),
        client.refresh(&refresh).await.unwrap(),
        client.sign_out(&token).await.unwrap(),
        // That a token was revoked is believed: what can't be written is not answered 200 (T-36).
        client.revoke(&refresh).await.unwrap(),
        client.revoke(&token).await.unwrap(),
    ] {
        // With `Retry-After`, to which the client holds every 503.
        assert_eq!((refused.status, refused.text("code").as_str()), (503, "unavailable"), "{refused:?}");
        tells_nothing_of_the_inside(&site, &refused);
    }
    assert_eq!(client.me(&token).await.unwrap().status, 200);
    // The log is written by a thread of its own.
    let words = "nothing can be written for now: the disk is full, or takes no more";
    until_true("the log tells why", SOON, async || server.output().contains(words)).await;
    empty(&server);
    assert_eq!(client.refresh(&refresh).await.unwrap().status, 200);
    let again = client.sign_in("ann", PASSWORD).await.unwrap();
    assert_eq!(again.status, 200, "{again:?}");
    let again = again.text("access_token");
    assert_eq!(client.sign_out(&again).await.unwrap().status, 200);
    assert_eq!(client.me(&again).await.unwrap().status, 401);
    let last = client.sign_in("ann", PASSWORD).await.unwrap().text("refresh_token");
    assert_eq!(client.revoke(&last).await.unwrap().status, 200);
    assert_eq!(client.refresh(&last).await.unwrap().status, 401);
    server.stop().await;
}

/// Neither which database it is, nor what it was asked, nor where it lies.
fn tells_nothing_of_the_inside(site: &Site, answer: &Answer) {
    let (body, place) = (answer.body.to_string().to_lowercase(), site.data().display().to_string());
    let words = ["sqlite", "sqlx", "sea_orm", "gatehouse.db", "-wal", "os error", "i/o error"];
    let sql = ["select ", "insert ", "update ", "delete from", "begin immediate", "commit"];
    for inside in words.into_iter().chain(sql).chain([place.to_lowercase().as_str()]) {
        assert!(!body.contains(inside), "{inside}: {body}");
    }
}

#[tokio::test]
async fn of_acts_that_shared_a_failed_commit_nothing_is_left() {
    let (dice, site) = (Dice::new(), Site::on(None));
    let server = start(&site).await;
    let (client, over) = (server.client(), Cell::new(false));
    let happening = async {
        for _ in 0..3 {
            tokio::time::sleep(dice.millis(200..400)).await;
            fill(&site, &server);
            until_true("a write is refused", SOON, async || !writes(&client).await).await;
            tokio::time::sleep(dice.millis(100..300)).await;
            empty(&server);
            until("a write is answered", SOON, async || writes(&client).await.then_some(()).ok_or("no"))
                .await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        over.set(true);
    };
    let entries = tokio::join!(ledger::load(&client, &dice, &over), happening).0;
    println!("answers: {:?}", entries.answers);
    assert!(entries.answers.contains_key(&503), "{:?}", entries.answers);
    assert!(entries.cut.is_empty(), "{:#?}", entries.cut);
    let db = site.database().await;
    entries.check_undone(&db).await;
    entries.check_server(&client).await;
    server.stop().await;
    assert_eq!(column::<String>(&db, "PRAGMA integrity_check").await, ["ok"]);
    assert_eq!(crate::database::rows(&db, "PRAGMA foreign_key_check").await.len(), 0);
}

/// A server that is told of a write beyond the limit by an error, as of any other. What a shell ignores, the program
/// that it becomes ignores as well.
async fn start(site: &Site) -> Server<'_> {
    let command = site.command(&[]);
    let mut server =
        site.launch_as(Site::through(&command, "sh", &["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]));
    server.ready().await;
    server
}

/// No file may grow beyond what the write-ahead log holds now: whatever is committed next would be appended to it.
fn fill(site: &Site, server: &Server) {
    let log = fs::metadata(site.data().join("gatehouse.db-wal")).unwrap().len();
    let said = server.output().len();
    assert!(u64::try_from(said).unwrap() < log, "the server's output would be cut off as well");
    limit(server, Some(log));
}

fn empty(server: &Server) {
    limit(server, None);
}

fn limit(server: &Server, size: Option<u64>) {
    let process = Pid::from_raw(server.process().try_into().unwrap()).unwrap();
    let maximum = getrlimit(Resource::Fsize).maximum;
    let current = size.or(maximum);
    prlimit(Some(process), Resource::Fsize, Rlimit { current, maximum }).unwrap();
}

async fn writes(client: &Client) -> bool {
    let answer = client.sign_up(&format!("w{}", crate::chance::unique())).await;
    answer.unwrap().status == 201
}
