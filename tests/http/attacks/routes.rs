//! Every route, and those that should not exist.

use serde_json::json;

use super::browser::Browser;
use super::wire::{bare, request};
use super::{Scene, Wire, operations};
use crate::harness::{Client, PASSWORD, Reply};

// whatever the spelling, the same gate.
#[tokio::test]
async fn the_documentation_has_one_gate_for_every_spelling() {
    let scene = Scene::with(&[("PUBLIC_API_DOCS", "False")]).await;
    let admin = scene.admin().await;
    let ann = scene.user("ann").await;
    let cookie = Browser::sign_in(&scene, "ann").await.header();
    let shows_it = |text: &str| {
        text.contains("\"openapi\"")
            || text.contains("/api/auth/login")
            || text.contains("swagger-ui")
            || text.contains("id=\"documentation\"")
    };
    let spellings = [
        "/docs",
        "/docs/",
        "//docs",
        "/docs//",
        "/./docs",
        "/docs/.",
        "/x/../docs",
        "/%64ocs",
        "/docs%2f",
        "/DOCS",
        "/docs?token=x",
        "/docs;x",
        "/docs.html",
        "/docs/index.html",
        "/openapi.json",
        "/openapi.json/",
        "//openapi.json",
        "/openapi%2ejson",
        "/openapi.yaml",
        "/openapi",
        "/spec",
        "/swagger",
        "/swagger.json",
        "/swagger-ui",
        "/redoc",
        "/rapidoc",
        "/scalar",
        "/api/openapi.json",
        "/api/openapi",
        "/api/docs",
        "/api/spec",
        "/api",
        "/api/",
        "/interactive-docs",
        "/interactive-docs/",
        "/interactive-docs/oauth2-redirect",
        "/docs/oauth2-redirect",
        "/Interactive-Docs",
        "//interactive-docs",
        "/interactive-docs/openapi.json",
        "/v1/openapi.json",
        "/.well-known/openapi.json",
    ];
    for spelling in spellings {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            for accept in ["text/html", "application/json", "*/*"] {
                let answer =
                    Wire::to(&scene).send(request(method, spelling, &[("accept", accept)], "")).await;
                assert!(!shows_it(&answer.text), "{method} {spelling}: {}", answer.status);
            }
        }
    }
    for path in ["/docs", "/openapi.json"] {
        scene.get(path).header("accept", "application/json").await.is(401);
        scene.get(&format!("{path}?token={}", admin.access)).await.is(401);
        scene.get(&format!("{path}?access_token={}", admin.access)).await.is(401);
        scene.with_bearer("x").get(path).await.is(401);
        assert!(shows_it(ann.get(path).await.is(200).text()));
        scene.get(path).header("cookie", &cookie).await.is(200);
        scene.get(path).header("cookie", "gatehouse=expired").await.is(401);
    }
    // Trying it out is another permission.
    assert!(shows_it(admin.get("/interactive-docs").await.is(200).text()));
    ann.get("/interactive-docs").await.is(403);
    scene.get("/interactive-docs").header("cookie", &cookie).await.is(403);
    scene.admin().await.patch(&ann.path()).json(&json!({"is_active": false})).await.is(200);
    for path in ["/docs", "/openapi.json"] {
        scene.get(path).header("cookie", &cookie).await.is(401);
        ann.get(path).await.is(401);
    }
}

//
#[tokio::test]
async fn there_is_nothing_to_be_learned_from_old_paths() {
    let scene = Scene::new().await;
    for path in [
        "/debug",
        "/debug/pprof/",
        "/.env",
        "/.git/HEAD",
        "/.git/config",
        "/.svn/entries",
        "/config.json",
        "/gatehouse.toml",
        "/gatehouse.db",
        "/data/gatehouse.db",
        "/data/secret.key",
        "/secret.key",
        "/backup.zip",
        "/backup.sql",
        "/index.php",
        "/phpinfo.php",
        "/server-status",
        "/actuator",
        "/actuator/env",
        "/graphql",
        "/admin",
        "/api/admin",
        "/api/internal",
        "/api/debug",
        "/.well-known/security.txt",
        "/.DS_Store",
        "/Cargo.toml",
        "/static/",
        "/assets/",
        "/data/",
        "/logs/",
        "/robots.txt~",
        "/docs.bak",
        "/health",
        "/health/",
        "/status",
        "/env",
        "/info",
        "/trace",
        "/heapdump",
    ] {
        let reply = scene.get(path).await;
        assert_eq!(reply.status(), 404, "{path}: {reply:?}");
    }
    let facts = [
        env!("CARGO_MANIFEST_DIR"),
        "/home",
        "/root",
        "sqlite",
        "postgres",
        "127.0.0.1",
        "@example.com",
        "linux",
        "rust",
    ];
    for path in
        ["/ping", "/version", "/healthcheck", "/health/live", "/health/ready", "/.well-known/jwks.json"]
    {
        let forwarded = scene.get(path).header("x-forwarded-for", "198.51.100.7").await;
        let text = forwarded.is(200).text().to_lowercase();
        assert!(!facts.iter().any(|fact| text.contains(fact)), "{path}: {text}");
        assert!(!text.contains("parts"), "{path}: {text}");
    }
    let ann = scene.user("ann").await;
    for path in ["/machine", "/machine/", "/repository", "/repository/"] {
        let (anonymous, other) = (scene.get(path).await, ann.get(path).await);
        for refusal in [anonymous.refused(401, "token_invalid"), other.refused(403, "forbidden")] {
            let text = refusal.text().to_lowercase();
            assert!(!facts.iter().any(|fact| text.contains(fact)), "{path}: {text}");
        }
    }
    for path in ["/metrics", "/metrics/"] {
        scene.get(path).header("x-forwarded-for", "198.51.100.7").await.refused(404, "not_found");
    }
    let admin = scene.admin().await;
    for path in ["/machine", "/repository"] {
        let text = admin.get(path).await.is(200).text().to_lowercase();
        // Which system it is they are told, and nothing that leads to it.
        let told = facts.iter().filter(|fact| **fact != "linux").find(|fact| text.contains(**fact));
        assert!(told.is_none(), "{path}: {told:?} in {text}");
    }
    assert!(admin.get("/health/ready").await.is(200).json()["parts"].is_object());
}

// what goes wrong is told without how it is made.
#[tokio::test]
async fn no_refusal_tells_how_the_server_is_made() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let ann = scene.user("ann").await;
    let mut replies: Vec<Reply> = Vec::new();
    for client in [&*scene as &Client, &ann, &admin] {
        for operation in operations(&scene) {
            replies.push(operation.ask(client, scene.inside.random.uuid_v7(scene.clock.now())).await);
            let path = super::with_ids(&operation.path, "not-an-id");
            replies.push(
                client.ask(&operation.method, &path).body("application/json", "{\"secret-input\":").await,
            );
            replies.push(
                client
                    .ask(&operation.method, &path)
                    .body("application/json", "{\"secret-input\":\"secret-input\"}")
                    .await,
            );
            replies.push(client.ask(&operation.method, &path).body("text/plain", "secret-input").await);
            replies.push(client.ask("PROPFIND", &path).await);
            replies.push(
                client
                    .ask(
                        &operation.method,
                        &format!("{path}?limit=secret-input&sort=secret-input&is_active=secret-input&q=%ff"),
                    )
                    .await,
            );
        }
    }
    for reply in replies.iter().filter(|reply| reply.status() >= 400) {
        assert!(reply.status() < 500, "{reply:?}");
        let is_page = reply.header("content-type").is_some_and(|kind| kind.starts_with("text/html"));
        let mut problem = if is_page { json!({"page": reply.text()}) } else { reply.json() };
        // The name of a field that is not known is told; its value is not.
        for error in problem["errors"].as_array_mut().into_iter().flatten() {
            assert!(!error["message"].as_str().unwrap().contains("secret-input"), "{reply:?}");
            error["field"] = json!("");
        }
        let text = problem.to_string();
        for needle in [
            "/home",
            "/root",
            "src/",
            ".rs",
            "sqlx",
            "sea_orm",
            "sea-orm",
            "SELECT",
            "UNIQUE",
            "constraint",
            "panicked",
            "poem",
            "serde",
            "tokio",
            "stack",
            "secret-input",
            "JWT_",
            "DATABASE",
        ] {
            assert!(!text.contains(needle), "{needle}: {reply:?}");
        }
        for header in ["server", "x-powered-by", "via"] {
            assert!(reply.header(header).is_none(), "{reply:?}");
        }
    }
}

// A-178, T-35: what is served is described, and what is described is served and says whether one must sign in.
#[tokio::test]
async fn every_operation_is_described_and_guarded_as_described() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let open = [
        "POST /api/auth/register",
        "POST /api/auth/login",
        "POST /api/auth/token/refresh",
        "POST /api/auth/logout",
        "POST /api/auth/token/introspect",
        "POST /api/auth/token/revoke",
        "GET /ping",
        "GET /version",
        "GET /healthcheck",
        "GET /health/live",
        "GET /health/ready",
        "GET /metrics",
        "GET /.well-known/jwks.json",
        "GET /oauth/client-metadata.json",
        "GET /oauth/jwks.json",
        "GET /api/user/{user}/image",
        "GET /api/auth/email/verify",
        "GET /api/auth/forgot-password/request",
        "GET /api/flags",
        "POST /api/auth/OTP",
        "POST /api/auth/OTP/send",
        "POST /api/auth/email/verify",
        "POST /api/auth/email/verify/request",
        "POST /api/auth/forgot-password/request",
        "POST /api/auth/forgot-password/reset",
        "GET /api/oauth/providers",
        "GET /api/oauth/{provider}",
        "GET /api/oauth/{provider}/callback",
        "GET /api/oauth/{provider}/link",
        "POST /api/oauth/token",
        "POST /api/workos/webhook",
    ];
    for operation in operations(&scene) {
        let name = format!("{} {}", operation.method, operation.path);
        assert!(!operation.is_open || open.contains(&name.as_str()), "{name} needs no sign-in?");
        assert!(
            operation.described["operationId"].is_string() && operation.described["summary"].is_string(),
            "{name}"
        );
        let anonymous = operation.ask(&scene, admin.id).await;
        if !operation.is_open {
            anonymous.refused(401, "token_invalid");
        }
        let signed_in = scene.admin().await;
        let signed_in = operation.ask(&signed_in, scene.bystander().id).await;
        assert!(
            !matches!(signed_in.status(), 405 | 501)
                // No provider is configured here, and nobody has uploaded anything.
                && (signed_in.status() != 404
                    || operation.path.contains("sessions")
                    || operation.path.contains("{provider}")
                    || operation.path.contains("{file}")
                    || operation.path.contains("{id}")
                    || operation.path.contains("/workos/")
                    || operation.path.starts_with("/oauth/")),
            "{name}: {signed_in:?}"
        );
    }
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        for operation in operations(&scene) {
            let known =
                operations(&scene).iter().any(|other| other.path == operation.path && other.method == method);
            if !known {
                let path = super::with_ids(&operation.path, &admin.id.to_string());
                let reply = scene.ask(method, &path).await;
                assert!(matches!(reply.status(), 405), "{method} {}: {reply:?}", operation.path);
                assert!(
                    !reply.header("allow").unwrap().split(", ").any(|allowed| allowed == method),
                    "{reply:?}"
                );
            }
        }
    }
    // A page has its methods, too.
    for page in ["/setup", "/interactive-docs", "/docs", "/openapi.json"] {
        for method in ["PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND"] {
            let answer = Wire::to(&scene).send(bare(method, page, None)).await;
            assert!(matches!(answer.status, 400 | 405), "{method} {page}: {answer:?}");
        }
    }
    assert_eq!(scene.try_sign_in("root", PASSWORD).await.status(), 200);
}
