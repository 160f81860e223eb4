//! Signing in: `POST /auth/login`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Reply, TestApp, claims, eventually, race};

const LOGIN: &str = "/api/auth/login";
const WRONG: &str = "velvet otter 27 marble";

/// What of an answer may not differ between two that shall tell nobody anything.
fn uniform(reply: &Reply) -> (u16, Vec<(String, String)>, Value) {
    let mut body = reply.json();
    body["trace_id"] = json!("");
    let telling = |name: &str| !matches!(name, "date" | "x-trace-id");
    let headers = reply.headers().iter().filter(|(name, _)| telling(name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (reply.status(), headers.collect(), body)
}

#[tokio::test]
async fn username_and_password_are_answered_with_a_token() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let reply = app.try_sign_in("ann", PASSWORD).await;
    let token = reply.is(200).json();
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!((&token["token_type"], &token["expires_in"]), (&json!("bearer"), &json!(1800)));
    assert_ne!(token["access_token"], ann.access.as_str());
    let said = claims(token["access_token"].as_str().unwrap());
    assert_eq!(said["sub"], ann.id.to_string());
    assert_ne!(said["sid"], ann.session().to_string(), "a new session");
}

#[tokio::test]
async fn the_address_is_as_good_as_the_username_and_case_does_not_matter() {
    let app = TestApp::new().await;
    let ann = app.user("ann_m").await;
    for identifier in ["ann_m", "ANN_M", "ann_m@example.com", "Ann_M@EXAMPLE.com"] {
        let token = app.try_sign_in(identifier, PASSWORD).await.is(200).json();
        assert_eq!(claims(token["access_token"].as_str().unwrap())["sub"], ann.id.to_string());
    }
}

#[tokio::test]
async fn the_form_of_oauth2_is_taken() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let form = [
        ("grant_type", "password"),
        ("username", "ann"),
        ("password", PASSWORD),
        ("scope", ""),
        ("client_id", "a"),
        ("client_secret", "b"),
    ];
    app.post(LOGIN).form(&form).await.is(200);
    app.post(LOGIN).form(&form[1..3]).await.is(200);
    let other = [("grant_type", "client_credentials"), ("username", "ann"), ("password", PASSWORD)];
    app.post(LOGIN).form(&other).await.invalid(&["grant_type"]);
}

#[tokio::test]
async fn whoever_is_not_let_in_learns_the_same() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.user("ann").await;
    app.banned().await;
    let nobodys = json!({"username": "nopass"});
    admin.post("/api/user/").json(&nobodys).await.is(201);
    let wrong = uniform(app.try_sign_in("ann", WRONG).await.refused(401, "invalid_credentials"));
    for (who, password) in [
        ("nobody", PASSWORD),
        ("nobody@example.com", PASSWORD),
        ("banned", WRONG),
        ("nopass", PASSWORD),
        ("ｚｅｎ", PASSWORD),
        ("@", PASSWORD),
    ] {
        let reply = app.try_sign_in(who, password).await;
        assert_eq!(uniform(&reply), wrong, "{who}");
    }
}

#[tokio::test]
async fn a_password_that_can_be_nobodys_is_refused_before_anything_is_hashed() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let before = app.inside.passwords.load().done;
    for password in ["", "velvet\0otter 27", "x".repeat(1025).as_str(), "x".repeat(5000).as_str()] {
        let [known, unknown] =
            [app.try_sign_in("ann", password).await, app.try_sign_in("nobody", password).await];
        known.invalid(&["password"]);
        assert_eq!(uniform(&known), uniform(&unknown));
    }
    assert_eq!(app.inside.passwords.load().done, before);
}

#[tokio::test]
async fn why_an_account_is_off_is_told_to_who_knows_its_password() {
    let app = TestApp::new().await;
    app.banned().await;
    app.try_sign_in("banned", PASSWORD).await.refused(403, "user_inactive");
    app.try_sign_in("banned", WRONG).await.refused(401, "invalid_credentials");
}

#[tokio::test]
async fn a_password_is_compared_to_its_last_character() {
    let app = TestApp::new().await;
    let register = |name: &'static str, password: String| {
        let fields = json!({
            "username": name, "email": format!("{name}@example.com"), "password": password,
            "confirm_password": password,
        });
        app.post("/api/auth/register").json(&fields)
    };
    // 72 bytes is where bcrypt would cut.
    for (name, length) in [("u64", 64), ("u72", 72), ("u73", 73), ("u128", 128), ("u1024", 1024)] {
        let password = format!("velvet otter 27 {}", "x".repeat(length - 16));
        register(name, password.clone()).await.is(201);
        app.try_sign_in(name, &password).await.is(200);
        app.try_sign_in(name, &password[..length - 1]).await.refused(401, "invalid_credentials");
    }
    register("space", format!("{PASSWORD} ")).await.is(201);
    app.try_sign_in("space", PASSWORD).await.refused(401, "invalid_credentials");
    app.clock.advance(Duration::from_secs(5));
    app.try_sign_in("space", &format!("{PASSWORD} ")).await.is(200);
}

#[tokio::test]
async fn a_password_typed_on_another_keyboard_is_the_same() {
    let app = TestApp::new().await;
    let (composed, decomposed) = ("caf\u{e9} otter 27 granite", "cafe\u{301} otter 27 granite");
    let fields = json!({
        "username": "ann", "email": "a@example.com", "password": composed, "confirm_password": composed,
    });
    app.post("/api/auth/register").json(&fields).await.is(201);
    app.try_sign_in("ann", decomposed).await.is(200);
    app.try_sign_in("ann", &composed.replace(' ', "\u{a0}")).await.is(200);
    app.try_sign_in("ann", "cafe otter 27 granite").await.refused(401, "invalid_credentials");
}

#[tokio::test]
async fn after_a_failure_the_next_try_has_to_wait() {
    let app = TestApp::new().await;
    app.user("ann").await;
    for wait in [1, 1, 3, 3] {
        app.try_sign_in("ann", WRONG).await.refused(401, "invalid_credentials");
        let early = app.try_sign_in("ann", PASSWORD).await;
        assert_eq!(early.refused(429, "rate_limited").header("retry-after"), Some(wait.to_string().as_str()));
        app.clock.advance(Duration::from_secs(wait));
    }
    app.try_sign_in("ann", PASSWORD).await.is(200);
    app.try_sign_in("ann", WRONG).await.refused(401, "invalid_credentials");
    app.clock.advance(Duration::from_secs(1));
    app.try_sign_in("ann", PASSWORD).await.is(200);
}

#[tokio::test]
async fn username_and_address_count_as_one_and_nobody_counts_like_somebody() {
    let app = TestApp::new().await;
    app.user("ann").await;
    app.try_sign_in("ann", WRONG).await.refused(401, "invalid_credentials");
    for identifier in ["ann", "ANN", "ann@example.com", "ANN@example.com"] {
        app.try_sign_in(identifier, WRONG).await.refused(429, "rate_limited");
    }
    app.try_sign_in("nobody", WRONG).await.refused(401, "invalid_credentials");
    app.try_sign_in("nobody", WRONG).await.refused(429, "rate_limited");
    app.try_sign_in("NOBODY", WRONG).await.refused(429, "rate_limited");
}

#[tokio::test]
async fn a_hundred_failures_in_a_row_lock_until_the_day_ends() {
    let app = TestApp::new().await;
    app.user("ann").await;
    for _ in 0..100 {
        app.try_sign_in("ann", WRONG).await.refused(401, "invalid_credentials");
        app.clock.advance(Duration::from_secs(10));
    }
    app.clock.advance(Duration::from_hours(1));
    app.try_sign_in("ann", PASSWORD).await.refused(429, "rate_limited");
    app.clock.advance(Duration::from_hours(23));
    app.try_sign_in("ann", PASSWORD).await.is(200);
}

#[tokio::test]
async fn a_device_that_was_signed_in_before_is_not_locked_out_by_strangers() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let known = app.try_sign_in("ann", PASSWORD).await;
    let cookie = known.header("set-cookie").expect("a cookie for the device").to_owned();
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    for _ in 0..3 {
        app.try_sign_in("ann", WRONG).await.refused(401, "invalid_credentials");
        app.clock.advance(Duration::from_secs(3));
    }
    app.try_sign_in("ann", WRONG).await.refused(401, "invalid_credentials");
    let credentials = json!({"username": "ann", "password": PASSWORD});
    app.post(LOGIN).json(&credentials).await.refused(429, "rate_limited");
    let pair = cookie.split(';').next().unwrap();
    app.post(LOGIN).header("cookie", pair).json(&credentials).await.is(200);
}

#[tokio::test]
async fn a_restart_forgives_nobody() {
    let app = TestApp::new().await;
    app.user("ann").await;
    app.try_sign_in("ann", WRONG).await.refused(401, "invalid_credentials");
    app.second_instance().await.try_sign_in("ann", PASSWORD).await.refused(429, "rate_limited");
}

#[tokio::test]
async fn a_client_fails_only_so_often_whatever_the_names() {
    let app = TestApp::with(&[("ENVIRONMENT", "production"), ("THROTTLE_LOGIN", "3/15m")]).await;
    app.user("ann_m").await;
    for name in ["aaaaa", "bbbbb", "ccccc"] {
        app.try_sign_in(name, WRONG).await.refused(401, "invalid_credentials");
    }
    app.try_sign_in("ann_m", PASSWORD).await.refused(429, "rate_limited");
    app.clock.advance(Duration::from_mins(15));
    for _ in 0..5 {
        app.try_sign_in("ann_m", PASSWORD).await.is(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_tries_do_not_slip_by_the_count() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let other = app.second_instance().await;
    let replies = race(40, |number| {
        let instance = if number % 2 == 0 { &app } else { &other };
        instance.post(LOGIN).json(&json!({"username": "ann", "password": WRONG}))
    });
    let replies = replies.await;
    let looked_at = replies.iter().filter(|reply| reply.status() == 401).count();
    assert!((1..=5).contains(&looked_at), "{looked_at} passwords were looked at");
    for turned_away in replies.iter().filter(|reply| reply.status() != 401) {
        turned_away.refused(429, "rate_limited");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_too_many_sign_in_the_rest_is_sent_away_at_once() {
    let dear = [("ARGON2_MEMORY_KIB", "65536"), ("ARGON2_ITERATIONS", "10"), ("MAX_CONCURRENT_HASHES", "1")];
    let app = TestApp::with(&dear).await;
    let credentials = |number| json!({"username": format!("user_{number}"), "password": WRONG});
    app.post(LOGIN).json(&credentials(99)).await.refused(401, "invalid_credentials");
    let replies = race(24, |number| app.post(LOGIN).json(&credentials(number))).await;
    let busy: Vec<&Reply> = replies.iter().filter(|reply| reply.status() == 503).collect();
    assert!(!busy.is_empty(), "all were served");
    for reply in &busy {
        let problem = reply.refused(503, "unavailable").json();
        assert_eq!(problem["error"], "temporarily_unavailable");
        assert_eq!(problem["error_description"], problem["detail"]);
    }
    let served = replies.iter().filter(|reply| reply.status() == 401).count();
    assert_eq!(served + busy.len(), 24);
    assert!(served >= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_else_needs_a_hash_is_sent_away_then_too() {
    let dear = [("ARGON2_MEMORY_KIB", "65536"), ("ARGON2_ITERATIONS", "10"), ("MAX_CONCURRENT_HASHES", "1")];
    let app = TestApp::with(&dear).await;
    let (ann, bob, admin) = (app.user("ann").await, app.user("bob").await, app.admin().await);
    let new = "harbour 94 whistle amber";
    let mut seen = BTreeSet::new();
    for round in 0..5 {
        let replies = race(24, |number| {
            let name = format!("user_{round}_{number}");
            let fields = json!({
                "username": name, "email": format!("{name}@example.com"), "password": new, "confirm_password": new,
            });
            match number % 6 {
                0 => app.post("/api/auth/register").json(&fields),
                1 => ann.patch("/api/auth/password/reset").json(&change_of(WRONG)),
                2 => bob.post("/api/auth/reauthenticate").json(&json!({"password": PASSWORD})),
                3 => admin.post("/api/user/").json(&json!({"username": name, "password": new})),
                _ => app.post(LOGIN).json(&json!({"username": name, "password": WRONG})),
            }
        });
        for (number, reply) in replies.await.iter().enumerate().filter(|(_, reply)| reply.status() == 503) {
            reply.refused(503, "unavailable");
            seen.insert(number % 6);
        }
        if seen.len() == 6 {
            return;
        }
        app.clock.advance(Duration::from_mins(1));
    }
    panic!("some were never sent away: {seen:?}");
}

/// A change of the password, proved by `old`.
fn change_of(old: &str) -> Value {
    let new = "harbour 94 whistle amber";
    json!({"old_password": old, "new_password": new, "confirm_password": new})
}

#[tokio::test]
async fn what_is_no_sign_in_is_refused() {
    let app = TestApp::new().await;
    app.post(LOGIN).json(&json!({"username": "ann"})).await.invalid(&["password"]);
    app.post(LOGIN).json(&json!({"password": "x"})).await.invalid(&["username"]);
    app.post(LOGIN).json(&json!({"username": "a", "password": "b", "otp": 1})).await.invalid(&["otp"]);
    app.post(LOGIN).json(&json!({"username": 7, "password": "b"})).await.invalid(&["username"]);
    app.try_sign_in("ann", "").await.invalid(&["password"]);
    app.try_sign_in("ann", &"x".repeat(1025)).await.invalid(&["password"]);
    app.post(LOGIN)
        .body("text/plain", r#"{"username":"a","password":"b"}"#)
        .await
        .refused(415, "unsupported_media_type");
    app.post(LOGIN).body("application/json", r#"{"username":"a","#).await.refused(400, "bad_request");
    app.post(LOGIN)
        .body("application/json", r#"{"username":"a","username":"b","password":"c"}"#)
        .await
        .is(422);
    app.post(LOGIN)
        .body("application/x-www-form-urlencoded", "username=a&username=b&password=c")
        .await
        .is(422);
    app.get(LOGIN).await.refused(405, "method_not_allowed");
}

/// The server believes what tests say about where they come from.
const BEHIND_A_PROXY: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.0/8");

#[tokio::test]
async fn the_hundredth_failure_in_a_row_is_told_by_mail_once() {
    let app = TestApp::with_mail(&[BEHIND_A_PROXY]).await;
    app.user("ann").await;
    let bob = app.user("bob").await;
    let locked = async |name: &str| {
        let letters = app.letters_to(&format!("{name}@example.com")).await;
        letters.iter().filter(|letter| *letter == "account-locked").count()
    };
    for number in 0..100 {
        for name in ["ann", "bob", "nobody"] {
            assert_eq!(locked(name).await, 0, "{number}");
            let from = format!("198.51.100.{number}");
            let guess = json!({"username": name, "password": WRONG});
            // Bob's last one comes from a session, and is counted like the others.
            let reply = if (name, number) == ("bob", 99) {
                bob.post("/api/auth/reauthenticate").json(&json!({"password": WRONG})).await
            } else {
                app.post(LOGIN).header("x-forwarded-for", &from).json(&guess).await
            };
            assert_eq!(reply.status(), 401, "{reply:?}");
        }
        app.clock.advance(Duration::from_secs(11));
    }
    for name in ["ann", "bob"] {
        app.mail_to(&format!("{name}@example.com"), "account-locked").await;
        app.try_sign_in(name, PASSWORD).await.refused(429, "rate_limited");
        assert_eq!(locked(name).await, 1, "{name}");
    }
    assert_eq!(app.letters_to("nobody@example.com").await.len(), 0);
}

#[tokio::test]
async fn a_sign_in_from_an_unknown_device_is_told_by_mail() {
    let app = TestApp::with_mail(&[BEHIND_A_PROXY]).await;
    app.user("ann").await;
    let told = async || {
        let letters = app.letters_to("ann@example.com").await;
        letters.iter().filter(|letter| *letter == "new-device").count()
    };
    assert_eq!(told().await, 0, "the first time is no news");
    let sign_in_from = async |from: &str, agent: &str, cookie: &str| {
        let credentials = json!({"username": "ann", "password": PASSWORD});
        let ask = app.post(LOGIN).header("user-agent", agent).header("cookie", cookie);
        let ask = ask.header("x-forwarded-for", from);
        let reply = ask.json(&credentials).await;
        reply.is(200).cookie("gatehouse-device").unwrap_or_default().to_owned()
    };
    let sign_in = async |agent: &str, cookie: &str| sign_in_from("198.51.100.7", agent, cookie).await;
    let device = sign_in("Firefox/140", "").await;
    app.mail_to("ann@example.com", "new-device").await;
    assert_eq!(told().await, 1);
    // By its cookie it is known whatever it calls itself and wherever it is; without it, by its name where it was before.
    sign_in_from("203.0.113.9", "Firefox/141", &format!("gatehouse-device={device}")).await;
    sign_in("Firefox/140", "").await;
    sign_in_from("198.51.100.99", "Firefox/140", "").await;
    assert_eq!(told().await, 1);
    sign_in("Chromium/150", "").await;
    assert_eq!(eventually(told, |count| *count >= 2).await, 2);
    // What a browser calls itself, millions call themselves.
    sign_in_from("192.0.2.66", "Firefox/140", "").await;
    assert_eq!(eventually(told, |count| *count >= 3).await, 3);
}
