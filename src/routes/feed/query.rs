//! A feed query says which page of the feed is asked for, by whom, how long it may take to come (contract, section 12).
//!
//! As with `/messages`, all errors are reported together, of a repeated parameter the last counts, and unknown ones
//! are ignored.

use std::time::Duration;

use serde_json::json;

use crate::consumers::{MAX_NAME_CHARS, is_of_a_name};
use crate::feed_cursor::FeedCursor;
use crate::filter::{flag, integer};
use crate::store::{FeedRange, FeedStart};
use crate::url::query_parameters;
use crate::validation_error::ValidationError;

/// Messages of a page when `limit` is not given, and at the most.
const DEFAULT_FEED_ROWS: i64 = 100;
const MAX_FEED_ROWS: i64 = 1000;
/// Seconds: below the minute after which most proxies give up.
const MAX_WAIT: i64 = 55;
/// What [`is_of_a_name`] says, as pydantic would have it.
const CONSUMER_PATTERN: &str = "^[a-z0-9._-]+$";

/// What is asked of the feed.
#[derive(Debug, PartialEq)]
pub(super) struct FeedQuery {
    pub(super) range: FeedRange,
    pub(super) wait: Duration,
    pub(super) consumer: Option<String>,
}

impl FeedQuery {
    /// Reads a query string.
    pub(super) fn parse(query: &str) -> Result<Self, Vec<ValidationError>> {
        let (mut after, mut limit, mut wait, mut consumer, mut original) = (None, None, None, None, None);
        for (name, value) in query_parameters(query) {
            match name.as_str() {
                "after" => after = Some(value),
                "limit" => limit = Some(value),
                "wait" => wait = Some(value),
                "consumer" => consumer = Some(value),
                "original" => original = Some(value),
                _ => {}
            }
        }
        let mut errors = Vec::new();
        let start = start(after.as_deref().unwrap_or_default()).unwrap_or_else(|error| {
            errors.push(error);
            FeedStart::Beginning
        });
        let limit = integer("limit", limit, DEFAULT_FEED_ROWS, 1, MAX_FEED_ROWS, &mut errors) as u32;
        let wait = integer("wait", wait, 0, 0, MAX_WAIT, &mut errors).unsigned_abs();
        errors.extend(consumer.as_deref().and_then(fault_of_name));
        let originals = flag("original", original.as_deref(), &mut errors);
        let range = FeedRange { start, limit, originals };
        let query = Self { range, wait: Duration::from_secs(wait), consumer };
        if errors.is_empty() { Ok(query) } else { Err(errors) }
    }
}

fn start(after: &str) -> Result<FeedStart, ValidationError> {
    match after {
        "" => Ok(FeedStart::Beginning),
        "now" => Ok(FeedStart::Now),
        text => FeedCursor::parse(text).map(FeedStart::After).ok_or_else(|| {
            let rule = "after must be a cursor of an earlier answer, or now";
            ValidationError::value_error(&["query", "after"], rule).with_text(text)
        }),
    }
}

fn fault_of_name(name: &str) -> Option<ValidationError> {
    let loc = ["query", "consumer"];
    let error = if name.is_empty() {
        ValidationError::new("string_too_short", &loc, "String should have at least 1 character")
            .with_ctx(json!({ "min_length": 1 }))
    } else if !name.chars().all(is_of_a_name) {
        let msg = format!("String should match pattern '{CONSUMER_PATTERN}'");
        ValidationError::new("string_pattern_mismatch", &loc, msg)
            .with_ctx(json!({ "pattern": CONSUMER_PATTERN }))
    } else if name.len() > MAX_NAME_CHARS {
        let msg = format!("String should have at most {MAX_NAME_CHARS} characters");
        ValidationError::new("string_too_long", &loc, msg).with_ctx(json!({ "max_length": MAX_NAME_CHARS }))
    } else {
        return None;
    };
    Some(error.with_text(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_parameters_it_is_the_first_page_at_once() {
        let range = FeedRange { start: FeedStart::Beginning, limit: 100, originals: false };
        let plain = FeedQuery { range, wait: Duration::ZERO, consumer: None };
        assert_eq!(FeedQuery::parse("").unwrap(), plain);
        assert_eq!(FeedQuery::parse("after=&unknown=1&original=0&original=").unwrap(), plain);
        let full =
            FeedQuery::parse("limit=abc&after=now&limit=1000&wait=55&consumer=a.b_c-9&original=1").unwrap();
        let range = FeedRange { start: FeedStart::Now, limit: 1000, originals: true };
        let consumer = Some("a.b_c-9".to_owned());
        assert_eq!(full, FeedQuery { range, wait: Duration::from_secs(55), consumer });
    }

    #[test]
    fn every_bad_parameter_is_named() {
        let long = format!("consumer={}", "x".repeat(65));
        for (query, name, kind) in [
            ("after=x", "after", "value_error"),
            ("after=NOW", "after", "value_error"),
            ("limit=0", "limit", "greater_than_equal"),
            ("limit=1001", "limit", "less_than_equal"),
            ("limit=", "limit", "int_parsing"),
            ("wait=-1", "wait", "greater_than_equal"),
            ("wait=56", "wait", "less_than_equal"),
            ("wait=1.5", "wait", "int_parsing"),
            ("consumer=", "consumer", "string_too_short"),
            ("consumer=A", "consumer", "string_pattern_mismatch"),
            ("consumer=%C3%A9", "consumer", "string_pattern_mismatch"),
            (&long, "consumer", "string_too_long"),
            ("original=2", "original", "literal_error"),
        ] {
            let errors = FeedQuery::parse(query).unwrap_err();
            let named: Vec<_> = errors.iter().map(|error| (error.loc[1].as_str(), error.kind)).collect();
            assert_eq!(named, [(Some(name), kind)], "{query}");
        }
        assert_eq!(FeedQuery::parse("after=x&limit=x&wait=x&consumer=X&original=x").unwrap_err().len(), 5);
        assert!(FeedQuery::parse(&format!("consumer={}", "x".repeat(64))).is_ok());
    }
}
