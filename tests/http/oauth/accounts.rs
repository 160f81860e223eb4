//! Accounts elsewhere that people link to theirs, and take away.

use std::time::Duration;

use serde_json::json;

use super::idp::{Manner, Place, parameter};
use super::scene::{Scene, error_of, linked, path_of, place_of};
use crate::harness::{Demand, PASSWORD, START, eventually, timed, with_query};

#[tokio::test]
async fn an_account_elsewhere_is_linked_whatever_its_address_and_signs_in() {
    let scene = Scene::with_mail().await;
    let ann = scene.user("ann").await;
    scene.is("nickname", "333"); // another address
    let back = place_of(&scene.browser().send(&ann, "acme", "link").await);
    assert_eq!(path_of(&back), "/account?linked=acme");
    let me = ann.me().await;
    assert_eq!((linked(&me), &me["email"]), (vec!["acme".to_owned()], &json!("ann@example.com")));
    scene.mail_to("ann@example.com", "account-linked").await;
    assert_eq!(scene.come("acme").await.id, ann.id);
    assert_eq!(scene.people().await, 1);
    let page = scene.get("/api/oauth/acme/link").await;
    assert_eq!(page.is(303).header("location"), Some("/account"));
}

#[tokio::test]
async fn linking_takes_a_proof_that_is_not_old() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    scene.post("/api/oauth/acme/link").await.refused(401, "token_invalid");
    scene.clock.advance(Duration::from_secs(601));
    ann.post("/api/oauth/acme/link").await.refused(401, "reauthentication_required");
    ann.post("/api/oauth/acme/unlink").await.refused(401, "reauthentication_required");
    ann.reauthenticate(None).await.is(200);
    ann.post("/api/oauth/myspace/link").await.refused(404, "not_found");
    let bad = json!({"redirect_uri": "https://evil.test/"});
    ann.post("/api/oauth/acme/link").json(&bad).await.invalid(&["redirect_uri"]);
    ann.post("/api/oauth/acme/link").await.is(200);
}

//
#[tokio::test]
async fn nothing_is_linked_in_the_browser_of_somebody_else() {
    let scene = Scene::new().await;
    let (mallory, victim) = (scene.user("mallory").await, scene.user("victim").await);
    // Mallory's way back, opened by the victim: with no cookie, with that of their own way, signed in or not.
    let browser = scene.browser();
    let url = browser.send_away(&mallory, "acme", "link").await;
    let callback = path_of(&scene.idp.visit(&url).await);
    let theirs = scene.browser();
    theirs.get(&callback).await.is(400);
    theirs.send_away(&victim, "acme", "link").await;
    theirs.get(&callback).await.is(400);
    let form = [("username", "victim"), ("password", PASSWORD)];
    theirs.submit("/signin", &form).await;
    theirs.get(&callback).await.is(400);
    assert_eq!(scene.links().await, 0);
    // Begun by Mallory in a browser where somebody else is signed in by now.
    browser.submit("/signin", &form).await;
    assert_eq!(error_of(&browser.get(&callback).await), "session_ended");
    assert_eq!(scene.links().await, 0);
}

//
#[tokio::test]
async fn a_link_that_was_begun_ends_with_its_session() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let browser = scene.browser();
    let callback = path_of(&scene.idp.visit(&browser.send_away(&ann, "acme", "link").await).await);
    ann.post("/api/auth/logout").await.is(200);
    assert_eq!(error_of(&browser.get(&callback).await), "session_ended");
    assert_eq!(scene.links().await, 0);
}

#[tokio::test]
async fn on_our_own_pages_the_session_is_the_cookies() {
    let scene = Scene::new().await;
    scene.user("ann").await;
    let browser = scene.browser();
    browser.submit("/signin", &[("username", "ann"), ("password", PASSWORD)]).await;
    let cookies = browser.header();
    let bare = scene.post("/api/oauth/acme/link").header("cookie", &cookies).await;
    bare.refused(403, "forbidden");
    let csrf = browser.get("/api/auth/csrf").await.is(200).json()["csrf_token"].as_str().unwrap().to_owned();
    let reply =
        scene.post("/api/oauth/acme/link").header("cookie", &cookies).header("x-csrf-token", &csrf).await;
    browser.take(reply.is(200));
    let url = reply.json()["authorization_url"].as_str().unwrap().to_owned();
    let callback = path_of(&scene.idp.visit(&url).await);
    assert_eq!(parameter(&place_of(&browser.get(&callback).await), "linked").as_deref(), Some("acme"));
}

//
#[tokio::test]
async fn what_somebody_leaves_for_is_not_to_be_changed_on_the_way() {
    let scene = Scene::new().await;
    let victim = scene.user("victim").await;
    let browser = scene.browser();
    let more = [
        ("redirect_uri", super::scene::APP),
        ("is_link", "true"),
        ("intent", "link"),
        ("user_uuid", &victim.id.to_string()),
    ];
    let left = browser.get(&with_query("/api/oauth/acme", &more)).await;
    let url = left.is(302).header("location").unwrap().to_owned();
    let callback = path_of(&scene.idp.visit(&url).await);
    let back = browser.get(&format!("{callback}&is_link=true&intent=link&user_uuid={}", victim.id)).await;
    super::scene::code_of(&back);
    assert_eq!(linked(&victim.me().await), Vec::<String>::new());
    assert_eq!(scene.people().await, 2);
}

// A-100, api.md 4, 5
#[tokio::test]
async fn an_account_elsewhere_is_one_persons() {
    let scene = Scene::new().await;
    let one = scene.come("acme").await;
    let two = scene.user("bob").await;
    let before = one.me().await;
    assert_eq!(error_of(&scene.browser().send(&two, "acme", "link").await), "linked_elsewhere");
    assert_eq!(one.me().await, before);
    assert_eq!(linked(&two.me().await), Vec::<String>::new());
    // One's own again, and another one at the same provider.
    one.post("/api/oauth/acme/link").await.refused(409, "conflict");
    scene.is("zoe", "444");
    one.post("/api/oauth/acme/link").await.refused(409, "conflict");
    assert_eq!(scene.links().await, 1);
}

#[tokio::test]
async fn an_account_that_was_linked_meanwhile_is_not_linked_twice() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let (one, two) = (scene.browser(), scene.browser());
    let first = path_of(&scene.idp.visit(&one.send_away(&ann, "acme", "link").await).await);
    let second = path_of(&scene.idp.visit(&two.send_away(&ann, "acme", "link").await).await);
    one.get(&first).await.is(303);
    assert_eq!(error_of(&two.get(&second).await), "already_linked");
    assert_eq!(scene.links().await, 1);
}

#[tokio::test]
async fn an_account_elsewhere_is_taken_away_and_its_provider_is_told() {
    let scene = Scene::with_mail().await;
    let ann = scene.user("ann").await;
    let other = scene.sign_in("ann").await;
    scene.browser().send(&ann, "acme", "link").await;
    let reply = ann.post("/api/oauth/acme/unlink").await;
    assert_eq!(reply.is(200).json(), json!({"provider": "acme", "status": "unlinked"}));
    assert_eq!(linked(&ann.me().await), Vec::<String>::new());
    assert_eq!(ann.me().await["user_history"][0]["action"], "external_account_unlinked");
    scene.mail_to("ann@example.com", "account-unlinked").await;
    other.get("/api/user/me").await.is(401);
    let admin = scene.admin().await;
    scene.inside.events.place().await.unwrap();
    let told = admin.get(&format!("/api/admin/events?user_id={}&events=session.ended", ann.id)).await;
    let data = json!({"session_id": other.session(), "method": "pwd", "reason": "account_unlinked"});
    assert_eq!(told.is(200).json()[0]["data"], data);
    eventually(|| async { scene.idp.revoked().len() }, |revoked| *revoked > 0).await;
    ann.post("/api/oauth/acme/unlink").await.refused(404, "not_found");
    ann.post("/api/oauth/acme/revoke").await.refused(404, "not_found");
    ann.post("/api/oauth/myspace/revoke").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_provider_that_does_not_hear_of_it_keeps_nothing_linked() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    scene.browser().send(&ann, "acme", "link").await;
    scene.idp.at(Place::Revoke, Manner::Hang);
    let (revoked, took) = timed(ann.post("/api/oauth/acme/revoke")).await;
    revoked.is(200);
    assert!(took < Duration::from_secs(3), "nobody waits for it");
    assert_eq!(scene.links().await, 0);
}

//
#[tokio::test]
async fn the_last_way_in_stays_unless_the_account_goes_with_it() {
    let scene = Scene::with_mail().await;
    let ann = scene.come("acme").await;
    ann.post("/api/oauth/acme/unlink").await.refused(409, "conflict");
    assert_eq!(linked(&ann.me().await), ["acme"]);
    scene.browser().send(&ann, "other", "link").await;
    ann.post("/api/oauth/acme/unlink").await.is(200);
    ann.post("/api/oauth/other/unlink?delete_account=false").await.refused(409, "conflict");
    ann.post("/api/oauth/other/unlink?delete_account=true").await.is(200);
    ann.get("/api/user/me").await.is(401);
    assert_eq!(
        (scene.links().await, scene.number("SELECT COUNT(*) FROM users WHERE deleted_at IS NULL").await),
        (0, 0)
    );
    // Who has a password keeps the account, whatever they say.
    let bob = scene.user("bob").await;
    scene.browser().send(&bob, "acme", "link").await;
    bob.post("/api/oauth/acme/unlink?delete_account=true").await.is(200);
    bob.me().await;
}

#[tokio::test]
async fn a_way_in_that_is_switched_off_is_none() {
    let scene = Scene::new().await;
    let ann = scene.come("acme").await;
    scene.browser().send(&ann, "other", "link").await;
    let fewer = scene.restarted_with(&[("OIDC_PROVIDERS", "acme")]).await;
    ann.at(&fewer).post("/api/oauth/acme/unlink").await.refused(409, "conflict");
    ann.at(&fewer).post("/api/oauth/other/unlink").await.is(200);
}

#[tokio::test]
async fn who_has_no_password_proves_at_the_provider_who_they_are() {
    let scene = Scene::new().await;
    let ann = scene.come("acme").await;
    scene.clock.advance(Duration::from_secs(601));
    ann.post("/api/oauth/other/link").await.refused(401, "reauthentication_required");
    ann.post("/api/oauth/other/reauthenticate").await.refused(404, "not_found");
    let back = place_of(&scene.browser().send(&ann, "acme", "reauthenticate").await);
    assert_eq!(path_of(&back), "/account?reauthenticated=acme");
    ann.post("/api/oauth/other/link").await.is(200);
    // As somebody else, nobody is proved.
    scene.clock.advance(Duration::from_secs(601));
    scene.is("mallory", "666");
    assert_eq!(error_of(&scene.browser().send(&ann, "acme", "reauthenticate").await), "wrong_account");
    ann.post("/api/oauth/other/link").await.refused(401, "reauthentication_required");
    assert_eq!(scene.people().await, 1, "and nobody is made");
    // Who has a password uses it.
    let bob = scene.user("bob").await;
    bob.post("/api/oauth/acme/reauthenticate").await.refused(409, "conflict");
}

// A session that is open at the provider proves nothing (OpenID Connect Core, 3.1.2.1).
#[tokio::test]
async fn an_issuer_is_asked_to_look_who_is_there_now() {
    let scene = Scene::new().await;
    scene.idp.claims(|claims| claims["auth_time"] = json!(START.seconds()));
    scene.clock.advance(Duration::from_hours(1));
    // To sign in it is enough to have signed in there once.
    let ann = scene.come("acme").await;
    scene.clock.advance(Duration::from_secs(601));
    let asked = scene.browser().send_away(&ann, "acme", "reauthenticate").await;
    assert_eq!(parameter(&asked.parse().unwrap(), "max_age").as_deref(), Some("0"));
    for said in [json!(START.seconds()), json!("now"), json!(null)] {
        let told = said.clone();
        scene.idp.claims(move |claims| claims["auth_time"] = told.clone());
        let back = scene.browser().send(&ann, "acme", "reauthenticate").await;
        assert_eq!(error_of(&back), "provider_error", "{said}");
        ann.post("/api/oauth/other/link").await.refused(401, "reauthentication_required");
    }
    let now = scene.clock.now().seconds();
    scene.idp.claims(move |claims| claims["auth_time"] = json!(now));
    place_of(&scene.browser().send(&ann, "acme", "reauthenticate").await);
    let asked = scene.browser().send_away(&ann, "other", "link").await;
    assert_eq!(parameter(&asked.parse().unwrap(), "max_age"), None);
}

#[tokio::test]
async fn the_second_factor_belongs_to_that_proof_too() {
    let scene = Scene::new().await;
    let ann = scene.come("acme").await;
    let (authenticator, _) = ann.enrol(&scene).await;
    scene.clock.advance(Duration::from_secs(601));
    let path = "/api/oauth/acme/reauthenticate";
    ann.post(path).await.refused(401, "otp_required");
    let wrong = json!({"otp_code": authenticator.wrong_code(&scene)});
    ann.post(path).json(&wrong).await.refused(401, "invalid_otp");
    let right = json!({"otp_code": authenticator.next_code(&scene)});
    let browser = scene.browser();
    let reply = ann.post(path).json(&right).await;
    browser.take(reply.is(200));
    let url = reply.json()["authorization_url"].as_str().unwrap().to_owned();
    browser.get(&path_of(&scene.idp.visit(&url).await)).await.is(303);
    ann.post("/api/oauth/other/link").await.is(200);
}

#[tokio::test]
async fn a_code_that_waits_to_be_traded_ends_with_the_link() {
    let scene = Scene::with_mail().await;
    let ann = scene.user("ann").await;
    scene.browser().send(&ann, "acme", "link").await;
    let code = scene.browser().code("acme").await;
    ann.post("/api/oauth/acme/unlink").await.is(200);
    assert_eq!(scene.number("SELECT COUNT(*) FROM oauth_codes").await, 0);
    scene.trade(&code).await.refused(401, "token_invalid");
    ann.me().await;
}

#[tokio::test]
async fn a_demand_for_the_second_factor_ends_with_the_link_that_it_came_by() {
    let scene = Scene::with_mail().await;
    let ann = scene.user("ann").await;
    let (authenticator, _) = ann.enrol(&scene).await;
    scene.browser().send(&ann, "acme", "link").await;
    let demand = Demand::of(&scene.trade(&scene.browser().code("acme").await).await);
    ann.post("/api/oauth/acme/unlink").await.is(200);
    scene.answer(&demand.token, &authenticator.next_code(&scene)).await.refused(401, "invalid_otp");
    scene.sign_in_with("ann", &authenticator.next_code(&scene)).await.me().await;
}

#[tokio::test]
async fn a_code_that_waits_to_be_traded_ends_with_the_password() {
    let scene = Scene::with_mail().await;
    let ann = scene.user("ann").await;
    scene.browser().send(&ann, "acme", "link").await;
    let code = scene.browser().code("acme").await;
    let new = "sapphire lantern 88 meadow";
    let change = json!({"old_password": PASSWORD, "new_password": new, "confirm_password": new});
    ann.patch("/api/auth/password/reset").json(&change).await.is(200);
    scene.trade(&code).await.refused(401, "token_invalid");
    let code = scene.browser().code("acme").await;
    let token = scene.reset_token("ann").await;
    scene.reset(&token, "copper violin 93 harbour").await.is(200);
    scene.trade(&code).await.refused(401, "token_invalid");
    assert_eq!(scene.come("acme").await.id, ann.id, "the link itself stays");
}
