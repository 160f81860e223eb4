//! Codes by e-mail.

use std::time::Duration;

use gatehouse::otp::{Answer, Method, Used};
use secrecy::ExposeSecret;
use serde_json::json;

use super::acts::{Acts, other_than, somebody};
use crate::harness::{Actor, TestApp};

const RIGHT: Answer = Answer::Right(Used::EmailCode);

/// A challenge, and the code that was sent for it.
macro_rules! challenged {
    ($acts:ident, $who:expr) => {{
        let challenge = $acts.challenge($who).await;
        let code = challenge.code.as_ref().expect("a code to be sent").code.expose_secret().to_owned();
        (challenge.token, code)
    }};
}

async fn with_email(app: &TestApp, name: &str) -> Actor {
    let actor = somebody(app, name).await;
    Acts::of(app).enrol_email(&actor).await;
    actor
}

#[tokio::test]
async fn a_code_by_email_answers_its_challenge_once() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), with_email(&app, "ann").await.id);
    let challenge = acts.challenge(ann).await;
    let sent = challenge.code.as_ref().unwrap();
    assert_eq!(challenge.method, Method::Email);
    // A challenge ends before the ten minutes of a code are over, and the code with it.
    assert_eq!((sent.minutes, sent.good_until), (5, app.clock.now().after(Duration::from_mins(5))));
    let waiting = acts.waiting(&challenge.token).await.unwrap();
    assert_eq!((waiting.method, waiting.code_sent_at), (Method::Email, Some(app.clock.now())));
    let code = sent.code.expose_secret().to_owned();
    assert_eq!(code.len(), 6);
    let wrong = other_than(&code);
    assert_eq!(acts.answer(ann, &challenge.token, &wrong).await, Answer::Wrong { left: 4 });
    assert_eq!(acts.answer(ann, &challenge.token, &code).await, RIGHT);
    assert_eq!(acts.answer(ann, &challenge.token, &code).await, Answer::Gone);
}

//
#[tokio::test]
async fn a_newer_code_voids_the_one_before() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), with_email(&app, "ann").await.id);
    let (token, first) = challenged!(acts, ann);
    assert_eq!(acts.answer(ann, &token, &other_than(&first)).await, Answer::Wrong { left: 4 });
    let second = acts.another_code(ann, &token).await.unwrap();
    if first != second {
        assert_eq!(
            acts.answer(ann, &token, &first).await,
            Answer::Wrong { left: 3 },
            "what was wrong stays counted"
        );
    }
    assert_eq!(acts.answer(ann, &token, &second).await, RIGHT);
    assert_eq!(acts.another_code(ann, &token).await, None);
}

//
#[tokio::test]
async fn a_code_belongs_to_its_challenge_and_account() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let (ann, bob) = (with_email(&app, "ann").await, with_email(&app, "bob").await);
    let (one, for_one) = challenged!(acts, ann.id);
    let (other, for_other) = challenged!(acts, ann.id);
    let (bobs, for_bob) = challenged!(acts, bob.id);
    let for_session = acts.send_to_session(ann.id, ann.session()).await;
    let mut left = 4;
    for foreign in [&for_other, &for_bob, &for_session] {
        if *foreign != for_one {
            assert_eq!(acts.answer(ann.id, &one, foreign).await, Answer::Wrong { left });
            left -= 1;
        }
    }
    if for_session != for_one {
        assert_eq!(acts.check(ann.id, ann.session(), &for_one).await, None);
    }
    assert_eq!(acts.answer(ann.id, &one, &for_one).await, RIGHT);
    assert_eq!(acts.answer(ann.id, &other, &for_other).await, RIGHT);
    assert_eq!(acts.answer(bob.id, &bobs, &for_bob).await, RIGHT);
    assert_eq!(acts.check(ann.id, ann.session(), &for_session).await, Some(Used::EmailCode));
}

#[tokio::test]
async fn a_code_goes_to_the_address_that_the_account_has() {
    let app = TestApp::new().await;
    let (acts, admin, ann) = (Acts::of(&app), app.admin().await, with_email(&app, "ann").await);
    let (token, code) = challenged!(acts, ann.id);
    let for_session = acts.send_to_session(ann.id, ann.session()).await;
    let change = json!({"email": "new@example.com", "email_verified": true});
    admin.patch(&ann.path()).json(&change).await.is(200);
    assert!(!matches!(acts.answer(ann.id, &token, &code).await, Answer::Right(_)));
    assert_eq!(acts.check(ann.id, ann.session(), &for_session).await, None);
}

#[tokio::test]
async fn a_recovery_code_takes_the_place_of_a_letter_and_an_authenticators_does_not() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let ann = somebody(&app, "ann").await;
    let (authenticator, old) = acts.enrol(ann.id).await;
    let codes = acts.enrol_email(&ann).await;
    let (token, sent) = challenged!(acts, ann.id);
    if authenticator.code(0) != sent {
        let answer = acts.answer(ann.id, &token, &authenticator.code(0)).await;
        assert_eq!(answer, Answer::Wrong { left: 4 });
    }
    assert!(matches!(acts.answer(ann.id, &token, &old[0]).await, Answer::Wrong { .. }));
    assert_eq!(acts.answer(ann.id, &token, &codes[0]).await, Answer::Right(Used::RecoveryCode));
    assert_eq!(acts.number("SELECT COUNT(*) FROM second_factors").await, 0, "the seed went");
}

//
#[tokio::test]
async fn choosing_email_takes_the_last_code_of_this_session_in_its_time() {
    let app = TestApp::with(&[("OTP_EMAIL_INTERVAL", "60")]).await;
    let acts = Acts::of(&app);
    let ann = somebody(&app, "ann").await;
    let (id, here, there) = (ann.id, ann.session(), app.sign_in("ann").await.session());
    assert_eq!(acts.confirm_email(id, here, "000000").await, None, "none was sent");
    let code = acts.send_to_session(id, here).await;
    assert_eq!(acts.confirm_email(id, there, &code).await, None, "another session");
    let newer = acts.send_to_session(id, here).await;
    if code != newer {
        assert_eq!(acts.confirm_email(id, here, &code).await, None, "a newer one was sent");
    }
    app.clock.advance(Duration::from_mins(1));
    assert_eq!(acts.confirm_email(id, here, &newer).await, None, "its minute is over");
    let code = acts.send_to_session(id, here).await;
    app.clock.advance(Duration::from_millis(59_999));
    assert_eq!(ann.me().await["otp_method"], "none");
    assert_eq!(acts.confirm_email(id, here, &code).await.map(|codes| codes.len()), Some(10));
    assert_eq!(ann.me().await["otp_method"], "email");
    assert_eq!(acts.confirm_email(id, here, &code).await, None, "it is used up");
}

#[tokio::test]
async fn five_wrong_codes_void_the_one_that_a_session_was_sent() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), somebody(&app, "ann").await);
    let (id, session) = (ann.id, ann.session());
    for wrong in [4, 5] {
        let code = acts.send_to_session(id, session).await;
        for _ in 0..wrong {
            assert_eq!(acts.confirm_email(id, session, &other_than(&code)).await, None);
        }
        assert_eq!(acts.confirm_email(id, session, &code).await.is_some(), wrong < 5, "after {wrong}");
        acts.turn_off(id).await;
    }
}

#[tokio::test]
async fn a_code_ends_with_its_session() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), somebody(&app, "ann").await);
    let code = acts.send_to_session(ann.id, ann.session()).await;
    ann.post("/api/auth/logout").await.is(200);
    assert_eq!(acts.confirm_email(ann.id, ann.session(), &code).await, None);
    assert_eq!(acts.rows().await, 0);
}

#[tokio::test]
async fn email_is_chosen_with_a_proved_address_only() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await);
    let code = acts.send_to_session(ann.id, ann.session()).await;
    assert_eq!(acts.confirm_email(ann.id, ann.session(), &code).await, None);
    assert_eq!(ann.me().await["otp_method"], "none");
}

#[tokio::test]
async fn where_the_authenticator_is_required_email_can_not_be_chosen_and_stays_where_it_is() {
    let app = TestApp::new().await;
    let (ann, bob) = (with_email(&app, "ann").await.id, somebody(&app, "bob").await);
    let strict = app.restarted_with(&[("OTP_EMAIL_ALLOWED", "False")]).await;
    let acts = Acts::of(&strict);
    let code = acts.send_to_session(bob.id, bob.session()).await;
    assert_eq!(acts.confirm_email(bob.id, bob.session(), &code).await, None);
    let (token, code) = challenged!(acts, ann);
    assert_eq!(acts.answer(ann, &token, &code).await, RIGHT);
    acts.enrol(bob.id).await;
}

#[tokio::test]
async fn without_an_address_there_is_nothing_to_send() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), somebody(&app, "ann").await);
    let codes = acts.enrol_email(&ann).await;
    // No act does this; data that was brought in from elsewhere may be so.
    acts.tamper("UPDATE users SET email = NULL WHERE username = 'ann'").await;
    let challenge = acts.challenge(ann.id).await;
    assert!(challenge.code.is_none() && acts.another_code(ann.id, &challenge.token).await.is_none());
    let answer = acts.answer(ann.id, &challenge.token, &codes[0]).await;
    assert_eq!(answer, Answer::Right(Used::RecoveryCode));
}
