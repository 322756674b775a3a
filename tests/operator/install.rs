//! `scripts/install`: below a folder of its own, and on a system that runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::fixtures::message;
use crate::manager::{BINARY, Manager};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install");

/// As somebody whose umask shuts everybody else out.
fn install(arguments: &[&str]) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"umask 077; exec "$0" "$@""#, SCRIPT]).args(arguments);
    shell.env_remove("DESTDIR").output().expect("the script can be started")
}

/// Every file below a folder with its mode, and the number that tells it from one made anew.
fn files(folder: &Path) -> BTreeMap<String, (u32, u64)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("the folder is ours") {
            let path = entry.expect("the folder is ours").path();
            let about = path.symlink_metadata().expect("it was found there");
            if about.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("it was found below").display().to_string();
                found.insert(name, (about.permissions().mode() & 0o777, about.ino()));
            }
        }
    }
    found
}

#[test]
fn it_puts_everything_in_its_place_once_and_takes_away_what_is_not_data() {
    let root = TempDir::new().unwrap();
    let folder = root.path().to_str().unwrap();
    let first = install(&["--root", folder, BINARY]);
    assert!(first.status.success(), "{first:?}");
    let installed = files(root.path());
    let mode = |name: &str| installed.get(name).map(|(mode, _)| *mode);
    assert_eq!(mode("usr/local/bin/lyftr-webhook"), Some(0o755), "{installed:?}");
    assert_eq!(mode("etc/lyftr-webhook/webhook_secret"), Some(0o600));
    assert_eq!(mode("etc/lyftr-webhook/log_level"), Some(0o644));
    assert_eq!(mode("etc/lyftr-webhook/environment"), Some(0o600), "a token may be in it");
    for unit in ["lyftr-webhook.service", "lyftr-webhook.socket", "lyftr-webhook-follow@.service"] {
        assert_eq!(mode(&format!("etc/systemd/system/{unit}")), Some(0o644));
    }
    for folder in ["usr/local/bin", "etc/systemd/system", "etc/lyftr-webhook"] {
        let mode = fs::metadata(root.path().join(folder)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "{folder}");
    }
    let secret = root.path().join("etc/lyftr-webhook/webhook_secret");
    let text = fs::read_to_string(&secret).unwrap();
    assert!(text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text:?}");

    // An earlier version left it to everybody.
    let environment = root.path().join("etc/lyftr-webhook/environment");
    fs::set_permissions(&environment, fs::Permissions::from_mode(0o644)).unwrap();
    let again = install(&[&format!("--root={folder}"), BINARY]);
    assert!(again.status.success(), "{again:?}");
    assert_eq!(files(root.path()), installed, "nothing is made anew");
    assert!(!String::from_utf8_lossy(&again.stderr).contains("installing"), "{again:?}");

    for _ in 0..2 {
        assert!(install(&["--root", folder, "--uninstall"]).status.success());
        let left: Vec<String> = files(root.path()).into_keys().collect();
        assert_eq!(
            left,
            [
                "etc/lyftr-webhook/environment",
                "etc/lyftr-webhook/log_level",
                "etc/lyftr-webhook/webhook_secret"
            ]
        );
    }
    assert!(install(&["--root", folder, BINARY]).status.success());
    assert_eq!(fs::read_to_string(&secret).unwrap(), text, "the secret is the one that senders know");
}

#[test]
fn what_it_does_not_understand_changes_nothing() {
    let root = TempDir::new().unwrap();
    let folder = root.path().to_str().unwrap();
    for arguments in [&["--frobnicate"][..], &["--root"], &["--root", folder, BINARY, BINARY]] {
        let output = install(arguments);
        assert_eq!(output.status.code(), Some(64), "{output:?}");
    }
    let output = install(&["--root", folder, "/no/such/binary"]);
    assert!(!output.status.success() && !output.stderr.is_empty());
    assert!(files(root.path()).is_empty());
}

#[test]
fn on_a_running_system_it_starts_the_service_and_later_restarts_it_in_a_new_version() {
    let Some(manager) = Manager::with_service() else { return };
    manager.is_active();
    let mut client = manager.connect();
    client.post_under(&manager.secret(), &message("m1")).expect(200);
    let pid = manager.property("MainPID");

    manager.install(BINARY);
    assert_eq!(manager.property("MainPID"), pid, "nothing is new");

    // Another file of the same program: what an ELF file has behind its end is not looked at.
    let newer = "/tmp/newer";
    manager.does(&["sh", "-c", r#"cp "$0" "$1" && echo >>"$1""#, BINARY, newer]);
    manager.install(newer);
    assert_ne!(manager.property("MainPID"), pid);
    manager.is_active();
    assert_eq!(manager.connect().get("/messages").json()["total"], 1);

    manager.does(&[SCRIPT, "--uninstall"]);
    assert!(!manager.path("/usr/local/bin/lyftr-webhook").exists());
    assert_eq!(manager.property("LoadState"), "not-found");
    assert!(manager.path("/var/lib/private/lyftr-webhook/app.db").exists());
    manager.install(BINARY);
    assert_eq!(manager.connect().get("/messages").json()["total"], 1);
}
