//! Mailjet, as far as its wire goes.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{letter_to, notice, post, settled};
use crate::harness::TestApp;

/// A server that answers each request with the next of these, and shows what it was asked.
struct Mailjet {
    address: SocketAddr,
    asked: mpsc::UnboundedReceiver<(String, Value)>,
}

impl Mailjet {
    async fn answering(answers: Vec<(u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ask, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for (status, body) in answers {
                let (stream, _) = listener.accept().await.unwrap();
                ask.send(answer(stream, status, &body.to_string()).await).unwrap();
            }
        });
        Self { address, asked }
    }

    async fn app(&self) -> TestApp {
        let base = format!("http://{}", self.address);
        let settings = [
            ("EMAIL_METHOD", "mj"),
            ("MJ_APIKEY_PUBLIC", "public"),
            ("MJ_APIKEY_PRIVATE", "private"),
            ("MJ_SENDER_EMAIL", "gate@example.com"),
            ("MAILJET_BASE_URL", &base),
        ];
        let app = TestApp::with(&settings).await;
        app.inside.start_background();
        app
    }

    async fn next(&mut self) -> (String, Value) {
        tokio::time::timeout(Duration::from_mins(1), self.asked.recv()).await.unwrap().unwrap()
    }
}

/// One request, one answer, one connection.
async fn answer(mut stream: TcpStream, status: u16, body: &str) -> (String, Value) {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        let mut piece = [0; 8192];
        let read = stream.read(&mut piece).await.unwrap();
        assert!(read > 0, "a whole request");
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            break (head.to_owned(), length.unwrap_or(0));
        }
    };
    while bytes.len() < head.len() + 4 + length {
        let mut piece = [0; 8192];
        let read = stream.read(&mut piece).await.unwrap();
        bytes.extend_from_slice(&piece[..read]);
    }
    let asked = serde_json::from_slice(&bytes[head.len() + 4..]).unwrap();
    let location = if status == 302 { "location: http://127.0.0.1:1/\r\n" } else { "" };
    let reply = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\n{location}connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(reply.as_bytes()).await.unwrap();
    (head, asked)
}

#[tokio::test]
async fn a_mail_is_one_message_to_one_recipient_without_tracking() {
    let mut mailjet = Mailjet::answering(vec![(200, json!({"Messages": [{"Status": "success"}]}))]).await;
    let app = mailjet.app().await;
    let id = post(&app, letter_to("ann", notice())).await.unwrap();
    let (head, asked) = mailjet.next().await;
    assert!(head.starts_with("POST /v3.1/send HTTP/1.1"), "{head}");
    assert!(head.to_ascii_lowercase().contains("authorization: basic chvibgljonbyaxzhdgu="), "{head}");
    let messages = asked["Messages"].as_array().unwrap();
    assert_eq!(messages.len(), 1);
    let message = &messages[0];
    assert_eq!(message["To"], json!([{"Email": "ann@example.com"}]));
    assert_eq!(message["From"], json!({"Email": "gate@example.com", "Name": "Gatehouse"}));
    assert_eq!(message["CustomID"], id.to_string());
    assert_eq!((&message["TrackClicks"], &message["TrackOpens"]), (&json!("disabled"), &json!("disabled")));
    assert_eq!(message["Subject"], "Your password was changed");
    assert!(message["TextPart"].as_str().unwrap().contains("ann"));
    assert!(message["HTMLPart"].as_str().unwrap().contains("<!doctype html>"));
    settled(&app.admin().await, id, "sent", 1).await;
}

#[tokio::test]
async fn what_passes_is_tried_again_and_what_does_not_is_given_up() {
    let busy = json!({"ErrorMessage": "busy"});
    let failed = json!({"Messages": [{"Status": "error", "Errors": [{"ErrorCode": "mj-0013"}]}]});
    let answers =
        vec![(401, busy.clone()), (429, busy.clone()), (500, busy.clone()), (302, busy), (400, failed)];
    let mut mailjet = Mailjet::answering(answers).await;
    let app = mailjet.app().await;
    let admin = app.admin().await;
    let id = post(&app, letter_to("ann", notice())).await.unwrap();
    for (attempt, status) in [(1, "401"), (2, "429"), (3, "500"), (4, "302")] {
        mailjet.next().await;
        let mail = settled(&admin, id, "waiting", attempt).await;
        assert_eq!(mail["last_error"], format!("Mailjet: {status}"));
        app.clock.advance(Duration::from_mins(5));
        app.inside.mail.wake();
    }
    mailjet.next().await;
    let mail = settled(&admin, id, "dead", 5).await;
    assert_eq!(mail["last_error"], "Mailjet: 400 mj-0013");
}
