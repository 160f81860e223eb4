//! The directory at WorkOS, followed and compared by processes of their own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gatehouse::platform::clock::Clock;
use sea_orm::{ConnectionTrait, DatabaseConnection};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::database::count;
use crate::gatehouse::{Server, Site};
use crate::waiting::{SOON, until_true};
use crate::wire::spawn;

/// How long a follower that died keeps others from following (docs/workos.md), and some seconds for a busy machine.
const TAKEN_OVER: Duration = Duration::from_secs(15 + 15);
/// An orderly stop lets the next one follow sooner than the lease would run out.
const AT_ONCE: Duration = Duration::from_secs(10);
/// The exit code for what an operator mends in the configuration (`EX_CONFIG` of `sysexits.h`).
const CONFIGURATION: Option<i32> = Some(78);

// The fake answers beside the commands, which are waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_is_followed_by_a_process_of_its_own() {
    let workos = Workos::start().await;
    let site = workos.site();
    let server = site.start().await;
    let db = site.database().await;
    let mut first = follower(&site).await;
    workos.add("ann");
    arrives(&db, "ann", SOON).await;
    let second = follower(&site).await;
    first.kill();
    workos.add("bob");
    arrives(&db, "bob", TAKEN_OVER).await;
    let third = follower(&site).await;
    second.stop().await;
    workos.add("carl");
    arrives(&db, "carl", AT_ONCE).await;
    third.stop().await;
    server.stop().await;
    // With a database: without one, that is what a command for what exists would name.
    let off = Site::new();
    off.must(&["migrate", "up"]);
    for arguments in [&["workos-sync"][..], &["workos-check"], &["workos-reconcile"]] {
        let refused = off.run(arguments);
        assert_eq!(refused.code, CONFIGURATION, "{}", refused.all());
        assert!(refused.err.contains("WORKOS_API_KEY is not set"), "{}", refused.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_lists_drift_and_its_exit_code_tells() {
    let workos = Workos::start().await;
    let site = workos.site();
    let id = workos.add("ann");
    let checked = |arguments: &[&str], code: i32, words: &str| {
        let checked = site.run(arguments);
        assert_eq!(checked.code, Some(code), "{}", checked.all());
        assert!(checked.out.contains(words), "{words} is missing in: {}", checked.all());
        checked.out
    };
    site.must(&["migrate", "up"]);
    let missing = checked(&["workos-check"], 1, "missing here");
    assert!(missing.contains(&id) && missing.contains("1 users at WorkOS, 1 differences"), "{missing}");
    let following = follower(&site).await;
    let db = site.database().await;
    arrives(&db, "ann", SOON).await;
    checked(&["workos-check"], 0, "1 users at WorkOS, 0 differences");
    workos.tell("user.updated", &json!({ "id": "user_nobody" }));
    let set_aside = async || count(&db, "SELECT COUNT(*) FROM workos_quarantine").await == 1;
    until_true("it is set aside", SOON, set_aside).await;
    following.stop().await;
    checked(&["workos-check"], 1, "set aside");
    // What is forgotten is shown once more.
    checked(&["workos-check", "--forget"], 1, "set aside");
    checked(&["workos-check"], 0, "1 users at WorkOS, 0 differences");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_is_gone_through_again_beside_whoever_follows_it() {
    let workos = Workos::start().await;
    let site = workos.site();
    site.must(&["migrate", "up"]);
    let following = follower(&site).await;
    let db = site.database().await;
    for name in ["ann", "bob"] {
        workos.add(name);
        arrives(&db, name, SOON).await;
    }
    // Of those who came within minutes, events tell, and no list.
    db.execute_unprepared("UPDATE workos_users SET noted_at = noted_at - 3600000").await.unwrap();
    {
        let mut ledger = workos.ledger.lock().unwrap();
        let mut carl = ledger.users[0].clone();
        carl["id"] = json!("user_carl");
        carl["email"] = json!("carl@example.com");
        ledger.users[0]["last_name"] = json!("Smith");
        ledger.users[0]["updated_at"] = json!(Clock::System.now().rfc3339());
        ledger.users[1] = carl; // in the place of bob
    }
    let said = site.must(&["workos-reconcile"]);
    assert!(said.ends_with(" seen: 1 created, 1 changed, 1 removed, 0 refused\n"), "{said}");
    site.must(&["workos-check"]);
    let nothing = " seen: 0 created, 0 changed, 0 removed, 0 refused\n";
    let again = site.must(&["workos-reconcile"]);
    assert!(again.ends_with(nothing), "{again}");
    let since = Clock::System.now().before(Duration::from_hours(1)).rfc3339();
    let again = site.must(&["workos-resync", "--since", &since]);
    assert!(again.ends_with(nothing) && !again.starts_with("0 "), "{again}");
    // Whoever followed does so again.
    workos.add("dora");
    arrives(&db, "dora", SOON).await;
    following.stop().await;

    let ahead = Clock::System.now().after(Duration::from_hours(1)).rfc3339();
    for (time, code, words) in [
        ("yesterday", 2, "no moment as of RFC 3339"),
        (&*ahead, 1, "--since lies ahead"),
        ("2020-01-15T12:00:00Z", 1, "--since is too long ago"),
    ] {
        let refused = site.run(&["workos-resync", "--since", time]);
        assert_eq!(refused.code, Some(code), "{}", refused.all());
        assert!(refused.err.contains(words), "{}", refused.err);
    }
}

/// A process that follows, or waits for its turn.
async fn follower(site: &Site) -> Server<'_> {
    let follower = site.launch_as(site.command(&["workos-sync"]));
    let says_so = async || follower.output().contains("following the directory at WorkOS");
    until_true("it says that it follows", SOON, says_so).await;
    follower
}

/// Waits until somebody is here who was made there.
async fn arrives(db: &DatabaseConnection, name: &str, within: Duration) {
    let sql = format!("SELECT COUNT(*) FROM users WHERE email = '{name}@example.com'");
    until_true(name, within, async || count(db, &sql).await == 1).await;
}

/// WorkOS as far as this needs it: everybody, and what has happened, on one page each.
struct Workos {
    url: String,
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Default)]
struct Ledger {
    users: Vec<Value>,
    events: Vec<Value>,
}

impl Workos {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ledger = Arc::<Mutex<Ledger>>::default();
        let kept = Arc::clone(&ledger);
        spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                spawn(answer(socket, Arc::clone(&kept)));
            }
        });
        Self { url, ledger }
    }

    /// An installation whose directory is here, and whose servers do not follow it.
    fn site(&self) -> Site {
        Site::new()
            .with("WORKOS_API_KEY", "sk_test_fake")
            .with("WORKOS_BASE_URL", &self.url)
            .with("WORKOS_SYNC_IN_PROCESS", "False")
            .with("WORKOS_SYNC_INTERVAL_SECONDS", "1")
    }

    /// Adds `name@example.com`; their id.
    fn add(&self, name: &str) -> String {
        let (id, now) = (format!("user_{name}"), Clock::System.now().rfc3339());
        let user = json!({
            "object": "user", "id": id, "email": format!("{name}@example.com"), "email_verified": true,
            "first_name": name, "last_name": null, "created_at": now, "updated_at": now,
        });
        self.ledger.lock().unwrap().users.push(user.clone());
        self.tell("user.created", &user);
        id
    }

    fn tell(&self, event: &str, data: &Value) {
        let now = Clock::System.now().rfc3339();
        let mut ledger = self.ledger.lock().unwrap();
        let id = format!("event_{:03}", ledger.events.len());
        ledger.events.push(
            json!({"object": "event", "id": id, "event": event, "data": data, "created_at": now, "context": {}}),
        );
    }
}

impl Ledger {
    /// What is asked for; who goes on from an event is told what came behind it.
    fn page(&self, target: &str) -> Value {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let all = if path == "/events" { &self.events } else { &self.users };
        let after = query.split('&').find_map(|pair| pair.strip_prefix("after="));
        let last = after.and_then(|after| all.iter().position(|item| item["id"] == after));
        let data = &all[last.map_or(0, |last| last + 1)..];
        json!({"object": "list", "data": data, "list_metadata": {"before": null, "after": null}})
    }
}

/// Answers one question without a body. Whoever asked may be no more.
async fn answer(mut socket: TcpStream, ledger: Arc<Mutex<Ledger>>) {
    let (mut head, mut more) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        match socket.read(&mut more).await {
            Ok(size @ 1..) => head.extend_from_slice(&more[..size]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let page = ledger.lock().unwrap().page(head.split(' ').nth(1).unwrap_or_default()).to_string();
    let fields =
        format!("content-type: application/json\r\ncontent-length: {}\r\nconnection: close", page.len());
    let sent = socket.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{page}").as_bytes()).await;
    if let Err(error) = sent {
        println!("nobody reads: {error}");
    }
}
