//! Section 6: the figures that say that something is about to go wrong, or has.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::exposition::parse;
use crate::fixtures::{message, message_with};
use crate::service::Service;
use crate::setup::Setup;

/// A `ts` so many seconds from now.
fn ts_from_now(service: &Service, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_secs() as i64;
    let modifier = format!("SELECT strftime('%Y-%m-%dT%H:%M:%SZ', {}, 'unixepoch')", now + seconds);
    service.database().query_row(&modifier, [], |row| row.get(0)).expect("SQLite knows the calendar")
}

#[test]
fn the_first_error_is_a_rise_from_zero() {
    let families = parse(&Service::start().get("/metrics").text());
    let family = &families["http_requests_total"];
    for path in ["/webhook", "/messages", "/stats", "/health/ready", "unmatched"] {
        for status in ["200", "500", "503"] {
            let found = family.samples.iter().find(|(_, l, _)| l["path"] == path && l["status"] == status);
            assert_eq!(found.map(|sample| sample.2), Some(0.0), "{path} {status}");
        }
    }
    assert!(
        !family.samples.iter().any(|(_, labels, _)| labels["status"] == "404"),
        "what never was is not shown"
    );
}

#[test]
fn how_old_messages_are_when_they_are_stored_is_a_histogram() {
    let service = Service::start();
    for (id, age) in [("m1", 0), ("m2", 120), ("m3", 7200)] {
        service.store(&message_with(id, &json!({ "ts": ts_from_now(&service, -age) })));
    }
    // The same again, and one that is refused, are no news.
    service.store(&message_with("m3", &json!({ "ts": ts_from_now(&service, -7200) })));
    service.post(&message_with("m4", &json!({ "ts": "yesterday" }))).expect(422);
    service.counted("message_lag_seconds_count", 3.0);
    service.counted("message_lag_seconds_bucket{le=\"60\"}", 1.0);
    service.counted("message_lag_seconds_bucket{le=\"300\"}", 2.0);
    service.counted("message_lag_seconds_bucket{le=\"21600\"}", 3.0);
    let sum = service.metric("message_lag_seconds_sum");
    assert!((7320.0..7400.0).contains(&sum), "{sum}");
    service.counted("messages_ahead_total", 0.0);
}

#[test]
fn a_ts_in_the_future_is_counted_and_not_old() {
    let service = Service::start();
    service.store(&message_with("m1", &json!({ "ts": ts_from_now(&service, 3600) })));
    service.store(&message_with("m2", &json!({ "ts": ts_from_now(&service, 0) })));
    service.store(&message_with("m3", &json!({ "ts": "9999-12-31T23:59:59.999999999Z" })));
    service.counted("messages_ahead_total", 2.0);
    service.counted("message_lag_seconds_count", 3.0);
    service.counted("message_lag_seconds_bucket{le=\"60\"}", 3.0);
}

#[test]
fn a_message_from_the_year_one_is_older_than_every_bucket() {
    let service = Service::start();
    service.store(&message_with("m1", &json!({ "ts": "0001-01-01T00:00:00Z" })));
    service.counted("message_lag_seconds_bucket{le=\"604800\"}", 0.0);
    service.counted("message_lag_seconds_bucket{le=\"+Inf\"}", 1.0);
}

#[test]
fn the_room_on_the_disk_is_what_df_says() {
    let service = Service::start();
    let df = |column: &str| -> f64 {
        let folder = service.path(".").display().to_string();
        let arguments = ["-B1", &format!("--output={column}"), &folder];
        let output = std::process::Command::new("df").args(arguments).output().expect("the machine has df");
        let text = String::from_utf8(output.stdout).expect("df writes text");
        text.lines().last().and_then(|line| line.trim().parse().ok()).expect("df ends with a number")
    };
    assert_eq!(service.metric("store_disk_bytes"), df("size"));
    // Other tests write meanwhile.
    let (shown, said) = (service.metric("store_disk_free_bytes"), df("avail"));
    assert!((shown - said).abs() < 0.2 * df("size"), "{shown} and {said}");
    assert!(shown > 0.0);
}

#[test]
fn readiness_is_a_metric() {
    Service::start().counted("service_ready", 1.0);
    Setup::new().without("WEBHOOK_SECRET").start().counted("service_ready", 0.0);
}

#[test]
fn a_database_that_is_gone_shows_without_any_probe_and_so_does_its_return() {
    let service = Service::start();
    service.store(&message("m1"));
    service.counted("service_ready", 1.0);
    let moved = |from: &str, to: &str| {
        for suffix in ["", "-wal"] {
            let path = |name: &str| service.path(&format!("{name}{suffix}"));
            fs::rename(path(from), path(to)).expect("the folder is ours");
        }
    };
    moved("app.db", "away.db");
    service.counted("service_ready", 0.0);
    moved("away.db", "app.db");
    service.counted("service_ready", 1.0);
}

#[test]
fn a_locked_database_shows_while_it_is_locked() {
    let service = Service::start();
    let database = service.database();
    database.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
    service.counted("service_ready", 0.0);
    database.execute_batch("ROLLBACK").expect("the lock is ours");
    service.counted("service_ready", 1.0);
}
