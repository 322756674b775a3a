//! `GET /stats` (contract, section 4).

use serde_json::{Value, json};

use super::{Answer, problem};
use crate::app::App;
use crate::http::{Request, Response};

pub(super) fn get(app: &App, request: &Request) -> Answer {
    let stats = match app.store.stats(request.received) {
        Ok(stats) => stats,
        Err(error) => return Answer::Now(problem::storage(&error).into()),
    };
    let senders: Vec<Value> = stats
        .top_senders
        .iter()
        .map(|(sender, count)| json!({ "from": sender, "from_msisdn": sender, "count": count }))
        .collect();
    let body = json!({
        "total_messages": stats.total_messages,
        "senders_count": stats.senders_count,
        "messages_per_sender": senders,
        "first_message_ts": stats.first_ts,
        "last_message_ts": stats.last_ts,
    });
    Answer::Now(Response::json(200, body.to_string().into_bytes()).into())
}
