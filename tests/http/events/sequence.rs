//! The order of events: of one account, and of all.

use std::time::Duration;

use serde_json::{Value, json};

use super::{describe, events_of, part};
use crate::harness::{Actor, TestApp, race};

/// The numbers in this member.
fn numbers(events: &[Value], member: &str) -> Vec<i64> {
    events.iter().map(|event| event[member].as_i64().unwrap()).collect()
}

async fn act(ann: &Actor, others: &[Actor], number: usize) {
    match number % 4 {
        0 => describe(ann, &number.to_string()).await,
        1 => {
            let names = json!({"first_name": number.to_string()});
            ann.put(&format!("{}/full-name", ann.path())).json(&names).await.is(200);
        }
        2 => {
            let name = json!({"username": format!("ann_{number}")});
            ann.put(&format!("{}/username", ann.path())).json(&name).await.is(200);
        }
        _ => drop(others[number / 4].post("/api/auth/logout").await.is(200)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn however_many_changes_come_at_once_one_account_counts_without_a_gap() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let mut others = Vec::new();
    for _ in 0..8 {
        others.push(app.sign_in("ann").await);
    }
    race(32, |number| {
        let (ann, others) = (ann.clone(), others.clone());
        Box::pin(async move { act(&ann, &others, number).await })
    })
    .await;
    let events = events_of(&app, &admin, ann.id).await;
    // Two at first, and 8 sessions; then 8 descriptions, 8 full names and 8 user names with two events each, 8 sessions that end.
    let expected: Vec<i64> = (1..=2 + 8 + 8 + 16 + 16 + 8).collect();
    assert_eq!(numbers(&events, "sequence"), expected);
    let positions = numbers(&events, "position");
    assert!(positions.is_sorted_by(|one, next| one < next), "{positions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn people_who_change_at_once_have_sequences_of_their_own_and_positions_in_common() {
    let app = TestApp::new().await;
    let other = app.second_instance().await;
    let admin = app.admin().await;
    let mut people = Vec::new();
    for number in 0..8 {
        people.push(app.user(&format!("person_{number}")).await);
    }
    let there: Vec<Actor> = people.iter().map(|person| person.at(&other)).collect();
    let relays = [app.inside.events.clone(), other.inside.events.clone()];
    race(34, |number| {
        let (relay, here) = (relays.get(number).cloned(), if number % 2 == 0 { &people } else { &there });
        let person = here[number / 2 % 8].clone();
        Box::pin(async move {
            match relay {
                Some(relay) => relay.place().await.unwrap(),
                None => describe(&person, &number.to_string()).await,
            }
        })
    })
    .await;
    for person in &people {
        let sequence = numbers(&events_of(&app, &admin, person.id).await, "sequence");
        assert_eq!(sequence, (1..=6).collect::<Vec<i64>>(), "two at first, and four changes");
    }
    let all = part(&admin, "limit=1000").await;
    let expected: Vec<i64> = (1..).take(all.len()).collect();
    assert_eq!(numbers(&all, "position"), expected);
}

#[tokio::test]
async fn the_relay_places_what_is_written_and_says_so_at_once() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let mut placed = app.inside.events.placed();
    let relay = tokio::spawn(app.inside.events.clone().relay());
    let wait = |least: i64, mut placed: tokio::sync::watch::Receiver<i64>| async move {
        let reached = placed.wait_for(|newest| *newest >= least);
        tokio::time::timeout(Duration::from_secs(30), reached)
            .await
            .expect("it is placed")
            .map(|_| ())
            .unwrap();
    };
    wait(2, placed.clone()).await; // what was there before
    placed.mark_unchanged();
    // Of several changes the quickest: the others say how busy the machine is.
    let mut is_quick = false;
    for newest in 3..40 {
        let begun = std::time::Instant::now();
        describe(&ann, &newest.to_string()).await;
        wait(newest, placed.clone()).await;
        is_quick = begun.elapsed() < Duration::from_millis(900);
        if is_quick {
            break;
        }
    }
    assert!(is_quick, "it was woken, not found by looking again");
    relay.abort();
}
