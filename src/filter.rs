//! A page query says which messages `GET /messages` shows (contract, section 3).
//!
//! [`PageQuery::parse`] checks every parameter once and reports all errors together. An empty
//! `from`, `since`, `q` or `after` is no filter; of a repeated parameter the last counts; unknown
//! ones are ignored.

use serde_json::json;

use crate::cursor::Cursor;
use crate::folding::Needle;
use crate::timestamp::{InstantKey, parse_instant};
use crate::url::{percent_encode, query_parameters};
use crate::validation_error::ValidationError;

/// Largest `limit`.
const MAX_PAGE_ROWS: u32 = 100;

/// Rows of a page when `limit` is not given.
const DEFAULT_PAGE_ROWS: u32 = 50;

/// Which messages are meant. All conditions hold together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Exactly this sender.
    pub from: Option<String>,
    /// At this instant or later.
    pub since: Option<InstantKey>,
    /// With this in the text, whatever the case.
    pub q: Option<Needle>,
}

/// Which page of them.
#[derive(Debug, Clone, PartialEq)]
pub struct PageQuery {
    pub filter: Filter,
    pub limit: u32,
    pub offset: i64,
    pub after: Option<Cursor>,
    /// With what WhatsApp sent.
    pub original: bool,
    /// The filters as sent, for the link to the next page.
    sent: Vec<(&'static str, String)>,
}

impl PageQuery {
    /// Reads a query string.
    pub fn parse(query: &str) -> Result<Self, Vec<ValidationError>> {
        let mut sent = Sent::default();
        for (name, value) in query_parameters(query) {
            match name.as_str() {
                "limit" => sent.limit = Some(value),
                "offset" => sent.offset = Some(value),
                "from" => sent.from = value,
                "since" => sent.since = value,
                "q" => sent.q = value,
                "after" => sent.after = value,
                "original" => sent.original = value,
                _ => {}
            }
        }
        sent.check()
    }

    /// The link to the page that follows `last`.
    pub fn next_link(&self, last: &Cursor) -> String {
        let mut link = format!("/messages?limit={}", self.limit);
        let after = last.to_text();
        let parameters = self.sent.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in parameters.chain([("after", after.as_str())]) {
            link.push('&');
            link.push_str(name);
            link.push('=');
            percent_encode(&mut link, value);
        }
        link
    }
}

/// The parameters as they came.
#[derive(Default)]
struct Sent {
    limit: Option<String>,
    offset: Option<String>,
    from: String,
    since: String,
    q: String,
    after: String,
    original: String,
}

impl Sent {
    fn check(self) -> Result<PageQuery, Vec<ValidationError>> {
        let mut errors = Vec::new();
        let limit =
            integer("limit", self.limit, DEFAULT_PAGE_ROWS.into(), 1, MAX_PAGE_ROWS.into(), &mut errors);
        let offset = integer("offset", self.offset, 0, 0, i64::MAX, &mut errors);
        let since = given(&self.since).and_then(|text| {
            let instant = parse_instant(text);
            if instant.is_none() {
                let rule = "since must be an RFC 3339 time or a date";
                errors.push(value_error("since", rule, text));
            }
            instant
        });
        let after = given(&self.after).and_then(|text| {
            let cursor = Cursor::parse(text);
            if cursor.is_none() {
                errors.push(value_error(
                    "after",
                    "after must come from the Link header of another page",
                    text,
                ));
            }
            cursor
        });
        let original = flag("original", Some(&self.original), &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        // A `+` that nobody encoded arrives as a space (contract, section 3).
        let from = match self.from.strip_prefix(' ') {
            Some(digits) => format!("+{digits}"),
            None => self.from,
        };
        let filter =
            Filter { from: given(&from).map(str::to_owned), since, q: given(&self.q).map(Needle::new) };
        let sent = [("from", from), ("since", self.since), ("q", self.q), ("original", self.original)];
        let sent = sent.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Ok(PageQuery { filter, limit: limit as u32, offset, after, original, sent })
    }
}

fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn value_error(name: &str, rule: &str, input: &str) -> ValidationError {
    ValidationError::value_error(&["query", name], rule).with_text(input)
}

/// `1` is true; `0`, an empty value and none are false.
pub fn flag(name: &str, sent: Option<&str>, errors: &mut Vec<ValidationError>) -> bool {
    match sent {
        Some("1") => true,
        None | Some("" | "0") => false,
        Some(text) => {
            let error = ValidationError::new("literal_error", &["query", name], "Input should be '0' or '1'");
            errors.push(error.with_ctx(json!({ "expected": "'0' or '1'" })).with_text(text));
            false
        }
    }
}

/// A whole number between two bounds, both included. On an error the default stands in for it.
pub fn integer(
    name: &str,
    sent: Option<String>,
    default: i64,
    min: i64,
    max: i64,
    errors: &mut Vec<ValidationError>,
) -> i64 {
    let Some(text) = sent else {
        return default;
    };
    let digits = text.trim_matches(' ');
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let error = if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let msg = "Input should be a valid integer, unable to parse string as an integer";
        ValidationError::new("int_parsing", &["query", name], msg)
    } else {
        // Only a number of too many digits fails here; the sign says on which side it lies.
        let value = digits.parse().unwrap_or(if digits.starts_with('-') { i64::MIN } else { i64::MAX });
        let overflowed = digits.parse::<i64>().is_err();
        if value < min {
            let msg = format!("Input should be greater than or equal to {min}");
            ValidationError::new("greater_than_equal", &["query", name], msg).with_ctx(json!({ "ge": min }))
        } else if value > max || overflowed {
            let msg = format!("Input should be less than or equal to {max}");
            ValidationError::new("less_than_equal", &["query", name], msg).with_ctx(json!({ "le": max }))
        } else {
            return value;
        }
    };
    errors.push(error.with_text(&text));
    default
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sort_key::{MessageId, SortKey};

    #[test]
    fn without_parameters_it_is_the_first_page_of_everything() {
        let query = PageQuery::parse("").unwrap();
        assert_eq!((query.limit, query.offset, &query.after), (50, 0, &None));
        assert_eq!(query.filter, Filter::default());
        let same = PageQuery::parse("from=&since=&q=&after=&unknown=1").unwrap();
        assert_eq!(query.filter, same.filter);
    }

    #[test]
    fn a_plus_that_arrived_as_a_space_is_a_plus() {
        for query in ["from=+9198", "from=%2B9198", "from=%209198"] {
            let query = PageQuery::parse(query).unwrap();
            assert_eq!(query.filter.from.as_deref(), Some("+9198"));
        }
    }

    #[test]
    fn every_bad_parameter_is_named_and_the_last_of_a_repeated_one_counts() {
        let errors = PageQuery::parse("limit=abc&offset=-1&since=soon&after=x").unwrap_err();
        let named: Vec<_> = errors.iter().map(|f| (f.loc[1].as_str().unwrap_or(""), f.kind)).collect();
        assert_eq!(
            named,
            [
                ("limit", "int_parsing"),
                ("offset", "greater_than_equal"),
                ("since", "value_error"),
                ("after", "value_error")
            ]
        );
        assert_eq!(PageQuery::parse("limit=abc&limit=7").unwrap().limit, 7);
        for bad in ["limit=0", "limit=101", "limit=", "limit=1.5", "limit=1e1", "limit=%D9%A1", "offset=1_0"]
        {
            assert_eq!(PageQuery::parse(bad).unwrap_err().len(), 1, "{bad}");
        }
        assert!(PageQuery::parse("offset=99999999999999999999").is_err());
        assert_eq!(PageQuery::parse("offset=9223372036854775807").unwrap().offset, i64::MAX);
    }

    #[test]
    fn a_link_leads_back_to_the_same_filter_and_the_cursor() {
        let query = PageQuery::parse("from=%2B91&since=2025-01-15T10:00:00%2B05:30&q=50%25&limit=3&offset=9")
            .unwrap();
        let last = SortKey {
            instant: "2025-01-15T10:00:00.5".into(),
            message_id: MessageId::Text("id ~&é".into()),
            row: i64::MAX,
        };
        let cursor = Cursor::Behind(last);
        let link = query.next_link(&cursor);
        let next = PageQuery::parse(link.split_once('?').unwrap().1).unwrap();
        assert_eq!(next.filter, query.filter);
        assert_eq!((next.limit, next.offset, next.after), (3, 0, Some(cursor)));
    }
}
