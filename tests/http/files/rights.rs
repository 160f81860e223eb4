//! Who may do what to whose files.

use serde_json::json;

use super::{FORM, content_of, form, path_of, uploaded};
use crate::harness::{Client, TestApp};

/// The statuses of reading, reading the content, changing and deleting; the last two with nothing to be changed.
async fn statuses(who: &Client, path: &str) -> [u16; 4] {
    [
        who.get(path).await.status(),
        who.get(&format!("{path}/file")).await.status(),
        who.patch(path).json(&json!({})).await.status(),
        who.delete(path).await.status(),
    ]
}

#[tokio::test]
async fn a_file_is_for_its_owner_those_it_is_linked_to_and_staff() {
    let app = TestApp::new().await;
    let (ann, bob, tester) = (app.user("ann").await, app.user("bob").await, app.tester().await);
    let (moderator, admin) = (app.moderator().await, app.admin().await);
    let file = path_of(&uploaded(&ann, "a", b"x").await);
    assert_eq!(statuses(&app, &file).await, [401; 4]);
    assert_eq!(statuses(&bob, &file).await, [404; 4]);
    assert_eq!(statuses(&tester, &file).await, [404; 4]);
    assert_eq!(statuses(&moderator, &file).await, [200, 200, 403, 403]);
    assert_eq!(statuses(&ann, &file).await, [200; 4]);
    let another = path_of(&uploaded(&ann, "b", b"x").await);
    assert_eq!(statuses(&admin, &another).await, [200; 4]);
    let attach = admin.put(&format!("{}/file", bob.path())).body(FORM, form("c", b"x"));
    let linked = path_of(&attach.await.is(200).json());
    assert_eq!(statuses(&bob, &linked).await, [200, 200, 403, 403]);
    assert_eq!(statuses(&ann, &linked).await, [404; 4]);
    assert_eq!(statuses(&moderator, &linked).await, [404; 4], "it is the admin's");
    assert_eq!(statuses(&admin, &linked).await, [200; 4]);
}

#[tokio::test]
async fn a_file_that_is_hidden_looks_as_one_that_is_not_there() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let file = uploaded(&ann, "a", b"x").await;
    for act in ["GET", "PATCH", "DELETE"] {
        let ask = |path: &str| bob.ask(act, path).json(&json!({}));
        let (hidden, unknown) = (ask(&path_of(&file)).await, ask("/api/file/999999").await);
        let without_id = |reply: &crate::harness::Reply| {
            let mut problem = reply.refused(404, "not_found").json();
            problem["trace_id"].take();
            problem
        };
        assert_eq!(without_id(&hidden), without_id(&unknown));
    }
    for odd in ["0", "-1", "01", "1.0", "x", "99999999999999999999", "%31"] {
        bob.get(&format!("/api/file/{odd}")).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_ban_ends_it_and_a_purge_takes_files_with_it() {
    let app = TestApp::new().await;
    let (ann, bob, admin) = (app.user("ann").await, app.user("bob").await, app.admin().await);
    let file = uploaded(&ann, "a", b"x").await;
    let attach = admin.put(&format!("{}/file", ann.path())).body(FORM, form("c", b"x"));
    let linked = attach.await.is(200).json();
    let of_bob = uploaded(&bob, "a", b"x").await;
    admin.patch(&ann.path()).json(&json!({"is_active": false})).await.ok();
    ann.get(&content_of(&file)).await.refused(401, "token_invalid");
    admin.delete(&format!("{}?purge=true", ann.path())).await.is(200);
    admin.get(&path_of(&file)).await.refused(404, "not_found");
    admin.get(&content_of(&linked)).await.is(200);
    bob.get(&content_of(&of_bob)).await.is(200);
    assert_eq!(super::blobs(&app).len(), 2);
}
