//! A value of JSON is read where it stands, without a tree and without recursion.
//!
//! Only [`Json::read`] judges: it has serde_json go through the text once. Everything behind it skips from value to
//! value, at the speed of a search for quotes, and relies on that.

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use serde_json::value::RawValue;

use crate::message::BYTE_ORDER_MARK;

/// A piece of text that is one valid value, without blanks around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Json<'a>(&'a str);

/// A member of an object.
#[derive(Debug, Clone)]
pub(super) struct Member<'a> {
    /// What it is called, escapes read; nothing where that is no text (half a surrogate pair).
    pub(super) name: Cow<'a, str>,
    /// The name as it stands there, with its quotes.
    pub(super) raw_name: &'a str,
    pub(super) value: Json<'a>,
}

impl<'a> Json<'a> {
    /// `None` for what is no JSON, or no UTF-8. One byte order mark is passed over.
    pub(super) fn read(text: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)).ok()?;
        serde_json::from_str::<&RawValue>(text).ok().map(|value| Self(value.get()))
    }

    /// A piece of what was read before.
    pub(super) fn part(text: &'a str) -> Self {
        Self(text)
    }

    pub(super) fn text(self) -> &'a str {
        self.0
    }

    pub(super) fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub(super) fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    /// Of an object; of anything else none.
    pub(super) fn members(self) -> impl Iterator<Item = Member<'a>> {
        let mut at = if self.is_object() { next(self.0, 1) } else { None };
        std::iter::from_fn(move || {
            let begin = at?;
            let end = skip(self.0, begin);
            let raw_name = &self.0[begin..end];
            let value = next(self.0, end)?;
            let value_end = skip(self.0, value);
            at = next(self.0, value_end);
            Some(Member { name: unescaped(raw_name), raw_name, value: Self(&self.0[value..value_end]) })
        })
    }

    /// Of an array; of anything else none.
    pub(super) fn elements(self) -> impl Iterator<Item = Self> {
        let mut at = if self.is_array() { next(self.0, 1) } else { None };
        std::iter::from_fn(move || {
            let begin = at?;
            let end = skip(self.0, begin);
            at = next(self.0, end);
            Some(Self(&self.0[begin..end]))
        })
    }

    /// The member of that name; of several the last counts.
    pub(super) fn get(self, name: &str) -> Option<Self> {
        self.members().filter(|member| member.name == name).last().map(|member| member.value)
    }

    /// A string that is text; half a surrogate pair is none.
    pub(super) fn string(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if memchr(b'\\', inner.as_bytes()).is_none() {
            return Some(Cow::Borrowed(inner));
        }
        serde_json::from_str(self.0).ok().map(Cow::Owned)
    }

    /// A string as text, U+FFFD for half a surrogate pair.
    pub(super) fn lossy_string(self) -> Option<String> {
        let whole = self.string().map(Cow::into_owned);
        whole.or_else(|| self.0.starts_with('"').then(|| serde_json::from_str(&repaired(self.0)).ok())?)
    }

    /// A string, or a number as it stands there.
    pub(super) fn string_or_number(self) -> Option<Cow<'a, str>> {
        match self.0.as_bytes().first()? {
            b'-' | b'0'..=b'9' => Some(Cow::Borrowed(self.0)),
            _ => self.string(),
        }
    }
}

impl Member<'_> {
    pub(super) fn text(&self) -> String {
        format!("{}:{}", self.raw_name, self.value.text())
    }
}

/// Where the next value begins, past blanks, commas and colons.
pub(super) fn next(text: &str, from: usize) -> Option<usize> {
    let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
    let at = from + text.as_bytes()[from..].iter().position(|byte| !is_between(byte))?;
    (!matches!(text.as_bytes()[at], b']' | b'}')).then_some(at)
}

/// Where the value that begins at `from` ends.
pub(super) fn skip(text: &str, from: usize) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (from, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = skip_string(bytes, at),
            b'{' | b'[' => (at, depth) = (at + 1, depth + 1),
            b'}' | b']' => (at, depth) = (at + 1, depth.saturating_sub(1)),
            _ if depth == 0 => {
                let is_end =
                    |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b']' | b'}');
                return bytes[at..].iter().position(is_end).map_or(bytes.len(), |length| at + length);
            }
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn skip_string(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

fn unescaped(raw_name: &str) -> Cow<'_, str> {
    Json(raw_name).string().unwrap_or_default()
}

/// The same string with `\ufffd` where an escape names half a surrogate pair.
fn repaired(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => 0,
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        out.push_str(if length == 0 { "\\ufffd" } else { &rest[..length] });
        rest = &rest[if length == 0 { 6 } else { length }..];
    }
    out + rest
}

/// The number of an escape `\uXXXX` at the beginning.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_what_stands_there() {
        let json =
            Json::read(b"\xef\xbb\xbf { \"a\" : [1 , {\"]\":\"\\\"}\"},[] ], \"\\u0061\":null,\"b\":\"\"} ")
                .unwrap();
        let members: Vec<_> = json.members().map(|member| (member.name, member.value.text())).collect();
        let expected = [("a", "[1 , {\"]\":\"\\\"}\"},[] ]"), ("a", "null"), ("b", "\"\"")];
        assert_eq!(members, expected.map(|(name, value)| (Cow::Borrowed(name), value)));
        let array = json.members().next().unwrap().value;
        assert_eq!(array.elements().map(Json::text).collect::<Vec<_>>(), ["1", "{\"]\":\"\\\"}\"}", "[]"]);
        assert_eq!(json.get("a").map(Json::text), Some("null"), "the last counts");
        assert_eq!(Json::read(b"[ ]").unwrap().elements().count(), 0);
        assert_eq!(Json::read(b"{ }").unwrap().members().count(), 0);
    }

    #[test]
    fn half_a_surrogate_pair_is_no_string_and_a_replacement_character_in_a_text() {
        for (json, text) in [
            (r#""a\ud800b""#, "a\u{fffd}b"),
            (r#""\udc00\ud83d\ude00\\ud800\n""#, "\u{fffd}😀\\ud800\n"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
        ] {
            let json = Json::read(json.as_bytes()).unwrap();
            assert_eq!((json.string(), json.lossy_string().as_deref()), (None, Some(text)), "{json:?}");
        }
    }

    #[test]
    fn no_depth_is_too_deep() {
        let deep = 1 << 20;
        let text = format!("{{\"a\":{}{},\"b\":1}}", "[".repeat(deep), "]".repeat(deep));
        assert_eq!(Json::read(text.as_bytes()).unwrap().get("b").map(Json::text), Some("1"));
        assert!(Json::read("[".repeat(4 << 20).as_bytes()).is_none());
    }
}
