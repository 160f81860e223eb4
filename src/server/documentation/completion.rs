//! What the OpenAPI document must say beyond what poem-openapi finds in the handlers.

use std::collections::BTreeSet;

use poem_openapi::registry::Registry;
use poem_openapi::types::Type;
use serde_json::{Map, Value, json};

use super::headers;
use crate::flags::is_gated;
use crate::platform::problem::{MEDIA_TYPE, ProblemBody};
use crate::rate_limit::MARK;
use crate::server::edge::is_counted;

/// Which operations have a refusal that no handler names, because the layers around it make it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    All,
    Secured,
    Flagged,
    WithInput,
    WithBody,
    WithPath,
}

const FORBIDDEN: &str = "Signed in, but not allowed; `second_factor_required`: not until the second factor is set up \
                         that a role of the caller needs; `feature_disabled`: switched off at the moment.";

/// For operations that say themselves what else 403 means.
const SWITCHED_OFF: &str = "`feature_disabled`: This is switched off at the moment.";

const COMMON: [(&str, Of, &str, &str); 11] = [
    ("400", Of::WithInput, "BadRequest", "The request can't be read."),
    ("401", Of::Secured, "Unauthorized", "Not signed in, or no longer."),
    ("403", Of::Secured, "Forbidden", FORBIDDEN),
    ("401", Of::Flagged, "SignInNeeded", "The flag of this operation depends on who asks: please sign in."),
    ("403", Of::Flagged, "SwitchedOff", SWITCHED_OFF),
    ("404", Of::WithPath, "NotFound", "There is nothing of that name, or not for you to know."),
    ("413", Of::WithBody, "PayloadTooLarge", "The body is larger than the server takes."),
    ("415", Of::WithBody, "UnsupportedMediaType", "The body is of a kind that is not taken here."),
    ("422", Of::WithInput, "ValidationFailed", "Some fields are not as they must be; `errors` names them."),
    ("500", Of::All, "InternalServerError", "Something broke; the trace id leads to the cause in the log."),
    ("503", Of::All, "ServiceUnavailable", "Not possible right now; `Retry-After` says when to try again."),
];

/// Answered to another method of a path, and so by no operation; it stands there for who writes clients.
const OTHER_METHOD: &str = "This method is not served here; `Allow` names those that are.";

const TOO_MANY: &str = "Too many requests. `Retry-After` says when to try again.";

/// Completes the document: one entry per query parameter of paging, the refusals that every operation can get, limits,
/// headers, and what serde does with the fields of bodies. `all_limited`: whether requests of whatever kind are
/// limited. The same document gives the same result.
pub fn complete(document: &mut Value, all_limited: bool) {
    hold_bodies_to_serde(document);
    let described = headers::of_answers();
    let mut is_limited = false;
    for (path, method, operation) in operations_by_path(document) {
        expand_parameters(operation);
        is_limited |= add_limit(operation, all_limited && is_counted(path));
        add_refusals(operation);
        describe_answers(operation);
        headers::refer(&described, method, operation);
    }
    let common = |status: &str, words: &str, own: Value| {
        let mut answer = refusal(words);
        answer["headers"] = own;
        headers::refer_in_answer(&described, status, false, &mut answer);
        answer
    };
    if is_limited {
        let too_many = common("429", TOO_MANY, headers_of_limit(true));
        add(document, &["components", "responses", "TooManyRequests"], too_many);
    }
    let mut registry = Registry::new();
    ProblemBody::register(&mut registry);
    for (name, schema) in registry.schemas {
        add(document, &["components", "schemas", &name], json!(schema));
    }
    for (status, _, name, words) in COMMON {
        add(document, &["components", "responses", name], common(status, words, json!({})));
    }
    let other_method = common("405", OTHER_METHOD, json!({}));
    add(document, &["components", "responses", "MethodNotAllowed"], other_method);
    for (name, parameter) in headers::of_requests() {
        add(document, &["components", "parameters", &name], parameter);
    }
    for (name, header) in described {
        add(document, &["components", "headers", &name], header);
    }
}

/// Puts a value at this path unless one is there.
fn add(within: &mut Value, path: &[&str], value: Value) {
    let place = path.iter().fold(within, |place, name| &mut place[*name]);
    if place.is_null() {
        *place = value;
    }
}

/// A request's object takes no field that it doesn't know; an answer's object has every field that may be null.
fn hold_bodies_to_serde(document: &mut Value) {
    let asked = objects_of_requests(document);
    let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, schema) in schemas {
        if let Some(choice) = schema.as_object_mut().filter(|schema| schema.contains_key("anyOf")) {
            choice.remove("type"); // poem-openapi calls every choice an object
        }
        if schema["type"] != "object" {
            continue; // a list of words, or a choice between objects
        }
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.values_mut().for_each(drop_echo);
        }
        if asked.contains(name) {
            schema["additionalProperties"] = json!(false);
        } else {
            require_nullable(schema);
        }
    }
}

/// poem-openapi writes what it says of a property that is another object twice: beside the reference and around it.
fn drop_echo(property: &mut Value) {
    if let Some(all) = property.get_mut("allOf").and_then(Value::as_array_mut) {
        all.retain(|part| part.get("$ref").is_some());
    }
}

/// Names of the objects that stand in bodies of requests, at any depth.
fn objects_of_requests(document: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let bodies = operations(document).filter_map(|operation| operation.get("requestBody"));
    let mut waiting: Vec<&Value> = bodies.collect();
    while let Some(value) = waiting.pop() {
        let name = value["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        if let Some(name) = name.filter(|name| names.insert((*name).to_owned())) {
            waiting.push(&document["components"]["schemas"][name]);
        }
        match value {
            Value::Object(members) => waiting.extend(members.values()),
            Value::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
    names
}

/// What is left out where there is nothing to say is not nullable; so what may be null is always there.
fn require_nullable(schema: &mut Value) {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let nullable =
        properties.filter(|(_, property)| property["nullable"] == true).map(|(name, _)| json!(name));
    let mut required = schema["required"].as_array().cloned().unwrap_or_default();
    let missing: Vec<Value> = nullable.filter(|name| !required.contains(name)).collect();
    required.extend(missing);
    if !required.is_empty() {
        schema["required"] = Value::Array(required);
    }
}

/// The query parameters that may stand there more than once: those that are lists.
#[must_use]
pub fn repeatable_parameters(document: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for operation in operations(document) {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let is_list = parameter["in"] == "query" && parameter["schema"]["type"] == "array";
            names.extend(parameter["name"].as_str().filter(|_| is_list).map(str::to_owned));
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn operations(document: &Value) -> impl Iterator<Item = &Value> {
    let paths = document["paths"].as_object().into_iter().flat_map(Map::values);
    paths.filter_map(Value::as_object).flat_map(Map::values)
}

/// Each operation with its path and its method.
fn operations_by_path(document: &mut Value) -> impl Iterator<Item = (&str, &str, &mut Value)> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut).into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let item = item.as_object_mut().into_iter().flatten();
        item.map(|(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

/// Puts the refusal in the place of the mark that a limit in a handler's signature leaves. Whoever is refused so is told
/// when to come back. Whether the operation refers to the common answer.
fn add_limit(operation: &mut Value, is_counted: bool) -> bool {
    let mut is_marked = false;
    if let Some(security) = operation.get_mut("security").and_then(Value::as_array_mut) {
        let before = security.len();
        security.retain(|way| way.get(MARK).is_none());
        is_marked = security.len() < before;
    }
    if let Some(operation) = operation.as_object_mut() {
        operation
            .retain(|name, value| name != "security" || value.as_array().is_none_or(|ways| !ways.is_empty()));
    }
    let is_limited = is_marked || is_counted;
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return false };
    match responses.get_mut("429") {
        Some(refusal) if refusal.get("$ref").is_none() => refusal["headers"] = headers_of_limit(is_limited),
        Some(_) => return true,
        None if is_limited => {
            responses.insert("429".to_owned(), json!({"$ref": "#/components/responses/TooManyRequests"}));
            return true;
        }
        None => {}
    }
    false
}

/// Only their names: what they say stands in one place for all.
fn headers_of_limit(with_state: bool) -> Value {
    let state = json!({"Retry-After": {}, "RateLimit": {}, "RateLimit-Policy": {}});
    if with_state { state } else { json!({"Retry-After": {}}) }
}

/// A query parameter that is an object stands for one parameter per property.
fn expand_parameters(operation: &mut Value) {
    let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) else { return };
    *parameters = parameters.drain(..).flat_map(expanded).collect();
}

fn expanded(parameter: Value) -> Vec<Value> {
    let properties = parameter["schema"]["properties"].as_object();
    match properties.filter(|_| parameter["in"] == "query") {
        Some(properties) => properties.iter().map(|(name, schema)| one_of_many(name, schema)).collect(),
        None => vec![parameter],
    }
}

fn one_of_many(name: &str, schema: &Value) -> Value {
    let mut schema = schema.clone();
    let description = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    json!({
        "name": name, "in": "query", "description": description, "required": false, "deprecated": false,
        "schema": schema,
    })
}

fn add_refusals(operation: &mut Value) {
    let body = operation.get("requestBody").is_some();
    let path =
        operation["parameters"].as_array().into_iter().flatten().any(|parameter| parameter["in"] == "path");
    // Headers are referred to, and whatever they hold can be read.
    let mut parameters = operation["parameters"].as_array().into_iter().flatten();
    let input = body || parameters.any(|parameter| parameter.get("$ref").is_none());
    let secured = operation["security"].as_array().is_some_and(|ways| {
        let or_nobody = ways.iter().any(|way| way.as_object().is_some_and(Map::is_empty));
        !ways.is_empty() && !or_nobody
    });
    let flagged = operation["operationId"].as_str().is_some_and(is_gated);
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, of, name, _) in COMMON {
        let can_happen = match of {
            Of::All => true,
            Of::Secured => secured,
            Of::Flagged => flagged,
            Of::WithInput => input,
            Of::WithBody => body,
            Of::WithPath => path,
        };
        let own = responses.get_mut(status).and_then(|response| response.get_mut("description"));
        if let (Of::Flagged, "403", true, Some(Value::String(words))) = (of, status, flagged, own) {
            words.push_str("\n\n");
            words.push_str(SWITCHED_OFF);
        }
        if can_happen && !responses.contains_key(status) {
            responses.insert(status.to_owned(), json!({"$ref": format!("#/components/responses/{name}")}));
        }
    }
    responses.sort_keys();
}

/// poem-openapi leaves an answer without words where a handler returns its body alone.
fn describe_answers(operation: &mut Value) {
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
    for response in responses.into_iter().flat_map(Map::values_mut) {
        if let Some(headers) = response.get_mut("headers").and_then(Value::as_object_mut) {
            *headers =
                std::mem::take(headers).into_iter().map(|(name, header)| (usual(&name), header)).collect();
        }
        if response["description"] == "" {
            response["description"] = json!(words_for(response));
        }
    }
}

/// A header's name as it is usually written: poem-openapi has some in capitals.
fn usual(name: &str) -> String {
    if name.eq_ignore_ascii_case("etag") {
        return "ETag".to_owned();
    }
    if name.chars().any(|letter| letter.is_ascii_lowercase()) {
        return name.to_owned();
    }
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        format!("{first}{}", rest.to_ascii_lowercase())
    });
    words.collect::<Vec<_>>().join("-")
}

/// What an answer holds, as its schema tells.
fn words_for(response: &Value) -> String {
    let content = response["content"].as_object().and_then(|content| content.values().next());
    let Some(schema) = content.map(|content| &content["schema"]) else { return "Done.".to_owned() };
    let name = |schema: &Value| schema["$ref"].as_str()?.rsplit('/').next().map(|name| format!("`{name}`"));
    match (name(schema), name(&schema["items"])) {
        (Some(object), _) => format!("The {object}."),
        (None, Some(objects)) => format!("A list of {objects}."),
        (None, None) if schema["type"] == "array" => "A list.".to_owned(),
        (None, None) if schema["type"] == "integer" => "A number.".to_owned(),
        (None, None) => "A text.".to_owned(),
    }
}

fn refusal(words: &str) -> Value {
    json!({"description": words, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}})
}
