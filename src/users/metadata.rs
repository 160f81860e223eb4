//! What the operator's own programs keep with an account.

use serde_json::{Map, Value};

use super::Invalid;

/// The most that is kept, in bytes of JSON without white space.
const MAX_BYTES: usize = 16 * 1024;
/// The deepest nesting of objects and arrays, the outermost included.
const MAX_DEPTH: usize = 32;
/// The most members of objects and elements of arrays, all levels together.
const MAX_MEMBERS: usize = 1000;

/// A JSON object of at most 16 KiB, 32 levels and 1000 members; without white space, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata(String);

/// Nothing is kept.
impl Default for Metadata {
    fn default() -> Self {
        Self("{}".to_owned())
    }
}

impl Metadata {
    /// Checks an object. NUL is refused in keys and texts: PostgreSQL can't keep it (its manual, 8.14).
    pub fn parse(object: Map<String, Value>) -> Result<Self, Invalid> {
        let mut members_left = MAX_MEMBERS;
        check_object(&object, MAX_DEPTH - 1, &mut members_left)?;
        let json = Value::Object(object).to_string();
        if json.len() > MAX_BYTES {
            return Err(Invalid::new("Must be at most 16 KiB of JSON."));
        }
        Ok(Self(json))
    }

    /// The object as JSON.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The same, to be kept.
    #[must_use]
    pub fn into_json(self) -> String {
        self.0
    }
}

fn check_object(object: &Map<String, Value>, levels: usize, members: &mut usize) -> Result<(), Invalid> {
    take_members(members, object.len())?;
    for (key, value) in object {
        check_text(key)?;
        check_value(value, levels, members)?;
    }
    Ok(())
}

fn check_value(value: &Value, levels: usize, members: &mut usize) -> Result<(), Invalid> {
    match value {
        Value::String(text) => check_text(text),
        Value::Object(object) => check_object(object, one_less(levels)?, members),
        Value::Array(elements) => {
            let levels = one_less(levels)?;
            take_members(members, elements.len())?;
            elements.iter().try_for_each(|element| check_value(element, levels, members))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn take_members(left: &mut usize, taken: usize) -> Result<(), Invalid> {
    *left = left.checked_sub(taken).ok_or_else(|| Invalid::new("Must have at most 1000 members."))?;
    Ok(())
}

fn one_less(levels: usize) -> Result<usize, Invalid> {
    levels.checked_sub(1).ok_or_else(|| Invalid::new("Must be nested at most 32 levels deep."))
}

fn check_text(text: &str) -> Result<(), Invalid> {
    if text.contains('\0') {
        return Err(Invalid::new("Must not contain the character NUL."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<Metadata, Invalid> {
        match value {
            Value::Object(object) => Metadata::parse(object),
            _ => panic!("the test wants an object"),
        }
    }

    fn nested(levels: usize) -> Value {
        (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }))
    }

    #[test]
    fn an_object_is_kept_in_its_order() {
        let metadata = parse(json!({"z": 1, "a": [true, null, "x"], "m": {"n": 1.5}})).unwrap();
        assert_eq!(metadata.as_json(), r#"{"z":1,"a":[true,null,"x"],"m":{"n":1.5}}"#);
    }

    #[test]
    fn the_size_ends_at_16_kib() {
        let around = r#"{"a":""}"#.len();
        assert!(parse(json!({"a": "x".repeat(MAX_BYTES - around)})).is_ok());
        assert!(parse(json!({"a": "x".repeat(MAX_BYTES - around + 1)})).is_err());
    }

    #[test]
    fn the_nesting_ends_at_32_levels() {
        assert!(parse(nested(32)).is_ok());
        assert!(parse(nested(33)).is_err());
        assert!(parse(json!({"a": (1..32).fold(json!([]), |inner, _| json!([inner]))})).is_err());
    }

    #[test]
    fn members_are_counted_over_all_levels() {
        assert!(parse(json!({"a": vec![0; 999]})).is_ok());
        assert!(parse(json!({"a": vec![0; 1000]})).is_err());
        assert!(parse(json!({"a": {"b": vec![0; 500]}, "c": vec![0; 500]})).is_err());
    }

    #[test]
    fn nul_is_refused_in_keys_and_texts() {
        assert!(parse(json!({"a\u{0}": 1})).is_err());
        assert!(parse(json!({"a": ["\u{0}"]})).is_err());
    }
}
