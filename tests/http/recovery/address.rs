//! A new address counts once it is proved.

use std::time::Duration;

use serde_json::{Value, json};

use super::OTHER_PASSWORD;
use crate::attacks::same;
use crate::harness::{Actor, PASSWORD, Reply, TestApp};

const OLD: &str = "ann@example.com";
const NEW: &str = "new@example.com";

async fn change(who: &Actor, address: &str) -> Reply {
    who.patch(&who.path()).json(&json!({"email": address})).await
}

async fn proof(app: &TestApp, address: &str) -> String {
    app.mail_to(address, "verification").await.token()
}

fn address(user: &Value) -> (&Value, &Value) {
    (&user["email"], &user["email_verified"])
}

//
#[tokio::test]
async fn the_old_one_stays_until_the_new_one_is_proved() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    let reply = change(&ann, "New@Example.com").await;
    assert_eq!(address(&reply.is(200).json()), (&json!(OLD), &json!(true)));
    assert_eq!(address(&ann.me().await), (&json!(OLD), &json!(true)));
    app.try_sign_in(OLD, PASSWORD).await.is(200);
    app.try_sign_in(NEW, PASSWORD).await.refused(401, "invalid_credentials");
    // The way back is by the old one, too.
    app.forget(("email", NEW)).await.is(202);
    app.forget(("username", "ann")).await.is(202);
    assert_eq!(app.letters_to(NEW).await, ["verification"]);
    assert!(app.letters_to(OLD).await.contains(&"reset".to_owned()));
    let token = proof(&app, NEW).await;
    app.get(&format!("/verify?token={token}")).await.is(200);
    assert_eq!(address(&ann.me().await), (&json!(OLD), &json!(true)));
    app.verify(&token).await.is(200);
    assert_eq!(address(&ann.me().await), (&json!(NEW), &json!(true)));
    app.clock.advance(Duration::from_secs(2));
    app.try_sign_in(NEW, PASSWORD).await.is(200);
    app.try_sign_in(OLD, PASSWORD).await.refused(401, "invalid_credentials");
    app.verify(&token).await.refused(401, "token_invalid");
}

//
#[tokio::test]
async fn the_old_address_is_told_and_shown_little_of_the_new_one() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    change(&ann, "my.new.place@example.com").await.is(200);
    let told = app.letters_to(OLD).await;
    assert!(!told.contains(&"email-changed".to_owned()), "nothing has changed yet: {told:?}");
    let token = proof(&app, "my.new.place@example.com").await;
    app.verify(&token).await.is(200);
    let told = app.mail_to(OLD, "email-changed").await;
    assert!(told.text.contains("ann") && !told.text.contains("my.new.place"), "{told:?}");
}

//
#[tokio::test]
async fn with_the_proof_every_other_session_ends_and_the_one_that_asked_lives() {
    let app = TestApp::with_mail(&[]).await;
    let here = app.user("ann").await;
    let there = app.sign_in("ann").await;
    change(&here, NEW).await.is(200);
    there.me().await;
    app.verify(&proof(&app, NEW).await).await.is(200);
    here.me().await;
    there.get("/api/user/me").await.refused(401, "token_invalid");
    let refresh = async |who: &Actor| {
        app.post("/api/auth/token/refresh").json(&json!({"refresh_token": who.refresh})).await.status()
    };
    assert_eq!((refresh(&here).await, refresh(&there).await), (200, 401));
}

//
#[tokio::test]
async fn a_taken_address_is_answered_as_a_free_one() {
    let app = TestApp::with_mail(&[]).await;
    let (ann, cleo) = (app.user("ann").await, app.user("cleo").await);
    app.user("bob").await;
    // Of the same length and about the same person, so that the answers can be compared byte by byte.
    let shown = |reply: &Reply, who: &Actor| {
        let user = reply.is(200).json().to_string();
        user.replace(&who.id.to_string(), "id").replace(&who.name, "name")
    };
    let free = change(&ann, "bib@example.com").await;
    let taken = change(&cleo, "bob@example.com").await;
    let headers = |reply: &Reply| {
        let names = reply.headers().keys().map(|name| name.as_str().to_owned());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(headers(&free), headers(&taken));
    assert_eq!(shown(&free, &ann), shown(&taken, &cleo));
    assert_eq!(shown_me(&ann).await, shown_me(&cleo).await);
    assert_eq!(app.letters_to("bib@example.com").await, ["verification"]);
    let bobs = app.mail_to("bob@example.com", "sign-up-attempt").await;
    assert!(!bobs.links.iter().any(|link| link.contains("token=")), "{bobs:?}");
    assert_eq!(cleo.me().await["email"], "cleo@example.com");
}

async fn shown_me(who: &Actor) -> Value {
    let me = who.me().await;
    json!([me["email_verified"], me["user_history"].as_array().unwrap().len(), me["is_active"]])
}

//
#[tokio::test]
async fn a_link_names_its_address_and_dies_when_another_is_asked_for() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    change(&ann, "first@example.com").await.is(200);
    let first = proof(&app, "first@example.com").await;
    change(&ann, "second@example.com").await.is(200);
    let second = proof(&app, "second@example.com").await;
    app.verify(&first).await.refused(401, "token_invalid");
    assert_eq!(ann.me().await["email"], OLD);
    app.verify(&second).await.is(200);
    assert_eq!(ann.me().await["email"], "second@example.com");
}

#[tokio::test]
async fn thinking_better_of_it_kills_the_link() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    change(&ann, NEW).await.is(200);
    let token = proof(&app, NEW).await;
    change(&ann, OLD).await.is(200);
    app.verify(&token).await.refused(401, "token_invalid");
    // Also when the mind changes again: each request has a link of its own.
    change(&ann, NEW).await.is(200);
    app.verify(&token).await.refused(401, "token_invalid");
    assert_eq!(ann.me().await["email"], OLD);
    app.verify(&proof(&app, NEW).await).await.is(200);
}

#[tokio::test]
async fn another_link_for_the_address_that_waits_can_be_had() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    change(&ann, NEW).await.is(200);
    let first = proof(&app, NEW).await;
    ann.post("/api/auth/email/verify/request").await.is(202);
    let second = proof(&app, NEW).await;
    assert_ne!(first, second);
    app.verify(&first).await.refused(401, "token_invalid");
    app.verify(&second).await.is(200);
    assert_eq!(ann.me().await["email"], NEW);
}

#[tokio::test]
async fn a_stranger_who_names_the_present_address_has_a_link_sent_to_that_one_alone() {
    let app = TestApp::with_mail(&[]).await;
    let cleo = app.made_by_admin("cleo", &["user"]).await;
    assert_eq!(address(&cleo.me().await), (&json!("cleo@example.com"), &json!(false)));
    change(&cleo, NEW).await.is(200);
    let of_new = proof(&app, NEW).await;
    let ask = json!({"email": "cleo@example.com"});
    app.post("/api/auth/email/verify/request").json(&ask).await.is(202);
    assert_eq!(app.letters_to(NEW).await, ["verification"], "nobody named that one");
    let of_present = proof(&app, "cleo@example.com").await;
    app.verify(&of_present).await.is(200);
    assert_eq!(address(&cleo.me().await), (&json!("cleo@example.com"), &json!(true)));
    // And the link of the address that waits is as good as before.
    app.verify(&of_new).await.is(200);
    assert_eq!(address(&cleo.me().await), (&json!(NEW), &json!(true)));
}

#[tokio::test]
async fn the_link_is_good_for_a_day_and_not_after_a_new_password_or_a_ban() {
    let app = TestApp::with_mail(&[]).await;
    let admin = app.admin().await;
    for what in ["time", "password", "ban", "delete"] {
        let who = app.user(&format!("ann_{what}")).await;
        let address = format!("new_{what}@example.com");
        change(&who, &address).await.is(200);
        let token = proof(&app, &address).await;
        match what {
            "time" => app.clock.advance(Duration::from_secs(24 * 3600 + 1)),
            "password" => {
                let change = json!({
                    "old_password": PASSWORD, "new_password": OTHER_PASSWORD, "confirm_password": OTHER_PASSWORD,
                });
                who.patch("/api/auth/password/reset").json(&change).await.is(200);
            }
            "ban" => {
                let admin = app.admin().await;
                admin.patch(&who.path()).json(&json!({"is_active": false})).await.is(200);
            }
            _ => {
                who.delete(&who.path()).await.is(200);
            }
        }
        app.verify(&token).await.refused(401, "token_invalid");
    }
    drop(admin);
}

#[tokio::test]
async fn it_needs_a_fresh_proof_of_who_one_is() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    app.clock.advance(Duration::from_secs(601));
    change(&ann, NEW).await.refused(401, "reauthentication_required");
    assert!(app.letters_to(NEW).await.is_empty());
    ann.reauthenticate(None).await.is(200);
    change(&ann, NEW).await.is(200);
}

#[tokio::test]
async fn of_two_who_want_one_address_the_first_to_prove_it_gets_it() {
    let app = TestApp::with_mail(&[]).await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    change(&ann, NEW).await.is(200);
    let anns = proof(&app, NEW).await;
    change(&bob, NEW).await.is(200);
    let bobs = proof(&app, NEW).await;
    assert_ne!(anns, bobs, "asking for another's pending address takes nothing from them");
    app.verify(&anns).await.is(200);
    let late = app.verify(&bobs).await;
    assert!(matches!(late.status(), 401 | 409), "{late:?}");
    assert_eq!(
        (&ann.me().await["email"], &bob.me().await["email"]),
        (&json!(NEW), &json!("bob@example.com"))
    );
    bob.me().await;
}

#[tokio::test]
async fn an_address_that_waits_is_nobodys_and_shown_to_nobody() {
    let app = TestApp::with_mail(&[]).await;
    let ann = app.user("ann").await;
    change(&ann, NEW).await.is(200);
    let free = app.sign_up("newcomer", NEW, OTHER_PASSWORD).await;
    same(&free, &app.sign_up("other_one", "really.free@example.com", OTHER_PASSWORD).await);
    let admin = app.admin().await;
    assert_eq!(admin.get("/api/user/?q=new@").await.is(200).json(), json!([]));
    let newcomers = proof(&app, NEW).await;
    app.verify(&newcomers).await.is(200);
    let reply = app.try_sign_in(NEW, OTHER_PASSWORD).await;
    assert_eq!(
        Actor::with_tokens(&app, "newcomer", &reply.is(200).json()).me().await["username"],
        "newcomer"
    );
    assert_eq!(ann.me().await["email"], OLD);
}

#[tokio::test]
async fn an_admin_may_vouch_for_an_address_and_then_it_counts_at_once() {
    let app = TestApp::with_mail(&[]).await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let change = json!({"email": NEW, "email_verified": true});
    let user = admin.patch(&ann.path()).json(&change).await.is(200).json();
    assert_eq!(address(&user), (&json!(NEW), &json!(true)));
    ann.get("/api/user/me").await.refused(401, "token_invalid");
    app.mail_to(OLD, "email-changed").await;
    let unvouched = json!({"email": "third@example.com"});
    let user = admin.patch(&ann.path()).json(&unvouched).await.is(200).json();
    assert_eq!(user["email"], NEW, "else it waits for its proof: {user}");
    app.verify(&proof(&app, "third@example.com").await).await.is(200);
    assert_eq!(app.sign_in("ann").await.me().await["email"], "third@example.com");
}

#[tokio::test]
async fn with_mail_off_a_new_address_counts_at_once_and_is_not_proved() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let user = change(&ann, NEW).await.is(200).json();
    assert_eq!(address(&user), (&json!(NEW), &json!(false)));
}
