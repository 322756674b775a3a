//! A thread of its own turns signals into a stop or a reload.
//!
//! `SIGTERM` and `SIGINT` end the service, `SIGHUP` has it read its secrets again. `SIGUSR2` does nothing: by
//! default it would kill.

use std::io::{self, IsTerminal};
use std::process;
use std::sync::{Arc, OnceLock};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use super::reload::{self, reload};
use super::running::Running;
use crate::log::{Level, Line, Log};
use crate::os;

const TOO_EARLY: &str = "the service is starting; try again";

/// Starts the thread that obeys signals. It acts on the service in the cell it gives back, which is set once the
/// service serves.
///
/// The first SIGTERM or SIGINT drains, the second ends the process at once; what was acknowledged is on disk either
/// way. Before the cell is set there is nothing to drain, so the first one ends the process: a migration is one
/// transaction, so it has happened or it has not.
pub(super) fn obey(log: &Log) -> io::Result<Arc<OnceLock<Arc<Running>>>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR2])?;
    os::unblock_signals();
    let running = Arc::new(OnceLock::<Arc<Running>>::new());
    let (service, log) = (Arc::clone(&running), log.clone());
    let from_terminal = io::stdin().is_terminal();
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut stopping = false;
        for signal in signals.forever() {
            // A terminal that was closed is no terminal any more, and whoever sat at it wants us gone.
            let hung_up = signal == SIGHUP && from_terminal && !io::stdin().is_terminal();
            match (signal, service.get()) {
                (SIGUSR2, _) => {}
                (SIGHUP, _) if stopping => {}
                (SIGHUP, Some(running)) if !hung_up => reload(running),
                (SIGHUP, None) if !hung_up => reload::say_it_failed(&log, TOO_EARLY),
                // 128 + signal, as a shell reports a process that a signal has ended.
                _ if stopping => process::exit(128 + signal),
                (_, running) => {
                    stopping = true;
                    stop(running, &log, signal);
                }
            }
        }
    })?;
    Ok(running)
}

fn stop(running: Option<&Arc<Running>>, log: &Log, signal: i32) {
    let name = match signal {
        SIGTERM => "SIGTERM",
        SIGINT => "SIGINT",
        _ => "SIGHUP",
    };
    log.write(&Line::event(Level::Info, "stop").text("signal", name));
    let Some(running) = running else {
        log.flush();
        process::exit(0);
    };
    // A supervisor that hears nothing sees the end.
    let _ = running.notifier.tell("STOPPING=1\nSTATUS=Finishing requests");
    running.server.stop();
}
