//! Who sees whose picture, and what a browser and its caches may do with it.

use serde_json::json;

use super::picture;
use crate::harness::TestApp;

#[tokio::test]
async fn anybody_sees_the_picture_of_an_active_user() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    for asker in [&*app, &*ann, &*bob] {
        picture(asker, &ann, "").await.is(200);
    }
    for nobody in ["00000000-0000-7000-8000-000000000000", "@nobody", "x", "@"] {
        app.get(&format!("/api/user/{nobody}/image")).await.refused(404, "not_found");
        ann.get(&format!("/api/user/{nobody}/image")).await.refused(404, "not_found");
    }
}

#[tokio::test]
async fn a_bad_token_is_not_nobody() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    picture(&app.with_bearer("x"), &ann, "").await.refused(401, "token_invalid");
    ann.post("/api/auth/logout").await.is(200);
    picture(&ann, &ann, "").await.refused(401, "token_invalid");
}

#[tokio::test]
async fn blocks_count_in_both_directions_from_the_next_request_on() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    picture(&bob, &ann, "").await.is(200);
    ann.put(&format!("{}/blocked_users?users_ids={}", ann.path(), bob.id)).await.is(200);
    for (asker, other) in [(&bob, &ann), (&ann, &bob)] {
        picture(asker, other, "").await.refused(404, "not_found");
        asker.get(&format!("/api/user/@{}/image", other.name)).await.refused(404, "not_found");
    }
    picture(&ann, &ann, "").await.is(200);
    picture(&app, &ann, "").await.is(200);
    let admin = app.admin().await;
    picture(&admin, &ann, "").await.is(200);
    ann.put(&format!("{}/blocked_users", ann.path())).await.is(200);
    picture(&bob, &ann, "").await.is(200);
}

#[tokio::test]
async fn who_is_switched_off_or_deleted_has_no_picture_but_for_admins() {
    let app = TestApp::new().await;
    let (ann, bob, admin) = (app.user("ann").await, app.user("bob").await, app.admin().await);
    let tag = picture(&app, &ann, "").await.is(200).header("etag").unwrap().to_owned();
    admin.patch(&ann.path()).json(&json!({"is_active": false})).await.is(200);
    for asker in [&*app, &*bob] {
        picture(asker, &ann, "").await.refused(404, "not_found");
        picture(asker, &ann, "").header("if-none-match", &tag).await.refused(404, "not_found");
        asker.get("/api/user/@ann/image").await.refused(404, "not_found");
    }
    picture(&admin, &ann, "").await.is(200);
    admin.patch(&ann.path()).json(&json!({"is_active": true})).await.is(200);
    picture(&bob, &ann, "").await.is(200);
    admin.delete(&ann.path()).await.is(200);
    picture(&app, &ann, "").await.refused(404, "not_found");
    picture(&admin, &ann, "").await.is(200);
}

#[tokio::test]
async fn caches_ask_each_time_and_keep_nobody_s_answer_for_another() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let open = picture(&app, &ann, "").await;
    assert_eq!(open.is(200).header("cache-control"), Some("public, max-age=0, must-revalidate"));
    let signed_in = picture(&bob, &ann, "").await;
    assert_eq!(signed_in.is(200).header("cache-control"), Some("private, max-age=0, must-revalidate"));
    for reply in [&open, &signed_in] {
        assert!(reply.headers().get_all("vary").iter().any(|names| names == "Authorization, Cookie"));
        assert_eq!(reply.header("cross-origin-resource-policy"), Some("cross-origin"));
        assert_eq!(reply.header("content-security-policy"), Some("default-src 'none'; sandbox"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("content-type"), Some("image/png"));
    }
    let refused = app.get("/api/user/@nobody/image").await;
    assert_eq!(refused.header("cache-control"), Some("no-store"));
}
