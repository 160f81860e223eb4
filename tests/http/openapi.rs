//! The OpenAPI document: whole, complete, and true.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{TestApp, claims};

/// Every operation: method, path, what the document says of it.
pub fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    operations
}

/// The document of the program as it starts with nothing set.
pub async fn document(app: &TestApp) -> Value {
    app.get("/openapi.json").await.is(200).json()
}

/// What a reference leads to, or the value itself.
fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            document.pointer(reference.trim_start_matches('#')).expect("a reference that leads somewhere")
        }
        None => value,
    }
}

#[tokio::test]
async fn the_document_is_as_it_was() {
    let app = TestApp::new().await;
    insta::assert_json_snapshot!("openapi", document(&app).await);
}

#[tokio::test]
async fn the_document_names_whom_to_write_to_if_there_is_somebody() {
    let contact = async |settings: &[(&str, &str)]| {
        document(&TestApp::with(settings).await).await["info"]["contact"].clone()
    };
    assert_eq!(contact(&[]).await, Value::Null);
    assert_eq!(contact(&[("CONTACT_EMAIL", "help@example.org")]).await, json!({"email": "help@example.org"}));
}

#[tokio::test]
async fn every_operation_has_an_id_of_its_own_and_says_what_it_does() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no id"));
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
        let summary = operation["summary"].as_str().unwrap_or_default();
        assert!(!summary.is_empty() && summary.len() < 80, "{id}: {summary}");
        assert!(operation["tags"].as_array().is_some_and(|tags| !tags.is_empty()), "{id} has no tag");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = resolved(&document, parameter);
            assert!(
                parameter["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{id}: {parameter}"
            );
        }
    }
}

#[tokio::test]
async fn every_response_is_described_and_every_refusal_is_a_problem() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    let mut wrong = Vec::new();
    for (method, path, operation) in operations(&document) {
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(&document, response);
            if response["description"].as_str().is_none_or(str::is_empty) {
                wrong.push(format!("{method} {path}: {status} has no words"));
            }
            let is_refusal = status.as_str() >= "400" && path != "/health/ready";
            if is_refusal && response["content"].get("application/problem+json").is_none() {
                wrong.push(format!("{method} {path}: {status} is no problem document"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_operation_says_how_it_can_fail() {
    let app = TestApp::new().await;
    for (method, path, operation) in operations(&document(&app).await) {
        let has = |status: &str| operation["responses"].get(status).is_some();
        let is_secured = operation.get("security").is_some();
        assert!(!is_secured || has("401"), "{method} {path}: 401");
        let has_body = operation.get("requestBody").is_some();
        assert!(
            !has_body || (has("400") && has("413") && has("415") && has("422")),
            "{method} {path}: a body"
        );
        let has_person = path.contains("{user}");
        assert!(!has_person || has("404"), "{method} {path}: 404");
    }
}

#[tokio::test]
async fn every_field_of_every_object_is_described() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    let mut wrong = Vec::new();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for (field, described) in schema["properties"].as_object().into_iter().flatten() {
            let is_described = described.get("description").is_some() || described.get("$ref").is_some();
            if !is_described {
                wrong.push(format!("{name}.{field}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn every_reference_leads_somewhere_and_nothing_is_null() {
    fn walk(document: &Value, value: &Value) {
        assert!(!value.is_null(), "OpenAPI 3.0 knows no null");
        resolved(document, value);
        match value {
            Value::Object(members) => members.values().for_each(|member| walk(document, member)),
            Value::Array(items) => items.iter().for_each(|item| walk(document, item)),
            _ => {}
        }
    }
    let app = TestApp::new().await;
    let document = document(&app).await;
    walk(&document, &document);
}

#[tokio::test]
async fn whatever_is_counted_has_bounds() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    let mut wrong = Vec::new();
    for (method, path, operation) in operations(&document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let parameter = resolved(&document, parameter);
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            let has = |bounds: &[&str]| bounds.iter().all(|bound| schema[*bound].is_number());
            let is_bounded = match name {
                "limit" | "per_page" => has(&["minimum", "maximum", "default"]),
                "offset" | "skip" | "page" | "size" => has(&["minimum"]),
                "file" => schema["type"] == "integer" && has(&["minimum"]),
                "id" => schema["format"] == "uuid",
                "subject" if schema["format"] == "uuid" => true,
                "q" | "subject" | "description" => has(&["maxLength"]),
                _ => true,
            };
            if !is_bounded {
                wrong.push(format!("{method} {path}: {parameter}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_the_document_says_of_lengths_is_what_the_program_goes_by() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let schemas = &document["components"]["schemas"];
    let longest = |object: &str, field: &str| -> usize {
        let longest = schemas[object]["properties"][field]["maxLength"].as_u64();
        usize::try_from(longest.unwrap_or_else(|| panic!("{object}.{field} has no bound"))).unwrap()
    };
    for field in ["first_name", "last_name", "middle_name", "description"] {
        let most = longest("UserPatch", field);
        ann.patch(&ann.path()).json(&json!({field: "x".repeat(most)})).await.is(200);
        ann.patch(&ann.path()).json(&json!({field: "x".repeat(most + 1)})).await.invalid(&[field]);
    }
    let names = longest("UserPatch", "username");
    ann.patch(&ann.path()).json(&json!({"username": "x".repeat(names + 1)})).await.invalid(&["username"]);
    ann.patch(&ann.path()).json(&json!({"username": "x".repeat(names)})).await.is(200);
    let reason = longest("BanOrder", "reason");
    let ban = format!("/api/admin/ban/{}", ann.id);
    admin.post(&ban).json(&json!({"reason": "x".repeat(reason + 1)})).await.invalid(&["reason"]);
    admin.post(&ban).json(&json!({"reason": "x".repeat(reason)})).await.is(200);
}

#[tokio::test]
async fn the_length_of_a_search_is_counted_in_characters_as_the_document_counts_it() {
    let app = TestApp::new().await;
    let (document, admin) = (document(&app).await, app.admin().await);
    let parameters = document["paths"]["/api/user"]["get"]["parameters"].as_array().unwrap();
    let q = parameters.iter().find(|parameter| parameter["name"] == "q").unwrap();
    let longest = usize::try_from(q["schema"]["maxLength"].as_u64().unwrap()).unwrap();
    let search = |number| format!("/api/user?q={}", "%C3%A9".repeat(number));
    admin.get(&search(longest)).await.is(200);
    admin.get(&search(longest + 1)).await.invalid(&["q"]);
}

#[tokio::test]
async fn what_asks_for_a_second_factor_has_a_schema_of_its_own() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    for path in ["/api/auth/login", "/api/oauth/token"] {
        let answer = &document["paths"][path]["post"]["responses"]["401"];
        let schema = &answer["content"]["application/problem+json"]["schema"];
        let expected = json!([
            {"$ref": "#/components/schemas/OtpRequired"}, {"$ref": "#/components/schemas/Problem"},
        ]);
        assert_eq!(schema["anyOf"], expected, "{path}: {answer}");
    }
    let demand = &document["components"]["schemas"]["OtpRequired"];
    assert_eq!(demand["properties"]["code"]["enum"], json!(["otp_required"]));
    for member in ["otp_token", "otp_method", "error", "trace_id"] {
        assert!(demand["required"].as_array().unwrap().contains(&json!(member)), "{member}: {demand}");
    }
    // The answer is held to it as any other.
    let ann = app.user("ann").await;
    ann.enrol(&app).await;
    let login = json!({"username": "ann", "password": crate::harness::PASSWORD});
    let asked = app.post("/api/auth/login").json(&login).await.refused(401, "otp_required").json();
    assert_eq!(asked["otp_method"], "authenticator");
}

#[tokio::test]
async fn headers_are_written_as_they_usually_are() {
    let app = TestApp::new().await;
    for (method, path, operation) in operations(&document(&app).await) {
        for response in operation["responses"].as_object().unwrap().values() {
            for name in response["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
                // `secret` is written so since S1.
                let is_usual = ["ETag", "secret"].contains(&name.as_str())
                    || name.chars().any(|letter| letter.is_ascii_lowercase())
                        && name.starts_with(|first: char| first.is_ascii_uppercase());
                assert!(is_usual, "{method} {path}: {name}");
            }
        }
    }
}

#[tokio::test]
async fn every_answer_names_the_headers_that_clients_go_by() {
    let app = TestApp::with(&[("RATE_LIMITER_ENABLED", "True")]).await;
    let document = document(&app).await;
    let mut wrong = Vec::new();
    for (method, path, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        let is_kept = responses.contains_key("304");
        for (status, response) in responses {
            let headers = resolved(&document, response)["headers"].as_object().unwrap();
            let needed: &[&str] = match status.as_str() {
                "401" => &["X-Trace-Id", "WWW-Authenticate"],
                "429" | "503" => &["X-Trace-Id", "Retry-After"],
                "302" | "303" => &["X-Trace-Id", "Location"],
                "200" | "206" | "304" if is_kept => &["X-Trace-Id", "ETag"],
                _ => &["X-Trace-Id"],
            };
            for name in needed {
                let header = headers.get(*name).map(|header| resolved(&document, header));
                if header.is_none_or(|header| header["required"] != true) {
                    wrong.push(format!("{method} {path}: {status} without {name}"));
                }
            }
            for (name, header) in headers {
                let is_described = header["$ref"] == format!("#/components/headers/{name}");
                if !is_described && !["secret", "Cache-Control"].contains(&name.as_str()) {
                    wrong.push(format!("{method} {path}: {status} describes {name} by itself"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn these_answers_have_headers_of_their_own() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    for (place, status, name) in [
        ("get /api/auth/QR", "200", "secret"),
        ("post /api/user", "201", "Location"),
        ("post /api/user", "201", "ETag"),
        ("post /api/file", "201", "Location"),
        ("post /api/admin/webhooks", "201", "Location"),
        ("get /api/user/me", "200", "ETag"),
        ("get /api/user/{user}/image", "200", "ETag"),
        ("get /api/admin/feature-flags", "200", "ETag"),
        ("get /api/user", "200", "X-Total-Count"),
        ("get /api/user", "200", "Link"),
        ("get /api/admin/events", "200", "Link"),
    ] {
        let (method, path) = place.split_once(' ').unwrap();
        let answer = &document["paths"][path][method]["responses"][status];
        assert!(answer["headers"].get(name).is_some(), "{place}: {status} without {name}");
    }
    // Not every answer has them: the JSON of a seed, and a list in one part.
    assert_ne!(document["components"]["headers"]["Link"]["required"], true);
    let seed = &document["paths"]["/api/auth/QR"]["get"]["responses"]["200"];
    assert_ne!(seed["headers"]["secret"]["required"], true);
    assert!(document["components"]["responses"]["MethodNotAllowed"]["headers"].get("Allow").is_some());
}

#[tokio::test]
async fn every_operation_names_the_headers_that_it_reads() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    for (method, path, operation) in operations(&document) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let read: BTreeSet<&str> = parameters
            .map(|parameter| resolved(&document, parameter))
            .filter(|parameter| parameter["in"] == "header" && parameter["required"] != true)
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let answers = |status: &str| operation["responses"].get(status).is_some();
        let mut ways = operation["security"].as_array().into_iter().flatten();
        let by_cookie = method != "GET" && ways.any(|way| way.get("cookie").is_some());
        for (name, is_read) in
            [("If-Match", answers("412")), ("If-None-Match", answers("304")), ("X-CSRF-Token", by_cookie)]
        {
            assert_eq!(read.contains(name), is_read, "{method} {path}: {name}");
        }
    }
}

#[tokio::test]
async fn every_operation_that_takes_if_match_refuses_what_was_seen_long_ago() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    let (admin, ann) = (app.admin().await, app.user("ann").await);
    let new = json!({"url": "https://hooks.example.com/"});
    let hook = admin.post("/api/admin/webhooks").json(&new).await.is(201).json();
    let id = hook["webhook"]["id"].as_str().unwrap();
    let mut asked = 0;
    for (method, path, operation) in operations(&document) {
        if operation["responses"].get("412").is_none() {
            continue;
        }
        let body = match path.rsplit('/').next().unwrap() {
            "username" => json!({"username": "anna"}),
            "full-name" => json!({"first_name": "Ann"}),
            "feature-flags" | "feature_flags" => json!({"add": {"a": true}}),
            _ => json!({"description": "x"}),
        };
        let ask = admin.ask(&method, &path.replace("{user}", &ann.id.to_string()).replace("{id}", id));
        let ask = if operation.get("requestBody").is_some() { ask.json(&body) } else { ask };
        ask.header("if-match", "\"999\"").await.refused(412, "precondition_failed");
        asked += 1;
    }
    assert_ne!(asked, 0);
}

/// The number of a file that somebody has uploaded.
async fn file_of(who: &crate::harness::Actor) -> String {
    let form = "--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nx\r\n--B--\r\n";
    let file = who.post("/api/file").body("multipart/form-data; boundary=B", form).await.is(201).json();
    file["id"].to_string()
}

/// What is found wrong with the field `name` when it alone is sent, as `value`.
async fn complaint(ask: crate::harness::Ask, name: &str, value: Value) -> Option<String> {
    let reply = ask.json(&json!({name: value})).await;
    let errors = reply.json()["errors"].as_array().cloned().unwrap_or_default();
    let error = errors.into_iter().find(|error| error["field"] == name)?;
    Some(error["message"].as_str()?.to_owned())
}

#[tokio::test]
async fn bodies_take_null_and_unknown_fields_where_documented_and_nowhere_else() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    let ann = app.user("ann").await;
    let file = file_of(&ann).await;
    for (method, path, operation) in operations(&document) {
        let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") else {
            continue;
        };
        let schema = resolved(&document, schema);
        if schema["type"] == "string" {
            continue; // the words of a letter
        }
        assert_eq!(schema["additionalProperties"], false, "{method} {path}");
        let path = path.replace("{user}", &ann.id.to_string()).replace("{method}", "none");
        let path = path.replace("{file}", &file);
        let unknown = complaint(app.admin().await.ask(&method, &path), "surely_unknown", json!(1)).await;
        assert_eq!(unknown.as_deref(), Some("is not known here"), "{method} {path}");
        for (name, property) in schema["properties"].as_object().unwrap() {
            let complaint = complaint(app.admin().await.ask(&method, &path), name, Value::Null).await;
            let takes_null = complaint.is_none_or(|words| !words.starts_with("must be"));
            assert_eq!(takes_null, property["nullable"] == true, "{method} {path}: {name}");
        }
    }
}

/// A body that nothing is wrong with but that it is empty.
fn with_empty_body(operation: &Value, ask: crate::harness::Ask) -> crate::harness::Ask {
    if operation.get("requestBody").is_some() { ask.json(&json!({})) } else { ask }
}

#[tokio::test]
async fn every_route_answers_and_with_a_status_that_is_documented() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    let ann = app.user("ann").await;
    let file = file_of(&ann).await;
    for (method, path, operation) in operations(&document) {
        let path = path.replace("{user}", &ann.id.to_string()).replace("{id}", &ann.session().to_string());
        let path = path.replace("{method}", "none").replace("{file}", &file);
        for client in [app.with_bearer(&app.admin().await.access), app.with_bearer("x"), (*app).clone()] {
            let reply = with_empty_body(&operation, client.ask(&method, &path)).await;
            let status = reply.status().to_string();
            assert!(operation["responses"].get(&status).is_some(), "{status} is not documented: {reply:?}");
            let is_nowhere = reply.status() == 404 && reply.json()["detail"] == "There is nothing here.";
            assert!(!is_nowhere && reply.status() != 405, "{reply:?}");
        }
    }
}

fn is_public(operation: &Value) -> bool {
    operation["security"].as_array().is_none_or(|ways| ways.is_empty() || ways.contains(&json!({})))
}

#[tokio::test]
async fn operations_that_look_themselves_for_who_asks_say_how() {
    let app = TestApp::new().await;
    let document = document(&app).await;
    let (bearer, cookie, basic) = (json!({"bearer": []}), json!({"cookie": []}), json!({"basic": []}));
    let anybody = json!([bearer, cookie, {}]);
    for (path, method, ways) in [
        ("/api/auth/logout", "post", json!([bearer])),
        ("/api/auth/token/introspect", "post", json!([basic, bearer, cookie])),
        ("/api/auth/email/verify/request", "post", anybody.clone()),
        ("/api/auth/OTP/send", "post", anybody.clone()),
        ("/api/user/{user}/image", "get", anybody.clone()),
        ("/api/flags", "get", anybody.clone()),
        ("/api/oauth/{provider}/callback", "get", anybody),
    ] {
        assert_eq!(document["paths"][path][method]["security"], ways, "{method} {path}");
    }
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!((&schemes["basic"]["type"], &schemes["basic"]["scheme"]), (&json!("http"), &json!("basic")));
}

/// Who needs no sign-in, exactly. A new public operation must be added here, by hand and in public.
#[tokio::test]
async fn these_operations_are_public_and_no_others() {
    let app = TestApp::new().await;
    let public: BTreeSet<String> = operations(&document(&app).await)
        .into_iter()
        .filter(|(_, _, operation)| is_public(operation))
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    let expected = [
        "GET /.well-known/jwks.json",
        "GET /api/auth/email/verify",
        "GET /api/auth/forgot-password/request",
        "GET /api/flags",
        "GET /api/oauth/providers",
        "GET /api/oauth/{provider}",
        "GET /api/oauth/{provider}/callback",
        "GET /api/oauth/{provider}/link",
        "GET /api/user/{user}/image",
        "GET /health/live",
        "GET /health/ready",
        "GET /healthcheck",
        "GET /metrics",
        "GET /oauth/client-metadata.json",
        "GET /oauth/jwks.json",
        "GET /ping",
        "GET /version",
        "POST /api/auth/OTP",
        "POST /api/auth/OTP/send",
        "POST /api/auth/email/verify",
        "POST /api/auth/email/verify/request",
        "POST /api/auth/forgot-password/request",
        "POST /api/auth/forgot-password/reset",
        "POST /api/auth/login",
        "POST /api/auth/register",
        "POST /api/auth/token/refresh",
        "POST /api/auth/token/revoke",
        "POST /api/oauth/token",
        "POST /api/workos/webhook",
    ];
    assert_eq!(public.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn whatever_is_not_public_asks_who_one_is_before_anything_else() {
    let app = TestApp::new().await;
    let ann = app.user("ann").await;
    let expired = app.with_bearer(&ann.access);
    app.clock.advance(std::time::Duration::from_hours(2));
    assert!(claims(&ann.access)["exp"].as_i64().unwrap() < app.clock.now().seconds());
    for (method, path, operation) in operations(&document(&app).await) {
        // These two know callers in ways of their own.
        let is_of_its_own =
            ["logout", "introspect_token"].map(Value::from).contains(&operation["operationId"]);
        if is_public(&operation) || is_of_its_own {
            continue;
        }
        for target in
            [ann.id.to_string(), uuid::Uuid::nil().to_string(), "@nobody".to_owned(), "x".to_owned()]
        {
            let path =
                format!("{}?limit=x&users_ids=x", path.replace("{user}", &target).replace("{id}", &target));
            app.ask(&method, &path).await.refused(401, "token_invalid");
            app.ask(&method, &path).body("application/json", "{").await.refused(401, "token_invalid");
            app.ask(&method, &path).body("text/plain", "x").await.refused(401, "token_invalid");
            expired.ask(&method, &path).await.refused(401, "token_expired");
        }
    }
}
