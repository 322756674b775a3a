//! A batch is the messages that are handed on together, in the order of the feed.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::escape::json_on_one_line;

/// A message of the feed, or of a file of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedMessage {
    pub id: String,
    /// Where to go on behind it. Empty where a file does not say, as what `export` has written.
    pub cursor: String,
    /// When it was stored, as the service has it.
    pub created_at: Option<String>,
    /// As it came, on one line.
    pub json: String,
}

impl FeedMessage {
    /// From one object of JSON that has a `message_id`.
    pub fn parse(json: &str) -> Result<Self, String> {
        let fields: BTreeMap<String, &RawValue> =
            serde_json::from_str(json).map_err(|error| format!("it is no object of JSON: {error}"))?;
        let text = |name: &str| {
            fields
                .get(name)
                .and_then(|value| serde_json::from_str::<Option<String>>(value.get()).ok().flatten())
        };
        let id = text("message_id").filter(|id| !id.is_empty()).ok_or("it has no message_id")?;
        let cursor = text("cursor").unwrap_or_default();
        Ok(Self { id, cursor, created_at: text("created_at"), json: json_on_one_line(json.trim()) })
    }
}

/// At least one message.
#[derive(Clone, Copy)]
pub struct MessageBatch<'a> {
    pub first: &'a FeedMessage,
    pub last: &'a FeedMessage,
    pub messages: &'a [FeedMessage],
}

impl<'a> MessageBatch<'a> {
    /// `None` of no message.
    pub fn of(messages: &'a [FeedMessage]) -> Option<Self> {
        Some(Self { first: messages.first()?, last: messages.last()?, messages })
    }

    /// One object of JSON on each line.
    pub fn ndjson(&self) -> Vec<u8> {
        let mut lines = Vec::with_capacity(self.messages.iter().map(|message| message.json.len() + 1).sum());
        for message in self.messages {
            lines.extend_from_slice(message.json.as_bytes());
            lines.push(b'\n');
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_kept_as_it_came_on_one_line() {
        let message = FeedMessage::parse(
            "{\"message_id\": \"m\\u0031\",\r\n \"text\":\"a\\nb\\u2028\",\"cursor\":\"c\",\"created_at\":null}\n",
        );
        let message = message.unwrap();
        assert_eq!((&*message.id, &*message.cursor, &message.created_at), ("m1", "c", &None));
        assert!(!message.json.contains('\n') && message.json.contains(r#""text":"a\nb\u2028""#));
        let exported =
            FeedMessage::parse(r#"{"message_id":"m2","created_at":"2025-01-15T10:00:00Z"}"#).unwrap();
        assert_eq!((&*exported.cursor, exported.created_at.as_deref()), ("", Some("2025-01-15T10:00:00Z")));
    }

    #[test]
    fn what_is_no_message_is_said_to_be_none() {
        for (text, why) in [
            ("", "no object"),
            ("[]", "no object"),
            (r#"{"message_id":"m"#, "no object"),
            ("{}", "no message_id"),
            (r#"{"message_id":1}"#, "no message_id"),
            (r#"{"message_id":""}"#, "no message_id"),
        ] {
            let said = FeedMessage::parse(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn a_batch_is_a_line_for_each_message() {
        let messages =
            ["1", "2"].map(|id| FeedMessage::parse(&format!(r#"{{"message_id":"{id}"}}"#)).unwrap());
        let batch = MessageBatch::of(&messages).unwrap();
        assert_eq!(batch.ndjson(), b"{\"message_id\":\"1\"}\n{\"message_id\":\"2\"}\n");
        assert_eq!((&*batch.first.id, &*batch.last.id), ("1", "2"));
        assert!(MessageBatch::of(&[]).is_none());
    }
}
