//! The OpenAPI document: what the operations of the API and of the root say, put together.

use serde_json::{Map, Value, json};

use crate::platform::config::Config;

/// The sections in the order in which somebody new needs them.
const ORDER: [&str; 8] = ["Auth", "Users", "Email", "Admin", "Flags", "OFREP", "WorkOS", "System"];

/// The document of both services; the paths of the API begin with its prefix.
#[must_use]
pub fn document(api: &str, root: &str, config: &Config) -> Value {
    let mut document: Value = serde_json::from_str(api).unwrap_or_default();
    let mut root: Value = serde_json::from_str(root).unwrap_or_default();
    let mut paths = Map::new();
    for (path, item) in take_members(&mut document, "/paths") {
        paths.insert(format!("{}{path}", config.server.api_prefix), item);
    }
    paths.extend(take_members(&mut root, "/paths"));
    document["paths"] = Value::Object(paths);
    for part in ["schemas", "securitySchemes"] {
        let mut all = take_members(&mut document, &format!("/components/{part}"));
        all.extend(take_members(&mut root, &format!("/components/{part}")));
        document["components"][part] = Value::Object(all);
    }
    let mut tags: Vec<Value> = document["tags"].as_array().cloned().unwrap_or_default();
    tags.extend(root["tags"].as_array().cloned().unwrap_or_default());
    tags.sort_by_key(|tag| ORDER.iter().position(|name| tag["name"] == *name));
    document["tags"] = Value::Array(tags);
    if let Some(contact) = &config.mail.contact {
        document["info"]["contact"] = json!({ "email": contact });
    }
    document["servers"] = json!([{ "url": config.server.base_url.as_str().trim_end_matches('/') }]);
    document["components"]["securitySchemes"]["cookie"]["name"] = json!(config.server.cookie_name());
    document
}

/// What stands at this place, taken out of the document: a copy of all operations is large.
fn take_members(document: &mut Value, pointer: &str) -> Map<String, Value> {
    match document.pointer_mut(pointer).map(Value::take) {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    }
}
