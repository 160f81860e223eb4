//! Several instances, one after the other and at the same time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{BANNED, Manner, Scene, happens, ids};
use crate::harness::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_instances_deliver_each_event_once_and_in_order() {
    let scene = Scene::new().await;
    let other = scene.app.second_instance().await;
    other.inside.start_background();
    let mut sent = Vec::new();
    for number in 0..60 {
        sent.push(happens(&scene.app, BANNED).await.to_string());
        let app = if number % 2 == 0 { &scene.app } else { &other };
        app.inside.webhooks.wake();
    }
    let got = scene.booked(60).await;
    assert_eq!(ids(&got), sent);
}

#[tokio::test]
async fn a_stop_in_the_middle_loses_nothing_and_repeats_under_the_same_id() {
    let scene = Scene::new().await;
    let before = scene.happens(BANNED).await.to_string();
    scene.booked(1).await;
    // It has the event, but what it answers is no longer heard.
    scene.receiver.answers("/in", Manner::Late(Duration::from_mins(1)));
    let (torn, after) =
        (scene.happens(BANNED).await.to_string(), happens(&scene.app, BANNED).await.to_string());
    scene.receiver.gets("/in", 2).await;
    scene.app.inside.clone().close().await;
    scene.receiver.answers("/in", Manner::Status(200));
    let again = scene.app.second_instance().await;
    again.inside.start_background();
    let got = eventually(|| async { scene.receiver.got("/in") }, |got: &Vec<_>| got.len() >= 4).await;
    assert_eq!(ids(&got), [before, torn.clone(), torn, after]);
    let signed = got.iter().filter(|got| got.is_signed_by(&[&scene.hook.secret])).count();
    assert_eq!(signed, 4);
}

#[tokio::test]
async fn another_instance_goes_on_when_the_one_that_delivers_is_gone() {
    let scene = Scene::new().await;
    scene.happens(BANNED).await;
    scene.booked(1).await;
    // As if it had been killed: nobody gives the lease back.
    scene.app.inside.tasks.close(Duration::from_secs(1)).await;
    let other = scene.app.second_instance().await;
    other.inside.start_background();
    let sent: BTreeSet<String> =
        [happens(&other, BANNED).await, happens(&other, BANNED).await].map(|id| id.to_string()).into();
    let begun = std::time::Instant::now();
    while scene.receiver.got("/in").len() < 3 {
        assert!(begun.elapsed() < Duration::from_mins(1), "a lease lasts ten seconds");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let got: BTreeSet<String> = ids(&scene.receiver.got("/in")[1..]).into_iter().collect();
    assert_eq!(got, sent);
}
