//! The schema in `scripts/logs.md` is what the source can write, and what is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::fixtures::{eventually, message, message_with, sign};
use crate::output::parse_lines;
use crate::recipes::{project_file, table};
use crate::setup::Setup;

pub(crate) const DOCUMENT: &str = "scripts/logs.md";

/// The level of an event, and the type of each of its fields.
type Event = (String, BTreeMap<String, String>);

fn unquoted(cell: &str) -> String {
    cell.trim_matches('`').to_owned()
}

fn documented_events(heading: &str) -> BTreeMap<String, Event> {
    let field = |part: &str| {
        let (name, kind) = part.trim().split_once(' ').expect("a field has a type");
        (unquoted(name), kind.to_owned())
    };
    let event = |cells: Vec<String>| {
        let fields = cells[2].split(',').filter(|part| part.contains('`')).map(field).collect();
        (unquoted(&cells[0]), (cells[1].clone(), fields))
    };
    table(DOCUMENT, heading).into_iter().map(event).collect()
}

/// Field, types, and whether only lines of webhooks have it.
/// Each with its types, and what it is on: all lines, those of a path, or of a method and a path.
fn documented_request_fields() -> Vec<(String, Vec<String>, String)> {
    let types = |cell: &str| cell.split(", ").map(str::to_owned).collect();
    let field = |cells: Vec<String>| (unquoted(&cells[0]), types(&cells[1]), unquoted(&cells[2]));
    table(DOCUMENT, "## Requests").into_iter().map(field).collect()
}

fn sources(folder: &Path, but: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        if path == but {
            continue;
        }
        if path.is_dir() {
            sources(&path, but, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source is UTF-8");
            found.push(text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned());
        }
    }
}

/// Every event that the source writes: `Line::event(Level::…, "…")` and the fields that are added to it
/// before the block or the paragraph ends.
fn events_of_the_source(folder: &str, but: &str) -> BTreeMap<String, Event> {
    let mut files = Vec::new();
    sources(&project_file(folder), &project_file(but), &mut files);
    let mut events = BTreeMap::new();
    for file in &files {
        for rest in file.split("Line::event(").skip(1) {
            let ends_here = |line: &&str| !line.trim().is_empty() && line.trim() != "}";
            let statement: String =
                rest.lines().take_while(ends_here).flat_map(str::split_whitespace).collect();
            let (level, rest) = statement.split_once(",\"").expect("a level and a literal name");
            let level = level.strip_prefix("Level::").expect("a literal level").to_uppercase();
            let (name, rest) = rest.split_once('"').expect("a name is closed");
            let mut fields = BTreeMap::new();
            for (method, kind) in [
                ("text", "string"),
                ("maybe_text", "string or null"),
                ("number", "integer"),
                ("thousandths", "number"),
                ("boolean", "boolean"),
                ("client", "string"),
            ] {
                for call in rest.split(&format!(".{method}(\"")).skip(1) {
                    let field = call.split('"').next().unwrap_or_default();
                    fields.insert(field.to_owned(), kind.to_owned());
                }
            }
            assert!(
                events.insert(name.to_owned(), (level, fields)).is_none(),
                "{name} is written in two places"
            );
        }
    }
    events
}

#[test]
fn the_documented_events_are_those_that_the_source_writes() {
    for (heading, written) in [
        ("## Events", events_of_the_source("src", "src/follow")),
        ("## What `follow` says", events_of_the_source("src/follow", "")),
    ] {
        let documented = documented_events(heading);
        assert!(written.len() >= 8, "{written:?}");
        for (name, event) in &written {
            assert_eq!(documented.get(name), Some(event), "{name} in {DOCUMENT}");
        }
        let names = |events: &BTreeMap<String, Event>| events.keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(names(&documented), names(&written));
    }
}

/// What a service writes that is kept busy by all sorts of clients, and loses its database for a moment.
pub(crate) fn real_log() -> String {
    let service = Setup::new()
        .with("TRUSTED_PROXIES", "127.0.0.1")
        .with("API_TOKEN", "t0ken")
        .with("WHATSAPP_APP_SECRET", "app")
        .with("WHATSAPP_VERIFY_TOKEN", "told")
        .with("REQUEST_TIMEOUT_SECONDS", "1")
        .start();
    let from = |client: &str| [("X-Forwarded-For", client.to_owned()), ("X-Signature", "00".to_owned())];
    for (client, times) in [("198.51.100.7", 3), ("203.0.113.66", 1)] {
        for _ in 0..times {
            let headers = from(client);
            let headers = [(headers[0].0, headers[0].1.as_str()), (headers[1].0, headers[1].1.as_str())];
            service.post_signed(&headers, b"{}").expect(401);
        }
    }
    for body in ["{}", "no JSON"] {
        let signature = format!("sha256={}", sign("app", body.as_bytes()));
        let headers = [("X-Hub-Signature-256", &*signature)];
        service.connect().request("POST", "/whatsapp", &headers, Some(body.as_bytes())).expect(200);
    }
    service.get("/whatsapp?hub.mode=subscribe&hub.verify_token=told&hub.challenge=1").expect(200);
    service.store(&message("m1"));
    service.store(&message("m1"));
    service.store(&message("m2"));
    service.post(&message_with("m3", &json!({ "ts": "yesterday" }))).expect(422);
    service.post(&json!({})).expect(422);
    service.post_bytes(&[b' '; 65_537]).expect(413);
    service.request("GET", "/nowhere?x=y", &[("X-Request-ID", "my-request")]).expect(404);
    service.get(&format!("/{}", "%01%C3%A9".repeat(600))).expect(404);
    service.get("/messages").expect(401);
    service.request("HEAD", "/stats", &[("Authorization", "Bearer t0ken")]).expect(200);
    let mut nonsense = service.connect();
    nonsense.send(b"nonsense\r\n\r\n");
    nonsense.receive().expect(400);
    let mut slow = service.connect();
    slow.send(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
    slow.receive().expect(408);
    fs::rename(service.path("app.db"), service.path("away.db")).expect("the folder is ours");
    service.post(&message("m4")).expect(503);
    fs::rename(service.path("away.db"), service.path("app.db")).expect("the folder is ours");
    eventually("messages are taken again", || (service.post(&message("m4")).status == 200).then_some(()));
    eventually("the log says so, and who was sent away", || {
        let seen: Vec<_> = service.stdout.json().iter().map(|line| line["event"].clone()).collect();
        (seen.contains(&json!("recovered")) && seen.contains(&json!("connections_closed"))).then_some(())
    });
    service.stop_and_read_log()
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "string" => value.is_string(),
        "null" => value.is_null(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("{other} is no type"),
    }
}

#[test]
fn every_line_that_is_seen_is_as_documented() {
    let (events, requests) = (documented_events("## Events"), documented_request_fields());
    let lines = parse_lines(&real_log());
    let mut seen = BTreeSet::new();
    for line in &lines {
        let mut expected: BTreeMap<&str, Vec<&str>> =
            [("ts", vec!["string"]), ("level", vec!["string"])].into();
        if let Some(name) = line["event"].as_str() {
            seen.insert(name.to_owned());
            let (level, fields) =
                events.get(name).unwrap_or_else(|| panic!("{name} is not documented: {line}"));
            assert_eq!(line["level"], *level, "{line}");
            expected.insert("event", vec!["string"]);
            expected.extend(fields.iter().map(|(name, kind)| (name.as_str(), kind.split(" or ").collect())));
        } else {
            let [method, path] = ["method", "path"].map(|name| line[name].as_str().unwrap_or_default());
            let here = ["all".to_owned(), path.to_owned(), format!("{method} {path}")];
            let fields = requests.iter().filter(|(_, _, on)| here.contains(on));
            expected.extend(
                fields.map(|(name, kinds, _)| (name.as_str(), kinds.iter().map(String::as_str).collect())),
            );
        }
        let line_fields: Vec<_> = line.as_object().expect("a line is an object").keys().collect();
        assert_eq!(
            line_fields.iter().collect::<BTreeSet<_>>().len(),
            expected.len(),
            "{line} has {expected:?}"
        );
        for (name, kinds) in expected {
            let value = line.get(name).unwrap_or_else(|| panic!("no {name}: {line}"));
            assert!(kinds.iter().any(|kind| is_of(kind, value)), "{name} is {kinds:?}: {line}");
        }
    }
    for event in ["start", "stop", "stopped", "degraded", "recovered", "connections_closed"] {
        assert!(seen.contains(event), "{event} was not seen among {seen:?}");
    }
    assert!(lines.iter().any(|line| line["path"].as_str().is_some_and(|path| path.ends_with('…'))));
}
