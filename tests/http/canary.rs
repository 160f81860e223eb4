//! Nothing secret is ever logged: the program itself runs, says everything that it can say, and is then searched for
//! secrets that nobody else knows.

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gatehouse::platform::config::hash_of_secret;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Actor, Client, Storage, eventually};
use crate::mail::smtp::SmtpServer;
use crate::port::Port;

const PASSWORD: &str = "canary-Password 77 xylophone";
const WRONG: &str = "canary-Wrong 31 marmalade";
const NEW: &str = "canary-New 58 trombone";
const ADMIN: &str = "canary-Admin 12 harpsichord";
const SERVICE: &str = "canary-service-secret-4f9a2c7e1b8d6053";
const MASTER: &str = "canary-master-K3yB7tQ9zL5wX1cV8nM4aS6dF";

/// The program, running; it is told to stop and waited for at the end.
pub struct Running {
    child: Child,
    client: Client,
    folder: TempDir,
    _port: Port,
    _storage: Storage,
}

impl Running {
    /// With these settings beside those of every canary.
    pub async fn start(more: &[(String, String)]) -> Self {
        let (folder, storage) = (tempfile::tempdir().unwrap(), Storage::fresh());
        let port = Port::free();
        let child = Command::new(env!("CARGO_BIN_EXE_gatehouse"))
            .arg("serve")
            .current_dir(&folder)
            .env_clear()
            .envs([("LOG_LEVEL", "TRACE"), ("LOG_FORMAT", "json"), ("JWT_SECRET_KEY", MASTER)])
            .envs([("ADMIN_USERNAME", "boss"), ("ADMIN_PASSWORD", ADMIN), ("DATABASE_URI", storage.uri())])
            .env("SERVICE_CLIENTS", format!("billing:{}", hash_of_secret(SERVICE.as_bytes())))
            .envs(more.iter().map(|(name, text)| (name, text)))
            .env("PORT", port.number().to_string())
            .env("DATA_DIR", folder.path().join("data"))
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(folder.path().join("log")).unwrap())
            .stderr(std::fs::File::create(folder.path().join("errors")).unwrap())
            .spawn()
            .unwrap();
        let client = Client::of(SocketAddr::from(([127, 0, 0, 1], port.number())));
        let running = Self { child, client, folder, _port: port, _storage: storage };
        eventually(|| async { running.client.is_up().await }, |up| *up).await;
        running
    }

    /// A client of it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its `DATA_DIR`.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Everything that it wrote, after it has stopped by itself.
    pub fn stop(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        let mut text = String::new();
        for name in ["log", "errors"] {
            std::fs::File::open(self.folder.path().join(name)).unwrap().read_to_string(&mut text).unwrap();
        }
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill() {
            eprintln!("it had stopped: {error}");
        }
        self.child.wait().map(drop).unwrap_or_default();
    }
}

#[tokio::test]
async fn no_secret_is_logged_however_much_is_logged() {
    let running = Running::start(&[]).await;
    let app = &running.client;
    let mut secrets: Vec<String> =
        [PASSWORD, WRONG, NEW, ADMIN, SERVICE, MASTER].iter().map(ToString::to_string).collect();

    let registration = json!({
        "username": "canary", "email": "canary@example.com", "password": PASSWORD, "confirm_password": PASSWORD,
    });
    let ann = Actor::with_tokens(
        app,
        "canary",
        &app.post("/api/auth/register").json(&registration).await.is(201).json(),
    );
    app.post("/api/auth/register").json(&json!({"username": 7, "password": WRONG})).await.is(422);
    let login = |name: &str, password: &str| {
        app.post("/api/auth/login").json(&json!({"username": name, "password": password}))
    };
    login("canary", WRONG).await.is(401);
    // A password typed into the field of the name is a secret, too.
    login(WRONG, PASSWORD).await;
    let form = [("username", "boss"), ("password", ADMIN)];
    let reply = app.post("/api/auth/login").form(&form).await;
    let boss = Actor::with_tokens(app, "boss", &reply.is(200).json());
    secrets.extend(
        reply.headers().get_all("set-cookie").iter().map(|cookie| value_of(cookie.to_str().unwrap())),
    );
    let origin = "http://localhost:8000";
    let port = app.base().rsplit(':').next().unwrap();
    let origin = origin.replace("8000", port);
    let page = app.post("/signin").form(&form).header("origin", &origin).await;
    let cookie = value_of(page.is(303).header("set-cookie").unwrap());
    app.get("/api/user/me").header("cookie", &format!("gatehouse={cookie}")).await.is(200);
    secrets.push(cookie);

    let reply = app.post("/api/auth/token/refresh").json(&json!({"refresh_token": ann.refresh})).await;
    let renewed = Actor::with_tokens(app, "canary", &reply.is(200).json());
    boss.post("/api/auth/token/introspect").json(&json!({"token": renewed.access})).await.is(200);
    let asked = app.post("/api/auth/token/introspect").basic("billing", SERVICE);
    asked.json(&json!({"token": renewed.refresh})).await.is(200);
    app.get(&format!("/api/user/me?access_token={}", renewed.access)).await.is(401);
    app.get(&format!("/setup?token={}", renewed.refresh)).await;
    app.with_bearer(WRONG).get("/api/user/me").await.is(401);
    app.get("/api/user/me")
        .header("x-request-id", "traced")
        .header("authorization", &format!("Bearer {WRONG}x"))
        .await
        .is(401);
    let csrf = renewed.get("/api/auth/csrf").await.is(200).json()["csrf_token"].as_str().unwrap().to_owned();
    boss.post("/api/user/").json(&json!({"username": "other", "password": NEW})).await.is(201);
    boss.get(&format!("/api/user/?q={csrf}")).await.is(200);
    app.post("/api/auth/token/revoke").json(&json!({"token": renewed.refresh})).await.is(200);
    secrets.push(csrf);
    for actor in [&ann, &boss, &renewed] {
        secrets.extend([actor.access.clone(), actor.refresh.clone()]);
        // The signature alone would do, too.
        secrets.push(actor.access.rsplit('.').next().unwrap().to_owned());
    }
    if let Ok(url) = std::env::var("TEST_DATABASE_URL") {
        secrets.extend(url::Url::parse(&url).unwrap().password().map(str::to_owned));
    }

    let log = running.stop();
    assert!(
        log.lines().any(|line| line.contains("\"TRACE\"") || line.contains("\"DEBUG\"")),
        "it says everything"
    );
    assert!(log.contains("traced"), "what is no secret is there");
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        let line = log.lines().find(|line| line.contains(secret.as_str()));
        assert!(line.is_none(), "logged: {}", line.unwrap_or_default());
    }
}

#[tokio::test]
async fn nothing_secret_of_a_mail_is_logged_however_much_is_logged() {
    const SMTP_PASSWORD: &str = "canary-smtp-5d1c9b7e";
    let mut server = SmtpServer::start().await;
    let mut settings = server.settings();
    settings.push(("SMTP_USER".to_owned(), "gate".to_owned()));
    settings.push(("SMTP_PASSWORD".to_owned(), SMTP_PASSWORD.to_owned()));
    let running = Running::start(&settings).await;
    let login = json!({"username": "boss", "password": ADMIN});
    let reply = running.client.post("/api/auth/login").json(&login).await;
    let boss = Actor::with_tokens(&running.client, "boss", &reply.is(200).json());
    boss.post("/api/email/send-reset-password-email?recipient=ann@example.com").await.is(202);
    let text = server.next().await.text();
    let token = text.split("token=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let words = "canary-letter-77f0e2";
    let path = "/api/email/send-email?confirm=true&subject=Hi&recipient=ann@example.com";
    boss.post(path).header("x-request-id", "traced-mail").json(&words).await.is(202);
    server.next().await;
    boss.get("/dev/inbox.json").await.is(200);

    let log = running.stop();
    assert!(log.contains("traced-mail"), "what is no secret is there");
    for secret in [SMTP_PASSWORD, &token, words, &STANDARD.encode(format!("\0gate\0{SMTP_PASSWORD}"))] {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "logged: {}", line.unwrap_or_default());
    }
}

/// The value of a cookie, without its name and attributes.
fn value_of(cookie: &str) -> String {
    cookie.split(';').next().unwrap().split_once('=').unwrap().1.to_owned()
}
