//! One request can be followed through the program and beyond, and nothing of what it says is told.

use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use super::collector::{Collector, bytes, fact, named};
use crate::harness::{PASSWORD, TestApp, eventually};
use crate::port::Port;

const TRACE: &str = "018f3c7e-9c1b-7cc2-9f54-8a1d2b3c4d5e";

async fn traced(collector: &Collector, more: &[(&str, &str)]) -> TestApp {
    let settings = collector.settings();
    let mut all: Vec<(&str, &str)> = settings.iter().map(|(name, text)| (*name, text.as_str())).collect();
    all.retain(|(name, _)| !more.iter().any(|(known, _)| known == name));
    all.extend(more);
    TestApp::with(&all).await
}

#[tokio::test]
async fn a_request_and_what_it_does_are_one_trace_under_its_id() {
    let collector = Collector::start().await;
    let app = traced(&collector, &[]).await;
    let new = json!({"username": "ann", "email": "ann@example.com", "password": PASSWORD, "confirm_password": PASSWORD});
    app.post("/api/auth/register").header("x-request-id", TRACE).json(&new).await.is(201);
    let is_whole = |spans: &Vec<Span>| named(spans, "POST /api/auth/register").is_some();
    let spans = eventually(|| async { collector.trace(bytes(TRACE)) }, is_whole).await;
    let request = named(&spans, "POST /api/auth/register").unwrap();
    assert_eq!(fact(request, "http.response.status_code").unwrap(), "201");
    assert_eq!(fact(request, "http.route").unwrap(), "/api/auth/register");
    assert!(request.parent_span_id.is_empty() && request.kind == 2);
    for part in ["hash a password", "write to the database"] {
        let part = named(&spans, part).unwrap_or_else(|| panic!("{part}: {spans:?}"));
        assert_eq!(part.parent_span_id, request.span_id);
        assert!(part.start_time_unix_nano >= request.start_time_unix_nano);
        assert!(part.end_time_unix_nano <= request.end_time_unix_nano);
    }
    // Acts run in another task, and still belong to the request.
    let written = named(&spans, "write to the database").unwrap();
    let statement = spans.iter().find(|span| span.parent_span_id == written.span_id).expect("a statement");
    assert!(fact(statement, "db.operation.name").is_some(), "{statement:?}");
    let heads = collector.heads();
    assert!(heads.iter().all(|head| head.to_lowercase().contains("x-key: canary-collector")), "{heads:?}");
}

#[tokio::test]
async fn nothing_that_a_client_wrote_is_in_a_span() {
    let collector = Collector::start().await;
    let app = traced(&collector, &[]).await;
    let ann = app.user("ann").await;
    let path = "/api/user/@canary-name?q=canary-query&otp_code=canary-code";
    ann.get(path).header("x-request-id", TRACE).header("user-agent", "canary-agent").await;
    app.get("/api/user/me").header("authorization", "Bearer canary-token").await.is(401);
    app.get("/canary-path/x").await.is(404);
    app.ask("CANARYMETHOD", "/api/user/me").await;
    app.post("/api/auth/login")
        .json(&json!({"username": "canary-who", "password": "canary-password"}))
        .await
        .is(401);
    ann.patch("/api/user/me").json(&json!({"description": "canary-text"})).await;
    let ann_id = ann.path().rsplit_once('/').expect("an id at the end").1.to_owned();
    let last = "4bf92f3577b34da6a3ce929d0e0e4736";
    app.get("/version").header("x-request-id", last).await.is(200);
    eventually(|| async { collector.trace(bytes(last)).len() }, |count| *count == 1).await;
    let spans = collector.trace(bytes(TRACE));
    assert!(named(&spans, "GET /api/user/{user}").is_some(), "{spans:?}");
    assert!(collector.spans().len() > 10);
    for word in ["canary", "CANARYMETHOD", PASSWORD, "ann@example.com", "Bearer", &ann_id] {
        assert!(!collector.was_sent(word), "{word}");
    }
}

#[tokio::test]
async fn a_picture_that_is_at_hand_has_its_span() {
    let collector = Collector::start().await;
    let app = traced(&collector, &[]).await;
    let path = format!("{}/image", app.user("ann").await.path());
    app.get(&path).await.is(200);
    app.get(&path).header("x-request-id", TRACE).await.is(200);
    let is_told = |spans: &Vec<Span>| named(spans, "GET /api/user/{user}/image").is_some();
    let spans = eventually(|| async { collector.trace(bytes(TRACE)) }, is_told).await;
    let request = named(&spans, "GET /api/user/{user}/image").unwrap();
    assert_eq!(fact(request, "http.route").unwrap(), "/api/user/{user}/image");
    assert_eq!(fact(request, "http.response.status_code").unwrap(), "200");
}

#[tokio::test]
async fn the_caller_s_trace_goes_on_here_if_it_is_recorded() {
    let collector = Collector::start().await;
    let app = traced(&collector, &[]).await;
    let (trace, other) = ("4bf92f3577b34da6a3ce929d0e0e4736", "4bf92f3577b34da6a3ce929d0e0e4737");
    app.get("/version").header("traceparent", &format!("00-{other}-00f067aa0ba902b7-00")).await.is(200);
    let reply = app.get("/version").header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01")).await;
    assert_eq!(reply.trace_id(), trace);
    let spans = eventually(|| async { collector.trace(bytes(trace)) }, |spans| !spans.is_empty()).await;
    assert_eq!(spans[0].parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert!(collector.trace(bytes(other)).is_empty(), "the caller does not record it");
}

#[tokio::test]
async fn an_id_that_is_no_trace_leads_to_one_all_the_same() {
    let collector = Collector::start().await;
    let app = traced(&collector, &[]).await;
    app.get("/version").header("x-request-id", "abc").await.is(200);
    let trace = 0xba78_16bf_8f01_cfea_4141_40de_5dae_2223_u128.to_be_bytes();
    eventually(|| async { collector.trace(trace).len() }, |count| *count == 1).await;
}

#[tokio::test]
async fn measurements_reach_the_collector_with_the_name_of_the_service() {
    let collector = Collector::start().await;
    let name =
        [("OTEL_SERVICE_NAME", "people"), ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")];
    let app = traced(&collector, &name).await;
    app.get("/version").await.is(200);
    let counted = |sent: &Option<(Resource, Vec<Metric>)>| {
        let metrics = sent.iter().flat_map(|(_, metrics)| metrics);
        metrics.into_iter().any(|metric| metric.name == "gatehouse_http_requests_total")
    };
    let (resource, metrics) = eventually(|| async { collector.measures() }, counted).await.unwrap();
    let about = format!("{:?}", resource.attributes);
    for word in ["service.name", "people", "deployment.environment.name", "service.version"] {
        assert!(about.contains(word), "{about}");
    }
    assert!(metrics.iter().any(|metric| metric.name == "gatehouse_http_request_duration_seconds"));
}

#[tokio::test]
async fn a_switch_turns_it_all_off() {
    let collector = Collector::start().await;
    let app = traced(&collector, &[("OTEL_SDK_DISABLED", "true")]).await;
    app.get("/version").await.is(200);
    assert!(app.inside.export.is_none());
    let app =
        traced(&collector, &[("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_METRICS_EXPORTER", "none")]).await;
    app.get("/version").await.is(200);
    app.inside.clone().close().await; // what waits would be sent now
    assert!(collector.heads().is_empty());
}

#[tokio::test]
async fn requests_do_not_notice_a_collector_that_is_away_and_it_gets_what_waits_when_it_is_there() {
    let port = Port::free();
    let address = format!("127.0.0.1:{}", port.number());
    let url = format!("http://{address}");
    let app =
        TestApp::with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "10")])
            .await;
    app.get("/version").header("x-request-id", TRACE).await.is(200);
    for _ in 0..200 {
        app.get("/version").await.is(200);
    }
    let collector = Collector::at(&address).await;
    eventually(|| async { collector.trace(bytes(TRACE)).len() }, |count| *count == 1).await;
}
