//! A message of the contract is made from an element of `messages[]` and the number that it was sent to.

use super::json::Json;
use super::text::text;
use super::{Mapping, digits};
use crate::message::{Message, MessageFields, is_user_id};
use crate::timestamp::ts_of_unix_seconds;

/// Stands for the number of the business where Meta gives none.
const NO_NUMBER: &str = "0";
/// A timestamp of so many digits is in milliseconds: as seconds it would lie behind the year 9999.
const MILLISECONDS_DIGITS: usize = 13;

/// Maps again what was kept as [`super::Item::original`].
pub fn map_again(original: &[u8]) -> Mapping {
    let Some(change) = Json::read(original) else {
        return Mapping::Unmapped;
    };
    let Some(value) = change.get("value") else {
        return Mapping::Unmapped;
    };
    let is_of_messages = change.get("field").and_then(Json::string).as_deref() == Some("messages");
    match value.get("messages").and_then(|messages| messages.elements().next()) {
        Some(message) if is_of_messages => map(message, value.get("metadata")),
        _ => Mapping::NotAMessage,
    }
}

pub(super) fn map(message: Json, metadata: Option<Json>) -> Mapping {
    parts(message, metadata).and_then(Message::from_parts).map_or(Mapping::Unmapped, Mapping::Message)
}

fn parts(message: Json, metadata: Option<Json>) -> Option<MessageFields> {
    let to = metadata.and_then(|metadata| metadata.get("display_phone_number")?.string_or_number());
    let to = to.map(|number| digits(&number)).filter(|digits| !digits.is_empty());
    Some(MessageFields {
        message_id: message.get("id")?.string()?.into_owned(),
        from: sender(message)?,
        to: format!("+{}", to.as_deref().unwrap_or(NO_NUMBER)),
        ts: ts(&message.get("timestamp")?.string_or_number()?)?,
        text: text(message),
    })
}

/// A number, or the user id of who hides it.
fn sender(message: Json) -> Option<String> {
    let member = |name| message.get(name).and_then(Json::string_or_number);
    let number = member("from").and_then(|from| {
        if is_user_id(&from) {
            return Some(from.into_owned());
        }
        let digits = digits(&from);
        (!digits.is_empty() && !from.contains(char::is_alphabetic)).then(|| format!("+{digits}"))
    });
    number.or_else(|| member("from_user_id").filter(|id| is_user_id(id)).map(|id| id.into_owned()))
}

fn ts(timestamp: &str) -> Option<String> {
    let is_number = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = match timestamp.len() {
        _ if !is_number => return None,
        MILLISECONDS_DIGITS => &timestamp[..MILLISECONDS_DIGITS - 3],
        _ => timestamp,
    };
    ts_of_unix_seconds(seconds.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(message: &str) -> Option<(String, String, String)> {
        let original =
            format!(r#"{{"value":{{"metadata":{{}},"messages":[{message}]}},"field":"messages"}}"#);
        match map_again(original.as_bytes()) {
            Mapping::Message(message) => {
                Some((message.message_id().to_owned(), message.from().to_owned(), message.ts().to_owned()))
            }
            _ => None,
        }
    }

    #[test]
    fn a_sender_is_a_number_or_a_user_id() {
        for (from, expected) in [
            (r#""from":"14155550123""#, Some("+14155550123")),
            (r#""from":14155550123"#, Some("+14155550123")),
            (r#""from":"+1 (415) 555-0123","from_user_id":"US.1""#, Some("+14155550123")),
            (r#""from":"US.ENT.1a""#, Some("US.ENT.1a")),
            (r#""from":"","from_user_id":"US.1""#, Some("US.1")),
            (r#""from":null,"from_user_id":"US.1""#, Some("US.1")),
            (r#""from":"\ud800","from_user_id":"US.1""#, Some("US.1")),
            (r#""from":"bla""#, None),
            (r#""from":"US.""#, None),
            (r#""from":["1"]"#, None),
        ] {
            let row = mapped(&format!(r#"{{"id":"m",{from},"timestamp":"1"}}"#));
            assert_eq!(row.as_ref().map(|row| row.1.as_str()), expected, "{from}");
        }
    }

    #[test]
    fn a_timestamp_is_seconds_or_milliseconds_and_an_id_is_text() {
        for (rest, expected) in [
            (r#""id":"m","timestamp":"1749416383""#, Some("2025-06-08T20:59:43Z")),
            (r#""id":"m","timestamp":1749416383"#, Some("2025-06-08T20:59:43Z")),
            (r#""id":"m","timestamp":"1749416383999""#, Some("2025-06-08T20:59:43Z")),
            (r#""id":"m","timestamp":"253402300799""#, Some("9999-12-31T23:59:59Z")),
            (r#""id":"m","timestamp":"253402300800""#, None),
            (r#""id":"m","timestamp":-1"#, None),
            (r#""id":"m","timestamp":1.5"#, None),
            (r#""id":"m","timestamp":"""#, None),
            (r#""id":"","timestamp":"1""#, None),
            (r#""id":"\ud800","timestamp":"1""#, None),
            (r#""id":1,"timestamp":"1""#, None),
            (r#""timestamp":"1""#, None),
        ] {
            let row = mapped(&format!(r#"{{"from":"1",{rest}}}"#));
            assert_eq!(row.as_ref().map(|row| row.2.as_str()), expected, "{rest}");
        }
        assert_eq!(ts(&"9".repeat(5000)), None);
    }
}
