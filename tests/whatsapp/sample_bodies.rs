//! Real bodies: each is taken, all of each is kept, and what can be is a message.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::service::Service;
use crate::{post, start};

fn samples() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/whatsapp/samples");
    let files =
        fs::read_dir(folder).expect("the samples are there").map(|entry| entry.expect("it is read").path());
    let bodies = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    bodies.map(|path| (path.display().to_string(), fs::read(&path).expect("it is read"))).collect()
}

/// Values of the changes of a body that is as Meta documents it.
fn changes(body: &Value) -> impl Iterator<Item = &Value> {
    let entries = body["entry"].as_array().into_iter().flatten();
    entries.flat_map(|entry| entry["changes"].as_array().into_iter().flatten())
}

fn originals(service: &Service) -> Vec<Value> {
    let database = service.database();
    let mut query = database.prepare("SELECT original FROM messages_items").expect("the table is there");
    let rows = query.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("it is asked");
    rows.map(|row| serde_json::from_slice(&row.expect("a row")).expect("the samples are JSON")).collect()
}

#[test]
fn every_sample_is_taken_and_taken_again_and_every_element_of_it_is_kept() {
    let service = start();
    let samples = samples();
    assert_eq!(samples.len(), 90);
    for (name, body) in &samples {
        assert_eq!(post(&service, body).status, 200, "{name}");
    }
    let kept = originals(&service);
    for body in samples.values() {
        assert_eq!(post(&service, body).status, 200);
    }
    assert_eq!(originals(&service), kept);

    let mut held = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for change in &kept {
        for (array, elements) in change["value"].as_object().into_iter().flatten() {
            for element in elements.as_array().into_iter().flatten() {
                held.insert((change["field"].to_string(), array.clone(), element.to_string()));
            }
        }
    }
    for (name, body) in &samples {
        let body: Value = serde_json::from_slice(body).expect("the samples are JSON");
        for change in changes(&body) {
            for (array, elements) in change["value"].as_object().into_iter().flatten() {
                for element in elements.as_array().into_iter().flatten().filter(|_| array != "contacts") {
                    let key = (change["field"].to_string(), array.clone(), element.to_string());
                    assert!(held.contains(&key), "{name}: {array} lost {element}");
                }
            }
            for message in change["value"]["messages"].as_array().into_iter().flatten() {
                let has_time = message["timestamp"].as_str().is_some_and(|text| text.parse::<u64>().is_ok());
                let has_sender = message["from"].is_string() || message["from_user_id"].is_string();
                if change["field"] == "messages" && has_time && has_sender {
                    ids.insert(message["id"].as_str().expect("it has an id").to_owned());
                }
            }
        }
    }
    let database = service.database();
    let mut query = database.prepare("SELECT message_id FROM messages").expect("the table is there");
    let rows: BTreeSet<String> =
        query.query_map([], |row| row.get(0)).expect("it is asked").map(|row| row.expect("a row")).collect();
    assert_eq!(rows, ids);

    drop(query);
    drop(database);
    let log = service.stop_and_read_log();
    for secret in ids.iter().map(String::as_str).chain(["14155550123", "wamid.", "Taj Mahal", "a token"]) {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
