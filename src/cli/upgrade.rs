//! `SIGUSR2`: the program that is at our path now takes our place, with our socket and our connections
//! ([`crate::server::Heir`]).
//!
//! It is started beside us and opens the database, which SQLite lets two processes use; when it serves,
//! we tell the supervisor whom to watch, pass everything on and end. Until then nothing has changed: if
//! it ends, or takes too long, we go on.

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::{self, Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::log::{Level, Line, Log};
use crate::notify::Notifier;
use crate::server::{Heir, Listener, Stopper};

/// Whatever else is said: one is under way, or was.
enum State {
    Idle,
    Starting(Option<Pid>),
    Done,
}

/// What an upgrade needs.
pub(super) struct Upgrade {
    program: io::Result<PathBuf>,
    listener: Weak<Listener>,
    stopper: Stopper,
    notifier: Notifier,
    log: Log,
    state: Mutex<State>,
}

impl Upgrade {
    pub(super) fn new(
        program: io::Result<PathBuf>,
        listener: &Arc<Listener>,
        stopper: Stopper,
        notifier: Notifier,
        log: Log,
    ) -> Arc<Self> {
        let (listener, state) = (Arc::downgrade(listener), Mutex::new(State::Idle));
        Arc::new(Self { program, listener, stopper, notifier, log, state })
    }

    /// Starts the new program and returns; a thread waits for it, so that a signal is still obeyed.
    pub(super) fn begin(self: &Arc<Self>) {
        let begun = match *self.state() {
            State::Idle if process::id() == 1 => {
                Err("process 1 ends with its container; start a new container instead".to_owned())
            }
            State::Idle => Ok(()),
            _ => Err("another upgrade is under way".to_owned()),
        };
        let begun = begun.and_then(|()| {
            *self.state() = State::Starting(None);
            let upgrade = Arc::clone(self);
            let thread = thread::Builder::new().name("upgrade".into()).spawn(move || upgrade.carry_out());
            thread.map(drop).map_err(|error| {
                *self.state() = State::Idle;
                error.to_string()
            })
        });
        if let Err(detail) = begun {
            self.report(&detail);
        }
    }

    /// The service is to stop: a new program that does not serve yet is not waited for.
    pub(super) fn abandon(&self) {
        if let State::Starting(Some(pid)) = *self.state() {
            // It may have ended already, and has not been waited for.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    fn carry_out(&self) {
        let started = self.start();
        let done = started.and_then(|(heir, mut child)| {
            self.hand_over(heir, child.id()).map_err(|problem| {
                *self.state() = State::Idle;
                // What has not ended by itself; then its own status is kept.
                let _ = child.kill();
                let ended = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
                format!("{problem} ({ended})")
            })
        });
        match done {
            Ok(()) => *self.state() = State::Done,
            Err(detail) => {
                *self.state() = State::Idle;
                self.report(&detail);
            }
        }
    }

    fn start(&self) -> Result<(Heir, Child), String> {
        let program = self.program.as_ref().map_err(|error| format!("where is this program? {error}"))?;
        let listener = self.listener.upgrade().ok_or("the service is stopping")?;
        let (heir, stdin) = Heir::of(&listener).map_err(|error| error.to_string())?;
        drop(listener);
        let mut command = Command::new(program);
        // The watchdog of this process is the next one's then.
        command.args(env::args_os().skip(1)).stdin(stdin).env_remove("WATCHDOG_PID");
        let mut state = self.state();
        let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        *state = State::Starting(Some(Pid::from_child(&child)));
        self.log.write(
            &Line::event(Level::Info, "upgrade")
                .text("program", &program.to_string_lossy())
                .number("pid", child.id().into()),
        );
        Ok((heir, child))
    }

    fn hand_over(&self, heir: Heir, pid: u32) -> Result<(), String> {
        match heir.serves() {
            Ok(true) => {}
            Ok(false) => return Err("the new program ended before it served".to_owned()),
            Err(error) => return Err(format!("the new program does not come to serve: {error}")),
        }
        // A supervisor that does not know takes our end for the service's.
        let told = self.notifier.tell(&format!("MAINPID={pid}"));
        told.map_err(|error| format!("the supervisor cannot be told: {error}"))?;
        if let Err(error) = self.notifier.wait_until_heard() {
            self.log
                .write(&Line::event(Level::Warning, "supervisor_is_slow").text("detail", &error.to_string()));
        }
        if let Err(error) = heir.go() {
            let _ = self.notifier.tell(&format!("MAINPID={}", process::id()));
            return Err(format!("the new program ended as soon as it served: {error}"));
        }
        self.notifier.fall_silent();
        self.log.write(&Line::event(Level::Info, "handed_over").number("pid", pid.into()));
        self.stopper.hand_over(heir);
        Ok(())
    }

    fn report(&self, detail: &str) {
        say_it_failed(&self.log, detail);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn say_it_failed(log: &Log, detail: &str) {
    log.write(&Line::event(Level::Error, "upgrade_failed").text("detail", detail));
}

/// Where this program was started from, by the name it was called by: behind it a newer file, or a link
/// to one, may appear. To be asked at the start.
pub(super) fn program() -> io::Result<PathBuf> {
    let called = env::args_os().next().map(PathBuf::from).filter(|path| path.components().count() > 1);
    match called.map(std::path::absolute) {
        Some(Ok(path)) if path.exists() => Ok(path),
        _ => env::current_exe(),
    }
}
