//! What crashes and purges leave, and who takes it away.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::{blobs, content_of, unfinished, upload, uploaded};
use crate::clock::set;
use crate::harness::{Reply, START, TestApp, race};

/// Bytes as a crash would leave them: named by the moment, without a row.
fn left_behind(app: &TestApp, temp: bool) -> PathBuf {
    let blob = app.inside.random.uuid_v7(app.clock.now()).to_string();
    let root = app.inside.config.server.data_dir.join("files");
    let folder = if temp { root.join("tmp") } else { root.join(&blob[32..34]).join(&blob[34..36]) };
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(&blob), "half").unwrap();
    folder.join(blob)
}

fn are_there(paths: &[&Path]) -> Vec<bool> {
    paths.iter().map(|path| path.exists()).collect()
}

#[tokio::test]
async fn what_a_crash_left_is_swept_when_nobody_can_want_it_any_more() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let file = uploaded(&ann, "kept", b"kept").await;
    let (temp, blob) = (left_behind(&app, true), left_behind(&app, false));
    app.inside.sweep().await.unwrap();
    assert_eq!(are_there(&[&temp, &blob]), [true, true], "their rows may still be on the way");
    app.clock.advance(Duration::from_hours(25));
    let (new_temp, new_blob) = (left_behind(&app, true), left_behind(&app, false));
    app.inside.sweep().await.unwrap();
    assert_eq!(are_there(&[&temp, &blob, &new_temp, &new_blob]), [false, false, true, true]);
    let ann = app.sign_in("ann").await;
    assert_eq!(ann.get(&content_of(&file)).await.is(200).text(), "kept");
}

// F-18
#[tokio::test]
async fn a_sweep_from_before_the_clock_was_set_back_puts_off_none_after_it() {
    let app = TestApp::new().await;
    let blob = left_behind(&app, false);
    std::fs::remove_file(&blob).unwrap();
    app.clock.advance(Duration::from_hours(48));
    app.inside.sweep().await.unwrap();
    std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
    std::fs::write(&blob, "half").unwrap();
    app.inside.sweep().await.unwrap();
    assert!(blob.exists(), "it has looked a moment ago");
    set(&app, START.after(Duration::from_hours(25)));
    app.inside.sweep().await.unwrap();
    assert!(!blob.exists());
}

#[tokio::test]
async fn another_database_does_not_take_the_files_for_rubbish() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let file = uploaded(&ann, "kept", b"kept").await;
    app.inside.sweep().await.unwrap();
    let folder = app.inside.config.server.data_dir.clone();
    let database = format!("sqlite://{}", folder.join("another.db").display());
    let other = app.restarted_with(&[("DATABASE_URI", &database)]).await;
    app.clock.advance(Duration::from_hours(25));
    other.inside.sweep().await.unwrap();
    let ann = app.sign_in("ann").await;
    assert_eq!(ann.get(&content_of(&file)).await.is(200).text(), "kept");
}

#[tokio::test]
async fn files_of_an_account_that_was_deleted_long_ago_go_with_it() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    uploaded(&ann, "a", b"x").await;
    ann.delete(&ann.path()).await.is(200);
    app.clock.advance(Duration::from_hours(24));
    app.inside.sweep().await.unwrap();
    assert_eq!(blobs(&app).len(), 1, "the account can still be restored");
    app.clock.advance(Duration::from_hours(24 * 31));
    app.inside.sweep().await.unwrap();
    assert!(blobs(&app).is_empty() && unfinished(&app).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_leaves_no_bytes_however_many_uploads_are_under_way() {
    const ROUNDS: usize = 25;
    const UPLOADS: usize = 5;
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let mut kept = 0;
    for round in 0..ROUNDS {
        let name = format!("ann_{round}");
        let ann = app.user(&name).await;
        uploaded(&ann, "before", b"x").await;
        let answers = race(UPLOADS + 1, |number| match number {
            // In another place each time, so that each of the uploads is the one beside it at some time.
            number if number == round % (UPLOADS + 1) => admin.delete(&format!("{}?purge=true", ann.path())),
            number => upload(&ann, &format!("file_{number}"), b"hello"),
        })
        .await;
        let answered: Vec<u16> = answers.iter().map(Reply::status).collect();
        assert!(answered.contains(&200), "{answered:?}");
        kept += answered.iter().filter(|status| **status == 201).count();
        assert_eq!(blobs(&app), Vec::<PathBuf>::new(), "round {round}: {answered:?}");
        assert!(unfinished(&app).is_empty());
    }
    assert!(kept > 0, "no upload was ever committed first");
}

#[tokio::test]
async fn bytes_that_were_lost_are_a_file_that_is_not_there() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let file = uploaded(&ann, "a", b"x").await;
    std::fs::remove_file(&blobs(&app)[0]).unwrap();
    ann.get(&content_of(&file)).await.refused(404, "not_found");
    assert_eq!(ann.delete(&super::path_of(&file)).await.is(200).json(), file);
}

#[tokio::test]
async fn a_link_in_the_place_of_bytes_is_not_followed() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let file = uploaded(&ann, "a", b"x").await;
    let blob = &blobs(&app)[0];
    std::fs::remove_file(blob).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", blob).unwrap();
    let status = reqwest::Client::new()
        .get(format!("{}{}", app.base(), content_of(&file)))
        .bearer_auth(&ann.access)
        .send()
        .await
        .unwrap()
        .status();
    assert_eq!(status, 503, "as with any file that can't be read");
}

#[tokio::test]
async fn another_instance_on_the_same_storage_serves_the_same_files() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let file = uploaded(&ann, "a", b"x").await;
    let other = app.second_instance().await;
    let there = ann.at(&other);
    assert_eq!(there.get(&content_of(&file)).await.is(200).text(), "x");
    assert_eq!(there.me().await["files"], json!([file]));
    let made = file["created_by_uuid"].as_str().map(Uuid::try_parse);
    assert_eq!(made, Some(Ok(ann.id)));
}
