//! Reading what was told, and having it sent again.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{describe, events_of, part, places_later, run, types};
use crate::harness::{START, TestApp};

fn ids(events: &[Value]) -> Vec<Uuid> {
    events.iter().map(|event| event["event_id"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test]
async fn an_event_is_shown_with_its_body_and_how_far_it_has_come() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    app.clock.advance(Duration::from_millis(1_007));
    ann.patch(&ann.path()).json(&json!({"description": "x"})).header("x-request-id", "t").await.is(200);
    let event = events_of(&app, &admin, ann.id).await.pop().unwrap();
    let id: Uuid = event["event_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
    let expected = json!({
        "event_id": id, "event_type": "user.updated", "user_id": ann.id, "trace_id": "t",
        "timestamp": "2026-01-01T00:00:01.007Z", "sequence": 3, "data": {"changes": {"description": "x"}},
        "position": event["position"], "published_at": null, "trouble": null,
    });
    assert_eq!(event, expected);
}

#[tokio::test]
async fn whoever_goes_on_behind_the_last_event_misses_none() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    for number in 0..9 {
        describe(&ann, &number.to_string()).await;
    }
    let all = ids(&events_of(&app, &admin, ann.id).await);
    assert_eq!(all.len(), 11);
    let mut read = Vec::new();
    let mut next = Some(format!("/api/admin/events?user_id={}&limit=4", ann.id));
    while let Some(path) = next {
        let reply = admin.get(&path).await;
        read.extend(ids(reply.is(200).json().as_array().unwrap()));
        next = reply.header("link").map(|link| {
            let target = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
            target[target.find("/api/").unwrap()..].to_owned()
        });
    }
    assert_eq!(read, all);
    // The feed goes on where it ended.
    assert_eq!(part(&admin, &format!("user_id={}&after={}", ann.id, all[10])).await, Vec::<Value>::new());
    describe(&ann, "new").await;
    app.inside.events.place().await.unwrap();
    assert_eq!(part(&admin, &format!("user_id={}&after={}", ann.id, all[10])).await.len(), 1);
}

#[tokio::test]
async fn the_feed_is_narrowed_by_type_account_and_time() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    app.clock.advance(Duration::from_secs(100));
    describe(&ann, "x").await;
    app.inside.events.place().await.unwrap();
    let root = ["user.created", "session.created"];
    let (both, changed) = ([root, root].concat(), vec!["user.updated"]);
    let late = START.seconds() + 100;
    let table = [
        (String::new(), [both.clone(), changed.clone()].concat()),
        (format!("user_id={}", ann.id), [root.to_vec(), changed.clone()].concat()),
        (format!("user_id={}", Uuid::nil()), vec![]),
        ("events=user.created".to_owned(), vec!["user.created"; 2]),
        ("events=user.created,user.updated".to_owned(), vec!["user.created", "user.created", "user.updated"]),
        ("events=user.created&events=user.updated&limit=1".to_owned(), vec!["user.created"]),
        ("events=user.purged".to_owned(), vec![]),
        (format!("range_start={late}"), changed.clone()),
        (format!("range_end={late}"), both),
        (format!("range_start={late}&range_end={late}"), vec![]),
    ];
    for (query, expected) in table {
        assert_eq!(types(&part(&admin, &query).await), expected, "{query}");
    }
}

#[tokio::test]
async fn what_can_not_be_asked_for_is_refused() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    app.inside.events.place().await.unwrap();
    describe(&ann, "x").await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("events=user.exploded", "events"),
        ("events=user.created,*", "events"),
        ("after=x", "after"),
        ("user_id=x", "user_id"),
        ("range_start=yesterday", "range_start"),
    ] {
        admin.get(&format!("/api/admin/events?{query}")).await.invalid(&[field]);
    }
    let nowhere = format!("/api/admin/events?after={}", Uuid::nil());
    admin.get(&nowhere).await.refused(404, "not_found");
    ann.get("/api/admin/events").await.refused(403, "forbidden");
    // What has no position yet is not shown.
    let shown = if places_later(&app) { 2 } else { 3 };
    assert_eq!(part(&admin, &format!("user_id={}", ann.id)).await.len(), shown);
}

#[tokio::test]
async fn what_was_sent_or_set_aside_is_sent_again() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    for number in 0..4 {
        describe(&ann, &number.to_string()).await;
    }
    let all = ids(&events_of(&app, &admin, ann.id).await);
    let sent = "UPDATE events SET published_at = 1767225600000, trouble = NULL";
    let replayed = |answer: &crate::harness::Reply| answer.is(200).json()["replayed"].as_u64().unwrap();
    let waiting = async || {
        let events = events_of(&app, &admin, ann.id).await;
        let waits = |event: &&Value| event["published_at"].is_null() && event["trouble"].is_null();
        ids(&events.iter().filter(waits).cloned().collect::<Vec<_>>())
    };

    run(&app, sent).await;
    assert_eq!(events_of(&app, &admin, ann.id).await[0]["published_at"], 1_767_225_600);
    let mut placed = app.inside.events.placed();
    placed.mark_unchanged();
    assert_eq!(replayed(&admin.post(&format!("/api/admin/events/{}/replay", all[2])).await), 1);
    assert_eq!(waiting().await, [all[2]]);
    assert!(placed.has_changed().unwrap(), "whoever sends is woken");
    assert_eq!(replayed(&admin.post(&format!("/api/admin/events/{}/replay", all[2])).await), 0, "it waits");

    run(&app, "UPDATE events SET published_at = NULL, trouble = 'parked'").await;
    let some = json!({"ids": [all[0], all[1], all[1]]});
    assert_eq!(replayed(&admin.post("/api/admin/events/replay").json(&some).await), 2);
    assert_eq!(waiting().await, all[..2]);

    run(&app, sent).await;
    let range = json!({"after": all[1], "until": all[4]});
    assert_eq!(replayed(&admin.post("/api/admin/events/replay").json(&range).await), 3);
    assert_eq!(waiting().await, all[2..=4]);
    run(&app, sent).await;
    let from_the_first = json!({"until": all[0]});
    assert!(replayed(&admin.post("/api/admin/events/replay").json(&from_the_first).await) >= 1);
    assert_eq!(waiting().await, [all[0]]);
}

#[tokio::test]
async fn orders_that_make_no_sense_send_nothing_again() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let known = ids(&events_of(&app, &admin, ann.id).await)[0];
    let many: Vec<Uuid> = (0..501).map(Uuid::from_u128).collect();
    run(&app, "UPDATE events SET published_at = 1").await;
    let path = "/api/admin/events/replay";
    for (order, field) in [
        (json!({}), "until"),
        (json!({"after": known}), "until"),
        (json!({"ids": []}), "ids"),
        (json!({"ids": many}), "ids"),
        (json!({"ids": [known], "until": known}), "ids"),
    ] {
        admin.post(path).json(&order).await.invalid(&[field]);
    }
    for order in [
        json!({"ids": [known, Uuid::nil()]}),
        json!({"until": Uuid::nil()}),
        json!({"after": Uuid::nil(), "until": known}),
    ] {
        admin.post(path).json(&order).await.refused(404, "not_found");
    }
    for id in [Uuid::nil().to_string(), "x".to_owned()] {
        admin.post(&format!("/api/admin/events/{id}/replay")).await.refused(404, "not_found");
    }
    let events = events_of(&app, &admin, ann.id).await;
    assert!(events.iter().all(|event| event["published_at"] == 0), "{events:?}");
}
