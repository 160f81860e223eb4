//! Many at once, again and again: one of them is first, and nothing is done twice or by half.

use std::sync::Arc;

use serde_json::json;

use super::idp::{Place, parameter};
use super::scene::{APP, Scene, place_of};
use crate::harness::{Actor, race};

/// How often each race is run.
const ROUNDS: usize = 25;

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_who_come_back_at_once_one_does() {
    let scene = Scene::new().await;
    for round in 0..ROUNDS {
        let browser = scene.browser();
        let callback = browser.leave_and_sign_in("acme", APP).await;
        let cookies = browser.header();
        let asked = scene.idp.asked(Place::Token).len();
        let answers = race(20, |_| scene.get(&callback).header("cookie", &cookies)).await;
        let back = answers.iter().filter(|answer| answer.status() == 303).count();
        assert_eq!(
            (back, answers.iter().filter(|answer| answer.status() == 400).count()),
            (1, 19),
            "{round}"
        );
        assert_eq!(scene.idp.asked(Place::Token).len(), asked + 1, "{round}");
    }
    assert_eq!((scene.people().await, scene.links().await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twenty_who_trade_one_code_one_is_in() {
    let scene = Scene::new().await;
    for round in 0..ROUNDS {
        let trade = json!({"code": scene.browser().code("acme").await, "redirect_uri": APP});
        let answers = race(20, |_| scene.post("/api/oauth/token").json(&trade)).await;
        assert_eq!(answers.iter().filter(|answer| answer.status() == 200).count(), 1, "{round}: {answers:?}");
        assert_eq!(answers.iter().filter(|answer| answer.status() == 401).count(), 19, "{round}");
    }
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_several_first_sign_ins_of_one_identity_comes_one_account() {
    let scene = Scene::new().await;
    for round in 0..ROUNDS {
        scene.is("ann", &format!("5{round}"));
        let person = super::idp::Person {
            email: Some(format!("ann{round}@example.com")),
            ..super::idp::Person::named("ann", &format!("5{round}"))
        };
        scene.idp.person(person);
        let mut ways = Vec::new();
        for _ in 0..6 {
            let browser = scene.browser();
            ways.push((browser.leave_and_sign_in("acme", APP).await, browser.header()));
        }
        let ways = Arc::new(ways);
        let answers = race(6, |number| {
            let (callback, cookies) = &ways[number];
            scene.get(callback).header("cookie", cookies)
        })
        .await;
        let mut ids = Vec::new();
        for answer in &answers {
            let code = parameter(&place_of(answer), "code").unwrap_or_else(|| panic!("{round}: {answer:?}"));
            ids.push(Actor::with_tokens(&scene, "?", &scene.trade(&code).await.is(200).json()).id);
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "{round}");
        let expected = i64::try_from(round + 1).unwrap();
        assert_eq!((scene.people().await, scene.links().await), (expected, expected), "{round}");
    }
}

/// The same person by two providers that both vouch for their address.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn first_sign_ins_by_two_providers_with_one_address_make_one_account() {
    let scene = Scene::new().await;
    for round in 0..ROUNDS {
        let mut ways = Vec::new();
        for provider in ["acme", "other"] {
            scene.idp.person(super::idp::Person {
                email: Some(format!("ann{round}@example.com")),
                ..super::idp::Person::named("ann", &format!("6{round}"))
            });
            let browser = scene.browser();
            ways.push((browser.leave_and_sign_in(provider, APP).await, browser.header()));
        }
        let ways = Arc::new(ways);
        let answers = race(2, |number| {
            let (callback, cookies) = &ways[number];
            scene.get(callback).header("cookie", cookies)
        })
        .await;
        let mut ids = Vec::new();
        for answer in &answers {
            let code = parameter(&place_of(answer), "code").unwrap_or_else(|| panic!("{round}: {answer:?}"));
            ids.push(Actor::with_tokens(&scene, "?", &scene.trade(&code).await.is(200).json()).id);
        }
        assert_eq!(ids[0], ids[1], "{round}");
        let expected = i64::try_from(round + 1).unwrap();
        assert_eq!((scene.people().await, scene.links().await), (expected, 2 * expected), "{round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_code_that_is_traded_while_its_link_goes_opens_no_session_that_stays() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    for round in 0..ROUNDS {
        scene.browser().send(&ann, "acme", "link").await;
        let trade = json!({"code": scene.browser().code("acme").await, "redirect_uri": APP});
        let act = |number: usize| match number {
            0 => scene.post("/api/oauth/token").json(&trade),
            _ => ann.post("/api/oauth/acme/unlink"),
        };
        let answers = race(2, act).await;
        assert!(matches!(answers[0].status(), 200 | 401), "{round}: {answers:?}");
        assert_eq!(answers[1].status(), 200, "{round}: {answers:?}");
        let sessions = ann.get("/api/auth/sessions").await.is(200).json();
        assert_eq!(sessions.as_array().unwrap().len(), 1, "{round}");
    }
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_who_link_one_account_one_has_it() {
    let scene = Scene::new().await;
    let people = [scene.user("ann").await, scene.user("bob").await];
    for round in 0..ROUNDS {
        scene.is("zoe", &format!("8{round}"));
        let mut ways = Vec::new();
        for person in &people {
            let browser = scene.browser();
            let url = browser.send_away(person, "acme", "link").await;
            ways.push((super::scene::path_of(&scene.idp.visit(&url).await), browser.header()));
        }
        let ways = Arc::new(ways);
        let answers = race(2, |number| {
            let (callback, cookies) = &ways[number];
            scene.get(callback).header("cookie", cookies)
        })
        .await;
        let places: Vec<_> = answers.iter().map(place_of).collect();
        let done = places.iter().filter(|place| parameter(place, "linked").is_some()).count();
        let told =
            places.iter().filter(|place| parameter(place, "error").as_deref() == Some("linked_elsewhere"));
        assert_eq!((done, told.count()), (1, 1), "{round}: {places:?}");
        assert_eq!(scene.links().await, 1);
        for person in &people {
            let gone = person.post("/api/oauth/acme/unlink").await;
            assert!(matches!(gone.status(), 200 | 404), "{gone:?}");
        }
    }
}

//
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_ways_in_that_go_at_once_one_stays() {
    let scene = Scene::new().await;
    let ann = scene.come("acme").await;
    scene.browser().send(&ann, "other", "link").await;
    for round in 0..ROUNDS {
        assert_eq!(scene.links().await, 2);
        let answers = race(4, |number| {
            let provider = if number % 2 == 0 { "acme" } else { "other" };
            ann.post(&format!("/api/oauth/{provider}/unlink"))
        })
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.status() == 200).count(), 1, "{round}: {answers:?}");
        assert!(
            answers.iter().all(|answer| matches!(answer.status(), 200 | 404 | 409)),
            "{round}: {answers:?}"
        );
        assert_eq!(scene.links().await, 1, "{round}");
        let gone =
            if ann.me().await["external_accounts"][0]["provider"] == "acme" { "other" } else { "acme" };
        scene.browser().send(&ann, gone, "link").await;
    }
}
