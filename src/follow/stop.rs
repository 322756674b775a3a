//! A stop ends every wait at once, while what is under way comes to its end.

use std::process::{self, Child, Command};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::io::Result;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::mutex::{lock, wait_while};
use crate::waker::Waker;

/// Asked for by a signal, and looked at by the follower.
pub struct Stop {
    state: Mutex<StopState>,
    changed: Condvar,
    /// Woken once a stop was asked for, for whoever waits for a socket.
    pub waker: Arc<Waker>,
}

#[derive(Default)]
struct StopState {
    is_asked: bool,
    /// The process group of the command that is under way.
    group: Option<Pid>,
}

impl Stop {
    pub fn new() -> Result<Self> {
        let waker = Arc::new(Waker::new()?);
        Ok(Self { state: Mutex::default(), changed: Condvar::new(), waker })
    }

    pub fn ask(&self) {
        lock(&self.state).is_asked = true;
        self.changed.notify_all();
        self.waker.wake();
    }

    pub fn is_asked(&self) -> bool {
        lock(&self.state).is_asked
    }

    /// Waits until `duration` has passed, or a stop is asked for.
    pub fn sleep(&self, duration: Duration) {
        let until = Instant::now() + duration;
        wait_while(&self.changed, lock(&self.state), until, |state| !state.is_asked);
    }

    /// Starts a command that leads a process group, and is under way from here to [`Self::ended`].
    pub fn start(&self, command: &mut Command) -> std::io::Result<Child> {
        // Held meanwhile, so that the process does not end between the two.
        let mut state = lock(&self.state);
        let child = command.spawn()?;
        state.group = Some(Pid::from_child(&child));
        Ok(child)
    }

    /// The command is not under way any more. It is waited for (wait(2)) after this, so that its number is nobody
    /// else's before.
    pub fn ended(&self) {
        lock(&self.state).group = None;
    }

    /// Ends the process, and the group of the command that is under way, because nobody is going to wait for it.
    pub fn end_process(&self, status: i32) -> ! {
        // Held to the end, so that no other command is started.
        let state = lock(&self.state);
        if let Some(group) = state.group {
            // It may be ending by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
        process::exit(status)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_wait_ends_at_its_time_or_at_a_stop() {
        let stop = Arc::new(Stop::new().unwrap());
        stop.sleep(Duration::from_millis(1));
        assert!(!stop.is_asked());
        let asked = Arc::clone(&stop);
        let asker = thread::spawn(move || asked.ask());
        stop.sleep(Duration::from_secs(3600));
        asker.join().unwrap();
        assert!(stop.is_asked());
        stop.sleep(Duration::from_secs(3600));
    }
}
