//! A small Debian in a folder, and the packaged service running in it as its unit says.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::fixtures::{eventually, message, signal};
use crate::http_client::{Address, Answer, Client};
use crate::setup::{free_port, wait};
use crate::skip::{Lack, has, is_root, lacks_because};
use crate::tools::run;

const UNIT: &str = "/usr/lib/systemd/system/lyftr-webhook.service";
const STATE: &str = "/var/lib/lyftr-webhook";
/// Where the test puts the secret, as systemd does by `LoadCredential=`.
const CREDENTIALS: &str = "/run/credentials";

/// The executable under test.
pub(crate) fn program() -> &'static str {
    env!("CARGO_BIN_EXE_lyftr-webhook")
}

pub(crate) struct Root {
    folder: TempDir,
}

impl Root {
    /// The smallest Debian that the package can be put into; `None` where it cannot be made.
    pub(crate) fn new() -> Option<Self> {
        if !has(&["mmdebstrap"]) || !is_root() {
            return None;
        }
        let root = Self { folder: TempDir::new().expect("the machine has a folder for temporary files") };
        let include = "--include=systemd-standalone-sysusers";
        // Nobody needs it after a power cut.
        let unsynced = "--dpkgopt=force-unsafe-io";
        let place = root.folder.path().display().to_string();
        let made = run(
            "mmdebstrap",
            &["--quiet", "--mode=root", "--variant=essential", unsynced, include, "bookworm", &place],
        );
        if !made.status.success() {
            lacks_because(Lack::Debian, &made.stderr);
            return None;
        }
        Some(root)
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command.args(options).arg(self.folder.path());
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive");
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(&[]).args(arguments).output().expect("chroot starts")
    }

    pub(crate) fn secret(&self) -> String {
        fs::read_to_string(self.path("/etc/lyftr-webhook/webhook_secret"))
            .expect("the package makes a secret")
    }

    pub(crate) fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.path(path)).expect("the file is there").permissions().mode() & 0o7777
    }

    /// The values of one directive of the unit.
    fn directives(&self, name: &str) -> Vec<String> {
        let unit = fs::read_to_string(self.path(UNIT)).expect("the package brings the unit");
        let values = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values.map(str::to_owned).collect()
    }

    fn only(&self, name: &str) -> String {
        let values = self.directives(name);
        assert_eq!(values.len(), 1, "{name} in {UNIT}");
        values.into_iter().next().unwrap_or_default()
    }

    /// User and group, by number.
    fn owner(&self, user: &str) -> (u32, u32) {
        let users = fs::read_to_string(self.path("/etc/passwd")).expect("a Debian has users");
        let line = users.lines().find(|line| line.starts_with(&format!("{user}:")));
        let line = line.unwrap_or_else(|| panic!("the package makes no user {user}: {users}"));
        let number = |field| line.split(':').nth(field).and_then(|text| text.parse().ok()).expect("a number");
        (number(2), number(3))
    }

    /// Starts what the unit starts, as its user, with its environment, state and credential, and stops it.
    pub(crate) fn serve(&self, ask: impl FnOnce(&Running)) {
        let user = self.only("User");
        let (uid, gid) = self.owner(&user);
        assert_eq!(self.only("StateDirectory"), "lyftr-webhook");
        for (folder, mode) in [(STATE, 0o700), (CREDENTIALS, 0o500)] {
            let folder = self.path(folder);
            fs::create_dir_all(&folder).expect("the root is ours");
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("the root is ours");
            chown(&folder, Some(uid), Some(gid)).expect("root may");
        }
        for credential in self.directives("LoadCredential") {
            let (name, source) = credential.split_once(':').expect("NAME:PATH");
            let place = self.path(CREDENTIALS).join(name);
            fs::copy(self.path(source), &place).expect("the credential is there");
            chown(&place, Some(uid), Some(gid)).expect("root may");
        }
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = self.command(&[&format!("--userspec={user}:{user}")]);
        command.args(self.only("ExecStart").split_whitespace());
        for variable in self.directives("Environment") {
            let (name, value) = variable.split_once('=').expect("NAME=value");
            command.env(name, value);
        }
        command.env("CREDENTIALS_DIRECTORY", CREDENTIALS).env("LISTEN_ADDR", &address);
        let child = command.stdout(Stdio::null()).spawn().expect("chroot starts");
        let mut running = Running { child, address: Address::Tcp(address), secret: self.secret() };
        eventually("the packaged service is ready", || {
            assert_eq!(running.child.try_wait().expect("a child can be waited for"), None, "it has ended");
            running.try_get("/health/ready").ok().filter(|answer| answer.status == 200)
        });
        ask(&running);
        signal(running.child.id(), "TERM");
        assert_eq!(wait(&mut running.child).code(), Some(0));
    }
}

pub(crate) struct Running {
    child: Child,
    address: Address,
    secret: String,
}

impl Running {
    fn try_get(&self, target: &str) -> std::io::Result<Answer> {
        Client::try_connect(&self.address)?.try_request("GET", target, &[], None)
    }

    pub(crate) fn post(&self, id: &str) -> Answer {
        Client::connect(&self.address).post_under(&self.secret, &message(id))
    }

    pub(crate) fn total(&self) -> i64 {
        let page = self.try_get("/messages").expect("the service answers").json();
        page["total"].as_i64().expect("a page has a total")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
