//! Letters of staff: `/email`.

use std::time::Duration;

use serde_json::{Value, json};

use super::smtp::{Manner, SmtpServer};
use super::{idle, queue, sending_to, settled};
use crate::harness::{Actor, Ask, Reply, TestApp, with_query};

const SINGLE: &str = "/api/email/send-email";
const MULTIPLE: &str = "/api/email/send-email-multiple";
const ALL: &str = "/api/email/send-email-all";

fn letter(actor: &Actor, path: &str, parameters: &[(&str, &str)]) -> Ask {
    let mut all = vec![("confirm", "true")];
    all.extend(parameters.iter().copied());
    actor.post(&with_query(path, &all))
}

#[tokio::test]
async fn nothing_is_sent_without_confirmation_or_without_mail() {
    let server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    let admin = app.admin().await;
    let to_ann = [("subject", "Hi"), ("recipient", "ann@example.com")];
    for confirm in [&[][..], &[("confirm", "false")]] {
        let parameters: Vec<(&str, &str)> = confirm.iter().chain(&to_ann).copied().collect();
        admin.post(&with_query(SINGLE, &parameters)).json(&"Hello").await.refused(400, "bad_request");
        admin.post(&with_query(ALL, &parameters)).json(&"Hello").await.refused(400, "bad_request");
    }
    assert_eq!(queue(&admin).await["counts"]["waiting"], 0);

    let off = TestApp::new().await;
    let admin = off.admin().await;
    for path in [SINGLE, ALL] {
        let reply = letter(&admin, path, &to_ann).json(&"Hello").await;
        assert_eq!(reply.is(200).text(), "No Email Sent");
    }
    for path in ["test", "otp", "reset-password", "validation"] {
        let reply = admin.post(&format!("/api/email/send-{path}-email?recipient=ann@example.com")).await;
        assert_eq!(reply.is(200).text(), "No Email Sent");
    }
}

// CR, LF and NUL nowhere.
#[tokio::test]
async fn a_subject_or_address_that_is_more_than_one_is_refused() {
    let server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    let admin = app.admin().await;
    for subject in ["Hi\r\nBcc: evil@example.com", "Hi\nX", "Hi\0", " ", &"x".repeat(201)] {
        let parameters = [("subject", subject), ("recipient", "ann@example.com")];
        letter(&admin, SINGLE, &parameters).json(&"Hello").await.invalid(&["subject"]);
    }
    letter(&admin, SINGLE, &[("recipient", "ann@example.com")]).json(&"Hello").await.invalid(&["subject"]);
    for address in [
        "ann@example.com\r\nBcc: evil@example.com",
        "ann@example.com,evil@example.com",
        "ann@example.com\0",
        "<ann@example.com>",
        "\"a@evil.test\"@example.com",
        "Ann <ann@example.com>",
        "ann",
        "",
    ] {
        letter(&admin, SINGLE, &[("subject", "Hi"), ("recipient", address)])
            .json(&"Hello")
            .await
            .invalid(&["recipient"]);
        let path = with_query("/api/email/send-test-email", &[("recipient", address)]);
        admin.post(&path).await.invalid(&["recipient"]);
    }
    letter(&admin, SINGLE, &[("subject", "Hi")]).json(&"Hello").await.invalid(&["recipient"]);
    letter(&admin, MULTIPLE, &[("subject", "Hi")]).json(&"Hello").await.invalid(&["recipients"]);
    let addresses: Vec<String> = (0..101).map(|number| format!("user{number}@example.com")).collect();
    let mut parameters = vec![("subject", "Hi")];
    parameters.extend(addresses.iter().map(|address| ("recipients", address.as_str())));
    letter(&admin, MULTIPLE, &parameters).json(&"Hello").await.invalid(&["recipients"]);
    assert_eq!(queue(&admin).await["counts"]["waiting"], 0);
}

// an admin's words are never a template.
#[tokio::test]
async fn words_stay_as_they_were_typed() {
    const WORDS: &str =
        "{{ 7*7 }} {% for i in range(9) %}x{% endfor %} ${7*7} <%= 7*7 %> #{7*7} {{ username }} <b>";
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let admin = app.admin().await;
    let parameters = [("subject", "{{ 7*7 }} {% raw %}"), ("recipient", "ann@example.com")];
    letter(&admin, SINGLE, &parameters).json(&WORDS).await.is(202);
    let mail = server.next().await;
    assert_eq!(mail.header("subject"), "{{ 7*7 }} {% raw %}");
    assert!(mail.text().contains(WORDS), "{}", mail.text());
    assert!(mail.html().contains("{{ 7*7 }} {% for i in range(9) %}x{% endfor %} ${7*7}"), "{}", mail.html());
    assert!(mail.html().contains("{{ username }} &lt;b&gt;"), "{}", mail.html());
    letter(&admin, SINGLE, &parameters).body("text/plain", "Just {{ text }}").await.is(202);
    assert!(server.next().await.text().contains("Just {{ text }}"));
}

#[tokio::test]
async fn html_is_cleaned_and_has_a_text_beside_it() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let admin = app.admin().await;
    let html = "<h1 onclick='x()'>News</h1><script>alert(1)</script><p>Read <a href='https://example.com/a'>this</a> \
                <a href='javascript:alert(1)'>not this</a></p><img src='https://evil.test/pixel'>{{ 7*7 }}";
    letter(&admin, SINGLE, &[("subject", "News"), ("recipient", "ann@example.com")])
        .body("text/html", html)
        .await
        .is(202);
    let mail = server.next().await;
    let (text, html) = (mail.text(), mail.html());
    for gone in ["onclick", "alert(1)", "javascript", "evil.test"] {
        assert!(!html.contains(gone) && !text.contains(gone), "{gone}: {html}");
    }
    assert!(
        html.contains("<h1>News</h1>")
            && html.contains("https://example.com/a")
            && html.contains("{{ 7*7 }}")
    );
    assert!(text.contains("News\n") && text.contains("Read this (https://example.com/a)"), "{text}");
    assert!(
        !html.contains("127.0.0.1") && !text.contains("127.0.0.1"),
        "where the admin was is nobody's business"
    );
}

#[tokio::test]
async fn a_letter_to_several_is_a_mail_to_each() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let moderator = app.moderator().await;
    let parameters = [
        ("subject", "Hi"),
        ("recipients", "ann@example.com"),
        ("recipients", "bob@example.com"),
        ("recipients", "ANN@example.com"),
    ];
    let reply = letter(&moderator, MULTIPLE, &parameters).json(&"Hello").await;
    assert_eq!(reply.is(202).json()["ids"].as_array().unwrap().len(), 2);
    let mut reached = Vec::new();
    for _ in 0..2 {
        let mail = server.next().await;
        assert_eq!(mail.to.len(), 1);
        assert!(!mail.content.contains(if mail.to[0].starts_with('a') { "bob@" } else { "ann@" }));
        reached.extend(mail.to);
    }
    reached.sort();
    assert_eq!(reached, ["ann@example.com", "bob@example.com"]);
}

#[tokio::test]
async fn a_letter_may_be_a_mebibyte_and_other_bodies_stay_small() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let admin = app.admin().await;
    let parameters = [("subject", "Long"), ("recipient", "ann@example.com")];
    let long = "word ".repeat(200_000);
    letter(&admin, SINGLE, &parameters).body("text/plain", long).await.is(202);
    assert!(server.next().await.text().len() >= 1_000_000);
    let too_long = "x".repeat(1024 * 1024 + 1);
    letter(&admin, SINGLE, &parameters).body("text/plain", too_long).await.refused(413, "payload_too_large");
    let other = "x".repeat(70_000);
    admin
        .post("/api/admin/permissions/check")
        .body("application/json", other)
        .await
        .refused(413, "payload_too_large");
    letter(&admin, SINGLE, &parameters)
        .body("application/xml", "<a/>")
        .await
        .refused(415, "unsupported_media_type");
    letter(&admin, SINGLE, &parameters).body("text/plain", " ").await.invalid(&["body"]);
}

//
#[tokio::test]
async fn moderators_write_to_one_or_several_and_not_to_all() {
    let server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    let (ann, moderator) = (app.user("ann").await, app.moderator().await);
    let before = queue(&app.admin().await).await["counts"]["waiting"].clone();
    letter(&moderator, ALL, &[("subject", "Hi")]).json(&"Hello").await.refused(403, "forbidden");
    moderator.post("/api/email/send-test-email").await.refused(403, "forbidden");
    for path in [SINGLE, MULTIPLE, ALL] {
        let parameters = [("subject", "Hi"), ("recipient", "a@example.com"), ("recipients", "a@example.com")];
        letter(&ann, path, &parameters).json(&"Hello").await.refused(403, "forbidden");
        app.post(path).json(&"Hello").await.refused(401, "token_invalid");
    }
    ann.get("/api/email/queue").await.refused(403, "forbidden");
    assert_eq!(queue(&app.admin().await).await["counts"]["waiting"], before);
}

#[tokio::test]
async fn samples_look_like_the_real_ones_and_work_nowhere() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let moderator = app.moderator().await;
    for (path, part) in [
        ("otp", "00000000"),
        ("reset-password", "/reset-password/reset?token="),
        ("validation", "/verify?token="),
    ] {
        // A code or an address of the sender's own has no place in it.
        moderator.post(&format!("/api/email/send-{path}-email?otp_code=424242")).await.is(202);
        let mail = server.next().await;
        assert_eq!(mail.to, ["help@example.com"], "CONTACT_EMAIL");
        assert!(mail.text().contains(part) && !mail.text().contains("424242"), "{}", mail.text());
    }
    for _ in 0..5 {
        moderator.post("/api/email/send-otp-email?recipient=bob@example.com").await.is(202);
    }
    moderator.post("/api/email/send-otp-email?recipient=bob@example.com").await.refused(429, "rate_limited");
}

// Moderators have no power over admins: neither may they use up the letters that an admin needs to sign in.
#[tokio::test]
async fn samples_take_none_of_the_codes_that_may_be_mailed() {
    let app = TestApp::with_mail(&[]).await;
    let (moderator, ann) = (app.moderator().await, app.user("ann").await);
    ann.enrol_mail(&app).await;
    app.clock.advance(Duration::from_hours(2));
    let codes = async || {
        let letters = app.letters_to("ann@example.com").await;
        letters.iter().filter(|letter| *letter == "code").count()
    };
    let moderator = app.sign_in(&moderator.name).await;
    for _ in 0..5 {
        moderator.post("/api/email/send-otp-email?recipient=ann@example.com").await.is(202);
    }
    let before = codes().await;
    app.demand("ann").await;
    assert_eq!(codes().await, before + 1);
}

#[tokio::test]
async fn where_no_mail_is_sent_a_sample_needs_no_recipient() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for letter in ["test", "otp", "reset-password", "validation"] {
        let path = format!("/api/email/send-{letter}-email");
        assert_eq!(admin.post(&path).await.is(200).text(), "No Email Sent");
        admin.post(&with_query(&path, &[("recipient", "nobody")])).await.invalid(&["recipient"]);
    }
}

#[tokio::test]
async fn the_queue_shows_where_mails_are_and_never_what_they_say() {
    let server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    let (admin, moderator) = (app.admin().await, app.moderator().await);
    server.behave(Manner::RefuseRecipient(450));
    let sent = letter(&admin, SINGLE, &[("subject", "Zebra subject"), ("recipient", "ann@example.com")]);
    let id = sent.json(&"Zebra words").await.is(202).json()["ids"][0].as_str().unwrap().parse().unwrap();
    settled(&admin, id, "waiting", 1).await;
    let seen = queue(&admin).await;
    assert_eq!(seen["mails"][0]["to"], "ann@example.com");
    assert_eq!(seen["mails"][0]["letter"], "custom");
    assert_eq!(seen["counts"], json!({"waiting": 1, "sent": 0, "expired": 0, "dead": 0}));
    assert!(!seen.to_string().contains("Zebra"), "{seen}");
    let seen = queue(&moderator).await;
    assert_eq!(seen["mails"][0]["to"], "a***@example.com");
    assert!(!seen.to_string().contains("ann@"), "{seen}");
}

#[tokio::test]
async fn the_queue_is_read_page_by_page() {
    let server = SmtpServer::start().await;
    let app = idle(&server, &[]).await;
    let admin = app.admin().await;
    let mut ids: Vec<String> = Vec::new();
    for number in 0..7 {
        let address = format!("user{number}@example.com");
        let sent = letter(&admin, SINGLE, &[("subject", "Hi"), ("recipient", &address)]).json(&"Hello").await;
        ids.insert(0, sent.is(202).json()["ids"][0].as_str().unwrap().to_owned());
    }
    let (mut read, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let more = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let page = admin.get(&format!("/api/email/queue?limit=3{more}")).await.is(200).json();
        read.extend(
            page["mails"].as_array().unwrap().iter().map(|mail| mail["id"].as_str().unwrap().to_owned()),
        );
        cursor = page["next"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(read, ids);
    let shown = |reply: &Reply| -> Vec<String> {
        let mails = reply.is(200).json()["mails"].as_array().unwrap().clone();
        mails.iter().map(|mail| mail["id"].as_str().unwrap().to_owned()).collect()
    };
    for (order, begin) in [("desc", "limit=3"), ("asc", "limit=3"), ("desc", "offset=0&limit=3")] {
        let mut all = ids.clone();
        if order == "asc" {
            all.reverse();
        }
        let first = admin.get(&format!("/api/email/queue?order={order}&{begin}")).await;
        assert_eq!(first.header("x-total-count"), Some("7"));
        let second = admin.get(&first.link("next").unwrap()).await;
        let third = admin.get(&second.link("next").unwrap()).await;
        assert_eq!([shown(&first), shown(&second), shown(&third)], [&all[..3], &all[3..6], &all[6..]]);
        assert_eq!((first.link("prev"), third.link("next")), (None, None));
        let back = admin.get(&third.link("prev").unwrap()).await;
        assert_eq!(shown(&back), all[3..6], "{order} {begin}");
        let back = admin.get(&back.link("prev").unwrap()).await;
        assert_eq!((shown(&back), back.link("prev")), (all[..3].to_vec(), None), "{order} {begin}");
    }
    assert_eq!(shown(&admin.get("/api/email/queue?page=2&per_page=2").await), ids[2..4]);
    for (query, field) in [("limit=0", "limit"), ("limit=1001", "limit"), ("cursor=x", "cursor")] {
        admin.get(&format!("/api/email/queue?{query}")).await.invalid(&[field]);
    }
}

#[tokio::test]
async fn a_letter_to_many_shows_how_far_it_is() {
    let mut server = SmtpServer::start().await;
    let app = sending_to(&server, &[]).await;
    app.user("ann").await;
    let admin = app.admin().await;
    let batch =
        letter(&admin, ALL, &[("subject", "News")]).json(&"Hello").await.is(202).json()["batch"].clone();
    for _ in 0..2 {
        server.next().await;
    }
    let done = crate::harness::eventually(
        || Box::pin(queue(&admin)),
        |queue: &Value| queue["batches"][0]["state"] == "done",
    )
    .await;
    let shown = &done["batches"][0];
    assert_eq!((&shown["id"], &shown["recipients"]), (&batch, &json!(2)));
    assert_eq!(shown["counts"], json!({"waiting": 0, "sent": 2, "expired": 0, "dead": 0}));
    assert_eq!(shown["created_by"], admin.id.to_string());
}
