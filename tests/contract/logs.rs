//! Section 8: one JSON line per request, nothing else on stdout, and nothing in it that must stay secret.

use serde_json::{Value, json};

use crate::fixtures::{SECRET, eventually, message, message_with, sign};
use crate::http_client::{Answer, encode, request};
use crate::output::parse_lines;
use crate::service::Service;
use crate::setup::Setup;

/// `2025-01-15T10:00:00.123Z` becomes `0000-00-00T00:00:00.000Z`.
fn shape(value: &Value) -> String {
    let digits_to_zero = |c: char| if c.is_ascii_digit() { '0' } else { c };
    value.as_str().expect("a string").chars().map(digits_to_zero).collect()
}

#[test]
fn a_request_is_one_line_with_these_fields() {
    let service = Service::start();
    let answer = service.request("GET", "/messages?q=needle", &[("X-Request-ID", "my-request")]);
    let line = service.logged(&answer);
    assert_eq!(shape(&line["ts"]), "0000-00-00T00:00:00.000Z", "{line}");
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["request_id"], "my-request");
    assert_eq!(line["method"], "GET");
    assert_eq!(line["path"], "/messages", "the path has no query string");
    assert_eq!(line["status"], 200);
    assert!(line["latency_ms"].as_f64().is_some_and(|latency| latency >= 0.0), "{line}");
}

#[test]
fn every_request_has_its_line_and_its_level() {
    let service = Setup::new().with("API_TOKEN", "t0ken").start();
    let long = vec![b'x'; 65_537];
    let token = [("Authorization", "Bearer t0ken")];
    let cases: Vec<(Answer, u64, &str, &str)> = vec![
        (service.get("/health/live"), 200, "INFO", "/health/live"),
        (service.get("/health/ready"), 200, "INFO", "/health/ready"),
        (service.request("GET", "/messages", &token), 200, "INFO", "/messages"),
        (service.request("HEAD", "/stats", &token), 200, "INFO", "/stats"),
        (service.request("GET", "/metrics", &token), 200, "INFO", "/metrics"),
        (service.get("/openapi.json"), 200, "INFO", "/openapi.json"),
        (service.get("/docs"), 200, "INFO", "/docs"),
        (service.get("/messages"), 401, "WARNING", "/messages"),
        (service.request("GET", "/messages?limit=0", &token), 422, "WARNING", "/messages"),
        (service.get("/nowhere?to=go"), 404, "WARNING", "/nowhere"),
        (service.request("DELETE", "/stats", &[]), 405, "WARNING", "/stats"),
        (service.get("/webhook"), 405, "WARNING", "/webhook"),
        (service.post(&message("m1")), 200, "INFO", "/webhook"),
        (service.post(&json!({})), 422, "WARNING", "/webhook"),
        (service.post_bytes(&long), 413, "WARNING", "/webhook"),
        (service.post_signed(&[], b"{}"), 401, "ERROR", "/webhook"),
    ];
    let requests = cases.len();
    for (answer, status, level, path) in &cases {
        let line = service.logged(answer);
        assert_eq!(line["status"], *status, "{line}");
        assert_eq!(u64::from(answer.status), *status, "{line}");
        assert_eq!(line["level"], *level, "{line}");
        assert_eq!(line["path"], *path, "{line}");
        assert!(line["method"].is_string() && line["latency_ms"].is_number(), "{line}");
    }
    let lines = parse_lines(&service.stop_and_read_log());
    for (answer, ..) in &cases {
        let found = lines.iter().filter(|line| line["request_id"] == answer.request_id()).count();
        assert_eq!(found, 1, "{}", answer.request_id());
    }
    let others = lines.iter().filter(|line| line["request_id"].is_string()).count() - requests;
    let probes = lines.iter().filter(|line| line["path"] == "/health/live").count() - 1;
    assert_eq!(others, probes, "no line belongs to no request");
}

#[test]
fn a_request_that_is_none_is_logged_too() {
    let service = Service::start();
    let mut client = service.connect();
    client.send(b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\n");
    client.receive().expect(400);
    let line = eventually("the refusal is logged", || {
        service.stdout.json().into_iter().find(|line| line["status"] == 400)
    });
    assert_eq!(line["level"], "WARNING");
    assert!(line["request_id"].is_string(), "{line}");
}

#[test]
fn a_webhook_line_says_which_message_and_what_became_of_it() {
    let service = Service::start();
    let no_secret = Setup::new().without("WEBHOOK_SECRET").start();
    let long = vec![b'x'; 65_537];
    let half_right = message_with("m2", &json!({"from": "nobody"}));
    let cases = [
        (&service, service.post(&message("m1")), json!("m1"), false, "created", "INFO"),
        (&service, service.post(&message("m1")), json!("m1"), true, "duplicate", "INFO"),
        (&service, service.post(&half_right), json!("m2"), false, "validation_error", "WARNING"),
        (
            &service,
            service.post(&json!({"message_id": 5})),
            Value::Null,
            false,
            "validation_error",
            "WARNING",
        ),
        (&service, service.post_bytes(b"not json"), Value::Null, false, "validation_error", "WARNING"),
        (
            &service,
            service.post_signed(&[("X-Signature", &"00".repeat(32))], message("m3").to_string().as_bytes()),
            Value::Null,
            false,
            "invalid_signature",
            "ERROR",
        ),
        (&service, service.post_bytes(&long), Value::Null, false, "too_large", "WARNING"),
        (&no_secret, no_secret.post(&message("m4")), Value::Null, false, "unavailable", "ERROR"),
    ];
    for (service, answer, message_id, dup, result, level) in cases {
        let line = service.logged(&answer);
        assert_eq!(line["message_id"], message_id, "{line}");
        assert!(line.as_object().unwrap().contains_key("message_id"), "{line}");
        assert_eq!(line["dup"], dup, "{line}");
        assert_eq!(line["result"], result, "{line}");
        assert_eq!(line["level"], level, "{line}");
    }
}

#[test]
fn lines_below_the_level_are_not_written() {
    let written_at = [
        ("DEBUG", ["INFO", "WARNING", "ERROR"].as_slice()),
        ("INFO", &["INFO", "WARNING", "ERROR"]),
        ("warning", &["WARNING", "ERROR"]),
        ("ERROR", &["ERROR"]),
    ];
    for (level, written) in written_at {
        let service = Setup::new().with("LOG_LEVEL", level).start();
        service.get("/stats").expect(200);
        service.get("/nowhere").expect(404);
        service.post_signed(&[], b"{}").expect(401);
        let lines = parse_lines(&service.stop_and_read_log());
        for (name, path) in [("INFO", "/stats"), ("WARNING", "/nowhere"), ("ERROR", "/webhook")] {
            let found = lines.iter().filter(|line| line["path"] == path).count();
            assert_eq!(found, usize::from(written.contains(&name)), "{path} at {level}");
        }
        for line in lines {
            let level = line["level"].as_str().unwrap();
            assert!(level == "DEBUG" || written.contains(&level), "{line}");
        }
    }
}

#[test]
fn the_life_of_the_process_is_told() {
    let service = Service::start();
    let lines = parse_lines(&service.stop_and_read_log());
    let events: Vec<_> = lines.iter().filter(|line| line["event"].is_string()).collect();
    assert!(events.len() >= 2, "a start and a stop: {lines:?}");
    for line in events {
        assert_eq!(shape(&line["ts"]), "0000-00-00T00:00:00.000Z", "{line}");
        assert!(line["level"].is_string(), "{line}");
    }
    assert!(lines.first().unwrap()["event"].is_string(), "the first line is the start");
    assert!(lines.last().unwrap()["event"].is_string(), "the last line is the stop");
}

#[test]
fn secrets_signatures_and_texts_are_in_no_log() {
    let service = Setup::new()
        .with("WEBHOOK_SECRET_PREVIOUS", "an older secret")
        .with("API_TOKEN", "t0ken-of-ours")
        .start();
    let text = "for your eyes only";
    let body = message_with("m1", &json!({"text": text})).to_string();
    let signature = sign(SECRET, body.as_bytes());
    let unused = "ab".repeat(32);
    service.post_bytes(body.as_bytes()).expect(200);
    service.post_signed(&[("X-Signature", &unused)], body.as_bytes()).expect(401);
    service.post(&message_with("m2", &json!({"from": "nobody", "text": text}))).expect(422);
    service.post(&json!({"text": text})).expect(422);
    service.post_bytes(text.as_bytes()).expect(422);
    service.post_bytes(format!("{text}{}", "x".repeat(70_000)).as_bytes()).expect(413);
    service.request("GET", "/messages", &[("Authorization", "Bearer t0ken-of-ours")]).expect(200);
    let query = format!("/messages?q={}", encode(text));
    service.request("GET", &query, &[("Authorization", "Bearer wrong-t0ken")]).expect(401);
    let stderr = service.stderr.clone();
    let log = service.stop_and_read_log();
    for log in [log, stderr.to_the_end()] {
        for secret in
            [SECRET, "an older secret", "t0ken-of-ours", "wrong-t0ken", text, "eyes", &signature, &unused]
        {
            assert!(!log.contains(secret), "{secret:?} is in the log");
        }
    }
}

#[test]
fn no_control_character_reaches_the_log_raw() {
    let service = Service::start();
    let id = "line\nbreak\r\t\u{1b}[31m\0\u{7f}\u{85}\u{9b}\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}\"\\end";
    let answer = service.post(&message(id));
    answer.expect(200);
    assert_eq!(service.logged(&answer)["message_id"], id);
    for path in
        ["/%0a%0d%1b%00", "/%7f%C2%85", "/%E2%80%AEgpj.exe%F3%A0%81%81%E2%80%A8", "/%FF", "/\"quoted\\"]
    {
        let mut client = service.connect();
        client.send(&request("GET", path, &[], None));
        let answer = client.receive();
        service.logged(&answer);
    }
    let log = service.stop_and_read_log();
    for line in log.lines() {
        // What hides, and what turns what follows, is as good as a line end to whoever is to be misled.
        let misleads =
            |c: char| c.is_control() || "\u{2028}\u{202e}\u{2066}\u{200b}\u{feff}\u{e0041}".contains(c);
        assert!(!line.contains(misleads), "{line:?}");
    }
    parse_lines(&log);

    // What a command says goes to the same terminals and the same journal.
    let finished = Setup::new().run(&["check", "no\nsuch\u{1b}[31m\u{202e}file"]);
    assert_eq!(finished.stderr.trim_end().matches(|c: char| c.is_control() || c == '\u{202e}').count(), 0);
    assert!(finished.stderr.contains(r"no\u000asuch\u001b[31m\u202efile"), "{}", finished.stderr);
}

#[test]
fn a_reader_that_stops_reading_stops_nobody() {
    let service = Setup::new().with_stdout_unread().start();
    let mut client = service.connect();
    let dropped = |text: &str| {
        let dropped = text.lines().filter(|line| line.contains("dropped") && !line.starts_with('#'));
        dropped.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>()
    };
    // Long paths fill the pipe and whatever stands behind it sooner.
    let path = format!("/{}", "x".repeat(1000));
    eventually("lines are dropped and counted", || {
        for _ in 0..500 {
            client.get(&path).expect(404);
        }
        (dropped(&client.get("/metrics").text()) > 0.0).then_some(())
    });
    service.store(&message("m1"));
    service.get("/health/ready").expect(200);
    service.stop();
}

#[test]
fn a_reader_that_is_gone_stops_nobody() {
    let mut service = Setup::new().with_stdout_unread().start();
    service.close_stdout();
    for number in 0..50 {
        service.store(&message(&format!("m{number}")));
    }
    service.get("/health/ready").expect(200);
    service.stop();
}
