//! What befalls somebody between the end of their request and its act, where a hash may wait for its turn: once that
//! was answered, nothing more comes into being in their name.

use std::time::Duration;

use gatehouse::sessions::Ending;
use gatehouse::users::Password;
use serde_json::json;

use super::wire::{bare, json as json_request};
use super::{Scene, Wire, rounds};
use crate::harness::{Actor, PASSWORD};

const OTHER_PASSWORD: &str = "sapphire lantern 88 meadow";
/// Hashes that take their time, one after the other.
const DEAR: [(&str, &str); 3] =
    [("ARGON2_MEMORY_KIB", "65536"), ("ARGON2_ITERATIONS", "6"), ("MAX_CONCURRENT_HASHES", "1")];
/// Between two looks at the queue of hashes: a loop without a pause would take the core that they need.
const BRIEFLY: Duration = Duration::from_millis(1);
/// How often each deed must have waited for its hash while its admin was banned, and how often that is tried.
const WIDE: usize = 3;
const TRIES: usize = 40;

/// Another admin, signed in.
async fn newcomer(scene: &Scene, admin: &Actor, name: &str) -> Actor {
    scene.clock.advance(Duration::from_secs(1));
    let new = json!({ "username": name, "password": PASSWORD, "roles": ["admin", "user"] });
    admin.post("/api/user/").json(&new).await.is(201);
    scene.sign_in(name).await
}

/// Makes an admin, whose password costs a hash if there is one.
fn creation(by: &Actor, name: &str, password: Option<&str>) -> Vec<u8> {
    let mut new = json!({ "username": name, "roles": ["admin", "user"] });
    if let Some(password) = password {
        new["password"] = json!(password);
    }
    json_request("POST", "/api/user/", Some(&by.access), &new)
}

/// Chooses another password, which costs two hashes.
fn own_password(by: &Actor) -> Vec<u8> {
    let new = OTHER_PASSWORD;
    let change = json!({ "old_password": PASSWORD, "new_password": new, "confirm_password": new });
    json_request("PATCH", "/api/auth/password/reset", Some(&by.access), &change)
}

/// What an admin does with the power that they have.
fn deeds(by: &Actor, pal: &Actor, round: usize) -> Vec<Vec<u8>> {
    let roles = if round.is_multiple_of(2) { json!(["tester", "user"]) } else { json!(["user"]) };
    vec![
        creation(by, &format!("sleeper{round}"), None),
        json_request("PATCH", &pal.path(), Some(&by.access), &json!({ "roles": roles })),
        bare("DELETE", &format!("{}/sessions", pal.path()), Some(&by.access)),
        own_password(by),
    ]
}

/// Takes their power from an admin, in one of four ways; when this returns, it was answered.
async fn disempower(scene: &Scene, admin: &Actor, second: &Actor, round: usize) {
    match round % 4 {
        0 => {
            let ban = format!("/api/admin/ban/{}", second.id);
            admin.post(&ban).json(&json!({ "reason": "caught" })).await.is(200);
        }
        1 => {
            admin.patch(&second.path()).json(&json!({ "roles": ["user"] })).await.is(200);
        }
        2 => {
            admin.delete(&second.path()).await.ok();
        }
        _ => {
            let ended = scene.inside.sessions.end(second.id, second.session(), Ending::Revoked).await;
            assert!(ended.unwrap());
        }
    }
}

/// What the deeds would change.
async fn state(scene: &Scene) -> [i64; 3] {
    [
        scene.number("SELECT COUNT(*) FROM users").await,
        scene.number("SELECT CAST(SUM(revision) AS BIGINT) FROM users").await,
        scene.number("SELECT COUNT(*) FROM sessions").await,
    ]
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn once_it_is_answered_that_an_admin_was_sent_away_nothing_more_happens_in_their_name() {
    let scene = Scene::new().await;
    let (admin, pal) = (scene.admin().await, scene.user("pal").await);
    let wire = Wire::to(&scene);
    let allowed = newcomer(&scene, &admin, "allowed").await;
    for deed in deeds(&allowed, &pal, rounds() + rounds() % 2) {
        let answer = wire.send(deed).await;
        assert!(matches!(answer.status, 200 | 201 | 204), "{answer:?}");
    }
    for round in 0..rounds() {
        let second = newcomer(&scene, &admin, &format!("second{round}")).await;
        scene.sign_in("pal").await; // so that there is a session to be ended
        let running: Vec<_> =
            deeds(&second, &pal, round).into_iter().map(|deed| tokio::spawn(wire.send(deed))).collect();
        // Sometimes the deeds are first, sometimes they are not.
        for _ in 0..(round / 4 % 8) * 8 {
            tokio::time::sleep(BRIEFLY).await;
        }
        disempower(&scene, &admin, &second, round).await;
        let before = state(&scene).await;
        for deed in running {
            let answer = deed.await.unwrap();
            assert!(matches!(answer.status, 200 | 201 | 204 | 401 | 403), "{round}: {answer:?}");
        }
        assert_eq!(state(&scene).await, before, "{round}");
    }
    scene.is_unharmed().await;
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_admin_who_is_banned_while_their_hash_waits_makes_nobody_and_keeps_no_new_password() {
    let scene = Scene::with(&DEAR).await;
    let admin = scene.admin().await;
    let password = Password::parse(PASSWORD).unwrap();
    let mut wide = [0; 2];
    for round in 0..TRIES {
        if wide.iter().all(|times| *times >= WIDE) {
            break;
        }
        let second = newcomer(&scene, &admin, &format!("second{round}")).await;
        let (deed, hashes) = match round % 2 {
            0 => (creation(&second, &format!("sleeper{round}"), Some(OTHER_PASSWORD)), 1),
            _ => (own_password(&second), 2),
        };
        let begun = scene.hashes().await.done;
        let (passwords, password) = (scene.inside.passwords.clone(), password.clone());
        let first = tokio::spawn(async move { passwords.hash(&password).await.is_ok() });
        while scene.inside.passwords.load().running == 0 && !first.is_finished() {
            tokio::time::sleep(BRIEFLY).await;
        }
        let deed = tokio::spawn(Wire::to(&scene).send(deed));
        while scene.inside.passwords.load().waiting == 0 && !deed.is_finished() {
            tokio::time::sleep(BRIEFLY).await;
        }
        disempower(&scene, &admin, &second, 0).await;
        let was_waiting = scene.inside.passwords.load().done < begun + 1 + hashes;
        let before = state(&scene).await;
        let answer = deed.await.unwrap();
        assert!(first.await.unwrap());
        assert_eq!(state(&scene).await, before, "{round}: {answer:?}");
        // 503: the machine is so slow that the wait would have been too long.
        if was_waiting && answer.status != 503 {
            assert_eq!(answer.status, 401, "{round}: {answer:?}");
            wide[round % 2] += 1;
        }
    }
    assert!(wide.iter().all(|times| *times >= WIDE), "they waited too seldom: {wide:?}");
    scene.is_unharmed().await;
}
