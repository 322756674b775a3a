//! `serve` runs the service from its settings to a clean end (contract, section 10).

use std::io;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::reload::warn_of_padding;
use super::running::Running;
use super::signals;
use super::watchdog::{self, Watchdog};
use super::{EX_CONFIG, EX_SOFTWARE, EX_UNAVAILABLE, Failure};
use crate::advice;
use crate::app::App;
use crate::config::Config;
use crate::log::{Level, Line, Log};
use crate::metrics::Metrics;
use crate::notify::Notifier;
use crate::os;
use crate::secrets::CurrentSecrets;
use crate::server::{BindError, Bounds, Listener, Server, Workers};
use crate::store::{self, DatabasePath, Store};
use crate::version::{COMMIT, VERSION};

/// Descriptors kept back from connections: database, WAL, shared memory, sockets of our own.
const RESERVED_DESCRIPTORS: usize = 64;
/// With fewer the service has none left for connections: it holds some 25 itself.
const MIN_DESCRIPTORS: usize = 32;

pub(super) fn serve(config: &Config) -> Result<(), Failure> {
    os::keep_little_free_memory();
    let max_connections = connections_allowed(config.max_connections)?;
    let listener = Listener::open(&config.listen, config.unix_socket_mode)?;
    let log = Log::start(config.log_level).map_err(unavailable)?;
    let signalled = signals::obey(&log).map_err(unavailable)?;
    log_panics(&log);
    let notifier = Notifier::from_env(|detail| say_unknown(&log, detail));
    // A supervisor that cannot be told learns the outcome from whether this process ends.
    let _ = notifier.tell("STATUS=Opening the database");
    let metrics = Arc::new(Metrics::default());
    // Before the database, so that they come to be ready while its disk is waited for.
    let workers = Workers::start(config.workers, &metrics).map_err(unavailable)?;
    let database = DatabasePath::resolve(&config.database)?;
    let store = Store::open(&database, config.retention_days, Arc::clone(&metrics), log.clone())?;
    let address = listener.address().to_owned();
    let app = Arc::new(App {
        secrets: CurrentSecrets::new(config.secrets.clone()),
        allowed_hosts: config.allowed_hosts.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        whatsapp_statuses: config.whatsapp_statuses,
        store,
        metrics,
        log: log.clone(),
        watchdog_id: watchdog::fresh_id(),
        stopping: AtomicBool::new(false),
    });
    let bounds = Bounds {
        max_body_bytes: config.max_body_bytes,
        max_connections,
        request_timeout: config.request_timeout,
        idle_timeout: config.idle_timeout,
    };
    // Before the line of the first request.
    log_start(&log, config, &address, &bounds);
    warn_of_padding(&log, config);
    if config.secrets.api_token.is_none() && listener.is_public().map_err(unavailable)? {
        log.write(&Line::event(Level::Warning, "open_to_all").text("listen", &address));
    }
    if config.listen_is_set && !listener.is_at(&config.listen).map_err(unavailable)? {
        log.write(&Line::event(Level::Warning, "listen_addr_unused").text("listen", &address));
    }
    let own = listener.own_addresses().map_err(unavailable)?;
    let server = Server::start(listener, Arc::clone(&app), workers, bounds).map_err(unavailable)?;
    let running = Arc::new(Running { app: Arc::clone(&app), server: server.stopper(), notifier, address });
    // It is set here and nowhere else.
    let _ = signalled.set(Arc::clone(&running));
    if let Err(error) = running.tell_with_status("READY=1") {
        say_unknown(&log, &error.to_string());
    }
    if let Some(interval) = watchdog::interval() {
        Watchdog { interval, running, own }.start().map_err(unavailable)?;
    }

    let stopped = server.wait();
    // What was accepted is committed before anything else ends.
    app.store.stop();
    log.write(&Line::event(Level::Info, "stopped"));
    log.flush();
    if stopped { Ok(()) } else { Err(Failure::new(EX_SOFTWARE, "the server ended by itself")) }
}

/// A start fails here only because no thread or no descriptor can be made.
fn unavailable(error: impl Into<io::Error>) -> Failure {
    let error = error.into();
    let advice = advice::on_thread(&error);
    Failure::new(EX_UNAVAILABLE, format!("cannot start what serves: {error}; {advice}"))
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        Self::new(if error.is_wrong_setting() { EX_CONFIG } else { EX_UNAVAILABLE }, error)
    }
}

fn log_start(log: &Log, config: &Config, address: &str, bounds: &Bounds) {
    log.write(
        &Line::event(Level::Info, "start")
            .text("version", VERSION)
            .text("commit", COMMIT)
            .text("sqlite_version", store::sqlite_version())
            .text("listen", address)
            .text("database", &config.database.to_string_lossy())
            .boolean("secret_set", config.secrets.keys.is_some())
            .boolean(
                "whatsapp_secret_set",
                config.secrets.whatsapp.as_ref().is_some_and(|w| w.keys.is_some()),
            )
            .number("max_connections", bounds.max_connections as u64),
    );
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
fn connections_allowed(wished: usize) -> Result<usize, Failure> {
    match os::raise_descriptor_limit() {
        allowed @ ..MIN_DESCRIPTORS => Err(Failure::new(
            EX_UNAVAILABLE,
            format!(
                "this process may open {allowed} files and sockets, and needs {MIN_DESCRIPTORS}: raise ulimit -n, or \
                 LimitNOFILE= of its unit"
            ),
        )),
        allowed => Ok(allowed.saturating_sub(RESERVED_DESCRIPTORS).clamp(1, wished)),
    }
}

fn say_unknown(log: &Log, detail: &str) {
    log.write(&Line::event(Level::Warning, "supervisor_unknown").text("detail", detail));
}
