//! Generated bodies compare the reader of messages with an oracle that knows what each was made of.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Message, Rejected};

const BODIES: u32 = 100_000;
const DAMAGED: u32 = 30_000;

/// xorshift64*: the same bodies at every run.
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    fn one_of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// A field's value and what is said of it: nothing, or the type of the error.
type Judged = (String, Option<&'static str>);

/// JSON that is no string.
const OTHERS: [&str; 14] = [
    "5",
    "-0.0",
    "1e999",
    "-1E+999",
    "123456789012345678901234567890",
    "true",
    "[]",
    r#"["\ud800",1e999]"#,
    "{}",
    r#"{"$serde_json::private::RawValue":5}"#,
    r#"{"$serde_json::private::Number":"x"}"#,
    r#"{"message_id":"","message_id":"\udc00"}"#,
    "[[[[{\"a\":[null]}]]]]",
    "1.5e-7",
];
/// Strings that stand for no text.
const HALVES: [&str; 5] =
    [r#""\ud800""#, r#""\udc00""#, r#""a\ud83d""#, r#""\ud83d\ud83d\ude00""#, r#""\ude00\ud83d""#];

fn value(random: &mut Xorshift, field: &str) -> Judged {
    match random.below(12) {
        0 => {
            let error = (field != "text").then_some("string_type");
            return ("null".to_owned(), error);
        }
        1 => return (random.one_of(&OTHERS).to_owned(), Some("string_type")),
        2 => return (random.one_of(&HALVES).to_owned(), Some("string_unicode")),
        _ => {}
    }
    let is_good = random.below(4) > 0;
    let (good, bad, error): (&[&str], &[&str], _) = match field {
        "message_id" => (&["m1", " ", "\0", "é😀", "\u{feff}", "\\", "\""], &[""], "string_too_short"),
        "from" | "to" => (
            &["+1", "+919876543210", "+0"],
            &["", "+", "1", "+1 ", "+\u{661}", "++1"],
            "string_pattern_mismatch",
        ),
        "ts" => (
            &["2025-01-15T10:00:00Z", "2024-02-29T23:59:59.123456789Z", "0001-01-01T00:00:00.0Z"],
            &[
                "",
                "2025-02-29T10:00:00Z",
                "2025-01-15T10:00:60Z",
                "0000-01-01T00:00:00Z",
                "2025-01-15T10:00:00+00:00",
            ],
            "value_error",
        ),
        _ => {
            let text = random.one_of(&["", "Hello", "😀", "\u{2028}\0\u{7f}", "{\"text\":null}"]);
            // Few: they are long.
            let is_long = random.below(200) == 0;
            let repeated = if is_long { 4097 } else { 1 };
            let error = (is_long && !text.is_empty()).then_some("string_too_long");
            return (spelled(random, &text.repeat(repeated)), error);
        }
    };
    let text = random.one_of(if is_good { good } else { bad });
    (spelled(random, text), (!is_good).then_some(error))
}

/// A text as a string of JSON; a few of its characters are escaped where they need not be.
fn spelled(random: &mut Xorshift, text: &str) -> String {
    if text.len() > 64 {
        return serde_json::to_string(text).unwrap();
    }
    let mut json = String::from("\"");
    for character in text.chars() {
        let must = character < ' ' || character == '"' || character == '\\';
        if must || random.below(8) == 0 {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let digits = format!("\\u{unit:04x}");
                json += &if random.below(2) == 0 { digits } else { digits.to_uppercase().replace('U', "u") };
            }
        } else {
            json.push(character);
        }
    }
    json + "\""
}

const FIELDS: [&str; 5] = ["message_id", "from", "to", "ts", "text"];
const UNKNOWN: [&str; 9] = [
    r#""""#,
    r#""Text""#,
    r#""from_msisdn""#,
    r#""created_at""#,
    r#""\ud800""#,
    r#""text\u0000""#,
    r#""$serde_json::private::RawValue""#,
    r#""$serde_json::private::Number""#,
    "\"\u{feff}text\"",
];

/// A body, and the value that counts of each of its fields.
fn body(random: &mut Xorshift) -> (String, BTreeMap<&'static str, Judged>) {
    let mut pairs: Vec<(&str, String, Judged)> = Vec::new();
    let mut put = |random: &mut Xorshift, field: &'static str, judged: Judged| {
        let at = random.below(pairs.len() + 1);
        let name = spelled(random, field);
        pairs.insert(at, (field, name, judged));
    };
    for field in FIELDS {
        // Mostly once, so that some bodies are messages.
        for _ in 0..random.one_of::<[usize]>(&[&[0], &[1], &[1], &[1], &[1], &[1], &[1], &[1], &[2], &[3]])[0]
        {
            let judged = value(random, field);
            put(random, field, judged);
        }
    }
    for _ in 0..random.below(4) {
        let name = random.one_of(&UNKNOWN).to_owned();
        let (json, _) = value(random, "text");
        let at = random.below(pairs.len() + 1);
        pairs.insert(at, ("", name, (json, None)));
    }
    let blank = |random: &mut Xorshift| {
        *random.one_of::<[&str]>(&[&[""], &[""], &[""], &[" "], &["\r\n"], &["\t"]]).first().unwrap_or(&"")
    };
    let mut text = String::from(if random.below(8) == 0 { "\u{feff}" } else { "" });
    text += blank(random);
    text.push('{');
    for (number, (_, name, (json, _))) in pairs.iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        text +=
            &[comma, blank(random), name, blank(random), ":", blank(random), json, blank(random)].concat();
    }
    text.push('}');
    text += blank(random);
    let counted = pairs.into_iter().filter(|(field, ..)| !field.is_empty());
    (text, counted.map(|(field, _, judged)| (field, judged)).collect())
}

/// The fields of a refusal and what is wrong with each.
fn errors(rejected: &Rejected) -> Vec<(&str, &str)> {
    assert!(!rejected.errors.is_empty(), "a refusal says why");
    let field =
        |loc: &'_ [Value]| FIELDS.into_iter().find(|field| loc.get(1).is_some_and(|part| part == field));
    rejected.errors.iter().map(|error| (field(&error.loc).unwrap_or("body"), error.kind)).collect()
}

#[test]
fn every_generated_body_is_read_as_what_it_was_made_of() {
    let mut random = Xorshift(0x9E37_79B9_7F4A_7C15);
    let mut messages = 0;
    for _ in 0..BODIES {
        let (body, fields) = body(&mut random);
        let expected: Vec<_> = FIELDS
            .into_iter()
            .filter_map(|field| match fields.get(field) {
                None => (field != "text").then_some((field, "missing")),
                Some((_, error)) => error.map(|error| (field, error)),
            })
            .collect();
        match Message::parse(body.as_bytes()) {
            Err(rejected) => assert_eq!(errors(&rejected), expected, "{body}"),
            Ok(message) => {
                assert!(expected.is_empty(), "{body}");
                let text = |field| {
                    fields
                        .get(field)
                        .and_then(|(json, _)| serde_json::from_str::<Option<String>>(json).ok()?)
                };
                let read = [message.message_id(), message.from(), message.to(), message.ts()];
                let sent = FIELDS.map(text);
                assert_eq!(sent[..4], read.map(|text| Some(text.to_owned())), "{body}");
                assert_eq!(sent[4].as_deref(), message.text(), "{body}");
                messages += 1;
            }
        }
    }
    assert!((BODIES / 50..BODIES / 2).contains(&messages), "{messages} of {BODIES} are messages");
}

/// What serde_json can hold as a value, it holds as this reader reads it.
#[test]
fn a_generated_body_that_was_damaged_is_refused_with_a_reason_or_is_what_it_says() {
    const FRAGMENTS: [&[u8]; 12] =
        [b"{", b"}", b"\"", b"\\", b"\\u", b"\\ud800", b":", b",", b"1e999", b"\0", b"\xff", b"\xef\xbb\xbf"];
    let mut random = Xorshift(0x0123_4567_89AB_CDEF);
    let mut read = 0;
    for _ in 0..DAMAGED {
        let mut body = body(&mut random).0.into_bytes();
        for _ in 0..=random.below(3) {
            let at = random.below(body.len() + 1);
            match random.below(4) {
                0 => drop(body.splice(at..at, random.one_of(&FRAGMENTS).iter().copied())),
                1 => body.truncate(at),
                2 => drop(body.splice(at..(at + 3).min(body.len()), [])),
                _ if at < body.len() => body[at] = random.below(256) as u8,
                _ => body.extend_from_within(..),
            }
        }
        let parsed = Message::parse(&body);
        let whole = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&body);
        let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(whole) else {
            if let Err(rejected) = parsed {
                errors(&rejected);
            }
            continue;
        };
        read += 1;
        let text = |field: &str| object.get(field).and_then(Value::as_str);
        match parsed {
            Ok(message) => {
                let read = [message.message_id(), message.from(), message.to(), message.ts()];
                assert_eq!(read.map(Some), ["message_id", "from", "to", "ts"].map(text), "{object:?}");
                assert_eq!(message.text(), text("text"), "{object:?}");
            }
            Err(rejected) => {
                let named = errors(&rejected);
                for field in FIELDS {
                    let is_missing = named.contains(&(field, "missing"));
                    assert_eq!(is_missing, field != "text" && object.get(field).is_none(), "{object:?}");
                    assert!(!named.iter().any(|(_, kind)| *kind == "json_invalid"), "{object:?}");
                }
            }
        }
    }
    assert!(read > DAMAGED / 50, "{read} of {DAMAGED} are objects");
}
