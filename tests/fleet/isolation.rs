//! A test runs in namespaces of its own, so that its networks, mounts and processes end with it, however it ends.

use std::env;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::skip::{Lack, has, is_root, lacks_because};

/// Set inside, to the folder of the test.
const FOLDER: &str = "FLEET_FOLDER";

const PROGRAMS: [&str; 9] = [
    "unshare",
    "nsenter",
    "setpriv",
    "ip",
    "haproxy",
    "psql",
    "nats-server",
    "python3",
    crate::engines::POSTGRES,
];

/// As process 1, whose end is the end of all the others: it waits for the test alone.
const FIRST: &str =
    r#"ip link set lo up && mkdir -p /run/netns && mount -t tmpfs none /run/netns && "$@"; exit $?"#;

/// Runs this test again where nobody else is. There it gets its folder; outside `None`, once it is over.
#[track_caller]
pub(crate) fn isolated() -> Option<PathBuf> {
    if let Some(folder) = env::var_os(FOLDER) {
        return Some(folder.into());
    }
    if !has(&PROGRAMS) || !is_root() {
        return None;
    }
    let namespaces = ["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child"];
    let tried = Command::new("unshare").args(namespaces).args(["sh", "-c", FIRST, "sh", "true"]).output();
    let tried = tried.expect("unshare starts");
    if !tried.status.success() {
        lacks_because(Lack::Namespaces, &tried.stderr);
        return None;
    }
    let folder = TempDir::new().expect("the machine has a folder for temporary files");
    // PostgreSQL is another user.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("the folder is ours");
    let thread = std::thread::current();
    let test = thread.name().expect("a test has a thread of its name");
    let mut command = Command::new("unshare");
    command.args(namespaces).args(["sh", "-c", FIRST, "sh"]);
    command.arg(env::current_exe().expect("this is a program"));
    command.args([test, "--exact", "--include-ignored", "--nocapture"]);
    command.env(FOLDER, folder.path()).env("TMPDIR", folder.path());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("unshare starts");
    let said = BufReader::new(child.stderr.take().expect("stderr is a pipe"));
    for line in said.lines() {
        eprintln!("{}", line.expect("a test writes text"));
    }
    let status = child.wait().expect("a child can be waited for");
    assert!(status.success(), "{test} has failed: what it said is above");
    None
}
