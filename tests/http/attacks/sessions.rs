//! Tokens and sessions that should be dead, or are used for what they are not.

use std::time::Duration;

use gatehouse::sessions::Retirement;
use serde_json::{Value, json};

use super::Scene;
use super::browser::Browser;
use crate::harness::{Actor, PASSWORD, Reply, TestApp, eventually};

const OTHER_PASSWORD: &str = "sapphire lantern 88 meadow";
const HOUR: Duration = Duration::from_hours(1);

async fn refresh(app: &TestApp, token: &str) -> Reply {
    app.post("/api/auth/token/refresh").json(&json!({"refresh_token": token})).await
}

/// The next tokens of somebody's session.
async fn refreshed(app: &TestApp, who: &Actor) -> Actor {
    let reply = refresh(app, &who.refresh).await;
    Actor::with_tokens(app, &who.name, &reply.is(200).json())
}

/// Neither token opens anything.
async fn is_dead(app: &TestApp, who: &Actor) {
    for path in ["/api/auth/token/validate", "/api/user/me", "/api/auth/sessions"] {
        who.at(app).get(path).await.refused(401, "token_invalid");
    }
    who.at(app)
        .patch(&who.path())
        .json(&json!({"description": "from beyond"}))
        .await
        .refused(401, "token_invalid");
    refresh(app, &who.refresh).await.refused(401, "token_invalid");
}

//
#[tokio::test]
async fn signing_out_ends_this_session_and_no_other() {
    let scene = Scene::new().await;
    let here = scene.user("ann").await;
    let elsewhere = scene.sign_in("ann").await;
    here.post("/api/auth/logout").await.is(200);
    is_dead(&scene, &here).await;
    here.post("/api/auth/logout").await.is(200);
    elsewhere.me().await;
    refreshed(&scene, &elsewhere).await.me().await;
    scene.is_unharmed().await;
}

// the time of a token being over is no reason to stay signed in.
#[tokio::test]
async fn one_may_sign_out_with_an_expired_token_and_a_rotated_one() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    scene.clock.advance(Duration::from_mins(40));
    ann.get("/api/user/me").await.refused(401, "token_expired");
    let next = refreshed(&scene, &ann).await;
    ann.post("/api/auth/logout").await.is(200);
    is_dead(&scene, &next).await;
    // Not of somebody else's session, though.
    scene.is_unharmed().await;
}

// on this instance at once, on another within a second.
#[tokio::test]
async fn what_changes_an_account_ends_its_tokens_everywhere() {
    let scene = Scene::new().await;
    let other = scene.second_instance().await;
    let admin = scene.admin().await;
    let changes: [(&str, Value); 3] = [
        ("ban", json!({"is_active": false})),
        ("e-mail", json!({"email": "other@example.com"})),
        ("delete", Value::Null),
    ];
    for (what, change) in changes {
        let name = format!("ann_{}", what.replace('-', ""));
        let ann = scene.user(&name).await;
        ann.at(&other).get("/api/user/me").await.is(200);
        if change.is_null() {
            admin.delete(&ann.path()).await.ok();
        } else {
            admin.patch(&ann.path()).json(&change).await.ok();
        }
        is_dead(&scene, &ann).await;
        eventually(|| ann.at(&other).get("/api/user/me"), |reply: &Reply| reply.status() == 401).await;
        is_dead(&other, &ann).await;
    }
    scene.is_unharmed().await;
}

// another role is another token; the session goes on.
#[tokio::test]
async fn a_change_of_roles_ends_access_tokens_everywhere() {
    let scene = Scene::new().await;
    let other = scene.second_instance().await;
    let admin = scene.admin().await;
    let ann = scene.made_by_admin("ann", &["moderator", "user"]).await;
    ann.at(&other).get("/api/user").await.is(200);
    admin.patch(&ann.path()).json(&json!({"roles": ["user"]})).await.ok();
    ann.get("/api/user").await.refused(401, "token_expired");
    eventually(|| ann.at(&other).get("/api/user"), |reply: &Reply| reply.status() == 401).await;
    let next = refreshed(&other, &ann).await;
    next.get("/api/user").await.refused(403, "forbidden");
    assert_eq!(next.me().await["roles"], json!(["user"]));
}

// one's own changes end all sessions but the acting one.
#[tokio::test]
async fn ones_own_change_of_password_or_address_ends_the_other_sessions() {
    let scene = Scene::new().await;
    let acting = scene.user("ann").await;
    let password =
        json!({"old_password": PASSWORD, "new_password": OTHER_PASSWORD, "confirm_password": OTHER_PASSWORD});
    let thief = scene.sign_in("ann").await;
    acting.patch("/api/auth/password/reset").json(&password).await.is(200);
    is_dead(&scene, &thief).await;
    acting.me().await;
    let reply = scene.try_sign_in("ann", OTHER_PASSWORD).await;
    let thief = Actor::with_tokens(&scene, "ann", &reply.is(200).json());
    acting.patch(&acting.path()).json(&json!({"email": "new@example.com"})).await.is(200);
    is_dead(&scene, &thief).await;
    acting.me().await;
    refreshed(&scene, &acting).await.me().await;
}

//
#[tokio::test]
async fn a_spent_refresh_token_that_comes_back_ends_its_session_and_no_other() {
    let scene = Scene::new().await;
    let stolen = scene.user("ann").await;
    let elsewhere = scene.sign_in("ann").await;
    let owner = refreshed(&scene, &stolen).await;
    scene.clock.advance(Duration::from_secs(11));
    refresh(&scene, &stolen.refresh).await.refused(401, "token_invalid");
    is_dead(&scene, &owner).await;
    is_dead(&scene, &stolen).await;
    elsewhere.me().await;
    refreshed(&scene, &elsewhere).await.me().await;
    scene.is_unharmed().await;
}

// within the grace time the same successor comes again, but not once that one is spent.
#[tokio::test]
async fn a_grandparent_is_spent_whatever_the_time() {
    let scene = Scene::new().await;
    let first = scene.user("ann").await;
    let second = refreshed(&scene, &first).await;
    let again = refreshed(&scene, &first).await;
    assert_eq!(again.refresh, second.refresh);
    let third = refreshed(&scene, &second).await;
    refresh(&scene, &first.refresh).await.refused(401, "token_invalid");
    is_dead(&scene, &third).await;
}

//
#[tokio::test]
async fn a_session_ends_when_it_has_rested_or_lasted_too_long() {
    let scene = Scene::new().await;
    let mut ann = scene.user("ann").await;
    let resting = scene.sign_in("ann").await;
    for _ in 0..(30 * 4 - 1) {
        scene.clock.advance(HOUR * 6);
        ann = refreshed(&scene, &ann).await;
        ann.me().await;
    }
    refresh(&scene, &resting.refresh).await.refused(401, "token_invalid");
    scene.clock.advance(HOUR * 6);
    refresh(&scene, &ann.refresh).await.refused(401, "token_invalid");
    ann.get("/api/user/me").await.is(401);
    scene.inside.sweep().await.unwrap();
    assert_eq!(scene.number("SELECT COUNT(*) FROM sessions").await, 0);
}

// an admin's session is shorter; also of somebody who became one after signing in.
#[tokio::test]
async fn an_admins_session_lasts_a_day_however_they_became_one() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let mut risen = scene.user("risen").await;
    admin.patch(&risen.path()).json(&json!({"roles": ["admin"]})).await.is(200);
    let resting = scene.admin().await;
    let mut born = scene.admin().await;
    for _ in 0..(24 * 2 - 1) {
        scene.clock.advance(HOUR / 2);
        risen = refreshed(&scene, &risen).await;
        born = refreshed(&scene, &born).await;
    }
    refresh(&scene, &resting.refresh).await.refused(401, "token_invalid");
    scene.clock.advance(HOUR / 2);
    for admin in [risen, born] {
        refresh(&scene, &admin.refresh).await.refused(401, "token_invalid");
        admin.get("/api/user/me").await.is(401);
    }
}

// each secret opens its own door only.
#[tokio::test]
async fn no_secret_serves_in_the_place_of_another() {
    let scene = Scene::new().await;
    let link = scene.inside.auth.set_up_link().await.unwrap().unwrap();
    let ann = scene.user("ann").await;
    let browser = Browser::sign_in(&scene, "ann").await;
    let device = scene.try_sign_in("ann", PASSWORD).await;
    let device = device.header("set-cookie").unwrap().split(['=', ';']).nth(1).unwrap().to_owned();
    let secrets = [
        ("access", ann.access.clone()),
        ("refresh", ann.refresh.clone()),
        ("cookie", browser.cookie.clone()),
        ("csrf", browser.csrf.clone()),
        ("device", device),
        ("set-up", link.0.expose().to_owned()),
    ];
    for (kind, secret) in &secrets {
        if *kind != "access" {
            scene.with_bearer(secret).get("/api/user/me").await.refused(401, "token_invalid");
            scene.with_bearer(secret).post("/api/auth/logout").await.refused(401, "token_invalid");
        }
        if *kind != "refresh" {
            refresh(&scene, secret).await.refused(401, "token_invalid");
        }
        if *kind != "cookie" {
            let cookie = format!("gatehouse={secret}");
            scene.get("/api/user/me").header("cookie", &cookie).await.refused(401, "token_invalid");
        }
        if *kind != "csrf" {
            browser.change_with(&scene, secret).await.refused(403, "forbidden");
        }
        if *kind != "set-up" {
            let form = [
                ("token", secret.as_str()),
                ("username", "boss"),
                ("password", PASSWORD),
                ("confirm_password", PASSWORD),
            ];
            assert_eq!(scene.post("/setup").form(&form).await.status(), 401, "{kind}");
        }
        if matches!(*kind, "cookie" | "csrf" | "device" | "set-up") {
            scene.post("/api/auth/token/revoke").form(&[("token", secret)]).await.is(200);
        }
    }
    ann.me().await;
    browser.change(&scene).await.is(200);
}

// R-29, T-36
#[tokio::test]
async fn a_revoked_token_is_dead_for_every_consumer() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    for by_access in [true, false] {
        let ann = scene.sign_in("bystander").await;
        let token = if by_access { &ann.access } else { &ann.refresh };
        scene.post("/api/auth/token/revoke").form(&[("token", token)]).await.is(200);
        is_dead(&scene, &ann).await;
        for token in [&ann.access, &ann.refresh] {
            assert_eq!(introspected(&admin, token).await, json!({"active": false}));
        }
    }
    for junk in ["", "x", "gr_x", "a.b.c", "\u{e9}", "eyJhbGciOiJub25lIn0.e30."] {
        scene.post("/api/auth/token/revoke").form(&[("token", junk)]).await.is(200);
    }
    scene.is_unharmed().await;
}

async fn introspected(by: &Actor, token: &str) -> Value {
    let reply = by.post("/api/auth/token/introspect").form(&[("token", token)]).await;
    assert_eq!(reply.is(200).header("cache-control"), Some("no-store"));
    reply.json()
}

//
#[tokio::test]
async fn of_tokens_that_do_not_count_nothing_is_told() {
    let secret = gatehouse::platform::config::hash_of_secret(b"correct");
    let scene = Scene::with(&[("SERVICE_CLIENTS", &format!("shop:{secret}"))]).await;
    let admin = scene.admin().await;
    let ann = scene.user("ann").await;
    let ask = || scene.post("/api/auth/token/introspect").form(&[("token", ann.access.as_str())]);
    ask().await.refused(401, "invalid_credentials");
    for (name, secret) in [
        ("shop", "wrong"),
        ("shop", ""),
        ("", "correct"),
        ("ann", PASSWORD),
        ("Shop", "correct"),
        ("shop", "correct "),
    ] {
        ask().basic(name, secret).await.refused(401, "invalid_credentials");
    }
    for client in [&ann, &scene.moderator().await, scene.bystander()] {
        let reply = client.post("/api/auth/token/introspect").form(&[("token", &ann.access)]).await;
        reply.refused(401, "invalid_credentials");
    }
    assert_eq!(ask().basic("shop", "correct").await.is(200).json()["active"], true);

    let nothing = json!({"active": false});
    let next = refreshed(&scene, &ann).await;
    scene.clock.advance(Duration::from_secs(11));
    assert_eq!(introspected(&admin, &ann.refresh).await, nothing, "a spent refresh token");
    assert_eq!(introspected(&admin, &next.refresh).await["active"], true);
    for junk in ["", "x", "gr_", "a.b.c", "null", "\u{fffd}"] {
        assert_eq!(introspected(&admin, junk).await, nothing, "{junk}");
    }
    admin.patch(&ann.path()).json(&json!({"is_active": false})).await.is(200);
    for token in [&ann.access, &next.access, &next.refresh] {
        assert_eq!(introspected(&admin, token).await, nothing);
    }
    let bob = scene.user("bob").await;
    bob.delete(&bob.path()).await.is(200);
    for token in [&bob.access, &bob.refresh] {
        assert_eq!(introspected(&admin, token).await, nothing);
    }
    let cid = scene.user("cid").await;
    scene.clock.advance(Duration::from_mins(31));
    let admin = scene.admin().await;
    assert_eq!(introspected(&admin, &cid.access).await, nothing, "expired");
}

//
#[tokio::test]
async fn the_key_set_shows_public_halves_and_a_key_that_is_gone_verifies_nothing() {
    for algorithm in ["EdDSA", "ES256", "HS256"] {
        let scene = Scene::with(&[("JWT_ALGORITHM", algorithm)]).await;
        let ann = scene.user("ann").await;
        let keys = |reply: &Reply| reply.is(200).json()["keys"].as_array().unwrap().clone();
        let set = scene.get("/.well-known/jwks.json").await;
        assert_eq!(keys(&set).len(), usize::from(algorithm != "HS256"));
        scene.inside.sessions.rotate_keys(Retirement::Gradual).await.unwrap();
        let after = scene.get("/.well-known/jwks.json").await;
        for key in keys(&after) {
            for private in ["d", "p", "q", "dp", "dq", "qi", "k", "oth"] {
                assert!(key.get(private).is_none(), "{key}");
            }
        }
        ann.me().await;
        let newer = scene.sign_in("ann").await;
        scene.clock.advance(Duration::from_mins(29));
        ann.me().await;
        scene.clock.advance(Duration::from_mins(10));
        scene.inside.sweep().await.unwrap();
        scene.inside.sessions.reload_keys().await.unwrap();
        ann.get("/api/user/me").await.is(401);
        ann.post("/api/auth/logout").await.refused(401, "token_invalid");
        newer.get("/api/user/me").await.refused(401, "token_expired");
        newer.post("/api/auth/logout").await.is(200);
    }
}

// Sessions of admins are shorter; so is one that was opened before its owner became an admin.
#[tokio::test]
async fn the_cookie_of_whoever_becomes_an_admin_has_the_time_of_an_admins() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    scene.user("bob").await;
    let rests = Browser::sign_in(&scene, "ann").await;
    let works = Browser::sign_in(&scene, "ann").await;
    let bobs = Browser::sign_in(&scene, "bob").await;
    let opens = async |browser: &Browser| {
        scene.get("/api/user/me").header("cookie", &browser.header()).await.status()
    };
    scene.admin().await.patch(&ann.path()).json(&json!({"roles": ["admin", "user"]})).await.is(200);
    assert_eq!((opens(&rests).await, opens(&works).await), (200, 200));
    scene.clock.advance(Duration::from_mins(59));
    assert_eq!(opens(&works).await, 200);
    scene.clock.advance(Duration::from_mins(1));
    assert_eq!(opens(&rests).await, 401, "an hour without a request");
    for _ in 0..27 {
        scene.clock.advance(Duration::from_mins(50));
        assert_eq!(opens(&works).await, 200);
    }
    scene.clock.advance(Duration::from_mins(30));
    assert_eq!(opens(&works).await, 401, "a day");
    assert_eq!(opens(&bobs).await, 200, "bob is no admin");
}

// A-062 for cookies, A-086: what is not whole is nothing.
#[tokio::test]
async fn a_session_cookie_is_whole_or_none() {
    let scene = Scene::new().await;
    scene.user("ann").await;
    let browser = Browser::sign_in(&scene, "ann").await;
    let whole = &browser.cookie;
    let mut bent = vec![
        String::new(),
        format!("{whole}A"),
        format!("{whole}="),
        whole[1..].to_owned(),
        whole[..whole.len() - 1].to_owned(),
        whole.to_uppercase(),
        whole.to_lowercase(),
        format!("\"{whole}\""),
        format!("{whole},{whole}"),
        whole.replace('-', "+"),
        format!("%20{whole}"),
        format!("gr_{whole}"),
        "x".repeat(8000),
    ];
    bent.retain(|bent| bent != whole);
    for bent in bent {
        let reply = scene.get("/api/user/me").header("cookie", &format!("gatehouse={bent}")).await;
        reply.refused(401, "token_invalid");
    }
    let many = (0..200).map(|number| format!("c{number}=x")).collect::<Vec<_>>().join("; ");
    let reply = scene.get("/api/user/me").header("cookie", &format!("{many}; gatehouse={whole}")).await;
    assert_eq!(reply.is(200).json()["username"], "ann");
}
