//! Waiting requests are answered as soon as there are messages, and otherwise when their time is over, the service
//! stops, or their client goes.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::super::connection::Connection;
use super::super::request_context::RequestContext;
use super::Reactor;

impl Reactor {
    /// Has a request wait, if there is still somebody and something to wait for.
    pub(super) fn park(&mut self, context: Box<RequestContext>) {
        let (to, now) = (context.to(), Instant::now());
        let has_time = context.wait().is_some_and(|wait| wait.until > now);
        let may_wait = has_time && self.drain_until.is_none() && !self.app.stopping.load(Relaxed);
        let connection = self.connections.get_mut(to.key).filter(|connection| connection.id == to);
        match connection.filter(|connection| may_wait && !connection.has_hung_up()) {
            Some(connection) => {
                connection.protocol.wait(context.held(), now);
                context.rest();
                self.waiters.park(context);
                self.count_waiters();
            }
            None => self.answer_with_nothing(context),
        }
    }

    /// Something has happened on the connection of one who waits: what it sends is for later, unless it goes.
    pub(super) fn look_after_waiter(&mut self, key: usize) {
        if self.connections.get(key).is_some_and(Connection::has_hung_up)
            && let Some(context) = self.waiters.take(key)
        {
            // One who has closed its side only still reads the answer.
            self.end_wait(context);
        }
    }

    /// The connection is about to be closed: whoever waits on it is answered as well as can be.
    pub(super) fn dismiss_waiter(&mut self, key: usize) {
        let Some(mut context) = self.waiters.take(key) else {
            return;
        };
        context.resume(Instant::now());
        context.ends_connection();
        if let (Some(answer), Some(connection)) = (context.nothing(), self.connections.get(key)) {
            connection.say_farewell(&answer.rendered.bytes);
        }
        self.count_waiters();
    }

    /// Answers everybody at once, as there will be nothing more.
    pub(super) fn end_all_waits(&mut self) {
        while let Some(context) = self.waiters.take_one() {
            self.end_wait(context);
        }
    }

    /// To be called each time that anything has happened.
    pub(super) fn tend_waiters(&mut self, now: Instant) {
        if self.waiters.len() == 0 {
            return;
        }
        while let Some(context) = self.waiters.take_expired(now) {
            self.end_wait(context);
        }
        for leader in self.waiters.pass(self.app.store.commits(), now) {
            if let Err(leader) = self.pool.submit(leader) {
                leader.shed();
            }
        }
        self.count_waiters();
    }

    fn end_wait(&mut self, mut context: Box<RequestContext>) {
        context.resume(Instant::now());
        self.answer_with_nothing(context);
        self.count_waiters();
    }

    fn answer_with_nothing(&mut self, context: Box<RequestContext>) {
        let to = context.to();
        self.guarded(Some(to), |reactor| {
            if let Some(answer) = context.nothing() {
                reactor.deliver(answer);
            }
        });
    }

    fn count_waiters(&self) {
        self.app.metrics.feed_waiters.store(self.waiters.len() as i64, Relaxed);
    }
}
