//! The real systemd, as process 1 of namespaces of its own (`boot.sh`), with the service installed as an
//! operator installs it. Nothing of it is left on the machine.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::fixtures::eventually;
use crate::http_client::{Address, Client};
use crate::skip::{Lack, has, lacks_because};

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_lyftr-webhook");
/// Behind a Unix socket, because that can be reached from outside: the network is its own as well. Its
/// stdout goes where a test can read it: there is no journal.
const SOCKET: &str = "/run/webhook.sock";
const OUTPUT: &str = "/var/log/webhook.log";

pub(crate) struct Manager {
    boot: Child,
    /// systemd, as this machine numbers it.
    pid: u32,
    folder: TempDir,
}

impl Manager {
    /// `None`, and a word on stderr, where this machine does not allow it.
    pub(crate) fn boot() -> Option<Self> {
        if !has(&["systemctl", "unshare", "nsenter", "pivot_root"]) {
            return None;
        }
        let folder = TempDir::new().expect("the machine has a folder for temporary files");
        let mut boot = Command::new(format!("{PROJECT}/tests/operator/boot.sh"))
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a script can be started");
        // It becomes unshare(1), whose one child is systemd.
        let children = format!("/proc/{0}/task/{0}/children", boot.id());
        let pid = eventually("systemd is booted or cannot be", || {
            if boot.try_wait().expect("a child can be waited for").is_some() {
                return Some(None);
            }
            let pid: u32 = fs::read_to_string(&children).ok()?.trim().parse().ok()?;
            let comm = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (comm.trim() == "systemd").then_some(Some(pid))
        });
        let Some(pid) = pid else {
            let output = boot.wait_with_output().expect("a child can be waited for");
            lacks_because(Lack::Systemd, &output.stderr);
            return None;
        };
        let manager = Self { boot, pid, folder };
        eventually("systemd has booted", || {
            let state = manager.run(&["systemctl", "is-system-running"]);
            (String::from_utf8_lossy(&state.stdout).trim() == "running").then_some(())
        });
        Some(manager)
    }

    /// The same with the service installed by `scripts/install` and reachable from outside.
    pub(crate) fn with_service() -> Option<Self> {
        let manager = Self::boot()?;
        manager.drop_in("lyftr-webhook.socket", &format!("[Socket]\nListenStream=\nListenStream={SOCKET}\n"));
        manager.drop_in("lyftr-webhook.service", &format!("[Service]\nStandardOutput=append:{OUTPUT}\n"));
        manager.install(BINARY);
        Some(manager)
    }

    /// A file `test.conf` beside a unit; holds from the next `daemon-reload`.
    pub(crate) fn drop_in(&self, unit: &str, text: &str) {
        let folder = format!("/etc/systemd/system/{unit}.d");
        // One file for each, so that one test may add to what is there.
        let script = r#"mkdir -p "$0" && printf '%s' "$1" >"$0/$(ls "$0" | wc -l).conf""#;
        self.does(&["sh", "-c", script, &folder, text]);
    }

    #[track_caller]
    pub(crate) fn install(&self, binary: &str) -> Output {
        self.does(&[&format!("{PROJECT}/scripts/install"), binary])
    }

    /// A command inside.
    pub(crate) fn run(&self, command: &[&str]) -> Output {
        let pid = self.pid.to_string();
        Command::new("nsenter")
            .args(["-t", &pid, "-m", "-p", "-u", "-i", "-n", "-C", "-r", "-w", "--"])
            .args(command)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter can be started")
    }

    /// A command inside that has to succeed.
    #[track_caller]
    pub(crate) fn does(&self, command: &[&str]) -> Output {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?}: {output:?}\n{}", self.console());
        output
    }

    /// A property of the service, as `systemctl show` gives it.
    pub(crate) fn property(&self, name: &str) -> String {
        let output = self.does(&["systemctl", "show", "-P", name, "lyftr-webhook.service"]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[track_caller]
    pub(crate) fn is_active(&self) {
        eventually("the service is active", || (self.property("ActiveState") == "active").then_some(()));
    }

    /// A path inside, as the test can open it.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }

    pub(crate) fn address(&self) -> Address {
        Address::Unix(self.path(SOCKET))
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(&self.address())
    }

    pub(crate) fn secret(&self) -> String {
        fs::read_to_string(self.path("/etc/lyftr-webhook/webhook_secret")).expect("root may read it")
    }

    /// What the service has written so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path(OUTPUT)).unwrap_or_default()
    }

    fn console(&self) -> String {
        fs::read_to_string(self.path("/run/console.log")).unwrap_or_default()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // Process 1 of its namespace goes with it, and everything else with that.
        drop(self.boot.kill());
        drop(self.boot.wait());
        let group = format!("lyftr-operator-{}", self.boot.id());
        // The processes in it are gone a moment after they were killed.
        let script = r#"mkdir "$0/left" && mount -t cgroup2 cgroup2 "$0/left" && cd "$0/left" || exit
            for try in 1 2 3 4 5 6 7 8 9; do
                find "$1" -depth -type d -exec rmdir {} + 2>/dev/null && break
                sleep 0.2
            done"#;
        let clean = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .arg(self.folder.path())
            .arg(group)
            .output();
        drop(clean);
    }
}
