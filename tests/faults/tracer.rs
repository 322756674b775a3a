//! strace on a running service: system calls that fail while it is attached, and what it has seen.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::fixtures::{eventually, signal};
use crate::service::Service;
use crate::setup::{Setup, wait};
use crate::skip::{Lack, has, lacks};

/// Whether strace is here and may be used.
pub(crate) fn can_trace() -> bool {
    if !has(&["strace"]) {
        return false;
    }
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        lacks(Lack::Tracing);
    }
    can
}

/// Attached until it is dropped.
#[derive(Debug)]
pub(crate) struct Tracer {
    strace: Child,
    seen: PathBuf,
    _folder: TempDir,
}

impl Tracer {
    /// Traces one thread of the service, or all. Nothing else in the service runs slower than it does.
    #[track_caller]
    pub(crate) fn attach(service: &Service, thread: Option<&str>, options: &[&str]) -> Self {
        let pid = service.pid();
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        let seen = folder.path().join("seen");
        let target = thread.map_or(pid, |name| thread_id(pid, name));
        let mut command = Command::new("strace");
        command.args(["--quiet=all", "-y", "-s", "64", "-o"]).arg(&seen).args(options);
        if thread.is_none() {
            command.arg("-f");
        }
        command.args(["-p", &target.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
        let strace = command.spawn().expect("strace starts");
        let tracer = Self { strace, seen, _folder: folder };
        eventually("strace is attached", || {
            let traced = |thread: &u32| {
                let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status"));
                status.is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
            };
            let threads = if thread.is_none() { threads(pid) } else { vec![target] };
            threads.iter().all(traced).then_some(())
        });
        tracer
    }

    /// The lines of what it has seen so far, without the thread's number in front.
    pub(crate) fn seen(&self) -> Vec<String> {
        let text = fs::read(&self.seen).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole
            .lines()
            .map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit()).trim().to_owned())
            .collect()
    }

    #[track_caller]
    pub(crate) fn has_injected(&self) {
        eventually("a fault has been injected", || {
            self.seen().iter().any(|line| line.contains("(INJECTED)")).then_some(())
        });
    }

    /// Lets go of the service, which from here on is a process like any other.
    #[track_caller]
    pub(crate) fn detach(mut self) -> Vec<String> {
        signal(self.strace.id(), "INT");
        wait(&mut self.strace);
        self.seen()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // Asked rather than killed: a tracer that is killed may leave a thread stopped.
        drop(
            Command::new("kill").args(["-INT", &self.strace.id().to_string()]).stderr(Stdio::null()).status(),
        );
        drop(self.strace.wait());
    }
}

/// The service started under strace, which then is no parent of it: signals reach the service.
pub(crate) fn start_traced(setup: Setup, options: &[&str]) -> Setup {
    let mut text = String::new();
    for option in options {
        write!(text, "{option} ").expect("a string takes text");
    }
    // The service takes no notice of a variable that it does not know.
    setup
        .with("TRACE_OPTIONS", &text)
        .through_shell("exec strace -D -f --quiet=all -o seen $TRACE_OPTIONS \"$0\" \"$@\"")
}

pub(crate) fn threads(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the service runs");
    tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect()
}

#[track_caller]
pub(crate) fn thread_id(pid: u32, name: &str) -> u32 {
    let is_called = |thread: &u32| {
        let path = format!("/proc/{pid}/task/{thread}/comm");
        fs::read_to_string(path).is_ok_and(|found| found.trim() == name)
    };
    threads(pid).into_iter().find(is_called).expect("the service has a thread of that name")
}

pub(crate) fn path_text(path: &Path) -> String {
    path.display().to_string()
}
