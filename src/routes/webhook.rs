//! `POST /webhook` checks the signature of a body before its content (contract, section 2).
//!
//! What passes is for the writer to commit; [`committed`] is the answer after that.

use super::{Answer, Committing, Posted, Reply, ToCommit, problem};
use crate::app::App;
use crate::http::{Body, Request, Response};
use crate::message::Message;
use crate::metrics::WebhookResult;
use crate::store::{Inserted, StoreError, Stored};

/// What the log line and the metrics say of a webhook.
pub struct Facts {
    /// Known only where the signature was right.
    pub message_id: Option<String>,
    pub result: WebhookResult,
}

pub(super) fn post(app: &App, request: &Request) -> Answer {
    check(app, request).map_or_else(Answer::Now, |message| {
        let message_id = message.message_id().to_owned();
        Answer::AfterCommit(ToCommit::Message(message), Committing::Message { message_id })
    })
}

/// Checks in the contract's order; the first failure answers.
fn check(app: &App, request: &Request) -> Result<Message, Reply> {
    let Body::Whole(body) = &request.body else {
        return Err(failed(problem::detail(413, "request body too large"), WebhookResult::TooLarge));
    };
    let secrets = app.secrets.get();
    let Some(keys) = &secrets.keys else {
        return Err(unavailable("WEBHOOK_SECRET is not set"));
    };
    let signature = request.headers.only("X-Signature");
    if !signature.is_some_and(|signature| keys.verify(body, signature)) {
        return Err(failed(problem::detail(401, "invalid signature"), WebhookResult::InvalidSignature));
    }
    if request.headers.all("Content-Encoding").any(is_encoded) {
        // What is accepted instead is said as RFC 9110, section 15.5.16, asks for it.
        let encoded = problem::detail(415, "a body with a Content-Encoding is not accepted");
        let encoded = encoded.header("Accept-Encoding", "identity");
        return Err(failed(encoded, WebhookResult::ValidationError));
    }
    Message::parse(body).map_err(|rejected| {
        let facts = Facts { message_id: rejected.message_id, result: WebhookResult::ValidationError };
        Reply { response: problem::invalid(&rejected.errors), posted: Some(Posted::Webhook(facts)) }
    })
}

/// RFC 9110, section 8.4: a list of codings, none of which is spoken here.
fn is_encoded(codings: &str) -> bool {
    let mut codings = codings.split(',').map(str::trim).filter(|coding| !coding.is_empty());
    codings.any(|coding| !coding.eq_ignore_ascii_case("identity"))
}

/// The answer once the writer has spoken.
pub(super) fn committed(message_id: String, result: &Result<Stored, StoreError>) -> Reply {
    let (response, result) = match result {
        Ok(Stored::Message(Inserted::Created)) => (stored(), WebhookResult::Created),
        // The writer answers a message with a message; were it otherwise, it would be stored all the same.
        Ok(Stored::Message(Inserted::Duplicate) | Stored::Delivery(_)) => {
            (stored(), WebhookResult::Duplicate)
        }
        Err(error) => (problem::storage(error), WebhookResult::Unavailable),
    };
    Reply { response, posted: Some(Posted::Webhook(Facts { message_id: Some(message_id), result })) }
}

/// The answer to a webhook that was not looked at, or could not be.
pub(super) fn unavailable(reason: &str) -> Reply {
    failed(problem::unavailable(reason), WebhookResult::Unavailable)
}

fn stored() -> Response {
    Response::json(200, br#"{"status":"ok"}"#.as_slice())
}

fn failed(response: Response, result: WebhookResult) -> Reply {
    Reply { response, posted: Some(Posted::Webhook(Facts { message_id: None, result })) }
}
