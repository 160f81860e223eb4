//! The program is killed while it delivers to a webhook: the receiver gets every event, in order.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::chance::{Dice, rounds, unique};
use crate::client::Client;
use crate::database::column;
use crate::gatehouse::{PASSWORD, Server, Site};
use crate::waiting::{SOON, until, until_true};
use crate::wire::spawn;

/// How long what waits at last may take. Each of it is a request and a commit.
const DRAINED: Duration = Duration::from_mins(2);
/// Before somebody changes something again: what happens while the lease of a killed one runs out is to be delivered as well.
const PAUSE: Duration = Duration::from_millis(50);

/// A request that came: the event's id, and its body.
type Got = (Uuid, Vec<u8>);

/// Somebody who takes every event.
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<Got>>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in", listener.local_addr().unwrap());
        let got = Arc::<Mutex<Vec<Got>>>::default();
        let kept = Arc::clone(&got);
        spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                spawn(take(socket, Arc::clone(&kept)));
            }
        });
        Self { url, got }
    }

    fn count(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

/// Takes what comes on a connection, until it ends.
async fn take(mut socket: TcpStream, got: Arc<Mutex<Vec<Got>>>) {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name).map(str::trim));
            let length: usize = header("content-length:").unwrap().parse().unwrap();
            if bytes.len() >= end + 4 + length {
                let id = header("webhook-id:").unwrap().parse().unwrap();
                let rest = bytes.split_off(end + 4 + length);
                got.lock().unwrap().push((id, bytes.split_off(end + 4)));
                bytes = rest;
                // Whoever asked may be no more.
                if socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.is_err() {
                    return;
                }
                continue;
            }
        }
        let mut part = [0; 8192];
        match socket.read(&mut part).await {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes.extend_from_slice(&part[..count]),
        }
    }
}

#[tokio::test]
async fn a_program_that_is_killed_while_it_delivers_repeats_only_the_event_it_had_in_hand() {
    let (dice, receiver) = (Dice::new(), Receiver::start().await);
    let site = Site::new()
        .with("ADMIN_USERNAME", "root")
        .with("ADMIN_PASSWORD", PASSWORD)
        .with("JWT_EXP", "1440")
        .with("WEBHOOK_ALLOW_PRIVATE", "True");
    let mut server = site.start().await;
    let client = server.client();
    let ann = client.sign_up("ann").await.unwrap().text("access_token");
    let admin = client.sign_in("root", PASSWORD).await.unwrap().text("access_token");
    let new = json!({"url": receiver.url, "description": "", "event_types": ["user.updated"]});
    let made = client.ask(Method::POST, "/admin/webhooks", &admin, Some(new)).await.unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    let mut answered = 0;
    for round in 0..rounds(3) {
        let known = receiver.count();
        answered += act_and_kill(&mut server, &ann, &receiver, &dice).await;
        println!("round {round}: {} deliveries, {answered} changes", receiver.count() - known);
        server = site.start().await;
    }
    let db = site.database().await;
    let told = "SELECT id FROM events WHERE event_type = 'user.updated' ORDER BY position";
    let expected: Vec<Uuid> = until("all is delivered", DRAINED, async || {
        let expected: Vec<Uuid> = column(&db, told).await;
        let last = receiver.got().last().map(|(id, _)| *id);
        if last.is_some() && last == expected.last().copied() { Ok(expected) } else { Err(receiver.count()) }
    })
    .await;
    assert!(expected.len() >= answered, "{} events of {answered} changes", expected.len());
    server.stop().await;
    let mut got = receiver.got();
    let all = got.len();
    // A repeated event comes at once, before any other, and is the same to the byte.
    got.dedup();
    let ids: Vec<Uuid> = got.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, expected);
    println!("{} events, {} repeated", got.len(), all - got.len());
}

/// Somebody acts until the program is killed, while it delivers or just after; how many acts were answered.
async fn act_and_kill(server: &mut Server<'_>, token: &str, receiver: &Receiver, dice: &Dice) -> usize {
    let (client, over) = (server.client(), Cell::new(false));
    let (known, moment) = (receiver.count(), dice.millis(0..300));
    let acting = async {
        let mut answered = 0;
        while !over.get() {
            answered += usize::from(acts(&client, token).await);
            tokio::time::sleep(PAUSE).await;
        }
        answered
    };
    let killing = async {
        // The lease of the one that was killed before runs out first.
        until_true("a delivery", SOON, async || receiver.count() > known).await;
        tokio::time::sleep(moment).await;
        server.kill();
        over.set(true);
    };
    tokio::join!(acting, killing).0
}

/// Changes something; whether it was answered.
async fn acts(client: &Client, token: &str) -> bool {
    match client.describe("ann", token, &unique()).await {
        Ok(answer) => answer.status == 200,
        Err(error) => {
            println!("not answered: {error}");
            false
        }
    }
}
