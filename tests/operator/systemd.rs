//! Under the real systemd: the unit with every restriction it names, reload, restart, watchdog.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use crate::fixtures::{SECRET, SetOnDrop, eventually, message};
use crate::http_client::{Address, Client};
use crate::manager::{BINARY, Manager};
use crate::setup::{Setup, free_port};
use crate::skip::has;
use crate::tools::run;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts");
const RESTARTS: usize = 20;

#[track_caller]
fn post(client: &mut Client, secret: &str, id: &str) -> u16 {
    client.post_under(secret, &message(id)).status
}

#[test]
fn the_units_are_exposed_to_next_to_nothing() {
    if !has(&["systemd-analyze"]) {
        return;
    }
    for (unit, threshold) in [
        ("lyftr-webhook.service", 12),
        ("lyftr-webhook-backup.service", 5),
        ("lyftr-webhook-follow@.service", 12),
    ] {
        let (threshold, unit) = (format!("--threshold={threshold}"), format!("{SCRIPTS}/{unit}"));
        let output = run("systemd-analyze", &["security", "--offline=true", &threshold, &unit]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{unit}: {}", said.lines().last().unwrap());
    }
}

#[test]
fn the_backup_unit_makes_a_copy_with_every_restriction_it_names() {
    let Some(manager) = Manager::boot() else { return };
    let script = r#"cp "$0" /usr/bin/lyftr-webhook && cd "$1" &&
        systemd-sysusers "$1/debian/sysusers.conf" &&
        cp lyftr-webhook-backup.service lyftr-webhook-backup.timer /etc/systemd/system/ &&
        echo "$2" | DATABASE_URL=sqlite:////var/lib/lyftr-webhook/app.db lyftr-webhook import &&
        chown -R lyftr-webhook: /var/lib/lyftr-webhook &&
        install -d -o lyftr-webhook -g lyftr-webhook -m 700 /var/backups/lyftr-webhook &&
        systemctl daemon-reload && systemctl enable --now lyftr-webhook-backup.timer"#;
    manager.does(&["sh", "-c", script, BINARY, SCRIPTS, &message("m1").to_string()]);
    let units = ["service", "timer"].map(|kind| format!("/etc/systemd/system/lyftr-webhook-backup.{kind}"));
    let verified = manager.does(&["systemd-analyze", "verify", "--man=no", &units[0], &units[1]]);
    assert_eq!(String::from_utf8_lossy(&verified.stderr), "");
    for _ in 0..2 {
        manager.does(&["systemctl", "start", "lyftr-webhook-backup.service"]);
    }
    let copies: Vec<_> = fs::read_dir(manager.path("/var/backups/lyftr-webhook"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let [copy] = &copies[..] else { panic!("one, by the day of the week: {copies:?}") };
    let copy = format!("/var/backups/lyftr-webhook/{copy}");
    manager.does(&["lyftr-webhook", "check", &copy]);
    let exported =
        manager.does(&["env", &format!("DATABASE_URL=sqlite:///{copy}"), "lyftr-webhook", "export"]);
    assert!(String::from_utf8_lossy(&exported.stdout).contains("\"m1\""), "{exported:?}");
    manager.does(&["systemctl", "is-active", "lyftr-webhook-backup.timer"]);
}

#[test]
fn the_units_are_without_a_fault_and_the_service_works_with_every_restriction_they_name() {
    let Some(manager) = Manager::with_service() else { return };
    let units =
        ["lyftr-webhook.service", "lyftr-webhook.socket"].map(|unit| format!("/etc/systemd/system/{unit}"));
    let verified = manager.does(&["systemd-analyze", "verify", "--man=no", &units[0], &units[1]]);
    assert_eq!(String::from_utf8_lossy(&verified.stderr), "");

    manager.is_active();
    let mut client = manager.connect();
    for number in 0..20 {
        assert_eq!(post(&mut client, &manager.secret(), &format!("m{number}")), 200);
    }
    client.get("/health/ready").expect(200);
    // What threads of their own do, each with system calls of its own.
    eventually("all of it is indexed", || {
        let metrics = client.get("/metrics").expect(200).text();
        let known = |name: &str| {
            metrics.lines().any(|line| line == format!("store_unindexed_messages{{index=\"{name}\"}} 0"))
        };
        (known("order") && known("search")).then_some(())
    });
    assert_eq!(client.get("/messages?q=hello&limit=5").json()["total"], 20);
    assert_eq!(client.get("/stats").json()["total_messages"], 20);
    let metrics = client.get("/metrics").text();
    for family in ["process_start_time_seconds", "process_resident_memory_bytes", "process_open_fds"] {
        let value = metrics.lines().find_map(|line| line.strip_prefix(family)?.trim().parse::<f64>().ok());
        assert!(value.is_some_and(|value| value > 0.0), "{family}: {value:?}");
    }
    assert!(manager.property("StatusText").starts_with("Serving on "));
    for trouble in ["degraded", "index_unavailable", "panic", "supervisor_unknown"] {
        assert!(!manager.log().contains(trouble), "{}", manager.log());
    }

    assert_eq!(manager.property("MemoryMax"), (512 << 20).to_string());
    assert_eq!(manager.property("TasksMax"), "1100");
    let pid = manager.property("MainPID");
    // In its own view of the files nothing can be started but itself.
    let inside = |program: &str| manager.run(&["nsenter", "-m", "-t", &pid, program, "--version"]);
    assert!(inside("/usr/local/bin/lyftr-webhook").status.success());
    for program in ["/bin/sh", "/bin/kill", "/usr/bin/env"] {
        let output = inside(program);
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("Permission denied"),
            "{program}: {output:?}"
        );
    }
    let status = fs::read_to_string(manager.path(&format!("/proc/{pid}/status"))).unwrap();
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let user: u32 = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:\t")?.split('\t').next()?.parse().ok())
        .unwrap();
    assert!(user >= 61_184, "a user that exists only while the service runs: {user}");
}

#[test]
fn a_reload_and_restarts_refuse_nobody() {
    let Some(manager) = Manager::with_service() else { return };
    let (address, secret) = (manager.address(), manager.secret());
    let (stop, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let _stop = SetOnDrop(&stop);
        let posts = || {
            while !stop.load(SeqCst) {
                let mut client = Client::try_connect(&address).expect("no connection is refused");
                match client.try_post_under(&secret, &message(&format!("m{}", acknowledged.load(SeqCst)))) {
                    Ok(answer) => {
                        answer.expect(200);
                        acknowledged.fetch_add(1, SeqCst);
                    }
                    Err(error) => eprintln!("sent again: {error}"),
                }
            }
        };
        scope.spawn(posts);
        let more_is_acknowledged = || {
            let before = acknowledged.load(SeqCst);
            eventually("more is acknowledged", || (acknowledged.load(SeqCst) > before + 20).then_some(()));
        };
        more_is_acknowledged();
        manager.does(&["systemctl", "reload", "lyftr-webhook"]);
        eventually("it is reloaded", || manager.log().contains(r#""event":"reloaded""#).then_some(()));
        manager.is_active();
        assert_eq!(manager.property("NRestarts"), "0");
        for _ in 0..RESTARTS {
            manager.does(&["systemctl", "restart", "lyftr-webhook.service"]);
            more_is_acknowledged();
        }
    });
    let total = manager.connect().get("/stats").json()["total_messages"].clone();
    assert_eq!(total, acknowledged.load(SeqCst));
}

#[test]
fn it_is_started_again_when_it_fails_and_not_when_a_setting_is_wrong() {
    let Some(manager) = Manager::with_service() else { return };
    // A process that is stopped says nothing to the watchdog.
    manager.drop_in("lyftr-webhook.service", "[Service]\nWatchdogSec=2\n");
    manager.does(&["systemctl", "daemon-reload"]);
    manager.does(&["systemctl", "restart", "lyftr-webhook.service"]);
    for (signal, restarts) in [("KILL", "1"), ("STOP", "2")] {
        manager.does(&["systemctl", "kill", "-s", signal, "lyftr-webhook.service"]);
        eventually("it is started again", || (manager.property("NRestarts") == restarts).then_some(()));
        manager.is_active();
        manager.connect().get("/health/ready").expect(200);
    }

    let environment = manager.path("/etc/lyftr-webhook/environment");
    fs::write(environment, "WORKERS=none\n").unwrap();
    manager.run(&["systemctl", "stop", "lyftr-webhook.socket"]);
    manager.run(&["systemctl", "restart", "lyftr-webhook.service"]);
    eventually("it has failed", || (manager.property("ActiveState") == "failed").then_some(()));
    assert_eq!(
        (manager.property("ExecMainStatus"), manager.property("NRestarts")),
        ("78".into(), "0".into())
    );
}

#[test]
fn a_socket_of_systemd_activates_it() {
    if !has(&["systemd-socket-activate"]) {
        return;
    }
    let mut setup = Setup::new();
    let address = format!("127.0.0.1:{}", free_port());
    let variables: Vec<String> =
        setup.variables.iter().map(|(name, value)| format!("-E{name}={value}")).collect();
    let mut activator = Command::new("systemd-socket-activate")
        .args(["-l", &address])
        .args(&variables)
        .arg(BINARY)
        .current_dir(setup.folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let address = Address::Tcp(address);
    let mut client = eventually("somebody listens", || Client::try_connect(&address).ok());
    assert_eq!(post(&mut client, SECRET, "m1"), 200);
    assert_eq!(client.get("/messages").json()["total"], 1);
    // It has become the service itself.
    crate::fixtures::signal(activator.id(), "TERM");
    assert_eq!(crate::setup::wait(&mut activator).code(), Some(0));
    assert_eq!(setup.run(&["--version"]).code, Some(0));
}
