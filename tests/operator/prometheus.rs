//! A real Prometheus scrapes the service: what the README's queries and the dashboard's return is what
//! was sent.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::exposition::parse;
use crate::fixtures::{message, message_with};
use crate::monitor::{Prometheus, TOKEN};
use crate::recipes::{blocks, read};
use crate::service::Service;
use crate::setup::Setup;
use crate::skip::has;

/// How many webhooks of each result [`send`] sends.
const SENT: [(&str, f64); 6] = [
    ("created", 30.0),
    ("duplicate", 10.0),
    ("invalid_signature", 5.0),
    ("validation_error", 2.0),
    ("too_large", 1.0),
    ("unavailable", 2.0),
];

fn send(service: &Service) {
    for number in 0..30 {
        service.store(&message(&format!("m{number}")));
    }
    for number in 0..10 {
        service.store(&message(&format!("m{number}")));
    }
    for _ in 0..5 {
        service.post_signed(&[("X-Signature", "00")], b"{}").expect(401);
    }
    for _ in 0..2 {
        service.post(&message_with("m0", &json!({ "ts": "yesterday" }))).expect(422);
    }
    service.post_bytes(&[b' '; 65_537]).expect(413);
    service.get("/whatsapp").expect(403);
    let token = format!("Bearer {TOKEN}");
    service.request("GET", "/feed?consumer=orders", &[("Authorization", &token)]).expect(200);
    // A database that is away: nothing can be stored until it is back.
    let (here, away) = (service.path("app.db"), service.path("away.db"));
    fs::rename(&here, &away).expect("the folder is ours");
    for _ in 0..2 {
        service.post(&message("m30")).expect(503);
    }
    fs::rename(&away, &here).expect("the folder is ours");
}

fn watched() -> Option<(Service, Prometheus)> {
    if !has(&["prometheus"]) {
        return None;
    }
    let service = Setup::new().with("API_TOKEN", TOKEN).with("WHATSAPP_VERIFY_TOKEN", TOKEN).start();
    let mut prometheus = Prometheus::of(&service);
    // From here on every rise is seen.
    prometheus.until("up{job=\"lyftr-webhook\"}", 1.0);
    prometheus.until("webhook_requests_total{result=\"created\"}", 0.0);
    Some((service, prometheus))
}

fn watched_and_sent() -> Option<(Service, Prometheus)> {
    let (service, mut prometheus) = watched()?;
    send(&service);
    for (result, count) in SENT {
        prometheus.until(&format!("webhook_requests_total{{result=\"{result}\"}}"), count);
    }
    // Counted a moment later.
    let all = SENT.iter().map(|(_, count)| count).sum();
    prometheus.until("http_request_duration_seconds_count{path=\"/webhook\"}", all);
    Some((service, prometheus))
}

/// The quantile of a histogram as it stands in the exposition, found as Prometheus finds it: a straight
/// line through the bucket that it lies in.
fn quantile(page: &str, of: f64, name: &str, labels: &[(&str, &str)]) -> f64 {
    let families = parse(page);
    let bucket = format!("{name}_bucket");
    let mut buckets = Vec::new();
    for (sample, found, count) in &families[name].samples {
        let fits = labels.iter().all(|(label, value)| found.get(*label).is_some_and(|found| found == value));
        if *sample == bucket && fits {
            buckets.push((found["le"].parse::<f64>().expect("a bound is a number"), *count));
        }
    }
    let rank = of * buckets.last().expect("a histogram has buckets").1;
    let at = buckets.iter().position(|(_, count)| *count >= rank).expect("the last bucket holds all");
    let (bound, count) = buckets[at];
    let (lower, below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    if bound.is_infinite() { lower } else { lower + (bound - lower) * (rank - below) / (count - below) }
}

#[track_caller]
fn is_about(value: f64, expected: f64) {
    assert!((value - expected).abs() <= expected.abs() * 1e-6, "{value} is not {expected}");
}

#[test]
fn the_queries_of_the_readme_return_what_was_sent() {
    let Some((service, prometheus)) = watched_and_sent() else { return };
    let block = blocks("README.md", "promql").concat();
    let queries: Vec<_> = block.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let [rate, errors, p99, commits] = queries[..] else { panic!("four queries: {queries:?}") };

    // Over five minutes of which a few seconds are known, a rate is an estimate; all of them are by the
    // same factor.
    let rates = prometheus.query(rate);
    assert_eq!(rates.len(), SENT.len());
    let rate_of = |result: &str| {
        let found = rates.iter().find(|(labels, _)| labels["result"] == result);
        found.unwrap_or_else(|| panic!("no rate of {result}")).1
    };
    let factor = rate_of("created") / 30.0;
    assert!(factor * 300.0 >= 0.99, "at least what was sent in five minutes");
    for (result, count) in SENT {
        is_about(rate_of(result), count * factor);
    }
    is_about(prometheus.value(errors), 2.0 / 50.0);

    let page = service.request("GET", "/metrics", &[("Authorization", &format!("Bearer {TOKEN}"))]).text();
    is_about(
        prometheus.value(p99),
        quantile(&page, 0.99, "http_request_duration_seconds", &[("path", "/webhook")]),
    );
    is_about(prometheus.value(commits), quantile(&page, 0.99, "store_commit_seconds", &[]));
}

#[test]
fn a_scrape_without_the_token_is_refused_and_shows_as_down() {
    if !has(&["prometheus"]) {
        return;
    }
    let service = Setup::new().with("API_TOKEN", "another token").start();
    Prometheus::of(&service).until("up{job=\"lyftr-webhook\"}", 0.0);
}

fn dashboard() -> Value {
    serde_json::from_str(&read("scripts/dashboard.json")).expect("the dashboard is JSON")
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().expect("a dashboard has panels")
}

#[test]
fn every_query_of_the_dashboard_returns_something() {
    let Some((service, prometheus)) = watched_and_sent() else { return };
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().expect("a dashboard has variables");
    let instance =
        variables.iter().find(|variable| variable["name"] == "instance").expect("there are instances");
    let definition = instance["definition"].as_str().expect("it is looked up");
    let series = definition.trim_start_matches("label_values(").split(", ").next().unwrap_or_default();
    let instances = prometheus.query(series);
    assert_eq!(instances.len(), 1, "{series}");
    let address = instances[0].0["instance"].as_str().expect("a series has an instance");

    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("a target has a query");
            let asked = expression.replace("$instance", address).replace("$__rate_interval", "5m");
            assert!(!asked.contains('$'), "{expression} has a variable that Grafana does not set");
            let found = prometheus.query(&asked);
            // Grafana draws nothing where there is no number.
            let drawn = found.iter().any(|(_, value)| value.is_finite());
            assert!(drawn, "{}: {expression} shows nothing: {found:?}", panel["title"]);
            let legend = target["legendFormat"].as_str().expect("a target has a legend");
            let labels = &found[0].0;
            for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
                assert!(labels[label].is_string(), "{}: {expression} has no label {label}", panel["title"]);
            }
        }
    }
    drop(service);
}

#[test]
fn the_panels_of_the_dashboard_have_places_and_numbers_of_their_own() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().expect("a panel has a number")), "{title}");
        let at = |side: &str| panel["gridPos"][side].as_u64().expect("a panel has a place");
        assert!(at("x") + at("w") <= 24, "{title} is wider than the page");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{title} covers another panel");
            }
        }
        assert!(panel["type"] == "row" || !panel["targets"].as_array().is_none_or(Vec::is_empty), "{title}");
    }
}
