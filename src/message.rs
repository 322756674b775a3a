//! A message is what a body holds that keeps every rule of the contract (section 2).
//!
//! A [`Message`] is made in two ways, neither of which passes a rule by: of a body by [`RawMessage::validate`],
//! which names everything that is wrong with it, and of parts that were read elsewhere by [`Message::from_parts`],
//! which names nothing.

#[cfg(test)]
mod generated;
mod raw_message;
mod rules;

use serde_json::value::RawValue;

pub use raw_message::BYTE_ORDER_MARK;
use raw_message::RawMessage;
use rules::{
    Rule, check_instant, check_length, check_not_empty, check_number, check_sender, check_ts, is_msisdn,
};
pub use rules::{is_sender, is_user_id};

use crate::limits::MAX_TEXT_CHARS;
use crate::timestamp::is_contract_ts;
use crate::validation_error::ValidationError;

/// A message that keeps every rule of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    message_id: String,
    from: String,
    to: String,
    ts: String,
    text: Option<String>,
}

/// What a message is made of by [`Message::from_parts`].
pub struct MessageFields {
    pub message_id: String,
    pub from: String,
    pub to: String,
    pub ts: String,
    pub text: Option<String>,
}

/// Why a body is no message.
#[derive(Debug)]
pub struct Rejected {
    /// All that is wrong with it, at least one.
    pub errors: Vec<ValidationError>,
    /// Its id, where that could be read: for the log.
    pub message_id: Option<String>,
}

impl Message {
    /// Reads a body. Unknown fields are ignored; of a field given twice the last counts.
    pub fn parse(body: &[u8]) -> Result<Self, Rejected> {
        RawMessage::read(body)?.validate(check_number)
    }

    /// Makes a message of what was read elsewhere. A text is cut at the contract's length; `None` where another part
    /// breaks its rule. The sender may be a user id, which stands for a number that is hidden.
    pub fn from_parts(parts: MessageFields) -> Option<Self> {
        let MessageFields { message_id, from, to, ts, mut text } = parts;
        let is_message = !message_id.is_empty() && is_sender(&from) && is_msisdn(&to) && is_contract_ts(&ts);
        if let Some(text) = &mut text
            && let Some((end, _)) = text.char_indices().nth(MAX_TEXT_CHARS)
        {
            text.truncate(end);
            text.shrink_to_fit();
        }
        is_message.then_some(Self { message_id, from, to, ts, text })
    }

    /// Reads a message as it is exported: with the time at which it was stored, where that is known, and the user id of
    /// a sender who hides their number.
    pub fn parse_exported(line: &[u8]) -> Result<(Self, Option<String>), Rejected> {
        let raw = RawMessage::read(line)?;
        match (raw.validate(check_sender), optional("created_at", raw.created_at, check_instant)) {
            (Ok(message), Ok(created_at)) => Ok((message, created_at)),
            (Ok(message), Err(error)) => {
                Err(Rejected { errors: vec![error], message_id: Some(message.message_id) })
            }
            (Err(mut rejected), created_at) => {
                rejected.errors.extend(created_at.err());
                Err(rejected)
            }
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

impl From<ValidationError> for Rejected {
    fn from(error: ValidationError) -> Self {
        Self { errors: vec![error], message_id: None }
    }
}

impl RawMessage<'_> {
    fn validate(&self, sender: Rule) -> Result<Message, Rejected> {
        let message_id = self.required("message_id", self.message_id, check_not_empty);
        let from = self.required("from", self.from, sender);
        let to = self.required("to", self.to, check_number);
        let ts = self.required("ts", self.ts, check_ts);
        let text = optional("text", self.text, check_length);
        match (message_id, from, to, ts, text) {
            (Ok(message_id), Ok(from), Ok(to), Ok(ts), Ok(text)) => {
                Ok(Message { message_id, from, to, ts, text })
            }
            (message_id, from, to, ts, text) => {
                let (message_id, id_error) = apart(message_id);
                let errors = [id_error, from.err(), to.err(), ts.err(), text.err()];
                Err(Rejected { errors: errors.into_iter().flatten().collect(), message_id })
            }
        }
    }

    fn required(&self, field: &str, json: Option<&RawValue>, rule: Rule) -> Result<String, ValidationError> {
        match json {
            Some(json) => string(field, json, rule),
            None => {
                Err(ValidationError::new("missing", &["body", field], "Field required").with_input(self.body))
            }
        }
    }
}

fn apart<T, E>(result: Result<T, E>) -> (Option<T>, Option<E>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error)),
    }
}

fn optional(field: &str, json: Option<&RawValue>, rule: Rule) -> Result<Option<String>, ValidationError> {
    json.filter(|json| json.get() != "null").map(|json| string(field, json, rule)).transpose()
}

fn string(field: &str, json: &RawValue, rule: Rule) -> Result<String, ValidationError> {
    let error = |kind, msg: &str| ValidationError::new(kind, &["body", field], msg);
    let result = if !json.get().starts_with('"') {
        Err(error("string_type", "Input should be a valid string"))
    } else if let Ok(text) = serde_json::from_str::<String>(json.get()) {
        rule(&text, &["body", field]).map_or(Ok(text), Err)
    } else {
        // Half a surrogate pair, the one thing that is a string to JSON and no text.
        let msg = "Input should be a valid string, unable to parse raw data as a unicode string";
        Err(error("string_unicode", msg))
    };
    result.map_err(|error| error.with_input(json.get()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const GOOD: &str = r#"{"message_id":"m1","from":"+919876543210","to":"+14155550100","ts":"2025-01-15T10:00:00Z","text":"Hello"}"#;

    fn kinds(body: &str) -> Vec<(String, &'static str)> {
        let rejected = Message::parse(body.as_bytes()).unwrap_err();
        let field =
            |error: &ValidationError| error.loc[1..].first().and_then(Value::as_str).unwrap_or("").to_owned();
        rejected.errors.iter().map(|error| (field(error), error.kind)).collect()
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
    fn a_user_id_is_a_sender_where_it_was_exported_and_not_in_a_body() {
        for from in ["US.13491208655302741918", "US.ENT.1a"] {
            let line = GOOD.replace("+919876543210", from);
            assert_eq!(Message::parse_exported(line.as_bytes()).unwrap().0.from(), from);
            assert_eq!(kinds(&line), [("from".to_owned(), "string_pattern_mismatch")]);
        }
        for from in ["US.", "us.1", "USA.1", "US1", "US.1-", "é.1"] {
            assert!(
                Message::parse_exported(GOOD.replace("+919876543210", from).as_bytes()).is_err(),
                "{from}"
            );
        }
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
        assert_eq!(kinds("1e999").first().map(|f| f.1), Some("model_attributes_type"));
        assert!(Message::parse(b"\xff{}").is_err());
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text_and_hides_no_other_error() {
        let body = GOOD.replace("Hello", r"\ud800").replace("+14155550100", "");
        let expected = [("to".into(), "string_pattern_mismatch"), ("text".into(), "string_unicode")];
        assert_eq!(kinds(&body), expected);
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

    #[test]
    fn an_exported_message_has_the_time_at_which_it_was_stored_or_none() {
        let parse = |fields: &str| Message::parse_exported(GOOD.replace('}', fields).as_bytes());
        let time = "2025-01-15T10:00:01.123Z";
        let (message, created_at) = parse(&format!(r#","created_at":"{time}"}}"#)).unwrap();
        assert_eq!((message.message_id(), created_at.as_deref()), ("m1", Some(time)));
        for unknown in ["}", r#","created_at":null}"#, r#","created_at":5,"created_at":null}"#] {
            assert_eq!(parse(unknown).unwrap().1, None);
        }
        for bad in [r#","created_at":5}"#, r#","created_at":"soon"}"#, r#","to":"","created_at":"soon"}"#] {
            let rejected = parse(bad).unwrap_err();
            assert_eq!(
                rejected.errors.last().map(|error| &error.loc[1]),
                Some(&json!("created_at")),
                "{bad}"
            );
        }
    }
}
