//! The DNS says nothing: only what needs a name waits for it, and not for long.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::net::UdpSocket;

use crate::chance::unique;
use crate::client::Client;
use crate::database::{column, count};
use crate::gatehouse::{PASSWORD, Server, Signal, Site};
use crate::waiting::{SOON, until, until_true};
use crate::wire::spawn;

/// Whoever asks for something that needs a name has an answer by then: three seconds for the name, and some more.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same on a machine that stands still meanwhile.
const LATEST: Duration = Duration::from_secs(9);
/// Whoever asks for something else has one by then.
const AT_ONCE: Duration = Duration::from_secs(1);
/// The same on a machine that stands still meanwhile: whoever waited for a name would wait longer.
const BEFORE_A_NAME: Duration = Duration::from_millis(2900);
/// A mail for which nobody waits is given up for now by then.
const MAIL: Duration = SOON;
/// People who leave for the provider at the same time.
const LEAVING: usize = 40;
/// Threads that may be added meanwhile, however many ask: some for the mail, for each question at the provider, for files.
const THREADS: usize = 16;
const HOSTS: [&str; 4] = ["mail.example.com", "id.example.net", "hooks.example.org", "example.com"];

#[tokio::test]
async fn without_any_answer_of_the_dns_only_what_needs_a_name_waits_and_not_for_long() {
    if !rustix::process::geteuid().is_root() {
        return println!("only root gives a process a resolver of its own");
    }
    let dns = Silence::fall().await;
    let site = Site::new()
        .with("ADMIN_USERNAME", "root")
        .with("ADMIN_PASSWORD", PASSWORD)
        .with("EMAIL_METHOD", "smtp")
        .with("EMAIL_CHECK_MX", "True")
        .with("REQUIRE_EMAIL_VERIFICATION", "False")
        .with("SMTP_HOST", HOSTS[0])
        .with("SMTP_TLS", "False")
        .with("SMTP_SENDER_EMAIL", "gatehouse@example.com")
        .with("OIDC_PROVIDERS", "acme")
        .with("OIDC_ACME_ISSUER", &format!("https://{}", HOSTS[1]))
        .with("OIDC_ACME_CLIENT_ID", "gatehouse")
        .with("OIDC_ACME_CLIENT_SECRET", "a secret of the client")
        .with("ALLOWED_REDIRECT_URIS", "https://app.example.com/done")
        .with("THROTTLE_OAUTH", "1000000/1h");
    let mut server = dns.launch(&site);
    server.ready().await;
    let client = server.client();

    let (ann, took) = timed(client.sign_up("ann")).await;
    println!("a sign-up took {took:?}");
    assert!(ann.status == 201 && took < LATEST, "{took:?}: {ann:?}");
    let (before, over) = (server.threads(), Cell::new(false));
    let waiting = async {
        tokio::join!(leave(&client), join(&client), call(&client, &site), write(&client, &site));
        over.set(true);
    };
    let token = ann.text("access_token");
    let ((), most) = tokio::join!(waiting, work(&client, &token, &server, &over));
    assert!(most <= before + THREADS, "{before} threads, then {most}");
    let asked = dns.asked();
    for host in HOSTS {
        assert!(asked.contains(host), "nobody has asked for {host}, but for {asked:?}");
    }

    // Also the end doesn't wait for names: the last question is still open in the system.
    let hanging = client.ask(Method::GET, LEAVE, "", None);
    let (_, ended) = tokio::join!(hanging, async {
        server.signal(Signal::TERM);
        server.ended(LATEST).await
    });
    assert!(ended.success(), "{ended}");
}

const LEAVE: &str = "/oauth/acme?redirect_uri=https://app.example.com/done";

/// Many leave for the provider at once, several times.
async fn leave(client: &Client) {
    let mut slowest = Vec::new();
    for _ in 0..3 {
        let answers = join_all((0..LEAVING).map(|_| timed(client.ask(Method::GET, LEAVE, "", None)))).await;
        for (answer, took) in &answers {
            assert!(answer.status == 503 && *took < LATEST, "{took:?}: {answer:?}");
        }
        slowest.extend(answers.iter().map(|one| one.1).max());
    }
    println!("the last ones who left for the provider waited {slowest:?}");
    assert!(slowest.iter().any(|took| *took < PATIENCE), "{slowest:?}");
}

/// Some sign up, whose addresses are looked at.
async fn join(client: &Client) {
    let names: Vec<String> = (0..4).map(|number| format!("ben_{number}")).collect();
    for (answer, took) in join_all(names.iter().map(|name| timed(client.sign_up(name)))).await {
        assert!(answer.status == 201 && took < LATEST, "{took:?}: {answer:?}");
    }
}

/// A webhook is made and tried, and is sent an event.
async fn call(client: &Client, site: &Site) {
    let root = client.sign_in("root", PASSWORD).await.unwrap().text("access_token");
    let new = Some(json!({ "url": format!("https://{}/in", HOSTS[2]) }));
    let (made, took) = timed(client.ask(Method::POST, "/admin/webhooks", &root, new)).await;
    assert!(made.status == 201 && took < BEFORE_A_NAME, "{took:?}: {made:?}");
    let path = format!("/admin/webhooks/{}/test", made.body["webhook"]["id"].as_str().unwrap());
    let (tried, took) = timed(client.ask(Method::POST, &path, &root, None)).await;
    assert!(tried.body["delivered"] == false && took < LATEST, "{took:?}: {tried:?}");
    println!("a webhook that was tried took {took:?}");
    assert_eq!(client.sign_up("cat").await.unwrap().status, 201);
    let db = site.database().await;
    // Whichever comes first: the next ones wait behind it.
    let longest =
        "SELECT COALESCE(MAX(duration), -1) FROM webhook_deliveries WHERE event_type <> 'webhook.test'";
    until("the event is tried", MAIL, async || match count(&db, longest).await {
        duration @ 0.. => {
            assert!(Duration::from_millis(duration.unsigned_abs()) < LATEST, "{duration} ms");
            Ok(())
        }
        _ => Err("not yet"),
    })
    .await;
}

/// A mail is tried and kept for later.
async fn write(client: &Client, site: &Site) {
    let ann = Some(json!({ "email": "ann@example.com" }));
    let (asked, took) = timed(client.ask(Method::POST, "/auth/email/verify/request", "", ann)).await;
    assert!(asked.status == 202 && took < BEFORE_A_NAME, "{took:?}: {asked:?}");
    let db = site.database().await;
    let tried =
        "SELECT count(*) FROM mails WHERE state = 'waiting' AND attempts > 0 AND last_error IS NOT NULL";
    until_true("a mail is tried", MAIL, async || count(&db, tried).await > 0).await;
    let errors: Vec<Option<String>> = column(&db, "SELECT last_error FROM mails WHERE attempts > 0").await;
    println!("of the mail is said {:?}", errors[0]);
}

/// Somebody who needs no name works meanwhile; how many threads the server had at most.
async fn work(client: &Client, token: &str, server: &Server<'_>, over: &Cell<bool>) -> usize {
    let (mut slow, mut done, mut threads) = (Vec::new(), 0, 0);
    while !over.get() {
        let (me, took) = timed(client.me(token)).await;
        let (changed, took_too) = timed(client.describe("ann", token, &unique())).await;
        assert_eq!((me.status, changed.status), (200, 200));
        slow.extend([took, took_too].into_iter().filter(|took| *took >= AT_ONCE));
        threads = threads.max(server.threads());
        done += 2;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{done} requests meanwhile");
    // A machine that stands still holds one of them up now and then; a name that nobody finds, one after the other.
    assert!(slow.len() * 20 <= done, "what needs no name took {slow:?}, {done} requests");
    threads
}

async fn timed<T>(asked: impl Future<Output = reqwest::Result<T>>) -> (T, Duration) {
    let began = Instant::now();
    let answer = asked.await.unwrap();
    (answer, began.elapsed())
}

/// A name server that hears everything and never answers.
struct Silence {
    address: String,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Silence {
    async fn fall() -> Self {
        // A resolver is always on this port, so this one has an address of loopback for itself.
        let number = u64::from_str_radix(&unique(), 16).unwrap().to_le_bytes();
        let address = format!("127.{}.{}.{}", 2 + number[0] % 200, number[1], 1 + number[2] % 250);
        let socket = UdpSocket::bind((address.as_str(), 53)).await.unwrap();
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        let heard = Arc::clone(&asked);
        spawn(async move {
            let mut question = [0; 512];
            while let Ok(size) = socket.recv(&mut question).await {
                heard.lock().unwrap().extend(name(&question[..size]));
            }
        });
        Self { address, asked }
    }

    /// The names that were asked for.
    fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap().clone()
    }

    /// Starts a server whose system knows no other name server.
    fn launch<'s>(&self, site: &'s Site) -> Server<'s> {
        let (resolver, order) = (site.folder().join("resolv.conf"), site.folder().join("nsswitch.conf"));
        fs::write(&resolver, format!("nameserver {}\n", self.address)).unwrap();
        fs::write(&order, "hosts: files dns\n").unwrap();
        let script = format!(
            "mount --bind {} /etc/resolv.conf && {{ [ ! -e /etc/nsswitch.conf ] || \
             mount --bind {} /etc/nsswitch.conf; }} && exec \"$0\" \"$@\"",
            resolver.display(),
            order.display()
        );
        site.launch_as(Site::through(&site.command(&[]), "unshare", &["--mount", "sh", "-c", &script]))
    }
}

/// The name in a question (RFC 1035, 4.1.2).
fn name(question: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    let mut rest = question.get(12..)?;
    while let [length @ 1..=63, behind @ ..] = rest {
        let (label, others) = behind.split_at_checked(usize::from(*length))?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        rest = others;
    }
    Some(labels.join("."))
}
