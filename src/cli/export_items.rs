//! `export --whatsapp` writes what WhatsApp sent to stdout, a line of JSON for each item.

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serializer as _;
use serde::ser::SerializeMap as _;
use serde_json::value::RawValue;

use super::Failure;
use super::export::write_slices;
use crate::escape::json_on_one_line;
use crate::store::{DatabasePath, ItemExport, StoredItem};

pub(super) fn export(database: &DatabasePath, only_unmapped: bool) -> Result<(), Failure> {
    let mut export = ItemExport::open(database, only_unmapped)?;
    write_slices(
        "items",
        "",
        || export.next_slice(),
        |lines, items| items.iter().try_for_each(|item| write_line(lines, item)),
    )
}

/// The original as JSON; what is no JSON as a string; what is no text in base64.
fn write_line(lines: &mut Vec<u8>, item: &StoredItem) -> io::Result<()> {
    let text = std::str::from_utf8(&item.original).ok();
    let json = text.and_then(|text| RawValue::from_string(json_on_one_line(text)).ok());
    let mut serializer = serde_json::Serializer::new(&mut *lines);
    let mut line = serializer.serialize_map(None)?;
    line.serialize_entry("kind", &item.kind)?;
    line.serialize_entry("id", &item.id)?;
    line.serialize_entry("created_at", &item.created_at)?;
    line.serialize_entry("mapped", &item.is_mapped)?;
    match (json, text) {
        (Some(json), _) => line.serialize_entry("original", &json)?,
        (None, Some(text)) => line.serialize_entry("original_text", text)?,
        (None, None) => line.serialize_entry("original_base64", &BASE64_STANDARD.encode(&item.original))?,
    }
    line.end()?;
    lines.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_original_is_json_text_or_base64_and_always_one_line() {
        let line = |original: &[u8]| {
            let item = StoredItem {
                number: 1,
                kind: "other".to_owned(),
                id: None,
                created_at: "2025".to_owned(),
                is_mapped: Some(false),
                original: original.to_vec(),
            };
            let mut lines = Vec::new();
            write_line(&mut lines, &item).unwrap();
            String::from_utf8(lines).unwrap()
        };
        let begin = r#"{"kind":"other","id":null,"created_at":"2025","mapped":false,"#;
        for (original, expected) in [
            (&b"{\"a\":\r\n1e999}"[..], r#""original":{"a":  1e999}}"#),
            (b"not\njson", r#""original_text":"not\njson"}"#),
            (b"\xff\n", r#""original_base64":"/wo="}"#),
            (b"", r#""original_text":""}"#),
        ] {
            assert_eq!(line(original), format!("{begin}{expected}\n"));
        }
    }
}
