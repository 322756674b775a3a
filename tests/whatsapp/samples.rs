//! The samples are bodies as they came on the wire, with their signatures and what each of their elements became.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_json::value::RawValue;

pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) body: Vec<u8>,
    pub(crate) signature: String,
}

/// An element of an array of a change, as it stands in the body.
pub(crate) struct Element {
    pub(crate) is_message: bool,
    pub(crate) id: Option<String>,
    pub(crate) bytes: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/whatsapp")
}

pub(crate) fn all() -> Vec<Sample> {
    let signatures = fs::read_to_string(folder().join("samples/SIGNATURES.txt")).expect("it is there");
    let lines = signatures.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let sample = |line: &str| {
        let (file, signature) = line.split_once(' ').expect("a file and its signature");
        Sample {
            name: file.trim_end_matches(".json").to_owned(),
            body: fs::read(folder().join("samples").join(file)).expect("a sample for each signature"),
            signature: signature.to_owned(),
        }
    };
    lines.map(sample).collect()
}

type Object<'a> = HashMap<String, &'a RawValue>;

fn object(text: &str) -> Object<'_> {
    serde_json::from_str(text).unwrap_or_default()
}

fn array(text: Option<&&RawValue>) -> Vec<String> {
    let elements: Vec<&RawValue> =
        text.and_then(|text| serde_json::from_str(text.get()).ok()).unwrap_or_default();
    elements.into_iter().map(|element| element.get().to_owned()).collect()
}

impl Sample {
    /// In the order of the body, `contacts` apart.
    pub(crate) fn elements(&self) -> Vec<Element> {
        let body = std::str::from_utf8(&self.body).expect("the samples are text");
        let mut found = Vec::new();
        for entry in array(object(body).get("entry")) {
            for change in array(object(&entry).get("changes")) {
                let change = object(&change);
                let field = change.get("field").map(|field| field.get());
                let value = change.get("value").map_or("", |value| value.get());
                for (name, elements) in object(value).iter().filter(|(name, _)| *name != "contacts") {
                    found.extend(array(Some(elements)).into_iter().map(|bytes| {
                        Element {
                            is_message: field == Some("\"messages\"") && name == "messages",
                            id: serde_json::from_str::<Value>(&bytes)
                                .ok()
                                .and_then(|element| element["id"].as_str().map(str::to_owned)),
                            bytes,
                        }
                    }));
                }
            }
        }
        found
    }
}

/// A line of `became.md`.
pub(crate) struct Became {
    pub(crate) kind: String,
    /// From, to, timestamp, text: as it is written there, of a mapped message.
    pub(crate) row: Option<[String; 4]>,
}

pub(crate) fn became() -> HashMap<String, Vec<Became>> {
    let table = fs::read_to_string(folder().join("became.md")).expect("it is there");
    let mut samples: HashMap<String, Vec<Became>> = HashMap::new();
    for line in table.lines().skip(4) {
        let cells: Vec<&str> = line.trim_matches('|').splitn(7, '|').map(str::trim).collect();
        let (text, mapping) = cells[6].rsplit_once('|').expect("the mapping comes last");
        let row = (mapping.trim() == "mapped")
            .then(|| [cells[3], cells[4], cells[5], text.trim()].map(str::to_owned));
        let became = Became { kind: cells[1].to_owned(), row };
        samples.entry(cells[0].to_owned()).or_default().push(became);
    }
    samples
}

/// What of a body no log may hold: ids, numbers, names, texts.
pub(crate) fn private(body: &[u8]) -> Vec<String> {
    fn collect(value: &Value, name: &str, found: &mut Vec<String>) {
        const PRIVATE: [&str; 13] = [
            "id",
            "from",
            "from_user_id",
            "to",
            "wa_id",
            "user_id",
            "recipient_id",
            "recipient_user_id",
            "body",
            "name",
            "caption",
            "display_phone_number",
            "phone_number_id",
        ];
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| collect(value, name, found)),
            Value::Array(elements) => elements.iter().for_each(|value| collect(value, name, found)),
            Value::String(text) if PRIVATE.contains(&name) && text.len() >= 8 => found.push(text.clone()),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(&serde_json::from_slice(body).unwrap_or_default(), "", &mut found);
    found
}
