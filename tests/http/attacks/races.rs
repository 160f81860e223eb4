//! Things that happen at once.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use super::wire::{bare, json as json_request, request};
use super::{Scene, Wire, rounds};
use crate::harness::{Actor, Client, PASSWORD};

const OTHER_PASSWORD: &str = "sapphire lantern 88 meadow";

fn registration(username: &str, email: &str) -> Vec<u8> {
    let body =
        json!({"username": username, "email": email, "password": PASSWORD, "confirm_password": PASSWORD});
    json_request("POST", "/api/auth/register", None, &body)
}

fn login(username: &str, password: &str) -> Vec<u8> {
    let body = json!({"username": username, "password": password});
    json_request("POST", "/api/auth/login", None, &body)
}

fn refresh(token: &str) -> Vec<u8> {
    json_request("POST", "/api/auth/token/refresh", None, &json!({"refresh_token": token}))
}

fn count(answers: &[super::Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_who_want_one_name_one_gets_it() {
    let scene = Scene::with(&[("THROTTLE_REGISTER", "1000/1h")]).await;
    for round in 0..rounds().min(20) {
        let name = format!("name_{round}");
        let requests = (0..50).map(|number| registration(&name, &format!("n{number}_{round}@example.com")));
        let answers = Wire::to(&scene).race(requests.collect()).await;
        assert_eq!(count(&answers, 201), 1, "{answers:?}");
        for answer in answers.iter().filter(|answer| !matches!(answer.status, 201 | 503)) {
            assert_eq!(answer.json()["code"], "username_taken", "{answer:?}");
        }
        let rows = scene.number(&format!("SELECT COUNT(*) FROM users WHERE username = '{name}'")).await;
        assert_eq!(rows, 1);
        let told = "SELECT COUNT(*) FROM user_history h JOIN users u ON u.id = h.user_id WHERE u.username = ";
        assert_eq!(scene.number(&format!("{told}'{name}'")).await, 1);
    }
    scene.is_unharmed().await;
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_who_want_one_address_in_any_capitals_one_gets_it() {
    let scene = Scene::with(&[("THROTTLE_REGISTER", "1000/1h")]).await;
    for round in 0..rounds().min(20) {
        let requests = (0..50).map(|number| {
            let address = if number % 2 == 0 {
                format!("Twin{round}@Example.COM")
            } else {
                format!("twin{round}@example.com")
            };
            registration(&format!("n{number}_{round}"), &address)
        });
        let answers = Wire::to(&scene).race(requests.collect()).await;
        assert_eq!(count(&answers, 201), 1, "{answers:?}");
        for answer in answers.iter().filter(|answer| !matches!(answer.status, 201 | 503)) {
            assert_eq!(answer.json()["code"], "email_taken", "{answer:?}");
        }
    }
    scene.is_unharmed().await;
}

// The same person signs in from everywhere at once: nothing locks, nobody waits for a deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_person_may_sign_in_many_times_at_once() {
    let scene = Scene::new().await;
    scene.user("ann").await;
    for _ in 0..rounds() {
        let answers = Wire::to(&scene).race(vec![login("ann", PASSWORD); 5]).await;
        assert_eq!(count(&answers, 200), 5, "{answers:?}");
    }
    let stuck = scene.number("SELECT COUNT(*) FROM throttles WHERE pending <> 0").await;
    assert_eq!(stuck, 0);
}

// A-067, T-03
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_refreshes_at_once_make_one_chain() {
    let scene = Scene::new().await;
    scene.user("ann").await;
    for _ in 0..rounds() {
        let ann = scene.sign_in("ann").await;
        let answers = Wire::to(&scene).race(vec![refresh(&ann.refresh); 50]).await;
        let successors: Vec<String> = answers
            .iter()
            .filter(|answer| answer.status == 200)
            .map(|answer| answer.json()["refresh_token"].as_str().unwrap().to_owned())
            .collect();
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 503)), "{answers:?}");
        assert!(!successors.is_empty());
        assert!(successors.iter().all(|successor| *successor == successors[0]), "two living children");
        let next = Wire::to(&scene).send(refresh(&successors[0])).await;
        assert_eq!(next.status, 200, "{next:?}");
        // Two generations old: somebody has a copy.
        assert_eq!(Wire::to(&scene).send(refresh(&ann.refresh)).await.status, 401);
        let child = next.json()["refresh_token"].as_str().unwrap().to_owned();
        assert_eq!(Wire::to(&scene).send(refresh(&child)).await.status, 401);
    }
    scene.is_unharmed().await;
}

// A-161, without the mailed reset of a later part: the change of the own password against everything old.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_password_change_in_a_storm_everything_old_is_dead() {
    let scene = Scene::new().await;
    let mut passwords = (PASSWORD, OTHER_PASSWORD);
    let mut changed = 0;
    scene.user("ann").await;
    for _ in 0..rounds() {
        scene.clock.advance(Duration::from_secs(61));
        let (old, new) = passwords;
        let acting = sign_in(&scene, "ann", old).await;
        let stolen = sign_in(&scene, "ann", old).await;
        let change = json!({"old_password": old, "new_password": new, "confirm_password": new});
        let mut requests =
            vec![json_request("PATCH", "/api/auth/password/reset", Some(&acting.access), &change)];
        requests.extend(vec![login("ann", old); 3]);
        requests.extend(vec![refresh(&stolen.refresh); 8]);
        let answers = Wire::to(&scene).race(requests).await;
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 401 | 429 | 503)), "{answers:?}");
        if answers[0].status != 200 {
            continue; // the sign-ins took every place: nothing was changed
        }
        changed += 1;
        passwords = (new, old);
        for answer in &answers[1..] {
            if answer.status == 200 {
                let old = Actor::with_tokens(&scene, "ann", &answer.json());
                old.get("/api/user/me").await.refused(401, "token_invalid");
                let again = Wire::to(&scene).send(refresh(&old.refresh)).await;
                assert_eq!(again.status, 401, "{again:?}");
            }
        }
        stolen.get("/api/user/me").await.refused(401, "token_invalid");
        acting.me().await;
        scene.clock.advance(Duration::from_secs(61));
        scene.try_sign_in("ann", old).await.refused(401, "invalid_credentials");
    }
    assert!(changed > 0, "no password was ever changed in the storm");
    scene.is_unharmed().await;
}

async fn sign_in(scene: &Scene, name: &str, password: &str) -> Actor {
    let reply = scene.try_sign_in(name, password).await;
    Actor::with_tokens(scene, name, &reply.is(200).json())
}

fn switch(admin: &Actor, target: &Actor, active: bool) -> Vec<u8> {
    json_request("PATCH", &target.path(), Some(&admin.access), &json!({"is_active": active}))
}

fn ban(by: &Actor, target: &Actor) -> Vec<u8> {
    let path = format!("/api/admin/ban/{}", target.id);
    json_request("POST", &path, Some(&by.access), &json!({"reason": "spam"}))
}

fn unban(by: &Actor, target: &Actor) -> Vec<u8> {
    let path = format!("/api/admin/unban/{}", target.id);
    json_request("POST", &path, Some(&by.access), &json!({"reason": "sorry"}))
}

// whatever the order, nothing that was issued before the last ban is alive, and nothing at all while banned.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ban_in_a_storm_of_refreshes_and_sign_ins_leaves_no_living_token() {
    let scene = Scene::new().await;
    scene.user("ann").await;
    for round in 0..rounds() {
        scene.clock.advance(Duration::from_secs(12));
        let admin = scene.admin().await; // anew, for the time of a token ends in so many rounds
        let ann = scene.sign_in("ann").await;
        let mut requests = vec![ban(&admin, &ann)];
        requests.extend(vec![refresh(&ann.refresh); 8]);
        requests.extend(vec![login("ann", PASSWORD); 3]);
        if round % 2 == 1 {
            requests.push(unban(&admin, &ann));
            requests.push(ban(&admin, &ann));
        }
        let answers = Wire::to(&scene).race(requests).await;
        assert!(
            answers.iter().all(|answer| matches!(answer.status, 200 | 401 | 403 | 409 | 429 | 503)),
            "{answers:?}"
        );
        assert!(answers.iter().any(|answer| answer.text.contains("\"Banned\"")), "{answers:?}");
        let last = Wire::to(&scene).send(ban(&admin, &ann)).await;
        assert!(matches!(last.status, 200 | 409), "{last:?}");
        let issued =
            answers.iter().filter(|answer| answer.status == 200 && answer.text.contains("\"access_token\""));
        for answer in issued {
            let tokens = Actor::with_tokens(&scene, "ann", &answer.json());
            tokens.get("/api/user/me").await.refused(401, "token_invalid");
            assert_eq!(Wire::to(&scene).send(refresh(&tokens.refresh)).await.status, 401);
        }
        ann.get("/api/user/me").await.refused(401, "token_invalid");
        assert_eq!(
            scene
                .number(
                    "SELECT COUNT(*) FROM sessions s JOIN users u ON u.id = s.user_id WHERE NOT u.is_active"
                )
                .await,
            0
        );
        // lifting the ban brings no token back.
        assert_eq!(Wire::to(&scene).send(unban(&admin, &ann)).await.status, 200);
        ann.get("/api/user/me").await.refused(401, "token_invalid");
        assert_eq!(Wire::to(&scene).send(refresh(&ann.refresh)).await.status, 401);
    }
    scene.is_unharmed().await;
}

// deletion against changes and refreshes. Uploads beside a purge: files/remains.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deleting_an_account_in_a_storm_leaves_nothing_alive() {
    let scene = Scene::with(&[("THROTTLE_REGISTER", "1000/1h")]).await;
    let admin = scene.admin().await;
    for round in 0..rounds() {
        let ann = scene.user(&format!("ann_{round}")).await;
        let purge = if round % 2 == 0 { "" } else { "?purge=true" };
        let mut requests = vec![bare("DELETE", &format!("{}{purge}", ann.path()), Some(&admin.access))];
        for number in 0..4 {
            let change = json!({"description": format!("{number}")});
            requests.push(json_request("PATCH", &ann.path(), Some(&ann.access), &change));
            requests.push(refresh(&ann.refresh));
            requests.push(login(&ann.name, PASSWORD));
            let block = format!("{}/blocked_users?add={}", ann.path(), scene.bystander().id);
            requests.push(bare("PATCH", &block, Some(&ann.access)));
            let block = format!("{}/blocked_users?add={}", admin.path(), ann.id);
            requests.push(bare("PATCH", &block, Some(&admin.access)));
        }
        let answers = Wire::to(&scene).race(requests).await;
        assert_eq!(answers[0].status, 200, "{:?}", answers[0]);
        for answer in &answers {
            assert!(matches!(answer.status, 200 | 401 | 404 | 409 | 429), "{answer:?}");
        }
        ann.get("/api/user/me").await.refused(401, "token_invalid");
        assert_eq!(Wire::to(&scene).send(refresh(&ann.refresh)).await.status, 401);
        let orphans = "SELECT COUNT(*) FROM sessions WHERE user_id NOT IN (SELECT id FROM users WHERE deleted_at IS NULL)";
        assert_eq!(scene.number(orphans).await, 0);
        let orphans = "SELECT COUNT(*) FROM user_blocks WHERE user_id NOT IN (SELECT id FROM users)";
        assert_eq!(scene.number(orphans).await, 0);
    }
    scene.is_unharmed().await;
}

// Two who block each other at the same moment hold each other's rows. Whoever is later may not see the other any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_may_block_each_other_at_once() {
    let scene = Scene::new().await;
    let (ann, bob) = (scene.user("ann").await, scene.user("bob").await);
    for _ in 0..rounds() {
        let block = |who: &Actor, whom: &Actor| {
            bare("PUT", &format!("{}/blocked_users?users_ids={}", who.path(), whom.id), Some(&who.access))
        };
        let clear = |who: &Actor| bare("PUT", &format!("{}/blocked_users", who.path()), Some(&who.access));
        let answers = Wire::to(&scene).race(vec![block(&ann, &bob), block(&bob, &ann)]).await;
        let done = count(&answers, 200);
        assert!(done >= 1 && done + count(&answers, 404) == 2, "{answers:?}");
        let answers = Wire::to(&scene).race(vec![clear(&ann), clear(&bob)]).await;
        assert_eq!(count(&answers, 200), 2, "{answers:?}");
    }
}

// A block list of many, edited at once: exact, and bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_edits_of_a_block_list_lose_nothing() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let others = join_all((0..10).map(|number| async move { number })).await;
    let mut ids = Vec::new();
    for number in others {
        ids.push(scene.user(&format!("other_{number}")).await.id);
    }
    let requests = ids
        .iter()
        .map(|id| bare("PATCH", &format!("{}/blocked_users?add={id}", ann.path()), Some(&ann.access)));
    let answers = Wire::to(&scene).race(requests.collect()).await;
    assert_eq!(count(&answers, 200), 10, "{answers:?}");
    assert_eq!(ann.me().await["blocked_uuids"].as_array().unwrap().len(), 10);
}

// two admins who do away with each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_two_admins_do_at_once_one_of_them_stays() {
    let scene = Scene::new().await;
    let mut one = scene.admin().await;
    let mut two = scene.made_by_admin("second", &["admin", "user"]).await;
    let alive = "SELECT COUNT(*) FROM users WHERE (roles & 1) <> 0 AND is_active AND deleted_at IS NULL";
    assert_eq!(scene.number(alive).await, 2);
    for round in 0..rounds().max(24) {
        let demote = |who: &Actor, whom: &Actor| {
            json_request("PATCH", &whom.path(), Some(&who.access), &json!({"roles": ["user"]}))
        };
        let delete = |who: &Actor, whom: &Actor| bare("DELETE", &whom.path(), Some(&who.access));
        let requests = match round % 8 {
            0 => vec![delete(&one, &one), switch(&two, &one, false), delete(&two, &two)],
            1 => vec![switch(&one, &two, false), switch(&two, &one, false)],
            2 => vec![demote(&one, &two), demote(&two, &one)],
            3 => vec![demote(&one, &one), demote(&two, &two)],
            4 => vec![ban(&two, &one), delete(&one, &one), delete(&two, &two)],
            5 => vec![ban(&one, &two), ban(&two, &one)],
            6 => vec![ban(&one, &two), delete(&two, &one), demote(&two, &two)],
            _ => vec![delete(&one, &two), delete(&two, &one), demote(&one, &one), switch(&two, &one, false)],
        };
        let answers = Wire::to(&scene).race(requests).await;
        assert!(
            answers.iter().all(|answer| matches!(answer.status, 200 | 401 | 403 | 404 | 409)),
            "{answers:?}"
        );
        assert_eq!(scene.number(alive).await, 1, "{answers:?}");
        (one, two) = both_again(&scene, &one, &two).await;
    }
    scene.is_unharmed().await;
}

/// Whoever is left brings the other one back.
async fn both_again(scene: &Scene, one: &Actor, two: &Actor) -> (Actor, Actor) {
    for (left, other) in [(one, two), (two, one)] {
        scene.clock.advance(Duration::from_secs(1));
        let signed_in = scene.try_sign_in(&left.name, PASSWORD).await;
        if signed_in.status() != 200 {
            continue;
        }
        let left = Actor::with_tokens(scene, &left.name, &signed_in.json());
        if left.me().await["roles"] == json!(["user"]) {
            continue;
        }
        let restored = left.post(&format!("{}/restore", other.path())).await;
        assert!(matches!(restored.status(), 200 | 409), "{restored:?}");
        let back = json!({"roles": ["admin", "user"], "is_active": true});
        left.patch(&other.path()).json(&back).await.ok();
        let other = scene.sign_in(&other.name).await;
        return if left.name == one.name { (left, other) } else { (other, left) };
    }
    panic!("nobody is left");
}

// of those who read the same state, one changes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_ten_who_change_the_same_state_one_wins() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    for round in 0..rounds() {
        let etag = ann.get("/api/user/me").await.header("etag").unwrap().to_owned();
        let bearer = format!("Bearer {}", ann.access);
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
            ("if-match", etag.as_str()),
        ];
        let requests = (0..10).map(|number| {
            let body = json!({"description": format!("{round} by {number}")}).to_string();
            request("PATCH", &ann.path(), &headers, &body)
        });
        let answers = Wire::to(&scene).race(requests.collect()).await;
        assert_eq!(count(&answers, 200), 1, "{answers:?}");
        assert_eq!(count(&answers, 412), 9, "{answers:?}");
        let winner = answers.iter().position(|answer| answer.status == 200).unwrap();
        assert_eq!(ann.me().await["description"], format!("{round} by {winner}"));
    }
    scene.is_unharmed().await;
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_set_up_link_makes_one_admin() {
    for _ in 0..rounds().min(20) {
        let scene = Scene::new().await;
        let link = scene.inside.auth.set_up_link().await.unwrap().expect("no admin yet");
        let answers = Wire::to(&scene)
            .race((0..20).map(|number| set_up(&link.0, &format!("boss_{number}"))).collect())
            .await;
        assert_eq!(count(&answers, 303), 1, "{answers:?}");
        assert_eq!(count(&answers, 401) + count(&answers, 503), 19, "{answers:?}");
        assert_eq!(scene.number("SELECT COUNT(*) FROM users WHERE (roles & 1) <> 0").await, 1);
    }
}

fn set_up(token: &gatehouse::sessions::OpaqueToken, username: &str) -> Vec<u8> {
    let fields = [
        ("token", token.expose()),
        ("username", username),
        ("password", PASSWORD),
        ("confirm_password", PASSWORD),
    ];
    let form = serde_urlencoded::to_string(fields).unwrap();
    request("POST", "/setup", &[("content-type", "application/x-www-form-urlencoded")], &form)
}

// a link is for a server without an admin, however the first one came.
#[tokio::test]
async fn a_set_up_link_is_void_once_there_is_an_admin() {
    let scene = Scene::new().await;
    let link = scene.inside.auth.set_up_link().await.unwrap().expect("no admin yet");
    scene.admin().await;
    assert_eq!(Wire::to(&scene).send(set_up(&link.0, "mallory")).await.status, 401);
    assert_eq!(scene.number("SELECT COUNT(*) FROM users WHERE (roles & 1) <> 0").await, 1);
}

//
#[tokio::test]
async fn an_old_set_up_link_is_void_and_so_is_every_one_once_one_was_used() {
    let scene = Scene::new().await;
    let old = scene.inside.auth.set_up_link().await.unwrap().unwrap();
    scene.clock.advance(Duration::from_hours(24));
    assert_eq!(Wire::to(&scene).send(set_up(&old.0, "boss")).await.status, 401);
    let one = scene.inside.auth.set_up_link().await.unwrap().unwrap();
    let other = scene.inside.auth.set_up_link().await.unwrap().unwrap();
    assert_eq!(Wire::to(&scene).send(set_up(&one.0, "boss")).await.status, 303);
    for void in [old, one, other] {
        assert_eq!(Wire::to(&scene).send(set_up(&void.0, "boss2")).await.status, 401);
    }
}

// Ending sessions from both sides: nobody waits for a deadlock.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_may_be_ended_from_everywhere_at_once() {
    let scene = Scene::new().await;
    scene.user("ann").await;
    for _ in 0..rounds() {
        let mut sessions = Vec::new();
        for _ in 0..6 {
            sessions.push(scene.sign_in("ann").await);
        }
        let mut requests = Vec::new();
        for session in &sessions {
            requests.push(bare("DELETE", "/api/auth/sessions", Some(&session.access)));
            requests.push(bare("POST", "/api/auth/logout", Some(&session.access)));
            requests.push(refresh(&session.refresh));
        }
        let answers = Wire::to(&scene).race(requests).await;
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 204 | 401)), "{answers:?}");
        for session in &sessions {
            let client: &Client = session;
            client.get("/api/user/me").await.refused(401, "token_invalid");
        }
    }
    scene.is_unharmed().await;
}

// an id names one account for ever, also for who asks for it while that goes for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_id_that_is_on_its_way_out_is_given_to_nobody() {
    let scene = Scene::with(&[("THROTTLE_REGISTER", "1000/1h")]).await;
    let admin = scene.admin().await;
    for round in 0..rounds().min(20) {
        let ann = scene.user(&format!("ann_{round}")).await;
        let create = |number: usize| {
            let body = json!({"uuid": ann.id, "username": format!("next_{round}_{number}")});
            json_request("POST", "/api/user/", Some(&admin.access), &body)
        };
        let purge = bare("DELETE", &format!("{}?purge=true", ann.path()), Some(&admin.access));
        let answers = Wire::to(&scene).race(vec![create(0), purge, create(1), create(2)]).await;
        assert_eq!(count(&answers, 201), 0, "{answers:?}");
        assert_eq!(count(&answers, 200), 1, "{answers:?}");
    }
    scene.is_unharmed().await;
}

// a reset and the proof of a new address, each by its link, wait for each other in one order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_links_of_an_account_that_are_used_at_once_are_both_answered() {
    let settings =
        [("EMAIL_METHOD", "inbox"), ("THROTTLE_FORGOT", "1000/1h"), ("THROTTLE_REGISTER", "1000/1h")];
    let scene = Scene::with(&settings).await;
    for round in 0..rounds().min(15) {
        let name = format!("ann_{round}");
        let ann = scene.user(&name).await;
        let address = format!("new_{round}@example.com");
        ann.patch(&ann.path()).json(&json!({"email": address})).await.is(200);
        let proof = scene.mail_to(&address, "verification").await.token();
        let reset = scene.reset_token(&name).await;
        let body =
            json!({"token": reset, "new_password": OTHER_PASSWORD, "confirm_password": OTHER_PASSWORD});
        let answers = Wire::to(&scene)
            .race(vec![
                json_request("POST", "/api/auth/forgot-password/reset", None, &body),
                json_request("POST", "/api/auth/email/verify", None, &json!({"token": proof})),
            ])
            .await;
        // Whichever comes first may void the other's link; neither is turned away for the other's sake.
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 401)), "{answers:?}");
        assert!(count(&answers, 200) >= 1, "{answers:?}");
    }
    scene.is_unharmed().await;
}
