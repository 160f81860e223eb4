//! Headers in the document. Each is described once, under `components`, and referred to: every answer has one at least,
//! and the document is large as it is.

use serde_json::{Map, Value, json};

/// What the headers of answers say. `required` are those that each answer has which is said to have them.
pub(super) fn of_answers() -> Map<String, Value> {
    let text = |words: &str| json!({"description": words, "schema": {"type": "string"}});
    let always = |mut header: Value| {
        header["required"] = json!(true);
        header
    };
    let mut limit =
        text("How many more requests would pass now (`r`), and in how many seconds all of them (`t`).");
    limit["example"] = json!("\"default\";r=0;t=900");
    let mut policy = text("How many requests (`q`) a client may make in how many seconds (`w`).");
    policy["example"] = json!("\"default\";q=300;w=900");
    let count = json!({
        "description": "How many there are without paging.", "schema": {"type": "integer", "format": "uint64"},
    });
    let seconds = json!({
        "description": "Seconds until it makes sense to try again.", "schema": {"type": "integer"},
    });
    let all = [
        ("X-Trace-Id", always(text("Names the request: give it when you ask for help."))),
        ("WWW-Authenticate", always(text("How to sign in (RFC 6750, 3)."))),
        ("Retry-After", always(seconds)),
        ("Allow", always(text("The methods that the path has."))),
        ("Location", always(text("Where it is, or where to go on."))),
        ("ETag", always(text("Names this state, for `If-Match` and `If-None-Match`."))),
        ("X-Total-Count", always(count)),
        ("Link", text("The neighbouring parts, as far as there are any: next, prev, first (RFC 8288).")),
        ("RateLimit", limit),
        ("RateLimit-Policy", policy),
    ];
    all.into_iter().map(|(name, header)| (name.to_owned(), header)).collect()
}

/// What the headers of requests say. None is needed.
pub(super) fn of_requests() -> Map<String, Value> {
    let all = [
        ("IfMatch", "If-Match", "The `ETag` that was seen, or `*`: 412 if it is another one by now."),
        ("IfNoneMatch", "If-None-Match", "The `ETag` that is known, or `*`: 304 if it is still that one."),
        ("CsrfToken", "X-CSRF-Token", "The token of `GET /auth/csrf`, beside the session cookie."),
    ];
    let described = all.into_iter().map(|(key, name, words)| {
        let header =
            json!({"name": name, "in": "header", "description": words, "schema": {"type": "string"}});
        (key.to_owned(), header)
    });
    described.collect()
}

/// Lets an operation's answers, and the operation itself, refer to their headers.
pub(super) fn refer(described: &Map<String, Value>, method: &str, operation: &mut Value) {
    let has = |status: &str| operation["responses"].get(status).is_some();
    let (is_versioned, is_kept) = (has("412"), has("304"));
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for (status, response) in responses.into_iter().flatten() {
        if response.get("$ref").is_none() {
            refer_in_answer(described, status, is_kept, response);
        }
    }
    let is_guarded = !matches!(method, "get" | "head" | "options") && takes_cookie(operation);
    for (key, is_read) in [("IfMatch", is_versioned), ("IfNoneMatch", is_kept), ("CsrfToken", is_guarded)] {
        if is_read {
            add_parameter(operation, key);
        }
    }
}

/// Lets an answer refer to its headers: those that its kind has in any case, and those that its handler names.
/// `is_kept`: clients keep what the operation answers, and ask whether it is still so.
pub(super) fn refer_in_answer(
    described: &Map<String, Value>,
    status: &str,
    is_kept: bool,
    response: &mut Value,
) {
    let Some(response) = response.as_object_mut() else { return };
    let headers = response.entry("headers").or_insert_with(|| json!({}));
    let Some(headers) = headers.as_object_mut() else { return };
    for name in of_every(status, is_kept).iter().chain(&["X-Trace-Id"]) {
        headers.entry(*name).or_insert(Value::Null);
    }
    for (name, header) in headers.iter_mut().filter(|(name, _)| described.contains_key(*name)) {
        *header = json!({"$ref": format!("#/components/headers/{name}")});
    }
}

/// What every answer of this status has.
fn of_every(status: &str, is_kept: bool) -> &'static [&'static str] {
    match status {
        "200" | "206" | "304" if is_kept => &["ETag"],
        "301" | "302" | "303" | "307" | "308" => &["Location"],
        "401" => &["WWW-Authenticate"],
        "405" => &["Allow"],
        "429" | "503" => &["Retry-After"],
        _ => &[],
    }
}

fn takes_cookie(operation: &Value) -> bool {
    operation["security"].as_array().into_iter().flatten().any(|way| way.get("cookie").is_some())
}

fn add_parameter(operation: &mut Value, key: &str) {
    let Some(operation) = operation.as_object_mut() else { return };
    let parameters = operation.entry("parameters").or_insert_with(|| json!([]));
    let reference = json!({"$ref": format!("#/components/parameters/{key}")});
    if let Some(parameters) = parameters.as_array_mut().filter(|present| !present.contains(&reference)) {
        parameters.push(reference);
    }
}
