//! What a route may reach: the parts of the running service, and no logic.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::client::TrustedProxies;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::signature::Keys;
use crate::store::Store;

/// The parts, shared by every thread.
pub struct App {
    /// `None` while no secret is set.
    pub keys: Option<Keys>,
    pub api_token: Option<Vec<u8>>,
    pub trusted_proxies: TrustedProxies,
    pub store: Store,
    pub metrics: Arc<Metrics>,
    pub log: Log,
    /// Set once, when the service begins to stop.
    pub stopping: AtomicBool,
}
