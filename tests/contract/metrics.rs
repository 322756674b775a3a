//! Section 6: GET /metrics, in the text format 0.0.4 and with everything an operator needs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::exposition::{Family, parse};
use crate::fixtures::{eventually, message, message_with};
use crate::service::Service;
use crate::setup::Setup;
use crate::skip::has;

const ROUTES: [&str; 12] = [
    "/webhook",
    "/whatsapp",
    "/messages",
    "/feed",
    "/stats",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/openapi.json",
    "/",
    "/docs",
    "unmatched",
];

#[track_caller]
fn scrape(service: &Service) -> BTreeMap<String, Family> {
    parse(&service.get("/metrics").expect(200).text())
}

fn some_traffic(service: &Service) {
    service.store(&message("m1"));
    service.store(&message("m1"));
    service.post(&message_with("m2", &json!({"ts": 5}))).expect(422);
    service.post_signed(&[], b"{}").expect(401);
    service.get("/messages?q=x").expect(200);
    service.get("/messages?limit=0").expect(422);
    service.get("/stats").expect(200);
    service.get("/nowhere").expect(404);
    service.request("DELETE", "/messages", &[]).expect(405);
    service.request("HEAD", "/stats", &[]).expect(200);
}

#[test]
fn the_exposition_is_well_formed_before_and_after_traffic() {
    let service = Service::start();
    for round in 0..2 {
        let answer = service.get("/metrics");
        let media_type = answer.expect(200).header("Content-Type").unwrap();
        assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
        for (name, family) in parse(&answer.text()) {
            assert!(family.help, "{name} has no HELP");
            assert!(
                ["counter", "gauge", "histogram"].contains(&family.kind.as_str()),
                "{name}: {}",
                family.kind
            );
            if family.kind == "counter" {
                assert!(name.ends_with("_total"), "{name} is a counter");
            }
        }
        if round == 0 {
            some_traffic(&service);
        }
    }
}

#[test]
fn the_head_of_the_page_shows_webhooks_and_requests() {
    let service = Service::start();
    some_traffic(&service);
    let text = service.get("/metrics").text();
    let head: Vec<&str> = text.lines().take(10).collect();
    assert!(head.contains(&"# TYPE webhook_requests_total counter"), "{head:?}");
    assert!(head.contains(&r#"webhook_requests_total{result="created"} 1"#), "{head:?}");
    assert!(head.contains(&"# TYPE http_requests_total counter"), "{head:?}");
    let posted = r#"http_requests_total{path="/webhook",status="200"} 2"#;
    assert!(text.lines().take(20).any(|line| line == posted), "{head:?}");
}

#[test]
fn promtool_has_one_complaint() {
    if !has(&["promtool"]) {
        return;
    }
    let service = Service::start();
    some_traffic(&service);
    let text = service.get("/metrics").text();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let complaints: Vec<_> =
        said.lines().filter(|line| !line.is_empty() && !line.starts_with("request_latency_ms")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn every_result_is_there_from_the_start() {
    let families = scrape(&Service::start());
    let family = &families["webhook_requests_total"];
    assert_eq!(family.kind, "counter");
    let found: BTreeMap<_, _> =
        family.samples.iter().map(|(_, labels, value)| (labels["result"].as_str(), *value)).collect();
    let expected =
        ["created", "duplicate", "invalid_signature", "too_large", "unavailable", "validation_error"];
    assert_eq!(found, expected.map(|result| (result, 0.0)).into());
}

#[test]
fn requests_are_counted_by_route_and_status() {
    let service = Service::start();
    some_traffic(&service);
    for (path, status, count) in [
        ("/webhook", 200, 2.0),
        ("/webhook", 422, 1.0),
        ("/webhook", 401, 1.0),
        ("/messages", 200, 1.0),
        ("/messages", 422, 1.0),
        ("/messages", 405, 1.0),
        ("/stats", 200, 2.0),
        ("unmatched", 404, 1.0),
    ] {
        let series = format!("http_requests_total{{path=\"{path}\",status=\"{status}\"}}");
        service.counted(&series, count);
    }
    for (result, count) in
        [("created", 1.0), ("duplicate", 1.0), ("validation_error", 1.0), ("invalid_signature", 1.0)]
    {
        service.resulted(result, count);
    }
}

#[test]
fn strangers_cannot_add_labels() {
    let service = Service::start();
    for number in 0..100 {
        service.get(&format!("/secret/{number}")).expect(404);
        service.request("GET", &format!("/messages/{number}?x=\"\\"), &[]);
        service.request(&format!("METHOD{number}"), "/stats", &[]);
    }
    let known: HashSet<_> = ROUTES.into_iter().collect();
    for (name, family) in scrape(&service) {
        for (_, labels, _) in &family.samples {
            if let Some(path) = labels.get("path") {
                assert!(known.contains(path.as_str()), "{name} has path {path}");
            }
            assert!(!labels.values().any(|value| value.contains("METHOD")), "{name} {labels:?}");
        }
        assert!(family.samples.len() < 500, "{name} has {} series", family.samples.len());
    }
}

#[test]
fn histograms_are_cumulative_and_agree_with_their_count() {
    let service = Service::start();
    some_traffic(&service);
    let families = scrape(&service);
    for (name, family) in families.iter().filter(|(_, family)| family.kind == "histogram") {
        let mut by_labels: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        let mut counts = BTreeMap::new();
        let mut sums = BTreeSet::new();
        for (sample, labels, value) in &family.samples {
            let mut labels = labels.clone();
            match sample.strip_prefix(name.as_str()) {
                Some("_bucket") => {
                    let bound = labels.remove("le").expect("a bucket has a bound").parse().unwrap();
                    by_labels.entry(labels).or_default().push((bound, *value));
                }
                Some("_count") => drop(counts.insert(labels, *value)),
                Some("_sum") => drop(sums.insert(labels)),
                _ => panic!("{sample} is no part of a histogram"),
            }
        }
        assert_eq!(by_labels.len(), counts.len(), "{name}");
        assert_eq!(sums.len(), counts.len(), "{name}");
        for (labels, buckets) in by_labels {
            let rising = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
            assert!(rising, "{name}{labels:?}: {buckets:?}");
            let (bound, last) = *buckets.last().unwrap();
            assert!(bound.is_infinite(), "{name}: the last bucket is +Inf");
            assert_eq!(last, counts[&labels], "{name}{labels:?}");
        }
    }
}

#[test]
fn request_latency_has_the_buckets_that_first_clients_rely_on() {
    let service = Service::start();
    let count = service.metric("request_latency_ms_count");
    some_traffic(&service);
    let text = service.get("/metrics").text();
    let bounds: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("request_latency_ms_bucket{le=\"")?.split('"').next())
        .collect();
    assert_eq!(bounds, ["1", "2.5", "5", "10", "25", "50", "100", "250", "500", "1000", "2500", "+Inf"]);
    // The ten requests of the traffic and the two scrapes before this one.
    eventually("all of them are in the histogram", || {
        (service.metric("request_latency_ms_count") >= count + 12.0).then_some(())
    });
    assert!(text.contains("\nrequest_latency_ms_sum "));
    assert_eq!(parse(&text)["request_latency_ms"].kind, "histogram");
}

#[test]
fn latency_is_also_kept_by_route_in_seconds() {
    let service = Service::start();
    some_traffic(&service);
    let families = scrape(&service);
    let family = &families["http_request_duration_seconds"];
    assert_eq!(family.kind, "histogram");
    service.counted("http_request_duration_seconds_count{path=\"/webhook\"}", 4.0);
    service.counted("http_request_duration_seconds_count{path=\"/stats\"}", 2.0);
}

#[test]
fn an_operator_sees_trouble_coming() {
    let service = Service::start();
    some_traffic(&service);
    let families = scrape(&service);
    // What the families are called is the service's choice; that something by this name exists is not.
    let wanted: [(&str, &[&[&str]]); 10] = [
        ("gauge", &[&["queue"]]),
        ("gauge", &[&["flight"]]),
        ("gauge", &[&["connections"]]),
        ("histogram", &[&["batch"]]),
        ("histogram", &[&["commit", "seconds"]]),
        ("gauge", &[&["messages"]]),
        ("gauge", &[&["wal", "bytes"]]),
        ("gauge", &[&["database", "bytes"], &["db", "bytes"], &["sqlite", "bytes"]]),
        ("counter", &[&["log", "dropped"]]),
        ("counter", &[&["shed"]]),
    ];
    for (kind, names) in wanted {
        let found = families.iter().any(|(name, family)| {
            // A number that only ever rises may be called a counter or a gauge.
            let fits = family.kind == kind
                || (kind == "gauge" && family.kind == "counter" && names[0] == ["messages"]);
            fits && names.iter().any(|words| words.iter().all(|word| name.contains(word)))
        });
        assert!(found, "no {kind} named after {names:?} among {:?}", families.keys());
    }
    let wal: f64 = families
        .iter()
        .filter(|(name, _)| name.contains("wal"))
        .flat_map(|(_, f)| &f.samples)
        .map(|s| s.2)
        .sum();
    assert!(wal > 0.0, "a message has just gone through the WAL");
}

#[test]
fn the_process_and_the_build_describe_themselves() {
    let service = Service::start();
    let families = scrape(&service);
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        let family = families.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert!(family.samples[0].2 >= 0.0, "{name}");
    }
    let build = &families["build_info"].samples[0];
    assert_eq!(build.1["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(build.2, 1.0);
}

#[test]
fn stored_messages_and_their_results_are_counted_apart() {
    let service = Setup::new().with("MAX_BODY_BYTES", "300").start();
    some_traffic(&service);
    service.post_bytes(&[b' '; 301]).expect(413);
    service.resulted("too_large", 1.0);
    service.resulted("created", 1.0);
    service.resulted("unavailable", 0.0);
}

#[test]
fn every_count_of_whatsapp_is_there_from_the_start_whether_its_routes_are_or_not() {
    for setup in [Setup::new(), Setup::new().with("WHATSAPP_VERIFY_TOKEN", "t0ken")] {
        let text = setup.start().get("/metrics").text();
        let mut expected = Vec::new();
        for kind in ["message", "status", "other"] {
            for result in ["created", "duplicate", "unmapped", "dropped"] {
                expected.push(format!("whatsapp_items_total{{kind=\"{kind}\",result=\"{result}\"}} 0"));
            }
        }
        for status in ["200", "500", "503"] {
            expected.push(format!("http_requests_total{{path=\"/whatsapp\",status=\"{status}\"}} 0"));
        }
        for line in expected {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }
}
