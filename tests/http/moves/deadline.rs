//! Moves of data take as long as they take: the deadline of requests is not theirs.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::exported;
use super::judging::{Slow, hold};
use crate::harness::{Actor, TestApp, eventually};

/// Another instance, where requests have a second, and an admin who asks there.
async fn hasty(app: &TestApp, admin: &Actor) -> (TestApp, Actor) {
    let hasty = app.restarted_with(&[("REQUEST_TIMEOUT_SECONDS", "1")]).await;
    let admin = admin.at(&hasty);
    (hasty, admin)
}

/// Has a request be refused for taking too long: whatever began before it, and has that deadline, is refused by then.
async fn deadline_comes(app: &TestApp) {
    let mut socket = TcpStream::connect(app.base().strip_prefix("http://").unwrap()).await.unwrap();
    let half = "POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
                Content-Length: 99\r\nConnection: close\r\n\r\n{";
    socket.write_all(half.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_mins(1), socket.read_to_end(&mut answer));
    read.await.expect("an answer in time").unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("The request took too long."), "{answer}");
}

#[tokio::test]
async fn what_is_read_in_may_come_slower_than_other_requests() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let content = exported(&admin).await;
    let (hasty, admin) = hasty(&app, &admin).await;
    for what in ["import", "recover"] {
        let slow = Slow::begin(&hasty, &admin, what, &content).await;
        deadline_comes(&hasty).await;
        let (status, answer) = slow.end().await;
        assert_eq!(status, 200, "{what}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_export_may_take_longer_than_other_requests() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let (hasty, admin) = hasty(&app, &admin).await;
    // PostgreSQL waits two seconds for what is held. On a machine that stands still meanwhile that is too short, but not
    // each time; and it is another refusal than that of the deadline.
    for _ in 0..5 {
        // It is written into the log of what staff did before it is answered.
        let release = hold(&hasty, "UPDATE audit_head SET number = number").await;
        let export = tokio::spawn(admin.get("/api/db/export").into_future());
        // With the one that asks.
        let two = "\ngatehouse_http_requests_in_flight 2\n";
        eventually(|| hasty.get("/metrics"), |reply| reply.text().contains(two)).await;
        deadline_comes(&hasty).await;
        release.send(()).unwrap();
        let export = export.await.unwrap();
        if export.status() == 200 {
            return;
        }
        export.refused(503, "unavailable");
        assert_ne!(export.json()["detail"], "The request took too long.");
    }
    panic!("of five exports none was answered");
}
