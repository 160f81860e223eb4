//! What the OpenAPI document says of fields and parameters beyond their Rust types: words of a closed set, lengths, bounds.
//!
//! A feature has a table of them beside its requests and answers, made by [`shapes!`](crate::shapes) of the same sets
//! and bounds that its rules go by. So no number and no word is written down twice.

use serde_json::{Map, Value, json};

/// What every closed set says to those who write clients.
const LATER: &str =
    "A later version may know more: take a word that you don't know for what it is, not for an error.";

/// Members of a schema that stay when it becomes a reference.
const BESIDE_A_REFERENCE: [&str; 4] = ["description", "nullable", "default", "example"];

/// A closed set of words: a schema of its own.
#[derive(Clone, Debug)]
pub struct Words {
    /// The schema's name.
    pub name: &'static str,
    /// What the words are.
    pub about: &'static str,
    /// The words.
    pub all: Vec<&'static str>,
}

impl Words {
    fn schema(&self) -> Value {
        json!({"type": "string", "description": format!("{} {LATER}", self.about), "enum": self.all})
    }
}

/// What is to be said of one field or parameter; of each element, where it is a list.
#[derive(Clone, Debug, Default)]
pub struct Shape {
    words: Option<Words>,
    of_each: Map<String, Value>,
    of_list: Map<String, Value>,
}

impl Shape {
    /// One of these words.
    #[must_use]
    pub fn one_of(words: Words) -> Self {
        Self { words: Some(words), ..Self::default() }
    }

    /// This word and no other.
    #[must_use]
    pub fn always(word: &'static str) -> Self {
        Self::default().with("enum", json!([word]))
    }

    /// A text of at most so many characters.
    #[must_use]
    pub fn text(longest: usize) -> Self {
        Self::default().with("maxLength", json!(longest))
    }

    /// A text of so many to so many characters.
    #[must_use]
    pub fn text_of(shortest: usize, longest: usize) -> Self {
        Self::text(longest).with("minLength", json!(shortest))
    }

    /// A whole number, written in digits, that is not smaller than this.
    #[must_use]
    pub fn whole_from(least: u64) -> Self {
        Self::default()
            .with("type", json!("integer"))
            .with("format", json!("int64"))
            .with("minimum", json!(least))
    }

    /// A whole number from the one to the other.
    #[must_use]
    pub fn whole(least: u64, most: u64) -> Self {
        Self::whole_from(least).with("maximum", json!(most))
    }

    /// A part of a whole: 0 to 1.
    #[must_use]
    pub fn part() -> Self {
        Self::default().with("minimum", json!(0)).with("maximum", json!(1))
    }

    /// An id in its usual form.
    #[must_use]
    pub fn uuid() -> Self {
        Self::default().with("format", json!("uuid"))
    }

    /// A list, or an object, of at most so many.
    #[must_use]
    pub fn list(most: usize) -> Self {
        Self::default().and_at_most(most)
    }

    /// The same for a list of at most so many.
    #[must_use]
    pub fn and_at_most(mut self, most: usize) -> Self {
        self.of_list.insert("maxItems".to_owned(), json!(most));
        self
    }

    /// What counts if nothing is given.
    #[must_use]
    pub fn usually(self, value: impl Into<Value>) -> Self {
        let value = value.into();
        self.with("default", value)
    }

    /// The same with an example.
    #[must_use]
    pub fn like(self, example: impl Into<Value>) -> Self {
        let example = example.into();
        self.with("example", example)
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.of_each.insert(name.to_owned(), value);
        self
    }

    /// Lays it over the schema of a field or a parameter.
    fn lay_over(&self, schema: &mut Value) {
        let is_list = schema["type"] == "array";
        if is_list {
            extend(schema, &self.of_list);
        }
        let each = if is_list { &mut schema["items"] } else { schema };
        extend(each, &self.of_each);
        if let Some(words) = &self.words {
            refer(each, words.name);
        }
    }
}

fn extend(schema: &mut Value, with: &Map<String, Value>) {
    let Some(members) = schema.as_object_mut() else { return };
    members.extend(with.iter().map(|(name, value)| (name.clone(), value.clone())));
}

/// Beside a reference OpenAPI 3.0 reads nothing: what there is to say stands around it.
fn refer(schema: &mut Value, name: &str) {
    let reference = json!({"$ref": format!("#/components/schemas/{name}")});
    let Some(members) = schema.as_object_mut() else { return };
    members.retain(|member, _| BESIDE_A_REFERENCE.contains(&member.as_str()));
    if members.is_empty() {
        *schema = reference;
    } else {
        members.insert("allOf".to_owned(), json!([reference]));
    }
}

/// A shape and what it is of.
#[derive(Clone, Debug)]
pub struct Shaped {
    place: Place,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Place {
    /// A field of an object, both as the document names them.
    Field(String, &'static str),
    /// A parameter of operations, by their ids.
    Parameter(&'static [&'static str], &'static str),
}

impl Shaped {
    /// A field of an object, both as the document names them.
    #[must_use]
    pub fn field(object: &str, field: &'static str, shape: Shape) -> Self {
        Self { place: Place::Field(object.to_owned(), field), shape }
    }

    /// A parameter that several operations have.
    #[must_use]
    pub const fn parameter(operations: &'static [&'static str], name: &'static str, shape: Shape) -> Self {
        Self { place: Place::Parameter(operations, name), shape }
    }

    /// Whether what it is of was there.
    fn apply(&self, document: &mut Value) -> bool {
        match &self.place {
            Place::Field(object, field) => {
                let schema =
                    document.pointer_mut(&format!("/components/schemas/{object}/properties/{field}"));
                schema.map(|schema| self.shape.lay_over(schema)).is_some()
            }
            Place::Parameter(operations, name) => {
                let mut found = 0;
                for parameter in parameters(document, operations).filter(|one| one["name"] == *name) {
                    self.shape.lay_over(&mut parameter["schema"]);
                    found += 1;
                }
                found == operations.len()
            }
        }
    }
}

/// The parameters of these operations.
fn parameters<'a>(document: &'a mut Value, ids: &'a [&'static str]) -> impl Iterator<Item = &'a mut Value> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let items = paths.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut);
    let operations = items.flat_map(Map::values_mut);
    let named = operations
        .filter(move |operation| operation["operationId"].as_str().is_some_and(|id| ids.contains(&id)));
    named.filter_map(|operation| operation.get_mut("parameters")?.as_array_mut()).flatten()
}

/// Lays the shapes over a document. Answers those that are of nothing in it: mistakes in a table.
#[must_use]
pub fn apply(document: &mut Value, all: &[Shaped]) -> Vec<String> {
    let mut lost = Vec::new();
    for shaped in all {
        if !shaped.apply(document) {
            lost.push(format!("{:?}", shaped.place));
        }
        if let Some(words) = &shaped.shape.words {
            document["components"]["schemas"][words.name] = words.schema();
        }
    }
    lost
}

/// Makes the shapes of objects from a table of `Object { field: shape, … }`; that the fields are there is seen by the
/// compiler. An object whose fields are shown as those of another is followed by `as` and the other.
#[macro_export]
macro_rules! shapes {
    (@shown $object:ty) => { $object };
    (@shown $object:ty, $shown:ty) => { $shown };
    ($( $object:ty $( as $shown:ty )? { $( $field:ident : $shape:expr ),+ $(,)? } )+) => {{
        let mut shapes = Vec::new();
        $( {
            const _: fn(&$object) = |object| { $( let _ = &object.$field; )+ };
            let object = <$crate::shapes!(@shown $object $( , $shown )?) as poem_openapi::types::Type>::name();
            shapes.extend([
                $( $crate::platform::shape::Shaped::field(&object, stringify!($field), $shape) ),+
            ]);
        } )+
        shapes
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        json!({
            "paths": {"/cats": {"get": {"operationId": "cats", "parameters": [
                {"name": "limit", "in": "query", "schema": {"type": "integer", "format": "uint64"}},
            ]}}},
            "components": {"schemas": {"Cat": {"type": "object", "properties": {
                "name": {"type": "string", "description": "Its name.", "nullable": true},
                "moods": {"type": "array", "description": "Its moods.", "items": {"type": "string"}},
            }}}},
        })
    }

    fn moods() -> Words {
        Words { name: "Mood", about: "How it feels.", all: vec!["asleep", "hungry"] }
    }

    #[test]
    fn a_set_of_words_becomes_a_schema_that_fields_refer_to() {
        let mut document = document();
        let lost =
            apply(&mut document, &[Shaped::field("Cat", "moods", Shape::one_of(moods()).and_at_most(2))]);
        assert!(lost.is_empty(), "{lost:?}");
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["Mood"]["enum"], json!(["asleep", "hungry"]));
        assert_eq!(
            schemas["Cat"]["properties"]["moods"]["items"],
            json!({"$ref": "#/components/schemas/Mood"})
        );
        assert_eq!(schemas["Cat"]["properties"]["moods"]["maxItems"], 2);
    }

    #[test]
    fn what_a_field_says_of_itself_stays_around_the_reference() {
        let mut document = document();
        assert!(apply(&mut document, &[Shaped::field("Cat", "name", Shape::one_of(moods()))]).is_empty());
        let name = &document["components"]["schemas"]["Cat"]["properties"]["name"];
        let reference = json!([{"$ref": "#/components/schemas/Mood"}]);
        assert_eq!(*name, json!({"description": "Its name.", "nullable": true, "allOf": reference}));
    }

    #[test]
    fn a_parameter_is_bounded() {
        let mut document = document();
        let shaped = Shaped::parameter(&["cats"], "limit", Shape::whole(1, 9).usually(3));
        assert!(apply(&mut document, &[shaped]).is_empty());
        let schema = &document["paths"]["/cats"]["get"]["parameters"][0]["schema"];
        assert_eq!(
            (&schema["minimum"], &schema["maximum"], &schema["default"]),
            (&json!(1), &json!(9), &json!(3))
        );
    }

    #[test]
    fn a_shape_of_nothing_is_told() {
        let of_nothing = [
            Shaped::field("Cat", "tail", Shape::text(9)),
            Shaped::field("Dog", "name", Shape::text(9)),
            Shaped::parameter(&["cats", "dogs"], "limit", Shape::whole_from(1)),
        ];
        assert_eq!(apply(&mut document(), &of_nothing).len(), 3);
    }
}
