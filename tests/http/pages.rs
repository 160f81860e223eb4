//! The pages: their frame, their languages, the account, signing out, the texts, and where one goes back to.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, DbErr};
use serde_json::{Value, json};

use crate::harness::{Ask, PASSWORD, Reply, TestApp, with_query};

const OURS: &str = "http://localhost:8000";
/// What a page may weigh with everything that it loads.
const HEAVIEST: usize = 150_000;
const ACCOUNT: [&str; 4] = ["/account", "/account/security", "/account/connections", "/account/data"];
const OPEN: [&str; 12] = [
    "/",
    "/signin",
    "/signup",
    "/forgot-password/request",
    "/reset-password/reset?token=x",
    "/verify?token=x",
    "/verify/request",
    "/setup?token=x",
    "/terms",
    "/privacy",
    "/support",
    "/nothing-here",
];

/// Somebody at the pages: their cookie, as a browser keeps it.
struct Visitor<'a> {
    app: &'a TestApp,
    cookie: String,
}

impl<'a> Visitor<'a> {
    async fn sign_in(app: &'a TestApp, name: &str) -> Self {
        let reply = sign_in(app, name, &[]).await;
        let session = reply.is(303).cookie("gatehouse").expect("a session");
        Self { app, cookie: format!("gatehouse={session}") }
    }

    fn get(&self, path: &str) -> Ask {
        self.app.get(path).header("cookie", &self.cookie).header("accept", "text/html")
    }

    fn post(&self, path: &str) -> Ask {
        self.app.post(path).header("cookie", &self.cookie)
    }

    async fn csrf(&self) -> String {
        let reply = self.app.get("/api/auth/csrf").header("cookie", &self.cookie).await;
        reply.is(200).json()["csrf_token"].as_str().unwrap().to_owned()
    }
}

fn sign_in(app: &TestApp, name: &str, more: &[(&str, &str)]) -> Ask {
    let fields = [&[("username", name), ("password", PASSWORD)], more].concat();
    app.post("/signin").header("origin", OURS).form(&fields)
}

fn page(app: &TestApp, path: &str) -> Ask {
    app.get(path).header("accept", "text/html")
}

/// The addresses of what a page loads: styles, scripts, and what those load.
async fn loaded_by(app: &TestApp, reply: &Reply) -> Vec<String> {
    let text = reply.text().replace("&#x2f;", "/");
    let named = |text: &str, before: &str| -> Vec<String> {
        text.split(before).skip(1).map(|part| part.split('"').next().unwrap().to_owned()).collect()
    };
    let mut waiting: Vec<String> = [named(&text, "src=\""), named(&text, "href=\"")].concat();
    waiting.retain(|place| place.starts_with("/assets/"));
    let mut found = BTreeSet::new();
    while let Some(place) = waiting.pop() {
        if found.insert(place.clone()) && place.rsplit_once('.').is_some_and(|(_, kind)| kind == "js") {
            let script = app.get(&place).await;
            let folder = place.rsplit_once('/').unwrap().0;
            let imports = named(script.is(200).text(), "\"./");
            waiting.extend(imports.into_iter().map(|name| format!("{folder}/{name}")));
        }
    }
    found.into_iter().collect()
}

/// It is one of our pages: framed by nobody, kept nowhere, with nothing from elsewhere and no script of its own text.
#[track_caller]
fn is_ours(reply: &Reply, path: &str) {
    let policy = reply.header("content-security-policy").unwrap_or_default();
    for rule in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'"] {
        assert!(policy.contains(rule), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{path}: {policy}");
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{path}");
    assert_eq!(reply.header("cross-origin-opener-policy"), Some("same-origin"), "{path}");
    let text = reply.text();
    assert!(!text.contains(" style=") && !text.contains(" onclick="), "{path}");
    for script in text.split("<script").skip(1) {
        let tag = script.split('>').next().unwrap();
        assert!(tag.contains(" src=") || tag.contains("application/json"), "{path}: {tag}");
    }
    assert!(text.contains("<main id=\"main\"") && text.contains("<html lang=\""), "{path}");
}

// R-52, A-080, A-082, A-087
#[tokio::test]
async fn every_page_has_the_frame_and_its_policy_and_weighs_little() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let ann = Visitor::sign_in(&app, "ann").await;
    for path in OPEN {
        let reply = page(&app, path).await;
        is_ours(&reply, path);
        assert!(weight(&app, &reply).await < HEAVIEST, "{path}");
    }
    for path in ACCOUNT.into_iter().chain(["/logout"]) {
        let reply = ann.get(path).await;
        is_ours(reply.is(200), path);
        assert!(weight(&app, &reply).await < HEAVIEST, "{path}");
    }
}

async fn weight(app: &TestApp, reply: &Reply) -> usize {
    let mut weight = reply.bytes().len();
    for place in loaded_by(app, reply).await {
        weight += app.get(&place).await.is(200).bytes().len();
    }
    weight
}

#[tokio::test]
async fn style_and_scripts_are_kept_for_ever_under_the_name_of_what_they_hold() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let reply = Visitor::sign_in(&app, "ann").await.get("/account").await;
    let places = loaded_by(&app, &reply).await;
    let ends = |end: &str| places.iter().any(|place| place.ends_with(end));
    assert!(ends("/gatehouse.css") && ends("/account.js") && ends("/prove.js"), "{places:?}");
    for place in &places {
        let file = app.get(place).await;
        assert_eq!(file.is(200).header("cache-control"), Some("public, max-age=31536000, immutable"));
        let other = place.replacen("/assets/", "/assets/0", 1);
        app.get(&other).header("accept", "application/json").await.refused(404, "not_found");
    }
    for picture in ["/favicon.ico", "/logo.png"] {
        assert_eq!(app.get(picture).await.is(200).header("content-type"), Some("image/png"));
    }
}

#[tokio::test]
async fn pages_speak_three_languages_and_keep_the_one_that_was_chosen() {
    let app = TestApp::new().await;
    let german = page(&app, "/signin").header("accept-language", "de-CH, en;q=0.5").await;
    assert!(german.is(200).text().contains("Anmelden") && german.text().contains("<html lang=\"de\""));
    assert_eq!(german.header("content-language"), Some("de"));
    assert!(german.set_cookie("gatehouse-language").is_none(), "nothing was chosen");
    let chosen = page(&app, "/signin?lang=fr").header("accept-language", "de").await;
    assert!(chosen.is(200).text().contains("Se connecter"));
    let kept = format!("gatehouse-language={}", chosen.cookie("gatehouse-language").unwrap());
    let later = page(&app, "/signup").header("accept-language", "de").header("cookie", &kept).await;
    assert!(later.is(200).text().contains("S’inscrire"));
    let lost = page(&app, "/nothing-here").header("accept-language", "de").await;
    assert!(lost.is(404).text().contains("Hier ist nichts."), "{lost:?}");
    // What went wrong is said in the same language.
    let form = [("username", "ann"), ("password", "velvet otter 27 marble")];
    let wrong = app.post("/signin").header("origin", OURS).header("accept-language", "de").form(&form).await;
    assert!(wrong.is(401).text().contains("Benutzername oder Passwort stimmt nicht."), "{wrong:?}");
    // The name need not be typed again, and is text.
    assert!(wrong.text().contains(r#"name="username" value="ann""#), "{wrong:?}");
    let form = [("username", "\"><script>alert(1)</script>"), ("password", "velvet otter 27 marble")];
    let wrong = app.post("/signin").header("origin", OURS).form(&form).await;
    assert!(!wrong.is(401).text().contains("<script>alert(1)"), "{wrong:?}");
    let form =
        [("username", "bob"), ("email", "bob@example.com"), ("password", "x"), ("confirm_password", "x")];
    let wrong = app.post("/signup").header("origin", OURS).header("accept-language", "fr").form(&form).await;
    assert!(wrong.is(422).text().contains("Doit compter au moins 10 caractères."), "{wrong:?}");
}

#[tokio::test]
async fn the_language_of_the_account_counts_on_its_pages() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    ann.patch(&ann.path()).json(&json!({"locale": "fr-CA"})).await.is(200);
    let visitor = Visitor::sign_in(&app, "ann").await;
    for path in ACCOUNT {
        for (lang, word) in [("", "Compte"), ("?lang=de", "Konto"), ("?lang=en", "Account")] {
            let reply = visitor.get(&format!("{path}{lang}")).header("accept-language", "de").await;
            assert!(reply.is(200).text().contains(word), "{path}{lang}");
        }
    }
}

#[tokio::test]
async fn the_account_is_for_who_is_signed_in_and_others_come_back_to_it() {
    let app = TestApp::new().await;
    app.user("ann").await;
    for path in ACCOUNT {
        for cookie in ["", "gatehouse=made-up", "gatehouse=a; gatehouse=b"] {
            let reply = page(&app, path).header("cookie", cookie).await;
            let place = with_query("/signin", &[("next", path)]);
            assert_eq!(reply.is(303).header("location"), Some(place.as_str()), "{path} {cookie}");
            assert!(reply.bytes().is_empty());
        }
    }
    let form = page(&app, "/signin?next=%2Faccount%2Fdata").await;
    assert!(form.text().replace("&#x2f;", "/").contains("name=\"next\" value=\"/account/data\""), "{form:?}");
    let reply = sign_in(&app, "ann", &[("next", "/account/data")]).await;
    assert_eq!(reply.is(303).header("location"), Some("/account/data"));
    let reply = sign_in(&app, "ann", &[]).await;
    assert_eq!(reply.is(303).header("location"), Some("/account"), "from nowhere in particular");
    for method in ["POST", "PUT", "DELETE"] {
        let refused = app.ask(method, "/account").header("accept", "text/html").await;
        assert!(refused.is(405).header("allow").unwrap().contains("GET"), "{refused:?}");
    }
}

#[tokio::test]
async fn the_account_shows_what_there_is_without_script() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let change = json!({"first_name": "Ann-Kathrin", "description": "Likes otters"});
    ann.patch(&ann.path()).json(&change).await.is(200);
    ann.patch(&format!("{}/blocked_users?add={}", ann.path(), bob.id)).await.is(200);
    let visitor = Visitor::sign_in(&app, "ann").await;
    let text = async |path: &str| visitor.get(path).await.is(200).text().to_owned();
    let profile = text("/account").await;
    assert!(profile.contains("Ann-Kathrin") && profile.contains("Likes otters"), "{profile}");
    assert!(profile.contains("ann@example.com") && !profile.contains("href=\"/console\""), "{profile}");
    let security = text("/account/security").await;
    assert!(security.contains("this one") && security.contains("data-act=\"end-session\""), "{security}");
    assert!(text("/account/connections").await.contains("@bob"));
    let data = text("/account/data").await;
    assert!(data.contains("Account made") && data.contains("Block list changed"), "{data}");
    app.admin().await;
    let admin = Visitor::sign_in(&app, "root").await;
    assert!(admin.get("/account").await.is(200).text().contains("href=\"/console\""));
}

#[tokio::test]
async fn a_name_that_was_changed_can_be_put_back() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    ann.patch(&ann.path()).json(&json!({"display_name": "ANN"})).await.is(200);
    ann.patch(&ann.path()).json(&json!({"username": "annie"})).await.is(200);
    let visitor = Visitor::sign_in(&app, "annie").await;
    let reply = visitor.get("/account/data").await;
    for (field, value) in [("display_name", "ann"), ("username", "ann")] {
        let button = format!("data-act=\"undo\" data-field=\"{field}\" data-value=\"{value}\"");
        assert!(reply.is(200).text().contains(&button), "{button}: {reply:?}");
    }
    assert_eq!(reply.text().matches("data-act=\"undo\"").count(), 2);
}

#[tokio::test]
async fn who_lacks_the_second_factor_of_their_role_can_set_it_up_here() {
    let app = TestApp::with(&[("OTP_REQUIRED_ROLES", "user")]).await;
    app.user("ann").await;
    let visitor = Visitor::sign_in(&app, "ann").await;
    for path in ACCOUNT {
        let reply = visitor.get(path).await;
        assert!(reply.is(200).text().contains("Your role needs a second factor"), "{path}");
    }
    let csrf = visitor.csrf().await;
    assert!(visitor.get("/account").await.text().contains(&format!("content=\"{csrf}\"")));
}

#[tokio::test]
async fn a_link_to_a_new_password_is_offered_to_who_may_have_one() {
    for (role, may) in [("moderator", true), ("user", false)] {
        let app = TestApp::with(&[("OTP_REQUIRED_ROLES", role)]).await;
        let ann = app.user("ann").await;
        let visitor = Visitor::sign_in(&app, "ann").await;
        let write = app.inside.db.write::<_, DbErr, _>(|tx| {
            async move { tx.execute_unprepared("UPDATE users SET password_hash = NULL").await.map(|_| ()) }.boxed()
        });
        write.await.unwrap();
        let reply = visitor.get("/account/security").await;
        assert_eq!(reply.is(200).text().contains("data-act=\"mail-reset\""), may, "{role}");
        if !may {
            ann.get("/api/auth/password/reset").await.is(403);
        }
    }
}

// A-083, A-084, A-085, T-30
#[tokio::test]
async fn what_is_hostile_is_only_text_on_every_page() {
    let app = TestApp::with(&[("DISPLAY_NAME_FREE", "True"), ("PROJECT_NAME", "Gate</title><b>house")]).await;
    let attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`${7*7}{{7*7}}";
    let short = "</script><script>alert(1)</script>\"'{{7*7}}";
    let (ann, bob) = (app.user("ann").await, app.user("bob").await);
    let change =
        json!({"display_name": short, "first_name": short, "last_name": short, "description": attack});
    for person in [&ann, &bob] {
        person.patch(&person.path()).json(&change).await.is(200);
    }
    ann.patch(&format!("{}/blocked_users?add={}", ann.path(), bob.id)).await.is(200);
    let fields = [("username", "ann"), ("password", PASSWORD)];
    let reply = app.post("/signin").header("origin", OURS).header("user-agent", attack).form(&fields).await;
    let cookie = format!("gatehouse={}", reply.is(303).cookie("gatehouse").unwrap());
    let query = [("lang", attack), ("error", attack), ("linked", attack), ("page", attack), ("next", attack)];
    let done = [("done", attack), ("token", attack), ("uri", attack)];
    let query = with_query("", &[&query[..], &done].concat());
    let inside = ACCOUNT.into_iter().chain(["/logout"]);
    let around =
        OPEN.into_iter().map(|path| path.split('?').next().unwrap()).chain(["/redirect_uri", "/otp"]);
    for path in inside.chain(around) {
        let ask = app.get(&format!("{path}{query}")).header("accept", "text/html").header("cookie", &cookie);
        let reply = ask.header("user-agent", attack).header("referer", attack).await;
        let text = reply.text();
        for needle in ["<script>alert", "<img src=x", "</title><b>", "alert(1)</script>\"'", "\"'`$"] {
            assert!(!text.contains(needle), "{path}: {needle}: {text}");
        }
        // One script element begins for each that ends: data never leaves its own.
        assert_eq!(text.matches("<script").count(), text.matches("</script>").count(), "{path}");
    }
    let shown = app.get("/account/security").header("cookie", &cookie).await;
    assert!(shown.is(200).text().contains("&lt;img src=x"), "the device is shown as text: {shown:?}");
}

#[tokio::test]
async fn a_page_that_no_history_has_is_an_empty_one() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let ann = Visitor::sign_in(&app, "ann").await;
    for page in ["0", "2", "9223372036854775808", "18446744073709551615", "18446744073709551616", "-1", "x"] {
        ann.get(&format!("/account/data?page={page}")).await.is(200);
    }
}

// A-074, A-076
#[tokio::test]
async fn signing_out_takes_a_button_of_our_own_page() {
    let app = TestApp::new().await;
    app.user("ann").await;
    app.user("bob").await;
    let (ann, bob) = (Visitor::sign_in(&app, "ann").await, Visitor::sign_in(&app, "bob").await);
    let form = ann.get("/logout").await;
    assert!(form.is(200).text().contains("action=\"/logout\""));
    ann.get("/account").await.is(200);
    let (csrf, others) = (ann.csrf().await, bob.csrf().await);
    let with =
        |token: &'static str| ann.post("/logout").header("origin", OURS).form(&[("csrf_token", token)]);
    with("").await.is(403);
    with("made-up").await.is(403);
    ann.post("/logout").header("origin", OURS).form(&[("csrf_token", &others)]).await.is(403);
    ann.post("/logout").header("origin", OURS).await.is(403);
    ann.post("/logout").header("origin", "https://evil.test").form(&[("csrf_token", &csrf)]).await.is(403);
    ann.get("/account").await.is(200);
    let out = ann.post("/logout").header("origin", OURS).form(&[("csrf_token", &csrf)]).await;
    assert_eq!(out.is(303).header("location"), Some("/signin?done=signed_out"));
    assert!(out.set_cookie("gatehouse").unwrap().contains("Max-Age=0"));
    ann.get("/account").await.is(303);
    app.get("/api/user/me").header("cookie", &ann.cookie).await.refused(401, "token_invalid");
    bob.get("/account").await.is(200);
    assert!(page(&app, "/signin?done=signed_out").await.text().contains("You are signed out."));
    // Once more does no harm.
    ann.post("/logout").header("origin", OURS).form(&[("csrf_token", &csrf)]).await.is(303);
    // A form of another site comes without the cookie: it must not clear it.
    for origin in ["https://evil.test", "null"] {
        let reply = app.post("/logout").header("origin", origin).form(&[("csrf_token", &csrf)]).await;
        assert!(reply.is(403).set_cookie("gatehouse").is_none(), "{reply:?}");
    }
    app.post("/logout").form(&[("csrf_token", &csrf)]).await.is(403);
    assert_eq!(page(&app, "/logout").await.is(303).header("location"), Some("/signin"));
}

// A-073
#[tokio::test]
async fn the_form_gives_a_new_session_whatever_cookie_was_planted() {
    let app = TestApp::new().await;
    app.user("mallory").await;
    app.user("ann").await;
    let planted = Visitor::sign_in(&app, "mallory").await.cookie;
    let fields = [("username", "ann"), ("password", PASSWORD)];
    let cookies = format!("{planted}; gatehouse-back=x; gatehouse-otp=x; gatehouse-oauth=x");
    let reply = app.post("/signin").header("origin", OURS).header("cookie", &cookies).form(&fields).await;
    let session = format!("gatehouse={}", reply.is(303).cookie("gatehouse").unwrap());
    assert_ne!(session, planted);
    let who =
        async |cookie: &str| app.get("/account").header("cookie", cookie).await.is(200).text().to_owned();
    assert!(who(&planted).await.contains("@mallory") && who(&session).await.contains("@ann"));
}

// A-086
#[tokio::test]
async fn cookies_beyond_reason_open_nothing() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let session = Visitor::sign_in(&app, "ann").await.cookie;
    let many = (0..200).map(|number| format!("c{number}=x")).collect::<Vec<_>>().join("; ") + "; ";
    for (cookies, status) in [
        (format!("{session}; {session}"), 303),
        (format!("{many}{session}"), 200),
        (format!("gatehouse-language={}; {session}", "d".repeat(3000)), 200),
        ("gatehouse=%00; gatehouse-language=%ff".to_owned(), 303),
    ] {
        assert_eq!(app.get("/account").header("cookie", &cookies).await.status(), status, "{cookies}");
    }
}

#[tokio::test]
async fn the_texts_are_there_and_the_operators_own_win() {
    let app = TestApp::with(&[("CONTACT_EMAIL", "help@example.com")]).await;
    for (path, word) in [("/terms", "Terms"), ("/privacy", "Cookies"), ("/support", "recovery codes")] {
        let reply = page(&app, path).await;
        assert!(reply.is(200).text().contains(word) && reply.text().contains("mailto:help@example.com"));
        page(&app, &format!("{path}/")).await.is(200);
    }
    let folder = app.inside.config.server.data_dir.join("templates").join("page");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("terms.txt"), "# Ours\nBe kind. <b>&{{ 7*7 }}").unwrap();
    std::fs::write(folder.join("terms.de.txt"), "Seid nett.").unwrap();
    let ours = page(&app, "/terms").await;
    assert!(ours.is(200).text().contains("<h2>Ours</h2>"), "{ours:?}");
    assert!(ours.text().contains("Be kind. &lt;b&gt;&amp;{{ 7*7 }}"), "text is text: {ours:?}");
    let german = page(&app, "/terms?lang=de").await;
    assert!(german.is(200).text().contains("Seid nett."), "{german:?}");
    assert!(page(&app, "/privacy").await.text().contains("Cookies"), "the others stay");
}

#[tokio::test]
async fn where_the_application_has_pages_of_its_own_people_are_sent_there() {
    let app = TestApp::with(&[("FRONTEND_URL", "https://app.example.com")]).await;
    for (path, place) in [
        ("/", "https://app.example.com/"),
        ("/terms", "https://app.example.com/terms"),
        ("/privacy", "https://app.example.com/privacy"),
        ("/support", "https://app.example.com/support"),
    ] {
        assert_eq!(page(&app, path).await.is(303).header("location"), Some(place), "{path}");
    }
    app.user("ann").await;
    let reply = sign_in(&app, "ann", &[]).await;
    assert_eq!(reply.is(303).header("location"), Some("https://app.example.com/"));
}

#[tokio::test]
async fn an_application_below_a_path_has_its_pages_there() {
    for address in ["https://example.com/app", "https://example.com/app/"] {
        let app = TestApp::with(&[("FRONTEND_URL", address)]).await;
        assert_eq!(page(&app, "/").await.is(303).header("location"), Some(address));
        let terms = page(&app, "/terms").await;
        assert_eq!(terms.is(303).header("location"), Some("https://example.com/app/terms"), "{address}");
    }
}

#[tokio::test]
async fn the_root_leads_to_the_door_or_to_the_account() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let home = page(&app, "/").await;
    assert!(home.is(200).text().contains("href=\"/signin\"") && home.text().contains("href=\"/signup\""));
    let visitor = Visitor::sign_in(&app, "ann").await;
    assert_eq!(visitor.get("/").await.is(303).header("location"), Some("/account"));
    is_ours(page(&app, "/404").await.is(404), "/404");
}

/// The field of this name, and whatever of the page its attributes say that it is described by.
fn field_of<'a>(reply: &'a Reply, name: &str) -> (&'a str, Vec<&'a str>) {
    let text = reply.text();
    let (_, field) = text.split_once(&format!("<input id=\"{name}\"")).expect("the field");
    let field = field.split('>').next().unwrap();
    let ids = field.split("aria-describedby=\"").nth(1).map_or("", |ids| ids.split('"').next().unwrap());
    let described = ids.split_whitespace().map(|id| {
        let (_, element) = text.split_once(&format!("id=\"{id}\">")).unwrap_or_else(|| panic!("no {id}"));
        element.split('<').next().unwrap()
    });
    (field, described.collect())
}

#[tokio::test]
async fn what_is_wrong_with_a_form_is_tied_to_its_fields_and_said_at_once() {
    let app = TestApp::new().await;
    app.user("ann").await.enrol(&app).await;
    let challenged = sign_in(&app, "ann", &[]).await;
    let cookie = format!("gatehouse-otp={}", challenged.cookie("gatehouse-otp").unwrap());
    let short = [("username", "bob"), ("email", "bob"), ("password", "x"), ("confirm_password", "y")];
    let no_name = [&[("username", "b!")][..], &short[1..]].concat();
    let taken = [
        ("username", "ann"),
        ("email", "other@example.com"),
        ("password", PASSWORD),
        ("confirm_password", PASSWORD),
    ];
    let names_nobody = [("username", "nobody"), ("password", PASSWORD)];
    let reset = [("token", "x"), ("new_password", "x"), ("confirm_password", "y")];
    for (path, sent, wrong, right) in [
        ("/signin", &names_nobody[..], &["username", "password"][..], &[][..]),
        ("/otp", &[("otp_code", "000")], &["otp_code"], &[]),
        ("/signup", &short, &["email", "password", "confirm_password"], &["username"]),
        ("/signup", &no_name, &["username", "email", "password", "confirm_password"], &[]),
        ("/signup", &taken, &["username"], &["email", "password", "confirm_password"]),
        ("/forgot-password/request", &[("username", " ")], &["username"], &[]),
        ("/verify/request", &[("email", "ann@")], &["email"], &[]),
        ("/reset-password/reset", &reset, &["new_password", "confirm_password"], &[]),
    ] {
        let reply = app.post(path).header("origin", OURS).header("cookie", &cookie).form(sent).await;
        assert!(matches!(reply.status(), 401 | 409 | 422), "{reply:?}");
        assert_eq!(reply.text().matches("autofocus").count(), 1, "{reply:?}");
        for (number, name) in wrong.iter().enumerate() {
            let (field, described) = field_of(&reply, name);
            assert!(field.contains("aria-invalid=\"true\""), "{path} {name}: {field}");
            assert_eq!(field.contains("autofocus"), number == 0, "{path} {name}: {field}");
            assert!(described.last().is_some_and(|words| words.ends_with('.')), "{name}: {described:?}");
        }
        for name in right {
            let (field, _) = field_of(&reply, name);
            assert!(!field.contains("aria-invalid"), "{path} {name}: {field}");
        }
    }
    // What is not about a field makes none of them wrong, and the first has the focus.
    let shown = page(&app, "/signup").await;
    assert!(
        !shown.is(200).text().contains("aria-invalid")
            && field_of(&shown, "username").0.contains("autofocus")
    );
    assert_eq!(field_of(&shown, "username").1, ["a to z, 0 to 9 and _"]);
}

/// The addresses of the links of a page.
fn links_of(reply: &Reply) -> Vec<String> {
    let text = reply.text().replace("&#x2f;", "/").replace("&amp;", "&");
    text.split("<a ")
        .skip(1)
        .map(|link| link.split("href=\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn where_somebody_wants_to_go_is_kept_from_page_to_page_of_the_door() {
    let app = TestApp::new().await;
    app.user("ann").await.enrol(&app).await;
    let cookie =
        format!("gatehouse-otp={}", sign_in(&app, "ann", &[]).await.cookie("gatehouse-otp").unwrap());
    let wrong = [("username", "nobody"), ("email", "x"), ("password", "x"), ("otp_code", "x")];
    for (path, fields, others) in [
        ("/signin", &wrong[..], &["/signup", "/forgot-password/request"][..]),
        ("/signup", &wrong[..], &["/signin"][..]),
        ("/otp", &wrong[..], &["/signin"][..]),
        ("/forgot-password/request", &[][..], &["/signin"][..]),
    ] {
        let (next, evil) = ("/account/data?page=2", "https://evil.test/");
        let place = |path: &str| with_query(path, &[("next", next)]);
        let shown = page(&app, &place(path)).header("cookie", &cookie).await;
        let sent = [fields, &[("next", next)]].concat();
        let refused = app.post(path).header("origin", OURS).header("cookie", &cookie).form(&sent).await;
        assert!(shown.status() == 200 && refused.status() >= 400, "{shown:?} {refused:?}");
        for reply in [&shown, &refused] {
            let links = links_of(reply);
            for link in others.iter().map(|other| place(other)).chain([place(path) + "&lang=de"]) {
                assert!(links.contains(&link), "{path}: no {link} in {links:?}");
            }
            let field = format!("name=\"next\" value=\"{next}\"");
            assert!(reply.text().replace("&#x2f;", "/").contains(&field), "{reply:?}");
        }
        // Only where it is a page of this server.
        let sent = [fields, &[("next", evil)]].concat();
        let refused = app.post(path).header("origin", OURS).header("cookie", &cookie).form(&sent).await;
        assert!(!refused.text().contains("evil"), "{refused:?}");
        let links =
            links_of(&page(&app, &with_query(path, &[("next", evil)])).header("cookie", &cookie).await);
        for other in others {
            assert!(links.iter().any(|link| link == other), "{path}: no {other} in {links:?}");
        }
    }
    let astray = page(&app, "/otp?next=%2Faccount%2Fdata").await;
    assert_eq!(astray.is(303).header("location"), Some("/signin?next=%2Faccount%2Fdata"));
}

/// What came back from `/redirect_uri`: the place, and the cookie that keeps where to go.
async fn go(app: &TestApp, uri: &str) -> Reply {
    app.get(&with_query("/redirect_uri", &[("uri", uri)])).header("accept", "text/html").await
}

#[tokio::test]
async fn who_was_sent_to_sign_in_comes_back_to_where_they_came_from() {
    let app = TestApp::with(&[("FRONTEND_URL", "https://app.example.com")]).await;
    app.user("ann").await;
    for place in ["https://app.example.com/deep/page?x=1", "/interactive-docs"] {
        let away = go(&app, place).await;
        assert_eq!(away.is(303).header("location"), Some("/signin"));
        let kept = format!("gatehouse-back={}", away.cookie("gatehouse-back").expect("where to go"));
        let set = away.set_cookie("gatehouse-back").unwrap();
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax"), "{set}");
        let fields = [("username", "ann"), ("password", PASSWORD)];
        let reply = app.post("/signin").header("origin", OURS).header("cookie", &kept).form(&fields).await;
        assert_eq!(reply.is(303).header("location"), Some(place));
        assert!(reply.set_cookie("gatehouse-back").unwrap().contains("Max-Age=0"));
        let visitor = Visitor::sign_in(&app, "ann").await;
        let straight = visitor.get(&with_query("/redirect_uri", &[("uri", place)])).await;
        assert_eq!(straight.is(303).header("location"), Some(place), "who is signed in goes on at once");
    }
    // A form may end there, and nowhere else.
    let policy = page(&app, "/signin").await.header("content-security-policy").unwrap().to_owned();
    assert!(policy.contains("form-action 'self' https://app.example.com;"), "{policy}");
}

// A-077, A-078, T-12
#[tokio::test]
async fn nobody_is_led_elsewhere() {
    let app = TestApp::with(&[("FRONTEND_URL", "https://good.example.com")]).await;
    app.user("ann").await;
    let long = format!("https://good.example.com/{}", "a".repeat(4096));
    let evil = [
        "",
        "//evil.test",
        "/\\evil.test",
        "\\/\\/evil.test",
        "/\t/evil.test",
        "///evil.test",
        "https:evil.test",
        "https:///evil.test",
        "https://good.example.com@evil.test",
        "https://good.example.com.evil.test",
        "https://good.example.com%00.evil.test",
        "/%0d%0aSet-Cookie:x",
        "/\r\nSet-Cookie: x=y",
        "javascript:alert(1)",
        "data:text/html,x",
        "http://good.example.com/",
        "https://evil。com",
        long.as_str(),
    ];
    let visitor = Visitor::sign_in(&app, "ann").await;
    for uri in evil {
        let reply = go(&app, uri).await;
        assert!(reply.is(400).header("location").is_none(), "{uri:?}: {reply:?}");
        assert!(reply.set_cookie("gatehouse-back").is_none(), "{uri:?}: {reply:?}");
        let reply = visitor.get(&with_query("/redirect_uri", &[("uri", uri)])).await;
        assert!(reply.header("location").is_none(), "{uri:?}: {reply:?}");
        let reply = sign_in(&app, "ann", &[("next", uri)]).await;
        let place = reply.is(303).header("location").unwrap();
        assert!(place == "https://good.example.com/", "{uri:?}: {reply:?}");
        let form = page(&app, &with_query("/signin", &[("next", uri)])).await;
        assert!(form.is(200).text().contains("name=\"next\" value=\"\""), "{form:?}");
        assert!(!form.text().contains("href=\"//") && !form.text().contains("href=\"http"), "{form:?}");
    }
    // Nor does a cookie that somebody planted.
    for planted in ["Ly9ldmlsLnRlc3Q", "aHR0cHM6Ly9ldmlsLnRlc3Q", "x", "%"] {
        let ask = sign_in(&app, "ann", &[]).header("cookie", &format!("gatehouse-back={planted}"));
        assert_eq!(ask.await.is(303).header("location"), Some("https://good.example.com/"), "{planted}");
    }
    app.get("/redirect_uri").header("accept", "text/html").await.is(400);
    let longest = format!("https://good.example.com/{}", "a".repeat(2000));
    for _ in 0..50 {
        let reply = go(&app, &longest).await;
        assert!(reply.is(303).set_cookie("gatehouse-back").unwrap().len() < 4096);
    }
}

#[tokio::test]
async fn going_back_has_the_flag_of_s1() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let flags: Value = admin.get("/api/admin/feature-flags").await.is(200).json();
    assert_eq!(flags["REDIRECT_URI"], true);
}

/// The pages of the console but for the first, which leads on to what somebody may see.
const CONSOLE: [&str; 9] = [
    "/console/users",
    "/console/files",
    "/console/mail",
    "/console/flags",
    "/console/events",
    "/console/webhooks",
    "/console/audit",
    "/console/permissions",
    "/console/health",
];

#[tokio::test]
async fn the_console_opens_what_the_policies_allow_and_nothing_else() {
    let app = TestApp::with(&[("USER_DIRECTORY", "members")]).await;
    app.moderator().await;
    app.user("annika").await;
    for (name, first, opened) in
        [("root", 200, &CONSOLE[..]), ("mods", 303, &CONSOLE[..3]), ("annika", 403, &CONSOLE[..0])]
    {
        let visitor = Visitor::sign_in(&app, name).await;
        visitor.get("/console").await.is(first);
        for path in CONSOLE {
            visitor.get(path).await.is(if opened.contains(&path) { 200 } else { 403 });
        }
    }
    for path in CONSOLE {
        let reply = page(&app, path).await;
        let next = serde_urlencoded::to_string([("next", path)]).unwrap();
        assert_eq!(reply.is(303).header("location"), Some(format!("/signin?{next}").as_str()));
    }
}

#[tokio::test]
async fn the_page_of_a_user_has_buttons_for_what_may_be_done_to_this_one() {
    let app = TestApp::new().await;
    let (moderator, ann, admin) = (app.moderator().await, app.user("annika").await, app.admin().await);
    let acts = ["edit", "ban", "unban", "sign-out", "delete", "restore", "purge"];
    for (name, whom, offered) in [
        ("root", &ann, &acts[..]),
        ("root", &admin, &["edit", "sign-out", "delete", "restore", "purge"][..]),
        ("mods", &ann, &["edit", "ban"][..]),
        ("mods", &moderator, &["edit", "sign-out", "delete"][..]),
        ("mods", &admin, &acts[..0]),
    ] {
        let visitor = Visitor::sign_in(&app, name).await;
        let reply = visitor.get(&format!("/console/users/{}", whom.id)).await;
        let text = reply.is(200).text();
        let found: Vec<&str> =
            acts.into_iter().filter(|act| text.contains(&format!("id=\"{act}\""))).collect();
        assert_eq!(found, offered, "{name} on the page of {}", whom.name);
    }
    let visitor = Visitor::sign_in(&app, "mods").await;
    visitor.get("/console/users/@nobody_here").await.is(404);
    visitor.get("/console/users/x").await.is(404);
    let place = format!("/console/users/{}", ann.id);
    assert_eq!(visitor.get("/console/users/@Annika").await.is(303).header("location"), Some(&*place));
}
