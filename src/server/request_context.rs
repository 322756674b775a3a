//! A request context carries one whole request through the routes to exactly one answer.
//!
//! Invariant: every request that was begun is answered once. A panic in a handler is answered with
//! 500 and goes no further; a request that is dropped unanswered answers 503.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::access_log::AccessRecord;
use super::completions::{CompletionSender, ConnectionId, HeldBytes, OutgoingResponse};
use super::response_writer::Next;
use super::sources::SourceId;
use crate::app::App;
use crate::http::{Body, Request};
use crate::priority::Priority;
use crate::routes::feed::{self, FeedWait};
use crate::routes::{self, Answer, Committing, Reply, Resolved, ToCommit};
use crate::store::{StoreError, Stored};

/// A request on its way to its answer, which is counted and logged as it leaves.
pub(super) struct RequestContext {
    app: Arc<App>,
    request: Request,
    resolved: Resolved,
    next: Next,
    /// Of what is on its way through the writer.
    committing: Option<Committing>,
    /// Of what was made of it for the writer.
    held_at_writer: Option<HeldBytes>,
    /// Of one that waits for messages to come, or has waited.
    waiting: Option<Box<FeedWaiter>>,
    to: ConnectionId,
    pub(super) source: SourceId,
    /// `None` once the answer was sent.
    completions: Option<CompletionSender>,
}

/// What a request waits for at the reactor.
struct FeedWaiter {
    wait: FeedWait,
    /// Others who wait for the same, and get the same answer.
    #[expect(clippy::vec_box, reason = "each comes and goes as it is")]
    followers: Vec<Box<RequestContext>>,
}

impl RequestContext {
    pub(super) fn new(
        app: &Arc<App>,
        request: Request,
        next: Next,
        to: ConnectionId,
        source: SourceId,
        completions: CompletionSender,
    ) -> Box<Self> {
        let resolved = routes::resolve(app, &request);
        app.metrics.in_flight(resolved.priority).fetch_add(1, Relaxed);
        Box::new(Self {
            app: Arc::clone(app),
            request,
            resolved,
            next,
            committing: None,
            held_at_writer: None,
            waiting: None,
            to,
            source,
            completions: Some(completions),
        })
    }

    pub(super) fn to(&self) -> ConnectionId {
        self.to
    }

    pub(super) fn priority(&self) -> Priority {
        self.resolved.priority
    }

    /// Asks `routes`. A message that is to be committed goes to the writer, and comes back through
    /// the completions.
    pub(super) fn run(mut self: Box<Self>, routes: fn(&App, &Request, Resolved) -> Answer) {
        // Checked once more here: many were let in when there was still room.
        let is_full =
            |completions: &CompletionSender| completions.buffered().is_full_for(self.source.number());
        let is_large = matches!(self.priority(), Priority::Read | Priority::Feed | Priority::Bulk);
        if is_large && self.completions.as_ref().is_some_and(is_full) {
            return self.shed();
        }
        let answer = catch_unwind(AssertUnwindSafe(|| match &self.waiting {
            None => routes(&self.app, &self.request, self.resolved),
            Some(waiting) => feed::resume(&self.app, &waiting.wait, self.request.received),
        }));
        match answer {
            Ok(Answer::Now(reply)) => self.send_to_all(reply),
            Ok(Answer::AfterCommit(to_commit, committing)) => {
                self.request.body = Body::Whole(Vec::new());
                self.committing = Some(committing);
                self.held_at_writer = self.completions.as_ref().map(|to| to.hold(to_commit.held()));
                let (app, completions) = (Arc::clone(&self.app), self.completions.clone());
                if let Some(waiter) = completions.and_then(|completions| completions.wait_for_commit(self)) {
                    match to_commit {
                        ToCommit::Message(message) => app.store.insert(message, waiter),
                        ToCommit::Delivery(delivery) => app.store.insert_delivery(delivery, waiter),
                    }
                }
            }
            Ok(Answer::AfterNews(wait)) => self.wait_for_news(wait),
            Err(_) => {
                self.app.metrics.panics.fetch_add(1, Relaxed);
                self.send_to_all(routes::internal_error().into());
            }
        }
    }

    /// Goes back to the reactor, with whoever waits for the same, until there is something. All that is not needed
    /// for the answer is let go of.
    fn wait_for_news(mut self: Box<Self>, wait: FeedWait) {
        let followers = self.waiting.take().map(|waiting| waiting.followers).unwrap_or_default();
        for mut follower in followers {
            if let Some(waiting) = &mut follower.waiting {
                waiting.wait.commits = wait.commits;
            }
            follower.give_back();
        }
        let request = &mut self.request;
        request.headers = request.headers.those_of("X-Forwarded-For");
        (request.query, request.target_authority) = (String::new(), None);
        self.waiting = Some(Box::new(FeedWaiter { wait, followers: Vec::new() }));
        self.give_back();
    }

    fn give_back(self: Box<Self>) {
        if let Some(completions) = self.completions.clone() {
            completions.wait_for_news(self);
        }
    }

    /// What it waits for, if it does.
    pub(super) fn wait(&self) -> Option<&FeedWait> {
        self.waiting.as_ref().map(|waiting| &waiting.wait)
    }

    /// Bytes that it holds while it waits.
    pub(super) fn held(&self) -> usize {
        size_of::<Self>() + size_of::<FeedWaiter>() + self.request.headers.held()
    }

    /// It waits no longer: from now on it is answered in time, as if it had just come.
    pub(super) fn resume(&mut self, now: Instant) {
        self.app.metrics.in_flight(self.priority()).fetch_add(1, Relaxed);
        self.request.received = now;
    }

    /// While it waits nothing is to be done for it.
    pub(super) fn rest(&self) {
        self.app.metrics.in_flight(self.priority()).fetch_sub(1, Relaxed);
    }

    /// Who waits for the same is answered with it.
    pub(super) fn lead(&mut self, follower: Box<Self>) {
        if let Some(waiting) = &mut self.waiting {
            waiting.followers.push(follower);
        }
    }

    /// It has waited in vain.
    pub(super) fn nothing(mut self: Box<Self>) -> Option<OutgoingResponse> {
        let waiting = self.waiting.take()?;
        feed::waited(&self.app, &waiting.wait);
        self.completions.take().map(|_| self.render_and_log(&feed::nothing(&waiting.wait)))
    }

    /// Its connection ends with the answer.
    pub(super) fn ends_connection(&mut self) {
        self.next = Next::Close;
    }

    /// The writer has spoken.
    pub(super) fn committed(
        mut self: Box<Self>,
        result: &Result<Stored, StoreError>,
    ) -> Option<OutgoingResponse> {
        let reply = self.committing.take()?.committed(result);
        self.completions.take().map(|_| self.render_and_log(&reply))
    }

    /// There is no room for it.
    pub(super) fn shed(self: Box<Self>) {
        self.app.metrics.shed(self.priority()).fetch_add(1, Relaxed);
        let reply = self.resolved.unavailable(routes::OVERLOADED);
        self.send_to_all(reply);
    }

    /// Answers with this, and whoever waits for the same.
    fn send_to_all(mut self: Box<Self>, mut reply: Reply) {
        if let Some(FeedWaiter { wait, followers }) = self.waiting.take().map(|waiting| *waiting) {
            feed::waited(&self.app, &wait);
            reply.response.share(followers.len() + 1);
            for mut follower in followers {
                if let Some(waiting) = follower.waiting.take() {
                    feed::waited(&self.app, &waiting.wait);
                }
                follower.send(&reply);
            }
        }
        self.send(&reply);
    }

    fn send(&mut self, reply: &Reply) {
        if let Some(completions) = self.completions.take() {
            completions.send(self.render_and_log(reply));
        }
    }

    fn render_and_log(&self, reply: &Reply) -> OutgoingResponse {
        let record = AccessRecord {
            route: self.resolved.route,
            request_id: &self.request.id,
            line: Some((&self.request.method, &self.request.path)),
            peer: self.request.peer,
            headers: &self.request.headers,
            received: self.request.received,
        };
        self.app.metrics.in_flight(self.priority()).fetch_sub(1, Relaxed);
        let next = if self.app.stopping.load(Relaxed) { Next::Close } else { self.next };
        let rendered = record.render_and_log(&self.app, reply, next);
        OutgoingResponse { to: self.to, rendered, close: next == Next::Close }
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        if self.completions.is_some() {
            let reply = self.resolved.unavailable("the request was given up");
            self.send(&reply);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    use super::super::completions::{Completion, CompletionQueue};
    use super::*;
    use crate::client::{Client, TrustedProxies};
    use crate::config::WhatsappStatuses;
    use crate::hosts::AllowedHosts;
    use crate::http::Headers;
    use crate::log::{Level, Log};
    use crate::message::Message;
    use crate::metrics::WebhookResult;
    use crate::secrets::{CurrentSecrets, Secrets};
    use crate::store::{DatabasePath, Store};

    pub(in super::super) fn app(folder: &Path) -> Arc<App> {
        let metrics = Arc::default();
        let log = Log::start(Level::Error).unwrap();
        let store = Store::open(
            &DatabasePath::resolve(&folder.join("app.db")).unwrap(),
            None,
            Arc::clone(&metrics),
            log.clone(),
        )
        .unwrap();
        let secrets = CurrentSecrets::new(Secrets::default());
        let (trusted_proxies, stopping) = (TrustedProxies::default(), AtomicBool::new(false));
        let allowed_hosts = AllowedHosts::default();
        let watchdog_id = String::new();
        Arc::new(App {
            secrets,
            allowed_hosts,
            trusted_proxies,
            whatsapp_statuses: WhatsappStatuses::Keep,
            store,
            metrics,
            log,
            watchdog_id,
            stopping,
        })
    }

    fn context(app: &Arc<App>, method: &str, path: &str) -> (Box<RequestContext>, CompletionQueue) {
        let queue = CompletionQueue::new().unwrap();
        (asking(app, method, path, &queue), queue)
    }

    pub(in super::super) fn asking(
        app: &Arc<App>,
        method: &str,
        path: &str,
        queue: &CompletionQueue,
    ) -> Box<RequestContext> {
        let request = Request {
            method: method.into(),
            path: path.into(),
            query: String::new(),
            target_authority: None,
            headers: Headers::default(),
            body: Body::Whole(Vec::new()),
            peer: Client::Unix,
            id: "id-1".into(),
            received: Instant::now(),
        };
        let to = ConnectionId { key: 3, serial: 7 };
        RequestContext::new(app, request, Next::KeepOpen, to, SourceId::Direct(1), queue.sender())
    }

    pub(in super::super) fn answers(queue: &CompletionQueue) -> Vec<String> {
        let text = |answer: OutgoingResponse| String::from_utf8(answer.rendered.bytes).unwrap();
        let answer = |completion| match completion {
            Completion::Response(response) => Some(response),
            Completion::Outcome { context, result } => context.committed(&result),
            Completion::Waiting(context) => context.nothing(),
        };
        queue.take().into_iter().filter_map(answer).map(text).collect()
    }

    #[test]
    fn a_panic_in_a_handler_is_answered_with_500_and_goes_no_further() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path());
        let (context, queue) = context(&app, "GET", "/stats");
        context.run(|_, _, _| panic!("on purpose"));
        let answers = answers(&queue);
        assert_eq!(answers.len(), 1);
        assert!(answers[0].starts_with("HTTP/1.1 500 "), "{answers:?}");
        assert!(answers[0].ends_with(r#"{"detail":"Internal Server Error"}"#), "{answers:?}");
        assert_eq!(
            (app.metrics.panics.load(Relaxed), app.metrics.in_flight(Priority::Read).load(Relaxed)),
            (1, 0)
        );
    }

    #[test]
    fn a_request_that_is_dropped_answers_503() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path());
        let (context, queue) = context(&app, "POST", "/webhook");
        drop(context);
        let answers = answers(&queue);
        assert_eq!(answers.len(), 1);
        assert!(
            answers[0].starts_with("HTTP/1.1 503 ") && answers[0].contains("Retry-After: 1"),
            "{answers:?}"
        );
        assert_eq!(app.metrics.webhooks(WebhookResult::Unavailable).load(Relaxed), 1);
    }

    #[test]
    fn a_request_is_answered_once() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path());
        let (context, queue) = context(&app, "GET", "/health/live");
        context.run(routes::answer);
        assert_eq!(answers(&queue).len(), 1);
        assert!(answers(&queue).is_empty());
    }

    fn to_be_stored(_: &App, _: &Request, _: Resolved) -> Answer {
        let body = br#"{"message_id":"m1","from":"+1","to":"+2","ts":"2025-01-15T10:00:00Z"}"#;
        let committing = Committing::Message { message_id: "m1".to_owned() };
        Answer::AfterCommit(ToCommit::Message(Message::parse(body).unwrap()), committing)
    }

    #[test]
    fn a_message_is_answered_by_what_became_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path());
        for result in [WebhookResult::Created, WebhookResult::Duplicate] {
            let (context, queue) = context(&app, "POST", "/webhook");
            context.run(to_be_stored);
            let answers =
                std::iter::repeat_with(|| answers(&queue)).find(|answers| !answers.is_empty()).unwrap();
            assert!(answers.len() == 1 && answers[0].starts_with("HTTP/1.1 200 "), "{answers:?}");
            assert_eq!(app.metrics.webhooks(result).load(Relaxed), 1);
        }
    }

    #[test]
    fn once_the_reactor_is_gone_a_request_is_counted_and_nothing_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let app = app(folder.path());
        let (context, queue) = context(&app, "POST", "/webhook");
        drop(queue);
        context.run(to_be_stored);
        let waiting = app.metrics.in_flight(Priority::Ingest).load(Relaxed);
        assert_eq!((app.metrics.webhooks(WebhookResult::Unavailable).load(Relaxed), waiting), (1, 0));
    }
}
