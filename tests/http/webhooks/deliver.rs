//! What is delivered, and how.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::{BANNED, Manner, Scene, UNBANNED, WEBHOOKS, happens, hook, ids};
use crate::harness::{START, eventually};

#[tokio::test]
async fn an_event_arrives_whole_and_signed() {
    let scene = Scene::new().await;
    scene.app.clock.advance(Duration::from_secs(3));
    let event = scene.happens(BANNED).await;
    let got = &scene.receiver.gets("/in", 1).await[0];
    assert!(got.is_signed_by(&[&scene.hook.secret]), "{got:?}");
    assert_eq!(got.id(), event.to_string());
    assert_eq!(got.header("webhook-timestamp"), (START.seconds() + 3).to_string());
    assert_eq!(got.header("content-type"), "application/json");
    assert!(got.header("user-agent").starts_with("Gatehouse/"), "{got:?}");
    assert_eq!(got.header("x-trace-id"), "0197f2b53a587c4e9d1a1f2e3d4c5b6a");
    let traceparent = got.header("traceparent");
    assert!(traceparent.starts_with("00-0197f2b53a587c4e9d1a1f2e3d4c5b6a-") && traceparent.len() == 55);
    let body = got.json();
    let names: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["event_id", "event_type", "user_id", "trace_id", "timestamp", "sequence", "data"]);
    assert_eq!(body["event_id"], event.to_string());
    assert_eq!((&body["event_type"], &body["sequence"]), (&json!(BANNED), &json!(1)));
    assert_eq!(
        (&body["timestamp"], &body["data"]),
        (&json!("2026-01-01T00:00:03.000Z"), &json!({"reason": "x"}))
    );

    scene.booked(1).await;
    let log = scene.log().await;
    assert_eq!(log.len(), 1);
    assert_eq!((&log[0]["event_id"], &log[0]["event_type"]), (&body["event_id"], &body["event_type"]));
    assert_eq!((&log[0]["attempt"], &log[0]["delivered"]), (&json!(1), &json!(true)));
    assert_eq!((&log[0]["status"], &log[0]["error"]), (&json!(200), &json!(null)));
}

#[tokio::test]
async fn events_arrive_in_their_order_each_once() {
    let scene = Scene::new().await;
    let mut sent = Vec::new();
    for number in 0..130 {
        let of_interest = number % 3 != 0;
        let event = happens(&scene.app, if of_interest { BANNED } else { "user.restored" }).await;
        sent.extend(of_interest.then(|| event.to_string()));
    }
    scene.app.inside.webhooks.wake();
    let got = scene.receiver.gets("/in", sent.len()).await;
    assert_eq!(ids(&got), sent);
    assert!(got.iter().all(|got| got.is_signed_by(&[&scene.hook.secret])));
}

#[tokio::test]
async fn a_webhook_without_types_is_sent_everything_from_when_it_was_made() {
    let scene = Scene::new().await;
    scene.app.inside.events.place().await.unwrap();
    happens(&scene.app, "user.restored").await;
    let made = scene.admin.post(WEBHOOKS).json(&json!({"url": scene.receiver.url("/all")})).await;
    made.is(201);
    let (first, second) = (scene.happens("user.restored").await, scene.happens(UNBANNED).await);
    let got = scene.receiver.gets("/all", 2).await;
    assert_eq!(ids(&got), [first.to_string(), second.to_string()]);
    assert_eq!(ids(&scene.receiver.gets("/in", 1).await), [second.to_string()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_happens_after_a_change_of_types_is_judged_by_the_new_ones() {
    let scene = Scene::new().await;
    for _ in 0..30 {
        let types =
            |types: &[&str]| scene.admin.patch(&scene.hook.path).json(&json!({ "event_types": types }));
        types(&[BANNED]).await.is(200);
        // So that somebody is always looking at what there is, with the types as they were.
        let others = async {
            for _ in 0..5 {
                scene.happens("user.restored").await;
            }
        };
        let change = async {
            types(&[]).await.is(200);
            scene.happens("user.restored").await.to_string()
        };
        let ((), event) = tokio::join!(others, change);
        let got = || async { ids(&scene.receiver.got("/in")) };
        eventually(got, |got| got.contains(&event)).await;
    }
}

#[tokio::test]
async fn after_a_rotation_both_secrets_sign_for_a_day() {
    let scene = Scene::new().await;
    let rotated = scene.admin.post(&format!("{}/rotate-secret", scene.hook.path)).await.is(200).json();
    let (new, old) = (rotated["secret"].as_str().unwrap(), &*scene.hook.secret);
    scene.app.clock.advance(Duration::from_hours(24) - Duration::from_millis(1));
    scene.happens(BANNED).await;
    assert!(scene.booked(1).await[0].is_signed_by(&[new, old]));
    scene.app.clock.advance(Duration::from_millis(1));
    scene.happens(BANNED).await;
    assert!(scene.booked(2).await[1].is_signed_by(&[new]));
}

#[tokio::test]
async fn a_test_is_sent_now_and_tells_what_came_back() {
    let scene = Scene::new().await;
    let path = format!("{}/test", scene.hook.path);
    let test = || async { scene.admin.post(&path).await.is(200).json() };
    let told = test().await;
    assert_eq!(
        (&told["delivered"], &told["status"], &told["error"]),
        (&json!(true), &json!(200), &json!(null))
    );
    let got = &scene.receiver.gets("/in", 1).await[0];
    assert!(got.is_signed_by(&[&scene.hook.secret]) && told["event_id"] == got.id());
    assert_eq!((&got.json()["event_type"], &got.json()["sequence"]), (&json!("webhook.test"), &json!(0)));

    // Also while it is switched off; it changes nothing.
    let before = scene.admin.patch(&scene.hook.path).json(&json!({"enabled": false})).await.is(200).json();
    for (manner, delivered, status, error) in [
        (Manner::Status(204), true, json!(204), json!(null)),
        (Manner::Status(410), false, json!(410), json!(null)),
        (Manner::Status(500), false, json!(500), json!(null)),
        (Manner::Header(307, "location", scene.receiver.url("/elsewhere")), false, json!(307), json!(null)),
        (Manner::Endless, true, json!(200), json!(null)),
        (Manner::Reset, false, json!(null), json!("unreachable")),
    ] {
        scene.receiver.answers("/in", manner);
        let told = test().await;
        assert_eq!(
            (&told["delivered"], &told["status"], &told["error"]),
            (&json!(delivered), &status, &error)
        );
    }
    assert_eq!(scene.shown().await, before);
    assert!(scene.receiver.got("/elsewhere").is_empty());
    let log = scene.log().await;
    assert_eq!(log.len(), 7);
    assert!(log.iter().all(|delivery| delivery["event_type"] == "webhook.test"));
}

#[tokio::test]
async fn events_are_sent_again_from_where_an_admin_says() {
    let scene = Scene::new().await;
    let mut events = Vec::new();
    for _ in 0..5 {
        events.push(scene.happens(BANNED).await.to_string());
    }
    scene.booked(5).await;
    let replay = format!("{}/replay", scene.hook.path);
    scene.admin.post(&replay).json(&json!({"after": events[2]})).await.is(200);
    let got = scene.booked(7).await;
    assert_eq!(ids(&got[5..]), events[3..]);
    assert_eq!(got[5].body, got[3].body, "the same as the first time");
    // Past what can't be taken.
    scene.receiver.answers("/in", Manner::Status(400));
    let stuck = scene.happens(BANNED).await.to_string();
    let next = scene.happens(BANNED).await.to_string();
    scene.booked(8).await;
    scene.receiver.answers("/in", Manner::Status(200));
    let on = scene.admin.post(&replay).json(&json!({"after": stuck})).await.is(200).json();
    assert_eq!((&on["attempts"], &on["failing_since"]), (&json!(0), &json!(null)));
    assert_eq!(ids(&scene.booked(9).await[8..]), [next]);
    scene.admin.post(&replay).json(&json!({"after": Uuid::new_v4()})).await.refused(404, "event_not_found");
}

#[tokio::test]
async fn a_webhook_that_is_slow_or_fails_holds_up_no_other() {
    let scene = Scene::new().await;
    scene.receiver.answers("/late", Manner::Late(Duration::from_mins(1)));
    scene.receiver.answers("/broken", Manner::Status(500));
    for path in ["/late", "/broken"] {
        hook(&scene.admin, &scene.receiver.url(path)).await;
    }
    let (first, second) = (scene.happens(BANNED).await, scene.happens(UNBANNED).await);
    let got = scene.receiver.gets("/in", 2).await;
    assert_eq!(ids(&got), [first.to_string(), second.to_string()]);
    for path in ["/late", "/broken"] {
        assert_eq!(
            ids(&scene.receiver.gets(path, 1).await),
            [first.to_string()],
            "{path}: the next one waits"
        );
    }
}

#[tokio::test]
async fn the_newest_thousand_deliveries_are_kept_for_thirty_days() {
    let scene = Scene::new().await;
    let path = format!("{}/test", scene.hook.path);
    for _ in 0..1003 {
        scene.admin.post(&path).await.is(200);
    }
    let log = scene.log().await;
    assert_eq!(log.len(), 1000);
    let got = scene.receiver.got("/in");
    assert_eq!((&log[0]["event_id"], &log[999]["event_id"]), (&json!(got[1002].id()), &json!(got[3].id())));
    // In parts.
    let path = format!("{}/deliveries", scene.hook.path);
    let first = scene.admin.get(&path).await.is(200).json();
    assert_eq!(first["deliveries"].as_array().unwrap().len(), 100);
    let cursor = first["next"].as_str().unwrap();
    let second = scene.admin.get(&format!("{path}?limit=900&cursor={cursor}")).await.is(200).json();
    assert_eq!(second["deliveries"].as_array().unwrap()[..], log[100..]);
    assert_eq!(second["next"], json!(null));
    let whole = scene.admin.get(&format!("{path}?order=asc&offset=1&limit=1000")).await;
    assert_eq!(whole.header("x-total-count"), Some("1000"));
    let oldest_first: Vec<_> = log.iter().rev().skip(1).cloned().collect();
    assert_eq!(whole.is(200).json()["deliveries"], json!(oldest_first));
    for order in ["asc", "desc"] {
        let first = scene.admin.get(&format!("{path}?order={order}&limit=400")).await;
        let second = scene.admin.get(&first.link("next").unwrap()).await;
        let third = scene.admin.get(&second.link("next").unwrap()).await;
        assert_eq!((first.link("prev"), third.link("next")), (None, None));
        let back = scene.admin.get(&third.link("prev").unwrap()).await;
        assert_eq!(back.is(200).json(), second.is(200).json());
        let back = scene.admin.get(&back.link("prev").unwrap()).await;
        assert_eq!(back.is(200).json(), first.is(200).json());
        assert_eq!(back.link("prev"), None);
        assert_eq!(third.is(200).json()["deliveries"].as_array().unwrap().len(), 200);
    }
    let page = scene.admin.get(&format!("{path}?page=2&per_page=3")).await.is(200).json();
    assert_eq!(page["deliveries"], json!(log[3..6]));

    scene.app.clock.advance(Duration::from_hours(30 * 24) + Duration::from_millis(1));
    scene.app.inside.sweep().await.unwrap();
    assert!(scene.log().await.is_empty());
}
