//! The alerts: each fires when it should, as Prometheus's own tool finds, asks for figures that the
//! service has, and is evaluated by a real server.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::exposition::parse;
use crate::fixtures::message;
use crate::monitor::{Prometheus, TOKEN};
use crate::recipes::{project_file, read};
use crate::service::Service;
use crate::setup::Setup;
use crate::skip::has;
use crate::tools::run;

const ALERTS: &str = "scripts/alerts.yaml";
const TESTS: [&str; 2] = ["tests/operator/alerts.yaml", "tests/operator/alerts_of_days.yaml"];

#[track_caller]
fn promtool(arguments: [&str; 2], file: &Path) {
    let file = file.display().to_string();
    let output = run("promtool", &[arguments[0], arguments[1], &file]);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("SUCCESS"), "{said}");
}

/// What follows each `before` in a text, up to the next `end`.
fn all_after<'a>(text: &'a str, before: &str, end: char) -> BTreeSet<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split(end).next()).map(str::trim).collect()
}

#[test]
fn every_alert_fires_when_it_should_and_not_before() {
    if !has(&["promtool"]) {
        return;
    }
    promtool(["check", "rules"], &project_file(ALERTS));
    for tests in TESTS {
        promtool(["test", "rules"], &project_file(tests));
    }
}

#[test]
fn what_is_to_be_scraped_is_a_whole_configuration_as_it_is() {
    if !has(&["promtool"]) {
        return;
    }
    // Named as the file says; it looks for the rules beside itself.
    let folder = TempDir::new().expect("a folder for temporary files");
    for (from, to) in [("scripts/prometheus.yaml", "prometheus.yml"), (ALERTS, "alerts.yaml")] {
        assert!(
            read("scripts/prometheus.yaml").contains(&format!("{from} /etc/prometheus/{to}\n")),
            "{from}"
        );
        fs::copy(project_file(from), folder.path().join(to)).expect("the folder is ours");
    }
    promtool(["check", "config"], &folder.path().join("prometheus.yml"));
}

#[test]
fn every_alert_has_its_test_and_its_words() {
    let (alerts, tests) = (read(ALERTS), TESTS.map(read).concat());
    let named = all_after(&alerts, "- alert:", '\n');
    assert_eq!(named, all_after(&tests, "alertname=\"", '"'));
    for rule in alerts.split("- alert:").skip(1) {
        for word in ["severity: ", "summary: \"", "description: \""] {
            assert!(rule.contains(word), "{} has no {word}", rule.lines().next().unwrap_or_default());
        }
    }
}

#[test]
fn alerts_ask_for_figures_that_the_service_has() {
    let service = Service::start();
    service.store(&message("m1"));
    service.get("/feed?consumer=shell").expect(200);
    let families = parse(&service.get("/metrics").expect(200).text());
    let alerts = read(ALERTS);
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let before: Vec<_> = alerts.split("{job=\"lyftr-webhook\"").collect();
    assert!(before.len() > 13, "every alert names its job");
    for text in &before[..before.len() - 1] {
        let name = text.rsplit(|c: char| !is_name(c)).next().unwrap_or_default();
        let family = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(name == "up" || families.contains_key(family), "{name} is no metric of the service");
    }
    // Labels as well: a misspelt one would never match.
    for label in ["status", "path", "result", "cause", "consumer"] {
        let found = families
            .values()
            .flat_map(|family| &family.samples)
            .any(|(_, labels, _)| labels.contains_key(label));
        assert!(found && alerts.contains(label), "{label}");
    }
}

#[test]
fn a_real_server_evaluates_them_and_sees_what_befalls_the_service() {
    if !has(&["prometheus"]) {
        return;
    }
    let service = Setup::new().with("API_TOKEN", TOKEN).without("WEBHOOK_SECRET").start();
    let mut prometheus = Prometheus::of(&service);
    prometheus.until("up{job=\"lyftr-webhook\"}", 1.0);
    prometheus.until_alert("LyftrNotReady", "pending");
    prometheus.until_alert("LyftrDown", "inactive");
    let rules = prometheus.api("/api/v1/rules");
    let rules = rules["groups"][0]["rules"].as_array().expect("a group has rules").clone();
    assert_eq!(rules.len(), all_after(&read(ALERTS), "- alert:", '\n').len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    service.stop();
    prometheus.until_alert("LyftrDown", "pending");
    prometheus.until_alert("LyftrNotReady", "inactive");
}
