//! A line of the log is one object of JSON without a raw control character, whatever a client sent.

use std::fmt::Write as _;
use std::time::SystemTime;

use super::Level;
use crate::client::Client;
use crate::clock::write_rfc3339;
use crate::escape::{is_deceptive, push_escape};

/// Characters of a client's string (path, `message_id`) that a log line repeats.
pub const MAX_LOGGED_CHARS: usize = 512;

/// A line being written: `ts` and `level` first, then its own fields in the order they are added.
pub struct Line {
    pub(super) level: Level,
    /// Without the brace that ends it.
    pub(super) json: String,
}

impl Line {
    pub fn new(level: Level) -> Self {
        let mut json = String::with_capacity(256);
        json.push_str(r#"{"ts":""#);
        write_rfc3339(&mut json, SystemTime::now());
        json.push_str(r#"","level":""#);
        json.push_str(level.name());
        json.push('"');
        Self { level, json }
    }

    /// A line about the service itself.
    pub fn event(level: Level, event: &str) -> Self {
        Self::new(level).text("event", event)
    }

    /// A text, cut off where it becomes longer than a log should repeat.
    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        write_json_string(&mut self.json, value);
        self
    }

    /// A text, or `null`.
    pub fn maybe_text(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self.literal(name, "null"),
        }
    }

    /// An address holds nothing that JSON would have escaped.
    pub fn client(mut self, name: &str, client: Client) -> Self {
        self.name(name);
        // Writing into a String does not fail, here and below.
        let _ = write!(self.json, "\"{client}\"");
        self
    }

    pub fn number(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        let _ = write!(self.json, "{value}");
        self
    }

    /// A number of thousandths, shown with three decimals.
    pub fn thousandths(mut self, name: &str, value: u64) -> Self {
        self.name(name);
        let _ = write!(self.json, "{}.{:03}", value / 1000, value % 1000);
        self
    }

    pub fn boolean(self, name: &str, value: bool) -> Self {
        self.literal(name, if value { "true" } else { "false" })
    }

    /// For whoever writes it elsewhere than to the log.
    pub fn into_json(mut self) -> String {
        self.json.push('}');
        self.json
    }

    fn literal(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        self.json.push_str(value);
        self
    }

    fn name(&mut self, name: &str) {
        self.json.push_str(",\"");
        self.json.push_str(name);
        self.json.push_str("\":");
    }
}

/// What ends, hides or turns text is escaped: a reader that splits lines by any rule sees one line, and
/// a terminal shows what is there in the order in which it stands.
fn write_json_string(out: &mut String, text: &str) {
    out.push('"');
    let is_plain = |byte: u8| (b' '..0x7f).contains(&byte) && byte != b'"' && byte != b'\\';
    if text.len() <= MAX_LOGGED_CHARS && text.bytes().all(is_plain) {
        out.push_str(text);
        out.push('"');
        return;
    }
    for (n, c) in text.chars().enumerate() {
        if n == MAX_LOGGED_CHARS {
            out.push('…');
            break;
        }
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if is_deceptive(c) => push_escape(out, c),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_whatever_a_client_sent() {
        let nasty = "a\"b\\c\n\r\t\0\u{7f}\u{85}\u{2028}\u{202e}\u{200b}\u{e0001}é😀";
        let line =
            Line::new(Level::Info).text("path", nasty).thousandths("latency_ms", 1234).boolean("dup", false);
        let json = format!("{}}}", line.json);
        assert!(!json.chars().any(is_deceptive), "{json}");
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed["path"], nasty);
        assert_eq!(parsed["latency_ms"], 1.234);
        assert_eq!(parsed["level"], "INFO");
    }

    #[test]
    fn a_very_long_text_is_cut() {
        let line = Line::new(Level::Info).text("path", &"x".repeat(100_000));
        assert!(line.json.len() < 1000);
    }
}
