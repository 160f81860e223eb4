//! What is watched outside exists inside: dashboard and alert rules name measurements that the program makes.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::TestApp;

const DASHBOARD: &str = include_str!("../../../deploy/grafana/gatehouse.json");
const RULES: &str = include_str!("../../../deploy/prometheus/rules.yml");

/// Every word that could be the name of a measurement of ours.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    let ours = words.filter(|word| word.starts_with("gatehouse_") || word.starts_with("process_"));
    ours.map(|word| {
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|ending| word.strip_suffix(ending));
        of_histogram.unwrap_or(word).to_owned()
    })
    .collect()
}

#[tokio::test]
async fn dashboard_and_rules_name_what_is_measured() {
    let app = TestApp::new().await;
    app.user("ann").await;
    let text = app.get("/metrics").await.is(200).text().to_owned();
    let known: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    // Made by the process that serves, and by the parts that are switched off here.
    let elsewhere = [
        "gatehouse_log_lines_dropped_total",
        "gatehouse_spans_dropped_total",
        "gatehouse_outbox_pending",
        "gatehouse_outbox_oldest_seconds",
        "gatehouse_outbox_aside",
        "gatehouse_outbox_events_total",
        "gatehouse_workos_lag_seconds",
        "gatehouse_workos_last_event_age_seconds",
        "gatehouse_backup_failing",
        "gatehouse_backup_age_seconds",
    ];
    for (place, text) in [("dashboard", DASHBOARD), ("rules", RULES)] {
        let named = names(text);
        assert!(named.len() > 5, "{place}: {named:?}");
        for name in named {
            assert!(known.contains(name.as_str()) || elsewhere.contains(&name.as_str()), "{place}: {name}");
        }
    }
}

#[test]
fn the_dashboard_can_be_read_and_each_panel_asks_something() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 10);
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().unwrap_or_else(|| panic!("{panel}"));
        assert!(targets.iter().all(|target| target["expr"].as_str().is_some_and(|expr| !expr.is_empty())));
    }
}
