//! Nothing secret is ever logged: the program itself runs, says everything that it can say, and is then searched for
//! secrets that nobody else knows.

mod services;

use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gatehouse::platform::clock::Clock;
use gatehouse::platform::config::hash_of_secret;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{Actor, Client, Demand, Reply, Storage, eventually, recovery_codes};
use crate::mail::smtp::SmtpServer;
use crate::port::Port;

const PASSWORD: &str = "canary-Password 77 xylophone";
const WRONG: &str = "canary-Wrong 31 marmalade";
const NEW: &str = "canary-New 58 trombone";
pub const ADMIN: &str = "canary-Admin 12 harpsichord";
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
        self.written()
    }

    /// Everything that it has written so far.
    pub fn written(&self) -> String {
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

/// The next mail in which this is found; others, such as notices of a new device, may come before.
async fn mailed(server: &mut SmtpServer, find: impl Fn(&str) -> Option<String>) -> String {
    loop {
        if let Some(found) = find(&server.next().await.text()) {
            return found;
        }
    }
}

/// The link with a token in a mail.
fn link_in(text: &str) -> Option<String> {
    text.split_whitespace().find(|word| word.contains("token=")).map(str::to_owned)
}

/// The code in a mail: the line that is all digits.
fn code_in(text: &str) -> Option<String> {
    let is_code = |line: &&str| line.len() >= 6 && line.bytes().all(|byte| byte.is_ascii_digit());
    text.lines().map(str::trim).find(is_code).map(str::to_owned)
}

/// Follows a link of a mail as a browser does; its token.
async fn follow(app: &Client, link: &str) -> String {
    let link = url::Url::parse(link).unwrap();
    let page = app.get(&format!("{}?{}", link.path(), link.query().unwrap())).await;
    assert!(page.status() < 400, "{page:?}");
    link.query_pairs().find(|(name, _)| name == "token").unwrap().1.into_owned()
}

/// Signs up and proves the address; the token of the link.
async fn sign_up(app: &Client, server: &mut SmtpServer, name: &str) -> String {
    let registration = json!({
        "username": name, "email": format!("{name}@example.com"), "password": PASSWORD,
        "confirm_password": PASSWORD,
    });
    app.post("/api/auth/register").json(&registration).await.is(202);
    let token = follow(app, &mailed(server, link_in).await).await;
    app.post("/api/auth/email/verify").json(&json!({"token": token})).await.is(200);
    token
}

async fn sign_in(app: &Client, name: &str, password: &str) -> Reply {
    app.post("/api/auth/login").json(&json!({"username": name, "password": password})).await
}

/// Whether a line says this. Digits are a code by themselves only: not within a time, a longer number or an id.
fn says(line: &str, secret: &str) -> bool {
    if !secret.bytes().all(|byte| byte.is_ascii_digit()) {
        return line.contains(secret);
    }
    let goes_on = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    let was_begun = |letter: char| goes_on(letter) || letter == '.';
    line.match_indices(secret)
        .any(|(at, _)| !line[..at].ends_with(was_begun) && !line[at + secret.len()..].starts_with(goes_on))
}

//
#[tokio::test]
async fn nothing_secret_of_a_second_factor_or_a_mailed_link_is_logged_however_much_is_logged() {
    let mut server = SmtpServer::start().await;
    let running = Running::start(&server.settings()).await;
    let app = running.client();
    let mut secrets: Vec<String> = [PASSWORD, NEW].map(str::to_owned).to_vec();

    // The links: to prove an address at sign-up, and to a new password.
    secrets.push(sign_up(app, &mut server, "canary").await);
    app.post("/api/auth/forgot-password/request").json(&json!({"username": "canary"})).await.is(202);
    let token = follow(app, &mailed(&mut server, link_in).await).await;
    let reset = json!({"token": token, "new_password": NEW, "confirm_password": NEW});
    app.post("/api/auth/forgot-password/reset").json(&reset).await.is(200);
    // Used up, and shown again.
    app.post("/api/auth/forgot-password/reset").json(&reset).await.is(401);
    secrets.push(token);

    // An authenticator.
    let ann = Actor::with_tokens(app, "canary", &sign_in(app, "canary", NEW).await.is(200).json());
    let authenticator = ann.begin_authenticator().await;
    let uri = url::Url::parse(&authenticator.uri).unwrap();
    secrets.push(uri.query_pairs().find(|(name, _)| name == "secret").unwrap().1.into_owned());
    secrets.push(authenticator.uri.clone());
    let code = authenticator.code_at(Clock::System.now());
    let codes = recovery_codes(&ann.change_method("authenticator", &code).await.is(200).json());
    let demand = Demand::of(&sign_in(app, "canary", NEW).await);
    let answer = |token: &str, code: &str| {
        let answer = json!({"otp_token": token, "otp_code": code});
        app.post("/api/auth/OTP").header("x-request-id", "traced-code").json(&answer)
    };
    answer(&demand.token, &code).await.refused(401, "invalid_otp");
    answer(&demand.token, &codes[0]).await.is(200);
    secrets.extend([code, demand.token]);
    secrets.extend(codes);

    // Codes by mail.
    secrets.push(sign_up(app, &mut server, "mailed").await);
    let ben = Actor::with_tokens(app, "mailed", &sign_in(app, "mailed", PASSWORD).await.is(200).json());
    ben.post("/api/auth/OTP/send").await.is(202);
    let code = mailed(&mut server, code_in).await;
    let codes = recovery_codes(&ben.change_method("email", &code).await.is(200).json());
    let demand = Demand::of(&sign_in(app, "mailed", PASSWORD).await);
    answer(&demand.token, &code).await.refused(401, "invalid_otp");
    answer(&demand.token, &codes[0]).await.is(200);
    secrets.extend([code, demand.token]);
    secrets.extend(codes);

    let log = running.stop();
    assert!(log.contains("traced-code"), "what is no secret is there");
    let bare: Vec<String> = secrets.iter().map(|secret| secret.replace('-', "")).collect();
    for secret in secrets.iter().chain(&bare) {
        assert!(secret.len() >= 6, "there is something to be found");
        let line = log.lines().find(|line| says(line, secret));
        assert!(line.is_none(), "logged: {}", line.unwrap_or_default());
    }
}

/// The value of a cookie, without its name and attributes.
fn value_of(cookie: &str) -> String {
    cookie.split(';').next().unwrap().split_once('=').unwrap().1.to_owned()
}
