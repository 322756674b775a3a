//! A reply goes out at once, after a commit, or after the wait for one.

use super::feed;
use super::webhook;
use super::whatsapp::{self, DeliveryFacts, DeliveryResult};
use crate::http::Response;
use crate::message::Message;
use crate::metrics::WebhookResult;
use crate::store::{StoreError, Stored};
use crate::whatsapp::{Delivery, Item};

/// What a handler decided.
pub enum Answer {
    /// To send this reply.
    Now(Reply),
    /// To send what [`Committing::committed`] says once the writer has committed this, or could not.
    AfterCommit(ToCommit, Committing),
    /// To ask [`feed::resume`] once something was committed, or to send [`feed::nothing`] when the time is over.
    AfterNews(feed::FeedWait),
}

/// What the writer is to commit.
pub enum ToCommit {
    Message(Message),
    Delivery(Delivery),
}

impl ToCommit {
    /// The bytes that it holds, about, beyond those of the body that it was made of.
    pub fn held(&self) -> usize {
        match self {
            // It holds about as much as its body, which is let go of.
            Self::Message(_) => 0,
            // An item may repeat what it shares with others, and has its text once more.
            Self::Delivery(delivery) => {
                delivery.items.iter().map(|item| size_of::<Item>() + item.original.len()).sum()
            }
        }
    }
}

/// What is known of a message or delivery while the writer has it.
pub enum Committing {
    Message { message_id: String },
    Delivery(DeliveryFacts),
}

impl Committing {
    /// The reply once the writer has committed it, or could not.
    pub fn committed(self, result: &Result<Stored, StoreError>) -> Reply {
        match self {
            Self::Message { message_id } => webhook::committed(message_id, result),
            Self::Delivery(facts) => whatsapp::committed(facts, result),
        }
    }
}

/// A response, with what the log line and the metrics say of what was posted.
pub struct Reply {
    pub response: Response,
    pub posted: Option<Posted>,
}

/// What the log line and the metrics say of what was posted.
pub enum Posted {
    Webhook(webhook::Facts),
    /// Boxed: most answers have none.
    Whatsapp(Box<DeliveryFacts>),
}

impl Reply {
    /// True if this answers a signature that does not verify: of a stranger, or of a sender with an old secret.
    pub fn is_of_an_invalid_signature(&self) -> bool {
        match &self.posted {
            Some(Posted::Webhook(facts)) => facts.result == WebhookResult::InvalidSignature,
            Some(Posted::Whatsapp(facts)) => facts.result == DeliveryResult::InvalidSignature,
            None => false,
        }
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self { response, posted: None }
    }
}

impl From<Result<Response, Response>> for Answer {
    fn from(response: Result<Response, Response>) -> Self {
        response.unwrap_or_else(|problem| problem).into()
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Now(response.into())
    }
}
