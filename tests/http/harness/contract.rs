//! The OpenAPI document of the program under test, to which every answer is held: its status, its headers, its kind and
//! its fields.

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// Refused before any operation is reached, and so documented by none.
const OF_THE_FRONT: [u16; 9] = [400, 405, 408, 411, 413, 414, 417, 431, 501];

/// What the program promises.
pub struct Contract(Value);

/// An answer, as far as the document speaks of it.
pub struct Answered<'a> {
    /// The status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// Every header.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

impl Contract {
    /// The promise of this document.
    pub fn new(document: Value) -> Self {
        Self(document)
    }

    /// What of an answer the document does not promise. Paths that are in no document promise nothing.
    pub fn breaches(&self, method: &str, url: &Url, answer: &Answered) -> Vec<String> {
        let Some(operation) = self.operation(method, url.path()) else { return Vec::new() };
        let status = answer.status.to_string();
        let Some(promised) = operation["responses"].get(&status) else {
            return if OF_THE_FRONT.contains(&answer.status) {
                vec![]
            } else {
                vec![format!("{status} is not documented")]
            };
        };
        let promised = self.resolved(promised);
        let mut breaches = self.missing_headers(promised, answer);
        breaches.extend(self.breaches_of_body(promised, answer));
        breaches
    }

    /// Headers that every answer of this status has, but for this one.
    fn missing_headers(&self, promised: &Value, answer: &Answered) -> Vec<String> {
        let headers = promised["headers"].as_object().into_iter().flatten();
        let missing = headers.filter(|(name, header)| {
            self.resolved(header)["required"] == true && !answer.headers.contains_key(name.as_str())
        });
        missing.map(|(name, _)| format!("{} lacks the header {name}", answer.status)).collect()
    }

    fn breaches_of_body(&self, promised: &Value, answer: &Answered) -> Vec<String> {
        let status = answer.status;
        let kind = answer.content_type.and_then(|kind| kind.split(';').next());
        match (kind, promised["content"].as_object()) {
            _ if answer.body.is_empty() => Vec::new(),
            (Some(kind), Some(kinds)) => match kinds.iter().find(|(known, _)| known.starts_with(kind)) {
                Some((_, content)) if kind.ends_with("json") => match serde_json::from_slice(answer.body) {
                    Ok(body) => self.faults(&content["schema"], &body, "body"),
                    Err(error) => vec![format!("no JSON: {error}")],
                },
                Some(_) => Vec::new(),
                None => vec![format!("{status} is documented as {kinds:?}, not as {kind}")],
            },
            (kind, _) => vec![format!("{status} is documented without a body, and is {kind:?}")],
        }
    }

    /// The operation of this method and path; a path without parameters goes before one with them.
    fn operation(&self, method: &str, path: &str) -> Option<&Value> {
        let paths = self.0["paths"].as_object()?;
        let fits = |pattern: &str| {
            let (pattern, path) = (pattern.split('/'), path.trim_end_matches('/').split('/'));
            pattern.clone().count() == path.clone().count()
                && pattern.zip(path).all(|(one, other)| one == other || one.starts_with('{'))
        };
        let (_, item) = paths
            .iter()
            .filter(|(pattern, _)| fits(pattern))
            .min_by_key(|(pattern, _)| pattern.contains('{'))?;
        item.get(method.to_ascii_lowercase())
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let reference = value["$ref"].as_str().map(|reference| reference.trim_start_matches('#'));
        reference
            .map_or(value, |reference| self.0.pointer(reference).expect("a reference that leads somewhere"))
    }

    fn faults(&self, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let schema = self.resolved(schema);
        let says_nothing = ["type", "allOf", "anyOf", "enum"].iter().all(|word| schema.get(word).is_none());
        if says_nothing || (value.is_null() && schema["nullable"] == true) {
            return Vec::new();
        }
        if let Some(all) = schema["allOf"].as_array() {
            return all.iter().flat_map(|one| self.faults(one, value, at)).collect();
        }
        if let Some(any) = schema["anyOf"].as_array() {
            // A problem of its own kind is held to that, and not let through as any other.
            if let Some(own) = any.iter().find(|one| self.has_code_of(one, value)) {
                return self.faults(own, value, at);
            }
            let faults: Vec<_> = any.iter().map(|one| self.faults(one, value, at)).collect();
            return if faults.iter().any(Vec::is_empty) { vec![] } else { faults.concat() };
        }
        let known = schema["enum"].as_array().is_none_or(|words| words.contains(value));
        let is_right = match schema["type"].as_str() {
            Some("string") => value.as_str().is_some_and(|text| schema["format"] != "uuid" || is_uuid(text)),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            Some("array") => value.is_array(),
            Some("object") => value.is_object(),
            _ => true,
        };
        if !is_right || !known {
            return vec![format!("{at} is {value}, not {schema}")];
        }
        match value {
            Value::Array(items) => items
                .iter()
                .flat_map(|item| self.faults(&schema["items"], item, &format!("{at}[]")))
                .collect(),
            Value::Object(members) => self.faults_of_members(schema, members, at),
            _ => Vec::new(),
        }
    }

    /// Whether the schema is of problems with one code, and the problem has that.
    fn has_code_of(&self, schema: &Value, problem: &Value) -> bool {
        let codes = self.resolved(schema)["properties"]["code"]["enum"].as_array();
        codes.is_some_and(|codes| codes.contains(&problem["code"]))
    }

    fn faults_of_members(&self, schema: &Value, members: &Map<String, Value>, at: &str) -> Vec<String> {
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let missing =
            required.filter(|name| !members.contains_key(*name)).map(|name| format!("{at} lacks {name}"));
        let mut faults: Vec<String> = missing.collect();
        for (name, value) in members {
            let within = format!("{at}.{name}");
            match (schema["properties"].get(name), schema.get("additionalProperties")) {
                (Some(property), _) | (None, Some(property)) => {
                    faults.extend(self.faults(property, value, &within));
                }
                // RFC 9457, 3.2: a problem may tell more.
                (None, None) if schema["title"] == "Problem" => {}
                (None, None) => faults.push(format!("{within} is not documented")),
            }
        }
        faults
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

#[test]
fn an_answer_that_is_not_as_promised_is_noticed() {
    let cat = serde_json::json!({
        "title": "Cat", "type": "object", "required": ["name", "owner"],
        "properties": {"name": {"type": "string"}, "owner": {"type": "string", "nullable": true}},
    });
    let content = serde_json::json!({"application/json": {"schema": {"$ref": "#/components/schemas/Cat"}}});
    let headers = serde_json::json!({
        "ETag": {"$ref": "#/components/headers/ETag"}, "X-Lives": {"required": true}, "Link": {"required": false},
    });
    let contract = Contract::new(serde_json::json!({
        "paths": {"/cats/{cat}": {"get": {"responses": {
            "200": {"content": content, "headers": headers}, "204": {"headers": headers},
        }}}},
        "components": {"schemas": {"Cat": cat}, "headers": {"ETag": {"required": true}}},
    }));
    let url = Url::parse("http://localhost/cats/7").expect("a URL");
    let count = |status: u16, headers: &[(&'static str, &str)], body: &str| {
        let headers = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header of text"))
        });
        let headers: HeaderMap = headers.collect();
        let content_type = headers.get("content-type").and_then(|kind| kind.to_str().ok());
        let answer = Answered { status, content_type, headers: &headers, body: body.as_bytes() };
        contract.breaches("GET", &url, &answer).len()
    };
    let breaches = |status: u16, content_type: &str, body: &str| {
        count(status, &[("content-type", content_type), ("etag", "\"7\""), ("x-lives", "9")], body)
    };
    assert_eq!(breaches(200, "application/json", r#"{"name":"Tom","owner":null}"#), 0);
    assert_eq!(breaches(200, "application/json", r#"{"name":null,"owner":null}"#), 1);
    assert_eq!(breaches(200, "application/json", r#"{"name":"Tom"}"#), 1);
    assert_eq!(breaches(200, "application/json", r#"{"name":"Tom","owner":"Ann","lives":9}"#), 1);
    assert_eq!(breaches(200, "text/html", "Tom"), 1);
    assert_eq!(breaches(409, "application/json", "{}"), 1);
    assert_eq!(breaches(413, "application/json", "{}"), 0);
    // Headers are looked at whether there is a body or not.
    assert_eq!(count(204, &[("etag", "\"7\""), ("x-lives", "9")], ""), 0);
    assert_eq!(count(204, &[("x-lives", "9"), ("link", "<>")], ""), 1);
    assert_eq!(count(200, &[("content-type", "application/json")], r#"{"name":"Tom","owner":null}"#), 2);
    assert_eq!(count(413, &[], ""), 0);
}
