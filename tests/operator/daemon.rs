//! A program that runs beside the service until the test is over.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::fixtures::{eventually, signal};
use crate::output::Lines;
use crate::setup::wait;

/// Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    output: Lines,
    name: String,
}

impl Daemon {
    /// Started in a folder, which is also its home.
    pub(crate) fn start(program: &str, arguments: &[&str], folder: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).env("HOME", folder).env("XDG_CONFIG_HOME", folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        let output = Lines::of(child.stderr.take().expect("stderr is a pipe"));
        Self { child, output, name: program.to_owned() }
    }

    /// Looks until there is an answer, and fails with the program's own words if it has ended.
    #[track_caller]
    pub(crate) fn until<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        eventually(what, || {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                panic!("{} has ended with {status}: {}", self.name, self.output.to_the_end());
            }
            look()
        })
    }

    /// Sends it a signal, and waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self, name: &str) {
        signal(self.child.id(), name);
        wait(&mut self.child);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
