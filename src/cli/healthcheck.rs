//! `healthcheck` asks the service on this machine whether it is ready, for containers without curl.

use std::fmt::Display;
use std::process;
use std::time::Duration;

use rustix::net::SocketAddrAny;

use super::{Failure, NO, probe};
use crate::config::Config;
use crate::server::Listener;

/// How long the `healthcheck` command waits for an answer.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) fn check() -> Result<(), Failure> {
    let silent = |error: &dyn Display| Failure::new(NO, format!("the service does not answer: {error}"));
    let addresses = addresses()?.map_err(|error| silent(&error))?;
    let id = format!("healthcheck-{}", process::id());
    let response = probe::get(&addresses, "/health/ready", &id, HEALTHCHECK_TIMEOUT);
    let response = response.map_err(|error| silent(&error))?;
    if response.status == 200 {
        return Ok(());
    }
    let body = String::from_utf8_lossy(&response.body);
    Err(Failure::new(NO, format!("not ready: {body}")))
}

/// Where the service listens: at the socket that was passed to it and to us alike, or else at `LISTEN_ADDR`.
fn addresses() -> Result<rustix::io::Result<Vec<SocketAddrAny>>, Failure> {
    if let Some(listener) = Listener::inherited()? {
        return Ok(listener.own_addresses());
    }
    Ok(Config::listen_from_env()?.own_addresses())
}
