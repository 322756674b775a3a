//! A message, and the rules that make one (contract, section 2).
//!
//! [`Message::parse`] is the only way to get one, so whoever holds a `Message` holds a valid one.
//! It reports every fault of a body at once.

mod draft;

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use draft::{Draft, Field};

use crate::fault::Fault;
use crate::limits::MAX_TEXT_CHARS;
use crate::timestamp::is_contract_ts;

/// A message that keeps every rule of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    message_id: String,
    from: String,
    to: String,
    ts: String,
    text: Option<String>,
}

/// Why a body is no message.
#[derive(Debug)]
pub struct Rejected {
    /// All that is wrong with it, at least one.
    pub faults: Vec<Fault>,
    /// Its id, where that could be read: for the log.
    pub message_id: Option<String>,
}

impl Message {
    /// Reads a body. Unknown fields are ignored; of a field given twice the last counts.
    pub fn parse(body: &[u8]) -> Result<Self, Rejected> {
        let text = std::str::from_utf8(body)
            .map_err(|error| not_json(error.valid_up_to(), "the body is not UTF-8"))?;
        match serde_json::from_str::<Draft<'_>>(text) {
            Ok(draft) => draft.check().ok_or_else(|| explain(text)),
            Err(_) => Err(explain(text)),
        }
    }

    pub fn message_id(&self) -> &str {
        &self.message_id
    }

    pub fn from(&self) -> &str {
        &self.from
    }

    pub fn to(&self) -> &str {
        &self.to
    }

    pub fn ts(&self) -> &str {
        &self.ts
    }

    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }
}

const FIELDS: [&str; 5] = ["message_id", "from", "to", "ts", "text"];
const MSISDN_PATTERN: &str = r"^\+[0-9]+$";

/// A number as the contract writes it: `+` and digits.
pub fn is_msisdn(text: &str) -> bool {
    text.strip_prefix('+')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn is_short_enough(text: &str) -> bool {
    // A scalar value is at least one byte, so most texts need no counting.
    text.len() <= MAX_TEXT_CHARS || text.chars().count() <= MAX_TEXT_CHARS
}

impl Draft<'_> {
    /// The message, if every rule holds. What does not hold is found out by [`explain`].
    fn check(self) -> Option<Message> {
        Some(Message {
            message_id: self.message_id.valid(|id| !id.is_empty())?,
            from: self.from.valid(is_msisdn)?,
            to: self.to.valid(is_msisdn)?,
            ts: self.ts.valid(is_contract_ts)?,
            text: match self.text {
                Field::Absent | Field::Null => None,
                text => Some(text.valid(is_short_enough)?),
            },
        })
    }
}

/// The same rules once more, field by field, to name each one that is broken. Off the path of valid
/// messages, so it may take its time.
fn explain(text: &str) -> Rejected {
    let json_error = |error: &serde_json::Error| not_json(byte_offset(text, error), &reason(error));
    // Unparsed values: a number that is too large for a float is no string, but it is JSON.
    let fields: BTreeMap<String, &RawValue> = match serde_json::from_str(text) {
        Ok(fields) => fields,
        Err(error) => return not_an_object(text).unwrap_or_else(|| json_error(&error)),
    };
    let mut known = BTreeMap::new();
    for (name, raw) in fields.into_iter().filter(|(name, _)| FIELDS.contains(&name.as_str())) {
        match serde_json::from_str::<Value>(raw.get()) {
            Ok(value) => known.insert(name, value),
            // A string that is none, say half a surrogate pair.
            Err(error) if raw.get().starts_with('"') => return json_error(&error),
            Err(_) => known.insert(name, json!({})),
        };
    }
    broken_rules(&known, &serde_json::from_str(text).unwrap_or_default())
}

fn broken_rules(fields: &BTreeMap<String, Value>, body: &Value) -> Rejected {
    let required = |name: &str, rule: &dyn Fn(&str) -> Option<Fault>| match fields.get(name) {
        None => Some(Fault::new("missing", &["body", name], "Field required").with_input(body)),
        Some(Value::String(text)) => rule(text).map(|fault| fault.with_input(&json!(text))),
        Some(other) => Some(string_type(name, other)),
    };
    let msisdn = |name: &'static str| move |text: &str| (!is_msisdn(text)).then(|| pattern_mismatch(name));
    let faults = [
        required("message_id", &|id| id.is_empty().then(too_short)),
        required("from", &msisdn("from")),
        required("to", &msisdn("to")),
        required("ts", &|ts| (!is_contract_ts(ts)).then(not_a_ts)),
        match fields.get("text") {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => (!is_short_enough(text)).then(too_long),
            Some(other) => Some(string_type("text", other)),
        },
    ];
    let message_id = fields.get("message_id").and_then(Value::as_str).map(str::to_owned);
    Rejected { faults: faults.into_iter().flatten().collect(), message_id }
}

/// The fault of a body that is JSON, but no object. `None` if it is neither.
fn not_an_object(text: &str) -> Option<Rejected> {
    let body: &RawValue = serde_json::from_str(text).ok()?;
    if body.get().starts_with('{') {
        return None;
    }
    let msg = "Input should be a valid dictionary or object to extract fields from";
    let fault = Fault::new("model_attributes_type", &["body"], msg);
    let fault = match serde_json::from_str(text) {
        Ok(value) => fault.with_input(&value),
        Err(_) => fault,
    };
    Some(Rejected { faults: vec![fault], message_id: None })
}

fn not_json(offset: usize, reason: &str) -> Rejected {
    let mut fault =
        Fault::new("json_invalid", &["body"], "JSON decode error").with_ctx(json!({ "error": reason }));
    fault.loc.push(json!(offset));
    fault.input = Some(json!({}));
    Rejected { faults: vec![fault], message_id: None }
}

/// serde_json's message without its "at line 1 column 5": `loc` says where.
fn reason(error: &serde_json::Error) -> String {
    let full = error.to_string();
    full.rsplit_once(" at line ").map_or(full.clone(), |(reason, _)| reason.to_owned())
}

fn byte_offset(text: &str, error: &serde_json::Error) -> usize {
    let (line, column) = (error.line(), error.column());
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column.saturating_sub(1)).min(text.len())
}

fn string_type(name: &str, input: &Value) -> Fault {
    Fault::new("string_type", &["body", name], "Input should be a valid string").with_input(input)
}

fn too_short() -> Fault {
    Fault::new("string_too_short", &["body", "message_id"], "String should have at least 1 character")
        .with_ctx(json!({ "min_length": 1 }))
}

fn too_long() -> Fault {
    let msg = format!("String should have at most {MAX_TEXT_CHARS} characters");
    Fault::new("string_too_long", &["body", "text"], msg).with_ctx(json!({ "max_length": MAX_TEXT_CHARS }))
}

fn pattern_mismatch(name: &str) -> Fault {
    let msg = format!("String should match pattern '{MSISDN_PATTERN}'");
    Fault::new("string_pattern_mismatch", &["body", name], msg).with_ctx(json!({ "pattern": MSISDN_PATTERN }))
}

fn not_a_ts() -> Fault {
    let rule = "ts must be a real UTC time of the form YYYY-MM-DDTHH:MM:SSZ";
    Fault::new("value_error", &["body", "ts"], format!("Value error, {rule}"))
        .with_ctx(json!({ "error": rule }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"message_id":"m1","from":"+919876543210","to":"+14155550100","ts":"2025-01-15T10:00:00Z","text":"Hello"}"#;

    fn kinds(body: &str) -> Vec<(String, &'static str)> {
        let rejected = Message::parse(body.as_bytes()).unwrap_err();
        let field = |fault: &Fault| fault.loc.last().and_then(Value::as_str).unwrap_or("").to_owned();
        rejected.faults.iter().map(|fault| (field(fault), fault.kind)).collect()
    }

    #[test]
    fn a_body_that_keeps_every_rule_is_a_message() {
        let message = Message::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(message.message_id(), "m1");
        assert_eq!(message.text(), Some("Hello"));
        let escaped = GOOD.replace("Hello", r"\ud83d\ude00\u0000");
        assert_eq!(Message::parse(escaped.as_bytes()).unwrap().text(), Some("😀\0"));
    }

    #[test]
    fn text_may_be_absent_or_null_and_unknown_fields_are_ignored() {
        for body in [
            GOOD.replace(r#","text":"Hello""#, ""),
            GOOD.replace(r#""Hello""#, "null"),
            GOOD.replace(r#""text":"Hello""#, r#""from_msisdn":5,"x":{"y":[1e999]}"#),
        ] {
            assert_eq!(Message::parse(body.as_bytes()).unwrap().text(), None, "{body}");
        }
    }

    #[test]
    fn of_a_field_given_twice_the_last_counts() {
        let body = GOOD.replace(r#""message_id":"m1""#, r#""message_id":7,"message_id":"m2""#);
        assert_eq!(Message::parse(body.as_bytes()).unwrap().message_id(), "m2");
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let body = r#"{"message_id":"","from":"9198","ts":"yesterday","text":5}"#;
        assert_eq!(
            kinds(body),
            [
                ("message_id".into(), "string_too_short"),
                ("from".into(), "string_pattern_mismatch"),
                ("to".into(), "missing"),
                ("ts".into(), "value_error"),
                ("text".into(), "string_type"),
            ]
        );
    }

    #[test]
    fn a_body_that_is_not_an_object_of_json_is_refused() {
        assert_eq!(kinds("").first().map(|f| f.1), Some("json_invalid"));
        assert_eq!(kinds("{\"a\":1,}").first().map(|f| f.1), Some("json_invalid"));
        assert_eq!(kinds(&format!("{GOOD} x")).first().map(|f| f.1), Some("json_invalid"));
        assert_eq!(kinds("[1]").first().map(|f| f.1), Some("model_attributes_type"));
        assert_eq!(kinds(&GOOD.replace("Hello", "\\ud800")).first().map(|f| f.1), Some("json_invalid"));
        assert_eq!(kinds("1e999").first().map(|f| f.1), Some("model_attributes_type"));
        assert!(Message::parse(b"\xff{}").is_err());
    }

    #[test]
    fn text_is_measured_in_scalar_values() {
        let with = |text: &str| GOOD.replace("Hello", text);
        assert!(Message::parse(with(&"😀".repeat(4096)).as_bytes()).is_ok());
        assert_eq!(kinds(&with(&"😀".repeat(4097))), [("text".into(), "string_too_long")]);
    }

    #[test]
    fn a_number_that_no_float_can_hold_is_no_string() {
        assert_eq!(kinds(&GOOD.replace("\"Hello\"", "1e999")), [("text".into(), "string_type")]);
    }

    #[test]
    fn a_phone_number_is_a_plus_and_ascii_digits() {
        for bad in ["", "+", "123", "+12a", "+١٢", "++1", " +1", "+1\\n"] {
            let body = GOOD.replace("+919876543210", bad);
            assert_eq!(kinds(&body), [("from".into(), "string_pattern_mismatch")], "{bad:?}");
        }
    }

    #[test]
    fn the_id_of_a_refused_body_is_known_where_it_can_be_read() {
        let rejected = Message::parse(br#"{"message_id":"m9"}"#).unwrap_err();
        assert_eq!(rejected.message_id.as_deref(), Some("m9"));
    }
}
