//! Bodies that come late: what a request may do is judged by its head, and much may happen to its sender before the last byte.

use std::time::Duration;

use gatehouse::sessions::Ending;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Actor, PASSWORD, TestApp};

const FORM: &str = "multipart/form-data; boundary=late";
const DEEDS: usize = 5;

/// A request that lacks the last byte of its body.
struct Late {
    socket: TcpStream,
    last: u8,
}

impl Late {
    /// Begins it; when this returns, its head has been judged.
    async fn begin(app: &TestApp, who: &Actor, line: &str, media_type: &str, body: &str) -> Self {
        let mut socket = TcpStream::connect(app.base().strip_prefix("http://").unwrap()).await.unwrap();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {media_type}\r\n\
             Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
            who.access,
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        // The body is asked for by whoever reads it, and that is behind whoever judges the head.
        let mut go_on = [0; 25];
        socket.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        let (last, most) = body.as_bytes().split_last().unwrap();
        socket.write_all(most).await.unwrap();
        Self { socket, last: *last }
    }

    /// Sends the last byte; the status that is answered, and all of the answer.
    async fn end(mut self) -> (u16, String) {
        self.socket.write_all(&[self.last]).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_mins(1), self.socket.read_to_end(&mut answer));
        read.await.expect("an answer in time").unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer[9..12].parse().unwrap(), answer)
    }
}

/// What `admin` does, as line, kind and body.
fn deeds(admin: &Actor, pal: &Actor) -> [(String, &'static str, String); DEEDS] {
    let json = "application/json";
    let new = json!({ "username": "sleeper", "email": "sleeper@example.test", "roles": ["admin", "user"],
        "password": PASSWORD });
    let file = "--late\r\nContent-Disposition: form-data; name=\"file\"; filename=\"late.txt\"\r\n\r\nlate\r\n--late--\r\n";
    [
        (format!("PATCH {}", pal.path()), json, json!({ "roles": ["admin", "user"] }).to_string()),
        ("POST /api/user/".to_owned(), json, new.to_string()),
        (format!("POST /api/admin/ban/{}", pal.id), json, json!({ "reason": "spite" }).to_string()),
        ("POST /api/file/".to_owned(), FORM, file.to_owned()),
        (format!("PATCH {}", admin.path()), json, json!({ "description": "late" }).to_string()),
    ]
}

/// What may happen to an admin meanwhile.
async fn befalls(app: &TestApp, admin: &Actor, second: &Actor, what: &str) {
    match what {
        "ban" => {
            let ban = format!("/api/admin/ban/{}", second.id);
            admin.post(&ban).json(&json!({ "reason": "caught" })).await.is(200);
        }
        "demotion" => {
            admin.patch(&second.path()).json(&json!({ "roles": ["moderator", "user"] })).await.is(200);
        }
        "end" => {
            let ended = app.inside.sessions.end(second.id, second.session(), Ending::Revoked).await;
            assert!(ended.unwrap());
        }
        _ => {
            admin.delete(&second.path()).await.ok();
        }
    }
}

/// What the deeds would change.
async fn state(admin: &Actor, pal: &Actor) -> Value {
    // Not by the count, which may be two seconds old where counting takes long.
    let everybody = admin.get("/api/user/?limit=1000").await.json();
    let names: Vec<Value> =
        everybody.as_array().unwrap().iter().map(|user| user["username"].clone()).collect();
    let files = admin.get("/api/file/").await.json();
    json!([admin.get(&pal.path()).await.json(), names, files])
}

//
#[tokio::test]
async fn whoever_is_sent_away_before_the_last_byte_changes_nothing() {
    let app = TestApp::new().await;
    let (admin, pal) = (app.admin().await, app.user("pal").await);
    for loss in ["ban", "demotion", "end", "deletion"] {
        for number in 0..DEEDS {
            let second = app.made_by_admin(&format!("s{number}{loss}"), &["admin", "user"]).await;
            let (line, kind, body) = &deeds(&second, &pal)[number];
            let late = Late::begin(&app, &second, line, kind, body).await;
            befalls(&app, &admin, &second, loss).await;
            let before = state(&admin, &pal).await;
            let (status, answer) = late.end().await;
            assert_eq!(status, 401, "{loss}, {line}: {answer}");
            assert_eq!(state(&admin, &pal).await, before, "{loss}, {line}");
        }
    }
}

//
#[tokio::test]
async fn another_address_can_not_be_brought_in_late_by_a_session_that_was_ended() {
    let app = TestApp::new().await;
    let thief = app.user("ann").await;
    let ann = app.sign_in("ann").await;
    let (line, body) =
        (format!("PATCH {}", thief.path()), json!({ "email": "thief@example.test" }).to_string());
    let late = Late::begin(&app, &thief, &line, "application/json", &body).await;
    let change = json!({ "old_password": PASSWORD, "new_password": "another-Lamp 5 loud harbours",
        "confirm_password": "another-Lamp 5 loud harbours" });
    ann.patch("/api/auth/password/reset").json(&change).await.ok();
    let (status, answer) = late.end().await;
    assert_eq!(status, 401, "{answer}");
    let admin = app.admin().await;
    assert_ne!(admin.get(&ann.path()).await.json()["email"], "thief@example.test");
}

// a moderator may change what is shown of people, but not of admins, nor see who is deleted.
#[tokio::test]
async fn a_moderator_changes_nobody_late_who_has_become_more_or_is_gone() {
    let app = TestApp::new().await;
    let (admin, moderator) = (app.admin().await, app.moderator().await);
    let body = json!({ "description": "late" }).to_string();
    for (method, what, expected) in [
        ("PATCH", "admin", 403),
        ("PUT", "admin", 403),
        ("PATCH", "moderator", 403),
        ("PUT", "gone", 404),
        ("PATCH", "tester", 200),
    ] {
        let pal = app.made_by_admin(&format!("{}_{what}", method.to_lowercase()), &["user"]).await;
        let line = format!("{method} {}", pal.path());
        let late = Late::begin(&app, &moderator, &line, "application/json", &body).await;
        if what == "gone" {
            admin.delete(&pal.path()).await.ok();
        } else {
            admin.patch(&pal.path()).json(&json!({ "roles": [what, "user"] })).await.is(200);
        }
        let before = state(&admin, &pal).await;
        let (status, answer) = late.end().await;
        assert_eq!(status, expected, "{line}, {what}: {answer}");
        assert_eq!(state(&admin, &pal).await == before, expected != 200, "{line}, {what}");
    }
}

#[tokio::test]
async fn a_late_body_of_somebody_who_stays_what_they_are_is_taken() {
    let app = TestApp::new().await;
    let (admin, pal) = (app.admin().await, app.user("pal").await);
    for (line, kind, body) in deeds(&admin, &pal) {
        let (status, answer) = Late::begin(&app, &admin, &line, kind, &body).await.end().await;
        assert!(matches!(status, 200 | 201), "{line}: {answer}");
    }
}
