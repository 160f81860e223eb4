//! Searching, filtering, counting, and who may.

use serde_json::json;
use uuid::Uuid;

use super::{USERS, make, names, total};
use crate::harness::{TestApp, with_query};

const COUNT: &str = "/api/user/count";

#[tokio::test]
async fn a_search_finds_by_the_beginning_of_username_display_name_or_address() {
    let app = TestApp::with(&[("DISPLAY_NAME_FREE", "True")]).await;
    let admin = app.admin().await;
    make(&app, &admin, "ann_miller", &json!({"display_name": "Zoë the Great", "email": "first@example.com"}))
        .await;
    make(&app, &admin, "annxmiller", &json!({"email": "second@example.com"})).await;
    make(&app, &admin, "bob", &json!({"display_name": "100% Bob", "email": "bob@example.org"})).await;
    for (q, expected) in [
        ("ann", vec!["ann_miller", "annxmiller"]),
        ("ANN", vec!["ann_miller", "annxmiller"]),
        ("ann_", vec!["ann_miller"]),
        ("nn", vec![]),
        ("miller", vec![]),
        ("zoë", vec!["ann_miller"]),
        ("Zoë the", vec!["ann_miller"]),
        ("zoe", vec![]),
        ("second@", vec!["annxmiller"]),
        ("SECOND@EXAMPLE.COM", vec!["annxmiller"]),
        ("example", vec![]),
        ("%", vec![]),
        ("_", vec![]),
        ("100%", vec!["bob"]),
        ("100_", vec![]),
        ("b%", vec![]),
        ("b_b", vec![]),
        ("\\", vec![]),
        ("' OR '1'='1", vec![]),
        ("\u{10ffff}", vec![]),
        ("ann_miller", vec!["ann_miller"]),
        ("ann_miller_and_more", vec![]),
    ] {
        let reply = admin.get(&with_query(USERS, &[("q", q)])).await;
        assert_eq!(names(&reply), expected, "{q}");
        let count = admin.get(&with_query(COUNT, &[("q", q)])).await;
        assert_eq!(count.is(200).json(), json!(expected.len()), "{q}");
        assert_eq!(total(&reply), u64::try_from(expected.len()).unwrap());
    }
    assert_eq!(total(&admin.get(&format!("{USERS}?q=")).await), 4);
}

#[tokio::test]
async fn moderators_don_t_find_by_address_and_see_what_is_public() {
    let app = TestApp::new().await;
    let (admin, moderator) = (app.admin().await, app.moderator().await);
    make(&app, &admin, "ann", &json!({"email": "secret@example.com"})).await;
    assert_eq!(names(&moderator.get(&format!("{USERS}?q=secret")).await), [""; 0]);
    assert_eq!(moderator.get(&format!("{COUNT}?q=secret")).await.is(200).json(), 0);
    let rows = moderator.get(USERS).await.is(200).json();
    for row in rows.as_array().unwrap() {
        for private in
            ["email", "user_history", "metadata", "blocked_uuids", "files", "deleted_at", "otp_method"]
        {
            assert!(row.get(private).is_none(), "{private}");
        }
    }
    let rows = admin.get(USERS).await.is(200).json();
    for row in rows.as_array().unwrap() {
        assert!(row.get("email").is_some() && row.get("blocked_uuids").is_some());
        assert!(row.get("user_history").is_none() && row.get("files").is_none());
    }
}

#[tokio::test]
async fn a_list_is_filtered_by_role_and_state() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    make(&app, &admin, "ann", &json!({"roles": ["user", "tester"]})).await;
    make(&app, &admin, "bob", &json!({"roles": ["moderator"]})).await;
    make(&app, &admin, "cem", &json!({"is_active": false})).await;
    let gone = make(&app, &admin, "dee", &json!({})).await;
    admin.delete(&format!("{USERS}{gone}")).await.is(200);
    for (query, expected) in [
        ("role=user", vec!["root", "ann", "cem"]),
        ("role=tester", vec!["ann"]),
        ("role=moderator", vec!["root", "bob"]),
        ("role=admin", vec!["root"]),
        ("is_active=false", vec!["cem"]),
        ("is_active=true", vec!["root", "ann", "bob"]),
        ("role=user&is_active=true&q=a", vec!["ann"]),
        ("deleted=true", vec!["dee"]),
        ("deleted=false", vec!["root", "ann", "bob", "cem"]),
    ] {
        let reply = admin.get(&format!("{USERS}?{query}")).await;
        assert_eq!(names(&reply), expected, "{query}");
        assert_eq!(admin.get(&format!("{COUNT}?{query}")).await.json(), json!(expected.len()), "{query}");
    }
    let moderator = app.moderator().await;
    for path in [USERS, COUNT] {
        moderator.get(&format!("{path}?deleted=true")).await.refused(403, "forbidden");
    }
}

#[tokio::test]
async fn users_are_shown_by_their_ids_in_that_order() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let [ann, bob, cem] = [
        make(&app, &admin, "ann", &json!({})).await,
        make(&app, &admin, "bob", &json!({})).await,
        make(&app, &admin, "cem", &json!({})).await,
    ];
    let by_ids = |ids: &[Uuid]| {
        let query: Vec<String> = ids.iter().map(|id| format!("users_ids={id}")).collect();
        admin.get(&format!("/api/user/users?{}", query.join("&")))
    };
    assert_eq!(names(&by_ids(&[cem, ann, bob]).await), ["cem", "ann", "bob"]);
    let known = by_ids(&[bob, Uuid::nil(), ann]).await;
    assert_eq!((names(&known), total(&known)), (vec!["bob".to_owned(), "ann".to_owned()], 2));
    assert_eq!(names(&by_ids(&[]).await), [""; 0]);
    admin.delete(&format!("{USERS}{bob}")).await.is(200);
    assert_eq!(names(&by_ids(&[bob, ann]).await), ["ann"], "deleted ones are hidden");
    let unknown = (1..=999).map(Uuid::from_u128).collect::<Vec<_>>();
    let a_thousand = [&[cem][..], &unknown[..998], &[ann]].concat();
    assert_eq!(names(&by_ids(&a_thousand).await), ["cem", "ann"]);
    by_ids(&[&[cem][..], &unknown, &[ann]].concat()).await.invalid(&["users_ids"]);
    by_ids(&vec![ann; 1100]).await.is(414);
    admin.get("/api/user/users?users_ids=x").await.invalid(&["users_ids"]);
    admin.get(&format!("/api/user/users?users_ids={ann}&users_ids=")).await.invalid(&["users_ids"]);
    admin.get(&format!("/api/user/users?users_ids={ann},{cem}")).await.invalid(&["users_ids"]);
}

#[tokio::test]
async fn lists_are_for_staff() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let ids = format!("/api/user/users?users_ids={}", ann.id);
    for path in [USERS, COUNT, &ids] {
        for other in [&ann, &app.tester().await] {
            other.get(path).await.refused(403, "forbidden");
        }
        for staff in [app.moderator().await, app.admin().await] {
            staff.get(path).await.is(200);
        }
        app.get(path).await.refused(401, "token_invalid");
    }
}

#[tokio::test]
async fn an_open_directory_shows_members_whom_they_may_see() {
    let app = TestApp::with(&[("USER_DIRECTORY", "members")]).await;
    let [ann, bob, cem, dee] =
        [app.user("ann").await, app.user("bob").await, app.user("cem").await, app.user("dee").await];
    let banned = app.banned().await;
    let gone = app.user("gone").await;
    gone.delete(&gone.path()).await.is(200);
    bob.put(&format!("{}/blocked_users?users_ids={}", bob.path(), ann.id)).await.is(200);
    ann.put(&format!("{}/blocked_users?users_ids={}", ann.path(), cem.id)).await.is(200);
    let reply = ann.get(&format!("{USERS}?sort=username")).await;
    assert_eq!((names(&reply), total(&reply)), (vec!["ann".into(), "dee".into(), "root".into()], 3));
    assert!(reply.json().as_array().unwrap().iter().all(|row| row.get("email").is_none()));
    assert_eq!(ann.get(COUNT).await.is(200).json(), 3);
    assert_eq!(names(&ann.get(&format!("{USERS}?q=dee@example.com")).await), [""; 0], "not by address");
    for hidden in [&bob, &cem] {
        assert_eq!(names(&ann.get(&format!("{USERS}?q={}", hidden.name)).await), [""; 0]);
        assert_eq!(ann.get(&format!("{COUNT}?q={}", hidden.name)).await.json(), 0);
    }
    let all = [&bob, &cem, &dee, &banned, &gone].map(|user| format!("users_ids={}", user.id)).join("&");
    assert_eq!(names(&ann.get(&format!("/api/user/users?{all}")).await), ["dee"]);
    for path in [USERS, COUNT] {
        ann.get(&format!("{path}?deleted=true")).await.refused(403, "forbidden");
        app.get(path).await.refused(401, "token_invalid");
    }
    assert_eq!(ann.get(&format!("{COUNT}?is_active=false")).await.json(), 0);
}
