//! `/dev/inbox`: what a developer reads instead of a mailbox.

use gatehouse::mail::Letter;
use gatehouse::platform::random::Random;
use gatehouse::sessions::OneTimeToken;
use serde_json::Value;

use super::{code, letter_to, notice, post};
use crate::harness::{TestApp, eventually};

#[tokio::test]
async fn every_mail_can_be_read_with_its_links() {
    let app = TestApp::with(&[("EMAIL_METHOD", "inbox")]).await;
    let token = OneTimeToken::new(&Random::System).text();
    let link = format!("http://localhost:8000/verify?token={}", token.expose());
    post(&app, letter_to("ann", code("12345678"))).await.unwrap();
    post(&app, letter_to("bob", Letter::Verification { username: "bob".into(), token, hours: 24 }))
        .await
        .unwrap();

    let mails = app.get("/dev/inbox.json").await.is(200).json();
    assert_eq!(mails[0]["to"], "bob@example.com", "newest first");
    assert_eq!(mails[0]["links"][0], link.as_str());
    assert_eq!(mails[0]["subject"], "Confirm your e-mail address");
    assert_eq!((&mails[1]["letter"], &mails[1]["state"]), (&"code".into(), &"waiting".into()));
    assert!(mails[1]["text"].as_str().unwrap().contains("12345678"));
    assert!(mails[1]["html"].as_str().unwrap().contains("12345678"));
    assert_eq!(app.get("/dev/inbox").header("accept", "application/json").await.is(200).json(), mails);

    let page = app.get("/dev/inbox").header("accept", "text/html").await;
    assert!(
        page.is(200).text().contains(&format!("<a href=\"{}\"", link.replace('/', "&#x2f;")))
            || page.text().contains(&link)
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script-src"), "{policy}");
    assert!(page.text().contains("sandbox=\"allow-popups allow-popups-to-escape-sandbox\""));
    assert!(!page.text().contains("<script"));
}

#[tokio::test]
async fn mails_stay_readable_when_they_have_been_sent() {
    let app = TestApp::with(&[("EMAIL_METHOD", "inbox")]).await;
    app.inside.start_background();
    post(&app, letter_to("ann", notice())).await.unwrap();
    let read = async || app.get("/dev/inbox.json").await.is(200).json();
    let mails = eventually(|| Box::pin(read()), |mails: &Value| mails[0]["state"] == "sent").await;
    assert_eq!(mails[0]["to"], "ann@example.com");
}

#[tokio::test]
async fn what_is_hostile_in_a_mail_is_harmless_on_the_page() {
    let app = TestApp::with(&[("EMAIL_METHOD", "inbox")]).await;
    let hostile = "\"><script>alert(1)</script>";
    let letter = Letter::Custom {
        subject: hostile.into(),
        text: format!("{hostile} javascript:alert(1) https://example.com/\"onclick=alert(1)"),
        html: Some(format!("<p>{hostile}</p></iframe><script>alert(1)</script>")),
    };
    post(&app, letter_to("ann", letter)).await.unwrap();
    let page = app.get("/dev/inbox").await;
    let text = page.is(200).text();
    assert!(!text.contains("<script") && !text.contains("\"><script"), "{text}");
    assert!(!text.contains("href=\"javascript"), "{text}");
    assert_eq!(text.matches("</iframe>").count(), 1);
}

#[tokio::test]
async fn outside_local_there_is_no_inbox() {
    for environment in ["production", "staging"] {
        let app = TestApp::with(&[("ENVIRONMENT", environment)]).await;
        for path in ["/dev/inbox", "/dev/inbox.json", "/dev"] {
            app.get(path).header("accept", "application/json").await.refused(404, "not_found");
        }
    }
}

#[tokio::test]
async fn a_page_from_elsewhere_reads_nothing() {
    let app = TestApp::with(&[("EMAIL_METHOD", "inbox")]).await;
    post(&app, letter_to("ann", code("12345678"))).await.unwrap();
    let foreign = app.get("/dev/inbox.json").header("origin", "https://evil.test").await;
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    assert_eq!(foreign.header("cross-origin-resource-policy"), Some("same-origin"));
    // A name of theirs that leads here (DNS rebinding).
    let rebound =
        app.get("/dev/inbox.json").header("accept", "application/json").header("host", "evil.test").await;
    assert!(!rebound.refused(403, "forbidden").text().contains("12345678"));
    app.post("/dev/inbox").header("accept", "application/json").await.refused(405, "method_not_allowed");
}
