//! The dispatcher leads a request to its answer by one table.
//!
//! Path, methods, metric label, queue and whether a token is asked for all come from
//! [`TABLE`]; so do 307, 401, 404, 405 with `Allow`, and `HEAD`. A handler is a plain function that knows
//! no socket and no SQL.

pub mod feed;
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
use crate::metrics::{Priority, Route};

pub use problem::{OVERLOADED, RequestError, internal_error};

/// What a handler decided.
pub enum Answer {
    /// This.
    Now(Reply),
    /// Whatever [`webhook::committed`] says once this message was committed, or was not.
    AfterCommit(Message),
    /// Whatever [`feed::resume`] says once something was committed, or [`feed::nothing`] when the time is over.
    AfterNews(feed::FeedWait),
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

/// A request's way through the table, decided once: what is to be answered cannot differ from the queue
/// it waits in, whatever is reloaded between the two.
#[derive(Clone, Copy)]
pub struct Resolved {
    /// The metric label.
    pub route: Route,
    /// What it takes to answer: method, path and headers alone tell.
    pub priority: Priority,
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
    MethodNotAllowed(&'static [&'static str]),
    InvalidToken,
}

type Handler = fn(&App, &Request) -> Answer;

/// Who may ask.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    Anybody,
    /// Who has `API_TOKEN`, where one is set.
    Guarded,
}

use Access::{Anybody, Guarded};

/// A path, and what is to be done about it.
struct Endpoint {
    /// Its label is the path.
    route: Route,
    /// As `Allow` lists them.
    methods: &'static [&'static str],
    priority: Priority,
    access: Access,
    handler: Handler,
}

/// What `GET` answers, `HEAD` does: the server leaves the body out.
const fn get(route: Route, priority: Priority, access: Access, handler: Handler) -> Endpoint {
    Endpoint { route, methods: &["GET", "HEAD"], priority, access, handler }
}

const fn post(route: Route, priority: Priority, access: Access, handler: Handler) -> Endpoint {
    Endpoint { route, methods: &["POST"], priority, access, handler }
}

const TABLE: [Endpoint; 10] = [
    post(Route::Webhook, Priority::Ingest, Anybody, webhook::post),
    get(Route::Messages, Priority::Read, Guarded, messages::get),
    get(Route::Feed, Priority::Feed, Guarded, feed::get),
    get(Route::Stats, Priority::Read, Guarded, stats::get),
    get(Route::Live, Priority::Probe, Anybody, health::live),
    get(Route::Ready, Priority::Probe, Anybody, health::ready),
    get(Route::Metrics, Priority::Scrape, Guarded, scrape::get),
    get(Route::OpenApi, Priority::Immediate, Anybody, openapi::get),
    get(Route::Page, Priority::Immediate, Anybody, page::overview),
    get(Route::Docs, Priority::Immediate, Anybody, page::docs),
];

/// The row of a path, also of one with a slash too many at its end.
fn find(path: &str) -> Option<&'static Endpoint> {
    let exact = |path: &str| TABLE.iter().find(|endpoint| endpoint.route.label() == path);
    exact(path).or_else(|| exact(path.strip_suffix('/')?))
}

/// The metric label of a path, whatever is asked of it.
pub fn route_of(path: &str) -> Route {
    find(path).map_or(Route::Unmatched, |endpoint| endpoint.route)
}

/// Finds out what is to be done about a request. Takes no time, and nothing that anybody waits for.
pub fn resolve(app: &App, request: &Request) -> Resolved {
    let rejected = |route, decision| Resolved { route, priority: Priority::Immediate, decision };
    // Probes come from wherever they are, and give nothing away.
    if !request.path.starts_with("/health/") && !app.allowed_hosts.allow(request.authority()) {
        return rejected(route_of(&request.path), Decision::Misdirected);
    }
    let Some(&Endpoint { route, methods, priority, access, handler }) = find(&request.path) else {
        return rejected(Route::Unmatched, Decision::NotFound);
    };
    if route.label() != request.path {
        rejected(route, Decision::Redirect(route.label()))
    } else if !methods.contains(&request.method.as_str()) {
        rejected(route, Decision::MethodNotAllowed(methods))
    } else if access == Guarded && !token_is_right(app, request) {
        rejected(route, Decision::InvalidToken)
    } else {
        Resolved { route, priority, decision: Decision::Handle(handler) }
    }
}

/// Answers a request as it was resolved.
pub fn answer(app: &App, request: &Request, resolved: Resolved) -> Answer {
    let response = match resolved.decision {
        Decision::Handle(handler) => return handler(app, request),
        Decision::Redirect(path) => problem::moved(path, &request.query),
        Decision::Misdirected => problem::detail(421, "this host is not served here; see ALLOWED_HOSTS"),
        Decision::NotFound => problem::detail(404, "Not Found"),
        Decision::MethodNotAllowed(allow) => {
            problem::detail(405, "Method Not Allowed").header("Allow", allow.join(", "))
        }
        Decision::InvalidToken => problem::detail(401, "invalid token").header("WWW-Authenticate", "Bearer"),
    };
    response.into()
}

/// The answer to a request that no handler saw or none has answered.
pub fn unavailable(priority: Priority, reason: &str) -> Reply {
    if priority == Priority::Ingest {
        webhook::unavailable(reason)
    } else {
        problem::unavailable(reason).into()
    }
}

/// The answer to a request that was rejected before it was resolved.
pub fn rejected(route: Route, error: RequestError) -> Reply {
    match error {
        RequestError::Overloaded if route == Route::Webhook => webhook::unavailable(OVERLOADED),
        error => problem::rejected(error).into(),
    }
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
        for Endpoint { route, .. } in &TABLE {
            assert_eq!(TABLE.iter().filter(|other| other.route == *route).count(), 1);
            assert!(route.label().starts_with('/'));
        }
        assert_eq!(route_of("/nowhere"), Route::Unmatched);
        assert_eq!(route_of("/webhook/"), Route::Webhook);
        for unknown in ["", "//evil.example/", "/messages//", "/messages/x/", "/docs/.", "/Messages"] {
            assert_eq!(route_of(unknown), Route::Unmatched, "{unknown:?}");
        }
    }
}
