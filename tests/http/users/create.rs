//! `POST /user/`.

use serde_json::{Value, json};

use crate::harness::{PASSWORD, START, TestApp, race};

const USERS: &str = "/api/user/";
const ID: &str = "0190a5c0-7e3b-7c2a-8f00-1234567890ab";

#[tokio::test]
async fn an_admin_creates_an_account_with_every_field() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let fields = json!({
        "uuid": ID, "username": "ann_miller", "display_name": "Ann Miller", "email": "ann@example.com",
        "email_verified": true, "first_name": "Ann", "middle_name": "Zoë", "last_name": "Miller",
        "description": "Likes\notters 👋", "locale": "de-CH", "roles": ["tester", "user"], "is_active": true,
        "metadata": {"plan": "gold", "seats": 7, "nested": {"a": [1, null]}},
    });
    let mut sent = fields.clone();
    sent["password"] = json!(PASSWORD);
    let reply = admin.post(USERS).json(&sent).await;
    let user = reply.is(201).json();
    assert_eq!(reply.header("location"), Some(format!("http://localhost:8000/api/user/{ID}").as_str()));
    assert!(reply.header("etag").is_some());
    for (name, value) in fields.as_object().unwrap() {
        assert_eq!(&user[name], value, "{name}");
    }
    assert_eq!(
        (&user["created_at"], &user["updated_at"]),
        (&json!(START.seconds()), &json!(START.seconds()))
    );
    assert_eq!(user["user_history"][0]["by"], admin.id.to_string());
    assert_eq!(app.sign_in("ann_miller").await.me().await["uuid"], ID);
}

#[tokio::test]
async fn a_username_is_enough() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let user = admin.post(USERS).json(&json!({"username": "ann"})).await.is(201).json();
    assert_eq!((&user["roles"], &user["is_active"]), (&json!(["user"]), &json!(true)));
    assert_eq!((&user["email"], &user["email_verified"]), (&Value::Null, &json!(false)));
    assert_eq!(user["display_name"], "ann");
    let another = admin.post(USERS).json(&json!({"username": "bob", "email": null})).await.is(201).json();
    assert_ne!(user["uuid"], another["uuid"], "accounts without an address don't clash");
    admin.post(USERS).json(&json!({})).await.invalid(&["username"]);
}

#[tokio::test]
async fn whoever_has_no_password_does_not_sign_in_by_one() {
    let app = TestApp::new().await;
    app.admin().await.post(USERS).json(&json!({"username": "ann"})).await.is(201);
    app.try_sign_in("ann", PASSWORD).await.refused(401, "invalid_credentials");
}

#[tokio::test]
async fn what_is_taken_is_named() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let ann = app.user("ann").await;
    let create = |fields: Value| admin.post(USERS).json(&fields);
    create(json!({"username": "bob", "uuid": ann.id})).await.refused(409, "user_id_taken");
    create(json!({"username": "ann"})).await.refused(409, "username_taken");
    create(json!({"username": "bob", "email": "ANN@example.com"})).await.refused(409, "email_taken");
    create(json!({"username": "ann", "email": "ann@example.com"})).await.refused(409, "username_taken");
    create(json!({"username": "bob", "email": "bob@example.com"})).await.is(201);
}

#[tokio::test]
async fn an_id_is_never_given_to_another_account() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let create = || admin.post(USERS).json(&json!({"username": "ann", "uuid": ID}));
    create().await.is(201);
    admin.delete(&format!("{USERS}{ID}")).await.is(200);
    create().await.refused(409, "user_id_taken");
    admin.delete(&format!("{USERS}{ID}?purge=true")).await.is(200);
    create().await.refused(409, "user_id_taken");
}

#[tokio::test]
async fn an_id_is_a_uuid() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for id in [json!("x"), json!(""), json!(7), json!("0190a5c0-7e3b-7c2a-8f00-1234567890a"), json!([])] {
        admin.post(USERS).json(&json!({"username": "ann", "uuid": id})).await.invalid(&["uuid"]);
    }
    // Nobody's, and forms that no path takes.
    let nil = "00000000-0000-0000-0000-000000000000";
    for id in [nil.to_owned(), format!("{{{ID}}}"), format!("urn:uuid:{ID}"), ID.replace('-', "")] {
        admin.post(USERS).json(&json!({"username": "ann", "uuid": id})).await.invalid(&["uuid"]);
    }
    let made = admin.post(USERS).json(&json!({"username": "ann", "uuid": ID.to_uppercase()})).await;
    assert_eq!(made.is(201).json()["uuid"], ID);
    let made = admin.post(USERS).json(&json!({"username": "bob", "uuid": null})).await.is(201).json();
    assert_ne!(made["uuid"], ID);
}

#[tokio::test]
async fn moderators_create_ordinary_accounts_only() {
    let app = TestApp::new().await;
    let moderator = app.moderator().await;
    let create = |fields: Value| moderator.post(USERS).json(&fields);
    for roles in
        [json!(["admin"]), json!(["moderator"]), json!(["user", "moderator"]), json!(["user", "admin"])]
    {
        create(json!({"username": "ann", "roles": roles})).await.refused(403, "forbidden");
    }
    for (field, value) in [("email_verified", json!(true)), ("metadata", json!({"a": 1}))] {
        create(json!({"username": "ann", field: value})).await.refused(403, "forbidden");
    }
    create(json!({"username": "ann"})).await.is(201);
    let tester = create(json!({"username": "bob", "roles": ["tester", "user"], "password": PASSWORD})).await;
    assert_eq!(tester.is(201).json()["roles"], json!(["tester", "user"]));
}

#[tokio::test]
async fn moderators_create_accounts_that_may_be_used() {
    let app = TestApp::new().await;
    let new = json!({"username": "ann", "is_active": false});
    app.moderator().await.post(USERS).json(&new).await.refused(403, "forbidden");
}

#[tokio::test]
async fn nobody_else_creates_accounts() {
    let app = TestApp::new().await;
    let new = json!({"username": "newbie"});
    for actor in [app.user("ann").await, app.tester().await] {
        actor.post(USERS).json(&new).await.refused(403, "forbidden");
        // Before the body is looked at, so that it tells nothing.
        actor.post(USERS).json(&json!({"username": "ann"})).await.refused(403, "forbidden");
        actor.post(USERS).body("application/json", "{").await.refused(403, "forbidden");
    }
    app.post(USERS).json(&new).await.refused(401, "token_invalid");
    app.banned().await.post(USERS).json(&new).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn every_rule_of_a_field_holds_for_staff_too() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let metadata_too_large = json!({"a": "x".repeat(16 * 1024)});
    let deep = (0..40).fold(json!(1), |inner, _| json!({"a": inner}));
    for (field, value) in [
        ("username", json!("Ann")),
        ("display_name", json!("Bob")),
        ("email", json!("ann")),
        ("password", json!("short")),
        ("first_name", json!("x".repeat(65))),
        ("middle_name", json!("\u{7}")),
        ("last_name", json!(["x"])),
        ("description", json!("x".repeat(257))),
        ("locale", json!("not a locale")),
        ("roles", json!([])),
        ("roles", json!(["root"])),
        ("roles", json!("admin")),
        ("is_active", json!("yes")),
        ("metadata", json!([])),
        ("metadata", metadata_too_large),
    ] {
        let mut fields = json!({"username": "ann"});
        fields[field] = value;
        let reply = admin.post(USERS).json(&fields).await;
        let problem = reply.refused(422, "validation_failed").json();
        let named = problem["errors"][0]["field"].as_str().unwrap().to_owned();
        assert!(named == field || named.starts_with(&format!("{field}[")), "{reply:?}");
    }
    let too_deep = admin.post(USERS).json(&json!({"username": "ann", "metadata": deep})).await;
    assert!(matches!(too_deep.status(), 400 | 422), "{too_deep:?}");
    admin.post(USERS).json(&json!({"username": "ann", "description": "é".repeat(256)})).await.is(201);
}

#[tokio::test]
async fn nothing_can_be_slipped_into_a_new_account() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for field in [
        "password_hash",
        "created_at",
        "updated_at",
        "deleted_at",
        "user_history",
        "blocked_uuids",
        "otp_method",
        "is_external_only",
        "external_accounts",
        "files",
        "profile_picture",
        "token_version",
        "revision",
        "id",
    ] {
        admin.post(USERS).json(&json!({"username": "ann", field: null})).await.invalid(&[field]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_create_an_id_at_once_one_succeeds() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let replies =
        race(8, |number| admin.post(USERS).json(&json!({"uuid": ID, "username": format!("user_{number}")})));
    let replies = replies.await;
    assert_eq!(replies.iter().filter(|reply| reply.status() == 201).count(), 1);
    for refused in replies.iter().filter(|reply| reply.status() != 201) {
        refused.refused(409, "user_id_taken");
    }
}
