//! A validation error says one thing that is wrong with what a client sent, in the words of pydantic v2.
//!
//! Parsers return all of them at once; `routes::problem` makes FastAPI's 422 body of them.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Bytes of JSON up to which a 422 repeats the value it complains about.
const MAX_ECHOED_INPUT_BYTES: usize = 256;

/// One entry of a 422's `detail`.
#[derive(Debug, Clone)]
pub struct ValidationError {
    pub kind: &'static str,
    pub loc: Vec<Value>,
    pub msg: String,
    /// JSON, as it came.
    input: Option<Box<RawValue>>,
    /// The bound or pattern that was missed, pydantic's `ctx`.
    ctx: Option<Box<Value>>,
}

impl ValidationError {
    /// An error at `loc`, say `["body", "from"]`.
    pub fn new(kind: &'static str, loc: &[&str], msg: impl Into<String>) -> Self {
        let loc = loc.iter().map(|part| json!(part)).collect();
        Self { kind, loc, msg: msg.into(), input: None, ctx: None }
    }

    /// A rule of ours that a value does not keep; pydantic has no name for it.
    pub fn value_error(loc: &[&str], rule: &str) -> Self {
        Self::new("value_error", loc, format!("Value error, {rule}")).with_ctx(json!({ "error": rule }))
    }

    /// A body that is no JSON, from the character at `offset`.
    pub fn json_invalid(offset: usize, reason: &str) -> Self {
        let mut error = Self::new("json_invalid", &["body"], "JSON decode error")
            .with_input("{}")
            .with_ctx(json!({ "error": reason }));
        error.loc.push(json!(offset));
        error
    }

    /// Repeats the offending value, a piece of JSON as it came. Left out where that would be large, or where
    /// the client's parser might not be able to read it: nested too deep, half a surrogate pair, 1e999.
    pub fn with_input(mut self, json: &str) -> Self {
        let is_repeated = json.len() <= MAX_ECHOED_INPUT_BYTES && serde_json::from_str::<Value>(json).is_ok();
        self.input = is_repeated.then(|| RawValue::from_string(json.to_owned()).ok()).flatten();
        self
    }

    /// Repeats the offending text, unless that would be large.
    pub fn with_text(self, text: &str) -> Self {
        self.with_input(&json!(text).to_string())
    }

    pub fn with_ctx(mut self, ctx: Value) -> Self {
        self.ctx = Some(Box::new(ctx));
        self
    }
}

/// As FastAPI writes it.
impl Serialize for ValidationError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entry = serializer.serialize_map(None)?;
        entry.serialize_entry("type", self.kind)?;
        entry.serialize_entry("loc", &self.loc)?;
        entry.serialize_entry("msg", &self.msg)?;
        if let Some(input) = &self.input {
            entry.serialize_entry("input", input)?;
        }
        if let Some(ctx) = &self.ctx {
            entry.serialize_entry("ctx", ctx)?;
        }
        entry.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(input: &str) -> String {
        let error = ValidationError::new("missing", &["body", "to"], "Field required").with_input(input);
        serde_json::to_string(&error).unwrap()
    }

    #[test]
    fn an_error_is_written_as_fastapi_does_it() {
        let head = r#"{"type":"missing","loc":["body","to"],"msg":"Field required""#;
        for input in [r#"{"a": [1, null]}"#, r#""\u00e9""#, r#"{"$serde_json::private::RawValue":"5"}"#] {
            assert_eq!(written(input), format!(r#"{head},"input":{input}}}"#));
        }
        for unreadable in [r#""\ud800""#, "1e999", &"[".repeat(200), &format!("\"{}\"", "x".repeat(255))] {
            assert_eq!(written(unreadable), format!("{head}}}"));
        }
    }
}
