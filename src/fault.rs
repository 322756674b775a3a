//! One thing that is wrong with what a client sent, in the words of pydantic v2.
//!
//! Parsers return all faults at once; `routes::problem` turns them into FastAPI's 422 body.

use serde_json::{Value, json};

use crate::limits::MAX_ECHOED_INPUT_BYTES;

/// One entry of a 422's `detail`.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub kind: &'static str,
    pub loc: Vec<Value>,
    pub msg: String,
    pub input: Option<Value>,
    pub ctx: Option<Value>,
}

impl Fault {
    /// A fault at `loc`, say `["body", "from"]`.
    pub fn new(kind: &'static str, loc: &[&str], msg: impl Into<String>) -> Self {
        let loc = loc.iter().map(|part| json!(part)).collect();
        Self { kind, loc, msg: msg.into(), input: None, ctx: None }
    }

    /// Repeats the offending value, unless that would be large.
    pub fn with_input(mut self, input: &Value) -> Self {
        let small = serde_json::to_vec(input).is_ok_and(|json| json.len() <= MAX_ECHOED_INPUT_BYTES);
        self.input = small.then(|| input.clone());
        self
    }

    /// Adds pydantic's `ctx`: the bound or pattern that was missed.
    pub fn with_ctx(mut self, ctx: Value) -> Self {
        self.ctx = Some(ctx);
        self
    }

    /// The entry as FastAPI writes it.
    pub fn to_json(&self) -> Value {
        let mut entry = json!({ "type": self.kind, "loc": self.loc, "msg": self.msg });
        for (name, value) in [("input", &self.input), ("ctx", &self.ctx)] {
            if let Some(value) = value {
                entry[name] = value.clone();
            }
        }
        entry
    }
}
