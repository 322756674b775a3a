//! An item names a person where a structured member holds their number or user id.
//!
//! Free text does not count, nor what a message shows of others: the message that it answers (`context`), the cards that it
//! hands on (`phones`).

use super::digits;
use super::json::{Json, next, skip};

/// Members that hold a person, also as the end of a longer name (`from_user_id`, `recipient_participant_id`).
const MEMBERS: [&str; 8] =
    ["from", "to", "wa_id", "user_id", "recipient_id", "participant_id", "participant", "phone_number"];
/// Ends in `phone_number` as well, and is the number of the business.
const BUSINESS: &str = "display_phone_number";
/// Members that show other people, and are passed over.
const SHOWN: [&str; 2] = ["context", "phones"];

/// Whether an item is of, to or about a person: `+` and digits, or a user id. Of what is no JSON nothing is known.
pub fn names(original: &[u8], person: &str) -> bool {
    let Some(json) = Json::read(original) else {
        return false;
    };
    let text = json.text();
    // How deep the member `threads` of a history stands; the `id` of each of its threads is a person.
    let (mut at, mut depth, mut threads) = (0, 0_usize, None);
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            b'}' | b']' => {
                (at, depth) = (at + 1, depth.saturating_sub(1));
                threads = threads.filter(|threads| depth >= *threads);
            }
            b'"' => {
                let end = skip(text, at);
                let (name, colon) = (&text[at..end], end + blanks(&text[end..]));
                at = end;
                if text.as_bytes().get(colon) != Some(&b':') {
                    continue;
                }
                let (Some(name), Some(value)) = (string(name), next(text, colon)) else {
                    continue;
                };
                // The person of a thread stands in its `context` as well.
                let is_of_thread = threads.is_some_and(|it| depth == it + 2);
                if SHOWN.contains(&&*name) && !is_of_thread {
                    at = skip(text, value);
                    continue;
                }
                if name == "threads" {
                    threads = threads.or(Some(depth));
                }
                let is_person = is_member(&name) || (name == "id" && is_of_thread);
                if is_person && is_same(&text[value..skip_scalar(text, value)], person) {
                    return true;
                }
                at = value;
            }
            _ => at += 1,
        }
    }
    false
}

/// Whether the message of an item is from this person, whatever else they are known by: `from` of a row is one name of
/// several.
pub fn is_sent_by(original: &[u8], person: &str) -> bool {
    let value = Json::read(original).and_then(|change| change.get("value"));
    let first = |array: &str| value.and_then(|value| value.get(array)?.elements().next());
    let names = |element: Option<Json>, members: [&str; 3]| {
        let values = members.iter().filter_map(|member| element?.get(member));
        values.into_iter().any(|value| is_same(value.text(), person))
    };
    names(first("messages"), ["from", "from_user_id", "from_parent_user_id"])
        || names(first("contacts"), ["wa_id", "user_id", "parent_user_id"])
}

fn blanks(text: &str) -> usize {
    text.bytes().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

fn string(json: &str) -> Option<std::borrow::Cow<'_, str>> {
    Json::part(json).string()
}

fn is_member(name: &str) -> bool {
    let is_end =
        |end: &str| name.strip_suffix(end).is_some_and(|begin| begin.is_empty() || begin.ends_with('_'));
    name != BUSINESS && MEMBERS.iter().any(|end| is_end(end))
}

/// An object or an array is looked into, not compared.
fn skip_scalar(text: &str, from: usize) -> usize {
    if text[from..].starts_with(['{', '[']) { from } else { skip(text, from) }
}

fn is_same(value: &str, person: &str) -> bool {
    let Some(value) = Json::part(value).string_or_number() else {
        return false;
    };
    match person.strip_prefix('+') {
        Some(number) => !value.contains(char::is_alphabetic) && digits(&value) == number,
        None => value == person,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_values_of_structured_members_count() {
        for (original, expected) in [
            (r#"{"from":"14155550123"}"#, true),
            (r#"{"a":[{"recipient_id" : "+1 415 555-0123"}]}"#, true),
            (r#"{"contact":{"phone_number":14155550123}}"#, true),
            (r#"{"recipient_participant_id":"14155550123"}"#, true),
            (r#"{"fro\u006d":"\u00314155550123"}"#, true),
            (r#"{"history":[{"threads":[{"id":"14155550123"}]}]}"#, true),
            (r#"{"history":[{"threads":[{"messages":[{"id":"14155550123"}]}]}]}"#, false),
            (r#"{"history":[{"threads":[{"id":"1","context":{"wa_id":"14155550123"}}]}]}"#, true),
            (r#"{"history":[{"threads":[{"messages":[{"context":{"from":"14155550123"}}]}]}]}"#, false),
            (r#"{"threads":[],"id":"14155550123"}"#, false),
            (r#"{"from":"141555501234"}"#, false),
            (r#"{"body":"14155550123","name":"from","id":"14155550123"}"#, false),
            (r#"{"context":{"from":"14155550123"}}"#, false),
            (r#"{"contacts":[{"phones":[{"wa_id":"14155550123"}]}]}"#, false),
            (r#"{"display_phone_number":"14155550123","phone_number_id":"14155550123"}"#, false),
            (r#"{"from":["14155550123"]}"#, false),
            (r#"{"from":"#, false),
        ] {
            assert_eq!(names(original.as_bytes(), "+14155550123"), expected, "{original}");
        }
        assert!(names(br#"{"parent_user_id":"US.ENT.1"}"#, "US.ENT.1"));
        assert!(!names(br#"{"parent_user_id":"US.ENT.11"}"#, "US.ENT.1"));
        assert!(!names("[".repeat(4 << 20).as_bytes(), "+1"));
    }
}
