//! A disk that breaks: calls of the program that the system answers with an I/O error (SQLite). PostgreSQL ends itself when
//! its disk does so.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;

use tempfile::TempDir;

use crate::chance::{Dice, unique};
use crate::database::column;
use crate::gatehouse::{Server, Site};
use crate::killed::is_sound;
use crate::ledger;
use crate::preload::library;
use crate::uploads::{content, is_whole};
use crate::waiting::{SOON, until, until_true};

/// What the program says when it can't rely on its database any more.
const TOLD: &str = "the database can't be relied on any more";

/// A disk that works until it is broken, and again when it is mended.
struct Fragile {
    tools: TempDir,
}

impl Fragile {
    fn new() -> Self {
        Self { tools: tempfile::tempdir().unwrap() }
    }

    /// A server whose disk it is.
    async fn start<'s>(&self, site: &'s Site) -> Server<'s> {
        let mut command = site.command(&[]);
        command.env("LD_PRELOAD", library(self.tools.path(), "broken_disk"));
        command.env("BREAK_BY", self.tools.path().join("rules"));
        let mut server = site.launch_as(command);
        server.ready().await;
        server
    }

    /// From now on these calls fail on files with such a path.
    fn breaks(&self, call: &str, path: &str) {
        let draft = self.tools.path().join("draft");
        fs::write(&draft, format!("{call} {path}\n")).unwrap();
        fs::rename(draft, self.tools.path().join("rules")).unwrap();
    }

    fn is_mended(&self) {
        fs::remove_file(self.tools.path().join("rules")).unwrap();
    }
}

#[tokio::test]
async fn a_sync_that_fails_ends_the_program_and_the_next_start_has_all_that_was_answered() {
    let dice = Dice::new();
    for _ in 0..5 {
        if is_ended_by_a_sync(&dice).await {
            return;
        }
    }
    panic!("readiness never tells of it");
}

/// Whether readiness was seen to tell of it. That is for half a second, for which a busy machine may stand still.
async fn is_ended_by_a_sync(dice: &Dice) -> bool {
    let (site, disk) = (Site::on(None), Fragile::new());
    let mut server = disk.start(&site).await;
    let (client, over) = (server.client(), Cell::new(false));
    let breaking = async {
        // However slow the machine is, something has been done by then.
        until_true("somebody is there", SOON, async || server.output().contains("signed up")).await;
        tokio::time::sleep(dice.millis(0..600)).await;
        disk.breaks("sync", ".db-wal");
        let is_told = until("readiness tells of it", SOON, async || match client.readiness().await {
            Ok((503, report)) if report["parts"]["database"] == "unavailable" => Ok(true),
            Ok((_, report)) => Err(report.to_string()),
            Err(_) if server.output().contains(TOLD) => Ok(false),
            Err(error) => Err(error.to_string()),
        })
        .await;
        // However soon it is mended, the sync is not tried again.
        disk.is_mended();
        let status = server.ended(SOON).await;
        over.set(true);
        (status, is_told)
    };
    let (entries, (status, is_told)) = tokio::join!(ledger::load(&client, dice, &over), breaking);
    println!("{:?}, {} cut off, {status}", entries.answers, entries.cut.len());
    assert_eq!(status.code(), Some(1), "a supervisor would not start it anew");
    assert!(entries.done() > 0 && entries.answers.contains_key(&503), "{:?}", entries.answers);
    assert_eq!(server.output().matches(TOLD).count(), 1, "it is told once");
    let log = fs::metadata(site.data().join("gatehouse.db-wal")).unwrap();
    assert!(log.len() > 0, "the log was folded into the database, although nobody knows what is in it");
    let server = site.start().await;
    let db = site.database().await;
    is_sound(&db).await;
    entries.check(&db).await;
    entries.check_server(&server.client()).await;
    server.stop().await;
    is_told
}

#[tokio::test]
async fn a_write_that_fails_is_answered_503_and_undone_and_the_program_goes_on() {
    let (site, disk) = (Site::on(None), Fragile::new());
    let server = disk.start(&site).await;
    let client = server.client();
    let token = client.sign_up("ann").await.unwrap().text("access_token");
    for round in 0..3 {
        disk.breaks("write", ".db-wal");
        let refused = client.describe("ann", &token, "lost").await.unwrap();
        assert_eq!((refused.status, refused.text("code").as_str()), (503, "unavailable"));
        assert_eq!(client.sign_up(&format!("lost_{round}")).await.unwrap().status, 503);
        assert_eq!(client.me(&token).await.unwrap().status, 200, "reading goes on");
        disk.is_mended();
        assert_eq!(client.describe("ann", &token, "kept").await.unwrap().status, 200);
        assert_eq!(client.sign_up(&format!("kept_{round}")).await.unwrap().status, 201);
    }
    assert!(!server.output().contains(TOLD));
    server.stop().await;
    let db = site.database().await;
    is_sound(&db).await;
    let people: Vec<String> = column(&db, "SELECT username FROM users ORDER BY username").await;
    assert_eq!(people, ["ann", "kept_0", "kept_1", "kept_2"]);
    assert_eq!(column::<String>(&db, "SELECT description FROM users WHERE username = 'ann'").await, ["kept"]);
}

#[tokio::test]
async fn an_upload_that_the_disk_does_not_take_is_503_and_leaves_no_row() {
    let (site, disk) = (Site::on(None), Fragile::new());
    let server = disk.start(&site).await;
    let client = server.client();
    let token = client.sign_up("ann").await.unwrap().text("access_token");
    let mut answered = BTreeMap::new();
    // Its bytes, their sync, that of their folder.
    for call in ["write", "sync", "sync-folder"] {
        disk.breaks(call, "/files/");
        let refused = client.upload(&token, call, &content(call)).await.unwrap();
        assert_eq!((refused.status, refused.text("code").as_str()), (503, "unavailable"), "{call}");
        disk.is_mended();
        let name = unique();
        let kept = client.upload(&token, &name, &content(&name)).await.unwrap();
        assert_eq!(kept.status, 201, "{kept:?}");
        answered.insert(kept.body["id"].as_i64().unwrap(), name);
        is_whole(&site, &answered).await;
    }
    let rows: Vec<i64> = column(&site.database().await, "SELECT count(*) FROM files").await;
    assert_eq!(rows, [3]);
    server.stop().await;
}
