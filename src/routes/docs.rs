//! `GET /openapi.json` and `GET /docs`: the contract for programs and for people.

use super::Answer;
use crate::app::App;
use crate::http::{Request, Response};

const OPENAPI: &[u8] = include_bytes!("openapi.json");
const PAGE: &[u8] = include_bytes!("docs.html");

/// The page may run its own script and talk to this service, and nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn openapi(_: &App, _: &Request) -> Answer {
    Answer::Now(Response::json(200, OPENAPI).into())
}

pub(super) fn page(_: &App, _: &Request) -> Answer {
    let response = Response::with_type(200, "text/html; charset=utf-8", PAGE)
        .header("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        .header("X-Content-Type-Options", "nosniff");
    Answer::Now(response.into())
}
