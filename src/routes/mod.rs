//! The dispatcher leads a request to its answer by one table.
//!
//! Path, methods, metric label, queue, the bound of a body and whether a token is asked for all come from
//! [`TABLE`]; so do 307, 401, 404, 405 with `Allow`, and `HEAD`. A handler is a plain function that knows
//! no socket and no SQL.

pub mod feed;
mod health;
mod messages;
mod openapi;
mod page;
mod problem;
mod reply;
mod scrape;
mod stats;
pub mod webhook;
pub mod whatsapp;

use ctutils::CtEq as _;

use crate::app::App;
use crate::http::{Body, Request};
use crate::limits::DEFAULT_MAX_BODY_BYTES;
use crate::metrics::Route;
use crate::priority::Priority;

pub use problem::{OVERLOADED, RequestError, internal_error};
pub use reply::{Answer, Committing, Posted, Reply, ToCommit};

/// A request's way through the table, decided once: what is to be answered cannot differ from the queue
/// it waits in, whatever is reloaded between the two.
#[derive(Clone, Copy)]
pub struct Resolved {
    /// The metric label.
    pub route: Route,
    /// The queue in which it waits for a thread.
    pub priority: Priority,
    decision: Decision,
    unavailable: Unavailable,
}

#[derive(Clone, Copy)]
enum Decision {
    Handle(Handler),
    /// To the path itself, of which this one had a slash too many.
    Redirect(&'static str),
    NotFound,
    /// Sent to a host that is none of `ALLOWED_HOSTS`.
    Misdirected,
    MethodNotAllowed,
    InvalidToken,
}

type Handler = fn(&App, &Request) -> Answer;

/// The 503 of a route, for this reason.
type Unavailable = fn(&str) -> Reply;

/// Who may ask.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    Anybody,
    /// Who has `API_TOKEN`, where one is set.
    Guarded,
}

use Access::{Anybody, Guarded};

/// A path with a method, and what is to be done about them.
struct Endpoint {
    /// Its label is the path.
    route: Route,
    /// As `Allow` lists them.
    methods: &'static [&'static str],
    priority: Priority,
    access: Access,
    handler: Handler,
    unavailable: Unavailable,
    /// Bytes of body where it is not `MAX_BODY_BYTES` that says so.
    max_body_bytes: Option<usize>,
}

/// A row for `GET`, and for `HEAD` as well: the server leaves the body out.
const fn get(route: Route, priority: Priority, access: Access, handler: Handler) -> Endpoint {
    let methods = &["GET", "HEAD"];
    Endpoint { route, methods, priority, access, handler, unavailable, max_body_bytes: None }
}

/// A row for `POST`. It asks for no token: whoever posts is known by a signature.
const fn post(
    route: Route,
    max_body_bytes: Option<usize>,
    handler: Handler,
    unavailable: Unavailable,
) -> Endpoint {
    let (methods, priority) = (&["POST"], Priority::Ingest);
    Endpoint { route, methods, priority, access: Anybody, handler, unavailable, max_body_bytes }
}

const TABLE: [Endpoint; 12] = [
    post(Route::Webhook, None, webhook::post, webhook::unavailable),
    get(Route::Whatsapp, Priority::Immediate, Anybody, whatsapp::get),
    post(Route::Whatsapp, Some(crate::whatsapp::MAX_BODY_BYTES), whatsapp::post, whatsapp::unavailable),
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

/// The route of a path, also of one with a slash too many at its end, whatever the method.
pub fn route_of(app: &App, path: &str) -> Route {
    let is_there = |route| route != Route::Whatsapp || app.secrets.get().whatsapp.is_some();
    find(path).filter(|route| is_there(*route)).unwrap_or(Route::Unmatched)
}

/// It waits in a queue of its own, so that others do not wait for it. One of so many bytes is checked and parsed in a
/// few tenths of a millisecond.
fn is_large(body: &Body) -> bool {
    matches!(body, Body::Whole(bytes) if bytes.len() > DEFAULT_MAX_BODY_BYTES)
}

fn find(path: &str) -> Option<Route> {
    let exact = |path: &str| TABLE.iter().map(|row| row.route).find(|route| route.label() == path);
    exact(path).or_else(|| exact(path.strip_suffix('/')?))
}

fn rows(route: Route) -> impl Iterator<Item = &'static Endpoint> {
    TABLE.iter().filter(move |row| row.route == route)
}

fn row(route: Route, method: &str) -> Option<&'static Endpoint> {
    rows(route).find(|row| row.methods.contains(&method))
}

/// Bytes that the body of a request may have, where that is not for `MAX_BODY_BYTES` to say.
pub fn max_body_bytes(app: &App, method: &str, path: &str) -> Option<usize> {
    row(route_of(app, path), method)?.max_body_bytes
}

/// Decides what is to be done about a request. Called by the reactor, so it waits for nothing.
pub fn resolve(app: &App, request: &Request) -> Resolved {
    let rejected = |route, decision| Resolved { route, priority: Priority::Immediate, decision, unavailable };
    // Probes come from wherever they are, and give nothing away.
    if !request.path.starts_with("/health/") && !app.allowed_hosts.allow(request.authority()) {
        return rejected(route_of(app, &request.path), Decision::Misdirected);
    }
    let route = route_of(app, &request.path);
    if route == Route::Unmatched {
        return rejected(route, Decision::NotFound);
    }
    if route.label() != request.path {
        return rejected(route, Decision::Redirect(route.label()));
    }
    match row(route, &request.method) {
        None => rejected(route, Decision::MethodNotAllowed),
        Some(row) if row.access == Guarded && !token_is_right(app, request) => {
            rejected(route, Decision::InvalidToken)
        }
        Some(&Endpoint { priority, handler, unavailable, .. }) => {
            let priority = match priority {
                Priority::Ingest if is_large(&request.body) => Priority::Bulk,
                other => other,
            };
            Resolved { route, priority, decision: Decision::Handle(handler), unavailable }
        }
    }
}

/// Answers a request as it was resolved.
pub fn answer(app: &App, request: &Request, resolved: Resolved) -> Answer {
    let response = match resolved.decision {
        Decision::Handle(handler) => return handler(app, request),
        Decision::Redirect(path) => problem::moved(path, &request.query),
        Decision::Misdirected => problem::detail(421, "this host is not served here; see ALLOWED_HOSTS"),
        Decision::NotFound => problem::detail(404, "Not Found"),
        Decision::MethodNotAllowed => {
            let allow: Vec<_> = rows(resolved.route).flat_map(|row| row.methods).copied().collect();
            problem::detail(405, "Method Not Allowed").header("Allow", allow.join(", "))
        }
        Decision::InvalidToken => problem::detail(401, "invalid token").header("WWW-Authenticate", "Bearer"),
    };
    response.into()
}

impl Resolved {
    /// The 503 for a request that was shed, or given up before a handler had answered it.
    pub fn unavailable(&self, reason: &str) -> Reply {
        (self.unavailable)(reason)
    }
}

fn unavailable(reason: &str) -> Reply {
    problem::unavailable(reason).into()
}

/// The answer to a request that was rejected before it was resolved, of this method if that could be read.
pub fn rejected(route: Route, method: Option<&str>, error: RequestError) -> Reply {
    let row = method.and_then(|method| row(route, method));
    match (error, row) {
        (RequestError::Overloaded, Some(row)) => (row.unavailable)(OVERLOADED),
        (error, _) => problem::rejected(error).into(),
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
    fn every_path_has_one_row_for_a_method() {
        for Endpoint { route, methods, .. } in &TABLE {
            for method in *methods {
                assert_eq!(rows(*route).filter(|row| row.methods.contains(method)).count(), 1);
            }
            assert!(route.label().starts_with('/'));
        }
        assert_eq!(find("/nowhere"), None);
        assert_eq!(find("/webhook/"), Some(Route::Webhook));
        for unknown in ["", "//evil.example/", "/messages//", "/messages/x/", "/docs/.", "/Messages"] {
            assert_eq!(find(unknown), None, "{unknown:?}");
        }
    }
}
