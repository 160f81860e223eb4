//! What other sites make a browser do, and what pages make of what they are given.

use serde_json::json;
use url::Url;

use super::scene::same;
use super::wire::{bare, request};
use super::{Scene, Wire, operations};
use crate::harness::{Actor, PASSWORD, Reply, TestApp, with_query};
use crate::oauth::idp::{Idp, Person};
use crate::oauth::scene::{APP, code_of, linked, path_of};

const OURS: &str = "http://localhost:8000";
const EVIL: &str = "https://evil.test";

/// A browser that is signed in at the built-in pages.
pub struct Browser {
    /// The value of the session cookie.
    pub cookie: String,
    /// What our own pages send back.
    pub csrf: String,
}

impl Browser {
    /// Signs in at the page.
    pub async fn sign_in(app: &TestApp, name: &str) -> Self {
        let reply = sign_in_page(app, name, &[("origin", OURS)]).await;
        assert_eq!(reply.status(), 303, "{reply:?}");
        let cookie = session_cookie(&reply).expect("a session");
        let csrf = app.get("/api/auth/csrf").header("cookie", &format!("gatehouse={cookie}")).await;
        Self { cookie, csrf: csrf.is(200).json()["csrf_token"].as_str().unwrap().to_owned() }
    }

    /// The `Cookie` header.
    pub fn header(&self) -> String {
        format!("gatehouse={}", self.cookie)
    }

    /// A change, as one of our own pages makes it.
    pub async fn change(&self, app: &TestApp) -> Reply {
        self.change_with(app, &self.csrf).await
    }

    /// The same with this token of a page.
    pub async fn change_with(&self, app: &TestApp, csrf: &str) -> Reply {
        let ask =
            app.post("/api/auth/reauthenticate").header("cookie", &self.header()).header("origin", OURS);
        ask.header("x-csrf-token", csrf).json(&json!({"password": PASSWORD})).await
    }
}

async fn sign_in_page(app: &TestApp, name: &str, headers: &[(&str, &str)]) -> Reply {
    let mut ask = app.post("/signin").form(&[("username", name), ("password", PASSWORD)]);
    for (header, value) in headers {
        ask = ask.header(header, value);
    }
    ask.await
}

fn session_cookie(reply: &Reply) -> Option<String> {
    let set = reply.header("set-cookie")?;
    let value = set.strip_prefix("gatehouse=")?.split(';').next()?;
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(set.contains(attribute), "{set}");
    }
    assert!(!set.contains("Domain") && set.len() < 4096, "{set}");
    Some(value.to_owned())
}

/// A browser that leaves for a provider and signs in there: its cookie, and where the provider sends it back to.
pub async fn leave_and_sign_in(app: &TestApp, idp: &Idp) -> (String, Url) {
    let left = app.get(&with_query("/api/oauth/acme", &[("redirect_uri", APP)])).await;
    let cookie = left.is(302).cookie("gatehouse-oauth").unwrap().to_owned();
    (cookie, idp.visit(left.header("location").unwrap()).await)
}

/// Whose session a cookie is.
async fn name_of(app: &TestApp, cookie: &str) -> String {
    let reply = app.get("/api/user/me").header("cookie", &format!("gatehouse={cookie}")).await;
    reply.is(200).json()["username"].as_str().unwrap().to_owned()
}

// A-073, T-08
#[tokio::test]
async fn signing_in_gives_a_new_session_whatever_cookie_was_planted() {
    let scene = Scene::new().await;
    scene.user("mallory").await;
    scene.user("victim").await;
    let mallorys = Browser::sign_in(&scene, "mallory").await;
    let planted = mallorys.header();
    let reply = sign_in_page(&scene, "victim", &[("origin", OURS), ("cookie", &planted)]).await;
    let victims = session_cookie(&reply).unwrap();
    assert_ne!(victims, mallorys.cookie);
    assert_eq!(name_of(&scene, &mallorys.cookie).await, "mallory");
    assert_eq!(name_of(&scene, &victims).await, "victim");
    // One that was never issued is not taken up either.
    let reply = sign_in_page(&scene, "victim", &[("origin", OURS), ("cookie", "gatehouse=chosen")]).await;
    assert_ne!(session_cookie(&reply).unwrap(), "chosen");
}

// A-073, T-08: the cookies beside it, too: of half a sign-in, of leaving for a provider, of a device.
#[tokio::test]
async fn no_cookie_of_the_door_can_be_planted() {
    let idp = Idp::start().await;
    let scene = Scene::with(&idp.settings()).await;
    idp.follow(&scene.clock);
    let (mallory, victim) = (scene.user("mallory").await, scene.user("victim").await);
    let device = scene.try_sign_in("mallory", PASSWORD).await.cookie("gatehouse-device").unwrap().to_owned();
    let ((mallorys, _), (victims, _)) = (mallory.enrol(&scene).await, victim.enrol(&scene).await);
    let challenge = scene.demand("mallory").await.token;
    idp.person(Person::named("elsewhere", "4711"));
    let (left, back) = leave_and_sign_in(&scene, &idp).await;
    let beside = format!("gatehouse-oauth={left}; gatehouse-device={device}");
    let planted = format!("gatehouse-otp={challenge}; {beside}");

    // Half a sign-in of the victim is one of its own, and the planted half is not made whole by their code.
    let half = sign_in_page(&scene, "victim", &[("origin", OURS), ("cookie", &planted)]).await;
    assert!(half.is(303).cookie("gatehouse").is_none(), "{half:?}");
    let own = half.cookie("gatehouse-otp").unwrap();
    assert_ne!(own, challenge);
    let answer = async |cookies: &str, code: &str| {
        let ask = scene.post("/otp").header("origin", OURS).header("cookie", cookies);
        ask.form(&[("otp_code", code)]).await
    };
    let wrong = answer(&planted, &victims.next_code(&scene)).await;
    assert!(wrong.is(401).set_cookie("gatehouse").is_none(), "{wrong:?}");
    let whole = answer(&format!("gatehouse-otp={own}; {beside}"), &victims.next_code(&scene)).await;
    let session = whole.is(303).cookie("gatehouse").unwrap();
    assert_eq!(name_of(&scene, session).await, "victim");
    let tokens = scene.answer(&challenge, &mallorys.next_code(&scene)).await.is(200).json();
    assert_eq!(Actor::with_tokens(&scene, "mallory", &tokens).id, mallory.id);

    // The planted device is not one of the victim's: after a wrong password somewhere it waits like any other.
    let new = whole.cookie("gatehouse-device").unwrap();
    assert_ne!(new, device);
    scene.try_sign_in("victim", "certainly not this one 4711").await.refused(401, "invalid_credentials");
    let login = async |device: &str| {
        let ask = scene.post("/api/auth/login").header("cookie", &format!("gatehouse-device={device}"));
        ask.json(&json!({"username": "victim", "password": PASSWORD})).await
    };
    login(&device).await.refused(429, "rate_limited");
    login(new).await.refused(401, "otp_required");

    // Whoever comes back from the provider by the planted cookie is somebody else, and the victim stays who they are.
    let cookies = format!("gatehouse={session}; gatehouse-oauth={left}");
    let came = scene.get(&path_of(&back)).header("cookie", &cookies).await;
    assert!(came.set_cookie("gatehouse").is_none(), "{came:?}");
    let trade = json!({"code": code_of(&came), "redirect_uri": APP});
    let tokens = scene.post("/api/oauth/token").json(&trade).await.is(200).json();
    assert_ne!(Actor::with_tokens(&scene, "elsewhere", &tokens).id, victim.id);
    assert!(linked(&victim.me().await).is_empty());
    assert_eq!(name_of(&scene, session).await, "victim");

    // Signing out without the cookie ends nothing, and signing in as another takes up nothing of what was left.
    scene.post("/logout").header("origin", OURS).form(&[("csrf_token", "x")]).await.is(303);
    let left_behind = format!("gatehouse={session}");
    let reply = sign_in_page(&scene, "bystander", &[("origin", OURS), ("cookie", &left_behind)]).await;
    let next = session_cookie(&reply).unwrap();
    assert_ne!(next, session);
    assert_eq!(name_of(&scene, &next).await, "bystander");
    assert_eq!(name_of(&scene, session).await, "victim");
    scene.is_unharmed().await;
}

// every operation that changes something, as another site's form or script would have it called.
#[tokio::test]
async fn another_site_changes_nothing_with_a_visitors_cookie() {
    let scene = Scene::new().await;
    let ann = scene.admin().await;
    let browser = Browser::sign_in(&scene, "root").await;
    let unsafe_ones =
        operations(&scene).into_iter().filter(|operation| operation.method != "GET" && !operation.is_open);
    let unsafe_ones: Vec<_> = unsafe_ones.collect();
    assert!(unsafe_ones.len() > 10);
    let attempts: [&[(&str, &str)]; 9] = [
        &[],
        &[("origin", EVIL)],
        &[("origin", OURS)],
        &[("origin", EVIL), ("x-csrf-token", &browser.csrf)],
        &[("origin", "null"), ("x-csrf-token", &browser.csrf)],
        &[("origin", "http://localhost:8000.evil.test"), ("x-csrf-token", &browser.csrf)],
        &[("sec-fetch-site", "cross-site"), ("x-csrf-token", &browser.csrf)],
        &[("sec-fetch-site", "same-site"), ("x-csrf-token", &browser.csrf)],
        &[("origin", OURS), ("sec-fetch-site", "cross-site"), ("x-csrf-token", &browser.csrf)],
    ];
    for operation in unsafe_ones {
        for attempt in attempts {
            let path = super::scene::with_ids(&operation.path, &ann.id.to_string());
            let mut ask = scene.ask(&operation.method, &path).header("cookie", &browser.header());
            for (name, value) in attempt {
                ask = ask.header(name, value);
            }
            let reply = ask.body("text/plain", "{\"description\":\"forged\"}").await;
            assert_eq!(reply.status(), 403, "{attempt:?}: {reply:?}");
        }
    }
    let logout =
        scene.post("/api/auth/logout").header("cookie", &browser.header()).header("origin", EVIL).await;
    assert!(matches!(logout.status(), 401 | 403), "{logout:?}");
    browser.change(&scene).await.is(200);
    scene.is_unharmed().await;
}

// a session must not be forced upon a visitor either.
#[tokio::test]
async fn another_site_signs_nobody_in() {
    let scene = Scene::new().await;
    for headers in [
        &[][..],
        &[("origin", EVIL)],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", OURS), ("sec-fetch-site", "cross-site")],
        &[("origin", "http://localhost")],
        &[("referer", OURS)],
        &[("origin", "http://localhost:8000/")],
        &[("origin", "HTTP://LOCALHOST:8000")],
    ] {
        let reply = sign_in_page(&scene, "bystander", headers).await;
        assert_eq!(reply.status(), 403, "{headers:?}: {reply:?}");
        assert!(reply.header("set-cookie").is_none());
    }
}

// nor by a form to the API, which needs no preflight. What programs and listed origins send is taken.
#[tokio::test]
async fn a_sign_in_or_sign_up_of_another_site_is_not_taken() {
    let scene = Scene::with(&[("CORS_ORIGINS", "https://app.test")]).await;
    let password = PASSWORD.replace(' ', "+");
    let login = format!("username=bystander&password={password}");
    let register =
        format!("username=forced&email=forced%40example.com&password={password}&confirm_password={password}");
    let send = async |path: &str, form: &str, headers: &[(&str, &str)]| {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let headers = [&[kind], headers].concat();
        Wire::to(&scene).send(request("POST", path, &headers, form)).await
    };
    let evil = [
        EVIL,
        "null",
        "https://app.test.evil.test",
        "http://app.test",
        "http://localhost:8000.evil.test",
        "\u{e9}",
    ];
    for origin in evil {
        for (path, form) in [("/api/auth/login", &login), ("/api/auth/register", &register)] {
            let answer = send(path, form, &[("origin", origin)]).await;
            assert_eq!(answer.status, 403, "{origin} {path}: {answer:?}");
            assert!(!answer.text.contains("set-cookie"), "{answer:?}");
        }
    }
    for headers in [&[][..], &[("origin", OURS)], &[("origin", "https://app.test")]] {
        let answer = send("/api/auth/login", &login, headers).await;
        assert_eq!(answer.status, 200, "{headers:?}: {answer:?}");
    }
    assert_eq!(scene.number("SELECT COUNT(*) FROM users").await, 1);
    scene.is_unharmed().await;
}

//
#[tokio::test]
async fn a_body_of_another_kind_is_not_read_as_json() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let text = json!({"description": "forged"}).to_string();
    for kind in [
        "text/plain",
        "application/json; charset=utf-7",
        "application/json; charset=utf-16",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "text/json",
        "application/jsonp",
        "application/json+x",
        "",
        "*/*",
        "application/xml",
        "application/json, text/plain",
        "application/merge-patch+json",
    ] {
        let reply = ann.patch(&ann.path()).body(kind, text.clone()).await;
        reply.refused(415, "unsupported_media_type");
    }
    ann.patch(&ann.path()).await.refused(415, "unsupported_media_type");
    let login = json!({"username": "ann", "password": PASSWORD}).to_string();
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/json; charset=utf-7"] {
        scene.post("/api/auth/login").body(kind, login.clone()).await.refused(415, "unsupported_media_type");
    }
    // Method overrides are none.
    for header in ["x-http-method-override", "x-method-override", "x-http-method"] {
        ann.get(&ann.path()).header(header, "DELETE").await.is(200);
        ann.post(&ann.path()).header(header, "DELETE").await.refused(405, "method_not_allowed");
    }
    ann.get(&format!("{}?_method=DELETE", ann.path())).await.is(200);
    assert_eq!(ann.me().await["description"], serde_json::Value::Null);
}

// looking changes nothing.
#[tokio::test]
async fn no_get_changes_anything() {
    let scene = Scene::new().await;
    let link = scene.inside.auth.set_up_link().await.unwrap().unwrap();
    let link = format!("/setup?token={}", link.0.expose());
    for _ in 0..3 {
        assert_eq!(scene.get(&link).await.status(), 200);
        assert_eq!(scene.ask("HEAD", &link).await.status(), 200);
    }
    assert_eq!(scene.number("SELECT COUNT(*) FROM one_time_tokens").await, 1);
    let admin = scene.admin().await;
    let ann = scene.user("ann").await;
    let all = operations(&scene);
    let before = (ann.me().await, scene.number("SELECT COUNT(*) FROM sessions").await);
    for operation in &all {
        let has_get = all.iter().any(|other| other.path == operation.path && other.method == "GET");
        for method in ["GET", "HEAD"] {
            let path = super::scene::with_ids(&operation.path, &ann.id.to_string());
            let reply = admin.ask(method, &path).await;
            assert!(has_get || reply.status() == 405, "{operation:?}: {reply:?}");
        }
    }
    assert_eq!((ann.me().await, scene.number("SELECT COUNT(*) FROM sessions").await), before);
}

// where a redirect goes is not for the visitor to say.
#[tokio::test]
async fn redirects_stay_on_the_site() {
    let scene = Scene::new().await;
    for target in [
        "//evil.test",
        "/\\evil.test",
        "\\/\\/evil.test",
        "/%5cevil.test",
        "https:evil.test",
        "https:///evil.test",
        "https://good@evil.test",
        "https://localhost:8000.evil.test",
        "https://evil.test%00.localhost",
        "/%0d%0aSet-Cookie:x",
        "javascript:alert(1)",
        "data:text/html,x",
        "/\t/evil.test",
        "///evil.test",
        "evil。com",
    ] {
        for name in ["next", "redirect_uri", "return_to", "uri", "url", "then", "continue"] {
            let query = serde_urlencoded::to_string([(name, target)]).unwrap();
            let ask = scene.post(&format!("/signin?{query}")).header("origin", OURS);
            let reply = ask.form(&[("username", "bystander"), ("password", PASSWORD), (name, target)]).await;
            assert!(matches!(reply.status(), 303 | 422), "{reply:?}");
            let ours = Url::parse(OURS).unwrap();
            let leads = |to: &str| ours.join(to).unwrap().origin();
            assert!(reply.header("location").is_none_or(|to| leads(to) == ours.origin()), "{reply:?}");
            let reply = scene.get(&format!("/api/docs?{query}")).await;
            assert!(reply.header("location").is_none_or(|to| to == "/docs"), "{reply:?}");
        }
    }
}

const PAGES: [&str; 8] =
    ["/", "/docs", "/interactive-docs", "/setup", "/setup?token=x", "/nowhere", "/login", "/assets/none.js"];

// A-079, T-14
#[tokio::test]
async fn nothing_is_built_from_the_host_that_a_request_names() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let bearer = format!("Bearer {}", admin.access);
    let mut targets: Vec<String> = PAGES.iter().map(ToString::to_string).collect();
    targets.extend(
        ["/openapi.json", "/api/docs", "/api/user?limit=1", "/api/user?page=1&per_page=1", "/version"]
            .map(str::to_owned),
    );
    for target in &targets {
        for headers in [
            "host: evil.test\r\n".to_owned(),
            "host: localhost:80@evil.test\r\n".to_owned(),
            "host: localhost\r\nx-forwarded-host: evil.test\r\n".to_owned(),
            "host: localhost\r\nforwarded: host=evil.test;proto=https\r\n".to_owned(),
            "host: localhost\r\nx-forwarded-proto: javascript\r\nx-forwarded-prefix: //evil.test\r\nx-forwarded-port: 1\r\n".to_owned(),
            "host: localhost\r\nx-original-url: /evil.test\r\nx-rewrite-url: /evil.test\r\nx-host: evil.test\r\n".to_owned(),
        ] {
            let text = format!("GET {target} HTTP/1.1\r\n{headers}authorization: {bearer}\r\nconnection: close\r\n\r\n");
            let answer = Wire::to(&scene).send(text).await;
            assert!(!answer.text.contains("evil.test") && !answer.text.contains("javascript:"), "{target} {headers}: {answer:?}");
        }
        let absolute = format!(
            "GET http://evil.test{target} HTTP/1.1\r\nhost: evil.test\r\nauthorization: {bearer}\r\nconnection: close\r\n\r\n"
        );
        assert!(!Wire::to(&scene).send(absolute).await.text.contains("evil.test"), "{target}");
        let two = format!(
            "GET {target} HTTP/1.1\r\nhost: localhost\r\nhost: evil.test\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(Wire::to(&scene).send(two).await.status, 400, "{target}");
    }
    let new = json!({"username": "newcomer"}).to_string();
    let text = format!(
        "POST /api/user HTTP/1.1\r\nhost: evil.test\r\nauthorization: {bearer}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{new}",
        new.len()
    );
    let answer = Wire::to(&scene).send(text).await;
    assert!(answer.text.contains("location: http://localhost:8000/api/user/"), "{answer:?}");
}

// pages are framed by nobody, and show nothing of what they are asked.
#[tokio::test]
async fn no_page_can_be_framed_or_made_to_speak() {
    let scene = Scene::new().await;
    let attack = "<script>alert(1)</script>'\"`${7*7}{{7*7}}<img src=x onerror=alert(1)>";
    let encoded =
        serde_urlencoded::to_string([("token", attack), ("error", attack), ("next", attack)]).unwrap();
    let path = "/%3Cscript%3Ealert(1)%3C/script%3E";
    let mut nonces = Vec::new();
    let mut targets: Vec<String> = PAGES
        .iter()
        .map(|page| if page.contains('?') { (*page).to_owned() } else { format!("{page}?{encoded}") })
        .collect();
    targets.extend([
        path.to_owned(),
        format!("/setup{path}"),
        format!("/docs{path}"),
        format!("/setup?{encoded}"),
    ]);
    for target in &targets {
        let ask = scene
            .get(target)
            .header("accept", "text/html")
            .header("user-agent", attack)
            .header("referer", attack);
        let reply =
            ask.header("x-request-id", "<script>").header("cookie", "a=<script>alert(1)</script>").await;
        let text = reply.text();
        for needle in ["<script>alert", "onerror=alert(1)>", "{{7*7}}<", "'\"`"] {
            assert!(!text.contains(needle), "{target}: {needle}: {reply:?}");
        }
        assert!(!text.contains("${49}") && !text.contains("49<img"), "{reply:?}");
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"),
            "{target}: {policy}"
        );
        assert!(
            !policy.contains("script-src 'unsafe") && !policy.contains("unsafe-eval"),
            "{target}: {policy}"
        );
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
        assert!(reply.header("server").is_none());
        if let Some(nonce) = policy.split("nonce-").nth(1) {
            nonces.push(nonce.split('\'').next().unwrap().to_owned());
        }
    }
    let all = nonces.len();
    assert!(all > 4);
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), all, "a nonce came twice");
    // What is typed into a form comes back as text.
    let form = [
        ("token", attack),
        ("username", attack),
        ("email", attack),
        ("password", "x"),
        ("confirm_password", "y"),
    ];
    let reply = scene.post("/setup").form(&form).await;
    assert_eq!(reply.status(), 422, "{reply:?}");
    assert!(!reply.text().contains("<script>alert") && !reply.text().contains("<img"), "{reply:?}");
    let reply = scene
        .post("/signin")
        .header("origin", OURS)
        .form(&[("username", attack), ("password", attack)])
        .await;
    assert!(!reply.text().contains("<script>alert") && !reply.text().contains("<img"), "{reply:?}");
}

// A-081, T-34
#[tokio::test]
async fn no_other_origins_script_reads_an_answer() {
    let scene = Scene::with(&[("CORS_ORIGINS", "https://good.test")]).await;
    let ann = scene.user("ann").await;
    let bearer = format!("Bearer {}", ann.access);
    let origins = [
        EVIL,
        "null",
        "https://good.test.evil.test",
        "http://good.test",
        "https://good.test:444",
        "https://sub.good.test",
        "*",
        "https://GOOD.test",
        "https://good.test/",
        "https://good.test, https://evil.test",
        "\u{e9}",
        "",
        "https://good.test\u{e9}",
    ];
    for origin in origins {
        let headers = [("origin", origin), ("authorization", bearer.as_str())];
        let answer = Wire::to(&scene).send(request("GET", "/api/user/me", &headers, "")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(!answer.text.to_lowercase().contains("access-control-allow"), "{origin}: {answer:?}");
        assert!(answer.text.contains("vary: Origin"), "{origin}: {answer:?}");
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "PATCH"),
            ("access-control-request-headers", "authorization"),
        ];
        let answer = Wire::to(&scene).send(request("OPTIONS", "/api/user/me", &headers, "")).await;
        assert!(!answer.text.to_lowercase().contains("access-control-allow"), "{origin}: {answer:?}");
        assert!(answer.status < 500, "{answer:?}");
    }
    let reply = ann.get("/api/user/me").header("origin", "https://good.test").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://good.test"));
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    // Pages are nobody's to read.
    for page in PAGES {
        let reply = scene.get(page).header("origin", "https://good.test").await;
        assert!(reply.header("access-control-allow-origin").is_none(), "{reply:?}");
    }
}

//
#[tokio::test]
async fn what_is_personal_is_kept_by_no_cache() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    for operation in operations(&scene) {
        let reply = operation.ask(&admin, scene.bystander().id).await;
        let control = reply.header("cache-control");
        if operation.method == "GET" && operation.path.ends_with("/image") && reply.status() == 200 {
            // A browser may keep it, no shared cache may, and both ask each time whether it is still to be seen.
            assert_eq!(control, Some("private, max-age=0, must-revalidate"), "{reply:?}");
            continue;
        }
        let is_public = operation.path.ends_with("/.well-known/jwks.json");
        assert_eq!(control == Some("no-store"), !is_public, "{operation:?}: {reply:?}");
    }
    for page in ["/setup?token=x", "/interactive-docs", "/nowhere"] {
        assert_eq!(scene.get(page).await.header("cache-control"), Some("no-store"), "{page}");
    }
    // The ETag of one's own view is not that of others', nor is another's.
    let ann = scene.user("ann").await;
    let own = ann.get(&ann.path()).await.header("etag").unwrap().to_owned();
    let others = scene.bystander().get(&ann.path()).await.header("etag").unwrap().to_owned();
    assert_ne!(own, others);
}

//
#[tokio::test]
async fn tossed_cookies_count_for_nothing() {
    let scene = Scene::new().await;
    scene.user("ann").await;
    let browser = Browser::sign_in(&scene, "ann").await;
    let whole = &browser.cookie;
    let me = async |cookie: String| {
        Wire::to(&scene).send(request("GET", "/api/user/me", &[("cookie", &cookie)], "")).await.status
    };
    assert_eq!(me(format!("gatehouse={whole}")).await, 200);
    for tossed in [
        format!("gatehouse={whole}; gatehouse={whole}"),
        format!("gatehouse=x; gatehouse={whole}"),
        format!("gatehouse={whole}; gatehouse=x"),
        format!("__Host-gatehouse={whole}"),
        format!("Gatehouse={whole}"),
        format!("gatehouse ={whole}x"),
        "\u{e9}=1; gatehouse=\u{e9}".to_owned(),
    ] {
        assert_eq!(me(tossed.clone()).await, 401, "{tossed}");
    }
    assert_eq!(me("x".repeat(20 * 1024)).await, 431);
    let two = format!(
        "GET /api/user/me HTTP/1.1\r\nhost: localhost\r\ncookie: gatehouse={whole}\r\ncookie: gatehouse=x\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(Wire::to(&scene).send(two).await.status, 401);
}

// over https the cookie is bound to the host, and nothing goes without it.
#[tokio::test]
async fn over_https_cookies_are_bound_to_the_host() {
    let scene = Scene::with(&[("BASE_URL", "https://id.example.com")]).await;
    let reply = sign_in_page(&scene, "bystander", &[("origin", "https://id.example.com")]).await;
    let set = reply.header("set-cookie").unwrap();
    assert!(set.starts_with("__Host-gatehouse=") && set.contains("; Secure"), "{set}");
    let value = set.split(['=', ';']).nth(1).unwrap();
    let me = async |name: &str| scene.get("/api/user/me").header("cookie", &format!("{name}={value}")).await;
    me("__Host-gatehouse").await.is(200);
    me("gatehouse").await.refused(401, "token_invalid");
    let device = scene.try_sign_in("bystander", PASSWORD).await;
    let device = device.header("set-cookie").unwrap();
    assert!(device.starts_with("__Host-") && device.contains("; Secure"), "{device}");
    assert_eq!(reply.header("strict-transport-security"), Some("max-age=31536000"));
}

// T-05: whoever is banned is so for cookies, too.
#[tokio::test]
async fn a_banned_persons_cookie_is_dead_at_once() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    let browser = Browser::sign_in(&scene, "ann").await;
    scene.admin().await.patch(&ann.path()).json(&json!({"is_active": false})).await.is(200);
    let banned = scene.get("/api/user/me").header("cookie", &browser.header()).await;
    banned.refused(401, "token_invalid");
    same(&banned, &scene.get("/api/user/me").header("cookie", "gatehouse=never").await);
    let reply = sign_in_page(&scene, "ann", &[("origin", OURS)]).await;
    assert_eq!(reply.status(), 403, "{reply:?}");
    assert!(reply.header("set-cookie").is_none());
    let raw = Wire::to(&scene).send(bare("GET", "/api/user/me", Some(&ann.access))).await;
    assert_eq!(raw.status, 401);
}
