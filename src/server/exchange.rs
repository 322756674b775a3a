//! One exchange: a whole request, its way through the routes, and exactly one answer, which is
//! counted and logged on its way out.
//!
//! Invariant: every exchange that was begun is answered once. A panic in a handler is answered with
//! 500 and goes no further; an exchange that is dropped unanswered answers 503.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::outbox::{Address, Finished, Outbox};
use super::pool::Completions;
use super::reply::{Next, render};
use super::request_id;
use crate::app::App;
use crate::http::{Body, Request, Response};
use crate::log::{Level, Line};
use crate::metrics::{Lane, Route, WebhookResult};
use crate::routes::{self, Answer, Refusal, Reply, webhook};
use crate::store::{Inserted, StoreError, Waiter};

/// A request on its way to its answer.
pub(super) struct Exchange {
    app: Arc<App>,
    request: Request,
    route: Route,
    lane: Lane,
    next: Next,
    received: Instant,
    to: Address,
    /// `None` once the answer was sent.
    outbox: Option<Outbox>,
}

impl Exchange {
    pub(super) fn new(
        app: &Arc<App>,
        request: Request,
        next: Next,
        to: Address,
        outbox: &Outbox,
    ) -> Box<Self> {
        let (route, lane) = routes::classify(&request.path);
        app.metrics.in_flight.fetch_add(1, Relaxed);
        Box::new(Self {
            app: Arc::clone(app),
            request,
            route,
            lane,
            next,
            received: Instant::now(),
            to,
            outbox: Some(outbox.clone()),
        })
    }

    pub(super) fn lane(&self) -> Lane {
        self.lane
    }

    /// Asks the routes. A message that is to be committed comes back through `completions`.
    pub(super) fn run(mut self: Box<Self>, completions: &Completions) {
        let answer = catch_unwind(AssertUnwindSafe(|| routes::answer(&self.app, &self.request)));
        match answer {
            Ok(Answer::Now(reply)) => self.finish(&reply),
            Ok(Answer::AfterCommit(message)) => {
                self.request.body = Body::Whole(Vec::new());
                let app = Arc::clone(&self.app);
                let message_id = message.message_id().to_owned();
                let completions = completions.clone();
                let waiter = Waiter::new(move |outcome| completions.send(self, message_id, outcome));
                app.store.insert(message, waiter);
            }
            Err(_) => {
                self.app.metrics.panics.fetch_add(1, Relaxed);
                self.finish(&routes::internal_error().into());
            }
        }
    }

    /// The writer has spoken.
    pub(super) fn committed(self: Box<Self>, message_id: String, outcome: &Result<Inserted, StoreError>) {
        let reply = webhook::committed(message_id, outcome);
        self.finish(&reply);
    }

    /// There is no room for it.
    pub(super) fn shed(self: Box<Self>) {
        self.app.metrics.shed(self.lane);
        let reply = if self.route == Route::Webhook { webhook::shed() } else { routes::shed().into() };
        self.finish(&reply);
    }

    fn finish(mut self: Box<Self>, reply: &Reply) {
        self.send(reply);
    }

    fn send(&mut self, reply: &Reply) {
        let Some(outbox) = self.outbox.take() else {
            return;
        };
        let record = Record {
            route: self.route,
            request_id: &self.request.id,
            line: Some((&self.request.method, &self.request.path)),
            received: self.received,
        };
        record.count_and_log(&self.app, reply);
        self.app.metrics.in_flight.fetch_sub(1, Relaxed);
        let next = if self.app.stopping.load(Relaxed) { Next::Close } else { self.next };
        let bytes = render(&reply.response, &self.request.id, self.request.method == "HEAD", next);
        outbox.send(Finished { to: self.to, bytes, close: next == Next::Close });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.outbox.is_some() {
            let reply = if self.route == Route::Webhook { webhook::shed() } else { routes::shed().into() };
            self.send(&reply);
        }
    }
}

/// Answers what is no request: counted and logged like any other. The connection ends with it.
pub(super) fn refuse(app: &App, refusal: Refusal, line: Option<&(String, String)>) -> Vec<u8> {
    let request_id = request_id::fresh();
    let line = line.map(|(method, path)| (method.as_str(), path.as_str()));
    let route = line.map_or(Route::Unmatched, |(_, path)| routes::classify(path).0);
    let response: Response = routes::refused(refusal);
    let head_only = line.is_some_and(|(method, _)| method == "HEAD");
    let record = Record { route, request_id: &request_id, line, received: Instant::now() };
    let bytes = render(&response, &request_id, head_only, Next::Close);
    record.count_and_log(app, &response.into());
    bytes
}

/// What is known of a request when it is answered.
struct Record<'a> {
    route: Route,
    request_id: &'a str,
    /// Method and path, if they could be read.
    line: Option<(&'a str, &'a str)>,
    received: Instant,
}

impl Record<'_> {
    fn count_and_log(&self, app: &App, reply: &Reply) {
        let took = self.received.elapsed();
        let status = reply.response.status;
        app.metrics.request(self.route, status, took);
        if let Some(facts) = &reply.webhook {
            app.metrics.webhook(facts.result);
        }
        let level = level(status, reply.webhook.as_ref().map(|facts| facts.result));
        if !app.log.wants(level) {
            return;
        }
        let line = Line::new(level)
            .text("request_id", self.request_id)
            .maybe_text("method", self.line.map(|(method, _)| method))
            .maybe_text("path", self.line.map(|(_, path)| path))
            .number("status", status.into())
            .thousandths("latency_ms", took.as_micros() as u64);
        app.log.write(&match (self.route, &reply.webhook) {
            (Route::Webhook, facts) => line
                .maybe_text("message_id", facts.as_ref().and_then(|facts| facts.message_id.as_deref()))
                .boolean("dup", facts.as_ref().is_some_and(|facts| facts.result == WebhookResult::Duplicate))
                .maybe_text("result", facts.as_ref().map(|facts| facts.result.label())),
            _ => line,
        });
    }
}

/// Contract, section 8.
fn level(status: u16, result: Option<WebhookResult>) -> Level {
    match status {
        500.. => Level::Error,
        _ if result == Some(WebhookResult::InvalidSignature) => Level::Error,
        400.. => Level::Warning,
        _ => Level::Info,
    }
}
