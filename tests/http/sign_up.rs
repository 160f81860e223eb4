//! Signing up: `POST /auth/register`.

use serde_json::{Value, json};

use crate::harness::{PASSWORD, START, TestApp, claims, race};

const REGISTER: &str = "/api/auth/register";

/// A sign-up of `ann` with other fields, or without those that are null.
fn ann(other: &Value) -> Value {
    let mut fields = json!({
        "username": "ann_miller", "email": "ann@example.com", "password": PASSWORD, "confirm_password": PASSWORD,
    });
    for (name, value) in other.as_object().unwrap() {
        if name == "password" {
            fields["confirm_password"] = value.clone();
        }
        fields[name] = value.clone();
    }
    fields.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    fields
}

#[tokio::test]
async fn signing_up_answers_a_token_that_is_good_at_once() {
    let app = TestApp::new().await;
    let reply = app.post(REGISTER).json(&ann(&json!({}))).await;
    let token = reply.is(201).json();
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let mut members: Vec<&str> = token.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["access_token", "expires_in", "refresh_token", "token_type"]);
    assert_eq!(token["token_type"], "bearer");
    assert_eq!(token["expires_in"], 30 * 60);
    let access = token["access_token"].as_str().unwrap();
    let me = app.with_bearer(access).get("/api/user/me").await.is(200).json();
    assert_eq!(me["uuid"], claims(access)["sub"]);
    assert_eq!(me["username"], "ann_miller");
}

#[tokio::test]
async fn a_new_account_is_an_ordinary_one() {
    let app = TestApp::new().await;
    let me = app.user("ann").await.me().await;
    assert_eq!(me["roles"], json!(["user"]));
    assert_eq!(me["display_name"], "ann");
    assert_eq!(me["email"], "ann@example.com");
    assert_eq!(me["otp_method"], "none");
    assert_eq!((&me["is_active"], &me["email_verified"]), (&json!(true), &json!(false)));
    assert_eq!((&me["is_external_only"], &me["deleted_at"]), (&json!(false), &Value::Null));
    assert_eq!((&me["created_at"], &me["updated_at"]), (&json!(START.seconds()), &json!(START.seconds())));
    for empty in ["blocked_uuids", "external_accounts", "files"] {
        assert_eq!(me[empty], json!([]), "{empty}");
    }
    assert_eq!(me["metadata"], json!({}));
    assert_eq!(me["user_history"].as_array().unwrap().len(), 1);
    assert_eq!(me["uuid"].as_str().unwrap().as_bytes()[14], b'7', "a UUIDv7: {}", me["uuid"]);
}

#[tokio::test]
async fn every_field_is_kept_as_given() {
    let app = TestApp::new().await;
    let fields = ann(&json!({
        "display_name": "Ann Miller", "first_name": "Änn", "middle_name": "李", "last_name": "O’Mállëy-Smith",
    }));
    let token = app.post(REGISTER).json(&fields).await.is(201).json();
    let me = app.with_bearer(token["access_token"].as_str().unwrap()).get("/api/user/me").await.json();
    for name in ["username", "email", "display_name", "first_name", "middle_name", "last_name"] {
        assert_eq!(me[name], fields[name], "{name}");
    }
}

#[tokio::test]
async fn a_form_signs_up_as_json_does() {
    let app = TestApp::new().await;
    let form = [
        ("username", "ann_miller"),
        ("email", "ann@example.com"),
        ("password", PASSWORD),
        ("confirm_password", PASSWORD),
        ("first_name", "Ann & Co"),
    ];
    let token = app.post(REGISTER).form(&form).await.is(201).json();
    let me = app.with_bearer(token["access_token"].as_str().unwrap()).get("/api/user/me").await.json();
    assert_eq!(me["first_name"], "Ann & Co");
}

#[tokio::test]
async fn a_taken_username_is_refused() {
    let app = TestApp::new().await;
    app.user("ann_miller").await;
    let other = ann(&json!({"email": "other@example.com"}));
    app.post(REGISTER).json(&other).await.refused(409, "username_taken");
    // In capitals it is no username at all; that it were a free one is what must not happen.
    let capitals = ann(&json!({"username": "ANN_MILLER", "email": "other@example.com"}));
    assert!(matches!(app.post(REGISTER).json(&capitals).await.status(), 409 | 422));
}

#[tokio::test]
async fn a_taken_email_is_refused_in_any_case() {
    let app = TestApp::new().await;
    app.post(REGISTER).json(&ann(&json!({}))).await.is(201);
    for email in ["ann@example.com", "ANN@EXAMPLE.COM", "Ann@Example.Com"] {
        let other = ann(&json!({"username": "bob_miller", "email": email}));
        app.post(REGISTER).json(&other).await.refused(409, "email_taken");
    }
    let tagged = ann(&json!({"username": "bob_miller", "email": "ann+tag@example.com"}));
    app.post(REGISTER).json(&tagged).await.is(201);
}

#[tokio::test]
async fn deleting_frees_username_and_email_at_once_and_the_id_never() {
    let app = TestApp::new().await;
    let before = app.user("ann").await;
    before.delete(&before.path()).await.is(200);
    let after = app.user("ann").await;
    assert_ne!(before.id, after.id);
    before.get("/api/user/me").await.refused(401, "token_invalid");
}

#[tokio::test]
async fn usernames_are_small_letters_digits_and_underscores() {
    let app = TestApp::new().await;
    let long = "a".repeat(33);
    for name in [
        "",
        " ",
        "Ann_Miller",
        "аlice_01",
        "alice_01\u{200b}",
        "ﬁvefive",
        "alice_01 ",
        " alice_01",
        "a@b_c",
        "a-b-c",
        "a.b.c",
        "alice\n",
        "alice\0",
        "ａｌｉｃｅ",
        &long,
    ] {
        app.post(REGISTER).json(&ann(&json!({"username": name}))).await.invalid(&["username"]);
    }
}

#[tokio::test]
async fn outside_local_usernames_have_five_characters_or_more() {
    let app = TestApp::with(&[("ENVIRONMENT", "production")]).await;
    for name in ["a", "abcd"] {
        app.post(REGISTER).json(&ann(&json!({"username": name}))).await.invalid(&["username"]);
    }
    for (number, name) in ["abcde".to_owned(), "x".repeat(32)].iter().enumerate() {
        let fields = ann(&json!({"username": name, "email": format!("{number}@example.com")}));
        app.post(REGISTER).json(&fields).await.is(201);
    }
    let app = TestApp::new().await;
    app.post(REGISTER).json(&ann(&json!({"username": "a"}))).await.is(201);
}

#[tokio::test]
async fn names_that_pass_for_the_operator_are_not_to_be_had() {
    let app = TestApp::new().await;
    for name in ["admin", "root", "support", "system", "api"] {
        let reply = app.post(REGISTER).json(&ann(&json!({"username": name}))).await;
        assert!(matches!(reply.status(), 409 | 422), "{reply:?}");
    }
}

#[tokio::test]
async fn an_email_that_is_none_is_refused() {
    let app = TestApp::new().await;
    let (long_local, long) =
        (format!("{}@example.com", "a".repeat(65)), format!("a@{}.com", "b.".repeat(126)));
    for email in [
        "",
        "ann",
        "@example.com",
        "ann@",
        "a@b@c.test",
        "victim＠x.test",
        "\"a@evil.test\"@x.test",
        "a@x.test,b@evil.test",
        "a@x.test\r\nBcc: b@evil.test",
        "a@x.test.",
        "a b@x.test",
        "<a@x.test>",
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "a(comment)@x.test",
        "a@x..test",
        ".a@x.test",
        "ﬁ@x.test",
        &long_local,
        &long,
    ] {
        app.post(REGISTER).json(&ann(&json!({"email": email}))).await.invalid(&["email"]);
    }
}

#[tokio::test]
async fn an_international_domain_is_kept_in_one_form() {
    let app = TestApp::new().await;
    app.post(REGISTER).json(&ann(&json!({"email": "ann@Bücher.example"}))).await.is(201);
    let same = ann(&json!({"username": "bob_miller", "email": "ann@xn--bcher-kva.example"}));
    app.post(REGISTER).json(&same).await.refused(409, "email_taken");
}

#[tokio::test]
async fn a_display_name_is_the_username_up_to_capitals_and_spaces() {
    let app = TestApp::new().await;
    for name in ["Ann", "ann-miller", "Ann  Miller", " ann miller", "Ann Miller!", "Αnn Miller", ""] {
        app.post(REGISTER).json(&ann(&json!({"display_name": name}))).await.invalid(&["display_name"]);
    }
    app.post(REGISTER).json(&ann(&json!({"display_name": "ANN miller"}))).await.is(201);
}

#[tokio::test]
async fn where_it_is_free_a_display_name_may_be_anything() {
    let app = TestApp::with(&[("DISPLAY_NAME_FREE", "True")]).await;
    for name in ["\u{7}bell", "Ann\u{202e}", &"x".repeat(65)] {
        app.post(REGISTER).json(&ann(&json!({"display_name": name}))).await.invalid(&["display_name"]);
    }
    app.post(REGISTER).json(&ann(&json!({"display_name": "Καλημέρα 👋"}))).await.is(201);
}

#[tokio::test]
async fn names_have_at_most_64_characters_and_none_to_control() {
    let app = TestApp::new().await;
    for field in ["first_name", "middle_name", "last_name"] {
        for name in ["x".repeat(65), "a\nb".to_owned(), "a\0b".to_owned(), "a\u{1b}[31m".to_owned()] {
            app.post(REGISTER).json(&ann(&json!({field: name}))).await.invalid(&[field]);
        }
    }
    app.post(REGISTER).json(&ann(&json!({"first_name": "é".repeat(64)}))).await.is(201);
}

#[tokio::test]
async fn a_password_that_is_easily_guessed_is_refused() {
    let app = TestApp::new().await;
    let (long, longer_in_bytes) = ("x7".repeat(513), "👋".repeat(1025));
    for password in [
        "",
        "short",
        "velvet 27",
        "password123",
        "1234567890",
        "qwertyuiop",
        "aaaaaaaaaaaa",
        "ann_miller1",
        "ANN_MILLER12",
        "gatehouse1",
        "Password1234",
        &long,
        &longer_in_bytes,
    ] {
        app.post(REGISTER).json(&ann(&json!({"password": password}))).await.invalid(&["password"]);
    }
}

#[tokio::test]
async fn the_limits_of_a_password_are_counted_in_characters() {
    let app = TestApp::new().await;
    let longest = format!("{PASSWORD}{}", "ö".repeat(1024 - PASSWORD.len()));
    for (number, password) in ["v#1két ot7".to_owned(), longest].iter().enumerate() {
        let (name, email) = (format!("user_{number}"), format!("user{number}@example.com"));
        let fields = ann(&json!({"username": name, "email": email, "password": password}));
        app.post(REGISTER).json(&fields).await.is(201);
        app.try_sign_in(&name, password).await.is(200);
    }
}

#[tokio::test]
async fn the_password_must_be_given_twice_alike() {
    let app = TestApp::new().await;
    let mut fields = ann(&json!({}));
    fields["confirm_password"] = json!("velvet otter 27 granitE");
    app.post(REGISTER).json(&fields).await.invalid(&["confirm_password"]);
}

#[tokio::test]
async fn the_rule_of_s1_can_be_switched_on() {
    let app = TestApp::with(&[("PASSWORD_COMPOSITION", "true")]).await;
    app.post(REGISTER).json(&ann(&json!({"password": PASSWORD}))).await.invalid(&["password"]);
    app.post(REGISTER).json(&ann(&json!({"password": "Velvet otter 27!"}))).await.is(201);
}

#[tokio::test]
async fn every_wrong_field_is_named_at_once() {
    let app = TestApp::new().await;
    let fields = ann(&json!({
        "username": "ann-miller", "email": "ann", "password": "short", "confirm_password": "shor", "first_name": "a\n",
    }));
    let reply = app.post(REGISTER).json(&fields).await;
    let problem = reply.refused(422, "validation_failed").json();
    let named: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    for field in ["username", "email", "first_name"] {
        assert!(named.contains(&field), "{field} is not among {named:?}");
    }
    assert!(named.iter().any(|field| field.contains("password")), "{named:?}");
}

#[tokio::test]
async fn a_field_that_is_missing_or_null_or_of_another_kind_is_named() {
    let app = TestApp::new().await;
    for field in ["username", "email", "password", "confirm_password"] {
        let mut without = ann(&json!({}));
        without.as_object_mut().unwrap().remove(field);
        app.post(REGISTER).json(&without).await.invalid(&[field]);
        for other in [json!(null), json!(7), json!(["a"]), json!({"a": 1}), json!(true)] {
            let mut fields = ann(&json!({}));
            fields[field] = other;
            app.post(REGISTER).json(&fields).await.invalid(&[field]);
        }
    }
}

#[tokio::test]
async fn nothing_can_be_slipped_into_a_sign_up() {
    let app = TestApp::new().await;
    for (field, value) in [
        ("roles", json!(["admin"])),
        ("is_active", json!(true)),
        ("email_verified", json!(true)),
        ("uuid", json!("0190a5c0-7e3b-7c2a-8f00-1234567890ab")),
        ("metadata", json!({})),
        ("password_hash", json!("x")),
        ("token_version", json!(7)),
        ("anything", json!(null)),
    ] {
        let mut fields = ann(&json!({}));
        fields[field] = value;
        app.post(REGISTER).json(&fields).await.invalid(&[field]);
    }
    app.post(REGISTER).json(&ann(&json!({}))).await.is(201);
}

#[tokio::test]
async fn sign_up_can_be_closed() {
    let app = TestApp::with(&[("REGISTRATION_ENABLED", "False")]).await;
    app.post(REGISTER).json(&ann(&json!({}))).await.refused(403, "forbidden");
}

#[tokio::test]
async fn a_client_signs_up_only_so_often() {
    let app = TestApp::with(&[("ENVIRONMENT", "production"), ("THROTTLE_REGISTER", "2/1h")]).await;
    app.user("first").await;
    app.user("second").await;
    let third = app.post(REGISTER).json(&ann(&json!({}))).await;
    let wait: u64 = third.refused(429, "rate_limited").header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&wait), "{wait}");
    app.clock.advance(std::time::Duration::from_secs(wait - 1));
    app.post(REGISTER).json(&ann(&json!({}))).await.refused(429, "rate_limited");
    app.clock.advance(std::time::Duration::from_secs(1));
    app.post(REGISTER).json(&ann(&json!({}))).await.is(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_want_a_name_at_once_one_gets_it() {
    let app = TestApp::new().await;
    let replies = race(12, |number| {
        app.post(REGISTER).json(&ann(&json!({"email": format!("ann{number}@example.com")})))
    });
    let replies = replies.await;
    assert_eq!(replies.iter().filter(|reply| reply.status() == 201).count(), 1);
    for refused in replies.iter().filter(|reply| reply.status() != 201) {
        refused.refused(409, "username_taken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_want_an_address_at_once_one_gets_it() {
    let app = TestApp::new().await;
    let other = app.second_instance().await;
    let replies = race(12, |number| {
        let instance = if number % 2 == 0 { &app } else { &other };
        instance.post(REGISTER).json(&ann(&json!({"username": format!("ann_{number}")})))
    });
    let replies = replies.await;
    assert_eq!(replies.iter().filter(|reply| reply.status() == 201).count(), 1);
    for refused in replies.iter().filter(|reply| reply.status() != 201) {
        refused.refused(409, "email_taken");
    }
}
