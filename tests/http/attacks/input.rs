//! Values that are not what they should be.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::scene::{Operation, with_ids};
use super::wire::request;
use super::{Scene, Wire, naughty, operations};
use crate::harness::{Actor, PASSWORD, START, with_query};

const INJECTIONS: &[&str] = &[
    "' OR 1=1--",
    "\" OR \"\"=\"",
    "'; DROP TABLE users; --",
    "\\' OR 1=1 --",
    "%' --",
    "1; SELECT pg_sleep(10)",
    "'||pg_sleep(10)--",
    "' AND 1=(SELECT COUNT(*) FROM users)--",
    "x' UNION SELECT id FROM users--",
    "1 OR randomblob(1000000000)",
    "$1",
    "?",
    ":x",
    "created_at; DROP TABLE users",
    "created_at,(SELECT 1)",
    "(CASE WHEN 1=1 THEN username ELSE id END)",
    "'",
    "\"",
    "\\",
    "`",
    "--",
    "/*",
    "*/",
    ";",
];

//
#[tokio::test]
async fn no_parameter_is_part_of_a_query() {
    let scene = Scene::new().await;
    let begun = Instant::now();
    for injection in INJECTIONS {
        let admin = scene.admin().await;
        for (path, names) in [
            (
                "/api/user",
                &[
                    "q",
                    "role",
                    "is_active",
                    "deleted",
                    "sort",
                    "order",
                    "limit",
                    "offset",
                    "skip",
                    "page",
                    "per_page",
                    "cursor",
                ][..],
            ),
            ("/api/user/count", &["q", "role", "is_active", "deleted"]),
            ("/api/user/users", &["users_ids"]),
            (&format!("{}/history", admin.path()), &["limit", "offset", "page", "cursor", "order"]),
            (&format!("{}/blocked_users", admin.path()), &["users_ids"]),
        ] {
            for name in names {
                let method = if path.ends_with("blocked_users") { "PUT" } else { "GET" };
                let reply = admin.ask(method, &with_query(path, &[(name, injection)])).await;
                let found = matches!(reply.status(), 200 if *name == "q");
                assert!(found || reply.status() == 422, "{name}={injection}: {reply:?}");
                if found {
                    assert!(matches!(&*reply.json().to_string(), "[]" | "0"), "{injection}: {reply:?}");
                }
            }
        }
        scene.clock.advance(Duration::from_hours(1));
        scene.try_sign_in(injection, PASSWORD).await.refused(401, "invalid_credentials");
        scene.try_sign_in(&format!("{injection}@example.com"), PASSWORD).await;
        let admin = scene.admin().await;
        let question = json!({"user": admin.id, "action": injection});
        assert_eq!(
            admin.post("/api/admin/permissions/check").json(&question).await.is(200).json()["decision"],
            "deny"
        );
        let headers = [
            ("x-request-id", *injection),
            ("user-agent", injection),
            ("traceparent", injection),
            ("if-match", injection),
        ];
        let answer = Wire::to(&scene).send(request("GET", "/ping", &headers, "")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert!(begun.elapsed() < Duration::from_mins(1), "something slept");
    assert_eq!(scene.number("SELECT COUNT(*) FROM users").await, 2);
    scene.is_unharmed().await;
}

// A-138, T-32
#[tokio::test]
async fn a_cursor_that_was_touched_is_none() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    for number in 0..5 {
        scene.user(&format!("name_{number}")).await;
    }
    let first = admin.get("/api/user?limit=2&sort=username").await;
    let link = first.is(200).header("link").unwrap().to_owned();
    let cursor = link.split("cursor=").nth(1).unwrap().split(['&', '>']).next().unwrap().to_owned();
    let next = |cursor: &str, sort: &str| {
        with_query("/api/user", &[("cursor", cursor), ("limit", "2"), ("sort", sort)])
    };
    admin.get(&next(&cursor, "username")).await.is(200);
    admin.get(&next(&cursor, "created_at")).await.invalid(&["cursor"]);
    for at in 0..cursor.len() {
        let mut letters: Vec<char> = cursor.chars().collect();
        letters[at] = if letters[at] == 'A' { 'B' } else { 'A' };
        let bent: String = letters.into_iter().collect();
        admin.get(&next(&bent, "username")).await.invalid(&["cursor"]);
    }
    for bent in [
        "",
        "A",
        &cursor[..cursor.len() - 1],
        &format!("{cursor}A"),
        &format!("{cursor}="),
        &cursor.repeat(20),
        "' OR 1=1",
        "\u{e9}",
        "\0",
    ] {
        admin.get(&next(bent, "username")).await.invalid(&["cursor"]);
    }
}

//
#[tokio::test]
async fn a_wildcard_is_a_letter() {
    let scene = Scene::new().await;
    scene.user("a_b").await;
    scene.user("axb").await;
    let admin = scene.admin().await;
    let found = async |q: &str| admin.get(&with_query("/api/user/count", &[("q", q)])).await.is(200).json();
    assert_eq!(found("a_").await, 1);
    assert_eq!(found("a").await, 2);
    for q in ["%", "_", "a%", "*", "?", "a?b", "^a", ".*", "[a]xb"] {
        assert_eq!(found(q).await, 0, "{q}");
    }
    scene.try_sign_in("a%b", PASSWORD).await.refused(401, "invalid_credentials");
    scene.get("/ping").await.is(200);
}

//
#[tokio::test]
async fn line_breaks_and_nul_end_nothing() {
    let scene = Scene::new().await;
    let ann = scene.user("ann").await;
    for bad in
        ["a\r\nb", "a\nb", "a\rb", "a\0b", "\0", "a\u{b}b", "a\u{1b}b", "a\u{7f}b", "a\u{85}b", "a\u{9b}b"]
    {
        for field in ["username", "first_name", "middle_name", "last_name", "locale", "email", "display_name"]
        {
            ann.patch(&ann.path()).json(&json!({(field): bad})).await.refused(422, "validation_failed");
        }
        if bad != "a\nb" {
            ann.patch(&ann.path()).json(&json!({"description": bad})).await.invalid(&["description"]);
        }
        let registration = json!({"username": "new_one", "email": "new@example.com", "password": format!("{PASSWORD}{bad}"), "confirm_password": format!("{PASSWORD}{bad}")});
        scene.post("/api/auth/register").json(&registration).await.invalid(&["password"]);
    }
    for id in ["a b", "a\tb", "x\u{e9}", &"a".repeat(129), "<script>", "a,b", "{}"] {
        let answer = Wire::to(&scene).send(request("GET", "/ping", &[("x-request-id", id)], "")).await;
        assert!(!answer.text.contains(&format!("x-trace-id: {id}")), "{answer:?}");
    }
    // What would end a header line is not HTTP.
    for line in [
        "x-request-id: a\0b",
        "x-request-id: a\rb",
        "x-request-id : a",
        " x: y",
        "x\u{e9}: y",
        ": y",
        "x y: z",
    ] {
        let text = format!("GET /ping HTTP/1.1\r\nhost: localhost\r\n{line}\r\nconnection: close\r\n\r\n");
        assert_eq!(Wire::to(&scene).send(text).await.status, 400, "{line:?}");
    }
    scene.is_unharmed().await;
}

// each text in each field comes back exactly or is refused, and nothing breaks.
#[tokio::test]
async fn a_naughty_text_is_kept_exactly_or_refused() {
    assert!(naughty::TEXTS.len() > 80);
    let scene = Scene::with(&[("DISPLAY_NAME_FREE", "True"), ("USER_DIRECTORY", "members")]).await;
    let ann = scene.user("ann").await;
    let admin = scene.admin().await;
    for text in naughty::TEXTS {
        for field in ["display_name", "first_name", "middle_name", "last_name", "description", "locale"] {
            let reply = ann.patch(&ann.path()).json(&json!({(field): text})).await;
            assert!(matches!(reply.status(), 200 | 422), "{field} {text:?}: {reply:?}");
            if reply.status() == 200 && !(text.is_empty() && field.ends_with("_name")) {
                let same = |shown: &Value| shown[field] == *text || field == "locale";
                assert!(same(&reply.json()) && same(&ann.me().await), "{field} {text:?}: {reply:?}");
                assert!(same(&scene.bystander().get(&ann.path()).await.is(200).json()), "{field} {text:?}");
            }
        }
        for field in ["username", "email"] {
            let value = if field == "email" { format!("{text}@example.com") } else { (*text).to_owned() };
            let reply = ann.patch(&ann.path()).json(&json!({(field): value})).await;
            assert!(matches!(reply.status(), 200 | 409 | 422), "{field} {text:?}: {reply:?}");
        }
        ann.patch(&ann.path()).json(&json!({"username": "ann"})).await.is(200);
        let noted = admin.patch(&ann.path()).json(&json!({"metadata": {(*text): text}})).await;
        assert!(matches!(noted.status(), 200 | 422), "{text:?}: {noted:?}");
        if noted.status() == 200 {
            assert_eq!(noted.json()["metadata"][*text], *text);
        }
        for who in [&ann, &admin] {
            let found = who.get(&with_query("/api/user", &[("q", text)])).await;
            assert!(matches!(found.status(), 200 | 422), "{text:?}: {found:?}");
        }
        let tried = scene.try_sign_in(text, text).await;
        assert!(matches!(tried.status(), 401 | 422 | 429), "{text:?}: {tried:?}");
        let answer = scene.get(&with_query("/nowhere", &[("x", text)])).header("accept", "text/html").await;
        assert!(matches!(answer.status(), 404), "{text:?}: {answer:?}");
        let tokens = scene.post("/api/auth/token/refresh").json(&json!({"refresh_token": text})).await;
        tokens.refused(401, "token_invalid");
    }
    scene.is_unharmed().await;
}

//
#[tokio::test]
async fn numbers_at_their_edges_are_in_range_or_refused() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let history = format!("{}/history", admin.path());
    for path in ["/api/user", history.as_str()] {
        for name in ["limit", "offset", "skip", "page", "per_page"] {
            for bad in [
                "-1",
                "",
                "1.5",
                "NaN",
                "1e3",
                "0x10",
                "+1",
                " 1",
                "1 ",
                "９",
                "9223372036854775808",
                "18446744073709551616",
                "999999999999999999999999",
                "null",
                "[]",
                "1,2",
                "١",
            ] {
                let reply = admin.get(&with_query(path, &[(name, bad)])).await;
                reply.invalid(&[name]);
            }
        }
        for (name, bad) in
            [("limit", "0"), ("limit", "1001"), ("page", "0"), ("per_page", "0"), ("per_page", "101")]
        {
            admin.get(&with_query(path, &[(name, bad)])).await.invalid(&[name]);
        }
        for (name, edge) in [
            ("offset", "9223372036854775807"),
            ("skip", "9223372036854775807"),
            ("offset", "2147483648"),
            ("limit", "1000"),
            ("limit", "1"),
            ("per_page", "100"),
            ("page", "92233720368547758"),
            ("offset", "0"),
        ] {
            let reply = admin.get(&with_query(path, &[(name, edge)])).await;
            reply.is(200);
        }
        admin
            .get(&with_query(path, &[("page", "9223372036854775807"), ("per_page", "100")]))
            .await
            .invalid(&["page"]);
    }
    for bad in ["-1", "2", "yes", "TRUE", "1", ""] {
        admin.get(&with_query("/api/user", &[("is_active", bad)])).await.invalid(&["is_active"]);
    }
    let size = admin.get("/api/user/users").await;
    assert!(matches!(size.status(), 200 | 422), "{size:?}");
    assert_eq!(scene.clock.now(), START);
}

/// Neither a whole number of 64 bits, nor a truth, an id, an order, a role or a place in a list.
const ODD: &[&str] = &[
    "",
    "x",
    "1.5",
    "1e400",
    "NaN",
    "null",
    "[]",
    "\0",
    "\u{e9}",
    "9223372036854775808",
    "-9223372036854775809",
    "999999999999999999999999",
];

const EDGES: &[i64] = &[i64::MIN, -2_147_483_649, -1, 0, 1, 2_147_483_648, i64::MAX];

/// The lists that an admin can ask for, and the path of each.
async fn lists(scene: &Scene, admin: &Actor) -> Vec<(Operation, String)> {
    let webhook = json!({"url": "https://example.com/", "enabled": false});
    let made = admin.post("/api/admin/webhooks").json(&webhook).await.is(201).json();
    let webhook = made["webhook"]["id"].as_str().unwrap().to_owned();
    let lists =
        operations(scene).into_iter().filter(|operation| operation.method == "GET" && !operation.is_open);
    let lists = lists.filter(|operation| !parameters(operation).is_empty());
    let lists = lists.map(|operation| {
        let id = if operation.path.contains("/webhooks/") { webhook.clone() } else { admin.id.to_string() };
        let path = with_ids(&operation.path, &id);
        (operation, path)
    });
    lists.collect()
}

/// Names and schemas of the parameters in the query.
fn parameters(operation: &Operation) -> Vec<(String, Value)> {
    let all = operation.described["parameters"].as_array().into_iter().flatten();
    let in_query = all.filter(|parameter| parameter["in"] == "query");
    in_query
        .map(|parameter| (parameter["name"].as_str().unwrap().to_owned(), parameter["schema"].clone()))
        .collect()
}

/// Whether the document lets any text be given there. Of a cursor it can't say what is in it, and a list may be empty.
fn takes_any_text(name: &str, schema: &Value) -> bool {
    let is_text = schema["type"] == "string" && schema["format"].is_null() && schema["enum"].is_null();
    schema["type"] == "array" || is_text && name != "cursor"
}

fn is_in_range(schema: &Value, number: i64) -> bool {
    let bound = |name: &str| schema[name].as_f64();
    #[expect(clippy::cast_precision_loss, reason = "bounds are small numbers, and edges lie far from them")]
    let number = number as f64;
    bound("minimum").is_none_or(|least| least <= number) && bound("maximum").is_none_or(|most| number <= most)
}

// read from the document, so that a new list is tried from its first day.
#[tokio::test]
async fn every_parameter_of_every_list_is_taken_in_its_range_and_refused_outside() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    let lists = lists(&scene, &admin).await;
    assert!(lists.len() >= 11, "that can't be all: {lists:?}");
    let long = "A".repeat(6000);
    for (operation, path) in &lists {
        admin.get(path).await.is(200);
        for (name, schema) in parameters(operation) {
            let ask = async |value: &str| {
                let reply = admin.get(&with_query(path, &[(&name, value)])).await;
                assert!(matches!(reply.status(), 200 | 422), "{reply:?}");
                reply
            };
            for odd in ODD.iter().copied().chain([long.as_str()]) {
                let reply = ask(odd).await;
                if !takes_any_text(&name, &schema) {
                    reply.refused(422, "validation_failed");
                }
            }
            for edge in EDGES {
                let reply = ask(&edge.to_string()).await;
                if schema["type"] == "integer" && !is_in_range(&schema, *edge) {
                    reply.refused(422, "validation_failed");
                }
            }
            let twice = admin.get(&with_query(path, &[(&name, "1"), (&name, "1")])).await;
            if schema["type"] == "array" {
                assert!(matches!(twice.status(), 200 | 422), "{twice:?}");
            } else {
                twice.refused(422, "validation_failed");
            }
        }
    }
    scene.is_unharmed().await;
}

// A-138, T-32: a cursor is one place in one list.
#[tokio::test]
async fn a_cursor_of_another_list_breaks_none() {
    let scene = Scene::new().await;
    let admin = scene.admin().await;
    for name in ["a_file", "another_file"] {
        let head = format!("Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"");
        let form = format!("--B\r\n{head}\r\n\r\nx\r\n--B--\r\n");
        admin.post("/api/file").body("multipart/form-data; boundary=B", form).await.is(201);
    }
    let mut lists = lists(&scene, &admin).await;
    lists.retain(|(operation, _)| parameters(operation).iter().any(|(name, _)| name == "cursor"));
    let mut cursors = Vec::new();
    for (_, path) in &lists {
        let next = admin.get(&with_query(path, &[("limit", "1")])).await.link("next");
        let query = next.as_deref().and_then(|next| next.split_once('?')).map_or("", |(_, query)| query);
        let cursor = query.split('&').find_map(|pair| pair.strip_prefix("cursor="));
        cursors.extend(cursor.map(|cursor| (path.clone(), cursor.to_owned())));
    }
    assert!(cursors.len() >= 2, "there are two people and two files: {cursors:?}");
    for (home, cursor) in &cursors {
        for (_, path) in &lists {
            let reply = admin.get(&with_query(path, &[("cursor", cursor), ("limit", "1")])).await;
            if path == home {
                reply.is(200);
            } else if reply.status() != 200 {
                reply.invalid(&["cursor"]);
            }
        }
    }
    scene.is_unharmed().await;
}
