//! A running service is what signals and the watchdog act on, with its supervisor to tell.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::app::App;
use crate::escape::escaped;
use crate::notify::Notifier;
use crate::server::Stopper;

pub(super) struct Running {
    pub(super) app: Arc<App>,
    pub(super) server: Stopper,
    pub(super) notifier: Notifier,
    /// Where it listens, for people.
    pub(super) address: String,
}

impl Running {
    /// Tells the supervisor an assignment, with the line that it shows about the service (`systemctl status`).
    pub(super) fn tell_with_status(&self, assignment: &str) -> io::Result<()> {
        self.notifier.tell(&format!("{assignment}\nSTATUS={}", self.status()))
    }

    fn status(&self) -> String {
        if let Some(lack) = self.app.secrets.get().lack() {
            return format!("Not ready: {lack}");
        }
        let stored = self.app.metrics.messages_stored.load(Relaxed);
        let connections = self.app.metrics.connections.load(Relaxed);
        // A path may hold anything, and a line end would begin another assignment.
        let address = escaped(&self.address);
        format!("Serving on {address}: {stored} messages stored since the start, {connections} connections")
    }
}
