//! Who asks for an import is asked about again: a body may take days, and much may happen to its sender meanwhile.

use std::time::Duration;

use futures_util::future::select;
use gatehouse::sessions::Ending;
use sea_orm::{ConnectionTrait, DbErr};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{FORM, changed_by, dump, exported, form, on_the_way, send};
use crate::harness::{Actor, PASSWORD, TestApp, eventually};

/// An upload of which half has been sent.
pub(super) struct Slow {
    socket: TcpStream,
    rest: Vec<u8>,
}

impl Slow {
    /// Begins it; when this returns, its head has been judged.
    pub(super) async fn begin(app: &TestApp, who: &Actor, what: &str, content: &[u8]) -> Self {
        let body = form(content);
        let mut socket = TcpStream::connect(app.base().strip_prefix("http://").unwrap()).await.unwrap();
        let head = format!(
            "POST /api/db/{what} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {FORM}\r\n\
             Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
            who.access,
            body.len()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        // The body is asked for by whoever reads it, and that is behind whoever judges the head.
        let mut go_on = [0; 25];
        socket.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        let (half, rest) = body.split_at(body.len() / 2);
        socket.write_all(half).await.unwrap();
        Self { socket, rest: rest.to_vec() }
    }

    /// Sends the rest; the status that is answered, and all of the answer.
    pub(super) async fn end(mut self) -> (u16, String) {
        self.socket.write_all(&self.rest).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_mins(1), self.socket.read_to_end(&mut answer));
        read.await.expect("an answer in time").unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer[9..12].parse().unwrap(), answer)
    }
}

#[tokio::test]
async fn a_slow_upload_of_somebody_who_stays_what_they_are_is_read_in() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let content = exported(&admin).await;
    let (status, answer) = Slow::begin(&app, &admin, "recover", &content).await.end().await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test]
async fn whoever_loses_right_session_or_account_meanwhile_changes_nothing() {
    let app = TestApp::new().await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    for (number, loss) in ["ban", "demotion", "end", "deletion"].into_iter().enumerate() {
        for what in ["import", "recover"] {
            let second = app.made_by_admin(&format!("s{number}{what}"), &["admin", "user"]).await;
            let content = exported(&admin).await;
            // An import would fill this, a recovery overwrite it.
            let content = changed_by(&content, "UPDATE users SET first_name = 'Eve' WHERE username = 'ann'");
            let slow = Slow::begin(&app, &second, what, &content).await;
            match loss {
                "ban" => {
                    let ban = format!("/api/admin/ban/{}", second.id);
                    admin.post(&ban).json(&json!({"reason": "caught"})).await.is(200);
                }
                "demotion" => {
                    admin.patch(&second.path()).json(&json!({"roles": ["user"]})).await.is(200);
                }
                "end" => {
                    let ended = app.inside.sessions.end(second.id, second.session(), Ending::Revoked).await;
                    assert!(ended.unwrap());
                }
                _ => {
                    admin.delete(&second.path()).await.ok();
                }
            }
            let same = dump(&app).await;
            let (status, answer) = slow.end().await;
            assert!(matches!(status, 401 | 403), "{loss}, {what}: {answer}");
            assert_eq!(dump(&app).await, same, "{loss}, {what}");
            // The file of what came is taken away beside the answer.
            eventually(async || on_the_way(&app), |left| *left == 0).await;
        }
    }
    assert_ne!(ann.me().await["first_name"], "Eve");
}

#[tokio::test]
async fn a_proof_must_be_fresh_when_the_file_has_arrived() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let content = exported(&admin).await;
    let slow = Slow::begin(&app, &admin, "recover", &content).await;
    app.clock.advance(Duration::from_mins(11));
    let (status, answer) = slow.end().await;
    assert_eq!(status, 401, "{answer}");
    assert!(answer.contains("reauthentication_required"), "{answer}");

    admin.post("/api/auth/reauthenticate").json(&json!({"password": PASSWORD})).await.ok();
    let slow = Slow::begin(&app, &admin, "recover", &content).await;
    app.clock.advance(Duration::from_mins(6));
    admin.post("/api/auth/reauthenticate").json(&json!({"password": PASSWORD})).await.ok();
    app.clock.advance(Duration::from_mins(6));
    let (status, answer) = slow.end().await;
    assert_eq!(status, 200, "proved again while it came: {answer}");
}

/// Holds what this statement writes; on SQLite nobody writes anything meanwhile.
pub(super) async fn hold(app: &TestApp, statement: &'static str) -> oneshot::Sender<()> {
    let (held, is_held) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let db = app.inside.db.clone();
    tokio::spawn(async move {
        let held = db.write::<_, DbErr, _>(move |tx| {
            Box::pin(async move {
                tx.execute_unprepared(statement).await?;
                held.send(()).unwrap();
                released.await.unwrap();
                Ok::<_, DbErr>(())
            })
        });
        held.await.unwrap();
    });
    is_held.await.unwrap();
    release
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_would_wait_for_long_is_told_to_come_again() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let content = exported(&admin).await;
    let release = hold(&app, "UPDATE users SET revision = revision").await;
    let send_one = || tokio::spawn(send(&admin, "import", &content).into_future());
    // Whichever has its turn first waits for what is held, and the other one for its turn.
    let (told, waiting) = select(send_one(), send_one()).await.factor_first();
    let told = told.unwrap();
    told.refused(503, "unavailable");
    assert_eq!(told.header("retry-after"), Some("30"));
    release.send(()).unwrap();
    waiting.await.unwrap().is(200);
    send(&admin, "import", &content).await.is(200);
}

#[tokio::test]
async fn what_the_right_is_when_the_accounts_are_held_decides() {
    let app = TestApp::new().await;
    let (admin, second) = (app.admin().await, app.made_by_admin("second", &["admin", "user"]).await);
    let content = exported(&admin).await;
    let content = changed_by(&content, "UPDATE users SET first_name = 'Eve' WHERE username = 'root'");
    // It has arrived and been judged, and waits for its turn to write; the ban is written before it.
    let (held, is_held) = oneshot::channel();
    let (release, released) = oneshot::channel::<()>();
    let (db, user) = (app.inside.db.clone(), second.id);
    let ban = tokio::spawn(async move {
        let act = db.write::<_, DbErr, _>(move |tx| {
            Box::pin(async move {
                let sql = "UPDATE users SET is_active = $1 WHERE id = $2";
                let values = [false.into(), user.into()];
                let backend = tx.get_database_backend();
                tx.execute_raw(sea_orm::Statement::from_sql_and_values(backend, sql, values)).await?;
                held.send(()).unwrap();
                released.await.unwrap();
                Ok::<_, DbErr>(())
            })
        });
        act.await.unwrap();
    });
    is_held.await.unwrap();
    let import = tokio::spawn(send(&second, "import", &content).into_future());
    tokio::time::sleep(Duration::from_secs(3)).await;
    release.send(()).unwrap();
    ban.await.unwrap();
    import.await.unwrap().is(401);
    assert!(!dump(&app).await.contains("Eve"));
}
