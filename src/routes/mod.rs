//! The dispatcher leads a request to its answer by one table.
//!
//! Path, method, metric label, the work it takes and whether a token is asked for all come from
//! [`TABLE`]; so do 307, 401, 404, 405 with `Allow`, and `HEAD`. A handler is a plain function that knows
//! no socket and no SQL.

mod health;
mod messages;
mod openapi;
mod page;
mod problem;
mod scrape;
mod stats;
pub mod webhook;

use ctutils::CtEq as _;

use crate::app::App;
use crate::http::{Request, Response};
use crate::message::Message;
use crate::metrics::Route;

pub use problem::{RequestError, internal_error, rejected};

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

/// What it takes to answer a request: method, path and headers alone tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// The writer.
    Webhook,
    /// A snapshot of the store, which may take seconds to go through.
    Query,
    /// A look at the service itself, at most a second.
    Probe,
    /// A page of metrics.
    Scrape,
    /// Nothing but what is known already: the pages, and every rejection by the table.
    Immediate,
}

/// A request's way through the table, decided once: what is to be answered cannot differ from the kind of
/// work it was taken for, whatever is reloaded between the two.
#[derive(Clone, Copy)]
pub struct Resolved {
    /// The metric label.
    pub route: Route,
    pub work: Work,
    decision: Decision,
}

#[derive(Clone, Copy)]
enum Decision {
    Handle(Handler),
    /// To the path itself, of which this one had a slash too many.
    Redirect(&'static str),
    NotFound,
    /// Sent to a host that is none of `ALLOWED_HOSTS`.
    Misdirected,
    MethodNotAllowed(&'static str),
    InvalidToken,
}

type Handler = fn(&App, &Request) -> Answer;

struct Endpoint {
    path: &'static str,
    method: Method,
    route: Route,
    work: Work,
    access: Access,
    handler: Handler,
}

/// Who may ask.
#[derive(PartialEq)]
enum Access {
    Anybody,
    /// Who has `API_TOKEN`, where one is set.
    Guarded,
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

use Access::{Anybody, Guarded};

const TABLE: [Endpoint; 9] = [
    entry("/webhook", Method::Post, Route::Webhook, Work::Webhook, Anybody, webhook::post),
    entry("/messages", Method::Get, Route::Messages, Work::Query, Guarded, messages::get),
    entry("/stats", Method::Get, Route::Stats, Work::Query, Guarded, stats::get),
    entry("/health/live", Method::Get, Route::Live, Work::Probe, Anybody, health::live),
    entry("/health/ready", Method::Get, Route::Ready, Work::Probe, Anybody, health::ready),
    entry("/metrics", Method::Get, Route::Metrics, Work::Scrape, Guarded, scrape::get),
    entry("/openapi.json", Method::Get, Route::OpenApi, Work::Immediate, Anybody, openapi::get),
    entry("/", Method::Get, Route::Page, Work::Immediate, Anybody, page::overview),
    entry("/docs", Method::Get, Route::Docs, Work::Immediate, Anybody, page::docs),
];

const fn entry(
    path: &'static str,
    method: Method,
    route: Route,
    work: Work,
    access: Access,
    handler: Handler,
) -> Endpoint {
    Endpoint { path, method, route, work, access, handler }
}

/// The row of a path, also of one with a slash too many at its end.
fn find(path: &str) -> Option<&'static Endpoint> {
    let exact = |path: &str| TABLE.iter().find(|entry| entry.path == path);
    exact(path).or_else(|| exact(path.strip_suffix('/')?))
}

/// The metric label of a path, whatever is asked of it.
pub fn route_of(path: &str) -> Route {
    find(path).map_or(Route::Unmatched, |entry| entry.route)
}

/// Finds out what is to be done about a request. Takes no time, and nothing that anybody waits for.
pub fn resolve(app: &App, request: &Request) -> Resolved {
    // Probes come from wherever they are, and give nothing away.
    if !request.path.starts_with("/health/") && !app.allowed_hosts.allow(request.authority()) {
        let (route, work) = (route_of(&request.path), Work::Immediate);
        return Resolved { route, work, decision: Decision::Misdirected };
    }
    let Some(entry) = find(&request.path) else {
        return Resolved { route: Route::Unmatched, work: Work::Immediate, decision: Decision::NotFound };
    };
    let decision = if entry.path != request.path {
        Decision::Redirect(entry.path)
    } else if !entry.method.matches(&request.method) {
        Decision::MethodNotAllowed(entry.method.allow())
    } else if entry.access == Guarded && !token_is_right(app, request) {
        Decision::InvalidToken
    } else {
        Decision::Handle(entry.handler)
    };
    let work = if matches!(decision, Decision::Handle(_)) { entry.work } else { Work::Immediate };
    Resolved { route: entry.route, work, decision }
}

/// Answers a request as it was resolved.
pub fn answer(app: &App, request: &Request, resolved: Resolved) -> Answer {
    Answer::Now(match resolved.decision {
        Decision::Handle(handler) => return handler(app, request),
        Decision::Redirect(path) => problem::moved(path, &request.query).into(),
        Decision::Misdirected => problem::misdirected().into(),
        Decision::NotFound => problem::not_found().into(),
        Decision::MethodNotAllowed(allow) => problem::method_not_allowed(allow).into(),
        Decision::InvalidToken => problem::invalid_token().into(),
    })
}

/// The answer to a request for which there is no room, before anything in it was looked at.
pub fn shed(work: Work) -> Reply {
    if work == Work::Webhook { webhook::shed() } else { problem::shed().into() }
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
    sent.is_some_and(|sent| sent.as_bytes().ct_eq(token).to_bool())
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
        assert_eq!(route_of("/nowhere"), Route::Unmatched);
        assert_eq!(route_of("/webhook/"), Route::Webhook);
        for unknown in ["", "//evil.example/", "/messages//", "/messages/x/", "/docs/.", "/Messages"] {
            assert_eq!(route_of(unknown), Route::Unmatched, "{unknown:?}");
        }
    }
}
