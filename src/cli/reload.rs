//! `SIGHUP`: secrets and the level of the log are read again, from the files that hold them.
//!
//! Nothing else changes, and no connection notices. What cannot be used changes nothing at all.

use rustix::time::{ClockId, clock_gettime};

use super::serve::warn_of_padding;
use super::status::status;
use crate::app::App;
use crate::config::Config;
use crate::log::{Level, Line, Log};
use crate::notify::Notifier;

pub(super) fn reload(app: &App, notifier: &Notifier, address: &str) {
    let now = clock_gettime(ClockId::Monotonic);
    let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
    // A supervisor that does not listen does not keep the service from what it was asked for.
    let _ = notifier.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    match read_again(app) {
        Ok(level) => app.log.write(&Line::event(Level::Info, "reloaded").text("log_level", level.name())),
        Err(detail) => say_it_failed(&app.log, &detail),
    }
    let _ = notifier.tell(&format!("READY=1\n{}", status(app, address)));
}

pub(super) fn say_it_failed(log: &Log, detail: &str) {
    log.write(&Line::event(Level::Error, "reload_failed").text("detail", detail));
}

fn read_again(app: &App) -> Result<Level, String> {
    let config = Config::from_env().map_err(|error| error.to_string())?;
    if !config.secrets.hold_what(&app.secrets.get()) {
        return Err("a secret that was set is gone or empty; the one before is kept".to_owned());
    }
    app.secrets.replace(config.secrets.clone());
    app.log.set_level(config.log_level);
    warn_of_padding(&app.log, &config);
    Ok(config.log_level)
}
