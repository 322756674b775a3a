//! What the executable is started with: a folder of its own, only the variables a test gives, a free port.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::chown;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;

use tempfile::TempDir;

use super::fixtures::{SECRET, eventually, open_database};
use super::output::Lines;

const BINARY: &str = env!("CARGO_BIN_EXE_lyftr-webhook");

/// A port for something to listen on later, or again after a restart. Below those that the kernel gives out by itself
/// (ip(7), `ip_local_port_range`), so that no client's socket has it meanwhile; no other test, of this process or
/// another, is given it before this process ends.
pub(crate) fn free_port() -> u16 {
    static TAKEN: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().expect("no test panics here");
    for port in 10_000..32_768 {
        let name = SocketAddr::from_abstract_name(format!("lyftr-webhook-test-port-{port}"));
        let Ok(claim) = UnixDatagram::bind_addr(&name.expect("the name is short")) else {
            continue;
        };
        taken.push(claim);
        // What is no test may listen there.
        if TcpListener::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
    panic!("the machine has a free port");
}

#[track_caller]
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    eventually("the process ends", || child.try_wait().expect("a child can be waited for"))
}

/// What becomes of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stdout {
    Read,
    /// The pipe is left unread, as a log collector that hangs does.
    Unread,
    /// A million lines are not for keeping.
    Nowhere,
}

/// What the executable is going to be started with.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) folder: TempDir,
    pub(crate) variables: BTreeMap<String, String>,
    shell: Option<String>,
    stdin: Option<OwnedFd>,
    pub(crate) stdout: Stdout,
    user: Option<u32>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        let variables = BTreeMap::new();
        let setup = Self { folder, variables, shell: None, stdin: None, stdout: Stdout::Read, user: None };
        let url = format!("sqlite:///{}", setup.path("app.db").display());
        setup.with("WEBHOOK_SECRET", SECRET).with("DATABASE_URL", &url)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// Started by `sh` with this script, in which `"$0"` is the executable.
    pub(crate) fn through_shell(mut self, script: impl Into<String>) -> Self {
        self.shell = Some(script.into());
        self
    }

    pub(crate) fn with_stdin(mut self, stdin: OwnedFd) -> Self {
        self.stdin = Some(stdin);
        self
    }

    pub(crate) fn with_stdout_unread(mut self) -> Self {
        self.stdout = Stdout::Unread;
        self
    }

    pub(crate) fn without_stdout(mut self) -> Self {
        self.stdout = Stdout::Nowhere;
        self
    }

    /// By another user, to whom the folder is given; only root can do that (see [`super::skip::is_root`]).
    pub(crate) fn by_user(mut self, user: u32) -> Self {
        chown(self.folder.path(), Some(user), Some(user)).expect("root may");
        // The executable may be where nobody else may look.
        std::fs::copy(BINARY, self.path("executable")).expect("the folder is ours");
        self.user = Some(user);
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file in the test's folder, given as its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("the folder is ours");
        std::fs::write(&path, content).expect("the folder is ours");
        path.display().to_string()
    }

    pub(crate) fn database(&self) -> rusqlite::Connection {
        open_database(&self.path("app.db"))
    }

    pub(crate) fn command(&mut self, arguments: &[&str]) -> Command {
        let executable = self.user.map_or_else(|| BINARY.into(), |_| self.path("executable"));
        let mut command = match &self.shell {
            None => Command::new(executable),
            Some(script) => {
                let mut command = Command::new("sh");
                command.args(["-c", script]).arg(executable);
                command
            }
        };
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.args(arguments).env_clear().envs(&self.variables).current_dir(self.folder.path());
        command.stderr(Stdio::piped()).stdout(match self.stdout {
            Stdout::Read | Stdout::Unread => Stdio::piped(),
            Stdout::Nowhere => Stdio::null(),
        });
        match self.stdin.as_ref().map(OwnedFd::try_clone) {
            Some(stdin) => command.stdin(stdin.expect("a descriptor can be duplicated")),
            None => command.stdin(Stdio::null()),
        };
        command
    }

    /// Runs the executable to its end with something on its standard input.
    #[track_caller]
    pub(crate) fn run_with_input(&mut self, arguments: &[&str], input: &[u8]) -> Finished {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("the executable starts");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // A process that refuses its arguments need not read what it is sent.
        drop(stdin.write_all(input));
        drop(stdin);
        let stdout = Lines::of(child.stdout.take().expect("stdout is a pipe"));
        let stderr = Lines::of(child.stderr.take().expect("stderr is a pipe"));
        let status = wait(&mut child);
        Finished { code: status.code(), stdout: stdout.to_the_end(), stderr: stderr.to_the_end() }
    }

    #[track_caller]
    pub(crate) fn run(&mut self, arguments: &[&str]) -> Finished {
        self.run_with_input(arguments, b"")
    }

    /// Expects that the service refuses to start, with this code and one line that says all of this.
    #[track_caller]
    pub(crate) fn is_refused(&mut self, code: i32, said: &[&str]) {
        if !self.variables.contains_key("LISTEN_ADDR") {
            let address = format!("127.0.0.1:{}", free_port());
            self.variables.insert("LISTEN_ADDR".to_owned(), address);
        }
        let finished = self.run(&[]);
        assert_eq!(finished.code, Some(code), "{:?}\n{finished:?}", self.variables);
        assert_eq!(finished.stderr.lines().count(), 1, "one clear line: {finished:?}");
        for part in said {
            assert!(finished.stderr.contains(part), "{part:?} is not in {:?}", finished.stderr);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}
