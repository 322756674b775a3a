//! A reload, which `SIGHUP` asks for, reads secrets and log level again from the files that hold them.
//!
//! Nothing else changes, and no connection notices. What cannot be used changes nothing at all.

use rustix::time::{ClockId, clock_gettime};

use super::running::Running;
use crate::app::App;
use crate::config::Config;
use crate::log::{Level, Line, Log};

pub(super) fn reload(running: &Running) {
    let now = clock_gettime(ClockId::Monotonic);
    let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
    // A supervisor that does not listen does not keep the service from what it was asked for.
    let _ = running.notifier.tell(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
    let log = &running.app.log;
    match read_again(&running.app) {
        Ok(level) => log.write(&Line::event(Level::Info, "reloaded").text("log_level", level.name())),
        Err(detail) => say_it_failed(log, &detail),
    }
    let _ = running.tell_with_status("READY=1");
}

pub(super) fn say_it_failed(log: &Log, detail: &str) {
    log.write(&Line::event(Level::Error, "reload_failed").text("detail", detail));
}

fn read_again(app: &App) -> Result<Level, String> {
    let config = Config::from_env().map_err(|error| error.to_string())?;
    if !config.secrets.cover(&app.secrets.get()) {
        return Err("a secret that was set is gone or empty; the one before is kept".to_owned());
    }
    app.secrets.replace(config.secrets.clone());
    app.log.set_level(config.log_level);
    warn_of_padding(&app.log, &config);
    Ok(config.log_level)
}

/// What a secret is exactly is nobody's business but its owner's, who may not have meant the white space.
pub(super) fn warn_of_padding(log: &Log, config: &Config) {
    for setting in &config.padded_secrets {
        log.write(&Line::event(Level::Warning, "secret_padded").text("setting", setting));
    }
}
