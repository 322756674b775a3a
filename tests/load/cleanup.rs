//! What must not outlive the run, however it ends: the service, wrk, and the folder of copies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Child};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::Failure;

static LEFT: Mutex<Left> = Mutex::new(Left { children: Vec::new(), folder: None });

struct Left {
    children: Vec<Pid>,
    folder: Option<PathBuf>,
}

fn left() -> MutexGuard<'static, Left> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A signal ends the run, and what it has started with it.
pub(crate) fn on_signals() -> Result<(), Failure> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::spawn(move || {
        let Some(signal) = signals.forever().next() else {
            return;
        };
        let left = left();
        for child in &left.children {
            // One that is gone already is as good.
            let _ = kill_process(*child, Signal::KILL);
        }
        if let Some(folder) = &left.folder {
            let _ = fs::remove_dir_all(folder);
        }
        // As a shell reports a process that a signal has ended.
        process::exit(128 + signal);
    });
    Ok(())
}

pub(crate) fn folder(path: &Path) {
    left().folder = Some(path.to_owned());
}

/// A child that a signal kills until this is dropped. Waiting for it is the owner's.
pub(crate) struct Watched(Pid);

pub(crate) fn watch(child: &Child) -> Watched {
    let pid = Pid::from_child(child);
    left().children.push(pid);
    Watched(pid)
}

impl Drop for Watched {
    fn drop(&mut self) {
        left().children.retain(|child| *child != self.0);
    }
}
