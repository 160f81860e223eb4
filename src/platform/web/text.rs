//! A body that is a text: a JSON string, plain text or HTML.

use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use super::body::{Kind, read_body, unsupported};
use super::json::from_json;
use super::query::bad_request;
use crate::platform::problem::{FieldError, Problem};

/// A text and whether it is HTML. 415 for other kinds of body, 422 when it is empty or holds control characters that
/// no text has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextBody {
    /// Text as it is read.
    Plain(String),
    /// HTML, as it came: not to be trusted.
    Html(String),
}

async fn read(request: &Request, body: &mut RequestBody) -> Result<TextBody, Problem> {
    let kind = Kind::of(request);
    if !matches!(kind, Kind::Json | Kind::Plain | Kind::Html) {
        return Err(unsupported("The body must be a JSON string, text/plain or text/html, in UTF-8."));
    }
    let bytes = read_body(request, body).await?;
    let text = match kind {
        Kind::Json => from_json::<String>(&bytes)?,
        _ => String::from_utf8(bytes.to_vec()).map_err(|_| bad_request("The text is not UTF-8."))?,
    };
    let is_odd = |char: char| char.is_control() && !matches!(char, '\n' | '\r' | '\t');
    if text.trim().is_empty() {
        return Err(Problem::invalid(vec![FieldError::new("body", "must not be empty")]));
    }
    if text.contains(is_odd) {
        return Err(Problem::invalid(vec![FieldError::new("body", "must not hold control characters")]));
    }
    Ok(if kind == Kind::Html { TextBody::Html(text) } else { TextBody::Plain(text) })
}

impl<'a> ApiExtractor<'a> for TextBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let schema = || MetaSchemaRef::Inline(Box::new(MetaSchema::new("string")));
        let kinds = ["application/json", "text/plain", "text/html"];
        let content = kinds.map(|content_type| MetaMediaType { content_type, schema: schema() });
        Some(MetaRequest { description: None, content: content.into(), required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(read(request, body).await?)
    }
}

#[cfg(test)]
mod tests {
    use poem::Body;

    use super::*;

    async fn sent(content_type: &str, text: &'static str) -> Result<TextBody, u16> {
        let request = Request::builder().content_type(content_type).finish();
        let read = read(&request, &mut RequestBody::new(Body::from(text))).await;
        read.map_err(|problem| problem.status.as_u16())
    }

    #[tokio::test]
    async fn a_text_comes_as_a_json_string_as_plain_text_or_as_html() {
        assert_eq!(sent("application/json", r#""a\nb""#).await, Ok(TextBody::Plain("a\nb".into())));
        assert_eq!(sent("text/plain; charset=utf-8", "a").await, Ok(TextBody::Plain("a".into())));
        assert_eq!(sent("text/html", "<p>a").await, Ok(TextBody::Html("<p>a".into())));
    }

    #[tokio::test]
    async fn other_bodies_are_refused() {
        assert_eq!(sent("application/json", "{}").await, Err(422));
        assert_eq!(sent("application/json", "\"a").await, Err(400));
        assert_eq!(sent("text/plain", " \n").await, Err(422));
        assert_eq!(sent("text/plain", "a\0b").await, Err(422));
        for other in
            ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain; charset=latin1"]
        {
            assert_eq!(sent(other, "a").await, Err(415), "{other}");
        }
    }
}
