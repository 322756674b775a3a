//! A real PostgreSQL runs beside a test, in a folder of the test, behind a Unix socket.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::recipes::project_file;
use crate::skip::has;
use crate::tools::run;

const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
/// PostgreSQL does not run as root: `nobody` of Debian does.
const NOBODY: u32 = 65534;

pub(crate) struct Postgres {
    folder: TempDir,
    /// `None` while it is down.
    daemon: Option<Daemon>,
}

/// How a command line runs as somebody who is not root.
fn as_nobody(program: &str, arguments: &[&str]) -> Vec<String> {
    let setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let is_root = rustix::process::geteuid().is_root();
    let before = if is_root { &setpriv[..] } else { &[] };
    let program = format!("{PROGRAMS}/{program}");
    let words = [before, &[&program], arguments].concat();
    words.into_iter().map(str::to_owned).collect()
}

/// A cluster as initdb makes it, from which each test has a copy: to make one takes half a second of a core. It stays
/// from run to run, and is there whole or not at all.
fn template(encoding: &str) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    // Nobody else can read it.
    let user = rustix::process::geteuid().as_raw();
    let template = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("postgres-15-{encoding}-{user}"));
    if !template.exists() {
        let folder = folder_of_nobody();
        let data = folder.path().join("data").display().to_string();
        let options = ["-U", "postgres", "-A", "trust", "--no-sync", "--no-instructions", "--wal-segsize=1"];
        let locale = ["-E", encoding, if encoding == "UTF8" { "--locale=C.UTF-8" } else { "--locale=C" }];
        let words = as_nobody("initdb", &[&["-D", &data], &options[..], &locale].concat());
        let (program, arguments) = split(&words);
        succeeds(program, &arguments);
        let new = template.with_extension(std::process::id().to_string());
        succeeds("cp", &["-a", &data, &new.display().to_string()]);
        // Another process may have been first.
        if fs::rename(&new, &template).is_err() {
            drop(fs::remove_dir_all(new));
        }
    }
    template
}

#[track_caller]
fn succeeds(program: &str, arguments: &[&str]) {
    let output = run(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// PostgreSQL may write there.
fn folder_of_nobody() -> TempDir {
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
    if rustix::process::geteuid().is_root() {
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).expect("root may");
    }
    folder
}

fn split(words: &[String]) -> (&str, Vec<&str>) {
    (&words[0], words[1..].iter().map(String::as_str).collect())
}

impl Postgres {
    /// `None` where it is not installed. It is killed, but the machine never is: nothing has to reach the disk.
    pub(crate) fn start() -> Option<Self> {
        Self::with("UTF8", "fsync = off")
    }

    /// With databases in this encoding, and these lines in its configuration.
    pub(crate) fn with(encoding: &str, configuration: &str) -> Option<Self> {
        if !has(&["psql", "setpriv", &format!("{PROGRAMS}/postgres")]) {
            return None;
        }
        let mut server = Self { folder: folder_of_nobody(), daemon: None };
        let data = server.path("data").display().to_string();
        succeeds("cp", &["-a", &template(encoding).display().to_string(), &data]);
        let socket = server.folder.path().display().to_string();
        server.configure(&format!(
            "listen_addresses = ''\nunix_socket_directories = '{socket}'\n{configuration}"
        ));
        server.run();
        Some(server)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What holds from the next start on.
    pub(crate) fn configure(&self, lines: &str) {
        self.append("data/postgresql.conf", lines);
    }

    pub(crate) fn append(&self, file: &str, lines: &str) {
        let file = OpenOptions::new().append(true).create(true).open(self.path(file));
        writeln!(file.expect("the folder is ours"), "{lines}").expect("the folder is ours");
    }

    /// Starts it, or starts it again.
    pub(crate) fn run(&mut self) {
        let data = self.path("data").display().to_string();
        let words = as_nobody("postgres", &["-D", &data]);
        let (program, arguments) = split(&words);
        let mut daemon = Daemon::start(program, &arguments, Path::new("/"));
        // Its eighth line says so, as pg_ctl waits for it.
        let state = self.path("data/postmaster.pid");
        daemon.until("PostgreSQL is ready", || {
            let state = fs::read_to_string(&state).ok()?;
            let word = state.lines().nth(7)?.trim();
            matches!(word, "ready" | "standby").then_some(())
        });
        self.daemon = Some(daemon);
    }

    /// As `pg_ctl stop -m immediate` does: nothing is written any more, everybody is cut off.
    pub(crate) fn stop_at_once(&mut self) {
        self.daemon.take().expect("it runs").end("QUIT");
    }

    /// As `pg_ctl stop -m fast` does.
    pub(crate) fn stop(&mut self) {
        self.daemon.take().expect("it runs").end("INT");
    }

    /// Where a program finds it.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        let host = self.folder.path().display().to_string();
        [("PGHOST", host), ("PGUSER", "postgres".to_owned()), ("PGDATABASE", "postgres".to_owned())]
    }

    /// A program of PostgreSQL's, run to its end as root of the database.
    pub(crate) fn psql(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(format!("{PROGRAMS}/psql"));
        command.args(["-X", "-v", "ON_ERROR_STOP=1"]).args(arguments).envs(self.variables());
        command.output().expect("psql starts")
    }

    /// What SQL answers: a line for each row, with `|` between the columns.
    #[track_caller]
    pub(crate) fn query(&self, sql: &str) -> String {
        let output = self.psql(&["-qAtc", sql]);
        assert!(output.status.success(), "{sql}: {output:?}");
        String::from_utf8(output.stdout).expect("the answer is UTF-8").trim_end_matches('\n').to_owned()
    }

    /// `to-postgres` with these variables more.
    #[track_caller]
    pub(crate) fn load(&self, lines: &str, variables: &[(&str, &str)]) -> Loaded {
        let mut command = Command::new(project_file("scripts/to-postgres"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("RECEIVER", "one").envs(self.variables());
        command.envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the script starts");
        let mut stdin = child.stdin.take().expect("stdin is a pipe");
        // Where nothing can be loaded, nothing is read.
        drop(stdin.write_all(lines.as_bytes()));
        drop(stdin);
        let output = child.wait_with_output().expect("a child can be waited for");
        assert!(output.stdout.is_empty(), "{output:?}");
        Loaded {
            code: output.status.code(),
            stderr: String::from_utf8(output.stderr).expect("what it says is UTF-8"),
        }
    }
}

/// How `to-postgres` has ended.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

impl Loaded {
    #[track_caller]
    pub(crate) fn quietly(&self) {
        assert!(self.code == Some(0) && self.stderr.is_empty(), "{self:?}");
    }

    /// Ended with this status, said all of this, and no word of a message.
    #[track_caller]
    pub(crate) fn ends(&self, code: i32, said: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for part in said {
            assert!(self.stderr.contains(part), "{part:?} is not in {self:?}");
        }
        assert!(self.stderr.lines().all(|line| line.starts_with("to-postgres: ")), "{self:?}");
        assert!(!self.stderr.contains("Hello"), "{self:?}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Not by SIGKILL, after which a segment of shared memory is left on the machine.
        if let Some(daemon) = self.daemon.take() {
            daemon.end("QUIT");
        }
    }
}
