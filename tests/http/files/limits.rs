//! How much one may keep, whoever tries at the same moment.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::{FORM, blobs, content_of, form, path_of, unfinished, upload, uploaded};
use crate::harness::{TestApp, race};

#[tokio::test]
async fn the_number_of_files_is_held() {
    let app = TestApp::with(&[("MAX_USER_FILES", "3")]).await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let first = uploaded(&ann, "0", b"").await;
    for name in ["1", "2"] {
        uploaded(&ann, name, b"").await;
    }
    upload(&ann, "3", b"").await.refused(409, "quota_exceeded");
    uploaded(&bob, "0", b"").await;
    ann.delete(&path_of(&first)).await.is(200);
    uploaded(&ann, "3", b"").await;
    assert_eq!(blobs(&app).len(), 4);
}

#[tokio::test]
async fn uploads_are_counted_for_each_client() {
    let app = TestApp::with(&[("THROTTLE_UPLOAD", "2/1h"), ("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let ann = app.user("ann").await;
    let upload = |from: &str, name: &str| {
        ann.post("/api/file").header("x-forwarded-for", from).body(FORM, form(name, b"x"))
    };
    upload("192.0.2.1", "a").await.is(201);
    upload("192.0.2.1", "b").await.is(201);
    let refused = upload("192.0.2.1", "c").await;
    assert!(refused.refused(429, "rate_limited").header("retry-after").is_some());
    // Files and pictures are counted together.
    let picture = ann.put(&format!("{}/image", ann.path())).header("x-forwarded-for", "192.0.2.1");
    picture.body(FORM, form("a.png", b"x")).await.refused(429, "rate_limited");
    upload("192.0.2.2", "c").await.is(201);
    app.clock.advance(Duration::from_hours(1));
    let ann = app.sign_in("ann").await;
    ann.post("/api/file").header("x-forwarded-for", "192.0.2.1").body(FORM, form("d", b"x")).await.is(201);
}

#[tokio::test]
async fn the_bytes_are_held_to_the_last() {
    let app = TestApp::with(&[("MAX_USER_STORAGE_BYTES", "1000")]).await;
    let ann = app.user("ann").await;
    uploaded(&ann, "a", &[b'x'; 999]).await;
    upload(&ann, "b", b"xx").await.refused(409, "quota_exceeded");
    uploaded(&ann, "c", b"x").await;
    upload(&ann, "d", b"x").await.refused(409, "quota_exceeded");
    uploaded(&ann, "empty", b"").await;
}

#[tokio::test]
async fn what_staff_attaches_counts_as_theirs() {
    let app = TestApp::with(&[("MAX_USER_FILES", "1")]).await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let path = format!("{}/file", ann.path());
    admin.put(&path).body(FORM, form("x", b"x")).await.is(200);
    uploaded(&ann, "x", b"x").await;
    admin.put(&path).body(FORM, form("y", b"x")).await.refused(409, "quota_exceeded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_uploads_at_once_hold_the_quota_to_the_byte() {
    let settings = [("MAX_USER_STORAGE_BYTES", "30007"), ("MAX_USER_FILES", "1000")];
    for _ in 0..2 {
        let app = TestApp::with(&settings).await;
        let ann = app.user("ann").await;
        // Of different sizes, so that the last bytes are fought for.
        let content = |number: usize| vec![b'x'; 1 + number % 97];
        let mut replies = race(1000, |number| upload(&ann, &number.to_string(), &content(number))).await;
        // A thousand at once may be more than the database has connections for: who is told so comes back.
        for (number, reply) in replies.iter_mut().enumerate().filter(|(_, reply)| reply.status() == 503) {
            assert!(reply.header("retry-after").is_some(), "{reply:?}");
            *reply = upload(&ann, &number.to_string(), &content(number)).await;
        }
        let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
        for reply in &replies {
            *statuses.entry(reply.status()).or_default() += 1;
            if reply.status() != 201 {
                reply.refused(409, "quota_exceeded");
            }
        }
        let files = ann.get("/api/file?limit=1000").await.is(200).json();
        let files = files.as_array().unwrap();
        let kept: u64 = files.iter().map(|file| file["size"].as_u64().unwrap()).sum();
        assert_eq!(Some(&files.len()), statuses.get(&201), "{statuses:?}");
        assert!(kept <= 30_007 && kept > 30_007 - 97, "{kept} {statuses:?}");
        for file in files {
            let number: usize = file["file_name"].as_str().unwrap().parse().unwrap();
            assert_eq!(file["size"], json!(content(number).len()));
        }
        ann.get(&content_of(&files[0])).await.is(200);
        // Whether a change went through that nobody was answered is not known at once: its bytes are swept later.
        app.clock.advance(Duration::from_hours(25));
        app.inside.sweep().await.unwrap();
        assert_eq!((blobs(&app).len(), unfinished(&app).len()), (files.len(), 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_one_name_and_of_the_last_place_one_upload_wins() {
    let app = TestApp::with(&[("MAX_USER_FILES", "7")]).await;
    let ann = app.user("ann").await;
    let same = race(20, |_| upload(&ann, "same", b"x")).await;
    assert_eq!(same.iter().filter(|reply| reply.status() == 201).count(), 1);
    assert!(same.iter().all(|reply| matches!(reply.status(), 201 | 409)));
    let others = race(30, |number| upload(&ann, &number.to_string(), b"x")).await;
    assert_eq!(others.iter().filter(|reply| reply.status() == 201).count(), 6);
    assert_eq!(ann.get("/api/file/count").await.json(), 7);
    assert_eq!((blobs(&app).len(), unfinished(&app).len()), (7, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_is_deleted_once() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let path = path_of(&uploaded(&ann, "a", b"x").await);
    let replies = race(20, |_| ann.delete(&path)).await;
    assert_eq!(replies.iter().filter(|reply| reply.status() == 200).count(), 1);
    assert!(replies.iter().all(|reply| matches!(reply.status(), 200 | 404)));
    assert!(blobs(&app).is_empty());
}
