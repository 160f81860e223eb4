//! Leaving for a provider and coming back.

use std::time::Duration;

use serde_json::json;
use url::Url;

use super::idp::{Forgery, ISSUERS, Manner, PROVIDERS, Person, Place, parameter};
use super::scene::{APP, Scene, code_of, error_of, path_of, pkce, place_of};
use crate::harness::{Demand, timed, with_query};

#[tokio::test]
async fn every_provider_is_named_and_whether_it_can_be_used() {
    let scene = Scene::new().await;
    let all = scene.get("/api/oauth/providers").await;
    let total = all.header("x-total-count").expect("X-Total-Count").to_owned();
    let all = all.is(200).json();
    assert_eq!(all.as_array().unwrap().len().to_string(), total);
    for name in PROVIDERS.iter().chain(&ISSUERS) {
        let known = all.as_array().unwrap().iter().find(|one| one["name"] == *name);
        assert_eq!(known.unwrap_or_else(|| panic!("{name} in {all}"))["configured"], true);
    }
    let bare = crate::harness::TestApp::new().await;
    let none = bare.get("/api/oauth/providers").await.is(200).json();
    assert!(none.as_array().unwrap().iter().all(|one| one["configured"] == false), "{none}");
    bare.get("/api/oauth/github").await.refused(404, "not_found");
    scene.get("/api/oauth/myspace").await.refused(404, "not_found");
}

#[tokio::test]
async fn somebody_new_gets_an_account_by_every_provider() {
    for provider in PROVIDERS.iter().chain(&ISSUERS) {
        let scene = Scene::new().await;
        let ann = scene.come(provider).await;
        let me = ann.me().await;
        assert_eq!(me["is_external_only"], true, "{provider}: {me}");
        assert_eq!(me["roles"], json!(["user"]), "{provider}");
        let elsewhere = &me["external_accounts"][0];
        assert_eq!(elsewhere["provider"], *provider);
        assert!(
            elsewhere["external_account_id"].as_str().is_some_and(|id| !id.is_empty()),
            "{provider}: {me}"
        );
        let vouches = !matches!(*provider, "reddit" | "twitter");
        assert_eq!(me["email"] == "ann@example.com", vouches, "{provider}: {me}");
        assert_eq!(me["email_verified"], vouches, "{provider}");
        assert_eq!(me["user_history"][0]["action"], "created", "{provider}");
        // Again, and nobody else comes of it.
        assert_eq!(scene.come(provider).await.id, ann.id, "{provider}");
        assert_eq!((scene.people().await, scene.links().await), (1, 1), "{provider}");
    }
}

#[tokio::test]
async fn a_code_is_good_once() {
    let scene = Scene::new().await;
    let code = scene.browser().code("acme").await;
    scene.trade(&code).await.is(200);
    scene.trade(&code).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn a_code_is_good_for_a_minute() {
    let scene = Scene::new().await;
    let code = scene.browser().code("acme").await;
    scene.clock.advance(Duration::from_mins(1));
    let reply = scene.trade(&code).await;
    assert_eq!(reply.refused(401, "token_invalid").json()["error"], "invalid_grant");
    for wrong in ["", "x", &"A".repeat(43)] {
        scene.trade(wrong).await.refused(401, "token_invalid");
    }
}

#[tokio::test]
async fn a_code_is_bound_to_the_place_that_it_came_back_to() {
    let scene = Scene::new().await;
    let code = scene.browser().code("acme").await;
    let elsewhere = json!({"code": code, "redirect_uri": "http://localhost:8000/app/other"});
    scene.post("/api/oauth/token").json(&elsewhere).await.refused(401, "token_invalid");
    // Whoever stole it has used it up.
    scene.trade(&code).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn a_code_is_bound_to_the_application_that_asked_for_it() {
    let scene = Scene::new().await;
    let (verifier, challenge) = pkce();
    for (given, expected) in [(Some(verifier), 200), (Some("x"), 401), (None, 401)] {
        let browser = scene.browser();
        let query =
            [("redirect_uri", APP), ("code_challenge", &challenge), ("code_challenge_method", "S256")];
        let left = browser.get(&with_query("/api/oauth/acme", &query)).await;
        let url = left.is(302).header("location").unwrap().to_owned();
        let back = browser.get(&path_of(&scene.idp.visit(&url).await)).await;
        let trade = json!({"code": code_of(&back), "redirect_uri": APP, "code_verifier": given});
        scene.post("/api/oauth/token").json(&trade).await.is(expected);
    }
    // A verifier where nothing asked for it: somebody took the challenge out on the way.
    let code = scene.browser().code("acme").await;
    let trade = json!({"code": code, "redirect_uri": APP, "code_verifier": verifier});
    scene.post("/api/oauth/token").json(&trade).await.refused(401, "token_invalid");
    for (name, bad) in [("code_challenge", "x"), ("code_challenge_method", "plain")] {
        let query = [("redirect_uri", APP), (name, bad)];
        scene.get(&with_query("/api/oauth/acme", &query)).await.invalid(&[name]);
    }
}

//
#[tokio::test]
async fn nobody_is_sent_back_where_the_operator_does_not_allow_it() {
    let scene = Scene::new().await;
    for bad in [
        "https://evil.test/",
        "//evil.test",
        "/\\evil.test",
        "http://localhost:8000@evil.test/",
        "http://localhost:8000.evil.test/",
        "http://localhost:8001/",
        "https://localhost:8000/",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://localhost:8000/app/in#x",
    ] {
        let reply = scene.get(&with_query("/api/oauth/acme", &[("redirect_uri", bad)])).await;
        reply.invalid(&["redirect_uri"]);
        assert_eq!(reply.json()["error"], "invalid_request", "{bad}");
        assert!(reply.headers().get("set-cookie").is_none(), "{bad}");
    }
    let only =
        Scene::with(&[("ALLOWED_REDIRECT_URIS", "https://app.example.com/in,https://two.example.com/a/")])
            .await;
    for (place, status) in [
        ("https://app.example.com/in", 302),
        ("https://app.example.com/in/more", 422),
        ("https://two.example.com/a/b", 302),
        ("https://two.example.com/a/../b", 422),
        (APP, 422),
    ] {
        only.get(&with_query("/api/oauth/acme", &[("redirect_uri", place)])).await.is(status);
    }
}

//
#[tokio::test]
async fn pkce_and_nonce_are_new_each_time_and_the_provider_sees_them() {
    let scene = Scene::new().await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let browser = scene.browser();
        let url = Url::parse(&browser.leave("acme", APP).await).unwrap();
        assert_eq!(parameter(&url, "code_challenge_method").as_deref(), Some("S256"));
        assert_eq!(parameter(&url, "redirect_uri").unwrap(), "http://localhost:8000/api/oauth/acme/callback");
        browser.get(&path_of(&scene.idp.visit(url.as_str()).await)).await.is(303);
        seen.extend(["state", "nonce", "code_challenge"].map(|name| parameter(&url, name).unwrap()));
    }
    let tokens = scene.idp.asked(Place::Token);
    assert_eq!(tokens.len(), 3);
    for asked in &tokens {
        let verifier = asked.field("code_verifier").unwrap();
        assert!((43..=128).contains(&verifier.len()));
        seen.push(verifier.to_owned());
    }
    let number = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), number, "each is new");
    assert!(seen.iter().all(|text| text.len() == 43), "256 bits: {seen:?}");
}

//
#[tokio::test]
async fn who_did_not_leave_does_not_come_back() {
    let scene = Scene::new().await;
    let browser = scene.browser();
    let callback = browser.leave_and_sign_in("acme", APP).await;
    let other = scene.browser();
    let others = other.leave_and_sign_in("acme", APP).await;
    let base = Url::parse("http://localhost:8000").unwrap();
    let with_state = |state: Option<&str>| {
        let mut url = base.join(&callback).unwrap();
        let pairs: Vec<(String, String)> =
            url.query_pairs().into_owned().filter(|(name, _)| name != "state").collect();
        url.query_pairs_mut().clear().extend_pairs(pairs).extend_pairs(state.map(|state| ("state", state)));
        path_of(&url)
    };
    let of_others = parameter(&base.join(&others).unwrap(), "state").unwrap();
    let own = parameter(&base.join(&callback).unwrap(), "state").unwrap();
    for (what, path) in [
        ("no state", with_state(None)),
        ("an empty state", with_state(Some(""))),
        ("a wrong state", with_state(Some("x"))),
        ("a state of nobody", with_state(Some(&"A".repeat(43)))),
        ("the state of another browser", with_state(Some(&of_others))),
        ("a state that is cut", with_state(Some(&own[..42]))),
        ("another provider", callback.replace("/acme/", "/other/")),
        ("another kind of provider", callback.replace("/acme/", "/google/")),
        ("no provider", callback.replace("/acme/", "/myspace/")),
    ] {
        let reply = browser.get(&path).await;
        assert_eq!(reply.is(400).header("content-type"), Some("text/html; charset=utf-8"), "{what}");
        assert!(reply.set_cookie("gatehouse").is_none(), "{what}");
    }
    let state_twice = format!("{callback}&state=x");
    browser.get(&state_twice).await.refused(422, "validation_failed");
    scene.get(&callback).await.is(400); // without the cookie
    scene.get(&callback).header("cookie", &other.header()).await.is(400); // with another one
    assert!(scene.idp.asked(Place::Token).is_empty(), "the provider is asked nothing");
    assert_eq!((scene.people().await, scene.number("SELECT COUNT(*) FROM sessions").await), (0, 0));
    // After all of that, whoever left comes back.
    code_of(&browser.get(&callback).await);
}

#[tokio::test]
async fn nobody_stays_away_for_longer_than_ten_minutes() {
    let scene = Scene::new().await;
    let browser = scene.browser();
    let callback = browser.leave_and_sign_in("acme", APP).await;
    scene.clock.advance(Duration::from_mins(10));
    browser.get(&callback).await.is(400);
    assert!(scene.idp.asked(Place::Token).is_empty());
    scene.inside.sweep().await.unwrap();
    assert_eq!(scene.number("SELECT COUNT(*) FROM oauth_transactions").await, 0);
}

//
#[tokio::test]
async fn coming_back_twice_is_coming_back_once() {
    let scene = Scene::new().await;
    let browser = scene.browser();
    let callback = browser.leave_and_sign_in("acme", APP).await;
    let cookies = browser.header();
    code_of(&browser.get(&callback).await);
    scene.get(&callback).header("cookie", &cookies).await.is(400);
    assert_eq!(scene.idp.asked(Place::Token).len(), 1);
}

//
#[tokio::test]
async fn an_answer_of_another_issuer_is_none() {
    let scene = Scene::new().await;
    scene.idp.response_iss(Some("https://evil.test"));
    assert_eq!(scene.trouble("acme").await, "provider_error");
    let other = format!("{}/other", scene.idp.base());
    scene.idp.response_iss(Some(&other));
    assert_eq!(scene.trouble("acme").await, "provider_error");
    assert!(scene.idp.asked(Place::Token).is_empty(), "it is told nothing");
    scene.idp.honest();
    // The code of one provider, at the address of the other, by the transaction of the other.
    let one = scene.browser().leave_and_sign_in("acme", APP).await;
    let code = parameter(&Url::parse("http://x").unwrap().join(&one).unwrap(), "code").unwrap();
    let browser = scene.browser();
    let two = browser.leave_and_sign_in("other", APP).await;
    let own = parameter(&Url::parse("http://x").unwrap().join(&two).unwrap(), "code").unwrap();
    assert_eq!(error_of(&browser.get(&two.replace(&own, &code)).await), "provider_error");
    assert_eq!(scene.people().await, 0);
}

//
#[tokio::test]
async fn what_a_provider_says_of_its_troubles_is_repeated_to_nobody() {
    let scene = Scene::new().await;
    let long = "x".repeat(4000);
    for (error, description, expected) in [
        ("access_denied", "<script>alert(1)</script>", "access_denied"),
        ("<script>alert(1)</script>", "x", "provider_error"),
        ("server_error", "a\r\nSet-Cookie: x=y", "temporarily_unavailable"),
        ("invalid_scope", long.as_str(), "provider_error"),
    ] {
        let browser = scene.browser();
        let url = Url::parse(&browser.leave("acme", APP).await).unwrap();
        let state = parameter(&url, "state").unwrap();
        let query = [("state", state.as_str()), ("error", error), ("error_description", description)];
        let back = browser.get(&with_query("/api/oauth/acme/callback", &query)).await;
        assert_eq!(error_of(&back), expected);
        let location = back.header("location").unwrap();
        assert_eq!(location, format!("{APP}?error={expected}"));
        assert!(back.bytes().is_empty());
    }
    assert!(scene.idp.asked(Place::Token).is_empty());
}

#[tokio::test]
async fn our_own_pages_are_come_back_to_with_a_session_of_the_browser() {
    let scene = &Scene::new().await;
    let page = |path| async move { scene.get(path).await.is(200).text().replace("&#x2f;", "/") };
    let sign_in = page("/signin?next=/interactive-docs").await;
    assert!(sign_in.contains("href=\"/api/oauth/acme?redirect_uri=%2Finteractive-docs\""), "{sign_in}");
    let sign_up = page("/signup").await;
    assert!(sign_up.contains("href=\"/api/oauth/github?redirect_uri=%2Faccount\""), "{sign_up}");
    let browser = scene.browser();
    let callback = browser.leave_and_sign_in("acme", "/account").await;
    let back = browser.get(&callback).await;
    assert_eq!(place_of(&back).as_str(), "http://localhost:8000/account");
    let me = browser.get("/api/user/me").await.is(200).json();
    assert_eq!(me["email"], "ann@example.com");
    assert!(!browser.header().contains("gatehouse-oauth"), "that cookie has done its work");
}

#[tokio::test]
async fn people_are_told_on_the_sign_in_page_what_went_wrong() {
    let scene = Scene::with(&[("REGISTRATION_ENABLED", "False")]).await;
    let browser = scene.browser();
    let callback = browser.leave_and_sign_in("acme", "/account?tab=x").await;
    let back = place_of(&browser.get(&callback).await);
    assert_eq!((back.path(), parameter(&back, "error").as_deref()), ("/signin", Some("sign_up_closed")));
    assert_eq!(parameter(&back, "next").as_deref(), Some("/account?tab=x"));
    let page = browser.get(&path_of(&back)).await;
    assert!(page.is(200).text().contains("Sign-up is closed"), "{page:?}");
    let unknown = browser.get("/signin?error=%3Cscript%3E").await;
    assert!(!unknown.is(200).text().contains("role=\"alert\""), "only our words are shown: {unknown:?}");
}

#[tokio::test]
async fn the_second_factor_is_asked_for_after_the_provider() {
    let scene = Scene::new().await;
    let ann = scene.come("acme").await;
    let (authenticator, _) = ann.enrol(&scene).await;
    let code = scene.browser().code("acme").await;
    let demand = Demand::of(&scene.trade(&code).await);
    assert_eq!(demand.method, "authenticator");
    scene.answer(&demand.token, &authenticator.wrong_code(&scene)).await.refused(401, "invalid_otp");
    scene.answer(&demand.token, &authenticator.next_code(&scene)).await.is(200);
    // And on our own pages.
    let browser = scene.browser();
    let callback = browser.leave_and_sign_in("acme", "/account").await;
    let back = place_of(&browser.get(&callback).await);
    assert_eq!(path_of(&back), "/otp?next=%2Faccount");
    assert!(!browser.header().contains("gatehouse="), "nobody is in yet");
    let form = [("otp_code", authenticator.next_code(&scene)), ("next", "/account".to_owned())];
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.submit("/otp", &form).await.is(303);
    browser.get("/api/user/me").await.is(200);
}

#[tokio::test]
async fn another_site_can_not_trade_a_code() {
    let scene = Scene::new().await;
    let code = scene.browser().code("acme").await;
    let trade = json!({"code": code, "redirect_uri": APP});
    let foreign = scene.post("/api/oauth/token").header("origin", "https://evil.test").json(&trade).await;
    foreign.refused(403, "forbidden");
    let form = [("code", code.as_str()), ("redirect_uri", APP), ("grant_type", "authorization_code")];
    scene.post("/api/oauth/token").form(&form).await.is(200);
    let password = [("code", code.as_str()), ("redirect_uri", APP), ("grant_type", "password")];
    scene.post("/api/oauth/token").form(&password).await.invalid(&["grant_type"]);
}

//
#[tokio::test]
async fn a_provider_that_is_down_lies_or_is_odd_is_told_of_and_leaves_nothing_behind() {
    let scene = Scene::new().await;
    for place in [Place::Token, Place::Profile, Place::Keys] {
        for (manner, what) in [
            (Manner::Status(500), "500"),
            (Manner::Status(404), "404"),
            (Manner::Text("text/html", "<h1>Sorry</h1>".to_owned()), "HTML"),
            (Manner::Bytes("application/json", vec![0xff, 0xfe, b'{']), "no UTF-8"),
            (Manner::Json(200, json!([1, 2])), "an array"),
            (Manner::Json(200, json!({})), "nothing"),
            (Manner::Reset, "no answer"),
            (Manner::Endless, "no end"),
            (Manner::Redirect("http://127.0.0.1:1/".to_owned()), "a redirect"),
        ] {
            // Google has no profile beside its ID token, and GitHub no keys.
            let provider = if place == Place::Profile { "github" } else { "acme" };
            scene.idp.at(place, manner);
            let error = scene.trouble(provider).await;
            assert!(
                matches!(&*error, "provider_error" | "temporarily_unavailable"),
                "{place:?} {what}: {error}"
            );
            assert_eq!((scene.people().await, scene.links().await), (0, 0), "{place:?} {what}");
            scene.idp.honest();
        }
    }
    let ann = scene.come("github").await;
    assert_eq!(ann.me().await["email"], "ann@example.com");
}

//
#[tokio::test]
async fn nobody_waits_for_a_provider_longer_than_ten_seconds() {
    let scene = Scene::new().await;
    for manner in [Manner::Hang, Manner::Trickle] {
        scene.idp.at(Place::Token, manner);
        let (trouble, took) = timed(scene.trouble("acme")).await;
        assert_eq!(trouble, "temporarily_unavailable");
        assert!(took < Duration::from_secs(10), "{took:?}");
        scene.idp.honest();
    }
    assert_eq!(scene.people().await, 0);
}

//
#[tokio::test]
async fn only_true_is_true() {
    for word in [json!(false), json!("false"), json!("true"), json!(1), json!(null), json!([true])] {
        let scene = Scene::new().await;
        scene.idp.person(Person { email_verified: word.clone(), ..Person::ann() });
        for provider in ["acme", "google", "discord", "github", "twitch"] {
            scene.idp.person(Person {
                email_verified: word.clone(),
                ..Person::named("ann", &format!("7{}", provider.len()))
            });
            let browser = scene.browser();
            let back = browser.there_and_back(provider).await;
            let place = place_of(&back);
            if let Some(code) = parameter(&place, "code") {
                let tokens = scene.trade(&code).await.is(200).json();
                let ann = crate::harness::Actor::with_tokens(&scene, "?", &tokens);
                let me = ann.me().await;
                assert_eq!(
                    (&me["email"], &me["email_verified"]),
                    (&json!(null), &json!(false)),
                    "{provider} {word}"
                );
            }
        }
    }
}

//
#[tokio::test]
async fn a_forged_or_foreign_id_token_lets_nobody_in() {
    let scene = Scene::with_mail().await;
    scene.user("ann").await;
    for forgery in [
        Forgery::Unsigned,
        Forgery::ClientSecret,
        Forgery::PublicKey,
        Forgery::ForeignKey,
        Forgery::UnknownKey,
        Forgery::OwnKey,
        Forgery::Critical,
        Forgery::Array,
        Forgery::Twice,
        Forgery::Huge,
        Forgery::Flipped,
    ] {
        scene.idp.forge(forgery);
        assert_eq!(scene.trouble("acme").await, "provider_error", "{forgery:?}");
    }
    scene.idp.honest();
    let lies: [(&str, serde_json::Value); 10] = [
        ("iss", json!("https://evil.test")),
        ("iss", json!(format!("{}/other", scene.idp.base()))), // another issuer, whose signature is good
        ("aud", json!("another")),
        ("aud", json!(["another", "and another"])),
        ("azp", json!("another")),
        ("nonce", json!("another")),
        ("nonce", json!(null)),
        ("exp", json!(1_000_000_000)),
        ("iat", json!(4_000_000_000_u64)),
        ("sub", json!("")),
    ];
    for (claim, lie) in lies {
        let told = lie.clone();
        scene.idp.claims(move |claims| claims[claim] = told.clone());
        assert_eq!(scene.trouble("acme").await, "provider_error", "{claim} {lie}");
    }
    scene.idp.honest();
    assert_eq!((scene.people().await, scene.links().await), (1, 0));
    scene.come("acme").await;
}

#[tokio::test]
async fn how_often_a_client_leaves_is_counted() {
    let scene = Scene::with(&[("THROTTLE_OAUTH", "2/1h"), ("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let ann = scene.user("ann").await;
    let here = ("x-forwarded-for", "192.0.2.1");
    let leave = || scene.get("/api/oauth/github").header(here.0, here.1);
    let post = |what: &str| ann.post(&format!("/api/oauth/github/{what}")).header(here.0, here.1);
    leave().await.is(302);
    post("link").await.is(200);
    let refused = leave().await;
    assert!(refused.refused(429, "rate_limited").header("retry-after").is_some());
    post("link").await.refused(429, "rate_limited");
    post("reauthenticate").await.refused(429, "rate_limited");
    scene.get("/api/oauth/github").header(here.0, "192.0.2.2").await.is(302);
    scene.clock.advance(Duration::from_hours(1));
    leave().await.is(302);
}
