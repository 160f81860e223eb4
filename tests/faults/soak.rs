//! Much work for long: what the program holds for it must not become more and more.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, Statement, TransactionTrait};

use crate::chance::{Dice, unique, variable};
use crate::client::{Answer, Client};
use crate::database::count;
use crate::gatehouse::{Server, Site};
use crate::ledger::{self, Entries};
use crate::uploads::files_below;
use crate::waiting::{SOON, until, until_true};

/// How long the work lasts, unless `SOAK_SECONDS` says so.
const EVERY_DAY: u64 = 20;
/// Work before the first measurement: all that is made when it is first needed is there then.
const WARM_UP: Duration = Duration::from_secs(3);
/// Connections to the database, and what serves them, are made when they are needed and kept.
const KEPT: usize = 24;
/// How long somebody reads in one go, and then does not.
const READING: Duration = Duration::from_secs(3);
const BREAK: Duration = Duration::from_secs(1);
const LARGEST_LOG: u64 = 64 * 1024 * 1024;
/// A line of JSON for each request, and some for the program itself.
const BYTES_FOR_A_REQUEST: usize = 1024;
/// From so long on there is a slope of memory that means something: after this, and so steep at most.
const SETTLED: Duration = Duration::from_mins(15);
const BYTES_IN_TEN_MINUTES: f64 = 1024.0 * 1024.0;

#[tokio::test]
async fn what_the_program_holds_does_not_grow_with_its_work() {
    let (dice, site) = (Dice::new(), Site::new().with("THROTTLE_UPLOAD", "1000000/1h"));
    let server = site.start().await;
    let warm = work(&site, &server, &dice, WARM_UP).await;
    let (files, threads) = (server.open_files() + KEPT, server.threads() + KEPT);
    let time = Duration::from_secs(variable("SOAK_SECONDS").unwrap_or(EVERY_DAY));
    let done = work(&site, &server, &dice, time).await;
    let requests = warm.requests + done.requests;
    println!(
        "{} requests, {} of them on files; log of writes at most {} bytes; memory {} to {} bytes",
        done.requests,
        done.on_files,
        done.largest_log,
        done.memory[0].1,
        done.memory[done.memory.len() - 1].1
    );
    assert!(done.largest_log <= LARGEST_LOG, "{} bytes of log of writes", done.largest_log);

    // Nobody is there any more.
    until("what was open is closed", SOON, async || {
        let now = (server.open_files(), server.threads());
        if now.0 <= files && now.1 <= threads { Ok(()) } else { Err((now, (files, threads))) }
    })
    .await;
    nothing_lies_about(&site).await;
    let told = server.output().len();
    println!("{} bytes of log for a request", told / requests);
    assert!(told < requests * BYTES_FOR_A_REQUEST, "{told} bytes of log for {requests} requests");
    if time >= 2 * SETTLED {
        let slope = slope(done.memory.iter().filter(|(at, _)| *at >= SETTLED)) * 600.0;
        println!("memory grows by {slope:.0} bytes in ten minutes");
        assert!(slope <= BYTES_IN_TEN_MINUTES, "memory grows by {slope:.0} bytes in ten minutes");
    }
    let db = site.database().await;
    for entries in [warm.entries, done.entries] {
        assert!(entries.cut.is_empty(), "{:#?}", entries.cut);
        entries.check(&db).await;
        entries.check_server(&server.client()).await;
    }
    server.stop().await;
}

/// What a time of work came to.
struct Done {
    entries: Entries,
    requests: usize,
    on_files: usize,
    largest_log: u64,
    /// By the time since the beginning.
    memory: Vec<(Duration, u64)>,
}

/// The ledger's load, with files and a reader beside it.
async fn work(site: &Site, server: &Server<'_>, dice: &Dice, time: Duration) -> Done {
    let (client, over) = (server.client(), Cell::new(false));
    // Later there may be too many who sign up.
    let keeper = client.sign_up(&format!("keeper_{}", unique())).await.unwrap();
    let watching = async {
        let watched = watch(site, server, time).await;
        over.set(true);
        watched
    };
    let (entries, on_files, (), (largest_log, memory)) = tokio::join!(
        ledger::load(&client, dice, &over),
        keep_files(&client, keeper, &over),
        read(site, &over),
        watching
    );
    let requests = entries.answers.values().sum::<usize>() + on_files;
    Done { entries, requests, on_files, largest_log, memory }
}

async fn watch(site: &Site, server: &Server<'_>, time: Duration) -> (u64, Vec<(Duration, u64)>) {
    let (began, log) = (Instant::now(), site.data().join("gatehouse.db-wal"));
    let (mut largest, mut memory) = (0, vec![(Duration::ZERO, server.memory())]);
    while began.elapsed() < time {
        // PostgreSQL has none.
        largest = largest.max(fs::metadata(&log).map_or(0, |log| log.len()));
        if memory.last().is_none_or(|(at, _)| began.elapsed() >= *at + Duration::from_secs(1)) {
            memory.push((began.elapsed(), server.memory()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (largest, memory)
}

/// Uploads files, reads them back and deletes them; how many requests that were, with the sign-up.
async fn keep_files(client: &Client, mut tokens: Answer, over: &Cell<bool>) -> usize {
    let mut requests = 1;
    while !over.get() {
        // An hour is longer than an access token lives.
        tokens = client.refresh(&tokens.text("refresh_token")).await.unwrap();
        let token = tokens.text("access_token");
        let content = unique().repeat(10_000);
        let file = client.upload(&token, "notes.txt", content.as_bytes()).await.unwrap();
        assert_eq!(file.status, 201, "{file:?}");
        let path = format!("/file/{}", file.body["id"]);
        let described = client.ask(reqwest::Method::GET, &path, &token, None).await.unwrap();
        assert_eq!(described.status, 200, "{described:?}");
        let deleted = client.ask(reqwest::Method::DELETE, &path, &token, None).await.unwrap();
        assert_eq!(deleted.status, 200, "{deleted:?}");
        requests += 4;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    requests
}

/// Somebody beside the program looks at the database for long at a time, as a backup does.
async fn read(site: &Site, over: &Cell<bool>) {
    let db = site.database().await;
    while !over.get() {
        let reading = db.begin().await.unwrap();
        let statement = Statement::from_string(db.get_database_backend(), "SELECT count(*) FROM users");
        let seen = reading.query_one_raw(statement).await.unwrap();
        assert!(seen.is_some());
        pause(READING, over).await;
        reading.rollback().await.unwrap();
        pause(BREAK, over).await;
    }
}

async fn pause(time: Duration, over: &Cell<bool>) {
    let began = Instant::now();
    while began.elapsed() < time && !over.get() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// No file that was only for a moment, and no bytes of a file that is deleted.
async fn nothing_lies_about(site: &Site) {
    let of_the_system = files_below(&site.folder().join("tmp"));
    assert!(of_the_system.is_empty(), "{of_the_system:?}");
    let (db, folder) = (site.database().await, site.data().join("files"));
    until_true("bytes go after their rows", SOON, async || {
        let kept = files_below(&folder).iter().filter(|path| !is_mark(path)).count();
        i64::try_from(kept).unwrap() == count(&db, "SELECT count(*) FROM files").await
    })
    .await;
}

/// Says whose folder it is.
fn is_mark(path: &Path) -> bool {
    path.ends_with("owner")
}

/// By how much the second number grows with each second (least squares).
fn slope<'m>(memory: impl Iterator<Item = &'m (Duration, u64)>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "bytes of a process are far from that many")]
    let points: Vec<(f64, f64)> = memory.map(|(at, bytes)| (at.as_secs_f64(), *bytes as f64)).collect();
    let number = points.iter().map(|_| 1.0).sum::<f64>();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / number;
    let (at, bytes) = (mean(|point| point.0), mean(|point| point.1));
    let (mut shared, mut own) = (0.0, 0.0);
    for point in &points {
        shared += (point.0 - at) * (point.1 - bytes);
        own += (point.0 - at).powi(2);
    }
    shared / own
}
