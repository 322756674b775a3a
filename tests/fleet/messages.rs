//! The messages that are sent: each follows from its id, so that what arrives can be compared with what was sent.

use serde_json::{Value, json};

use crate::random::Random;

/// What a shell, a `COPY`, JSON or a protocol of lines could stumble over.
const TEXTS: [&str; 10] = [
    "Hello",
    "it's \"quoted\" \\ and \\n is no new line, nor is \\N nothing",
    "a\ttab, a\nnew line, a\r\nbelow",
    "🧑‍🤝‍🧑 שלום مرحبا e\u{301}",
    "\\. \\x00 \\u0000 $1 %s {} '; DROP TABLE messages; --",
    "\u{1}\u{2}\u{7f}\u{85}\u{2028}\u{feff}",
    "+OK\r\n-ERR 'Unknown'\r\nMSG x 1 2",
    "",
    "a NUL \0 in it",
    "\u{fffd}\u{10ffff}",
];

/// The message of an id, as it is sent.
pub(crate) fn message_of(id: &str) -> Value {
    let seed = id.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut random = Random::new(seed);
    let text = match random.below(12) {
        0 => Value::Null,
        1 => json!("long ".repeat(random.below(800) as usize)),
        _ => json!(format!("{} {id}", random.pick(&TEXTS))),
    };
    let ts = format!("2025-01-15T10:{:02}:{:02}.{}Z", random.below(60), random.below(60), random.below(1000));
    json!({"message_id": id, "from": format!("+{}", random.below(5000)), "to": "+14155550100", "ts": ts, "text": text})
}

/// The same as PostgreSQL can hold it: no text has a NUL there.
pub(crate) fn in_postgres(mut message: Value) -> Value {
    if let Some(text) = message["text"].as_str().filter(|text| text.contains('\0')) {
        message["text"] = json!(text.replace('\0', "\u{fffd}"));
    }
    message
}
