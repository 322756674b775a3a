//! `POST /whatsapp` takes whatever Meta has signed, and refuses nothing after that (contract, section 14).
//!
//! What a body holds is for the writer to commit; [`committed`] is the answer after that.

mod handshake;

use super::{Answer, Committing, Posted, Reply, ToCommit, problem};
use crate::app::App;
use crate::config::WhatsappStatuses;
use crate::http::{Body, Request, Response};
use crate::store::{StoreError, Stored};
use crate::whatsapp::{self, Delivery, ItemCounts, ItemResult};

pub(super) use handshake::get;

/// What the log line and the metrics say of a body.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFacts {
    pub result: DeliveryResult,
    /// What the body holds; nothing where it was not looked at.
    pub items: usize,
    /// What became of them, as far as it is certain.
    pub counts: ItemCounts,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeliveryResult {
    Stored,
    InvalidSignature,
    TooLarge,
    #[default]
    Unavailable,
}

impl DeliveryResult {
    pub fn label(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::InvalidSignature => "invalid_signature",
            Self::TooLarge => "too_large",
            Self::Unavailable => "unavailable",
        }
    }
}

pub(super) fn post(app: &App, request: &Request) -> Answer {
    let mut delivery = match check(app, request) {
        Ok(delivery) => delivery,
        Err(reply) => return Answer::Now(reply),
    };
    let items = delivery.items.len();
    let mut counts = ItemCounts::default();
    if app.whatsapp_statuses == WhatsappStatuses::Drop {
        delivery.items.retain(|item| {
            let is_dropped = item.is_routine_status();
            if is_dropped {
                counts.add(item.kind, ItemResult::Dropped);
            }
            !is_dropped
        });
    }
    let facts = DeliveryFacts { result: DeliveryResult::Unavailable, items, counts };
    if delivery.items.is_empty() {
        return Answer::Now(stored(facts));
    }
    Answer::AfterCommit(ToCommit::Delivery(delivery), Committing::Delivery(facts))
}

/// Checks in the contract's order; the first failure answers.
fn check(app: &App, request: &Request) -> Result<Delivery, Reply> {
    let Body::Whole(body) = &request.body else {
        return Err(failed(problem::detail(413, "request body too large"), DeliveryResult::TooLarge));
    };
    let secrets = app.secrets.get();
    let Some(keys) = secrets.whatsapp.as_ref().and_then(|whatsapp| whatsapp.keys.as_ref()) else {
        return Err(unavailable("WHATSAPP_APP_SECRET is not set"));
    };
    let signature = request.headers.only("X-Hub-Signature-256");
    if !signature.is_some_and(|signature| keys.verify_prefixed(body, signature)) {
        return Err(failed(problem::detail(401, "invalid signature"), DeliveryResult::InvalidSignature));
    }
    Ok(whatsapp::split(body))
}

/// The answer once the writer has spoken of what was not dropped.
pub(super) fn committed(mut facts: DeliveryFacts, result: &Result<Stored, StoreError>) -> Reply {
    match result {
        Ok(Stored::Delivery(counts)) => {
            facts.counts += counts;
            stored(facts)
        }
        // The writer answers a delivery with a delivery; were it otherwise, it would be stored all the same.
        Ok(Stored::Message(_)) => stored(facts),
        Err(error) => reply(problem::storage(error), facts),
    }
}

/// The answer to a body that was not looked at, or could not be.
pub(super) fn unavailable(reason: &str) -> Reply {
    failed(problem::unavailable(reason), DeliveryResult::Unavailable)
}

fn stored(facts: DeliveryFacts) -> Reply {
    let response = Response::json(200, br#"{"status":"ok"}"#.as_slice());
    reply(response, DeliveryFacts { result: DeliveryResult::Stored, ..facts })
}

fn failed(response: Response, result: DeliveryResult) -> Reply {
    reply(response, DeliveryFacts { result, ..DeliveryFacts::default() })
}

fn reply(response: Response, facts: DeliveryFacts) -> Reply {
    Reply { response, posted: Some(Posted::Whatsapp(Box::new(facts))) }
}
