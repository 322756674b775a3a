//! What a route may reach: the parts of the running service, and no logic.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::client::TrustedProxies;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::secrets::CurrentSecrets;
use crate::store::Store;

/// The parts, shared by every thread.
pub struct App {
    pub secrets: CurrentSecrets,
    pub trusted_proxies: TrustedProxies,
    pub store: Store,
    pub metrics: Arc<Metrics>,
    pub log: Log,
    /// Set once, when the service begins to stop.
    pub stopping: AtomicBool,
}
