//! Settings of what the program tells of itself.

use std::time::Duration;

use super::*;
use crate::platform::telemetry::files::{Retention, Rotation};

fn rotation(text: &str) -> Rotation {
    config(&[("LOG_FILE_ROTATION", text)]).log.file_rotation
}

fn retention(text: &str) -> Retention {
    config(&[("LOG_FILE_RETENTION", text)]).log.file_retention
}

#[test]
fn log_files_are_off_and_turned_over_each_day_for_a_month() {
    let log = config(&[]).log;
    assert!(!log.file_enabled);
    assert_eq!(log.file_filter, "warn");
    assert_eq!(log.file_rotation, Rotation { age: Some(Duration::from_hours(24)), bytes: None });
    assert_eq!(log.file_retention, Retention::Age(Duration::from_hours(24 * 30)));
}

#[test]
fn a_rotation_is_a_number_of_hours_a_time_a_size_or_both() {
    let hours = |hours| Rotation { age: Some(Duration::from_hours(hours)), bytes: None };
    for (text, expected) in
        [("1", hours(1)), ("12h", hours(12)), ("'1 day'", hours(24)), ("1 week", hours(168))]
    {
        assert_eq!(rotation(text), expected, "{text}");
    }
    assert_eq!(rotation("'100 MB'"), Rotation { age: None, bytes: Some(100_000_000) });
    assert_eq!(rotation("1 GiB"), Rotation { age: None, bytes: Some(1 << 30) });
    assert_eq!(rotation("12 h, 10 MB"), Rotation { bytes: Some(10_000_000), ..hours(12) });
}

#[test]
fn a_retention_is_a_number_of_days_a_time_a_count_or_a_size() {
    assert_eq!(retention("7"), Retention::Age(Duration::from_hours(168)));
    assert_eq!(retention("7 days"), Retention::Age(Duration::from_hours(168)));
    assert_eq!(retention("\"10 files\""), Retention::Files(10));
    assert_eq!(retention("500 MB"), Retention::Bytes(500_000_000));
}

#[test]
fn what_means_nothing_names_the_variable() {
    let long = "9".repeat(40);
    for bad in [
        "0",
        "-1",
        "1.5",
        "soon",
        "10 files",
        "5 B",
        "1h, 2h",
        "12h,",
        "18446744073709551615",
        "1 parsec",
        &long,
    ] {
        let mistakes = mistakes(&[("LOG_FILE_ROTATION", bad)]);
        assert!(mistakes[0].starts_with("LOG_FILE_ROTATION"), "{bad}: {mistakes:?}");
    }
    for bad in ["0", "ten files", "10 files, 2 days", "1 hour ago", &long] {
        let mistakes = mistakes(&[("LOG_FILE_RETENTION", bad)]);
        assert!(mistakes[0].starts_with("LOG_FILE_RETENTION"), "{bad}: {mistakes:?}");
    }
    for (name, bad) in [
        ("LOG_FILE_ENABLED", "perhaps"),
        ("LOG_FILE_LEVEL", "LOUD"),
        ("METRICS_TOKEN", "short"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.1"),
        ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=%00"),
    ] {
        let mistakes = mistakes(&[(name, bad)]);
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(name), "{name}: {mistakes:?}");
    }
}

#[test]
fn a_collector_gets_both_where_it_is_named_once() {
    let otlp = config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/base/")]).otlp;
    assert_eq!(otlp.traces.unwrap().url.as_str(), "http://collector:4318/base/v1/traces");
    assert_eq!(otlp.metrics.unwrap().url.as_str(), "http://collector:4318/base/v1/metrics");
    assert!(otlp.sampler.obeys_parent);
    let otlp = config(&[]).otlp;
    assert!(otlp.traces.is_none() && otlp.metrics.is_none());
}

#[test]
fn what_lets_us_in_at_a_collector_is_never_shown() {
    let name = "OTEL_EXPORTER_OTLP_ENDPOINT";
    let shown = |text: &str| {
        let settings = accepted(&environment(&[(name, text)])).settings;
        settings.into_iter().find(|effective| effective.name == name).unwrap().shown
    };
    assert_eq!(
        shown("https://ann:hunter2@collector:4318/in?a=b"),
        "https://********@collector:4318/in?********"
    );
    assert_eq!(shown("http://hunter2@collector"), "http://********@collector/");
    assert_eq!(shown("http://collector/in?key=hunter2"), "http://collector/in?********");
    assert_eq!(shown("http://collector:4318"), "http://collector:4318");
    for bad in ["ann:hunter2@collector:4318", "grpc://ann:hunter2@collector", "collector?key=hunter2"] {
        assert!(!mistakes(&[(name, bad)]).concat().contains("hunter2"), "{bad}");
    }
}

#[test]
fn each_kind_may_go_its_own_way_or_none() {
    let otlp = config(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/in"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=2"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "b=x%20y"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ])
    .otlp;
    let traces = otlp.traces.unwrap();
    assert_eq!(traces.url.as_str(), "https://traces.example/in");
    assert_eq!(
        (&traces.headers["a"], &traces.headers["b"]),
        (&"1".parse().unwrap(), &"x y".parse().unwrap())
    );
    assert!(otlp.metrics.is_none());
    assert!(!otlp.sampler.obeys_parent && (otlp.sampler.ratio - 0.25).abs() < f64::EPSILON);
    let off = config(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), ("OTEL_SDK_DISABLED", "true")]).otlp;
    assert!(off.traces.is_none() && off.metrics.is_none());
}

#[test]
fn the_service_is_called_as_it_was_told() {
    let name = |variables: &[(&str, &str)]| {
        let resource = config(variables).otlp.resource;
        let names: Vec<_> = resource.into_iter().filter(|(name, _)| name == "service.name").collect();
        assert_eq!(names.len(), 1);
        names[0].1.clone()
    };
    assert_eq!(name(&[]), "gatehouse");
    assert_eq!(name(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,host.name=b")]), "a");
    assert_eq!(name(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a"), ("OTEL_SERVICE_NAME", "c")]), "c");
}

#[test]
fn keys_of_collectors_and_the_metrics_token_are_masked() {
    let loaded = accepted(&environment(&[
        ("METRICS_TOKEN", "canary-metrics-token"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=canary-key"),
    ]));
    assert!(loaded.settings.iter().all(|setting| !setting.shown.contains("canary")));
    assert!(!format!("{:?}", loaded.config).contains("canary-key"));
    assert!(loaded.config.metrics_token.unwrap().is(b"canary-metrics-token"));
}
