//! The real executable under attack: started in a folder of its own, watched through /proc.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::fixtures::{SECRET, eventually, open_database};
use crate::http_client::{Address, Client};

const BINARY: &str = env!("CARGO_BIN_EXE_lyftr-webhook");
/// A user that nobody else is, so that a limit on its processes counts the service's alone.
const LONELY_USER: u32 = 54_321;

/// What the service is started with.
#[derive(Debug)]
pub(crate) struct Setup {
    folder: TempDir,
    variables: Vec<(&'static str, String)>,
    wrapper: String,
    lonely: bool,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        Self { folder, variables: Vec::new(), wrapper: "exec".to_owned(), lonely: false }
    }

    pub(crate) fn with(mut self, name: &'static str, value: u32) -> Self {
        self.variables.push((name, value.to_string()));
        self
    }

    /// What the shell does before the service takes its place, such as `ulimit -n 256; exec`.
    pub(crate) fn through(mut self, wrapper: impl Into<String>) -> Self {
        self.wrapper = wrapper.into();
        self
    }

    /// As a user of its own, where the test may change users: limits bind root to nothing.
    pub(crate) fn by_lonely_user(mut self) -> Self {
        self.lonely = rustix::process::geteuid().is_root();
        if self.lonely {
            std::os::unix::fs::chown(self.folder.path(), Some(LONELY_USER), None).expect("root may");
        }
        self
    }

    pub(crate) fn database_path(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    /// The command, before it is run. Its stdout goes nowhere: a million log lines are not for keeping.
    pub(crate) fn command(&self, listen: &str) -> Command {
        // The lonely user may not be let into the folder where the executable was built.
        let binary = self.folder.path().join("lyftr-webhook");
        if !binary.exists() {
            std::fs::copy(BINARY, &binary).expect("the folder is ours");
            std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).expect("the file is ours");
        }
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{} \"$0\" serve", self.wrapper)]).arg(binary);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("WEBHOOK_SECRET", SECRET).env("LISTEN_ADDR", listen);
        command.env("DATABASE_URL", format!("sqlite:///{}", self.database_path().display()));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if self.lonely {
            command.uid(LONELY_USER);
        }
        command
    }

    #[track_caller]
    pub(crate) fn start(self) -> Service {
        for _ in 0..5 {
            let host_and_port = format!("127.0.0.1:{}", free_port());
            let child = self.command(&host_and_port).spawn().expect("the machine has sh");
            let address = Address::Tcp(host_and_port.clone());
            let mut service = Service { child, setup: None, host_and_port, address };
            if service.is_up() {
                service.setup = Some(self);
                return service;
            }
        }
        panic!("the service did not start, five times");
    }
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("the machine has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}

/// What a process occupies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    pub(crate) threads: u64,
    pub(crate) descriptors: u64,
    pub(crate) resident_kib: u64,
    pub(crate) peak_kib: u64,
}

#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    setup: Option<Setup>,
    pub(crate) host_and_port: String,
    pub(crate) address: Address,
}

impl Service {
    fn is_up(&mut self) -> bool {
        eventually("the service answers or ends", || {
            if self.child.try_wait().expect("a child can be waited for").is_some() {
                return Some(false);
            }
            let answer = Client::try_connect(&self.address)
                .and_then(|mut client| client.try_request("GET", "/health/ready", &[], None));
            answer.is_ok_and(|answer| answer.status == 200).then_some(true)
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Why the process is not there any more, if it is not.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().expect("a child can be waited for")?;
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            // What it said is a help to whoever reads; that it ended is the finding.
            drop(std::io::Read::read_to_string(&mut stderr, &mut said));
        }
        Some(format!("the process ended ({status}): {said}"))
    }

    /// All zeros once the process is gone.
    pub(crate) fn footprint(&self) -> Footprint {
        footprint_of(self.pid())
    }

    pub(crate) fn rows(&self) -> u64 {
        let path = self.setup.as_ref().expect("it was started from one").database_path();
        let count: i64 = open_database(&path)
            .query_row("SELECT count(*) FROM messages", [], |row| row.get(0))
            .expect("the database answers");
        count.unsigned_abs()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    /// Samples whose names begin like this, as the exposition writes them.
    pub(crate) fn metrics(&self, prefix: &str) -> Vec<(String, f64)> {
        // Just after an attack a stranger may still be told to come back.
        let text = eventually("the service shows its metrics", || {
            let mut client = Client::try_connect(&self.address).ok()?;
            let answer = client.try_request("GET", "/metrics", &[], None).ok()?;
            (answer.status == 200).then(|| answer.text())
        });
        let samples = text.lines().filter(|line| line.starts_with(prefix));
        samples
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| (name.to_owned(), value.parse().unwrap_or(f64::NAN)))
            .collect()
    }

    /// Asks for an orderly end, and hands back the folder for another start.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Setup {
        crate::fixtures::signal(self.pid(), "TERM");
        let status = eventually("the process ends", || self.child.try_wait().expect("it is our child"));
        assert_eq!(status.code(), Some(0), "an orderly end");
        self.setup.take().expect("it was started from one")
    }
}

pub(crate) fn footprint_of(pid: u32) -> Footprint {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Footprint {
        threads: field("Threads"),
        descriptors: descriptors as u64,
        resident_kib: field("VmRSS"),
        peak_kib: field("VmHWM"),
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A page full of the largest texts there are, the most that one GET can make the service say.
pub(crate) fn store_large_page(service: &Service) -> u64 {
    let text = "\u{1}".repeat(4096);
    let mut client = service.connect();
    for n in 0..100 {
        let message = crate::fixtures::message_with(
            &format!("large-{n}"),
            &Value::from_iter([("text", Value::from(text.as_str()))]),
        );
        let body = message.to_string();
        let signature = crate::fixtures::sign(SECRET, body.as_bytes());
        client.request("POST", "/webhook", &[("X-Signature", &signature)], Some(body.as_bytes())).expect(200);
    }
    100
}
