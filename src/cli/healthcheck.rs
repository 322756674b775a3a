//! `healthcheck` asks the service on this machine whether it is ready, for containers without curl.

use std::process;
use std::time::Duration;

use rustix::net::SocketAddrAny;

use super::{EX_CONFIG, Failure, probe};
use crate::config::Config;
use crate::server::Listener;

/// How long the `healthcheck` command waits for each step.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// What a health check of a container ends with when the service is not ready.
const NOT_READY: u8 = 1;

pub(super) fn check() -> Result<(), Failure> {
    let silent = |error| Failure::new(NOT_READY, format!("the service does not answer: {error}"));
    let addresses = addresses()?.map_err(silent)?;
    let id = format!("healthcheck-{}", process::id());
    let answer = probe::get(&addresses, "/health/ready", &id, HEALTHCHECK_TIMEOUT).map_err(silent)?;
    let answer = String::from_utf8_lossy(&answer);
    if answer.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Err(Failure::new(NOT_READY, format!("not ready: {body}")))
}

/// Where the service listens: at the socket that was passed to it and to us alike, or else at `LISTEN_ADDR`.
fn addresses() -> Result<rustix::io::Result<Vec<SocketAddrAny>>, Failure> {
    if let Some(listener) = Listener::inherited()? {
        return Ok(listener.own_addresses());
    }
    let listen = Config::listen_from_env().map_err(|error| Failure::new(EX_CONFIG, error))?;
    Ok(listen.own_addresses())
}
