//! What is not taken: tried again, and at last given up.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{BANNED, Manner, Scene, UNBANNED, happens, happens_with, ids};
use crate::clock::set;
use crate::harness::{START, eventually};

#[tokio::test]
async fn what_is_not_taken_is_tried_again_under_the_same_id_before_anything_else() {
    let scene = Scene::new().await;
    scene.receiver.answers("/in", Manner::Status(503));
    let (first, second) = (scene.happens(BANNED).await, scene.happens(BANNED).await);
    scene.booked(1).await;
    let shown = scene.shown().await;
    assert_eq!((&shown["attempts"], &shown["failing_since"]), (&json!(1), &json!(START.seconds())));
    let next_try = shown["next_try_at"].as_i64().unwrap() - START.seconds();
    assert!((5..=6).contains(&next_try), "{shown}");

    // Not before its time.
    scene.later(Duration::from_millis(4999));
    let third = scene.happens(BANNED).await;
    assert_eq!(scene.booked(1).await.len(), 1);
    scene.later(Duration::from_secs(2));
    scene.booked(2).await;
    scene.later(Duration::from_secs(37));
    scene.booked(3).await;
    assert_eq!(scene.shown().await["attempts"], 3);

    scene.receiver.answers("/in", Manner::Status(200));
    scene.later(Duration::from_secs(145));
    let got = scene.booked(6).await;
    assert_eq!(ids(&got[..4]), vec![first.to_string(); 4]);
    assert_eq!(ids(&got[4..]), [second.to_string(), third.to_string()]);
    assert!(got.iter().all(|got| got.is_signed_by(&[&scene.hook.secret])));
    assert_eq!(got[0].body, got[3].body);
    assert_ne!(
        got[0].header("webhook-timestamp"),
        got[3].header("webhook-timestamp"),
        "each try is dated anew"
    );
    let shown = scene.shown().await;
    for (field, value) in
        [("attempts", json!(0)), ("failing_since", Value::Null), ("next_try_at", Value::Null)]
    {
        assert_eq!(shown[field], value, "{field}");
    }
    let log: Vec<_> = scene.log().await.iter().rev().map(|tried| tried["attempt"].clone()).collect();
    assert_eq!(log, [1, 2, 3, 4, 1, 1]);
}

// F-18
#[tokio::test]
async fn a_try_that_was_put_off_before_the_clock_was_set_back_does_not_wait_for_it() {
    let scene = Scene::new().await;
    scene.app.clock.advance(Duration::from_hours(24));
    scene.receiver.answers("/in", Manner::Status(503));
    let event = scene.happens(BANNED).await;
    scene.booked(1).await;
    scene.receiver.answers("/in", Manner::Status(200));
    set(&scene.app, START);
    scene.app.inside.webhooks.wake();
    assert_eq!(ids(&scene.booked(2).await), vec![event.to_string(); 2]);
    let shown = scene.shown().await;
    assert_eq!((&shown["attempts"], &shown["next_try_at"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn an_event_that_can_not_be_read_holds_nothing_up() {
    let scene = Scene::new().await;
    let first = happens(&scene.app, BANNED).await;
    happens_with(&scene.app, BANNED, "{not json").await;
    let last = happens(&scene.app, BANNED).await;
    scene.app.inside.webhooks.wake();
    let got = scene.booked(2).await;
    assert_eq!(ids(&got), [first.to_string(), last.to_string()]);
    // Also where it is the newest: nothing waits then.
    happens_with(&scene.app, BANNED, "").await;
    scene.app.inside.webhooks.wake();
    let next = scene.happens(BANNED).await;
    assert_eq!(ids(&scene.booked(3).await)[2], next.to_string());
    let shown = scene.shown().await;
    assert_eq!((&shown["attempts"], &shown["failing_since"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn what_waits_and_what_became_of_the_tries_is_measured() {
    let scene = Scene::new().await;
    scene.receiver.answers("/in", Manner::Status(503));
    for event_type in [BANNED, "user.deleted", UNBANNED, BANNED] {
        scene.happens(event_type).await;
    }
    scene.booked(1).await;
    scene.app.clock.advance(Duration::from_secs(4));
    let id = scene.hook.path.rsplit_once('/').unwrap().1.to_owned();
    let has = async |lines: [String; 5]| {
        let measured = scene.fresh_admin().await.get("/metrics").await.is(200).text().to_owned();
        for line in lines {
            assert!(measured.lines().any(|measured| measured == line), "{line}: {measured}");
        }
    };
    has([
        format!(r#"gatehouse_webhook_pending{{webhook="{id}"}} 3"#),
        format!(r#"gatehouse_webhook_oldest_seconds{{webhook="{id}"}} 4"#),
        format!(r#"gatehouse_webhook_failures_total{{webhook="{id}"}} 1"#),
        r#"gatehouse_webhook_attempts_total{outcome="refused"} 1"#.to_owned(),
        r#"gatehouse_webhook_attempts_total{outcome="taken"} 0"#.to_owned(),
    ])
    .await;
    scene.receiver.answers("/in", Manner::Status(200));
    // What was measured is good for half a minute.
    scene.later(Duration::from_secs(40));
    scene.booked(4).await;
    has([
        format!(r#"gatehouse_webhook_pending{{webhook="{id}"}} 0"#),
        format!(r#"gatehouse_webhook_oldest_seconds{{webhook="{id}"}} 0"#),
        format!(r#"gatehouse_webhook_failures_total{{webhook="{id}"}} 1"#),
        r#"gatehouse_webhook_attempts_total{outcome="refused"} 1"#.to_owned(),
        r#"gatehouse_webhook_attempts_total{outcome="taken"} 3"#.to_owned(),
    ])
    .await;
}

#[tokio::test]
async fn after_three_days_it_is_switched_off_and_the_contact_is_told() {
    let settings = [("EMAIL_METHOD", "inbox"), ("CONTACT_EMAIL", "help@example.com")];
    let scene = Scene::with(&settings).await;
    scene.receiver.answers("/in", Manner::Status(500));
    let (first, second) = (scene.happens(BANNED).await, scene.happens(BANNED).await);
    scene.booked(1).await;
    let mut tries = 1;
    // No pause is longer.
    let step = Duration::from_mins(145);
    for _ in 0..29 {
        scene.later(step);
        tries += 1;
        scene.booked(tries).await;
    }
    assert_eq!(scene.shown().await["enabled"], true, "{} is less than three days", (step * 29).as_secs());
    assert!(scene.app.letters_to("help@example.com").await.is_empty());
    scene.later(step);
    scene.booked(tries + 1).await;
    let shown = scene.shown().await;
    assert_eq!((&shown["enabled"], &shown["disabled_reason"]), (&json!(false), &json!("failing")));
    assert_eq!(shown["failing_since"], START.seconds());
    let mail = scene.app.mail_to("help@example.com", "webhook-disabled").await;
    assert!(mail.text.contains("127.0.0.1") && mail.text.contains("of a test"), "{mail:?}");
    assert!(mail.text.contains("2026-01-01 00:00 UTC"), "{mail:?}");
    let id = scene.hook.path.rsplit_once('/').unwrap().1;
    assert!(mail.text.contains(&format!("/console/webhooks?log={id}")), "{mail:?}");
    assert!(mail.html.contains(&format!("?log={id}")), "{mail:?}");
    assert!(!mail.text.contains("/in") && !mail.html.contains("/in"), "only the host: {mail:?}");

    // It stays off, and goes on where it stood once it is switched on.
    scene.later(Duration::from_hours(24));
    scene.receiver.answers("/in", Manner::Status(200));
    assert_eq!(scene.booked(tries + 1).await.len(), tries + 1);
    let on = scene.fresh_admin().await.patch(&scene.hook.path).json(&json!({"enabled": true})).await;
    let on = on.is(200).json();
    assert_eq!((&on["attempts"], &on["failing_since"]), (&json!(0), &Value::Null));
    let got = scene.booked(tries + 3).await;
    assert_eq!(ids(&got[tries + 1..]), [first.to_string(), second.to_string()]);
    assert_eq!(scene.app.letters_to("help@example.com").await, ["webhook-disabled"], "one letter");
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_asked_no_more_and_the_admins_are_told() {
    let scene = Scene::with(&[("EMAIL_METHOD", "inbox")]).await;
    let admin = scene.app.user("boss").await;
    scene.app.user("ann").await;
    let roles = json!({"roles": ["admin"]});
    scene.admin.patch(&admin.path()).json(&roles).await.ok();
    scene.receiver.answers("/in", Manner::Status(410));
    scene.happens(BANNED).await;
    scene.booked(1).await;
    let shown = scene.shown().await;
    assert_eq!((&shown["enabled"], &shown["disabled_reason"]), (&json!(false), &json!("gone")));
    let mail = scene.app.mail_to("boss@example.com", "webhook-disabled").await;
    assert!(mail.text.contains("410"), "{mail:?}");
    // Neither who is no admin, nor an address that nobody has proved.
    for other in ["ann@example.com", "root@example.com"] {
        assert!(!scene.app.letters_to(other).await.contains(&"webhook-disabled".to_owned()), "{other}");
    }
    scene.later(Duration::from_hours(3));
    scene.happens(BANNED).await;
    assert_eq!(scene.booked(1).await.len(), 1);
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_is_no_yes() {
    let scene = Scene::new().await;
    for (tries, status) in [301, 302, 303, 307, 308].into_iter().enumerate() {
        let there = scene.receiver.url("/elsewhere");
        scene.receiver.answers("/in", Manner::Header(status, "location", there));
        if tries == 0 {
            scene.happens(BANNED).await;
        } else {
            scene.later(Duration::from_mins(145));
        }
        scene.booked(tries + 1).await;
        assert_eq!(scene.log().await[0]["status"], status);
    }
    assert!(scene.receiver.got("/elsewhere").is_empty());
    assert_eq!(scene.shown().await["attempts"], 5);
}

#[tokio::test]
async fn a_receiver_is_left_alone_for_as_long_as_it_wants() {
    let scene = Scene::new().await;
    scene.receiver.answers("/in", Manner::Header(429, "retry-after", "1000".to_owned()));
    scene.happens(BANNED).await;
    scene.booked(1).await;
    assert_eq!(scene.shown().await["next_try_at"], START.seconds() + 1000);
    scene.receiver.answers("/in", Manner::Header(503, "retry-after", "99999999".to_owned()));
    scene.later(Duration::from_secs(1000));
    scene.booked(2).await;
    assert_eq!(scene.shown().await["next_try_at"], START.seconds() + 1000 + 6 * 3600, "within bounds");
}

#[tokio::test]
async fn a_receiver_that_is_away_or_babbles_is_no_trouble() {
    let scene = Scene::new().await;
    scene.receiver.answers("/in", Manner::Reset);
    scene.happens(BANNED).await;
    scene.booked(1).await;
    assert_eq!(scene.log().await[0]["error"], "unreachable");
    // What it says after 200 is not waited for.
    scene.receiver.answers("/in", Manner::Endless);
    scene.later(Duration::from_secs(10));
    scene.booked(2).await;
    assert_eq!(scene.log().await[0]["delivered"], true);
}

#[tokio::test]
async fn what_an_admin_changes_while_it_fails_counts_from_the_next_try() {
    let scene = Scene::new().await;
    scene.receiver.answers("/in", Manner::Status(500));
    let event = scene.happens(BANNED).await;
    scene.booked(1).await;
    let there = json!({"url": scene.receiver.url("/new")});
    let shown = scene.admin.patch(&scene.hook.path).json(&there).await.is(200).json();
    assert_eq!((&shown["attempts"], &shown["next_try_at"]), (&json!(0), &Value::Null));
    let got = eventually(|| async { scene.receiver.got("/new") }, |got: &Vec<_>| !got.is_empty()).await;
    assert_eq!(ids(&got), [event.to_string()]);
}

#[tokio::test]
async fn where_a_webhook_leads_now_gets_what_its_old_receiver_takes_late() {
    let scene = Scene::new().await;
    let takes = Arc::new(Notify::new());
    scene.receiver.answers("/in", Manner::When(Arc::clone(&takes)));
    let event = scene.happens(BANNED).await;
    scene.receiver.gets("/in", 1).await;
    let there = json!({"url": scene.receiver.url("/new")});
    scene.admin.patch(&scene.hook.path).json(&there).await.is(200);
    takes.notify_one();
    let got = scene.receiver.gets("/new", 1).await;
    assert_eq!(ids(&got), [event.to_string()]);
}
