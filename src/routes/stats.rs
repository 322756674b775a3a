//! `GET /stats` answers with exact figures of what is stored (contract, section 4).
//!
//! `messages_since` adds how many messages there are at each of some instants or later, which is what a chart
//! over time is made of.

use serde_json::{Value, json};

use super::{Answer, problem};
use crate::app::App;
use crate::http::{Request, Response};
use crate::timestamp::{InstantKey, parse_instant};
use crate::url::query_parameters;
use crate::validation_error::ValidationError;

/// Instants in one `messages_since` of `/stats`: more than a chart has room for.
const MAX_SINCE_INSTANTS: usize = 100;

/// The parameter, and the field that answers it.
const SINCE: &str = "messages_since";

pub(super) fn get(app: &App, request: &Request) -> Answer {
    figures(app, request).into()
}

fn figures(app: &App, request: &Request) -> Result<Response, Response> {
    let instants = instants(&request.query).map_err(|errors| problem::invalid(&errors))?;
    let stats = app.store.stats(&instants, request.received).map_err(|error| problem::storage(&error))?;
    let senders: Vec<Value> = stats
        .top_senders
        .iter()
        .map(|(sender, count)| json!({ "from": sender, "from_msisdn": sender, "count": count }))
        .collect();
    let mut body = json!({
        "total_messages": stats.total_messages,
        "senders_count": stats.senders_count,
        "messages_per_sender": senders,
        "first_message_ts": stats.first_ts,
        "last_message_ts": stats.last_ts,
    });
    if !instants.is_empty() {
        body[SINCE] = json!(stats.messages_since);
    }
    Ok(Response::json(200, body.to_string().into_bytes()))
}

/// The instants that are asked for, separated by commas. Empty is none; of a repeated parameter the
/// last counts.
fn instants(query: &str) -> Result<Vec<InstantKey>, Vec<ValidationError>> {
    let list = query_parameters(query).filter(|(name, _)| name == SINCE).last().map(|(_, list)| list);
    let Some(list) = list.filter(|list| !list.is_empty()) else {
        return Ok(Vec::new());
    };
    let count = list.split(',').count();
    if count > MAX_SINCE_INSTANTS {
        let msg =
            format!("List should have at most {MAX_SINCE_INSTANTS} items after validation, not {count}");
        let ctx = json!({ "field_type": "List", "max_length": MAX_SINCE_INSTANTS, "actual_length": count });
        return Err(vec![ValidationError::new("too_long", &["query", SINCE], msg).with_ctx(ctx)]);
    }
    let (mut instants, mut errors) = (Vec::new(), Vec::new());
    for text in list.split(',') {
        match parse_instant(text) {
            Some(instant) => instants.push(instant),
            None => errors.push(not_an_instant(text)),
        }
    }
    if errors.is_empty() { Ok(instants) } else { Err(errors) }
}

fn not_an_instant(text: &str) -> ValidationError {
    let rule = "messages_since must be RFC 3339 times or dates, separated by commas";
    ValidationError::value_error(&["query", SINCE], rule).with_text(text)
}
