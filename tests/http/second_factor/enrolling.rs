//! Choosing a second factor and giving it up.

use std::time::Duration;

use gatehouse::otp::{Answer, Used};

use super::acts::{Acts, somebody};
use crate::harness::TestApp;

//
#[tokio::test]
async fn an_authenticator_counts_from_its_first_right_code_on() {
    let app = TestApp::new().await;
    let (acts, actor) = (Acts::of(&app), app.user("ann").await);
    let before = actor.me().await;
    let authenticator = acts.begin(actor.id).await;
    assert_eq!(acts.confirm(actor.id, &authenticator.wrong()).await, None);
    assert_eq!(acts.confirm(actor.id, "00000-00000-00000-00000-00000").await, None);
    assert_eq!(actor.me().await, before, "half done is not done");
    let code = authenticator.code(0);
    let codes = acts.confirm(actor.id, &code).await.expect("the right code");
    assert_eq!((codes.len(), acts.recovery_codes_left(actor.id).await), (10, 10));
    assert_eq!(acts.confirm(actor.id, &code).await, None, "nothing is pending any more");
    // the code that proved it signs nobody in.
    let challenge = acts.challenge(actor.id).await;
    assert_eq!(acts.answer(actor.id, &challenge.token, &code).await, Answer::Wrong { left: 4 });
}

#[tokio::test]
async fn everybody_entitled_sees_the_method_and_nobody_else() {
    let app = TestApp::new().await;
    let (acts, admin) = (Acts::of(&app), app.admin().await);
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let etag = |reply: &crate::harness::Reply| reply.header("etag").unwrap().to_owned();
    let before = ann.get(&ann.path()).await;
    assert_eq!(before.is(200).json()["otp_method"], "none");
    acts.enrol(ann.id).await;
    let after = ann.get(&ann.path()).await;
    assert_eq!(after.is(200).json()["otp_method"], "authenticator");
    assert_ne!(etag(&before), etag(&after));
    let history = after.json()["user_history"].clone();
    let (line, by) = (&history[0], &history[0]["by"]);
    assert_eq!((&line["action"], by.as_str()), (&"second_factor_changed".into(), Some(&*ann.id.to_string())));
    assert_eq!(line["description"], "from none to authenticator");
    assert_eq!(admin.get(&ann.path()).await.json()["otp_method"], "authenticator");
    let list = admin.get("/api/user/?q=ann").await.is(200).json();
    assert_eq!(list[0]["otp_method"], "authenticator");
    assert!(!bob.get(&ann.path()).await.is(200).text().contains("otp_method"));
    acts.turn_off(ann.id).await;
    assert_eq!(ann.me().await["otp_method"], "none");
}

//
#[tokio::test]
async fn of_two_seeds_only_the_latest_can_be_confirmed() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    let (first, second) = (acts.begin(ann).await, acts.begin(ann).await);
    assert_ne!(first.seed(), second.seed());
    assert_eq!(acts.confirm(ann, &first.code(0)).await, None);
    assert!(acts.confirm(ann, &second.code(0)).await.is_some());
    let challenge = acts.challenge(ann).await;
    assert_eq!(acts.answer(ann, &challenge.token, &first.code(1)).await, Answer::Wrong { left: 4 });
    assert_eq!(acts.answer(ann, &challenge.token, &second.code(1)).await, Answer::Right(Used::Authenticator));
}

#[tokio::test]
async fn nobody_confirms_anothers_seed() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let (ann, bob) = (app.user("ann").await.id, app.user("bob").await.id);
    let anns = acts.begin(ann).await;
    assert_eq!(acts.confirm(bob, &anns.code(0)).await, None);
    acts.begin(bob).await;
    assert_eq!(acts.confirm(bob, &anns.code(0)).await, None);
    assert!(acts.confirm(ann, &anns.code(0)).await.is_some());
}

#[tokio::test]
async fn a_seed_waits_ten_minutes() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let (ann, bob) = (app.user("ann").await.id, app.user("bob").await.id);
    let (anns, bobs) = (acts.begin(ann).await, acts.begin(bob).await);
    app.clock.advance(Duration::from_millis(10 * 60 * 1000 - 1));
    assert!(acts.confirm(ann, &anns.code(0)).await.is_some());
    app.clock.advance(Duration::from_millis(1));
    assert_eq!(acts.confirm(bob, &bobs.code(0)).await, None);
}

// Another telephone.
#[tokio::test]
async fn while_a_new_authenticator_is_set_up_the_old_one_counts() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    let (old, codes) = acts.enrol(ann).await;
    let new = acts.begin(ann).await;
    let challenge = acts.challenge(ann).await;
    assert_eq!(acts.answer(ann, &challenge.token, &new.code(0)).await, Answer::Wrong { left: 4 });
    assert_eq!(acts.answer(ann, &challenge.token, &old.code(0)).await, Answer::Right(Used::Authenticator));
    assert!(acts.confirm(ann, &new.code(0)).await.is_some());
    let challenge = acts.challenge(ann).await;
    assert_eq!(acts.answer(ann, &challenge.token, &old.code(1)).await, Answer::Wrong { left: 4 });
    assert_eq!(acts.answer(ann, &challenge.token, &codes[0]).await, Answer::Wrong { left: 3 });
    assert_eq!(acts.answer(ann, &challenge.token, &new.code(1)).await, Answer::Right(Used::Authenticator));
}

#[tokio::test]
async fn turning_it_off_leaves_nothing_behind() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let actor = somebody(&app, "ann").await;
    acts.enrol(actor.id).await;
    acts.begin(actor.id).await;
    acts.challenge(actor.id).await;
    acts.send_to_session(actor.id, actor.session()).await;
    assert!(acts.rows().await > 0);
    acts.turn_off(actor.id).await;
    assert_eq!((acts.rows().await, actor.me().await["otp_method"].as_str()), (0, Some("none")));
    let before = actor.me().await;
    acts.turn_off(actor.id).await;
    assert_eq!(actor.me().await, before, "what is off can't be turned off");
}

#[tokio::test]
async fn a_purged_account_leaves_nothing_behind() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let actor = somebody(&app, "ann").await;
    acts.enrol(actor.id).await;
    acts.begin(actor.id).await;
    acts.challenge(actor.id).await;
    acts.send_to_session(actor.id, actor.session()).await;
    app.admin().await.delete(&format!("{}?purge=true", actor.path())).await.is(200);
    assert_eq!(acts.rows().await, 0);
}

#[tokio::test]
async fn who_is_signed_in_proves_the_second_factor_with_a_code_that_is_used_up() {
    let app = TestApp::new().await;
    let (acts, actor) = (Acts::of(&app), app.user("ann").await);
    let (id, session) = (actor.id, actor.session());
    let (authenticator, recovery) = acts.enrol(id).await;
    let code = authenticator.code(0);
    assert_eq!(acts.check(id, session, &authenticator.wrong()).await, None);
    assert_eq!(acts.check(id, session, &code).await, Some(Used::Authenticator));
    assert_eq!(acts.check(id, session, &code).await, None);
    let challenge = acts.challenge(id).await;
    assert_eq!(acts.answer(id, &challenge.token, &code).await, Answer::Wrong { left: 4 });
    assert_eq!(acts.check(id, session, &recovery[0]).await, Some(Used::RecoveryCode));
    assert_eq!(acts.check(id, session, &recovery[0]).await, None);
    acts.turn_off(id).await;
    assert_eq!(acts.check(id, session, &authenticator.code(1)).await, None);
    assert_eq!(acts.check(id, session, &recovery[1]).await, None);
}

// a method can't be had by changing the profile.
#[tokio::test]
async fn the_method_is_no_field_that_can_be_set() {
    let app = TestApp::new().await;
    let (acts, admin, ann) = (Acts::of(&app), app.admin().await, app.user("ann").await);
    acts.enrol(ann.id).await;
    for (who, method) in [(&ann, "none"), (&ann, "email"), (&admin, "none")] {
        let change = serde_json::json!({"otp_method": method});
        who.patch(&ann.path()).json(&change).await.refused(422, "validation_failed");
    }
    assert_eq!(ann.me().await["otp_method"], "authenticator");
}
