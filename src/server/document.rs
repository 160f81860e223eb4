//! The OpenAPI document: what the operations of the API and of the root say, put together.

use serde_json::{Map, Value, json};

use crate::platform::config::Config;

/// The sections in the order in which somebody new needs them.
const ORDER: [&str; 8] = ["Auth", "Users", "Email", "Admin", "Flags", "OFREP", "WorkOS", "System"];

/// The document of both services; the paths of the API begin with its prefix.
#[must_use]
pub fn document(api: &str, root: &str, config: &Config) -> Value {
    let mut document: Value = serde_json::from_str(api).unwrap_or_default();
    let root: Value = serde_json::from_str(root).unwrap_or_default();
    let mut paths = Map::new();
    for (path, item) in members(&document, "/paths") {
        paths.insert(format!("{}{path}", config.server.api_prefix), item);
    }
    paths.extend(members(&root, "/paths"));
    document["paths"] = Value::Object(paths);
    for part in ["schemas", "securitySchemes"] {
        let mut all: Map<String, Value> = members(&document, &format!("/components/{part}")).collect();
        all.extend(members(&root, &format!("/components/{part}")));
        document["components"][part] = Value::Object(all);
    }
    let mut tags: Vec<Value> = document["tags"].as_array().cloned().unwrap_or_default();
    tags.extend(root["tags"].as_array().cloned().unwrap_or_default());
    tags.sort_by_key(|tag| ORDER.iter().position(|name| tag["name"] == *name));
    document["tags"] = Value::Array(tags);
    document["servers"] = json!([{ "url": config.server.base_url.as_str().trim_end_matches('/') }]);
    document["components"]["securitySchemes"]["cookie"]["name"] = json!(config.server.cookie_name());
    document
}

fn members(document: &Value, pointer: &str) -> impl Iterator<Item = (String, Value)> {
    document.pointer(pointer).and_then(Value::as_object).cloned().unwrap_or_default().into_iter()
}
