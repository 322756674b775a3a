//! A rule says what is wrong with the text of one field, in the words of pydantic v2 (contract, section 2).

use serde_json::json;

use crate::limits::MAX_TEXT_CHARS;
use crate::timestamp::{is_contract_ts, parse_instant};
use crate::validation_error::ValidationError;

/// Says what is wrong with the text of a field, if anything is. The second argument is the `loc` of the error.
pub(super) type Rule = fn(&str, &[&str]) -> Option<ValidationError>;

pub(super) fn check_not_empty(text: &str, loc: &[&str]) -> Option<ValidationError> {
    let error = || {
        ValidationError::new("string_too_short", loc, "String should have at least 1 character")
            .with_ctx(json!({ "min_length": 1 }))
    };
    text.is_empty().then(error)
}

pub(super) fn check_number(text: &str, loc: &[&str]) -> Option<ValidationError> {
    const PATTERN: &str = r"^\+[0-9]+$";
    let error = || {
        let msg = format!("String should match pattern '{PATTERN}'");
        ValidationError::new("string_pattern_mismatch", loc, msg).with_ctx(json!({ "pattern": PATTERN }))
    };
    (!is_msisdn(text)).then(error)
}

pub(super) fn check_sender(text: &str, loc: &[&str]) -> Option<ValidationError> {
    if is_user_id(text) { None } else { check_number(text, loc) }
}

/// Whom a message can be from: a number, or who hides it.
pub fn is_sender(text: &str) -> bool {
    is_msisdn(text) || is_user_id(text)
}

/// What WhatsApp gives instead of a number: a country, a dot, then letters, digits, dots (`US.13491208655302741918`).
pub fn is_user_id(text: &str) -> bool {
    let id = text.split_once('.').filter(|(country, _)| country.len() == 2);
    let is_form = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
    id.is_some_and(|(country, id)| {
        country.bytes().all(|byte| byte.is_ascii_uppercase()) && !id.is_empty() && id.bytes().all(is_form)
    })
}

/// A number as the contract writes it: `+` and digits.
pub fn is_msisdn(text: &str) -> bool {
    text.strip_prefix('+')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn check_ts(text: &str, loc: &[&str]) -> Option<ValidationError> {
    let rule = "ts must be a real UTC time of the form YYYY-MM-DDTHH:MM:SSZ";
    (!is_contract_ts(text)).then(|| ValidationError::value_error(loc, rule))
}

pub(super) fn check_length(text: &str, loc: &[&str]) -> Option<ValidationError> {
    // A scalar value is at least one byte, so most texts need no counting.
    let fits = text.len() <= MAX_TEXT_CHARS || text.chars().count() <= MAX_TEXT_CHARS;
    let error = || {
        let msg = format!("String should have at most {MAX_TEXT_CHARS} characters");
        ValidationError::new("string_too_long", loc, msg).with_ctx(json!({ "max_length": MAX_TEXT_CHARS }))
    };
    (!fits).then(error)
}

pub(super) fn check_instant(text: &str, loc: &[&str]) -> Option<ValidationError> {
    let rule = "created_at must be an RFC 3339 time";
    parse_instant(text).is_none().then(|| ValidationError::value_error(loc, rule))
}
