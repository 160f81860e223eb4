//! Bans: who may impose and lift them, and what they end.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{actions, ban, log, unban};
use crate::harness::{Actor, Demand, PASSWORD, TestApp, eventually, race};

const OTHER_PASSWORD: &str = "sapphire lantern 88 meadow";
/// What nobody but a browser that is fooled, or a template, makes anything of.
const ODD: &str =
    "<script>alert(1)</script> \"'&amp; {{7*7}} ${7*7} <%= 7*7 %> ' OR 1=1 --\nsecond line ünïcode 🦊";

async fn refreshed(app: &TestApp, who: &Actor) -> u16 {
    app.post("/api/auth/token/refresh").json(&json!({"refresh_token": who.refresh})).await.status()
}

/// What signing in with the right password is told.
async fn told_at_the_door(app: &TestApp, name: &str) -> String {
    let reply = app.try_sign_in(name, PASSWORD).await;
    reply.refused(403, "user_inactive").json()["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_ban_and_its_end_answer_who_did_what_to_whom_and_why() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let answer = |action: &str, reason: &str| json!({"Admin": "root", "Action": action, "User": "ann", "Reason": reason});
    assert_eq!(ban(&admin, &ann, "spam").await.is(200).json(), answer("Banned", "spam"));
    assert_eq!(unban(&admin, &ann, "sorry").await.is(200).json(), answer("Unbanned", "sorry"));
    // As a form, by name, without a reason.
    let form = admin.post("/api/admin/ban/@ann").form(&[("reason", " again ")]).await;
    assert_eq!(form.is(200).json(), answer("Banned", "again"));
    let form = admin.post("/api/admin/unban/@ann").form(&[]).await;
    assert_eq!(form.is(200).json(), answer("Unbanned", ""));
    // And without any body.
    assert_eq!(admin.post("/api/admin/ban/@ann").await.is(200).json(), answer("Banned", ""));
    assert_eq!(admin.post("/api/admin/unban/@ann").await.is(200).json(), answer("Unbanned", ""));
}

//
#[tokio::test]
async fn a_ban_ends_every_session_at_once_on_every_instance() {
    let app = TestApp::new().await;
    let there = app.second_instance().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let phone = app.sign_in("ann").await;
    for who in [&ann, &phone] {
        who.me().await;
        who.at(&there).me().await;
    }
    ban(&admin, &ann, "spam").await.is(200);
    for who in [&ann, &phone] {
        who.get("/api/user/me").await.refused(401, "token_invalid");
        eventually(|| async { who.at(&there).get("/api/user/me").await.status() }, |status| *status == 401)
            .await;
        assert_eq!(refreshed(&app, who).await, 401);
        assert_eq!(refreshed(&there, who).await, 401);
    }
    assert_eq!(app.inside.sessions.of_user(ann.id).await.unwrap().len(), 0);
}

//
#[tokio::test]
async fn what_a_ban_has_ended_stays_dead_after_it() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    ban(&admin, &ann, "spam").await.is(200);
    unban(&admin, &ann, "sorry").await.is(200);
    ann.get("/api/user/me").await.refused(401, "token_invalid");
    assert_eq!(refreshed(&app, &ann).await, 401);
    app.sign_in("ann").await.me().await;
}

#[tokio::test]
async fn only_who_knows_the_password_is_told_of_the_ban_and_its_reason() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    ban(&admin, &ann, ODD).await.is(200);
    let wrong = app.try_sign_in("ann", OTHER_PASSWORD).await;
    assert!(!wrong.refused(401, "invalid_credentials").text().contains("alert"));
    app.clock.advance(Duration::from_mins(1)); // after a wrong password, the next try has to wait
    assert_eq!(told_at_the_door(&app, "ann").await, format!("The account may not be used. Reason: {ODD}"));
    // However much is told of the account since, it is the reason of this ban.
    for number in 0..25 {
        app.clock.advance(Duration::from_secs(1));
        admin.patch(&ann.path()).json(&json!({"description": number.to_string()})).await.is(200);
    }
    assert!(told_at_the_door(&app, "ann").await.ends_with(ODD));
    unban(&admin, &ann, "").await.is(200);
    app.clock.advance(Duration::from_secs(1));
    ban(&admin, &ann, "").await.is(200);
    assert_eq!(told_at_the_door(&app, "ann").await, "The account may not be used.");
}

#[tokio::test]
async fn a_reason_is_kept_as_it_was_written_wherever_it_is_told() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    app.clock.advance(Duration::from_secs(1));
    assert_eq!(ban(&admin, &ann, ODD).await.is(200).json()["Reason"], ODD);
    app.clock.advance(Duration::from_secs(1));
    unban(&admin, &ann, "").await.is(200);
    let history = admin.get(&format!("{}/history", ann.path())).await.is(200).json();
    let line = |number: usize| {
        let line = &history[number];
        (line["action"].clone(), line["description"].clone(), line["by"].clone())
    };
    let by = json!(admin.id);
    assert_eq!(line(0), (json!("unbanned"), json!(""), by.clone()));
    assert_eq!(line(1), (json!("banned"), json!(ODD), by));
    app.inside.events.place().await.unwrap();
    let events =
        admin.get(&format!("/api/admin/events?user_id={}&events=user.banned,user.unbanned", ann.id)).await;
    let data: Vec<Value> =
        events.is(200).json().as_array().unwrap().iter().map(|event| event["data"].clone()).collect();
    assert_eq!(data, [json!({"reason": ODD}), json!({"reason": null})]);
    let entries = log(&admin, &format!("subject={}", ann.id)).await;
    assert_eq!(actions(&entries), ["banned", "unbanned"]);
    assert_eq!(entries[0]["details"], json!({"description": ODD}));
    assert_eq!(entries[0]["actor"], json!(admin.id));
}

//
#[tokio::test]
async fn moderators_ban_only_people_who_are_no_staff_and_lift_no_ban() {
    let app = TestApp::new().await;
    let (admin, moderator) = (app.admin().await, app.moderator().await);
    let colleague = app.made_by_admin("colleague", &["moderator", "user"]).await;
    let (ann, tester) = (app.user("ann").await, app.tester().await);
    for staff in [&admin, &colleague, &moderator] {
        ban(&moderator, staff, "x").await.refused(403, "forbidden");
        staff.me().await;
    }
    for ordinary in [&ann, &tester] {
        assert_eq!(ban(&moderator, ordinary, "x").await.is(200).json()["Admin"], "mods");
        unban(&moderator, ordinary, "x").await.refused(403, "forbidden");
    }
    // Not by the switch either.
    let on = json!({"is_active": true});
    moderator.patch(&ann.path()).json(&on).await.refused(403, "forbidden");
    told_at_the_door(&app, "ann").await;
    unban(&admin, &ann, "x").await.is(200);
    app.sign_in("ann").await;
}

//
#[tokio::test]
async fn nobody_bans_themselves_nor_does_who_is_no_staff_ban_anybody() {
    let app = TestApp::new().await;
    let (admin, ann, bob) = (app.admin().await, app.user("ann").await, app.user("bob").await);
    app.made_by_admin("second", &["admin"]).await;
    for who in [&admin, &ann] {
        ban(who, who, "x").await.refused(403, "forbidden");
        unban(who, who, "x").await.refused(403, "forbidden");
    }
    ban(&ann, &bob, "x").await.refused(403, "forbidden");
    app.post(&format!("/api/admin/ban/{}", bob.id)).json(&json!({})).await.is(401);
    // History is told, not written.
    for forged in
        [json!({"reason": "x", "action": "restored"}), json!({"user_history": []}), json!({"by": bob.id})]
    {
        let reply = admin.post(&format!("/api/admin/ban/{}", bob.id)).json(&forged).await;
        reply.refused(422, "validation_failed");
        admin.patch(&bob.path()).json(&forged).await.refused(422, "validation_failed");
    }
    bob.me().await;
    // A banned admin does not come back by themselves.
    let second = app.sign_in("second").await;
    ban(&admin, &second, "x").await.is(200);
    unban(&second, &second, "x").await.refused(401, "token_invalid");
}

#[tokio::test]
async fn what_can_not_be_banned_or_freed_is_said() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    unban(&admin, &ann, "").await.refused(409, "conflict");
    ban(&admin, &ann, "").await.is(200);
    ban(&admin, &ann, "").await.refused(409, "conflict");
    let gone = app.user("gone").await;
    gone.delete(&gone.path()).await.is(200);
    ban(&admin, &gone, "").await.refused(409, "user_deleted");
    unban(&admin, &gone, "").await.refused(409, "user_deleted");
    for nobody in [Uuid::nil().to_string(), "@nobody".to_owned(), "1".to_owned()] {
        for act in ["ban", "unban"] {
            admin
                .post(&format!("/api/admin/{act}/{nobody}"))
                .json(&json!({}))
                .await
                .refused(404, "not_found");
        }
    }
    let bob = app.user("bob").await;
    for reason in ["x".repeat(1001), "a\u{0}b".to_owned(), "\u{1b}[31m".to_owned(), "\u{202e}evil".to_owned()]
    {
        ban(&admin, &bob, &reason).await.invalid(&["reason"]);
    }
    ban(&admin, &bob, &"🦊".repeat(1000)).await.is(200);
}

// A-119 without a race.
#[tokio::test]
async fn the_last_admin_can_not_be_banned() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let second = app.made_by_admin("second", &["admin"]).await;
    ban(&second, &admin, "x").await.is(200);
    // Whoever is left has nobody to ban them; that there would be no other is decided all the same.
    let may: gatehouse::users::Judge = Box::new(|_| true);
    let origin = gatehouse::users::Origin::default();
    let refused = app.inside.users.ban(second.id, gatehouse::users::Reason::default(), may, origin).await;
    assert_eq!(refused.unwrap_err().problem().code, "last_admin");
    second.me().await;
}

// T-06, R-21: nothing that was mailed or asked before it works during the ban, nor after.
#[tokio::test]
async fn a_ban_voids_the_links_and_codes_that_were_on_their_way() {
    let app = TestApp::with_mail(&[]).await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let reset = app.reset_token("ann").await;
    ann.patch(&ann.path()).json(&json!({"email": "new@example.com"})).await.is(200);
    let proof = app.mail_to("new@example.com", "verification").await.token();
    ban(&admin, &ann, "x").await.is(200);
    app.reset(&reset, OTHER_PASSWORD).await.refused(401, "token_invalid");
    app.verify(&proof).await.refused(401, "token_invalid");
    told_at_the_door(&app, "ann").await;
    // Nor is a new one to be had: the answer is the same, but nothing is sent.
    let before = app.letters_to("ann@example.com").await;
    app.forget(("username", "ann")).await.is(202);
    unban(&admin, &ann, "x").await.is(200);
    assert_eq!(app.letters_to("ann@example.com").await, before);
    app.reset(&reset, OTHER_PASSWORD).await.refused(401, "token_invalid");
    app.verify(&proof).await.refused(401, "token_invalid");
    app.sign_in("ann").await;
}

// T-06
#[tokio::test]
async fn a_ban_ends_a_sign_in_that_waits_for_the_second_factor() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let (authenticator, _) = ann.enrol(&app).await;
    let demand = Demand::of(&app.try_sign_in("ann", PASSWORD).await);
    ban(&admin, &ann, "x").await.is(200);
    let answer = async |code: String| {
        app.post("/api/auth/OTP").json(&json!({"otp_token": demand.token, "otp_code": code})).await
    };
    assert_eq!(answer(authenticator.next_code(&app)).await.status(), 401);
    unban(&admin, &ann, "x").await.is(200);
    assert_eq!(answer(authenticator.next_code(&app)).await.status(), 401);
}

// Somebody is made a moderator while a moderator bans them: whichever is first, no moderator has banned a moderator.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_moderator_bans_somebody_who_has_become_one() {
    let app = TestApp::new().await;
    let (admin, moderator) = (app.admin().await, app.moderator().await);
    for round in 0..10 {
        let name = format!("rising_{round}");
        let rising = app.made_by_admin(&name, &["user"]).await;
        let (admin, moderator) = (&admin, &moderator);
        let results = race(2, |number| {
            let (by, whom) = (if number == 0 { moderator.clone() } else { admin.clone() }, rising.clone());
            async move {
                if number == 0 {
                    ban(&by, &whom, "x").await.status()
                } else {
                    by.patch(&whom.path()).json(&json!({"roles": ["moderator"]})).await.status()
                }
            }
        });
        let results = results.await;
        assert_eq!(results[1], 200);
        let entries = log(admin, &format!("subject={}", rising.id)).await;
        let order = actions(&entries);
        let expected: &[&str] = match results[0] {
            200 => &["created", "banned", "roles_changed"],
            403 => &["created", "roles_changed"],
            other => panic!("{other}"),
        };
        assert_eq!(order, expected);
    }
}
