//! The app holds the parts of the running service that a route may reach.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::client::TrustedProxies;
use crate::config::WhatsappStatuses;
use crate::hosts::AllowedHosts;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::secrets::CurrentSecrets;
use crate::store::Store;

/// The parts, shared by every thread.
pub struct App {
    pub secrets: CurrentSecrets,
    pub allowed_hosts: AllowedHosts,
    pub trusted_proxies: TrustedProxies,
    pub whatsapp_statuses: WhatsappStatuses,
    pub store: Store,
    pub metrics: Arc<Metrics>,
    pub log: Log,
    /// The `X-Request-ID` of the watchdog's requests, which nobody else can guess: they are not worth a
    /// line in the log. Empty, and so nobody's, where the machine had no randomness.
    pub watchdog_id: String,
    /// Set once, when the service begins to stop.
    pub stopping: AtomicBool,
}
