//! Who somebody is here, who is known elsewhere.

use std::time::Duration;

use serde_json::{Value, json};

use super::idp::{Manner, Person, Place, parameter};
use super::scene::{APP, Scene, linked, place_of};
use crate::harness::{Actor, Demand, PASSWORD, eventually};

const ANN: &str = "ann@example.com";

// api.md 4, 2
#[tokio::test]
async fn the_same_address_proved_on_both_sides_is_the_same_person_who_is_told() {
    let scene = Scene::with_mail().await;
    let ann = scene.user("ann").await;
    let came = scene.come("acme").await;
    assert_eq!(came.id, ann.id);
    let me = came.me().await;
    assert_eq!((linked(&me), &me["is_external_only"]), (vec!["acme".to_owned()], &json!(false)));
    assert_eq!(me["user_history"][0]["action"], "external_account_linked");
    let told = scene.mail_to(ANN, "account-linked").await;
    assert!(told.text.to_lowercase().contains("acme"), "{told:?}");
    assert_eq!(scene.people().await, 1);
    ann.get("/api/user/me").await.is(200);
    scene.try_sign_in("ann", PASSWORD).await.is(200);
}

#[tokio::test]
async fn nothing_is_linked_before_the_second_factor() {
    let scene = Scene::with_mail().await;
    let ann = scene.user("ann").await;
    let (authenticator, _) = ann.enrol(&scene).await;
    let code = scene.browser().code("acme").await;
    let demand = Demand::of(&scene.trade(&code).await);
    assert_eq!(scene.links().await, 0);
    scene.answer(&demand.token, &authenticator.wrong_code(&scene)).await.refused(401, "invalid_otp");
    assert_eq!(scene.links().await, 0);
    assert!(!scene.letters_to(ANN).await.contains(&"account-linked".to_owned()));
    let tokens = scene.answer(&demand.token, &authenticator.next_code(&scene)).await.is(200).json();
    let came = Actor::with_tokens(&scene, "ann", &tokens);
    assert_eq!((came.id, linked(&came.me().await)), (ann.id, vec!["acme".to_owned()]));
    scene.mail_to(ANN, "account-linked").await;
}

// what was proved was proved for this identity.
#[tokio::test]
async fn a_second_factor_links_what_it_was_asked_for_and_nothing_else() {
    let scene = Scene::with_mail().await;
    let ann = scene.user("ann").await;
    let (authenticator, _) = ann.enrol(&scene).await;
    scene.is("ann", "111");
    let first = Demand::of(&scene.trade(&scene.browser().code("acme").await).await);
    scene.is("ann", "222");
    let second = Demand::of(&scene.trade(&scene.browser().code("acme").await).await);
    scene.answer(&first.token, &authenticator.next_code(&scene)).await.is(200);
    // The address has an account at this provider now; another one there is somebody else's.
    scene.answer(&second.token, &authenticator.next_code(&scene)).await.refused(401, "invalid_otp");
    let me = scene.sign_in_with("ann", &authenticator.next_code(&scene)).await.me().await;
    assert_eq!(me["external_accounts"][0]["external_account_id"], "111");
    assert_eq!(scene.trouble("acme").await, "link_required");
    assert_eq!(scene.links().await, 1);
}

// A-095, api.md 4, 3
#[tokio::test]
async fn an_address_that_nobody_has_proved_here_joins_nobody() {
    let scene = Scene::new().await; // mail is off, so no address is proved
    let mallory = scene.sign_up("mallory", ANN, PASSWORD).await;
    mallory.is(201);
    assert_eq!(scene.trouble("acme").await, "link_required");
    assert_eq!((scene.people().await, scene.links().await), (1, 0));
    let old = Scene::with(&[("OAUTH_LINK_UNVERIFIED_LOCAL", "True")]).await;
    let ann = old.user("ann").await;
    assert_eq!(old.come("acme").await.id, ann.id, "as S1 did, where the operator wants it");
}

//
#[tokio::test]
async fn whoever_proves_an_address_by_a_reset_is_alone_in_the_account() {
    let scene = Scene::new().await; // mail is off, so Mallory gets the account at once
    scene.sign_up("ann", ANN, PASSWORD).await.is(201);
    let mallory = scene.sign_in("ann").await;
    let (authenticator, _) = mallory.enrol(&scene).await;
    scene.is("mallory", "666");
    for provider in ["acme", "other"] {
        scene.browser().send(&mallory, provider, "link").await;
    }
    assert_eq!(scene.links().await, 2);
    let scene = scene.restarted(&[("EMAIL_METHOD", "inbox")]).await;
    let begun = scene.browser().code("acme").await;
    let token = scene.reset_token("ann").await;
    let new = "sapphire lantern 88 meadow";
    scene.reset(&token, new).await.is(200);
    assert_eq!(scene.links().await, 0);
    scene.trade(&begun).await.refused(401, "token_invalid");
    mallory.at(&scene).get("/api/user/me").await.refused(401, "token_invalid");
    assert_eq!(scene.letters_to(ANN).await.iter().filter(|letter| *letter == "account-unlinked").count(), 2);
    eventually(|| async { scene.idp.revoked().len() }, |revoked| *revoked >= 2).await;
    // The second factor stays: a mailbox alone takes none away.
    let demand = Demand::of(&scene.try_sign_in("ann", new).await);
    let tokens = scene.answer(&demand.token, &authenticator.next_code(&scene)).await.is(200).json();
    let ann = Actor::with_tokens(&scene, "ann", &tokens).me().await;
    assert_eq!((linked(&ann), &ann["email_verified"]), (Vec::new(), &json!(true)));
    let history = ann["user_history"].as_array().unwrap().iter();
    assert_eq!(history.filter(|line| line["action"] == "external_account_unlinked").count(), 2, "{ann}");
    // Whoever the provider vouches for as somebody else is somebody else.
    assert_ne!(scene.come("acme").await.id, mallory.id);
}

#[tokio::test]
async fn who_had_proved_the_address_keeps_the_links_when_the_password_is_reset() {
    let scene = Scene::with_mail().await;
    let ann = scene.user("ann").await;
    scene.browser().send(&ann, "acme", "link").await;
    let token = scene.reset_token("ann").await;
    scene.reset(&token, "sapphire lantern 88 meadow").await.is(200);
    assert_eq!(scene.come("acme").await.id, ann.id);
}

// who signed up with somebody else's address has nothing of it once its owner comes.
#[tokio::test]
async fn the_owner_of_an_address_comes_before_whoever_waits_for_its_proof() {
    let scene = Scene::with_mail().await;
    scene.sign_up("mallory", ANN, PASSWORD).await.is(202);
    let link = scene.mail_to(ANN, "verification").await.token();
    let ann = scene.come("acme").await;
    assert_eq!(ann.me().await["email"], ANN);
    scene.verify(&link).await.refused(401, "token_invalid");
    scene.try_sign_in("mallory", PASSWORD).await.refused(401, "invalid_credentials");
    scene.try_sign_in(ANN, PASSWORD).await.refused(401, "invalid_credentials");
    assert_eq!(ann.me().await["is_external_only"], true);
}

//
#[tokio::test]
async fn signing_up_with_the_address_of_an_account_without_password_adds_one_only_by_its_mail() {
    let scene = Scene::with_mail().await;
    let ann = scene.come("acme").await;
    let name = ann.name.clone();
    let taken = scene.sign_up("mallory", ANN, PASSWORD).await;
    let free = scene.sign_up("mallory2", "free@example.com", PASSWORD).await;
    assert_eq!(taken.is(202).bytes(), free.is(202).bytes());
    for who in [ANN, &*name] {
        scene.clock.advance(Duration::from_secs(10)); // a wrong password is not tried again at once
        scene.try_sign_in(who, PASSWORD).await.refused(401, "invalid_credentials");
    }
    assert_eq!(ann.me().await["is_external_only"], true);
    scene.clock.advance(Duration::from_secs(10));
    let mail = scene.mail_to(ANN, "add-password").await;
    // Ann reads German, as her provider knows.
    assert!(mail.text.contains("Wenn Sie es NICHT waren"), "{mail:?}");
    scene.verify(&mail.token()).await.is(200);
    scene.mail_to(ANN, "password-changed").await;
    let me = scene.try_sign_in(&name, PASSWORD).await;
    let me = Actor::with_tokens(&scene, &name, &me.is(200).json()).me().await;
    assert_eq!((&me["uuid"], &me["is_external_only"]), (&json!(ann.id), &json!(false)));
    assert_eq!(linked(&me), ["acme"]);
    scene.try_sign_in("mallory", PASSWORD).await.refused(401, "invalid_credentials");
    scene.verify(&mail.token()).await.refused(401, "token_invalid");
    assert_eq!(scene.people().await, 1);
    // Whoever has a password is not given another one.
    scene.sign_up("mallory3", ANN, "another password of hers").await.is(202);
    scene.mail_to(ANN, "sign-up-attempt").await;
}

#[tokio::test]
async fn without_a_password_signing_in_by_one_is_refused_as_any_other() {
    let scene = Scene::new().await;
    let ann = scene.come("acme").await;
    let known = scene.try_sign_in(&ann.name, PASSWORD).await;
    let unknown = scene.try_sign_in("nobody_here", PASSWORD).await;
    let body = |reply: &crate::harness::Reply| {
        let mut body = reply.refused(401, "invalid_credentials").json();
        body["trace_id"] = Value::Null;
        body
    };
    assert_eq!(body(&known), body(&unknown));
}

//
#[tokio::test]
async fn an_address_that_somebody_only_asked_for_is_not_theirs() {
    let scene = Scene::with_mail().await;
    let mallory = scene.user("mallory").await;
    mallory.patch(&mallory.path()).json(&json!({"email": ANN})).await.is(200);
    let ann = scene.come("acme").await;
    assert_ne!(ann.id, mallory.id);
    assert_eq!(mallory.me().await["email"], "mallory@example.com");
}

//
#[tokio::test]
async fn an_address_that_the_provider_does_not_vouch_for_is_none() {
    let scene = Scene::with_mail().await;
    let ann = scene.user("ann").await;
    for word in [json!(false), json!("true"), json!(1), json!(null)] {
        let subject = format!("9{}", word.to_string().len());
        scene.idp.person(Person { email_verified: word.clone(), ..Person::named("ann", &subject) });
        let other = scene.come("github").await;
        assert_ne!(other.id, ann.id, "{word}");
        assert_eq!(other.me().await["email"], json!(null), "{word}");
    }
    assert_eq!(linked(&ann.me().await), Vec::<String>::new());
}

//
#[tokio::test]
async fn the_same_number_at_two_providers_is_two_people() {
    let scene = Scene::new().await;
    scene.idp.person(Person { email: None, ..Person::named("ann", "4711") });
    let here = scene.come("acme").await;
    scene.idp.person(Person { email: None, ..Person::named("bob", "4711") });
    let there = scene.come("other").await;
    assert_ne!(here.id, there.id);
    assert_eq!(scene.links().await, 2);
}

//
#[tokio::test]
async fn sign_up_that_is_closed_is_closed_for_everybody() {
    let scene = Scene::with_mail().await;
    scene.user("ann").await;
    // Somebody known comes in; somebody new does not.
    let scene = scene.restarted(&[("REGISTRATION_ENABLED", "False")]).await;
    scene.come("acme").await;
    scene.is("bob", "222");
    assert_eq!(scene.trouble("acme").await, "sign_up_closed");
    assert_eq!(scene.people().await, 1);
}

//
#[tokio::test]
async fn sign_up_that_a_flag_closes_is_closed_at_providers_too() {
    const FLAGS: &str = "/api/admin/feature-flags";
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    scene.come("acme").await;
    let before = scene.people().await;
    // Rules need somebody to be judged by them; who has no account is nobody yet.
    for rule in [json!(false), json!([{"userRoles": ["user"]}]), json!([{"percentageOfUsers": 1.0}])] {
        admin.patch(FLAGS).json(&json!({"add": {"REGISTER": rule}})).await.is(200);
        scene.idp.person(Person::ann()); // who has an account comes in as ever
        scene.come("acme").await;
        scene.is("bob", "222");
        assert_eq!(scene.trouble("acme").await, "sign_up_closed", "{rule}");
    }
    assert_eq!(scene.people().await, before);
    // What is not enforced refuses nobody, and what nobody has listed is on.
    let scene = scene.restarted(&[("FEATURE_FLAGS_ENABLED", "False")]).await;
    scene.come("acme").await;
    let scene = scene.restarted(&[("FEATURE_FLAGS_ENABLED", "True")]).await;
    scene.is("carl", "333");
    assert_eq!(scene.trouble("acme").await, "sign_up_closed");
    scene.admin().await.patch(FLAGS).json(&json!({"remove": ["REGISTER"]})).await.is(200);
    scene.come("acme").await;
    assert_eq!(scene.people().await, before + 2);
}

//
#[tokio::test]
async fn a_ban_holds_whichever_way_somebody_comes() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let ann = scene.come("acme").await;
    let waiting = scene.browser().code("acme").await;
    let switch = |on: bool| admin.patch(&ann.path()).json(&json!({"is_active": on, "metadata": {}}));
    switch(false).await.ok();
    assert_eq!(scene.trouble("acme").await, "user_inactive");
    // What had been begun is over with the sessions.
    scene.trade(&waiting).await.refused(401, "token_invalid");
    ann.get("/api/user/me").await.is(401);
    switch(true).await.ok();
    scene.trade(&waiting).await.refused(401, "token_invalid");
    assert_eq!(scene.come("acme").await.id, ann.id);
}

#[tokio::test]
async fn a_banned_account_is_joined_by_nobody() {
    let scene = Scene::with_mail().await;
    let ann = scene.user("ann").await;
    scene.admin().await.patch(&ann.path()).json(&json!({"is_active": false})).await.ok();
    assert_eq!(scene.trouble("acme").await, "user_inactive");
    assert_eq!(scene.links().await, 0);
}

#[tokio::test]
async fn who_deleted_their_account_comes_back_by_signing_in_and_whom_staff_deleted_does_not() {
    let scene = Scene::new().await;
    let ann = scene.come("acme").await;
    ann.delete(&ann.path()).await.is(200);
    let back = scene.come("acme").await;
    assert_eq!((back.id, &back.me().await["deleted_at"]), (ann.id, &json!(null)));
    scene.admin().await.delete(&ann.path()).await.is(200);
    assert_eq!(scene.trouble("acme").await, "user_inactive");
    scene.clock.advance(Duration::from_hours(24 * 31));
    scene.inside.sweep().await.unwrap();
    let other = scene.come("acme").await;
    assert_ne!(other.id, ann.id, "what is gone for good is gone");
}

//
#[tokio::test]
async fn whatever_somebody_is_called_elsewhere_they_get_a_name_that_is_safe_and_free() {
    let scene = Scene::new().await;
    scene.user("octocat").await;
    let long = "x".repeat(10_000);
    let names = [
        "octocat",
        "Octo Cat",
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "admin",
        "\u{202E}gnp.exe",
        "a\u{0}b",
        "😀😀😀",
        "",
        " ",
        &long,
        "'; DROP TABLE users; --",
    ];
    let mut seen = Vec::new();
    for (number, name) in names.iter().enumerate() {
        scene.idp.person(Person {
            username: (*name).to_owned(),
            name: (*name).to_owned(),
            email: None,
            ..Person::named("ann", &format!("10{number}"))
        });
        let me = scene.come("acme").await.me().await;
        let username = me["username"].as_str().unwrap().to_owned();
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!((1..=32).contains(&username.len()) && username.bytes().all(is_plain), "{name:?}: {username}");
        let shown = me["external_accounts"][0]["display_name"].as_str().unwrap_or_default();
        assert!(!shown.chars().any(char::is_control) && !shown.contains('\u{202E}'), "{name:?}: {shown}");
        assert!(shown.chars().count() <= 255);
        seen.push(username);
    }
    assert_eq!(seen[0], "octocat1");
    assert!(!seen.contains(&"admin".to_owned()));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), names.len());
}

#[tokio::test]
async fn what_a_provider_tells_anew_is_shown_anew() {
    let scene = Scene::new().await;
    let ann = scene.come("acme").await;
    let before = ann.get("/api/user/me").await;
    let etag = before.is(200).header("etag").unwrap().to_owned();
    scene.idp.person(Person { username: "annabel".to_owned(), ..Person::ann() });
    scene.come("acme").await;
    let now = ann.get("/api/user/me").await;
    assert_eq!(now.is(200).json()["external_accounts"][0]["username"], "annabel");
    assert_ne!(now.header("etag").unwrap(), etag);
    let admin = scene.admin().await;
    let listed = admin.get("/api/user/").await.is(200).json();
    let row = listed.as_array().unwrap().iter().find(|row| row["uuid"] == json!(ann.id)).unwrap();
    assert_eq!(linked(row), ["acme"]);
    let by_ids = admin.get(&format!("/api/user/users?users_ids={}", ann.id)).await.is(200).json();
    assert_eq!(linked(&by_ids[0]), ["acme"]);
    let seen = scene.user("bob").await.get(&ann.path()).await.is(200).json();
    assert!(seen.get("external_accounts").is_none(), "{seen}");
}

//
#[tokio::test]
async fn a_provider_that_is_switched_off_lets_nobody_in_who_is_on_the_way() {
    let scene = Scene::new().await;
    let browser = scene.browser();
    let callback = browser.leave_and_sign_in("acme", APP).await;
    let off = scene.restarted_with(&[("OIDC_PROVIDERS", "other")]).await;
    off.get(&callback).header("cookie", &browser.header()).await.is(400);
    assert_eq!(scene.people().await, 0);
    assert_eq!(parameter(&place_of(&browser.get(&callback).await), "error"), None);
}

// api.md 4: a picture is taken over when there is none.
#[tokio::test]
async fn who_has_no_picture_here_gets_the_one_from_there_once() {
    let scene = Scene::new().await;
    scene
        .idp
        .person(Person { picture: Some(format!("{}/acme/picture.png", scene.idp.base())), ..Person::ann() });
    let ann = scene.come("acme").await;
    let taken = eventually(|| Box::pin(ann.me()), |me: &Value| me["profile_picture"].is_object()).await;
    assert_eq!(taken["profile_picture"]["created_by_uuid"], json!(ann.id));
    ann.delete(&format!("{}/image", ann.path())).await.is(200);
    // Signing in again is no reason to bring it back.
    assert_eq!(scene.come("acme").await.me().await["profile_picture"], Value::Null);
    assert_eq!(scene.idp.asked(Place::Picture).len(), 1);
}

// whatever is wrong with the picture, the sign-in is none the worse.
#[tokio::test]
async fn a_picture_that_is_none_harms_nobody() {
    let scene = Scene::new().await;
    scene.idp.at(Place::Picture, Manner::Text("image/png", "<html>".to_owned()));
    scene
        .idp
        .person(Person { picture: Some(format!("{}/acme/picture.png", scene.idp.base())), ..Person::ann() });
    let ann = scene.come("acme").await;
    eventually(|| std::future::ready(scene.idp.asked(Place::Picture).len()), |times: &usize| *times > 0)
        .await;
    assert_eq!(ann.me().await["profile_picture"], Value::Null);
}
