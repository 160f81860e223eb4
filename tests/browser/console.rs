//! The console in the hands of staff.

use sea_orm::{ConnectionTrait, DbErr};
use serde_json::json;

use crate::browser::Browser;
use crate::harness::{Actor, PASSWORD, TestApp, eventually};
use crate::looks::look_at;

/// What a browser that runs what it should show would turn into an element with a script.
const HOSTILE: &str = "<img src=x onerror=window.hurt=1>";

/// Waits until no list of the page is being loaded.
async fn settled(browser: &Browser) {
    const SETTLED: &str =
        "return document.readyState === 'complete' && !document.querySelector('[aria-busy=true]')
        && [...document.querySelectorAll('[data-state], #state, #overall')]
            .every(e => !e.checkVisibility() || !e.textContent.includes('Loading'))";
    browser.until("the page with its lists", SETTLED, json!([])).await;
}

/// What the API answers the person who is signed in in this browser: the status.
async fn status_of(browser: &Browser, path: &str) -> serde_json::Value {
    const ASK: &str = "const [path, done] = arguments; fetch(path).then(answer => done(answer.status))";
    browser.driver.run_async(ASK, json!([path])).await.expect("a status")
}

/// What a flag is for the person who is signed in in this browser.
async fn flag_of(browser: &Browser, name: &str) -> serde_json::Value {
    const ASK: &str = "const [name, done] = arguments;
        fetch('/api/flags').then(answer => answer.json()).then(flags => done(flags[name]?.enabled ?? flags[name] ?? null))";
    browser.driver.run_async(ASK, json!([name])).await.expect("a flag")
}

async fn people(app: &TestApp, admin: &Actor, count: usize) {
    for number in 0..count {
        let new = json!({
            "username": format!("person_{number:02}"), "email": format!("person{number}@example.com"),
            "roles": if number % 7 == 0 { json!(["tester", "user"]) } else { json!(["user"]) },
        });
        admin.post("/api/user/").json(&new).await.is(201);
    }
    app.user("annika").await;
}

#[tokio::test]
async fn an_admin_finds_somebody_while_typing_and_the_way_back_leads_to_what_was_found() {
    let app = TestApp::new().await;
    people(&app, &app.admin().await, 55).await;
    let browser = Browser::of(&app, "root").await;
    browser.go("/console/users").await;
    browser.until_shown("57 entries").await;
    browser.press("Next").await;
    browser.until_shown("Page 2 of 2").await;
    browser.back().await;
    browser.until_shown("Page 1 of 2").await;

    browser.type_into("Search users", "anni").await;
    // Where the keys come slowly, it looks for less of the name before.
    browser.until_place("/console/users?q=anni").await;
    browser.until_shown("1 entry").await;
    browser.press("annika").await;
    browser.until_shown("annika@example.com").await;
    browser.back().await;
    browser.until_shown("1 entry").await;
    browser.fill("Search users", "nobody at all").await;
    browser.until_shown("Nobody fits.").await;
}

#[tokio::test]
async fn whoever_is_banned_on_the_console_is_signed_out_at_once_in_the_own_browser() {
    let app = TestApp::new().await;
    app.admin().await;
    let ann = app.user("annika").await;
    let (admin, victim) = (Browser::of(&app, "root").await, Browser::of(&app, "annika").await);
    victim.go("/account").await;
    assert_eq!(status_of(&victim, "/api/user/me").await, 200);

    admin.go(&format!("/console/users/{}", ann.id)).await;
    admin.press("Ban").await;
    admin.fill("Reason", "Sells things").await;
    look_at(&admin, "console-ban").await;
    admin.press("Ban").await;
    admin.until_shown("Banned, and signed out everywhere.").await;
    assert_eq!(status_of(&victim, "/api/user/me").await, 401);
    victim.reload().await;
    victim.until_at("/signin").await;

    admin.until("the other button", "return !document.getElementById('unban').hidden", json!([])).await;
    assert!(!admin.has("Ban").await);
    admin.press("Lift the ban").await;
    admin.press("Lift the ban").await;
    admin.until_shown("The ban is lifted.").await;
    victim.sign_in("annika").await;
    assert_eq!(status_of(&victim, "/api/user/me").await, 200);
}

#[tokio::test]
async fn a_reset_link_is_mailed_from_the_console() {
    let app = TestApp::with_mail(&[]).await;
    app.moderator().await;
    let ann = app.made_by_admin("annika", &["user"]).await;
    let browser = Browser::of(&app, "mods").await;
    browser.go(&format!("/console/users/{}", ann.id)).await;
    browser.press("Mail a reset link").await;
    browser.press("Mail a reset link").await;
    browser.until_shown("a link to a new password is on its way").await;
    app.mail_to("annika@example.com", "reset").await;
}

#[tokio::test]
async fn a_flag_that_is_changed_on_the_console_is_another_for_somebody_else_at_once() {
    let app = TestApp::new().await;
    app.admin().await;
    app.user("annika").await;
    let (admin, ann) = (Browser::of(&app, "root").await, Browser::of(&app, "annika").await);
    admin.go("/console/flags").await;
    admin.press("New flag").await;
    admin.fill("Name", "NEW_THING").await;
    admin.press("By rules").await;
    admin.press("Tester").await;
    admin.until_shown("everybody with: Tester").await;
    look_at(&admin, "console-flag").await;
    admin.press("Save").await;
    admin.until_shown("Saved.").await;
    assert_eq!(flag_of(&ann, "NEW_THING").await, false);

    admin.type_into("Try a user", "annik").await;
    admin.press("annika").await;
    admin.fill("Search flags", "new_thing").await;
    admin.until_shown("1 entry").await;
    settled(&admin).await;
    assert_eq!(admin.texts("tbody td[data-cell=tried]").await, ["Off"]);
    admin.press("Edit NEW_THING").await;
    admin.until_shown("@annika would not see it.").await;
    admin.press("On for everybody").await;
    admin.until_shown("@annika would see it.").await;
    admin.press("Save").await;
    admin
        .until(
            "the flag for her",
            "return document.querySelector('tbody td[data-cell=tried]')?.innerText === 'On'",
            json!([]),
        )
        .await;
    assert_eq!(flag_of(&ann, "NEW_THING").await, true);

    admin.press_at("tbody [role=switch]").await;
    admin.until_shown("NEW_THING is off.").await;
    assert_eq!(flag_of(&ann, "NEW_THING").await, false);
    look_at(&admin, "console-flags-tried").await;
}

#[tokio::test]
async fn a_name_that_is_markup_is_shown_as_text_wherever_it_stands() {
    let app = TestApp::with(&[("DISPLAY_NAME_FREE", "True")]).await;
    let admin = app.admin().await;
    let ann = app.user("annika").await;
    let change = json!({"display_name": HOSTILE, "description": HOSTILE, "first_name": HOSTILE});
    ann.patch(&ann.path()).json(&change).await.ok();
    let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{HOSTILE}\"");
    let upload = format!("--B\r\n{head}\r\n\r\nx\r\n--B--\r\n");
    ann.post("/api/file").body("multipart/form-data; boundary=B", upload).await.is(201);
    admin.post(&format!("/api/admin/ban/{}", ann.id)).json(&json!({"reason": HOSTILE})).await.is(200);

    let browser = Browser::of(&app, "root").await;
    let person = format!("/console/users/{}", ann.id);
    for page in ["/console/users", person.as_str(), "/console/files", "/console/audit"] {
        browser.go(page).await;
        settled(&browser).await;
        let hurt = browser
            .run("return window.hurt === 1 || document.querySelector('img[src=x]') !== null", json!([]))
            .await;
        assert_eq!(hurt, false, "{page}");
    }
    browser.go(&person).await;
    browser.until_shown(HOSTILE).await;
    assert_eq!(browser.texts("h1").await, [HOSTILE]);
}

#[tokio::test]
async fn a_moderator_sees_only_what_a_moderator_may_do() {
    let app = TestApp::new().await;
    app.moderator().await;
    let ann = app.user("annika").await;
    let admin = app.admin().await;
    let browser = Browser::of(&app, "mods").await;
    browser.go("/console").await;
    browser.until_at("/console/users").await;
    settled(&browser).await;
    assert_eq!(browser.texts(".side a").await, ["Users", "Files", "Mail"]);
    look_at(&browser, "console-moderator").await;
    browser.go(&format!("/console/users/{}", ann.id)).await;
    settled(&browser).await;
    assert_eq!(browser.texts(".acts button:not([hidden])").await, ["Edit", "Ban", "Mail a reset link"]);
    browser.go(&format!("/console/users/{}", admin.id)).await;
    settled(&browser).await;
    assert_eq!(browser.texts(".acts button:not([hidden])").await, Vec::<String>::new());
    browser.go("/console/flags").await;
    browser.until_shown("There is nothing on the console for your account.").await;
}

#[tokio::test]
async fn the_console_is_for_staff_and_leads_others_to_the_door() {
    let app = TestApp::new().await;
    app.admin().await;
    app.user("annika").await;
    let browser = Browser::open(&app).await;
    browser.go("/console/users?q=ann").await;
    browser.until_at("/signin").await;
    browser.fill("User name or e-mail address", "root").await;
    browser.fill("Password", PASSWORD).await;
    browser.press("Sign in").await;
    browser.until_at("/console/users").await;
    browser.until_shown("1 entry").await;

    let browser = Browser::of(&app, "annika").await;
    assert!(!browser.has("Console").await);
    browser.go("/console/users").await;
    browser.until_shown("There is nothing on the console for your account.").await;
}

#[tokio::test]
async fn the_secret_of_a_webhook_is_shown_once_and_its_test_is_answered() {
    let app = TestApp::with(&[("WEBHOOK_ALLOW_PRIVATE", "True")]).await;
    app.admin().await;
    let browser = Browser::of(&app, "root").await;
    browser.go("/console/webhooks").await;
    browser.until_shown("There are no webhooks.").await;
    browser.press("Add a webhook").await;
    // Nobody listens there: the test of it is told so.
    browser.fill("Address", "http://127.0.0.1:9/hook").await;
    browser.press("user.banned").await;
    look_at(&browser, "console-webhook").await;
    browser.press("Save").await;
    browser.until_shown("This is the only time that it is shown.").await;
    let secret = browser.run("return document.getElementById('the-secret').value", json!([])).await;
    assert!(secret.as_str().is_some_and(|secret| secret.starts_with("whsec_")), "{secret}");
    look_at(&browser, "console-secret").await;
    browser.press("I have kept it").await;
    browser.until_gone("This is the only time that it is shown.").await;
    let html = browser
        .run(
            "return document.documentElement.outerHTML + document.getElementById('the-secret').value",
            json!([]),
        )
        .await;
    assert!(!html.as_str().unwrap().contains(secret.as_str().unwrap()));

    browser.press("Test: http://127.0.0.1:9/hook").await;
    browser.until_shown("Not delivered:").await;
    browser.press("Deliveries: http://127.0.0.1:9/hook").await;
    settled(&browser).await;
    look_at(&browser, "console-deliveries").await;
    browser.press("Delete: http://127.0.0.1:9/hook").await;
    browser.press("Delete").await;
    browser.until_shown("There are no webhooks.").await;
}

#[tokio::test]
async fn an_event_that_the_broker_refuses_is_given_up_on_the_console() {
    let app = TestApp::new().await;
    app.admin().await;
    let ann = app.user("annika").await;
    app.inside.events.place().await.unwrap();
    let parked = app.inside.db.write::<_, DbErr, _>(|tx| {
        Box::pin(async move {
            let sql = "UPDATE events SET trouble = CASE sequence WHEN 1 THEN 'parked' ELSE 'held' END";
            tx.execute_unprepared(sql).await.map(|_| ())
        })
    });
    parked.await.unwrap();
    let browser = Browser::of(&app, "root").await;
    browser.go(&format!("/console/events?span=all&user={}", ann.id)).await;
    browser.until_shown("Refused").await;
    browser.press("Give up: user.created, number 1").await;
    browser.until_shown("Whoever listens sees a gap").await;
    look_at(&browser, "console-give-up").await;
    browser.press("Give up").await;
    browser.until_gone("Refused").await;
    browser.until_shown("Given up").await;
    assert!(!browser.has("Give up").await);
}

#[tokio::test]
async fn a_permission_is_explained_by_the_policies_that_decided() {
    let app = TestApp::new().await;
    app.moderator().await;
    let ann = app.user("annika").await;
    let browser = Browser::of(&app, "root").await;
    browser.go("/console/permissions").await;
    // By their names: where the keys come slowly, others are offered before.
    browser.type_into("Who", "mods").await;
    browser.press("mods").await;
    browser.choose("Does what", "user:ban").await;
    browser.type_into("To whom", "annika").await;
    browser.press("annika").await;
    browser.press("Ask").await;
    browser.until_shown("Allowed: user:ban").await;
    browser.until_shown("moderators-look-after-ordinary-accounts").await;
    look_at(&browser, "console-permissions-answer").await;
    let place = browser.place().await;
    assert!(place.contains(&format!("resource={}", ann.id)), "{place}");
    browser.choose("Does what", "user:purge").await;
    browser.press("Ask").await;
    browser.until_shown("Denied: user:purge").await;
    browser.back().await;
    browser.until_shown("Allowed: user:ban").await;
}

#[tokio::test]
async fn a_permission_on_a_file_is_asked_for_by_its_number() {
    let app = TestApp::new().await;
    app.admin().await;
    let ann = app.user("annika").await;
    let form = "--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--B--\r\n";
    let file = ann.post("/api/file").body("multipart/form-data; boundary=B", form).await.is(201).json();
    let browser = Browser::of(&app, "root").await;
    browser.go(&format!("/console/permissions?user={}&action=file:read", ann.id)).await;
    browser.until_shown("Denied: file:read").await;
    browser.type_into("To whom", &file["id"].to_string()).await;
    browser.press("Ask").await;
    browser.until_shown("users-read-their-files").await;
    let place = browser.place().await;
    assert!(place.ends_with(&format!("resource={}", file["id"])), "{place}");
    browser.go(&place).await;
    browser.until_shown("Allowed: file:read").await;
}

#[tokio::test]
async fn an_account_is_changed_deleted_and_restored_on_its_page() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let ann = app.user("annika").await;
    let browser = Browser::of(&app, "root").await;
    browser.go("/console/users/@annika").await;
    browser.until_at(&format!("/console/users/{}", ann.id)).await;
    browser.press("Edit").await;
    look_at(&browser, "console-edit").await;
    browser.fill("User name", "not a name").await;
    browser.press("Save").await;
    browser
        .until(
            "the field's problem",
            "return document.querySelector('dialog [aria-invalid]') !== null",
            json!([]),
        )
        .await;
    browser.fill("User name", "annika_2").await;
    browser.fill("First name", "Annika").await;
    browser.press("Tester").await;
    browser.press("Save").await;
    browser.until_shown("Saved.").await;
    browser.until_shown("@annika_2").await;
    let changed = admin.get(&ann.path()).await.ok().json();
    assert_eq!((&changed["first_name"], &changed["roles"]), (&json!("Annika"), &json!(["tester", "user"])));

    browser.press("Delete").await;
    browser.press("Delete").await;
    browser.until_shown("Deleted. The account can be restored for a while.").await;
    browser.press("Restore").await;
    browser.press("Restore").await;
    browser.until_shown("Restored.").await;
    assert_eq!(admin.get(&ann.path()).await.ok().json()["deleted_at"], json!(null));
}

/// A server on which much has happened, and on it somebody with files and somebody who is banned.
async fn busy_server() -> (TestApp, Actor, String) {
    let app = TestApp::with(&[("EMAIL_METHOD", "inbox"), ("REQUIRE_EMAIL_VERIFICATION", "False")]).await;
    let admin = app.admin().await;
    app.inside.start_background();
    people(&app, &admin, 18).await;
    let ann = app.sign_in("annika").await;
    for name in ["invoice.pdf", "a rather long name of a picture from the holidays.png", "notes.txt"] {
        let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
        let upload = format!("--B\r\n{head}\r\n\r\nx\r\n--B--\r\n");
        ann.post("/api/file").body("multipart/form-data; boundary=B", upload).await.is(201);
    }
    let types = ["user.created", "user.deleted"];
    let hook = json!({"url": "https://hooks.example.com/", "description": "Billing", "event_types": types});
    admin.post("/api/admin/webhooks").json(&hook).await.is(201);
    let rules = json!([{"percentageOfUsers": 0.25}, {"userRoles": ["tester", "admin"]}]);
    let change = json!({"add": {"REGISTER": rules, "NEW_SEARCH": false}});
    admin.patch("/api/admin/feature-flags").json(&change).await.ok();
    let letter = "/api/email/send-email?confirm=true&subject=Hello&recipient=person1@example.com";
    admin.post(letter).body("text/plain", "Hello").await.is(202);
    let banned = admin.get("/api/user/@person_03").await.ok().json();
    let banned = banned["uuid"].as_str().unwrap().to_owned();
    let reason = json!({"reason": "Sold things to others"});
    admin.post(&format!("/api/admin/ban/{banned}")).json(&reason).await.is(200);
    let told = || admin.get("/api/admin/events?limit=1");
    eventually(told, |reply| reply.json().as_array().is_some_and(|all| !all.is_empty())).await;
    (app, ann, banned)
}

async fn look_at_all(app: &TestApp, pages: &[(&str, &str)]) {
    let browser = Browser::of(app, "root").await;
    for (name, path) in pages {
        browser.go(path).await;
        settled(&browser).await;
        look_at(&browser, &format!("console-{name}")).await;
    }
}

#[tokio::test]
async fn the_pages_about_people_are_good_to_look_at_and_to_listen_to() {
    let (app, ann, banned) = busy_server().await;
    let (person, banned) = (format!("/console/users/{}", ann.id), format!("/console/users/{banned}"));
    let pages = [
        ("overview", "/console"),
        ("users", "/console/users"),
        ("user", person.as_str()),
        ("user-banned", banned.as_str()),
        ("files", "/console/files"),
        ("mail", "/console/mail"),
        ("german", "/console/users?lang=de"),
    ];
    look_at_all(&app, &pages).await;
}

#[tokio::test]
async fn the_pages_about_the_server_are_good_to_look_at_and_to_listen_to() {
    let (app, ..) = busy_server().await;
    let pages = [
        ("flags", "/console/flags"),
        ("events", "/console/events?span=all"),
        ("webhooks", "/console/webhooks"),
        ("audit", "/console/audit"),
        ("permissions", "/console/permissions"),
        ("health", "/console/health"),
        ("french", "/console/flags?lang=fr"),
    ];
    look_at_all(&app, &pages).await;
}

#[tokio::test]
async fn a_long_name_of_a_file_breaks_and_the_words_beside_it_do_not() {
    const BROKEN: &str = "const broken = [];
        for (const cell of document.querySelectorAll('[data-rows] td:not(.long)')) {
            const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
            while (texts.nextNode()) for (const word of texts.currentNode.data.matchAll(/\\S+/g)) {
                const range = document.createRange();
                range.setStart(texts.currentNode, word.index);
                range.setEnd(texts.currentNode, word.index + word[0].length);
                const lines = new Set([...range.getClientRects()].map(line => Math.round(line.top)));
                if (lines.size > 1) broken.push(word[0]);
            }
        }
        return broken";
    const SIDEWAYS: &str = "const list = document.querySelector('.scroll');
        return list.scrollWidth - list.clientWidth";
    let app = TestApp::new().await;
    app.admin().await;
    let ann = app.user("annika").await;
    let name = format!("{}.txt", "long".repeat(60));
    let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
    let upload = format!("--B\r\n{head}\r\n\r\nx\r\n--B--\r\n");
    ann.post("/api/file").body("multipart/form-data; boundary=B", upload).await.is(201);
    let browser = Browser::of(&app, "root").await;
    browser.go("/console/files").await;
    settled(&browser).await;
    browser.until_shown(&name).await;
    look_at(&browser, "console-files-long").await;
    // Where there is little room beside it.
    let narrow = json!({"width": 700, "height": 900, "deviceScaleFactor": 1, "mobile": false});
    browser.driver.chromium("Emulation.setDeviceMetricsOverride", narrow).await;
    assert_eq!(browser.run(BROKEN, json!([])).await, json!([]));
    assert_eq!(browser.run(SIDEWAYS, json!([])).await, json!(0));
}
