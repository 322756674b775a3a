//! The kinds of request that `reads` measures, the bar of each, and what an answer must say.

use serde_json::{Value, json};

use crate::Failure;
use crate::corpus::{self, BUSY_SENDER, COMMON_WORD, RARE_SENDER, RARE_WORD, TWO_LETTERS};

/// Rows of a page.
const LIMIT: u32 = 50;
/// How deep the deep pages lie; in the middle of a store that is smaller.
const DEPTH: u64 = 500_000;

/// Which messages are asked for.
#[derive(Clone, Default)]
pub(crate) struct Search {
    pub(crate) from: Option<String>,
    pub(crate) since: Option<String>,
    pub(crate) q: Option<String>,
    pub(crate) limit: u32,
    pub(crate) offset: u64,
}

impl Search {
    fn everything() -> Self {
        Self { limit: LIMIT, ..Self::default() }
    }

    fn at(offset: u64) -> Self {
        Self { offset, ..Self::everything() }
    }

    fn with(from: Option<&str>, since: Option<String>, q: Option<&str>) -> Self {
        Self { from: from.map(str::to_owned), since, q: q.map(str::to_owned), ..Self::everything() }
    }

    pub(crate) fn target(&self) -> String {
        let mut target = format!("/messages?limit={}", self.limit);
        if self.offset > 0 {
            target.push_str(&format!("&offset={}", self.offset));
        }
        for (name, value) in [("from", &self.from), ("since", &self.since), ("q", &self.q)] {
            if let Some(value) = value {
                // The plus of a number is the only character here that a query string does not take.
                target.push_str(&format!("&{name}={}", value.replace('+', "%2B")));
            }
        }
        target
    }

    /// The page before this one, whose `Link` leads here.
    pub(crate) fn page_before(&self) -> Self {
        Self { offset: self.offset.saturating_sub(u64::from(self.limit)), ..self.clone() }
    }
}

/// What is asked.
pub(crate) enum Question {
    Page(Search),
    /// The page of the search's offset, reached by the cursor in the `Link` of the page before.
    Cursor(Search),
    Stats,
    /// Nothing that SQL would be asked.
    Probe(&'static str),
}

/// A row of the table.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// For a store of so many rows.
    pub(crate) question: fn(u64) -> Question,
    /// The median at the largest size over that at the smallest is at most this.
    pub(crate) growth: Option<f64>,
    /// So many times faster than plain SQL, at least.
    pub(crate) speed: Option<f64>,
}

pub(crate) const KINDS: [Kind; 13] = [
    Kind {
        name: "first page",
        question: |_| Question::Page(Search::everything()),
        growth: Some(1.5),
        speed: Some(5.0),
    },
    Kind {
        name: "page at an offset",
        question: |rows| Question::Page(Search::at(depth(rows))),
        growth: None,
        speed: Some(5.0),
    },
    Kind {
        name: "page by cursor, as deep",
        question: |rows| Question::Cursor(Search::at(depth(rows))),
        growth: Some(1.5),
        speed: Some(50.0),
    },
    Kind {
        name: "from= a sender of 1 %",
        question: |_| Question::Page(Search::with(Some(BUSY_SENDER), None, None)),
        growth: Some(3.0),
        speed: Some(1.0),
    },
    Kind {
        name: "from= a sender of 5 rows",
        question: |_| Question::Page(Search::with(Some(RARE_SENDER), None, None)),
        growth: Some(3.0),
        speed: Some(1.0),
    },
    Kind {
        name: "since= the middle",
        question: |rows| Question::Page(Search::with(None, Some(corpus::middle_ts(rows)), None)),
        growth: Some(3.0),
        speed: Some(5.0),
    },
    Kind {
        name: "q= a rare word",
        question: |_| Question::Page(Search::with(None, None, Some(RARE_WORD))),
        growth: Some(3.0),
        speed: Some(300.0),
    },
    Kind {
        name: "q= a word in a third",
        question: |_| Question::Page(Search::with(None, None, Some(COMMON_WORD))),
        growth: None,
        speed: Some(1.0),
    },
    Kind {
        name: "q= two letters",
        question: |_| Question::Page(Search::with(None, None, Some(TWO_LETTERS))),
        growth: None,
        speed: Some(1.0),
    },
    Kind {
        name: "q= with from= and since=",
        question: |rows| {
            let since = Some(corpus::middle_ts(rows));
            Question::Page(Search::with(Some(BUSY_SENDER), since, Some(COMMON_WORD)))
        },
        growth: None,
        speed: Some(1.0),
    },
    Kind { name: "/stats", question: |_| Question::Stats, growth: Some(1.5), speed: Some(100.0) },
    Kind {
        name: "/health/ready",
        question: |_| Question::Probe("/health/ready"),
        growth: Some(1.2),
        speed: None,
    },
    Kind { name: "/metrics", question: |_| Question::Probe("/metrics"), growth: Some(1.2), speed: None },
];

fn depth(rows: u64) -> u64 {
    DEPTH.min(rows / 2)
}

/// An answer in the one form in which answers are compared; of a probe only that there is one.
pub(crate) fn canonical(question: &Question, body: &[u8]) -> Result<Value, Failure> {
    let answer = || serde_json::from_slice::<Value>(body);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    Ok(match question {
        Question::Page(_) | Question::Cursor(_) => {
            let answer = answer()?;
            let ids: Vec<_> = list(&answer["data"]).iter().map(|row| row["message_id"].clone()).collect();
            json!({ "total": answer["total"], "ids": ids })
        }
        Question::Stats => {
            let answer = answer()?;
            let senders = list(&answer["messages_per_sender"]);
            let top: Vec<_> = senders.iter().map(|sender| json!([sender["from"], sender["count"]])).collect();
            json!({
                "total": answer["total_messages"],
                "senders": answer["senders_count"],
                "top": top,
                "first": answer["first_message_ts"],
                "last": answer["last_message_ts"],
            })
        }
        Question::Probe(_) => Value::Null,
    })
}
