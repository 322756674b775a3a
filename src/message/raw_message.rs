//! A raw message holds the fields of a body as they stand in it, neither decoded nor judged.
//!
//! Only here is a body read. Names compare after their escapes were read; of a field given twice the last
//! counts, whatever the earlier one held; a field of another name may hold any JSON. What is passed over is
//! read without recursion, so no depth of nesting costs stack.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::validation_error::ValidationError;

/// Some editors and senders put it at the beginning of a text.
pub const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// White space as JSON knows it (RFC 8259, section 2).
const BLANKS: [char; 4] = [' ', '\t', '\n', '\r'];

/// The fields that are asked for, each a piece of JSON.
#[derive(Default)]
pub(super) struct RawMessage<'a> {
    /// All of it.
    pub(super) body: &'a str,
    pub(super) message_id: Option<&'a RawValue>,
    pub(super) from: Option<&'a RawValue>,
    pub(super) to: Option<&'a RawValue>,
    pub(super) ts: Option<&'a RawValue>,
    pub(super) text: Option<&'a RawValue>,
    /// Of an exported message.
    pub(super) created_at: Option<&'a RawValue>,
}

impl<'a> RawMessage<'a> {
    /// Reads a body. It has to be one object of JSON, behind at most one byte order mark.
    pub(super) fn read(body: &'a [u8]) -> Result<Self, ValidationError> {
        let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
        let body = std::str::from_utf8(body).map_err(|error| not_utf8(body, error.valid_up_to()))?;
        let object = body.trim_matches(BLANKS);
        if !object.starts_with('{') {
            let other: &RawValue = serde_json::from_str(body).map_err(|error| not_json(body, &error))?;
            return Err(not_an_object(other.get()));
        }
        let fields: Self = serde_json::from_str(body).map_err(|error| not_json(body, &error))?;
        Ok(Self { body: object, ..fields })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawMessage<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawMessage<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawMessage<'de>, A::Error> {
                let mut fields = RawMessage::default();
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    let field = match &*unescaped(name.get()) {
                        "message_id" => &mut fields.message_id,
                        "from" => &mut fields.from,
                        "to" => &mut fields.to,
                        "ts" => &mut fields.ts,
                        "text" => &mut fields.text,
                        "created_at" => &mut fields.created_at,
                        _ => continue,
                    };
                    *field = Some(value);
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// The name that a string of JSON stands for. Of one that stands for none (half a surrogate pair) nothing,
/// which is no field's name.
fn unescaped(json: &str) -> Cow<'_, str> {
    match json.strip_prefix('"').and_then(|json| json.strip_suffix('"')) {
        Some(plain) if !plain.contains('\\') => Cow::Borrowed(plain),
        _ => Cow::Owned(serde_json::from_str(json).unwrap_or_default()),
    }
}

fn not_an_object(json: &str) -> ValidationError {
    let msg = "Input should be a valid dictionary or object to extract fields from";
    ValidationError::new("model_attributes_type", &["body"], msg).with_input(json)
}

fn not_utf8(body: &[u8], valid_up_to: usize) -> ValidationError {
    let before = String::from_utf8_lossy(&body[..valid_up_to]);
    ValidationError::json_invalid(before.chars().count(), "the body is not UTF-8")
}

fn not_json(body: &str, error: &serde_json::Error) -> ValidationError {
    // Without its "at line 1 column 5": `loc` says where.
    let full = error.to_string();
    let reason = full.rsplit_once(" at line ").map_or(full.as_str(), |(reason, _)| reason);
    let lines = body.split_inclusive('\n').take(error.line().saturating_sub(1));
    let read = lines.map(str::len).sum::<usize>() + error.column();
    let right = if error.is_eof() {
        body.len()
    } else if reason.starts_with("control character") {
        // serde_json stops before it.
        read
    } else {
        read.saturating_sub(1)
    };
    let before = body.char_indices().take_while(|(at, character)| at + character.len_utf8() <= right);
    ValidationError::json_invalid(before.count(), reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &[u8]) -> String {
        RawMessage::read(body).err().map_or_else(String::new, |error| {
            format!("{} {}", error.kind, serde_json::to_string(&error.loc).unwrap())
        })
    }

    #[test]
    fn names_are_compared_as_what_they_stand_for_and_the_last_counts() {
        let read = |body: &'static str| {
            let fields = RawMessage::read(body.as_bytes()).ok().unwrap();
            (fields.to.map(RawValue::get), fields.text.map(RawValue::get))
        };
        assert_eq!(read(r#"{"to":1,"\u0074o" : [2] ,"text":null}"#), (Some("[2]"), Some("null")));
        assert_eq!(read(r#"{"to":"\ud800","to":1e999,"\ud800":1,"":2,"To":3}"#), (Some("1e999"), None));
        let reserved =
            r#"{"$serde_json::private::RawValue":"1","$serde_json::private::Number":"1","to":"a"}"#;
        assert_eq!(read(reserved), (Some("\"a\""), None));
    }

    #[test]
    fn one_byte_order_mark_is_passed_over() {
        assert_eq!(refused("\u{feff} {}".as_bytes()), "");
        assert_eq!(refused("\u{feff}\u{feff}{}".as_bytes()), "json_invalid [\"body\",0]");
        assert_eq!(refused("{\u{feff}}".as_bytes()), "json_invalid [\"body\",1]");
    }

    // As FastAPI gives them; it only counts a string without an end from its beginning, and has no 422 for
    // what is not UTF-8.
    #[test]
    fn the_place_of_an_error_is_counted_in_characters_from_the_beginning() {
        let cases: [(&[u8], usize); 14] = [
            (b"", 0),
            (b"{\"a\":1,}", 7),
            (b"\xef\xbb\xbf{\"a\":1,}", 7),
            ("{\"a\":1\n,\né}".as_bytes(), 9),
            ("{\"é😀\":x}".as_bytes(), 6),
            (b"{\"a\":01}", 6),
            (b"{\"a\":1", 6),
            ("\r\n {\"é\":[".as_bytes(), 9),
            (b"{} {}", 3),
            (b"{\"a\":\"b\nc\"}", 7),
            (b"{\"a\":\"\n\n\"}", 6),
            (b"{'a':1}", 1),
            ("{\"é\":\"".as_bytes(), 6),
            (b"{\"\xc3\xa9\":\"\xff\"}", 6),
        ];
        for (body, offset) in cases {
            let expected = format!("json_invalid [\"body\",{offset}]");
            assert_eq!(refused(body), expected, "{:?}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn what_is_no_object_is_refused_as_a_whole_and_only_if_it_is_json() {
        for body in ["[1]", "1e999", " null ", "\"\\ud800\""] {
            assert_eq!(refused(body.as_bytes()), "model_attributes_type [\"body\"]", "{body}");
        }
        for body in ["[1", "nul", "\"", "+1", "[1] x", "\u{a0}{}"] {
            assert!(refused(body.as_bytes()).starts_with("json_invalid"), "{body}");
        }
    }

    #[test]
    fn no_depth_is_too_deep() {
        let deep = 1 << 20;
        let body = format!(r#"{{"x":{}{},"to":1}}"#, "[".repeat(deep), "]".repeat(deep));
        assert_eq!(refused(body.as_bytes()), "");
        assert_eq!(refused(&body.as_bytes()[..deep]), format!("json_invalid [\"body\",{deep}]"));
        assert_eq!(refused("[".repeat(deep).as_bytes()), format!("json_invalid [\"body\",{deep}]"));
        assert_eq!(
            refused("{\"a\":".repeat(deep).as_bytes()),
            format!("json_invalid [\"body\",{}]", 5 * deep)
        );
    }
}
