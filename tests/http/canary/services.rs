//! The keys to other services: each of those says back what it was shown, and the broker refuses them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{ADMIN, Running};
use crate::harness::{Actor, eventually};
use crate::rabbitmq::Anywhere;

const MAILJET: &str = "canary-mailjet-8c2f61d0a97e";
const WORKOS: &str = "sk_canary_workos_5e0b7d93f1c8";
const HOOK: &str = "canary-hook-of-workos-2a9c4e7f";
const BUCKET: &str = "canary-bucket-71d8e3b5c0f64a92";
const SESSION: &str = "canary-bucket-session-0f9e8d7c";
const REDIS: &str = "canary-redis-63b1f0e8d7";
const RABBIT: &str = "canary-rabbit-94c7a2e5b8";
const COLLECTOR: &str = "canary-collector-d20f8b6e41";

/// A service that refuses whatever it is sent, and says it back in its refusal.
struct Echo {
    address: SocketAddr,
    refused: Arc<AtomicUsize>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let refused = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&refused);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    // Whoever hangs up has seen enough.
                    if refuse(stream).await.is_ok() {
                        counted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        Self { address, refused }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn was_asked(&self) {
        eventually(|| async { self.refused.load(Ordering::Relaxed) }, |times| *times > 0).await;
    }
}

/// One request of HTTP, or one line of another protocol.
async fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    let mut said = [0; 8192];
    let length = stream.read(&mut said).await?;
    let head = "HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain\r\nConnection: close\r\n";
    stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes()).await?;
    stream.write_all(&said[..length]).await?;
    stream.shutdown().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_to_another_service_is_logged_or_told_when_it_says_the_key_back() {
    let (mailjet, workos, bucket, redis, collector) = (
        Echo::start().await,
        Echo::start().await,
        Echo::start().await,
        Echo::start().await,
        Echo::start().await,
    );
    let broker = Anywhere::find();
    let mut rabbitmq = url::Url::parse(&broker.url()).unwrap();
    rabbitmq.set_username("canary").unwrap();
    rabbitmq.set_password(Some(RABBIT)).unwrap();
    let settings = [
        ("EMAIL_METHOD", "mj".to_owned()),
        ("MJ_APIKEY_PUBLIC", "public".to_owned()),
        ("MJ_APIKEY_PRIVATE", MAILJET.to_owned()),
        ("MJ_SENDER_EMAIL", "gate@example.com".to_owned()),
        ("MAILJET_BASE_URL", mailjet.url()),
        ("WORKOS_API_KEY", WORKOS.to_owned()),
        ("WORKOS_CLIENT_ID", "client_canary".to_owned()),
        ("WORKOS_WEBHOOK_SECRET", HOOK.to_owned()),
        ("WORKOS_BASE_URL", workos.url()),
        ("WORKOS_SYNC_INTERVAL_SECONDS", "1".to_owned()),
        ("STORAGE_URL", "s3://files".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIACANARY".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", BUCKET.to_owned()),
        ("AWS_SESSION_TOKEN", SESSION.to_owned()),
        ("AWS_REGION", "eu-central-1".to_owned()),
        ("AWS_ENDPOINT_URL", bucket.url()),
        ("RATE_LIMITER_ENABLED", "True".to_owned()),
        ("REDIS_URL", format!("redis://:{REDIS}@{}", redis.address)),
        ("RABBITMQ_URL", rabbitmq.to_string()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer {COLLECTOR}")),
    ];
    let settings = settings.map(|(name, text)| (name.to_owned(), text));
    let running = Running::start(&settings).await;
    let app = running.client();
    let login = json!({"username": "boss", "password": ADMIN});
    let boss =
        Actor::with_tokens(app, "boss", &app.post("/api/auth/login").json(&login).await.is(200).json());
    let mail = "/api/email/send-email?confirm=true&subject=Hi&recipient=ann@example.com";
    boss.post(mail).header("x-request-id", "traced-services").json(&"hello").await.is(202);
    let form =
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\nhello\r\n--B--\r\n";
    let upload = boss.post("/api/file").body("multipart/form-data; boundary=B", form).await;
    upload.refused(503, "unavailable");
    for service in [&mailjet, &workos, &bucket, &redis] {
        service.was_asked().await;
    }
    eventually(|| async { running.written() }, |log| log.contains("RabbitMQ can't be used")).await;
    let told = [
        upload.text().to_owned(),
        app.get("/health/ready").await.text().to_owned(),
        app.get("/metrics").await.is(200).text().to_owned(),
        boss.get("/api/admin/stats").await.is(200).text().to_owned(),
        boss.get("/api/admin/events").await.is(200).text().to_owned(),
        boss.get("/api/admin/audit").await.is(200).text().to_owned(),
    ];

    // It sends what it has measured at the end, too.
    let log = running.stop();
    collector.was_asked().await;
    assert!(log.contains("traced-services"), "what is no secret is there");
    let login = STANDARD.encode(format!("public:{MAILJET}"));
    for secret in [MAILJET, WORKOS, HOOK, BUCKET, SESSION, REDIS, RABBIT, COLLECTOR, &login] {
        let line = log.lines().chain(told.iter().map(String::as_str)).find(|line| line.contains(secret));
        assert!(line.is_none(), "told: {}", line.unwrap_or_default());
    }
}
