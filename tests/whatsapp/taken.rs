//! Each sample is taken with its real signature and becomes what `became.md` says.

use std::collections::HashSet;
use std::thread;

use serde_json::{Value, json};

use crate::deliveries::{TOKEN, body, deliver, logged_nothing_of, message, whatsapp};
use crate::fixtures::message_with;
use crate::http_client::encode;
use crate::samples::{Became, Sample, all, became};
use crate::service::Service;

/// As `became.md` writes it, where a long one is cut.
fn shown(text: &Value) -> String {
    let characters = text.as_str().map_or(0, |text| text.chars().count());
    if characters < 1_000 {
        return text.to_string();
    }
    let start: String = text.as_str().unwrap_or_default().chars().take(20).collect();
    format!("\"{start}\"… ({characters} characters)")
}

fn rows(service: &Service) -> Vec<Value> {
    let page = service.get("/messages?original=1&limit=100").expect(200).json();
    page["data"].as_array().expect("a page has rows").clone()
}

fn each_is_a_row_once(sample: &Sample, became: &[Became], rows: &[Value]) {
    let elements = sample.elements();
    let messages: Vec<_> = elements.iter().filter(|element| element.is_message).collect();
    let of_messages: Vec<_> = became.iter().filter(|became| became.kind == "message").collect();
    assert_eq!(messages.len(), of_messages.len(), "{}", sample.name);
    let mut seen = HashSet::new();
    let mut expected: Vec<[String; 5]> = Vec::new();
    for (element, became) in messages.iter().zip(of_messages) {
        let Some([from, to, ts, text]) = became.row.clone() else { continue };
        let id = element.id.clone().expect("a mapped message has an id");
        if seen.insert(id.clone()) {
            expected.push([id, from, to, ts, text]);
        }
    }
    let found = |row: &Value| {
        let [id, from, to, ts] =
            ["message_id", "from", "to", "ts"].map(|name| row[name].as_str().unwrap_or_default().to_owned());
        [id, from, to, ts, shown(&row["text"])]
    };
    let mut found: Vec<_> = rows.iter().map(found).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{}", sample.name);
}

fn is_taken(sample: &Sample, became: &[Became]) {
    let service = whatsapp().start();
    for _ in 0..2 {
        let headers = [("X-Hub-Signature-256", sample.signature.as_str())];
        let answer = service.connect().request("POST", "/whatsapp", &headers, Some(&sample.body));
        assert_eq!(answer.expect(200).json(), json!({"status": "ok"}), "{}", sample.name);
    }
    let rows = rows(&service);
    each_is_a_row_once(sample, became, &rows);
    let database = service.database();
    let mut statement = database.prepare("SELECT original FROM messages_items").expect("SQL");
    let originals: Vec<Vec<u8>> = statement
        .query_map([], |row| row.get(0))
        .expect("SQL")
        .map(|original| original.expect("bytes"))
        .collect();
    // A duplicate in the same body is one item, if its bytes are the same.
    assert!(!originals.is_empty() && originals.len() <= became.len(), "{}", sample.name);
    for element in sample.elements() {
        let is_kept = |original: &Vec<u8>| memchr::memmem::find(original, element.bytes.as_bytes()).is_some();
        assert!(originals.iter().any(is_kept), "{}: {} is lost", sample.name, element.bytes);
    }
    for row in &rows {
        let id = row["message_id"].as_str().expect("an id");
        let original = &row["original"];
        assert_eq!(original["field"], "messages", "{}", sample.name);
        assert_eq!(original["value"]["messages"][0]["id"], id, "{}", sample.name);
    }
    drop(statement);
    drop(database);
    logged_nothing_of(service, [sample.body.as_slice()]);
}

#[test]
fn every_sample_is_taken_kept_whole_and_mapped_as_the_table_says() {
    let (samples, became) = (all(), became());
    assert_eq!(samples.len(), 90);
    thread::scope(|scope| {
        for some in samples.chunks(12) {
            let became = &became;
            scope.spawn(move || some.iter().for_each(|sample| is_taken(sample, &became[&sample.name])));
        }
    });
}

#[test]
fn an_original_is_in_messages_and_feed_where_it_is_asked_for() {
    let service = whatsapp().start();
    service.store(&message_with("m1", &json!({})));
    let sent = body(&[message("wamid.original")]);
    deliver(&service.address, &sent);
    let change = serde_json::from_slice::<Value>(&sent).expect("JSON")["entry"][0]["changes"][0].clone();
    for target in ["/messages?", "/feed?"] {
        for (asked, expected) in [("original=1", Some(&change)), ("", None)] {
            let page = service.get(&format!("{target}{asked}")).expect(200).json();
            let rows = page["data"].as_array().expect("a page has rows");
            let row = |id: &str| rows.iter().find(|row| row["message_id"] == id).expect("the row is there");
            assert_eq!(row("wamid.original").get("original"), expected, "{target}{asked}");
            assert_eq!(row("m1").get("original"), None, "{target}{asked}");
        }
    }
    logged_nothing_of(service, [sent.as_slice()]);
}

#[test]
fn a_handshake_answers_the_challenge_and_leaves_no_token_in_the_log() {
    let service = whatsapp().start();
    for (token, status) in [(TOKEN, 200), ("another-token", 403)] {
        let target = "/whatsapp?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=";
        let answer = service.get(&format!("{target}{}", encode(token)));
        assert_eq!(answer.status, status);
        assert_eq!(answer.text() == "1158201444", status == 200, "{}", answer.text());
    }
    logged_nothing_of(service, []);
}
