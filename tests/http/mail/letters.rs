//! What is in a letter, and what is kept of it.

use gatehouse::mail::{Languages, Letter};
use gatehouse::platform::random::Random;
use gatehouse::sessions::OneTimeToken;

use super::smtp::SmtpServer;
use super::{code, letter_to, notice, post, rows, sending_to, settled};
use crate::harness::{TestApp, eventually};

#[tokio::test]
async fn a_letter_says_when_with_what_and_whom_to_ask() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    post(&app, letter_to("ann", Letter::NewDevice { username: "ann".into() })).await.unwrap();
    let mail = server.next().await;
    assert_eq!(mail.header("subject"), "Sign-in from a new device");
    for (form, text) in [("text", mail.text()), ("html", mail.html())] {
        for part in
            ["ann", "Firefox on Linux", "192.0.2.7", "2026-01-01 00:00 UTC", "traced", "help@example.com"]
        {
            assert!(text.contains(part), "{part} is not in the {form}: {text}");
        }
    }
}

// what people choose is data.
#[tokio::test]
async fn what_people_choose_is_escaped_cut_and_never_a_template() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let hostile = "<img src=x onerror=alert(1)>{{ 7*7 }}{% raw %}\r\nBcc: evil@example.com";
    let provider = format!("{hostile}{}", "x".repeat(200));
    let mut post_of_ann =
        letter_to("ann", Letter::AccountLinked { username: hostile.into(), provider: provider.clone() });
    post_of_ann.occasion.user_agent = Some("<script>alert(1)</script>".into());
    post(&app, post_of_ann).await.unwrap();
    let mail = server.next().await;
    assert_eq!((mail.to.len(), mail.header("bcc")), (1, ""));
    let (text, html) = (mail.text(), mail.html());
    assert!(html.contains("&lt;img src=x") && !html.contains("<img") && !html.contains("<script"), "{html}");
    assert!(html.contains("{{ 7*7 }}") && text.contains("{{ 7*7 }}"), "{text}");
    assert!(!html.contains("alert(1)</script>") && !text.contains("<script>"), "a device has a name of ours");
    assert!(!text.contains(&"x".repeat(64)), "{text}");
}

#[tokio::test]
async fn a_letter_is_in_the_readers_language() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    for (locale, accept_language, subject) in [
        (Some("de-AT"), Some("fr"), "Ihr Passwort wurde"),
        (None, Some("es, fr;q=0.8"), "Votre mot de passe"),
        (Some("tlh"), None, "Your password was"),
    ] {
        let mut post_of_ann = letter_to("ann", notice());
        let owned = |text: Option<&str>| text.map(str::to_owned);
        post_of_ann.languages = Languages { locale: owned(locale), accept_language: owned(accept_language) };
        post(&app, post_of_ann).await.unwrap();
        let text = server.next().await;
        assert!(text.header("subject").contains(subject), "{}", text.header("subject"));
    }
}

// links come from the settings.
#[tokio::test]
async fn links_lead_where_the_settings_say() {
    let mut server = SmtpServer::start().await;
    let app =
        sending_to(&server, &[("VERIFY_URL", "https://app.example.com/verify/{token}?from=mail")]).await;
    let tokens = [OneTimeToken::new(&Random::System).text(), OneTimeToken::new(&Random::System).text()];
    let [verify, reset] = tokens.clone();
    post(&app, letter_to("ann", Letter::Verification { username: "ann".into(), token: verify, hours: 24 }))
        .await;
    let link = format!("https://app.example.com/verify/{}?from=mail", tokens[0].expose());
    assert!(server.next().await.text().contains(&link));
    post(&app, letter_to("ann", Letter::Reset { username: "ann".into(), token: reset, minutes: 15 })).await;
    let link = format!("http://localhost:8000/reset-password/reset?token={}", tokens[1].expose());
    assert!(server.next().await.text().contains(&link));
}

/// The bytes of every row of these tables, as one text to be searched.
async fn everything(app: &TestApp) -> String {
    let mut all = String::new();
    for (sql, is_bytes) in [
        ("SELECT content FROM mails WHERE content IS NOT NULL", true),
        ("SELECT content FROM mail_batches WHERE content IS NOT NULL", true),
        (
            "SELECT recipient || letter || COALESCE(last_error, '') || COALESCE(trace_id, '') FROM mails",
            false,
        ),
    ] {
        for row in rows(app, sql).await {
            if is_bytes {
                all.push_str(&String::from_utf8_lossy(&row.try_get_by_index::<Vec<u8>>(0).unwrap()));
            } else {
                all.push_str(&row.try_get_by_index::<String>(0).unwrap());
            }
        }
    }
    all
}

#[tokio::test]
async fn no_code_and_no_link_is_in_the_database_and_nothing_is_once_it_was_sent() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[("ENVIRONMENT", "production")]).await;
    server.go_down();
    let token = OneTimeToken::new(&Random::System).text();
    let text = token.expose().to_owned();
    post(&app, letter_to("ann", Letter::Reset { username: "ann".into(), token, minutes: 15 })).await.unwrap();
    post(&app, letter_to("ann", code("13572468"))).await.unwrap();
    let stored = everything(&app).await;
    assert!(stored.len() > 400, "there is something to search");
    assert!(!stored.contains(&text) && !stored.contains("13572468") && !stored.contains("reset-password"));
    let count =
        async |condition: &str| rows(&app, &format!("SELECT id FROM mails WHERE {condition}")).await.len();
    eventually(|| Box::pin(count("attempts = 1 AND lease IS NULL")), |failed| *failed == 2).await;
    server.come_back().await;
    app.clock.advance(std::time::Duration::from_secs(30));
    app.inside.mail.wake();
    eventually(|| Box::pin(count("state = 'sent'")), |sent| *sent == 2).await;
    let left = rows(&app, "SELECT id FROM mails WHERE content IS NOT NULL").await;
    assert_eq!(left.len(), 0, "what was sent is emptied");
    let sent = server.next().await.text() + &server.next().await.text();
    assert!(sent.contains(&text) && sent.contains("13572468"));
}

#[tokio::test]
async fn a_template_in_the_data_folder_wins_and_a_broken_one_does_not() {
    let mut server = SmtpServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let app = sending_to(&server, &[("DATA_DIR", folder.path().to_str().unwrap())]).await;
    let letter = folder.path().join("templates/email/en/password-changed");
    std::fs::create_dir_all(&letter).unwrap();
    let mut subject = async |template: Option<&str>| {
        if let Some(template) = template {
            std::fs::write(letter.join("subject.txt"), template).unwrap();
        }
        post(&app, letter_to("ann", notice())).await.unwrap();
        server.next().await.header("subject").to_owned()
    };
    assert_eq!(subject(None).await, "Your password was changed");
    assert_eq!(subject(Some("{{ username }}: changed")).await, "ann: changed");
    assert_eq!(subject(Some("{{ usernam }}: changed")).await, "ann: changed");
    assert_eq!(subject(Some("Good again")).await, "Good again");
}

#[tokio::test]
async fn finished_mails_are_forgotten_after_a_while() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let admin = app.admin().await;
    let id = post(&app, letter_to("ann", notice())).await.unwrap();
    server.next().await;
    settled(&admin, id, "sent", 1).await;
    let pretending = app.inside.mail.clone();
    let pretended = app.inside.db.write(move |tx| Box::pin(async move { pretending.pretend_in(tx).await }));
    pretended.await.unwrap();
    app.inside.mail.sweep().await.unwrap();
    let states = rows(&app, "SELECT state FROM mails").await;
    assert_eq!(states.len(), 1, "what was nobody's goes first");
    app.clock.advance(std::time::Duration::from_hours(7 * 24));
    app.inside.mail.sweep().await.unwrap();
    assert_eq!(rows(&app, "SELECT id FROM mails").await.len(), 0);
    assert_eq!(rows(&app, "SELECT address FROM mail_budgets").await.len(), 0);
}
