//! How things stand.

use std::time::Duration;

use serde_json::{Value, json};

use super::ban;
use crate::harness::{START, TestApp};

#[tokio::test]
async fn people_sessions_mails_and_files_are_counted() {
    let app = TestApp::with_mail(&[]).await;
    app.admin().await;
    let ann = app.user("ann").await;
    let (bob, carl) = (app.user("bob").await, app.user("carl").await);
    let form =
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhello\r\n--B--\r\n";
    ann.post("/api/file").body("multipart/form-data; boundary=B", form).await.is(201);
    app.clock.advance(Duration::from_hours(24));
    app.made_by_admin("late", &["moderator", "user"]).await;
    let admin = app.admin().await;
    ban(&admin, &bob, "x").await.is(200);
    let carl = app.sign_in(&carl.name).await;
    carl.delete(&carl.path()).await.is(200);
    let stats = admin.get("/api/admin/stats").await.is(200).json();
    let roles = json!([
        {"role": "admin", "count": 1}, {"role": "moderator", "count": 2}, {"role": "tester", "count": 0},
        {"role": "user", "count": stats["users"]["roles"][3]["count"]},
    ]);
    assert_eq!(
        stats["users"],
        json!({
            "active": 3, "banned": 1, "deleted": 1, "verified": stats["users"]["verified"], "second_factor": 0,
            "roles": roles,
        })
    );
    assert!(stats["users"]["verified"].as_u64().unwrap() >= 1);
    let days = stats["sign_ups"].as_array().unwrap();
    assert_eq!(days.len(), 30);
    assert_eq!(days[29], json!({"day": START.seconds() + 86_400, "count": 1}));
    assert_eq!(days[28], json!({"day": START.seconds(), "count": 4}));
    assert!(days[..28].iter().all(|day| day["count"] == 0));
    assert_eq!(stats["storage"], json!({"files": 1, "bytes": 5}));
    assert_eq!(stats["outbox"], Value::Null);
    assert_eq!(stats["counted_at"], app.clock.now().seconds());
    assert_eq!(stats["sessions"]["open"], app.inside.sessions.count_open().await.unwrap());
    let mails = &stats["mail"];
    assert!(mails["waiting"].as_u64().unwrap() + mails["sent"].as_u64().unwrap() >= 3, "{mails}");
}

#[tokio::test]
async fn nobody_has_it_counted_all_the_time() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let first = admin.get("/api/admin/stats").await.is(200).json();
    app.user("ann").await;
    assert_eq!(admin.get("/api/admin/stats").await.is(200).json(), first);
}

#[tokio::test]
async fn only_admins_are_told() {
    let app = TestApp::new().await;
    for who in [app.moderator().await, app.user("ann").await] {
        who.get("/api/admin/stats").await.refused(403, "forbidden");
        who.get("/api/admin/audit").await.refused(403, "forbidden");
    }
}
