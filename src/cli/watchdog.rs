//! The supervisor's watchdog hears from the service as long as there is progress (sd_watchdog_enabled(3)).
//!
//! When it hears nothing it ends the service and starts it anew.
//!
//! Progress is that a connection of our own is accepted and answered, or that others were accepted
//! meanwhile, as in a flood; and that the writer takes up batch after batch. A disk that fails is no
//! reason: the writer says so to each sender, and a new process would find the same disk. Where the
//! service cannot reach itself, its accept loop is looked at from inside.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::SocketAddrAny;
use rustix::rand::{GetRandomFlags, getrandom};

use super::probe;
use super::running::Running;
use crate::http_client::HttpClientError;
use crate::log::{Level, Line};

/// So many times in the interval that the supervisor wants to hear from us (`WATCHDOG_USEC`) we check
/// whether there is progress: one check that comes late must not end the service.
const CHECKS_PER_INTERVAL: u32 = 3;

/// What this process signs its own requests with.
pub(super) fn fresh_id() -> String {
    let mut random = [0_u8; 16];
    match getrandom(&mut random, GetRandomFlags::NONBLOCK) {
        Ok(length) if length == random.len() => format!("watchdog-{}", hex::encode(random)),
        _ => String::new(),
    }
}

/// How often the supervisor wants to hear from this process, if at all.
pub(super) fn interval() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_for_us = std::env::var_os("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(std::process::id().into());
    number("WATCHDOG_USEC").filter(|usec| is_for_us && *usec > 0).map(Duration::from_micros)
}

pub(super) struct Watchdog {
    pub(super) interval: Duration,
    pub(super) running: Arc<Running>,
    /// Where this process reaches itself.
    pub(super) own: Vec<SocketAddrAny>,
}

impl Watchdog {
    pub(super) fn start(self) -> io::Result<()> {
        thread::Builder::new().name("watchdog".into()).spawn(move || self.watch())?;
        Ok(())
    }

    /// Until the service stops.
    fn watch(&self) {
        let reachable = self.reaches_itself();
        let mut is_stuck = false;
        while !self.running.app.stopping.load(Relaxed) {
            let began = Instant::now();
            let obstacle = self.obstacle(reachable);
            // What is stopping meanwhile is not stuck.
            if self.running.app.stopping.load(Relaxed) {
                return;
            }
            match obstacle {
                None => {
                    // If nobody hears it, nobody waits for it.
                    let _ = self.running.tell_with_status("WATCHDOG=1");
                    is_stuck = false;
                }
                Some(what) if !is_stuck => {
                    self.running.app.log.write(&Line::event(Level::Error, "stuck").text("what", what));
                    let _ = self.running.notifier.tell(&format!("STATUS=Stuck: {what}"));
                    is_stuck = true;
                }
                Some(_) => {}
            }
            thread::sleep((self.interval / CHECKS_PER_INTERVAL).saturating_sub(began.elapsed()));
        }
    }

    /// A socket that was made in another network or below another root may be out of reach.
    fn reaches_itself(&self) -> bool {
        let reached = self.ask(self.interval / CHECKS_PER_INTERVAL);
        if let Err(error) = &reached {
            let line =
                Line::event(Level::Warning, "cannot_reach_itself").text("listen", &self.running.address);
            self.running.app.log.write(&line.text("detail", &error.to_string()));
        }
        reached.is_ok()
    }

    fn obstacle(&self, reachable: bool) -> Option<&'static str> {
        // An exchange takes two thirds of the time for one check, and the writer the last.
        let step = self.interval / CHECKS_PER_INTERVAL / 3;
        let accepted = self.running.app.metrics.accepted.load(Relaxed);
        let answered =
            if reachable { self.ask(2 * step).is_ok() } else { self.running.server.reactor_turns(step) };
        if !answered && self.running.app.metrics.accepted.load(Relaxed) == accepted {
            return Some("no connection is accepted");
        }
        (!self.running.app.store.makes_progress(step)).then_some("the writer")
    }

    /// Whatever it says: an answer that there is no room is one, too.
    fn ask(&self, timeout: Duration) -> Result<(), HttpClientError> {
        probe::get(&self.own, "/health/live", &self.running.app.watchdog_id, timeout).map(drop)
    }
}
