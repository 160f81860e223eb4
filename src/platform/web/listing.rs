//! An answer with a part of a list: the rows, how many there are in all, and where the neighbours are.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use poem::http::{HeaderName, HeaderValue, header};
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{MetaHeader, MetaResponses, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use serde::Serialize;

use super::json::{Json, ok_of};

const X_TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");
const NOT_IN_A_LINK: &AsciiSet = &CONTROLS.add(b' ').add(b'<').add(b'>').add(b'"').add(b'\\');

/// The addresses of the neighbouring parts of a list (RFC 8288).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// What comes after.
    pub next: Option<String>,
    /// What came before.
    pub previous: Option<String>,
    /// Where the list begins.
    pub first: Option<String>,
}

impl Links {
    /// The value of the `Link` header.
    #[must_use]
    pub fn header(&self) -> Option<String> {
        let links = [(&self.next, "next"), (&self.previous, "prev"), (&self.first, "first")];
        let written = links.into_iter().filter_map(|(link, relation)| {
            let target = utf8_percent_encode(link.as_deref()?, NOT_IN_A_LINK);
            Some(format!("<{target}>; rel=\"{relation}\""))
        });
        let written: Vec<String> = written.collect();
        (!written.is_empty()).then(|| written.join(", "))
    }
}

/// Rows of a list as a JSON array, with `X-Total-Count` and `Link`.
#[derive(Clone, Debug)]
pub struct Listing<T> {
    /// The rows, in the order asked for.
    pub rows: Vec<T>,
    /// How many rows there are without paging.
    pub total: u64,
    /// Where the neighbours are.
    pub links: Links,
}

impl<T: Serialize + Send> IntoResponse for Listing<T> {
    fn into_response(self) -> Response {
        Within { body: self.rows, total: self.total, links: self.links }.into_response()
    }
}

impl<T: Type> ApiResponse for Listing<T> {
    fn meta() -> MetaResponses {
        Within::<Vec<T>>::meta()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

/// A part of a list within an object that tells more, with `X-Total-Count` and `Link`.
#[derive(Clone, Debug)]
pub struct Within<B> {
    /// The object.
    pub body: B,
    /// How many rows there are without paging.
    pub total: u64,
    /// Where the neighbours are.
    pub links: Links,
}

impl<B: Serialize + Send> IntoResponse for Within<B> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        response.headers_mut().insert(X_TOTAL_COUNT, HeaderValue::from(self.total));
        if let Some(Ok(links)) = self.links.header().map(HeaderValue::try_from) {
            response.headers_mut().insert(header::LINK, links);
        }
        response
    }
}

impl<B: Type> ApiResponse for Within<B> {
    fn meta() -> MetaResponses {
        let mut answer = ok_of::<B>();
        answer.headers = vec![
            documented("X-Total-Count", "How many there are without paging.", u64::schema_ref()),
            documented("Link", "The neighbouring parts: next, prev, first (RFC 8288).", String::schema_ref()),
        ];
        MetaResponses { responses: vec![answer] }
    }

    fn register(registry: &mut Registry) {
        B::register(registry);
    }
}

/// A list that is small, and so is answered whole: a JSON array with `X-Total-Count`.
#[derive(Clone, Debug)]
pub struct Whole<T>(
    /// The rows.
    pub Vec<T>,
);

impl<T: Serialize + Send> IntoResponse for Whole<T> {
    fn into_response(self) -> Response {
        let total = u64::try_from(self.0.len()).unwrap_or(u64::MAX);
        Listing { rows: self.0, total, links: Links::default() }.into_response()
    }
}

impl<T: Type> ApiResponse for Whole<T> {
    fn meta() -> MetaResponses {
        let mut answer = ok_of::<Vec<T>>();
        answer.headers = vec![documented("X-Total-Count", "How many there are.", u64::schema_ref())];
        MetaResponses { responses: vec![answer] }
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

fn documented(name: &str, description: &str, schema: MetaSchemaRef) -> MetaHeader {
    MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: true,
        deprecated: false,
        schema,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_of_a_list_tells_the_total_and_its_neighbours() {
        let links = Links { next: Some("https://x.test/api/user?cursor=c".into()), ..Links::default() };
        let response = Listing { rows: vec![1, 2], total: 7, links }.into_response();
        assert_eq!(response.header("x-total-count"), Some("7"));
        assert_eq!(response.header("link"), Some("<https://x.test/api/user?cursor=c>; rel=\"next\""));
        assert_eq!(response.into_body().into_string().await.unwrap(), "[1,2]");
    }

    #[tokio::test]
    async fn a_whole_list_tells_the_total_and_has_no_neighbours() {
        let response = Whole(vec![1, 2]).into_response();
        assert_eq!(response.header("x-total-count"), Some("2"));
        assert_eq!(response.header("link"), None);
        assert_eq!(response.into_body().into_string().await.unwrap(), "[1,2]");
    }
}
