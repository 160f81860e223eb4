//! The document, the pages and their files.

use std::io::Read;

use poem::http::HeaderMap;
use poem::{Endpoint, Request, Response, Route};
use poem_openapi::{OpenApi, OpenApiService};
use serde_json::{Value, json};

use super::{Documentation, DocumentationSettings, complete, repeatable_parameters};
use crate::platform::random::Random;
use crate::platform::web::{Json, Links, Listing, Paging};
use crate::rate_limit::{RateLimited, Uploads};

struct Cats;

#[OpenApi]
#[expect(clippy::unused_async, reason = "a handler is async")]
impl Cats {
    /// All cats
    #[oai(path = "/cats", method = "get", operation_id = "cats")]
    async fn list(&self, _paging: Paging, ids: poem_openapi::param::Query<Vec<u32>>) -> Listing<u32> {
        Listing { rows: ids.0, total: 7, links: Links::default() }
    }

    /// One more
    #[oai(path = "/cats", method = "post", operation_id = "new_cat")]
    async fn add(&self, _within: RateLimited<Uploads>, cat: Json<u32>) -> Json<u32> {
        cat
    }
}

fn document() -> Value {
    let mut document = serde_json::from_str(&OpenApiService::new(Cats, "Cats", "1").spec()).unwrap();
    complete(&mut document, false);
    document
}

fn documentation() -> Documentation {
    let settings = DocumentationSettings {
        project_name: "A <gate>".into(),
        base_path: "/id".into(),
        api_prefix: "/api".into(),
    };
    Documentation::new(&document(), settings, Random::seeded(7)).unwrap()
}

async fn text(response: Response) -> String {
    response.into_body().into_string().await.unwrap()
}

#[test]
fn a_limit_in_a_signature_is_a_refusal_with_headers_and_no_way_to_sign_in() {
    let document = document();
    let new_cat = &document["paths"]["/cats"]["post"];
    assert_eq!(new_cat["responses"]["429"]["$ref"], "#/components/responses/TooManyRequests");
    assert!(new_cat.get("security").is_none(), "{new_cat}");
    assert!(document["paths"]["/cats"]["get"]["responses"].get("429").is_none());
    let headers = document["components"]["responses"]["TooManyRequests"]["headers"].as_object().unwrap();
    assert_eq!(
        headers.keys().collect::<Vec<_>>(),
        ["Retry-After", "RateLimit", "RateLimit-Policy", "X-Trace-Id"]
    );
}

#[test]
fn paging_is_one_parameter_each() {
    let document = document();
    let parameters = document["paths"]["/cats"]["get"]["parameters"].as_array().unwrap();
    let names: Vec<_> = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["offset", "skip", "limit", "page", "per_page", "cursor", "order", "ids"]);
    assert_eq!(parameters[2]["schema"]["maximum"], json!(1000.0));
    assert_eq!(parameters[6]["schema"]["enum"], json!(["asc", "desc"]));
    assert!(parameters.iter().all(|parameter| parameter["in"] == "query"));
}

#[test]
fn lists_in_the_query_may_repeat() {
    assert_eq!(repeatable_parameters(&document()), ["ids"]);
}

#[test]
fn every_operation_names_the_refusals_of_the_layers_around_it() {
    let document = document();
    let statuses = |method: &str| {
        let responses = document["paths"]["/cats"][method]["responses"].as_object().unwrap();
        responses.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(statuses("get"), "200 400 401 403 422 500 503");
    assert_eq!(statuses("post"), "200 400 401 403 413 415 422 429 500 503");
    assert!(document["components"]["schemas"]["Problem"]["properties"]["trace_id"].is_object());
    assert!(
        document["components"]["responses"]["ServiceUnavailable"]["content"]["application/problem+json"]
            .is_object()
    );
}

#[test]
fn headers_are_described_once_and_referred_to() {
    let document = document();
    let list = &document["paths"]["/cats"]["get"]["responses"]["200"]["headers"];
    for name in ["X-Total-Count", "Link", "X-Trace-Id"] {
        assert_eq!(list[name], json!({"$ref": format!("#/components/headers/{name}")}), "{list}");
    }
    // The last part of a list that fits in one has no neighbours.
    let headers = &document["components"]["headers"];
    assert_eq!(
        (&headers["Link"]["required"], &headers["X-Total-Count"]["required"]),
        (&json!(null), &json!(true))
    );
    let responses = &document["components"]["responses"];
    for (answer, name) in [
        ("Unauthorized", "WWW-Authenticate"),
        ("SignInNeeded", "WWW-Authenticate"),
        ("ServiceUnavailable", "Retry-After"),
        ("TooManyRequests", "Retry-After"),
        ("MethodNotAllowed", "Allow"),
    ] {
        let headers = responses[answer]["headers"].as_object().unwrap();
        assert!(headers.contains_key(name) && headers.contains_key("X-Trace-Id"), "{answer}: {headers:?}");
    }
}

#[test]
fn completing_twice_changes_nothing() {
    let mut twice = document();
    complete(&mut twice, false);
    assert_eq!(twice.to_string(), document().to_string());
}

#[tokio::test]
async fn every_script_of_a_page_carries_the_nonce_of_its_policy() {
    let documentation = documentation();
    for page in [documentation.redoc(), documentation.swagger_ui()] {
        let policy = page.header("content-security-policy").unwrap().to_owned();
        let page = text(page).await;
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        assert_eq!(nonce.len(), 22);
        let page = page.replace("&#x2f;", "/");
        assert_eq!(
            page.matches("<script").count(),
            page.matches(&format!("<script nonce=\"{nonce}\" src=\"/id/static/")).count()
        );
        assert!(
            page.contains("data-document=\"/id/openapi.json\"") && page.contains("data-api=\"/id/api\""),
            "{page}"
        );
        assert!(page.contains("A &lt;gate&gt;") && !page.contains("https://"), "{page}");
        assert!(!policy.contains("unsafe-eval") && policy.contains("frame-ancestors 'none'"));
    }
    assert_ne!(
        documentation.redoc().header("content-security-policy"),
        documentation.redoc().header("content-security-policy")
    );
}

async fn asset(path: &str, headers: &[(&str, &str)]) -> Result<Response, u16> {
    let mut request = Request::builder().uri_str(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let route = documentation().assets_on(Route::new());
    route.call(request.finish()).await.map_err(|error| error.status().as_u16())
}

#[tokio::test]
async fn files_are_found_by_their_hash_and_kept_for_ever() {
    for name in ["redoc.standalone.js", "swagger-ui-bundle.js", "swagger-ui.css", "redoc.js", "swagger.js"] {
        let path = documentation().assets.path(name);
        let response = asset(&path, &[]).await.unwrap();
        assert_eq!(response.header("cache-control"), Some("public, max-age=31536000, immutable"));
        let etag = response.header("etag").unwrap().to_owned();
        assert_eq!(asset(&path, &[("if-none-match", &etag)]).await.unwrap().status().as_u16(), 304);
    }
    for wrong in ["/static/0000000000000000/swagger-ui.css", "/static//swagger-ui.css", "/static/x/README.md"]
    {
        assert_eq!(asset(wrong, &[]).await.unwrap_err(), 404, "{wrong}");
    }
}

#[tokio::test]
async fn nothing_asks_the_maker_of_redoc_for_a_picture() {
    let script = asset(&documentation().assets.path("redoc.standalone.js"), &[]).await.unwrap();
    let script = text(script).await;
    assert!(script.contains("data:,") && !script.contains("cdn.redoc"));
}

#[tokio::test]
async fn files_are_compressed_for_those_who_take_it() {
    let path = documentation().assets.path("swagger-ui.css");
    let plain = text(asset(&path, &[]).await.unwrap()).await;
    let response = asset(&path, &[("accept-encoding", "br, gzip;q=0.8")]).await.unwrap();
    assert_eq!(
        (response.header("content-encoding"), response.header("vary")),
        (Some("gzip"), Some("Accept-Encoding"))
    );
    let body = response.into_body().into_vec().await.unwrap();
    let mut unpacked = String::new();
    flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    for none in ["", "br", "gzip;q=0", "*", "xgzip"] {
        let response = asset(&path, &[("accept-encoding", none)]).await.unwrap();
        assert_eq!(response.header("content-encoding"), None, "{none}");
    }
}

#[tokio::test]
async fn the_document_is_asked_for_again_each_time() {
    let documentation = documentation();
    let response = documentation.document(&Request::default()).await;
    assert_eq!(response.header("cache-control"), Some("no-cache"));
    assert_eq!(response.content_type(), Some("application/json"));
    let headers: HeaderMap = response.headers().clone();
    assert_eq!(serde_json::from_str::<Value>(&text(response).await).unwrap(), document());
    let known = Request::builder().header("if-none-match", headers["etag"].clone()).finish();
    assert_eq!(documentation.document(&known).await.status().as_u16(), 304);
}
