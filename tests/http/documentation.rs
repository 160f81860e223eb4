//! The documentation pages and the sign-in before the interactive ones.

use serde_json::json;

use crate::harness::{Ask, Client, PASSWORD, TestApp};

const INTERACTIVE: &str = "/interactive-docs";

/// The form of the sign-in page, sent by a browser that shows it.
fn sign_in(app: &Client, name: &str, password: &str) -> Ask {
    let form = [("username", name), ("password", password), ("next", INTERACTIVE)];
    let ask = app.post("/signin").form(&form);
    ask.header("origin", "http://localhost:8000").header("sec-fetch-site", "same-origin")
}

/// The addresses of everything that a page loads.
fn assets(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        for part in page.split(attribute).skip(1) {
            found.push(part.split('"').next().unwrap().replace("&#x2f;", "/"));
        }
    }
    found
}

#[tokio::test]
async fn the_reference_is_public_and_loads_nothing_from_elsewhere() {
    let app = TestApp::new().await;
    let page = app.get("/docs").await;
    assert!(page.is(200).header("content-type").unwrap().starts_with("text/html"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(!policy.contains("script-src 'unsafe-inline'") && !policy.contains("http"), "{policy}");
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(nonce.len() >= 22, "128 bits: {nonce}");
    assert_ne!(
        app.get("/docs").await.header("content-security-policy"),
        Some(policy),
        "a fresh nonce each time"
    );
    let assets = assets(page.text());
    assert!(assets.iter().any(|asset| asset.contains(".js")), "{assets:?}");
    for asset in assets.iter().filter(|asset| !asset.starts_with("data:")) {
        assert!(asset.starts_with('/') && !asset.starts_with("//"), "{asset}");
        let reply = app.get(asset).await;
        assert!(reply.is(200).header("cache-control").is_some(), "{asset}");
    }
}

#[tokio::test]
async fn aliases_lead_to_the_reference() {
    let app = TestApp::new().await;
    assert_eq!(app.get("/api/docs").await.is(302).header("location"), Some("/docs"));
    app.get("/docs/").await.is(200);
}

#[tokio::test]
async fn the_document_can_be_asked_for_again_cheaply() {
    let app = TestApp::new().await;
    let first = app.get("/openapi.json").await;
    assert!(first.is(200).header("content-type").unwrap().starts_with("application/json"));
    let etag = first.header("etag").expect("an ETag");
    app.get("/openapi.json").header("if-none-match", etag).await.is(304);
}

#[tokio::test]
async fn where_it_is_not_public_reading_needs_an_account() {
    let app = TestApp::with(&[("PUBLIC_API_DOCS", "False")]).await;
    let ann = app.user("ann").await;
    for path in ["/docs", "/docs/", "/openapi.json", "/openapi.json/"] {
        for method in ["GET", "HEAD"] {
            app.ask(method, path).await.is(401);
            ann.ask(method, path).await.is(200);
        }
    }
}

#[tokio::test]
async fn trying_it_out_needs_an_admin() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let stranger = app.get(INTERACTIVE).await;
    assert_eq!(stranger.is(303).header("location"), Some("/signin?next=%2Finteractive-docs"));
    app.post(INTERACTIVE).form(&[("username", "ann"), ("password", PASSWORD)]).await.is(405);
    for other in [app.sign_in("ann").await, app.moderator().await] {
        other.get(INTERACTIVE).await.is(403);
    }
    let page = app.admin().await.get(INTERACTIVE).await;
    assert!(page.is(200).text().contains("swagger-ui-bundle"));
    for asset in assets(page.text()).iter().filter(|asset| !asset.starts_with("data:")) {
        app.get(asset).await.is(200);
    }
}

#[tokio::test]
async fn it_can_be_open_to_all() {
    let app = TestApp::with(&[("PROTECTED_INTERACTIVE_DOCS", "False")]).await;
    assert!(app.get(INTERACTIVE).await.is(200).text().contains("swagger-ui-bundle"));
}

#[tokio::test]
async fn signing_in_on_the_page_gives_a_cookie_that_works_for_pages_and_api() {
    let app = TestApp::new().await;
    app.admin().await;
    sign_in(&app, "root", "velvet otter 27 marble").await.is(401);
    app.clock.advance(std::time::Duration::from_secs(1));
    let reply = sign_in(&app, "root", PASSWORD).await;
    assert_eq!(reply.is(303).header("location"), Some(INTERACTIVE));
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("gatehouse="), "{cookie}");
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert!(!cookie.contains("Domain") && !cookie.contains("Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert!(app.get(INTERACTIVE).header("cookie", pair).await.is(200).text().contains("swagger-ui-bundle"));
    assert_eq!(app.get("/api/user/me").header("cookie", pair).await.is(200).json()["username"], "root");
}

#[tokio::test]
async fn over_https_the_cookie_is_bound_to_the_host() {
    let app = TestApp::with(&[("BASE_URL", "https://users.example.com")]).await;
    app.admin().await;
    let form = [("username", "root"), ("password", PASSWORD)];
    let ask = app.post("/signin").form(&form).header("origin", "https://users.example.com");
    let reply = ask.header("sec-fetch-site", "same-origin").await;
    let cookie = reply.is(303).header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-gatehouse=") && cookie.contains("; Secure"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    app.get("/api/user/me").header("cookie", pair).await.is(200);
    let bare = pair.trim_start_matches("__Host-");
    app.get("/api/user/me").header("cookie", bare).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn with_the_cookie_changes_need_the_token_of_the_page() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let reply = sign_in(&app, "root", PASSWORD).await;
    let cookie = reply.is(303).header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let csrf = app.get("/api/auth/csrf").header("cookie", &cookie).await.is(200).json();
    let csrf = csrf["csrf_token"].as_str().unwrap().to_owned();
    let other = admin.get("/api/auth/csrf").await.json()["csrf_token"].as_str().unwrap().to_owned();
    let path = admin.path();
    let change = || app.patch(&path).header("cookie", &cookie).json(&json!({"description": "x"}));
    let ours = "http://localhost:8000";
    change().await.refused(403, "forbidden");
    change().header("x-csrf-token", "x").await.refused(403, "forbidden");
    change().header("x-csrf-token", &other).header("origin", ours).await.refused(403, "forbidden");
    change()
        .header("x-csrf-token", &csrf)
        .header("origin", "https://evil.example")
        .await
        .refused(403, "forbidden");
    let cross =
        change().header("x-csrf-token", &csrf).header("origin", ours).header("sec-fetch-site", "cross-site");
    cross.await.refused(403, "forbidden");
    change().header("x-csrf-token", &csrf).header("origin", ours).await.is(200);
    let out = app
        .post("/api/auth/logout")
        .header("cookie", &cookie)
        .header("origin", ours)
        .header("x-csrf-token", &csrf);
    let out = out.await;
    assert!(out.is(200).header("set-cookie").unwrap().contains("Max-Age=0"));
    app.get("/api/user/me").header("cookie", &cookie).await.refused(401, "token_invalid");
}

#[tokio::test]
async fn another_site_signs_nobody_in() {
    let app = TestApp::new().await;
    app.admin().await;
    let form = [("username", "root"), ("password", PASSWORD)];
    for (header, value) in
        [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
    {
        let reply = app.post("/signin").form(&form).header(header, value).await;
        assert_eq!(reply.is(403).header("set-cookie"), None);
    }
}
