//! A second factor that somebody wants to get around.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{json as json_request, request};
use super::{Answer, Scene, Wire, operations, rounds};
use crate::harness::{Actor, Authenticator, Demand, PASSWORD, Reply, STEP, TestApp};

const OTP: &str = "/api/auth/OTP";
const OURS: &str = "http://localhost:8000";
const DAY: Duration = Duration::from_hours(24);
const MINUTE: Duration = Duration::from_secs(61);
const AT_ONCE: usize = 20;

/// The scene with mail on.
async fn with_mail() -> Scene {
    Scene::with(&[("EMAIL_METHOD", "inbox")]).await
}

async fn protected(app: &TestApp, name: &str) -> (Actor, Authenticator) {
    let actor = app.user(name).await;
    let (authenticator, _) = actor.enrol(app).await;
    (actor, authenticator)
}

fn answering(token: &str, code: &str) -> Vec<u8> {
    json_request("POST", OTP, None, &json!({"otp_token": token, "otp_code": code}))
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

fn codes_of(answers: &[Answer]) -> Vec<(u16, Value)> {
    answers.iter().map(|answer| (answer.status, answer.json()["code"].clone())).collect()
}

async fn mailed_code(app: &TestApp, name: &str) -> String {
    app.mail_to(&format!("{name}@example.com"), "code").await.code()
}

//
#[tokio::test]
async fn an_accepted_code_is_worth_nothing_within_its_step() {
    let scene = Scene::new().await;
    let (_, authenticator) = protected(&scene, "ann").await;
    let code = authenticator.next_code(&scene);
    let (first, second) = (scene.demand("ann").await, scene.demand("ann").await);
    scene.answer(&first.token, &code).await.is(200);
    for token in [&first.token, &second.token] {
        scene.answer(token, &code).await.refused(401, "invalid_otp");
    }
    scene.clock.advance(Duration::from_secs(29));
    scene.answer(&second.token, &code).await.refused(401, "invalid_otp");
    scene.answer(&second.token, &authenticator.next_code(&scene)).await.is(200);
    scene.is_unharmed().await;
}

// in one round for one challenge, in the next for ten.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_parallel_uses_of_a_code_exactly_one_succeeds() {
    let scene = Scene::new().await;
    let (_, authenticator) = protected(&scene, "ann").await;
    for round in 0..rounds() {
        // Wrong codes are counted for a day.
        scene.clock.advance(DAY + STEP);
        let mut tokens = Vec::new();
        for _ in 0..if round % 2 == 0 { 1 } else { 10 } {
            tokens.push(scene.demand("ann").await.token);
        }
        let code = authenticator.code(&scene);
        let uses = (0..AT_ONCE).map(|number| answering(&tokens[number % tokens.len()], &code));
        let answers = Wire::to(&scene).race(uses.collect()).await;
        assert_eq!(count(&answers, 200), 1, "round {round}: {:?}", codes_of(&answers));
        assert_eq!(count(&answers, 401), AT_ONCE - 1, "round {round}: {:?}", codes_of(&answers));
    }
    scene.is_unharmed().await;
}

// A-033 for codes by mail.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_parallel_uses_of_a_mailed_code_exactly_one_succeeds() {
    let scene = with_mail().await;
    scene.user("ann").await.enrol_mail(&scene).await;
    for round in 0..rounds() {
        scene.clock.advance(DAY);
        let token = scene.demand("ann").await.token;
        let code = mailed_code(&scene, "ann").await;
        let answers = Wire::to(&scene).race(vec![answering(&token, &code); AT_ONCE]).await;
        assert_eq!(count(&answers, 200), 1, "round {round}: {:?}", codes_of(&answers));
        assert_eq!(count(&answers, 401), AT_ONCE - 1, "round {round}: {:?}", codes_of(&answers));
    }
    scene.is_unharmed().await;
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_parallel_uses_of_a_recovery_code_exactly_one_succeeds() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let (_, mut codes) = ann.enrol(&scene).await;
    for round in 0..rounds() {
        scene.clock.advance(DAY);
        let code = codes.pop().expect("new ones come in time");
        let mut tokens = Vec::new();
        for _ in 0..if round % 2 == 0 { 1 } else { 10 } {
            tokens.push(scene.demand("ann").await.token);
        }
        let uses = (0..AT_ONCE).map(|number| answering(&tokens[number % tokens.len()], &code));
        let answers = Wire::to(&scene).race(uses.collect()).await;
        assert_eq!(count(&answers, 200), 1, "round {round}: {:?}", codes_of(&answers));
        assert_eq!(count(&answers, 401), AT_ONCE - 1, "round {round}: {:?}", codes_of(&answers));
        if codes.is_empty() {
            let in_it = answers.iter().find(|answer| answer.status == 200).unwrap().json();
            let ann = Actor::with_tokens(&scene, "ann", &in_it);
            let new = ann.post("/api/auth/OTP/recovery-codes").json(&json!({"password": PASSWORD})).await;
            codes = crate::harness::recovery_codes(&new.is(200).json());
        }
    }
}

//
#[tokio::test]
async fn codes_of_a_step_before_and_behind_count_and_none_before_one_that_did() {
    for (window, good) in [("1", [false, true, true, true, false]), ("0", [false, false, true, false, false])]
    {
        let scene = Scene::with(&[("TOTP_WINDOW", window)]).await;
        for (offset, good) in (-2_i32..=2).zip(good) {
            let name = format!("ann_{window}_{}", offset + 2);
            let (_, authenticator) = protected(&scene, &name).await;
            scene.clock.advance(STEP * 10);
            let now = scene.clock.now();
            let moment = if offset < 0 {
                now.before(STEP * offset.unsigned_abs())
            } else {
                now.after(STEP * offset.unsigned_abs())
            };
            let demand = scene.demand(&name).await;
            let reply = scene.answer(&demand.token, &authenticator.code_at(moment)).await;
            assert_eq!(reply.status(), if good { 200 } else { 401 }, "{window} {offset}: {reply:?}");
        }
    }
    let scene = Scene::new().await;
    let (_, authenticator) = protected(&scene, "ann").await;
    scene.clock.advance(STEP * 10);
    let now = scene.clock.now();
    let demand = scene.demand("ann").await;
    scene.answer(&demand.token, &authenticator.code_at(now.after(STEP))).await.is(200);
    let demand = scene.demand("ann").await;
    for over in [now.after(STEP), now, now.before(STEP)] {
        scene.answer(&demand.token, &authenticator.code_at(over)).await.refused(401, "invalid_otp");
    }
}

//
#[tokio::test]
async fn five_wrong_codes_end_the_challenge_and_no_right_one_revives_it() {
    let scene = Scene::new().await;
    let (_, authenticator) = protected(&scene, "ann").await;
    for wrong in [4, 5, 6] {
        scene.clock.advance(DAY);
        let demand = scene.demand("ann").await;
        for _ in 0..wrong {
            let code = authenticator.wrong_code(&scene);
            scene.answer(&demand.token, &code).await.refused(401, "invalid_otp");
        }
        let reply = scene.answer(&demand.token, &authenticator.next_code(&scene)).await;
        assert_eq!(reply.status(), if wrong < 5 { 200 } else { 401 }, "after {wrong}: {reply:?}");
    }
    scene.sign_in_with("ann", &authenticator.next_code(&scene)).await.me().await;
}

// A-035, T-50: the count outlives a restart and holds on every instance.
#[tokio::test]
async fn wrong_codes_are_counted_by_all_instances_together() {
    let scene = Scene::new().await;
    let other = scene.second_instance().await;
    let (_, authenticator) = protected(&scene, "ann").await;
    let demand = scene.demand("ann").await;
    let wrong = authenticator.wrong_code(&scene);
    for number in 0..5 {
        let app: &TestApp = if number % 2 == 0 { &scene } else { &other };
        app.answer(&demand.token, &wrong).await.refused(401, "invalid_otp");
    }
    let restarted = scene.restarted_with(&[]).await;
    let right = authenticator.next_code(&scene);
    for app in [&*scene, &other, &restarted] {
        app.answer(&demand.token, &right).await.refused(401, "invalid_otp");
    }
}

// A-036, T-09, T-50: new challenges give no new guesses.
#[tokio::test]
async fn an_accounts_budget_ends_guessing_by_always_new_challenges() {
    let scene = Scene::new().await;
    let (_, authenticator) = protected(&scene, "ann").await;
    let (mut looked_at, mut refused) = (0, 0);
    'guessing: for _ in 0..100 {
        let reply = scene.try_sign_in("ann", PASSWORD).await;
        if reply.status() == 429 {
            refused += 1;
            continue;
        }
        let token = Demand::of(&reply).token;
        for _ in 0..4 {
            let reply = scene.answer(&token, &authenticator.wrong_code(&scene)).await;
            match reply.status() {
                401 => looked_at += 1,
                429 => {
                    reply.refused(429, "rate_limited");
                    refused += 1;
                    continue 'guessing;
                }
                _ => panic!("{reply:?}"),
            }
        }
    }
    assert_eq!(looked_at, 20, "wrong codes of a day");
    assert!(refused >= 90, "{refused}");
    // Not even the right one, nor after a restart, nor by way of a proof.
    let restarted = scene.restarted_with(&[]).await;
    let demand = restarted.demand("ann").await;
    restarted.answer(&demand.token, &authenticator.next_code(&scene)).await.refused(429, "rate_limited");
    scene.clock.advance(DAY + MINUTE);
    scene.sign_in_with("ann", &authenticator.next_code(&scene)).await.me().await;
}

// who has the password and uses up the guesses of a day does not keep the owner out.
#[tokio::test]
async fn a_recovery_code_works_when_the_guesses_of_the_day_are_spent() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let (authenticator, recovery) = ann.enrol(&scene).await;
    let wrong = authenticator.wrong_code(&scene);
    let mut looked_at = 0;
    while looked_at < 20 {
        let token = scene.demand("ann").await.token;
        for _ in 0..4 {
            scene.answer(&token, &wrong).await.refused(401, "invalid_otp");
            looked_at += 1;
        }
    }
    let token = scene.demand("ann").await.token;
    scene.answer(&token, &authenticator.next_code(&scene)).await.refused(429, "rate_limited");
    // A wrong one is a failure like any other, and a right one comes in, once.
    scene.answer(&token, "AAAAA-AAAAA-AAAAA-AAAAA-AAAAA").await.refused(401, "invalid_otp");
    let back = scene.answer(&token, &recovery[0]).await.is(200).json();
    let back = Actor::with_tokens(&scene, "ann", &back);
    back.reauthenticate(Some(&authenticator.next_code(&scene))).await.refused(429, "rate_limited");
    back.reauthenticate(Some(&recovery[0])).await.refused(401, "invalid_otp");
    back.reauthenticate(Some(&recovery[1])).await.is(200);
    back.change_method("none", &recovery[2]).await.is(200);
    scene.sign_in("ann").await.me().await;
}

// wherever a code is looked at, it is counted for the same budget.
#[tokio::test]
async fn guesses_by_a_stolen_session_are_counted_too() {
    let scene = Scene::new().await;
    let (ann, authenticator) = protected(&scene, "ann").await;
    let wrong = authenticator.wrong_code(&scene);
    let mut looked_at = 0;
    for number in 0..40 {
        let reply = if number % 2 == 0 {
            ann.reauthenticate(Some(&wrong)).await
        } else {
            ann.change_method("none", &wrong).await
        };
        match reply.status() {
            401 => looked_at += 1,
            _ => _ = reply.refused(429, "rate_limited"),
        }
    }
    assert_eq!(looked_at, 20);
    assert_eq!(ann.me().await["otp_method"], "authenticator");
}

// A-036, T-09: at once they don't slip by each other either.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_parallel_wrong_codes_few_are_looked_at() {
    let scene = Scene::new().await;
    let (_, authenticator) = protected(&scene, "ann").await;
    let mut tokens = Vec::new();
    for _ in 0..10 {
        tokens.push(scene.demand("ann").await.token);
    }
    let wrong = authenticator.wrong_code(&scene);
    let guesses = (0..50).map(|number| answering(&tokens[number % 10], &wrong)).collect();
    let answers = Wire::to(&scene).race(guesses).await;
    assert_eq!((count(&answers, 200), count(&answers, 401), count(&answers, 429)), (0, 20, 30));
}

// Whoever uses them up has the password, or a session: the owner learns it, and once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_owner_is_told_that_the_codes_of_a_day_are_used_up() {
    let scene = with_mail().await;
    let told = async |name: &str| {
        let wanted = "letter = 'second-factor-guessed'";
        scene
            .number(&format!(
                "SELECT COUNT(*) FROM mails WHERE {wanted} AND recipient = '{name}@example.com'"
            ))
            .await
    };
    // Ann's at the door, all at once; Bob's by a session, one after the other and in both ways.
    let (_, anns) = protected(&scene, "ann").await;
    let (bob, bobs) = protected(&scene, "bob").await;
    let mut tokens = Vec::new();
    for _ in 0..10 {
        tokens.push(scene.demand("ann").await.token);
    }
    let wrong = anns.wrong_code(&scene);
    let guesses = (0..50).map(|number| answering(&tokens[number % 10], &wrong)).collect();
    assert_eq!(count(&Wire::to(&scene).race(guesses).await, 401), 20);
    let wrong = bobs.wrong_code(&scene);
    for number in 0..20 {
        assert_eq!(told("bob").await, 0, "{number}");
        let reply = match number % 2 {
            0 => bob.reauthenticate(Some(&wrong)).await,
            _ => bob.change_method("none", &wrong).await,
        };
        reply.refused(401, "invalid_otp");
    }
    bob.reauthenticate(Some(&wrong)).await.refused(429, "rate_limited");
    for name in ["ann", "bob"] {
        let letter = scene.mail_to(&format!("{name}@example.com"), "second-factor-guessed").await;
        assert!(letter.text.contains(name) && letter.text.contains("Change your password"), "{letter:?}");
        assert_eq!(told(name).await, 1, "{name}");
    }
    // The next day is another.
    scene.clock.advance(DAY + MINUTE);
    for number in 0..20 {
        let token = scene.demand("ann").await.token;
        scene.answer(&token, &anns.wrong_code(&scene)).await.refused(401, "invalid_otp");
        assert_eq!(told("ann").await, if number < 19 { 1 } else { 2 }, "{number}");
    }
    assert_eq!(told("bob").await, 1);
    scene.is_unharmed().await;
}

// A-037, T-51
#[tokio::test]
async fn a_code_needs_its_own_living_challenge() {
    let scene = Scene::new().await;
    let (_, anns) = protected(&scene, "ann").await;
    let (mallory, mallorys) = protected(&scene, "mallory").await;
    // None, one that never was, an access token, a refresh token.
    let right = anns.next_code(&scene);
    let access = mallory.access.clone();
    scene.post(OTP).json(&json!({"otp_code": right})).await.refused(401, "invalid_otp");
    for token in ["", "x", &"A".repeat(43), &access, &mallory.refresh] {
        scene.answer(token, &right).await.refused(401, "invalid_otp");
    }
    // Somebody else's, either way.
    let (of_ann, of_mallory) = (scene.demand("ann").await, scene.demand("mallory").await);
    scene.answer(&of_mallory.token, &right).await.refused(401, "invalid_otp");
    scene.answer(&of_ann.token, &mallorys.code(&scene)).await.refused(401, "invalid_otp");
    let named = json!({"otp_token": of_mallory.token, "otp_code": right, "username": "ann"});
    scene.post(OTP).json(&named).await.refused(422, "validation_failed");
    // Used.
    scene.answer(&of_ann.token, &right).await.is(200);
    scene.answer(&of_ann.token, &anns.next_code(&scene)).await.refused(401, "invalid_otp");
    // Expired.
    let late = scene.demand("ann").await;
    scene.clock.advance(Duration::from_secs(301));
    scene.answer(&late.token, &anns.code(&scene)).await.refused(401, "invalid_otp");
    // Of the old password, of the old method, of a banned account.
    let ann = scene.sign_in_with("ann", &anns.next_code(&scene)).await;
    let old = scene.demand("ann").await;
    let change = json!({"old_password": PASSWORD, "new_password": "sapphire lantern 88 meadow",
        "confirm_password": "sapphire lantern 88 meadow"});
    ann.patch("/api/auth/password/reset").json(&change).await.is(200);
    scene.answer(&old.token, &anns.next_code(&scene)).await.refused(401, "invalid_otp");
    let back = json!({"old_password": "sapphire lantern 88 meadow", "new_password": PASSWORD,
        "confirm_password": PASSWORD});
    ann.patch("/api/auth/password/reset").json(&back).await.is(200);
    scene.answer(&old.token, &anns.next_code(&scene)).await.refused(401, "invalid_otp");
    let banned = scene.demand("ann").await;
    let admin = scene.admin().await;
    admin.patch(&ann.path()).json(&json!({"is_active": false})).await.is(200);
    scene.answer(&banned.token, &anns.next_code(&scene)).await.refused(401, "invalid_otp");
    admin.patch(&ann.path()).json(&json!({"is_active": true})).await.is(200);
    scene.answer(&banned.token, &anns.next_code(&scene)).await.refused(401, "invalid_otp");
    scene.is_unharmed().await;
}

//
#[tokio::test]
async fn a_challenge_is_no_token_anywhere() {
    let scene = Scene::new().await;
    protected(&scene, "ann").await;
    let token = scene.demand("ann").await.token;
    let client = scene.with_bearer(&token);
    let mut tried = 0;
    for operation in operations(&scene).iter().filter(|operation| !operation.is_open) {
        operation.ask(&client, Uuid::nil()).await.refused(401, "token_invalid");
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
    for name in ["gatehouse", "gatehouse-device", "gatehouse-otp"] {
        let cookie = format!("{name}={token}");
        scene.get("/api/user/me").header("cookie", &cookie).await.refused(401, "token_invalid");
    }
    client.post("/api/auth/logout").await.refused(401, "token_invalid");
    scene.is_unharmed().await;
}

//
#[tokio::test]
async fn nobody_talks_the_server_into_the_weaker_factor() {
    let scene = with_mail().await;
    let (ann, authenticator) = protected(&scene, "ann").await;
    let demand = scene.demand("ann").await;
    let send = scene.post("/api/auth/OTP/send").json(&json!({"otp_token": demand.token})).await;
    assert!((400..500).contains(&send.status()), "{send:?}");
    assert!(!scene.letters_to("ann@example.com").await.contains(&"code".to_owned()));
    for method in ["email", "none"] {
        let body = json!({"otp_token": demand.token, "otp_code": "000000", "otp_method": method});
        scene.post(OTP).json(&body).await.refused(422, "validation_failed");
    }
    // A genuine mailed code, of her own session, is no answer to it.
    ann.post("/api/auth/OTP/send").await.is(202);
    let mailed = mailed_code(&scene, "ann").await;
    scene.answer(&demand.token, &mailed).await.refused(401, "invalid_otp");
    ann.change_method("none", &mailed).await.refused(401, "invalid_otp");
    let admin = scene.admin().await;
    for who in [&ann, &admin] {
        for method in ["none", "email"] {
            for body in [
                json!({"otp_method": method}),
                json!({"otp_method": method, "description": "x"}),
                json!({"otp_secret": "A"}),
                json!({"recovery_codes": []}),
            ] {
                for verb in ["PATCH", "PUT"] {
                    let reply = who.ask(verb, &ann.path()).json(&body).await;
                    reply.refused(422, "validation_failed");
                }
            }
        }
    }
    assert_eq!(ann.me().await["otp_method"], "authenticator");
    scene.answer(&demand.token, &authenticator.next_code(&scene)).await.is(200);
    scene.is_unharmed().await;
}

//
#[tokio::test]
async fn an_access_token_alone_turns_nothing_off() {
    let scene = Scene::new().await;
    let (ann, authenticator) = protected(&scene, "ann").await;
    for body in
        [json!({}), json!({"otp_code": ""}), json!({"otp_code": "000000"}), json!({"otp_code": "none"})]
    {
        ann.patch("/api/auth/OTP/none").json(&body).await.refused(401, "invalid_otp");
    }
    ann.patch("/api/auth/OTP/none").await.refused(401, "invalid_otp");
    for body in [json!({"otp_code": null}), json!({"otp_code": 0}), json!({"otp_code": true})] {
        let reply = ann.patch("/api/auth/OTP/none").json(&body).await;
        assert!(matches!(reply.status(), 401 | 422), "{reply:?}");
    }
    scene.clock.advance(Duration::from_secs(601));
    let right = authenticator.next_code(&scene);
    ann.change_method("none", &right).await.refused(401, "reauthentication_required");
    scene.with_bearer("x").patch("/api/auth/OTP/none").json(&json!({"otp_code": right})).await.is(401);
    Demand::of(&scene.try_sign_in("ann", PASSWORD).await);
    let mallory = scene.user("mallory").await;
    assert!(mallory.change_method("none", &right).await.status() >= 400);
    assert_eq!(ann.me().await["otp_method"], "authenticator");
    scene.is_unharmed().await;
}

//
#[tokio::test]
async fn no_way_leads_to_another_persons_seed() {
    let scene = Scene::new().await;
    let (ann, authenticator) = protected(&scene, "ann").await;
    let secret = authenticator.uri.split("secret=").nth(1).unwrap().split('&').next().unwrap();
    let (admin, mallory) = (scene.admin().await, scene.user("mallory").await);
    for who in [&mallory, &admin] {
        for query in ["", "?user=ann", &format!("?uuid={}", ann.id), "?username=ann"] {
            let reply = who.get(&format!("/api/auth/QR{query}")).header("accept", "application/json").await;
            let begun = reply.json();
            assert_ne!(begun["secret"], secret);
            assert!(!begun["uri"].as_str().unwrap_or_default().contains("ann"), "{begun}");
        }
    }
    ann.get("/api/auth/QR").await.refused(409, "conflict");
    scene.get("/api/auth/QR").await.refused(401, "token_invalid");
    for path in
        ["/api/auth/QR/ann", &format!("/api/user/{}/QR", ann.id), "/api/auth/OTP", "/api/auth/OTP/secret"]
    {
        assert!(matches!(admin.get(path).await.status(), 404 | 405), "{path}");
    }
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn turning_on_and_off_at_once_ends_in_one_of_both() {
    let scene = Scene::new().await;
    scene.user("ann").await;
    for round in 0..rounds() {
        scene.clock.advance(DAY + STEP);
        let ann = scene.sign_in("ann").await;
        let authenticator = ann.begin_authenticator().await;
        let (now, next) = (authenticator.code(&scene), authenticator.code_at(scene.clock.now().after(STEP)));
        let patch = |method: &str, code: &str| {
            let path = format!("/api/auth/OTP/{method}");
            json_request("PATCH", &path, Some(&ann.access), &json!({"otp_code": code}))
        };
        let acts = (0..2 * AT_ONCE)
            .map(|number| if number % 2 == 0 { patch("authenticator", &now) } else { patch("none", &next) });
        let answers = Wire::to(&scene).race(acts.collect()).await;
        let on = ann.me().await["otp_method"] == "authenticator";
        assert!(count(&answers, 200) >= 1, "round {round}: {:?}", codes_of(&answers));
        assert_eq!(count(&answers, 200) % 2 == 1, on, "round {round}: {:?}", codes_of(&answers));
        scene.clock.advance(DAY);
        let reply = scene.try_sign_in("ann", PASSWORD).await;
        if on {
            // Never on without its seed.
            let token = Demand::of(&reply).token;
            let tokens = scene.answer(&token, &authenticator.code(&scene)).await.is(200).json();
            let ann = Actor::with_tokens(&scene, "ann", &tokens);
            ann.change_method("none", &authenticator.next_code(&scene)).await.is(200);
        } else {
            reply.is(200);
        }
    }
    scene.is_unharmed().await;
}

//
#[tokio::test]
async fn a_code_is_six_digits_and_nothing_that_looks_like_them() {
    let scene = Scene::new().await;
    let (_, authenticator) = protected(&scene, "ann").await;
    let code = authenticator.next_code(&scene);
    let wide: String = code.chars().map(|digit| char::from_u32(u32::from(digit) + 0xFEE0).unwrap()).collect();
    let arabic: String =
        code.chars().map(|digit| char::from_u32(u32::from(digit) + 0x630).unwrap()).collect();
    let token = scene.demand("ann").await.token;
    let texts = [
        format!(" {code}"),
        format!("{code} "),
        wide,
        arabic,
        format!("{code}\0"),
        format!("{code}\n"),
        "0x1E240".to_owned(),
        "1e5".to_owned(),
        format!("{code}0"),
        format!("0{code}"),
        format!("-{code}"),
        format!("+{code}"),
        code[..5].to_owned(),
        format!("{}-{}", &code[..3], &code[3..]),
        String::new(),
    ];
    for text in &texts {
        scene.answer(&token, text).await.refused(401, "invalid_otp");
    }
    let number: u64 = code.parse().unwrap();
    for value in
        [json!(number), json!([code]), json!({"$ne": ""}), json!(true), json!(null), json!(-1), json!(1e5)]
    {
        let reply = scene.post(OTP).json(&json!({"otp_token": token, "otp_code": value})).await;
        assert!(matches!(reply.status(), 401 | 422), "{value}: {reply:?}");
    }
    // None of them was a guess.
    scene.answer(&token, &code).await.is(200);
}

//
#[tokio::test]
async fn a_mailed_code_is_good_for_what_it_was_sent_for_and_no_longer() {
    let scene = with_mail().await;
    let (ann, bob) = (scene.user("ann").await, scene.user("bob").await);
    ann.enrol_mail(&scene).await;
    bob.enrol_mail(&scene).await;
    scene.clock.advance(MINUTE);
    // Two requests: the first code after the second was issued.
    let token = scene.demand("ann").await.token;
    let first = mailed_code(&scene, "ann").await;
    scene.clock.advance(MINUTE);
    scene.post("/api/auth/OTP/send").json(&json!({"otp_token": token})).await.is(202);
    scene.answer(&token, &first).await.refused(401, "invalid_otp");
    // Of another sign-in, of another user, of a session.
    let second = mailed_code(&scene, "ann").await;
    let other = scene.demand("ann").await.token;
    scene.answer(&other, &second).await.refused(401, "invalid_otp");
    let bobs = scene.demand("bob").await.token;
    scene.answer(&bobs, &second).await.refused(401, "invalid_otp");
    ann.change_method("none", &second).await.refused(401, "invalid_otp");
    scene.answer(&token, &second).await.is(200);
    // After its time.
    scene.clock.advance(Duration::from_hours(1));
    let token = scene.demand("bob").await.token;
    let late = mailed_code(&scene, "bob").await;
    scene.clock.advance(Duration::from_secs(601));
    scene.answer(&token, &late).await.refused(401, "invalid_otp");
    scene.is_unharmed().await;
}

//
#[tokio::test]
async fn a_recovery_code_is_no_password_and_can_never_be_read() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let (_, codes) = ann.enrol(&scene).await;
    let admin = scene.admin().await;
    scene.try_sign_in("ann", &codes[0]).await.refused(401, "invalid_credentials");
    scene.clock.advance(Duration::from_secs(2));
    for path in ["/api/user/me", "/api/auth/sessions", "/api/auth/OTP/recovery-codes"] {
        let reply = ann.get(path).await;
        assert!(!codes.iter().any(|code| reply.text().contains(code)), "{reply:?}");
    }
    for path in [ann.path(), format!("{}/history", ann.path()), "/api/user/?q=ann".to_owned()] {
        let reply = admin.get(&path).await;
        assert!(!codes.iter().any(|code| reply.text().contains(code)), "{reply:?}");
    }
    // It must not serve as the password in the same sign-in.
    let body = json!({"password": codes[1], "otp_code": codes[1]});
    ann.post("/api/auth/reauthenticate").json(&body).await.refused(401, "invalid_credentials");
    scene.clock.advance(Duration::from_secs(4));
    let demand = scene.demand("ann").await;
    scene.answer(&demand.token, &codes[1]).await.is(200);
}

// A-047, T-11
#[tokio::test]
async fn a_forgotten_password_is_no_way_around_it() {
    let scene = with_mail().await;
    let (ann, authenticator) = protected(&scene, "ann").await;
    let other = "sapphire lantern 88 meadow";
    let token = scene.reset_token("ann").await;
    let reply = scene.reset(&token, other).await;
    assert!(reply.is(200).header("set-cookie").is_none());
    assert!(!reply.text().contains("token"), "{reply:?}");
    ann.get("/api/user/me").await.refused(401, "token_invalid");
    let demand = Demand::of(&scene.try_sign_in("ann", other).await);
    assert_eq!(demand.method, "authenticator");
    scene.answer(&demand.token, &authenticator.wrong_code(&scene)).await.refused(401, "invalid_otp");
    scene.answer(&demand.token, &authenticator.next_code(&scene)).await.is(200);
    // Nor is a link to the page, for somebody with a browser.
    let token = scene.reset_token("ann").await;
    let form = [("token", &*token), ("new_password", PASSWORD), ("confirm_password", PASSWORD)];
    let page = scene.post("/reset-password/reset").header("origin", OURS).form(&form).await;
    assert!(page.is(200).header("set-cookie").is_none(), "{page:?}");
    Demand::of(&scene.try_sign_in("ann", PASSWORD).await);
    scene.is_unharmed().await;
}

// nor the proof of an address, nor an account that comes back.
#[tokio::test]
async fn no_other_way_in_forgets_it() {
    let scene = with_mail().await;
    let (ann, authenticator) = protected(&scene, "ann").await;
    ann.patch(&ann.path()).json(&json!({"email": "new@example.com"})).await.is(200);
    let proof = scene.mail_to("new@example.com", "verification").await.token();
    let reply = scene.verify(&proof).await;
    assert!(reply.is(200).header("set-cookie").is_none() && !reply.text().contains("access_token"));
    Demand::of(&scene.try_sign_in("new@example.com", PASSWORD).await);
    // Deleted by oneself, the account comes back by signing in: with both factors.
    ann.delete(&ann.path()).await.is(200);
    let demand = Demand::of(&scene.try_sign_in("ann", PASSWORD).await);
    let admin = scene.admin().await;
    let deleted = async || {
        let gone = admin.get("/api/user/?deleted=true").await.is(200).json();
        gone.as_array().unwrap().len()
    };
    assert_eq!(deleted().await, 1, "half a sign-in brings nothing back");
    scene.answer(&demand.token, &authenticator.next_code(&scene)).await.is(200);
    assert_eq!(deleted().await, 0);
    // Every page that takes a password.
    for path in ["/signin", "/login"] {
        let form = [("username", "ann"), ("password", PASSWORD)];
        let page = scene.post(path).header("origin", OURS).form(&form).await;
        assert!(
            page.set_cookie("gatehouse").is_none() && page.set_cookie("gatehouse-otp").is_some(),
            "{page:?}"
        );
    }
}

//
#[tokio::test]
async fn half_a_sign_in_opens_nothing() {
    let scene = Scene::with(&[("PROTECTED_INTERACTIVE_DOCS", "True"), ("PUBLIC_API_DOCS", "False")]).await;
    scene.admin().await.enrol(&scene).await;
    let form = [("username", "root"), ("password", PASSWORD)];
    let page = scene.post("/signin").header("origin", OURS).form(&form).await;
    let set: Vec<&str> =
        page.headers().get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    let cookies: Vec<&str> = set.iter().map(|cookie| cookie.split(';').next().unwrap()).collect();
    let cookies = cookies.join("; ");
    let get = async |path: &str| scene.get(path).header("cookie", &cookies).await;
    for path in ["/api/user/me", "/api/auth/sessions", "/api/auth/csrf", "/api/user/"] {
        get(path).await.refused(401, "token_invalid");
    }
    for path in ["/docs", "/openapi.json"] {
        get(path).await.is(401);
    }
    let docs = get("/interactive-docs").await;
    assert!(!docs.text().to_lowercase().contains("swagger"), "{docs:?}");
    assert!(get("/otp").await.is(200).set_cookie("gatehouse").is_none());
    let pages = [("/otp", ""), ("/otp", "otp_code="), ("/otp", "otp_code=000000"), ("/signin", "next=/docs")];
    for (path, body) in pages {
        let ask = scene.post(path).header("origin", OURS).header("cookie", &cookies);
        let reply = ask.body("application/x-www-form-urlencoded", body).await;
        assert!(reply.set_cookie("gatehouse").is_none() && reply.status() >= 400, "{path} {body}: {reply:?}");
    }
    scene.post("/api/auth/token/refresh").header("cookie", &cookies).json(&json!({})).await.is(422);
    scene.is_unharmed().await;
}

// A-050, T-38: an empty answer to any step is none.
#[tokio::test]
async fn nothing_is_no_answer() {
    let scene = with_mail().await;
    let (ann, authenticator) = protected(&scene, "ann").await;
    let demand = scene.demand("ann").await;
    let reset = scene.reset_token("ann").await;
    scene.sign_up("newcomer", "newcomer@example.com", PASSWORD).await.is(202);
    let cookie = ("cookie", format!("gatehouse-otp={}", demand.token));
    let steps = [
        ("POST", "/api/auth/login", None),
        ("POST", "/api/auth/OTP", None),
        ("POST", "/api/auth/register", None),
        ("POST", "/api/auth/email/verify", None),
        ("POST", "/api/auth/email/verify/request", None),
        ("POST", "/api/auth/forgot-password/request", None),
        ("POST", "/api/auth/forgot-password/reset", None),
        ("POST", "/api/auth/reauthenticate", Some(&ann.access)),
        ("PATCH", "/api/auth/password/reset", Some(&ann.access)),
        ("PATCH", "/api/auth/OTP/none", Some(&ann.access)),
        ("PATCH", "/api/auth/OTP/email", Some(&ann.access)),
        ("POST", "/api/auth/OTP/recovery-codes", Some(&ann.access)),
        ("POST", "/api/auth/token/refresh", None),
    ];
    for (method, path, bearer) in steps {
        for (kind, body) in [
            (None, ""),
            (Some("application/json"), ""),
            (Some("application/json"), "{}"),
            (Some("application/json"), "null"),
            (Some("application/json"), "[]"),
            (Some("application/json"), "\"\""),
            (Some("application/x-www-form-urlencoded"), ""),
            (
                Some("application/x-www-form-urlencoded"),
                "otp_code=&otp_token=&token=&new_password=&confirm_password=",
            ),
        ] {
            let bearer = bearer.map(|token| format!("Bearer {token}"));
            let mut headers = vec![(cookie.0, &*cookie.1)];
            headers.extend(kind.map(|kind| ("content-type", kind)));
            headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
            headers.push(("content-length", if body.is_empty() { "0" } else { "" }));
            headers.retain(|(_, value)| !value.is_empty());
            let answer = Wire::to(&scene).send(request(method, path, &headers, body)).await;
            assert!((400..500).contains(&answer.status), "{method} {path} {kind:?} {body:?}: {answer:?}");
            assert!(!answer.text.contains("set-cookie: gatehouse="), "{answer:?}");
        }
    }
    for path in ["/signin", "/otp", "/signup", "/verify", "/forgot-password/request", "/reset-password/reset"]
    {
        for body in ["", "token=", "username=&password=", "otp_code="] {
            let ask = scene.post(path).header("origin", OURS).header("cookie", &cookie.1);
            let reply: Reply = ask.body("application/x-www-form-urlencoded", body).await;
            assert!((400..500).contains(&reply.status()), "{path} {body:?}: {reply:?}");
            assert!(reply.set_cookie("gatehouse").is_none(), "{reply:?}");
        }
    }
    // Nothing has moved, and every step can still be taken.
    assert_eq!(ann.me().await["otp_method"], "authenticator");
    scene.clock.advance(Duration::from_secs(30));
    scene.answer(&demand.token, &authenticator.code(&scene)).await.is(200);
    scene.reset(&reset, "sapphire lantern 88 meadow").await.is(200);
    scene.verify(&scene.mail_to("newcomer@example.com", "verification").await.token()).await.is(200);
    scene.is_unharmed().await;
}

// on this instance at once, on another within a second.
#[tokio::test]
async fn a_change_of_the_second_factor_or_the_address_ends_old_tokens_everywhere() {
    let scene = with_mail().await;
    let other = scene.second_instance().await;
    let ann = scene.user("ann").await;
    let ends = async |thief: &Actor| {
        thief.get("/api/user/me").await.refused(401, "token_invalid");
        let asked = || thief.at(&other).get("/api/user/me");
        crate::harness::eventually(asked, |reply: &Reply| reply.status() == 401).await;
        for app in [&*scene, &other] {
            let refresh = json!({"refresh_token": thief.refresh});
            app.post("/api/auth/token/refresh").json(&refresh).await.refused(401, "token_invalid");
        }
    };
    let thief = scene.sign_in("ann").await;
    thief.at(&other).me().await;
    let (authenticator, _) = ann.enrol(&scene).await;
    ends(&thief).await;
    let thief = scene.sign_in_with("ann", &authenticator.next_code(&scene)).await;
    thief.at(&other).me().await;
    ann.change_method("none", &authenticator.next_code(&scene)).await.is(200);
    ends(&thief).await;
    let thief = scene.sign_in("ann").await;
    thief.at(&other).me().await;
    ann.patch(&ann.path()).json(&json!({"email": "new@example.com"})).await.is(200);
    let proof = scene.mail_to("new@example.com", "verification").await.token();
    scene.verify(&proof).await.is(200);
    ends(&thief).await;
    ann.me().await;
    ann.at(&other).me().await;
    scene.is_unharmed().await;
}
