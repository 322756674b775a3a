//! A command takes a batch on its standard input and says by its exit status whether it has it.
//!
//! It runs in a process group of its own, which is ended as a whole at the timeout: by SIGTERM, then SIGKILL. One
//! thread does it all, so that a command that writes while it is written to, or reads nothing, blocks nobody: it
//! waits (poll(2)) for the command's pipes and for the end of a child. What a command leaves behind with its pipes
//! open is not waited for.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid};
use signal_hook::consts::SIGCHLD;
use signal_hook::low_level::pipe;

use super::batch::MessageBatch;
use super::handover::Handover;
use super::output_lines::OutputLines;
use super::stop::Stop;
use crate::advice;

/// How long a command may take to end after SIGTERM, and how long SIGKILL may.
const GRACE: Duration = Duration::from_secs(2);

/// Starts a command for each batch.
pub struct ExecTarget {
    command: Vec<OsString>,
    say: fn(&str),
    stop: Arc<Stop>,
    /// Readable once a child has ended.
    ended: UnixStream,
}

impl ExecTarget {
    /// `command` is the program and its arguments, `say` where a line of its output goes.
    pub fn new(command: Vec<OsString>, say: fn(&str), stop: Arc<Stop>) -> io::Result<Self> {
        let (ended, signalled) = UnixStream::pair()?;
        ended.set_nonblocking(true)?;
        pipe::register(SIGCHLD, signalled)?;
        Ok(Self { command, say, stop, ended })
    }

    pub fn hand_on(&self, batch: &MessageBatch<'_>, timeout: Duration) -> Handover {
        let Some((program, arguments)) = self.command.split_first() else {
            return Handover::Closed("there is no command".to_owned());
        };
        let mut command = Command::new(program);
        command.args(arguments).process_group(0);
        // What it says to the supervisor of this process would be believed.
        command.env_remove("NOTIFY_SOCKET");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = match self.stop.start(&mut command) {
            Ok(child) => child,
            Err(error) => {
                let program = program.to_string_lossy();
                let advice = advice_on_start(&error);
                return retry(format!("cannot start {program}: {error}; {advice}"));
            }
        };
        let lines = batch.ndjson();
        let mut run = match Run::new(child, &lines, self, batch) {
            Ok(run) => run,
            Err(error) => return retry(format!("cannot talk to the command: {error}")),
        };
        let ending = run.wait_for_end(Instant::now() + timeout);
        run.finish();
        match ending {
            Ok(Some(status)) => judge(&status),
            Ok(None) => retry(format!("it took longer than {} s, and was ended", timeout.as_secs())),
            Err(error) => retry(format!("cannot wait for the command: {error}")),
        }
    }
}

/// What to do where a command cannot be started (execve(2)).
fn advice_on_start(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => "there is no such command, or none that its first line (#!) names",
        io::ErrorKind::PermissionDenied => "make it a file that may be executed (chmod +x)",
        _ if Errno::from_io_error(error) == Some(Errno::NOEXEC) => {
            "a script begins with a line that says what runs it, such as #!/bin/sh"
        }
        _ => return advice::on_file(error),
    };
    advice.to_owned()
}

fn retry(reason: String) -> Handover {
    Handover::Retry { reason, after: None }
}

/// What a command means by how it has ended.
fn judge(status: &WaitIdStatus) -> Handover {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => Handover::Confirmed,
        // It refuses the batch for good (sysexits.h, `EX_DATAERR`).
        (Some(65), _) => Handover::DeadLetter("the command ended with status 65".to_owned()),
        (Some(status), _) => retry(format!("the command ended with status {status}")),
        (None, Some(signal)) => retry(format!("the command was ended by signal {signal}")),
        (None, None) => retry("the command ended in an unknown way".to_owned()),
    }
}

/// How far the end of a command has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Running,
    /// SIGTERM was sent.
    Asked,
    /// SIGKILL was sent.
    Killed,
}

/// One command under way. It is waited for when this is dropped, and no process of its group is asked anything after.
struct Run<'a> {
    child: Child,
    group: Pid,
    target: &'a ExecTarget,
    input: Option<(ChildStdin, &'a [u8])>,
    outputs: [OutputLines<'a>; 2],
}

impl<'a> Run<'a> {
    fn new(
        mut child: Child,
        lines: &'a [u8],
        target: &'a ExecTarget,
        batch: &'a MessageBatch<'a>,
    ) -> io::Result<Self> {
        let group = Pid::from_child(&child);
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let input = stdin.map(|stdin| (stdin, lines));
        let outputs = [
            OutputLines::new(stdout.map(Into::into), "stdout", batch, target.say),
            OutputLines::new(stderr.map(Into::into), "stderr", batch, target.say),
        ];
        let run = Self { child, group, target, input, outputs };
        if let Some((stdin, _)) = &run.input {
            ioctl_fionbio(stdin, true)?;
        }
        for output in run.outputs.iter().filter_map(OutputLines::pipe) {
            ioctl_fionbio(output, true)?;
        }
        Ok(run)
    }

    /// Until the command has ended by itself; `None` if it had to be ended.
    fn wait_for_end(&mut self, deadline: Instant) -> io::Result<Option<WaitIdStatus>> {
        let (mut stage, mut deadline) = (Ending::Running, deadline);
        loop {
            let status = self.status()?;
            let is_quiet = self.outputs.iter().all(|output| output.pipe().is_none());
            let is_over = Instant::now() >= deadline;
            (stage, deadline) = match (stage, status) {
                (Ending::Running, Some(status)) => return Ok(Some(status)),
                (Ending::Running, None) if is_over => self.signal(Ending::Asked, Signal::TERM),
                // Whoever of the group holds no pipe of ours any more has most likely ended as well.
                (Ending::Asked, Some(_)) if is_quiet => self.signal(Ending::Killed, Signal::KILL),
                (Ending::Asked, _) if is_over => self.signal(Ending::Killed, Signal::KILL),
                (Ending::Killed, Some(_)) => return Ok(None),
                // Not even SIGKILL ends who waits for a device.
                (Ending::Killed, None) if is_over => return Ok(None),
                _ => (stage, deadline),
            };
            self.wait(deadline)?;
        }
    }

    fn signal(&self, stage: Ending, signal: Signal) -> (Ending, Instant) {
        // Its number is its own as long as it was not waited for; it may have ended.
        let _ = kill_process_group(self.group, signal);
        (stage, Instant::now() + GRACE)
    }

    /// How it has ended, if it has. It stays a zombie, so that its number is nobody else's.
    fn status(&self) -> io::Result<Option<WaitIdStatus>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(rustix::io::retry_on_intr(|| waitid(WaitId::Pid(self.group), options))?)
    }

    /// Moves what can be moved, once something can, or `deadline` is there.
    fn wait(&mut self, deadline: Instant) -> io::Result<()> {
        // A deadline beyond what fits is one for ever.
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).ok();
        let mut awaited = vec![PollFd::from_borrowed_fd(self.target.ended.as_fd(), PollFlags::IN)];
        awaited.extend(
            self.input.as_ref().map(|(stdin, _)| PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::OUT)),
        );
        let outputs = self.outputs.iter().filter_map(OutputLines::pipe);
        awaited.extend(outputs.map(|pipe: BorrowedFd<'_>| PollFd::from_borrowed_fd(pipe, PollFlags::IN)));
        match poll(&mut awaited, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // Which of them it was is found out by trying.
        let mut ends = [0; 64];
        while matches!((&self.target.ended).read(&mut ends), Ok(count) if count > 0) {}
        self.feed();
        for output in &mut self.outputs {
            output.read();
        }
        Ok(())
    }

    /// Writes what the command takes. One that reads no more of it may still have all it needs.
    fn feed(&mut self) {
        while let Some((stdin, rest)) = &mut self.input {
            match stdin.write(rest) {
                _ if rest.is_empty() => self.input = None,
                Ok(count) => *rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.input = None,
            }
        }
    }

    /// Says what is left in its pipes, and lets go of them.
    fn finish(&mut self) {
        self.input = None;
        for output in &mut self.outputs {
            output.read();
            output.finish();
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.target.stop.ended();
        // Where not even SIGKILL has ended it, it is left behind.
        let _ = self.child.try_wait();
    }
}
