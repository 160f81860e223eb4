//! From the first factor to the second.

use std::time::Duration;

use gatehouse::otp::{Answer, FirstFactor, Method, Used};
use gatehouse::platform::clock::Clock;
use gatehouse::sessions::{Kind, Purpose};
use secrecy::ExposeSecret;
use serde_json::json;

use super::acts::{Acts, STEP, somebody};
use crate::harness::{PASSWORD, TestApp};

const RIGHT: Answer = Answer::Right(Used::Authenticator);

//
#[tokio::test]
async fn a_code_works_once() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    let (authenticator, _) = acts.enrol(ann).await;
    let code = authenticator.code(0);
    let (first, second) = (acts.challenge(ann).await, acts.challenge(ann).await);
    assert_eq!(acts.answer(ann, &first.token, &code).await, RIGHT);
    assert_eq!(acts.answer(ann, &first.token, &code).await, Answer::Gone);
    assert_eq!(acts.answer(ann, &second.token, &code).await, Answer::Wrong { left: 4 });
    app.clock.advance(STEP);
    assert_eq!(acts.answer(ann, &second.token, &code).await, Answer::Wrong { left: 3 });
    assert_eq!(acts.answer(ann, &second.token, &authenticator.code(0)).await, RIGHT);
}

//
#[tokio::test]
async fn codes_next_to_the_present_one_work_and_none_before_one_that_worked() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    let (authenticator, _) = acts.enrol(ann).await;
    app.clock.advance(STEP * 10);
    let answer = async |steps: i64| {
        let challenge = acts.challenge(ann).await;
        acts.answer(ann, &challenge.token, &authenticator.code(steps)).await
    };
    let wrong = Answer::Wrong { left: 4 };
    assert_eq!([answer(-2).await, answer(2).await], [wrong, wrong]);
    assert_eq!([answer(-1).await, answer(0).await, answer(1).await], [RIGHT; 3]);
    assert_eq!([answer(-1).await, answer(0).await, answer(1).await], [wrong; 3]);
    app.clock.advance(STEP * 10);
    assert_eq!([answer(1).await, answer(0).await, answer(-1).await], [RIGHT, wrong, wrong]);
}

#[tokio::test]
async fn with_a_window_of_none_only_the_present_code_works() {
    let app = TestApp::with(&[("TOTP_WINDOW", "0"), ("OTP_LENGTH", "8")]).await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    let (authenticator, _) = acts.enrol(ann).await;
    assert_eq!(authenticator.code(0).len(), 8);
    let challenge = acts.challenge(ann).await;
    for (steps, expected) in [(-1, Answer::Wrong { left: 4 }), (1, Answer::Wrong { left: 3 }), (0, RIGHT)] {
        assert_eq!(acts.answer(ann, &challenge.token, &authenticator.code(steps)).await, expected);
    }
}

//
#[tokio::test]
async fn five_wrong_codes_end_a_challenge() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    let (authenticator, recovery) = acts.enrol(ann).await;
    let challenge = acts.challenge(ann).await;
    for left in [4, 3, 2, 1, 0] {
        assert!(acts.waiting(&challenge.token).await.is_some());
        let answer = acts.answer(ann, &challenge.token, &authenticator.wrong()).await;
        assert_eq!(answer, Answer::Wrong { left });
    }
    assert_eq!(acts.waiting(&challenge.token).await, None);
    assert_eq!(acts.answer(ann, &challenge.token, &authenticator.code(0)).await, Answer::Gone);
    assert_eq!(acts.answer(ann, &challenge.token, &recovery[0]).await, Answer::Gone);
    let challenge = acts.challenge(ann).await;
    assert_eq!(acts.answer(ann, &challenge.token, &authenticator.code(0)).await, RIGHT);
}

//
#[tokio::test]
async fn nobody_answers_anothers_challenge() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let (ann, bob) = (app.user("ann").await.id, app.user("bob").await.id);
    let (anns, _) = acts.enrol(ann).await;
    let (bobs, recovery) = acts.enrol(bob).await;
    let challenge = acts.challenge(ann).await;
    // Bob has Ann's challenge: as himself it is none, and as Ann his codes are wrong.
    assert_eq!(acts.answer(bob, &challenge.token, &bobs.code(0)).await, Answer::Gone);
    assert_eq!(acts.answer(ann, &challenge.token, &bobs.code(0)).await, Answer::Wrong { left: 4 });
    assert_eq!(acts.answer(ann, &challenge.token, &recovery[0]).await, Answer::Wrong { left: 3 });
    assert_eq!(acts.answer(ann, &challenge.token, &anns.code(0)).await, RIGHT);
    let challenge = acts.challenge(bob).await;
    assert_eq!(acts.answer(bob, &challenge.token, &bobs.code(0)).await, RIGHT, "his code was not used up");
}

//
#[tokio::test]
async fn a_challenge_lasts_five_minutes() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    let (authenticator, _) = acts.enrol(ann).await;
    let (late, in_time) = (acts.challenge(ann).await, acts.challenge(ann).await);
    app.clock.advance(Duration::from_millis(5 * 60 * 1000 - 1));
    assert_eq!(acts.answer(ann, &in_time.token, &authenticator.code(0)).await, RIGHT);
    app.clock.advance(Duration::from_millis(1));
    assert_eq!(acts.waiting(&late.token).await, None);
    assert_eq!(acts.answer(ann, &late.token, &authenticator.code(1)).await, Answer::Gone);
}

// also within the very moment in which it was made.
#[tokio::test]
async fn a_challenge_does_not_outlive_the_password_that_it_was_given_for() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let actor = app.user("ann").await;
    let (authenticator, _) = acts.enrol(actor.id).await;
    for (old, new) in [(PASSWORD, "sapphire lantern 88 meadow"), ("sapphire lantern 88 meadow", PASSWORD)] {
        let challenge = acts.challenge(actor.id).await;
        let change = json!({"old_password": old, "new_password": new, "confirm_password": new});
        actor.patch("/api/auth/password/reset").json(&change).await.is(200);
        assert_eq!(acts.waiting(&challenge.token).await, None);
        let answer = acts.answer(actor.id, &challenge.token, &authenticator.code(0)).await;
        assert_eq!(answer, Answer::Gone);
    }
}

#[tokio::test]
async fn a_challenge_does_not_outlive_a_ban_a_change_of_roles_or_of_the_method() {
    let app = TestApp::new().await;
    let (acts, admin) = (Acts::of(&app), app.admin().await);
    let actor = somebody(&app, "ann").await;
    let (authenticator, _) = acts.enrol(actor.id).await;
    let challenge = acts.challenge(actor.id).await;
    acts.enrol_email(&actor).await;
    let answer = acts.answer(actor.id, &challenge.token, &authenticator.code(0)).await;
    assert_eq!(answer, Answer::Gone);
    let challenge = acts.challenge(actor.id).await;
    acts.turn_off(actor.id).await;
    let code = challenge.code.unwrap().code.expose_secret().to_owned();
    assert_eq!(acts.answer(actor.id, &challenge.token, &code).await, Answer::Gone);
    let (authenticator, _) = acts.enrol(actor.id).await;
    for change in [json!({"roles": ["tester"]}), json!({"is_active": false}), json!({"is_active": true})] {
        let challenge = acts.challenge(actor.id).await;
        admin.patch(&actor.path()).json(&change).await.is(200);
        let answer = acts.answer(actor.id, &challenge.token, &authenticator.code(0)).await;
        assert_eq!(answer, Answer::Gone, "{change}");
    }
}

#[tokio::test]
async fn without_a_second_factor_no_challenge_can_be_answered() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    let challenge = acts.challenge(ann).await;
    assert_eq!((challenge.method, acts.waiting(&challenge.token).await), (Method::None, None));
    for typed in ["000000", "00000-00000-00000-00000-00000"] {
        assert_eq!(acts.answer(ann, &challenge.token, typed).await, Answer::Gone);
    }
}

//
#[tokio::test]
async fn a_recovery_code_works_once_however_it_is_written() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let actor = app.user("ann").await;
    let (_, codes) = acts.enrol(actor.id).await;
    let written =
        [codes[0].clone(), codes[1].to_lowercase(), codes[2].replace('-', ""), codes[3].replace('-', " ")];
    for (used, typed) in (1_u64..).zip(&written) {
        let challenge = acts.challenge(actor.id).await;
        let answer = acts.answer(actor.id, &challenge.token, typed).await;
        assert_eq!(answer, Answer::Right(Used::RecoveryCode));
        assert_eq!(acts.recovery_codes_left(actor.id).await, 10 - used);
    }
    let challenge = acts.challenge(actor.id).await;
    let answer = acts.answer(actor.id, &challenge.token, &codes[0].to_lowercase()).await;
    assert_eq!(answer, Answer::Wrong { left: 4 });
    let me = actor.me().await;
    assert_eq!(me["user_history"][0]["action"], "recovery_code_used");
    assert_eq!(me["user_history"][0]["description"], "6 left");
    assert_eq!(me["otp_method"], "authenticator");
}

#[tokio::test]
async fn new_recovery_codes_void_the_old_ones() {
    let app = TestApp::new().await;
    let (acts, actor) = (Acts::of(&app), app.user("ann").await);
    let (_, old) = acts.enrol(actor.id).await;
    let new = acts.replace_recovery_codes(actor.id).await;
    assert_eq!((old.len(), new.len()), (10, 10));
    let challenge = acts.challenge(actor.id).await;
    assert_eq!(acts.answer(actor.id, &challenge.token, &old[0]).await, Answer::Wrong { left: 4 });
    assert_eq!(acts.answer(actor.id, &challenge.token, &new[0]).await, Answer::Right(Used::RecoveryCode));
    assert_eq!(actor.me().await["user_history"][1]["action"], "recovery_codes_replaced");
}

#[tokio::test]
async fn a_challenge_tells_what_it_waits_for() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    acts.enrol(ann).await;
    let challenge = acts.challenge(ann).await;
    assert!(challenge.code.is_none(), "there is nothing to send");
    let waiting = acts.waiting(&challenge.token).await.unwrap();
    assert_eq!((waiting.user_id, waiting.method, waiting.code_sent_at), (ann, Method::Authenticator, None));
    assert_eq!(waiting.first, FirstFactor { kind: Kind::Token, amr: "pwd".to_owned() });
    assert_eq!(waiting.expires_at, app.clock.now().after(Duration::from_mins(5)));
    assert_eq!(acts.another_code(ann, &challenge.token).await, None, "A-039: no other method");
}

#[tokio::test]
async fn ten_challenges_of_an_account_are_open_at_once() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let (ann, bob) = (app.user("ann").await.id, app.user("bob").await.id);
    acts.enrol(ann).await;
    acts.enrol(bob).await;
    let bobs = acts.challenge(bob).await;
    let mut anns = Vec::new();
    for _ in 0..12 {
        app.clock.advance(Duration::from_millis(1));
        anns.push(acts.challenge(ann).await);
    }
    for (at, challenge) in anns.iter().enumerate() {
        assert_eq!(acts.waiting(&challenge.token).await.is_some(), at >= 2, "{at}");
    }
    assert!(acts.waiting(&bobs.token).await.is_some());
}

// A-038, in part: nothing but the challenge's own purpose finds it.
#[tokio::test]
async fn of_tokens_seeds_and_codes_no_row_holds_the_text() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let actor = somebody(&app, "ann").await;
    let bob = somebody(&app, "bob").await;
    let (authenticator, recovery) = acts.enrol(actor.id).await;
    let pending = acts.begin(actor.id).await;
    let challenge = acts.challenge(actor.id).await;
    let for_session = acts.send_to_session(actor.id, actor.session()).await;
    acts.enrol_email(&bob).await;
    let sent = acts.challenge(bob.id).await;
    let secret = sent.code.as_ref().unwrap().code.expose_secret().to_owned();
    let mut clear: Vec<Vec<u8>> =
        vec![authenticator.seed(), pending.seed(), for_session.into(), secret.into()];
    for token in [&challenge.token, &sent.token] {
        let text = token.text().expose().to_owned();
        clear.push(token.digest(Purpose::Reset).to_vec());
        clear.push(text.into_bytes());
    }
    clear.extend(recovery.iter().map(|code| code.replace('-', "").into_bytes()));
    clear.extend(recovery.iter().map(|code| code.clone().into_bytes()));
    let mut rows = Vec::new();
    for (table, columns) in [
        ("second_factors", &["sealed_seed", "pending_seed"][..]),
        ("recovery_codes", &["digest"]),
        ("otp_challenges", &["digest", "code_digest"]),
        ("otp_session_codes", &["code_digest"]),
    ] {
        for column in columns {
            rows.extend(
                acts.bytes(&format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL")).await,
            );
        }
    }
    assert!(rows.len() > 2 + 20 + 3, "{}", rows.len());
    for row in &rows {
        assert!(clear.iter().all(|clear| !row.windows(clear.len()).any(|part| part == clear)));
    }
}

#[tokio::test]
async fn a_seed_moved_to_another_account_opens_nothing() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let (ann, bob) = (app.user("ann").await.id, app.user("bob").await.id);
    let (anns, recovery) = acts.enrol(ann).await;
    let (bobs, _) = acts.enrol(bob).await;
    // Whoever can write rows puts a seed that they know in Ann's place.
    acts.tamper(
        "UPDATE second_factors SET sealed_seed = (SELECT s.sealed_seed FROM second_factors s \
         WHERE s.user_id <> second_factors.user_id) \
         WHERE user_id = (SELECT id FROM users WHERE username = 'ann')",
    )
    .await;
    let challenge = acts.challenge(ann).await;
    assert_eq!(acts.answer(ann, &challenge.token, &bobs.code(0)).await, Answer::Wrong { left: 4 });
    assert_eq!(acts.answer(ann, &challenge.token, &anns.code(0)).await, Answer::Wrong { left: 3 });
    let answer = acts.answer(ann, &challenge.token, &recovery[0]).await;
    assert_eq!(answer, Answer::Right(Used::RecoveryCode), "for that they are there");
}

// F-18
#[tokio::test]
async fn a_clock_that_goes_back_opens_no_used_code_again() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    let (authenticator, _) = acts.enrol(ann).await;
    let (used, now) = (authenticator.code(0), app.clock.now());
    let challenge = acts.challenge(ann).await;
    assert_eq!(acts.answer(ann, &challenge.token, &used).await, RIGHT);
    let Clock::Manual(hands) = &app.clock else { panic!("the clock is ours") };
    for back in [1, 30, 60, 3600, 86400, 100 * 365 * 86400] {
        hands.store(now.millis() - back * 1000, std::sync::atomic::Ordering::SeqCst);
        let challenge = acts.challenge(ann).await;
        let answer = acts.answer(ann, &challenge.token, &used).await;
        assert_eq!(answer, Answer::Wrong { left: 4 }, "{back} s");
        if app.clock.now().seconds() > 60 {
            let shown = authenticator.code(0);
            let answer = acts.answer(ann, &challenge.token, &shown).await;
            assert_eq!(answer, Answer::Wrong { left: 3 }, "{back} s: what was shown then is over");
        }
    }
    hands.store(now.after(STEP).millis(), std::sync::atomic::Ordering::SeqCst);
    let challenge = acts.challenge(ann).await;
    assert_eq!(acts.answer(ann, &challenge.token, &authenticator.code(0)).await, RIGHT);
}

#[tokio::test]
async fn what_is_past_its_time_is_swept_away_and_nothing_else() {
    let app = TestApp::new().await;
    let acts = Acts::of(&app);
    let (actor, bob) = (app.user("ann").await, app.user("bob").await);
    acts.enrol(actor.id).await;
    let kept = acts.rows().await;
    acts.begin(actor.id).await; // in the row that is there
    acts.begin(bob.id).await;
    acts.challenge(actor.id).await;
    acts.send_to_session(actor.id, actor.session()).await;
    app.inside.otp.sweep().await.unwrap();
    assert_eq!(acts.rows().await, kept + 3);
    app.clock.advance(Duration::from_mins(10));
    app.inside.sweep().await.unwrap();
    assert_eq!(acts.rows().await, kept);
    let pending = "SELECT COUNT(*) FROM second_factors WHERE pending_seed IS NOT NULL";
    assert_eq!(acts.number(pending).await, 0);
}
