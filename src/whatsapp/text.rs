//! The text of a message is what a person would read first of it (contract, section 14).

use super::json::Json;

/// What is looked for where `type` names nothing known.
const KNOWN: [&str; 15] = [
    "text",
    "button",
    "interactive",
    "image",
    "video",
    "audio",
    "voice",
    "document",
    "sticker",
    "location",
    "contacts",
    "reaction",
    "order",
    "system",
    "edit",
];

/// `None` where a message has no text, or is of an unknown kind.
pub(super) fn text(message: Json) -> Option<String> {
    match content(message)? {
        // An edit holds the new message. An edit of an edit has no text.
        ("edit", edit) => match content(edit.get("message")?)? {
            ("edit", _) => None,
            (kind, value) => text_of(kind, value),
        },
        (kind, value) => text_of(kind, value),
    }
}

/// The member that `type` names where it is there, otherwise the first known one.
fn content<'a>(message: Json<'a>) -> Option<(&'static str, Json<'a>)> {
    let mut found = [None; KNOWN.len()];
    let mut named = None;
    for member in message.members() {
        if let Some(at) = KNOWN.iter().position(|known| *known == member.name) {
            found[at] = Some(member.value);
        } else if member.name == "type" {
            named = member.value.string();
        }
    }
    let by_type =
        KNOWN.iter().position(|known| named.as_deref() == Some(known)).filter(|at| found[*at].is_some());
    let at = by_type.or_else(|| found.iter().position(Option::is_some))?;
    Some((KNOWN[at], found[at]?))
}

fn text_of(kind: &str, value: Json) -> Option<String> {
    match kind {
        "text" | "system" => string(value, "body"),
        "button" | "order" => string(value, "text"),
        "interactive" => interactive(value),
        "location" => location(value),
        "contacts" => {
            Some(value.elements().map(contact).collect::<Vec<_>>().join("\n")).filter(|text| !text.is_empty())
        }
        // One that was taken back has none, or an empty one.
        "reaction" => string(value, "emoji"),
        _ => string(value, "caption").or_else(|| string(value, "filename")),
    }
}

fn string(object: Json, name: &str) -> Option<String> {
    object.get(name)?.lossy_string()
}

fn interactive(value: Json) -> Option<String> {
    let replies = || value.members().map(|member| member.value);
    let title = replies().find_map(|reply| string(reply, "title"));
    title.or_else(|| replies().find_map(|reply| string(reply, "response_json")))
}

fn location(value: Json) -> Option<String> {
    let (latitude, longitude) = (value.get("latitude")?, value.get("longitude")?);
    let place = format!("geo:{},{}", latitude.string_or_number()?, longitude.string_or_number()?);
    let lines = [string(value, "name"), string(value, "address")];
    Some(lines.into_iter().flatten().fold(place, |text, line| text + "\n" + &line))
}

/// Name and numbers.
fn contact(contact: Json) -> String {
    let name = contact
        .get("name")
        .and_then(|name| string(name, "formatted_name").or_else(|| string(name, "first_name")));
    let numbers = contact.get("phones").into_iter().flat_map(Json::elements);
    let numbers: Vec<_> =
        numbers.filter_map(|phone| string(phone, "phone").or_else(|| string(phone, "wa_id"))).collect();
    let numbers = Some(numbers.join(", ")).filter(|numbers| !numbers.is_empty());
    [name, numbers].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_text() {
        for (message, expected) in [
            (r#"{"type":"text","text":{"body":"a"}}"#, Some("a")),
            (r#"{"type":"hologram","text":{"body":"a"}}"#, Some("a")),
            (r#"{"type":"image","text":{"body":"a"},"image":{"caption":"b"}}"#, Some("b")),
            (r#"{"type":"document","document":{"filename":"c"}}"#, Some("c")),
            (r#"{"type":"audio","audio":{"id":"1"}}"#, None),
            (r#"{"type":"button","button":{"payload":"x","text":"d"}}"#, Some("d")),
            (
                r#"{"type":"interactive","interactive":{"type":"list_reply","list_reply":{"title":"e"}}}"#,
                Some("e"),
            ),
            (r#"{"type":"interactive","interactive":{"nfm_reply":{"response_json":"{}"}}}"#, Some("{}")),
            (
                r#"{"type":"location","location":{"latitude":1.50,"longitude":-2,"name":"n"}}"#,
                Some("geo:1.50,-2\nn"),
            ),
            (r#"{"type":"reaction","reaction":{"emoji":""}}"#, Some("")),
            (r#"{"type":"reaction","reaction":{}}"#, None),
            (r#"{"type":"order","order":{"text":"f"}}"#, Some("f")),
            (r#"{"type":"system","system":{"body":"g"}}"#, Some("g")),
            (r#"{"type":"edit","edit":{"message":{"type":"text","text":{"body":"h"}}}}"#, Some("h")),
            (r#"{"type":"edit","edit":{"message":{"type":"edit","edit":{"message":{}}}}}"#, None),
            (r#"{"type":7,"text":[{"body":"x"}]}"#, None),
            ("[]", None),
        ] {
            assert_eq!(text(Json::read(message.as_bytes()).unwrap()).as_deref(), expected, "{message}");
        }
        let contacts = r#"{"contacts":[{"name":{"formatted_name":"A"},"phones":[{"phone":"1"},{"wa_id":"2"}]},{"name":{"first_name":"B"}}]}"#;
        assert_eq!(text(Json::read(contacts.as_bytes()).unwrap()).as_deref(), Some("A 1, 2\nB"));
    }
}
