//! The dispatcher: from a request to an answer, by one table.
//!
//! Path, method, metric label, queue of the pool and whether a token is asked for all come from
//! [`TABLE`]; so do 404, 405 with `Allow`, and `HEAD`. A handler is a plain function that knows no
//! socket and no SQL.

mod health;
mod messages;
mod openapi;
mod page;
mod problem;
mod scrape;
mod stats;
pub mod webhook;

use crate::app::App;
use crate::http::{Request, Response};
use crate::message::Message;
use crate::metrics::{Lane, Route};

pub use problem::{Refusal, internal_error, refused, shed};

/// What a handler decided.
pub enum Answer {
    /// This.
    Now(Reply),
    /// Whatever [`webhook::committed`] says once this message was committed, or was not.
    AfterCommit(Message),
}

/// An answer, and what the log and the metrics want to know of a webhook.
pub struct Reply {
    pub response: Response,
    pub webhook: Option<webhook::Facts>,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self { response, webhook: None }
    }
}

struct Entry {
    path: &'static str,
    method: Method,
    route: Route,
    lane: Lane,
    /// Wants `API_TOKEN`, where one is set.
    guarded: bool,
    answer: fn(&App, &Request) -> Answer,
}

#[derive(PartialEq)]
enum Method {
    /// And so `HEAD`: the server leaves the body out.
    Get,
    Post,
}

impl Method {
    fn allow(&self) -> &'static str {
        match self {
            Self::Get => "GET, HEAD",
            Self::Post => "POST",
        }
    }

    fn matches(&self, method: &str) -> bool {
        match self {
            Self::Get => method == "GET" || method == "HEAD",
            Self::Post => method == "POST",
        }
    }
}

const TABLE: [Entry; 9] = [
    entry("/webhook", Method::Post, Route::Webhook, Lane::Ingest, false, webhook::post),
    entry("/messages", Method::Get, Route::Messages, Lane::Read, true, messages::get),
    entry("/stats", Method::Get, Route::Stats, Lane::Read, true, stats::get),
    entry("/health/live", Method::Get, Route::Live, Lane::Probe, false, health::live),
    entry("/health/ready", Method::Get, Route::Ready, Lane::Probe, false, health::ready),
    entry("/metrics", Method::Get, Route::Metrics, Lane::Probe, true, scrape::get),
    entry("/openapi.json", Method::Get, Route::OpenApi, Lane::Read, false, openapi::get),
    entry("/", Method::Get, Route::Page, Lane::Read, false, page::overview),
    entry("/docs", Method::Get, Route::Docs, Lane::Read, false, page::docs),
];

const fn entry(
    path: &'static str,
    method: Method,
    route: Route,
    lane: Lane,
    guarded: bool,
    answer: fn(&App, &Request) -> Answer,
) -> Entry {
    Entry { path, method, route, lane, guarded, answer }
}

fn find(path: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.path == path)
}

/// The metric label of a path, and the queue of the pool that its requests wait in.
pub fn classify(path: &str) -> (Route, Lane) {
    find(path).map_or((Route::Unmatched, Lane::Read), |entry| (entry.route, entry.lane))
}

/// Answers a request.
pub fn answer(app: &App, request: &Request) -> Answer {
    let Some(entry) = find(&request.path) else {
        return Answer::Now(problem::not_found().into());
    };
    if !entry.method.matches(&request.method) {
        return Answer::Now(problem::method_not_allowed(entry.method.allow()).into());
    }
    if entry.guarded && !token_is_right(app, request) {
        return Answer::Now(problem::invalid_token().into());
    }
    (entry.answer)(app, request)
}

fn token_is_right(app: &App, request: &Request) -> bool {
    let secrets = app.secrets.get();
    let Some(token) = &secrets.api_token else {
        return true;
    };
    let sent = request.headers.only("Authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then_some(token.trim_start())
    });
    sent.is_some_and(|sent| is_same(sent.as_bytes(), token))
}

/// Compares in a time that depends on the length of what was sent alone.
fn is_same(sent: &[u8], secret: &[u8]) -> bool {
    let difference = sent.iter().zip(secret.iter().cycle()).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(difference) == 0 && sent.len() == secret.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_one_row() {
        for entry in &TABLE {
            assert_eq!(TABLE.iter().filter(|other| other.path == entry.path).count(), 1);
            assert_eq!(entry.route.label(), entry.path);
        }
        assert_eq!(classify("/nowhere").0, Route::Unmatched);
    }

    #[test]
    fn tokens_are_the_same_or_not() {
        assert!(is_same(b"abc", b"abc"));
        assert!(!is_same(b"abd", b"abc") && !is_same(b"ab", b"abc") && !is_same(b"", b"abc"));
        assert!(!is_same(b"abcabc", b"abc"));
    }
}
