//! `PATCH` and `PUT /user/{uuid}`, `PUT …/username`, `PUT …/full-name`.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{PASSWORD, TestApp, race};

#[tokio::test]
async fn what_is_left_out_stays_and_null_empties() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let fields = json!({
        "first_name": "Ann", "middle_name": "Zoë", "last_name": "Miller", "description": "Likes otters", "locale": "de",
        "email": "ann@example.org",
    });
    for method in ["PATCH", "PUT"] {
        let user = ann.ask(method, &ann.path()).json(&fields).await.is(200).json();
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(&user[name], value, "{name}");
        }
        let user =
            ann.ask(method, &ann.path()).json(&json!({"description": "Likes cats"})).await.is(200).json();
        assert_eq!((&user["description"], &user["first_name"]), (&json!("Likes cats"), &json!("Ann")));
        for name in fields.as_object().unwrap().keys() {
            let user = ann.ask(method, &ann.path()).json(&json!({name: null})).await.is(200).json();
            assert_eq!(user[name], Value::Null, "{name}");
        }
        assert_eq!(ann.me().await["username"], "ann");
    }
}

#[tokio::test]
async fn what_can_not_be_empty_can_not_be_null() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    for field in ["username", "display_name", "roles", "is_active", "email_verified", "metadata"] {
        admin.patch(&ann.path()).json(&json!({field: null})).await.invalid(&[field]);
    }
}

#[tokio::test]
async fn the_change_is_seen_in_every_place_at_once() {
    let app = TestApp::new().await;
    let (ann, bob, admin) = (app.user("ann").await, app.user("bob").await, app.admin().await);
    ann.me().await;
    bob.get(&ann.path()).await.is(200);
    app.clock.advance(Duration::from_secs(3));
    let changed = ann.patch(&ann.path()).json(&json!({"description": "new"})).await.is(200).json();
    assert_eq!(ann.me().await, changed);
    assert_eq!(changed["updated_at"].as_i64().unwrap(), changed["created_at"].as_i64().unwrap() + 3);
    for seen in [bob.get(&ann.path()).await.json(), admin.get("/api/user/?q=ann").await.json()[0].clone()] {
        assert_eq!(seen["description"], "new");
    }
}

#[tokio::test]
async fn another_address_is_not_proved() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    admin.patch(&ann.path()).json(&json!({"email_verified": true})).await.is(200);
    let same = ann.patch(&ann.path()).json(&json!({"email": "ANN@example.com"})).await.is(200).json();
    assert_eq!((&same["email"], &same["email_verified"]), (&json!("ann@example.com"), &json!(true)));
    let other = ann.patch(&ann.path()).json(&json!({"email": "Ann@Example.org"})).await.is(200).json();
    assert_eq!((&other["email"], &other["email_verified"]), (&json!("ann@example.org"), &json!(false)));
}

#[tokio::test]
async fn another_address_needs_a_proof_of_who_one_is() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let change = || ann.patch(&ann.path()).json(&json!({"email": "ann@example.org"}));
    app.clock.advance(Duration::from_mins(11));
    change().await.refused(401, "reauthentication_required");
    ann.patch(&ann.path()).json(&json!({"description": "needs none"})).await.is(200);
    ann.post("/api/auth/reauthenticate").json(&json!({"password": PASSWORD})).await.is(200);
    change().await.is(200);
}

#[tokio::test]
async fn another_address_ends_all_other_sessions() {
    let app = TestApp::new().await;
    let (here, there) = (app.user("ann").await, app.sign_in("ann").await);
    here.patch(&here.path()).json(&json!({"description": "x"})).await.is(200);
    there.get("/api/user/me").await.is(200);
    here.patch(&here.path()).json(&json!({"email": "ann@example.org"})).await.is(200);
    there.get("/api/user/me").await.refused(401, "token_invalid");
    here.get("/api/user/me").await.is(200);
}

#[tokio::test]
async fn nobody_grants_themselves_anything() {
    let app = TestApp::new().await;
    for actor in [app.user("ann").await, app.tester().await, app.moderator().await] {
        let before = actor.me().await;
        for (field, value) in [
            ("roles", json!(["admin"])),
            ("roles", json!(["user"])),
            ("is_active", json!(true)),
            ("is_active", json!(false)),
            ("email_verified", json!(true)),
            ("metadata", json!({"plan": "gold"})),
        ] {
            let change = json!({field: value, "description": "sneaky"});
            actor.patch(&actor.path()).json(&change).await.refused(403, "forbidden");
        }
        assert_eq!(actor.me().await, before);
    }
}

#[tokio::test]
async fn nobody_switches_themselves_off_and_admins_may_change_their_own_roles() {
    let app = TestApp::new().await;
    let admin = app.made_by_admin("second", &["admin", "user"]).await;
    admin.patch(&admin.path()).json(&json!({"is_active": false})).await.refused(403, "forbidden");
    admin.patch(&admin.path()).json(&json!({"roles": ["user"]})).await.is(200);
    let was_admin = app.sign_in("second").await;
    was_admin.patch(&was_admin.path()).json(&json!({"roles": ["admin"]})).await.refused(403, "forbidden");
}

#[tokio::test]
async fn what_is_no_field_to_change_is_refused() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    for field in [
        "uuid",
        "password",
        "password_hash",
        "otp_method",
        "is_external_only",
        "created_at",
        "updated_at",
        "deleted_at",
        "user_history",
        "blocked_uuids",
        "profile_picture",
        "external_accounts",
        "files",
        "token_version",
        "revision",
        "Username",
        "first_name ",
        "$set",
    ] {
        for actor in [&ann, &admin] {
            actor.patch(&ann.path()).json(&json!({field: null})).await.invalid(&[field]);
        }
    }
    for body in ["[]", "null", "7", "\"x\"", ""] {
        let reply = ann.patch(&ann.path()).body("application/json", body).await;
        assert!(matches!(reply.status(), 400 | 422), "{body}: {reply:?}");
    }
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once_and_nothing_changes() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let before = ann.me().await;
    let change = json!({
        "username": "Ann!", "email": "x", "description": "x".repeat(257), "locale": "?", "first_name": "a\u{0}",
        "last_name": "fine",
    });
    ann.patch(&ann.path()).json(&change).await.invalid(&[
        "username",
        "email",
        "description",
        "locale",
        "first_name",
    ]);
    assert_eq!(ann.me().await, before);
}

#[tokio::test]
async fn moderators_edit_what_others_read_of_ordinary_accounts() {
    let app = TestApp::new().await;
    let (ann, moderator, admin) = (app.user("ann").await, app.moderator().await, app.admin().await);
    let tester = app.tester().await;
    for target in [&ann, &tester] {
        let change = json!({"description": "tidied", "display_name": target.name.to_uppercase()});
        let seen = moderator.patch(&target.path()).json(&change).await.is(200).json();
        assert!(seen.get("email").is_none(), "a moderator sees what is public: {seen}");
        assert_eq!(target.me().await["description"], "tidied");
    }
    let second = app.made_by_admin("second_mod", &["moderator"]).await;
    for target in [&admin, &second] {
        moderator.patch(&target.path()).json(&json!({"description": "x"})).await.refused(403, "forbidden");
    }
    for (field, value) in [
        ("username", json!("other")),
        ("email", json!("other@example.com")),
        ("email", json!(null)),
        ("first_name", json!("Other")),
        ("locale", json!("de")),
        ("metadata", json!({})),
        ("email_verified", json!(true)),
        ("roles", json!(["moderator"])),
        ("is_active", json!(true)),
    ] {
        moderator.patch(&ann.path()).json(&json!({field: value})).await.refused(403, "forbidden");
    }
}

#[tokio::test]
async fn nobody_changes_others() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    for other in [app.user("bob").await, app.tester().await] {
        for (method, path, body) in [
            ("PATCH", ann.path(), json!({"description": "x"})),
            ("PUT", ann.path(), json!({"description": "x"})),
            ("PUT", format!("{}/username", ann.path()), json!({"username": "bobs"})),
            ("PUT", format!("{}/full-name", ann.path()), json!({"first_name": "Bob"})),
        ] {
            other.ask(method, &path).json(&body).await.refused(403, "forbidden");
            app.ask(method, &path).json(&body).await.refused(401, "token_invalid");
        }
    }
    let nobody = format!("/api/user/{}", Uuid::nil());
    ann.patch(&nobody).json(&json!({"description": "x"})).await.refused(404, "not_found");
    app.admin().await.patch(&nobody).json(&json!({"description": "x"})).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_name_or_address_that_is_taken_is_refused() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    app.user("bob").await;
    ann.patch(&ann.path()).json(&json!({"username": "bob"})).await.refused(409, "username_taken");
    ann.put(&format!("{}/username", ann.path()))
        .json(&json!({"username": "bob"}))
        .await
        .refused(409, "username_taken");
    ann.patch(&ann.path()).json(&json!({"email": "BOB@example.com"})).await.refused(409, "email_taken");
    let both = json!({"username": "bob", "email": "bob@example.com"});
    ann.patch(&ann.path()).json(&both).await.refused(409, "username_taken");
    let me = ann.me().await;
    assert_eq!((&me["username"], &me["email"]), (&json!("ann"), &json!("ann@example.com")));
}

#[tokio::test]
async fn a_rename_frees_the_old_name_and_is_used_to_sign_in() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let path = format!("{}/username", ann.path());
    let renamed = ann.put(&path).json(&json!({"username": "anna"})).await.is(200).json();
    assert_eq!(renamed["username"], "anna");
    assert_eq!(app.sign_in("anna").await.id, ann.id);
    ann.get("/api/user/@ann").await.refused(404, "not_found");
    let bob = app.user("bob").await;
    bob.put(&format!("{}/username", bob.path())).json(&json!({"username": "ann"})).await.is(200);
    for body in [json!({}), json!({"username": "x y"}), json!({"username": null})] {
        ann.put(&path).json(&body).await.invalid(&["username"]);
    }
    ann.put(&path).json(&json!({"username": "annie", "roles": ["admin"]})).await.invalid(&["roles"]);
}

#[tokio::test]
async fn a_rename_resets_a_display_name_that_no_longer_fits() {
    let app = TestApp::new().await;
    let ann = app.user("ann_miller").await;
    let change = |fields: Value| ann.patch(&ann.path()).json(&fields);
    change(json!({"display_name": "Ann Miller"})).await.is(200);
    assert_eq!(change(json!({"username": "ann_smith"})).await.is(200).json()["display_name"], "ann_smith");
    let both = change(json!({"username": "ann_jones", "display_name": "Ann Jones"})).await.is(200).json();
    assert_eq!((&both["username"], &both["display_name"]), (&json!("ann_jones"), &json!("Ann Jones")));
    change(json!({"display_name": "Ann Smith"})).await.invalid(&["display_name"]);
}

#[tokio::test]
async fn a_full_name_is_replaced_as_a_whole() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let path = format!("{}/full-name", ann.path());
    let full = json!({"first_name": "Ann", "middle_name": "Zoë", "last_name": "Miller"});
    let user = ann.put(&path).json(&full).await.is(200).json();
    assert_eq!((&user["first_name"], &user["last_name"]), (&json!("Ann"), &json!("Miller")));
    let user = ann.put(&path).json(&json!({"first_name": "Anna"})).await.is(200).json();
    assert_eq!(
        (&user["first_name"], &user["middle_name"], &user["last_name"]),
        (&json!("Anna"), &Value::Null, &Value::Null)
    );
    ann.put(&path).json(&json!({"first_name": "x".repeat(65)})).await.invalid(&["first_name"]);
    ann.put(&path).json(&json!({"nickname": "x"})).await.invalid(&["nickname"]);
}

#[tokio::test]
async fn a_deleted_account_is_not_changed() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    ann.delete(&ann.path()).await.is(200);
    for (method, path, body) in [
        ("PATCH", ann.path(), json!({"description": "x"})),
        ("PUT", ann.path(), json!({"description": "x"})),
        ("PUT", format!("{}/username", ann.path()), json!({"username": "anna"})),
        ("PUT", format!("{}/full-name", ann.path()), json!({"first_name": "Ann"})),
    ] {
        admin.ask(method, &path).json(&body).await.refused(409, "user_deleted");
    }
}

#[tokio::test]
async fn a_lost_race_is_told_to_who_asks_for_it() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    let read = ann.get(&ann.path()).await;
    let etag = read.header("etag").unwrap().to_owned();
    assert_eq!(ann.get("/api/user/me").await.header("etag"), Some(etag.as_str()));
    let patch = |etag: &str, words: &str| {
        ann.patch(&ann.path()).header("if-match", etag).json(&json!({"description": words}))
    };
    let changed = patch(&etag, "one").await;
    let newer = changed.is(200).header("etag").unwrap().to_owned();
    assert_ne!(newer, etag);
    patch(&etag, "two").await.refused(412, "precondition_failed");
    assert_eq!(ann.me().await["description"], "one");
    patch(&newer, "two").await.is(200);
    patch("*", "three").await.is(200);
    for foreign in ["\"x\"", "W/\"1\"", "1", "\"\""] {
        patch(foreign, "four").await.refused(412, "precondition_failed");
    }
    let latest = patch("*", "five").await.is(200).header("etag").unwrap().to_owned();
    patch(&format!("{etag}, \"x\",{newer}"), "six").await.refused(412, "precondition_failed");
    patch(&format!("\"99\", W/{latest}"), "six").await.refused(412, "precondition_failed");
    patch(&format!("{etag}, {latest},\"99\""), "six").await.is(200);
    for (method, path) in [("PUT", "username"), ("PUT", "full-name")] {
        let ask = admin.ask(method, &format!("{}/{path}", ann.path())).header("if-match", &etag);
        let body = if path == "username" { json!({"username": "anna"}) } else { json!({"first_name": "A"}) };
        ask.json(&body).await.refused(412, "precondition_failed");
    }
    admin.delete(&ann.path()).header("if-match", &etag).await.refused(412, "precondition_failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_read_the_same_state_one_changes_it() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let other = app.second_instance().await;
    let etag = ann.get(&ann.path()).await.header("etag").unwrap().to_owned();
    let replies = race(10, |number| {
        let ann = if number % 2 == 0 { ann.clone() } else { ann.at(&other) };
        ann.patch(&ann.path()).header("if-match", &etag).json(&json!({"description": number.to_string()}))
    });
    let replies = replies.await;
    assert_eq!(replies.iter().filter(|reply| reply.status() == 200).count(), 1);
    for refused in replies.iter().filter(|reply| reply.status() != 200) {
        refused.refused(412, "precondition_failed");
    }
}

#[tokio::test]
async fn what_another_instance_changed_meanwhile_stays_and_is_in_the_answer() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let other = app.second_instance().await;
    let there = ann.at(&other);
    for round in 0..3 {
        let words = round.to_string();
        ann.me().await; // remembered here from now on
        there.patch(&ann.path()).json(&json!({"description": words})).await.is(200);
        let changed = ann.patch(&ann.path()).json(&json!({"first_name": words})).await.is(200).json();
        assert_eq!((&changed["description"], &changed["first_name"]), (&json!(words), &json!(words)));
        let history = changed["user_history"].as_array().unwrap().clone();
        assert_eq!(history.len(), 3 + 2 * round, "{history:?}");
        assert_eq!(ann.me().await, changed);
    }
}

#[tokio::test]
async fn the_answer_to_each_change_is_what_is_read_afterwards() {
    let app = TestApp::new().await;
    let (ann, admin) = (app.user("ann").await, app.admin().await);
    for round in 0..25 {
        let changed =
            ann.patch(&ann.path()).json(&json!({"description": round.to_string()})).await.is(200).json();
        // An admin's view is read anew.
        assert_eq!(admin.get(&ann.path()).await.json(), changed);
        let lines = changed["user_history"].as_array().unwrap().len();
        assert_eq!(lines, (round + 2).min(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_of_different_fields_at_once_all_stay() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let fields = ["first_name", "middle_name", "last_name", "description"];
    let replies = race(4, |number| ann.patch(&ann.path()).json(&json!({fields[number]: "set"}))).await;
    for reply in replies {
        reply.is(200);
    }
    let me = ann.me().await;
    for field in fields {
        assert_eq!(me[field], "set", "{field}");
    }
    assert_eq!(me["user_history"].as_array().unwrap().len(), 5);
}
