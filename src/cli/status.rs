//! The status is the line about the service that its supervisor shows (`systemctl status`).

use std::sync::atomic::Ordering::Relaxed;

use crate::app::App;
use crate::escape::escaped;

/// What the service is doing, as an assignment for [`crate::notify::Notifier::tell`].
pub(super) fn status(app: &App, address: &str) -> String {
    if app.secrets.get().keys.is_none() {
        return "STATUS=Not ready: WEBHOOK_SECRET is not set".to_owned();
    }
    let stored = app.metrics.messages_stored.load(Relaxed);
    let connections = app.metrics.connections.load(Relaxed);
    // A path may hold anything, and a line end would begin another assignment.
    let address = escaped(address);
    format!(
        "STATUS=Serving on {address}: {stored} messages stored since the start, {connections} connections"
    )
}
