//! The access log has one line for each request that was answered, whatever came of it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::response_writer::{Next, RenderedResponse, render};
use crate::app::App;
use crate::client::Client;
use crate::http::Headers;
use crate::log::{Level, Line};
use crate::metrics::{Metrics, Route, WebhookResult};
use crate::routes::{self, Posted, Reply};
use crate::whatsapp::{ItemCounts, ItemResult, Kind};

/// What is known of a request when it is answered.
pub(super) struct AccessRecord<'a> {
    pub(super) route: Route,
    pub(super) request_id: &'a str,
    /// Method and path, if they could be read.
    pub(super) line: Option<(&'a str, &'a str)>,
    pub(super) peer: Client,
    pub(super) headers: &'a Headers,
    pub(super) received: Instant,
}

impl AccessRecord<'_> {
    /// The answer as bytes. It is counted and logged with the status that goes out.
    pub(super) fn render_and_log(&self, app: &App, reply: &Reply, next: Next) -> RenderedResponse {
        let head_only = self.line.is_some_and(|(method, _)| method == "HEAD");
        let rendered = render(&reply.response, self.request_id, head_only, next);
        if let Ok(rendered) = rendered {
            self.count_and_log(app, reply);
            return rendered;
        }
        let reply = routes::internal_error().into();
        self.count_and_log(app, &reply);
        render(&reply.response, self.request_id, head_only, next)
            .expect("its headers are literals, and an id is visible ASCII")
    }

    fn count_and_log(&self, app: &App, reply: &Reply) {
        let took = self.received.elapsed();
        let status = reply.response.status;
        app.metrics.request(self.route, status, took);
        match &reply.posted {
            Some(Posted::Webhook(facts)) => {
                app.metrics.webhooks(facts.result).fetch_add(1, Relaxed);
            }
            Some(Posted::Whatsapp(facts)) => count_items(&app.metrics, &facts.counts),
            None => {}
        }
        let level = match level(status, reply.is_of_an_invalid_signature()) {
            Level::Info if self.request_id == app.watchdog_id => Level::Debug,
            level => level,
        };
        if !app.log.wants(level) {
            return;
        }
        let client = app.trusted_proxies.client(self.peer, self.headers.all("X-Forwarded-For"));
        let line = Line::new(level)
            .text("request_id", self.request_id)
            .client("client", client)
            .maybe_text("method", self.line.map(|(method, _)| method))
            .maybe_text("path", self.line.map(|(_, path)| path))
            .number("status", status.into())
            .thousandths("latency_ms", took.as_micros() as u64);
        app.log.write(&match &reply.posted {
            Some(Posted::Webhook(facts)) => line
                .maybe_text("message_id", facts.message_id.as_deref())
                .boolean("dup", facts.result == WebhookResult::Duplicate)
                .text("result", facts.result.label()),
            Some(Posted::Whatsapp(facts)) => line
                .number("items", facts.items as u64)
                .number("created", facts.counts.results(ItemResult::Created))
                .number("dup", facts.counts.results(ItemResult::Duplicate))
                .number("unmapped", facts.counts.results(ItemResult::Unmapped))
                .text("result", facts.result.label()),
            None if self.route == Route::Webhook => {
                line.maybe_text("message_id", None).boolean("dup", false).maybe_text("result", None)
            }
            None => line,
        });
    }
}

fn count_items(metrics: &Metrics, counts: &ItemCounts) {
    for kind in Kind::ALL {
        for result in ItemResult::ALL {
            let count = counts.of(*kind, *result);
            metrics.whatsapp_items(*kind, *result).fetch_add(count, Relaxed);
        }
    }
}

/// Contract, section 8.
fn level(status: u16, is_of_an_invalid_signature: bool) -> Level {
    match status {
        500.. => Level::Error,
        _ if is_of_an_invalid_signature => Level::Error,
        400.. => Level::Warning,
        _ => Level::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::super::request_context::tests::app;
    use super::*;
    use crate::http::Response;

    #[test]
    fn an_answer_whose_header_cannot_be_sent_is_a_500() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path());
        let headers = &Headers::default();
        let (peer, received) = (Client::Unix, Instant::now());
        let line = Some(("GET", "/stats"));
        let record = AccessRecord { route: Route::Stats, request_id: "id-1", line, peer, headers, received };
        for value in ["é", "a\r\nb: c"] {
            let reply = Response::json(200, b"{}".as_slice()).header("Link", value).into();
            let text = String::from_utf8(record.render_and_log(&app, &reply, Next::KeepOpen).bytes).unwrap();
            assert!(text.starts_with("HTTP/1.1 500 ") && text.contains("X-Request-ID: id-1\r\n"), "{text}");
        }
    }
}
