//! Bodies of JSON, in and out: schema from poem-openapi, reading and writing by serde.
//!
//! poem-openapi's own `Json` goes through a tree of values, stops without naming the field, takes a key twice and
//! reads without limit; this one does none of that.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use bytes::Bytes;
use poem::http::{HeaderValue, header};
use poem::{Body, IntoResponse, Request, RequestBody, Response};
use poem_openapi::payload::Payload;
use poem_openapi::registry::{
    MetaMediaType, MetaRequest, MetaResponse, MetaResponses, MetaSchemaRef, Registry,
};
use poem_openapi::types::Type;
use poem_openapi::{ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, forward_to_deserialize_any};

use super::body::{Kind, read_body, unsupported};
use super::query::{QueryFault, bad_request, decoded};
use super::strict::{check_json, check_json_within, explain};
use crate::platform::problem::{FieldError, Problem};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const MAX_FORM_PAIRS: usize = 100;

/// A JSON body.
///
/// As a request: 415 unless it is `application/json` in UTF-8, 413 above the limit, 400 when it is not JSON, 422
/// with the field's name when `T` refuses it. `Json<Option<T>>` may be left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// A body of JSON or of a form with the same field names; as strict as [`Json`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JsonOrForm<T>(pub T);

/// A body such as a [`Json`] or a [`JsonOrForm`], but read when the handler says so: after something else was decided,
/// or to say in its own way what is wrong with it.
pub struct Unread<B> {
    body: RequestBody,
    documented: PhantomData<fn() -> B>,
}

/// JSON that is ready as bytes, such as a cached answer, documented as a `T`.
#[derive(Clone, Debug)]
pub struct RawJson<T> {
    bytes: Bytes,
    documented: PhantomData<fn() -> T>,
}

impl<T> RawJson<T> {
    /// The bytes must be the JSON of a `T`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, documented: PhantomData }
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Deref for JsonOrForm<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

pub(super) fn from_json<T: Type + DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    check_json(text)?;
    // serde would fill an object's fields from a list in order, and take `null` for a body that was left out.
    let is_list = text.trim_ascii_start().starts_with(b"[");
    let is_null = text.trim_ascii() == b"null";
    if (is_list || is_null) && matches!(T::schema_ref(), MetaSchemaRef::Reference(_)) {
        return Err(Problem::invalid(vec![FieldError::new("body", "must be an object")]));
    }
    parsed(text)
}

/// Reads JSON that is no body, such as a file, as strictly as one; of at most so many members.
pub fn read_json<T: DeserializeOwned>(text: &[u8], most_members: usize) -> Result<T, Problem> {
    check_json_within(text, most_members)?;
    parsed(text)
}

fn parsed<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let mut parser = serde_json::Deserializer::from_slice(text);
    serde_path_to_error::deserialize(&mut parser).map_err(|error| explain(&error))
}

/// What is read from an object alone: serde would fill the fields of a `T` from a list in order, too.
pub struct Only<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Only<T> {
    fn deserialize<D: Deserializer<'de>>(parser: D) -> Result<Self, D::Error> {
        parser.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// A field that is such an object, or `null`.
pub fn object_or_null<'de, T, D>(parser: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(parser).map(|given: Option<Only<T>>| given.map(|Only(object)| object))
}

struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

/// A field that can't be emptied: where it is given, `null` is as wrong as any other value that is none.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(reader: D) -> Result<Option<T>, D::Error> {
    T::deserialize(reader).map(Some)
}

fn from_form<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(text).map_err(|_| bad_request("The form is not UTF-8."))?;
    check_form(text).map_err(QueryFault::problem)?;
    let pairs = url::form_urlencoded::parse(text.as_bytes());
    let parser = serde_urlencoded::Deserializer::new(pairs);
    serde_path_to_error::deserialize(Given(parser)).map_err(|error| explain(&error))
}

/// A body that may be left out, and is: there must not be any.
fn left_out<T: Type + DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    if text.is_empty() {
        return parsed(b"null");
    }
    Err(unsupported("The body must be JSON or a form, in UTF-8."))
}

/// A form that is there, for a body that may be left out: forms have no `null` to tell the two apart.
struct Given<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Given<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_some(self.0)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// A field given twice is the type's to refuse; what it can't see is checked here.
fn check_form(text: &str) -> Result<(), QueryFault> {
    let pairs = || text.split('&').filter(|pair| !str::is_empty(pair));
    if pairs().count() > MAX_FORM_PAIRS {
        return Err(QueryFault::TooMany);
    }
    super::query::check_query(text, &[""; 0])?;
    pairs().try_for_each(|pair| decoded(pair).map(drop))
}

/// A body that may be left out counts as `null`.
async fn read_json_body<T>(request: &Request, body: &mut RequestBody) -> Result<T, Problem>
where
    T: Type + DeserializeOwned,
{
    let kind = Kind::of(request);
    if kind != Kind::Json && (T::IS_REQUIRED || kind != Kind::Unsaid) {
        return Err(unsupported("The body must be application/json in UTF-8."));
    }
    let text = read_body(request, body).await?;
    match (kind, text.is_empty()) {
        (_, true) if !T::IS_REQUIRED => parsed(b"null"),
        (Kind::Json, _) => from_json(&text),
        (_, _) => Err(unsupported("The body must be application/json in UTF-8.")),
    }
}

async fn read_json_or_form<T>(request: &Request, body: &mut RequestBody) -> Result<T, Problem>
where
    T: Type + DeserializeOwned,
{
    let read = match Kind::of(request) {
        Kind::Json => from_json::<T>,
        Kind::Form => from_form::<T>,
        Kind::Unsaid if !T::IS_REQUIRED => left_out::<T>,
        Kind::Plain | Kind::Html | Kind::Unsaid | Kind::Other => {
            return Err(unsupported("The body must be JSON or a form, in UTF-8."));
        }
    };
    read(&read_body(request, body).await?)
}

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for Json<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(request_of::<T>(&[JSON]))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(read_json_body(request, body).await?))
    }
}

impl<'a, T: Type + DeserializeOwned> ApiExtractor<'a> for JsonOrForm<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(request_of::<T>(&[JSON, FORM]))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(read_json_or_form(request, body).await?))
    }
}

impl<'a, B: ApiExtractor<'a>> ApiExtractor<'a> for Unread<B> {
    const TYPES: &'static [ApiExtractorType] = B::TYPES;
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        B::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        B::request_meta()
    }

    async fn from_request(
        _: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self { body: std::mem::take(body), documented: PhantomData })
    }
}

impl<T: Type + DeserializeOwned> Unread<Json<T>> {
    /// Reads it, or says what is wrong with it.
    pub async fn read(mut self, request: &Request) -> Result<T, Problem> {
        read_json_body(request, &mut self.body).await
    }
}

impl<T: Type + DeserializeOwned> Unread<JsonOrForm<T>> {
    /// Reads it, or says what is wrong with it.
    pub async fn read(mut self, request: &Request) -> Result<T, Problem> {
        read_json_or_form(request, &mut self.body).await
    }
}

fn request_of<T: Type>(media_types: &[&'static str]) -> MetaRequest {
    let content =
        media_types.iter().map(|content_type| MetaMediaType { content_type, schema: T::schema_ref() });
    MetaRequest { description: None, content: content.collect(), required: T::IS_REQUIRED }
}

impl<T: Type> Payload for Json<T> {
    const CONTENT_TYPE: &'static str = JSON;

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type> Payload for RawJson<T> {
    const CONTENT_TYPE: &'static str = JSON;

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Serialize + Send> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => json_response(Bytes::from(text)),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written as JSON");
                Problem::internal().into_response()
            }
        }
    }
}

impl<T> IntoResponse for RawJson<T> {
    fn into_response(self) -> Response {
        json_response(self.bytes)
    }
}

pub(super) fn json_response(text: Bytes) -> Response {
    let mut response = Response::default();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    response.set_body(Body::from_bytes(text));
    response
}

impl<T: Type> ApiResponse for Json<T> {
    fn meta() -> MetaResponses {
        MetaResponses { responses: vec![ok_of::<T>()] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: Type> ApiResponse for RawJson<T> {
    fn meta() -> MetaResponses {
        MetaResponses { responses: vec![ok_of::<T>()] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// The entry of an answer 200 with a `T`.
pub(crate) fn ok_of<T: Type>() -> MetaResponse {
    MetaResponse {
        description: "",
        status: Some(200),
        status_range: None,
        content: vec![MetaMediaType { content_type: JSON, schema: T::schema_ref() }],
        headers: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use poem_openapi::Object;
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Object)]
    #[serde(deny_unknown_fields)]
    struct Cat {
        name: String,
        #[serde(default)]
        lives: Option<u32>,
        #[serde(default)]
        kittens: Vec<Kitten>,
        #[serde(default)]
        id: Option<uuid::Uuid>,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Object)]
    #[serde(deny_unknown_fields)]
    struct Kitten {
        age: u8,
    }

    fn json(text: &str) -> Result<Cat, Problem> {
        from_json(text.as_bytes())
    }

    fn form(text: &str) -> Result<Cat, Problem> {
        from_form(text.as_bytes())
    }

    #[track_caller]
    fn refused(answer: Result<Cat, Problem>, field: &str, message: &str) {
        let problem = answer.unwrap_err();
        assert_eq!((problem.status.as_u16(), problem.code), (422, "validation_failed"));
        assert_eq!((problem.errors[0].field.as_str(), problem.errors[0].message.as_str()), (field, message));
    }

    #[test]
    fn json_becomes_the_type() {
        let cat = json(r#"{"name":"Tom","kittens":[{"age":1}]}"#).unwrap();
        assert_eq!((cat.name.as_str(), cat.kittens.as_slice()), ("Tom", &[Kitten { age: 1 }][..]));
    }

    #[test]
    fn a_wrong_field_is_named_with_its_path_and_without_its_value() {
        refused(json("{}"), "name", "is required");
        refused(json(r#"{"name":5}"#), "name", "must be a string");
        refused(json(r#"{"name":"x","lives":"a, expected b"}"#), "lives", "must be a whole number");
        refused(json(r#"{"name":"x","lives":-1}"#), "lives", "must be a whole number");
        refused(json(r#"{"name":"x","kittens":[{"age":1},{}]}"#), "kittens[1].age", "is required");
        refused(json(r#"{"name":"x","kittens":[{"age":1,"fur":2}]}"#), "kittens[0].fur", "is not known here");
        refused(json(r#"{"name":"x","kittens":{}}"#), "kittens", "must be a list");
        refused(json(r#"{"name":"x","is_admin":true}"#), "is_admin", "is not known here");
        refused(json(r#"{"name":"x","name":"y"}"#), "name", "is given more than once");
        refused(json(r#"{"name":"x","id":"secret"}"#), "id", "must be a UUID");
        refused(json("null"), "body", "must be an object");
        refused(json(r#" ["Tom",9,[],null]"#), "body", "must be an object");
    }

    #[test]
    fn a_form_becomes_the_same_type() {
        let cat = form("name=Tom+%C3%84&lives=9").unwrap();
        assert_eq!((cat.name.as_str(), cat.lives), ("Tom Ä", Some(9)));
    }

    #[test]
    fn a_wrong_form_is_refused_by_name() {
        refused(form("lives=9"), "name", "is required");
        refused(form("name=a&name=b"), "name", "is given more than once");
        refused(form("name=a&a[b][c]=1"), "a[b][c]", "is not known here");
        assert_eq!(form("name=a&lives=x").unwrap_err().errors[0].field, "lives");
    }

    #[test]
    fn a_broken_form_is_400_and_a_bomb_422() {
        for bad in ["name=%", "name=%zz", "name=%ff"] {
            assert_eq!(form(bad).unwrap_err().status.as_u16(), 400, "{bad}");
        }
        let bomb = (0..100_000).map(|n| format!("f{n}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(form(&bomb).unwrap_err().status.as_u16(), 422);
    }

    async fn sent<'a, P: ApiExtractor<'a, ParamType = ()>>(
        request: &'a Request,
        text: &'static str,
    ) -> Result<P, u16> {
        let options = ExtractParamOptions::default();
        let read = P::from_request(request, &mut RequestBody::new(Body::from(text)), options).await;
        read.map_err(|error| error.status().as_u16())
    }

    fn saying(content_type: &str) -> Request {
        Request::builder().content_type(content_type).finish()
    }

    #[tokio::test]
    async fn the_content_type_must_fit() {
        let tom = r#"{"name":"Tom"}"#;
        assert!(sent::<Json<Cat>>(&saying("application/json"), tom).await.is_ok());
        for other in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"] {
            assert_eq!(sent::<Json<Cat>>(&saying(other), tom).await.unwrap_err(), 415, "{other}");
        }
        assert_eq!(sent::<Json<Cat>>(&Request::default(), tom).await.unwrap_err(), 415);
        assert!(sent::<JsonOrForm<Cat>>(&saying("application/json"), tom).await.is_ok());
        assert!(
            sent::<JsonOrForm<Cat>>(&saying("application/x-www-form-urlencoded"), "name=Tom").await.is_ok()
        );
        assert_eq!(sent::<JsonOrForm<Cat>>(&saying("multipart/form-data"), tom).await.unwrap_err(), 415);
    }

    #[tokio::test]
    async fn an_optional_body_may_be_left_out_but_not_be_something_else() {
        assert_eq!(sent::<Json<Option<Cat>>>(&Request::default(), "").await.unwrap().0, None);
        assert_eq!(sent::<Json<Option<Cat>>>(&saying("application/json"), "").await.unwrap().0, None);
        assert_eq!(sent::<Json<Option<Cat>>>(&Request::default(), "{}").await.unwrap_err(), 415);
        assert_eq!(sent::<Json<Option<Cat>>>(&saying("text/plain"), "").await.unwrap_err(), 415);
    }

    #[tokio::test]
    async fn an_answer_is_written_as_plain_json() {
        let response = Json(Kitten { age: 3 }).into_response();
        assert_eq!(response.content_type(), Some("application/json"));
        assert_eq!(response.into_body().into_string().await.unwrap(), r#"{"age":3}"#);
    }
}
