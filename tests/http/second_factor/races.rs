//! Codes used by many at once.

use gatehouse::otp::{Answer, Used};

use super::acts::{Acts, STEP, somebody};
use crate::attacks::rounds;
use crate::harness::{TestApp, race};

/// Tries at the same moment.
const AT_ONCE: usize = 20;

fn right(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| matches!(answer, Answer::Right(_))).count()
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_uses_of_one_code_one_succeeds() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    let (authenticator, _) = acts.enrol(ann).await;
    for round in 0..rounds() {
        let code = authenticator.code(0);
        let mut tokens = Vec::new();
        // In one round for one challenge, in the next for ten.
        for _ in 0..if round % 2 == 0 { 1 } else { 10 } {
            tokens.push(acts.challenge(ann).await.token);
        }
        let answers = race(AT_ONCE, |number| {
            let (acts, code, token) = (acts.clone(), code.clone(), tokens[number % tokens.len()].clone());
            Box::pin(async move { acts.answer(ann, &token, &code).await })
        })
        .await;
        assert_eq!(right(&answers), 1, "round {round}: {answers:?}");
        assert!(answers.contains(&Answer::Right(Used::Authenticator)));
        app.clock.advance(STEP);
    }
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_uses_of_one_recovery_code_one_succeeds() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    let (_, mut codes) = acts.enrol(ann).await;
    for round in 0..rounds().min(20) {
        let code = codes.pop().unwrap();
        let mut tokens = Vec::new();
        for _ in 0..10 {
            tokens.push(acts.challenge(ann).await.token);
        }
        let answers = race(AT_ONCE, |number| {
            let (acts, code, token) = (acts.clone(), code.clone(), tokens[number % tokens.len()].clone());
            Box::pin(async move { acts.answer(ann, &token, &code).await })
        })
        .await;
        assert_eq!(right(&answers), 1, "round {round}: {answers:?}");
        if codes.is_empty() {
            codes = acts.replace_recovery_codes(ann).await;
        }
    }
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_uses_of_one_code_by_email_one_succeeds() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), somebody(&app, "ann").await);
    let (id, session) = (ann.id, ann.session());
    for round in 0..rounds().min(20) {
        let code = acts.send_to_session(id, session).await;
        let codes = race(AT_ONCE, |_| {
            let (acts, code) = (acts.clone(), code.clone());
            Box::pin(async move { acts.confirm_email(id, session, &code).await })
        })
        .await;
        assert_eq!(codes.iter().flatten().count(), 1, "round {round}");
        assert_eq!(acts.recovery_codes_left(id).await, 10);
    }
}

// twenty at once are no more than five.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wrong_codes_at_once_are_all_counted() {
    let app = TestApp::new().await;
    let (acts, ann) = (Acts::of(&app), app.user("ann").await.id);
    let (authenticator, _) = acts.enrol(ann).await;
    for round in 0..rounds().min(20) {
        let token = acts.challenge(ann).await.token;
        let answers = race(AT_ONCE, |_| {
            let (acts, wrong, token) = (acts.clone(), authenticator.wrong(), token.clone());
            Box::pin(async move { acts.answer(ann, &token, &wrong).await })
        })
        .await;
        let gone = answers.iter().filter(|answer| **answer == Answer::Gone).count();
        assert_eq!((right(&answers), gone), (0, AT_ONCE - 5), "round {round}: {answers:?}");
    }
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn turning_on_and_off_at_once_ends_in_one_of_both() {
    let app = TestApp::new().await;
    let (acts, actor) = (Acts::of(&app), app.user("ann").await);
    let ann = actor.id;
    for round in 0..rounds().min(20) {
        let authenticator = acts.begin(ann).await;
        race(2 * AT_ONCE, |number| {
            let (acts, code) = (acts.clone(), authenticator.code(0));
            Box::pin(async move {
                if number % 2 == 0 {
                    acts.confirm(ann, &code).await;
                } else {
                    acts.turn_off(ann).await;
                }
            })
        })
        .await;
        let seeds = "SELECT COUNT(*) FROM second_factors WHERE sealed_seed IS NOT NULL";
        let state = (acts.number(seeds).await, acts.recovery_codes_left(ann).await);
        match actor.me().await["otp_method"].as_str() {
            Some("authenticator") => assert_eq!(state, (1, 10), "round {round}"),
            Some("none") => assert_eq!((state, acts.rows().await), ((0, 0), 0), "round {round}"),
            other => panic!("{other:?}"),
        }
        acts.turn_off(ann).await;
        app.clock.advance(STEP);
    }
}
