//! One that is asked the same question again and again, the service or plain SQL, and whether it
//! keeps to the right answer. Several of them take turns.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use crate::Failure;
use crate::figures::Samples;
use crate::http::Client;
use crate::plain;
use crate::requests::{Question, canonical};

/// How long one is asked in all, where a single answer takes no longer.
const BUDGET: Duration = Duration::from_secs(3);
const FEWEST_TURNS: usize = 5;
/// Enough for a p99 of the fastest.
const MOST_TURNS: usize = 1_000;
/// Before the turns that count.
const WARM_UP: usize = 3;

pub(crate) struct Asked<'a> {
    side: Side<'a>,
    question: Question,
    expected: Value,
    samples: Vec<Duration>,
    /// The status of an answer that was none.
    given_up: Option<u16>,
    /// What was wrong with an answer.
    wrong: Option<String>,
}

enum Side<'a> {
    Service { client: Client, target: String, right: Vec<u8> },
    Sql(&'a Connection),
}

impl<'a> Asked<'a> {
    pub(crate) fn service(mut client: Client, question: Question, expected: Value) -> Result<Self, Failure> {
        let mut given_up = None;
        let target = match &question {
            Question::Page(search) => search.target(),
            Question::Stats => "/stats".to_owned(),
            Question::Probe(target) => (*target).to_owned(),
            Question::Cursor(search) => {
                let before = client.get(&search.page_before().target())?;
                given_up = (before.status != 200).then_some(before.status);
                let next = before.next.ok_or("a page with more behind it has no Link");
                if given_up.is_some() { String::new() } else { next? }
            }
        };
        let asked = Self::new(Side::Service { client, target, right: Vec::new() }, question, expected);
        Ok(Self { given_up, ..asked })
    }

    pub(crate) fn sql(connection: &'a Connection, question: Question, expected: Value) -> Self {
        Self::new(Side::Sql(connection), question, expected)
    }

    fn new(side: Side<'a>, question: Question, expected: Value) -> Self {
        Self { side, question, expected, samples: Vec::new(), given_up: None, wrong: None }
    }

    /// Warms up; how many turns there is time for.
    pub(crate) fn prepare(&mut self) -> Result<usize, Failure> {
        let is_nothing_for_sql = matches!((&self.side, &self.question), (Side::Sql(_), Question::Probe(_)));
        if is_nothing_for_sql || self.is_out() {
            return Ok(0);
        }
        let mut shortest = Duration::MAX;
        let began = Instant::now();
        for _ in 0..WARM_UP {
            shortest = shortest.min(self.ask()?);
            if self.is_out() || began.elapsed() > BUDGET {
                break;
            }
        }
        let fitting = BUDGET.as_secs_f64() / shortest.as_secs_f64().max(1e-6);
        Ok((fitting as usize).clamp(FEWEST_TURNS, MOST_TURNS))
    }

    pub(crate) fn take_turn(&mut self) -> Result<(), Failure> {
        if !self.is_out() {
            let took = self.ask()?;
            self.samples.push(took);
        }
        Ok(())
    }

    fn is_out(&self) -> bool {
        self.given_up.is_some() || self.wrong.is_some()
    }

    fn ask(&mut self) -> Result<Duration, Failure> {
        match &mut self.side {
            Side::Service { client, target, right } => {
                let answer = client.get(target)?;
                if answer.status != 200 {
                    self.given_up = Some(answer.status);
                    return Ok(answer.took);
                }
                // Nothing changes in the store, so an answer that was right is right to the byte.
                if answer.body != *right {
                    let said = canonical(&self.question, &answer.body)?;
                    self.wrong = difference(&said, &self.expected);
                    *right = answer.body;
                }
                Ok(answer.took)
            }
            Side::Sql(connection) => {
                let began = Instant::now();
                let found = plain::ask(connection, &self.question)?;
                let took = began.elapsed();
                let said = found.map_or(Value::Null, |found| found.canonical());
                self.wrong = difference(&said, &self.expected);
                Ok(took)
            }
        }
    }

    pub(crate) fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    pub(crate) fn given_up(&self) -> Option<u16> {
        self.given_up
    }

    /// None of one that did not keep answering.
    pub(crate) fn into_samples(self) -> Samples {
        if self.is_out() { Samples::default() } else { self.samples.into() }
    }
}

/// Where an answer first says something else than it must.
fn difference(said: &Value, expected: &Value) -> Option<String> {
    if said == expected {
        return None;
    }
    let inside = match (said, expected) {
        (Value::Object(said), Value::Object(expected)) => expected.iter().find_map(|(name, value)| {
            let deeper = difference(said.get(name).unwrap_or(&Value::Null), value)?;
            Some(format!("{name}: {deeper}"))
        }),
        (Value::Array(said), Value::Array(expected)) => {
            let longest = said.len().max(expected.len());
            (0..longest).find_map(|at| {
                let of = |list: &[Value]| list.get(at).cloned().unwrap_or(Value::Null);
                Some(format!("{at}: {}", difference(&of(said), &of(expected))?))
            })
        }
        _ => None,
    };
    inside.or_else(|| Some(format!("{said} and not {expected}")))
}

/// Gives each its number of turns, spread evenly over the whole.
pub(crate) fn interleave(
    turns: &[usize],
    mut take: impl FnMut(usize) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let rounds = turns.iter().copied().max().unwrap_or(0);
    for round in 0..rounds {
        for (one, count) in turns.iter().enumerate() {
            if round * count / rounds != (round + 1) * count / rounds {
                take(one)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_answer_says_where() {
        let expected = json!({ "total": 3, "ids": ["a", "b", "c"] });
        assert_eq!(difference(&expected, &expected), None);
        let said = json!({ "total": 3, "ids": ["a", "b"] });
        assert_eq!(difference(&said, &expected).as_deref(), Some("ids: 2: null and not \"c\""));
    }

    #[test]
    fn turns_are_spread_evenly() {
        let mut taken = Vec::new();
        interleave(&[2, 6, 0], |one| {
            taken.push(one);
            Ok(())
        })
        .unwrap();
        assert_eq!(taken, [1, 1, 0, 1, 1, 1, 0, 1]);
    }
}
