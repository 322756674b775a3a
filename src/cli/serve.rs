//! `serve`: from settings to a running service, and from a signal to a clean end (contract,
//! section 10).

use std::fmt::Display;
use std::io;
use std::panic;
use std::process;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{EX_SOFTWARE, EX_UNAVAILABLE, Failure};
use crate::app::App;
use crate::config::Config;
use crate::limits::RESERVED_DESCRIPTORS;
use crate::log::{Level, Line, Log};
use crate::metrics::Metrics;
use crate::os;
use crate::server::{Bounds, Listener, Server, Stopper};
use crate::store::{self, Store};
use crate::version::{COMMIT, VERSION};

pub(super) fn serve(config: &Config) -> Result<(), Failure> {
    let unavailable = |error: &dyn Display| Failure::new(EX_UNAVAILABLE, error);
    os::keep_little_free_memory();
    let listener = Listener::open(&config.listen).map_err(|error| unavailable(&error))?;
    let log = Log::start(config.log_level).map_err(|error| unavailable(&error))?;
    let stopper = obey_signals(&log).map_err(|error| unavailable(&error))?;
    log_panics(&log);
    let metrics = Arc::new(Metrics::default());
    let store = Store::open(&config.database, config.retention_days, Arc::clone(&metrics), log.clone())?;
    let address = listener.address().to_owned();
    let app = Arc::new(App {
        keys: config.keys.clone(),
        api_token: config.api_token.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        store,
        metrics,
        log: log.clone(),
        stopping: AtomicBool::new(false),
    });
    let bounds = Bounds {
        max_body_bytes: config.max_body_bytes,
        max_connections: connections_allowed(config.max_connections),
        request_timeout: config.request_timeout,
        idle_timeout: config.idle_timeout,
    };
    let server = Server::start(listener, Arc::clone(&app), config.workers, bounds)
        .map_err(|error| unavailable(&error))?;
    log.write(
        &Line::event(Level::Info, "start")
            .text("version", VERSION)
            .text("commit", COMMIT)
            .text("sqlite_version", store::sqlite_version())
            .text("listen", &address)
            .text("database", &config.database.to_string_lossy())
            .boolean("secret_set", config.keys.is_some())
            .number("max_connections", bounds.max_connections as u64),
    );
    // It is set here and nowhere else.
    let _ = stopper.set(server.stopper());

    let stopped = server.wait();
    // What was accepted is committed before anything else ends.
    app.store.stop();
    log.write(&Line::event(Level::Info, "stopped"));
    log.flush();
    if stopped { Ok(()) } else { Err(Failure::new(EX_SOFTWARE, "the server ended by itself")) }
}

/// The first signal drains, the second ends the process at once; what was acknowledged is on disk
/// either way. Before there is anything to drain, the first one ends the process: a migration is
/// one transaction, so it has happened or it has not.
fn obey_signals(log: &Log) -> io::Result<Arc<OnceLock<Stopper>>> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let stopper = Arc::new(OnceLock::<Stopper>::new());
    let (server, log) = (Arc::clone(&stopper), log.clone());
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut stopping = false;
        for signal in signals.forever() {
            if stopping {
                // 128 + signal, as a shell reports a process that a signal has ended.
                process::exit(128 + signal);
            }
            stopping = true;
            let name = if signal == SIGTERM { "SIGTERM" } else { "SIGINT" };
            log.write(&Line::event(Level::Info, "stop").text("signal", name));
            match server.get() {
                Some(server) => server.stop(),
                None => {
                    log.flush();
                    process::exit(0);
                }
            }
        }
    })?;
    Ok(stopper)
}

/// A panic is a line in the log: where it was, and not what it said, which may be a sender's text.
fn log_panics(log: &Log) {
    let log = log.clone();
    panic::set_hook(Box::new(move |info| {
        let place = info.location().map(|place| format!("{}:{}", place.file(), place.line()));
        log.write(&Line::event(Level::Error, "panic").maybe_text("place", place.as_deref()));
    }));
}

/// As many connections as are wished for, if the machine allows that many descriptors.
fn connections_allowed(wished: usize) -> usize {
    os::raise_descriptor_limit().saturating_sub(RESERVED_DESCRIPTORS).clamp(1, wished)
}
