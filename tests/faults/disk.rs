//! A disk that fills up in the middle of load, and has room again.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::fixtures::{eventually, message, message_with};
use crate::load::{Load, is_refused, is_sound, tells, turns_ready, turns_unready};
use crate::service::Service;
use crate::setup::Setup;
use crate::skip::{Lack, lacks};

/// A small file system in memory. Ends with the test.
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
}

impl Disk {
    /// Mounts it over `data` in the test's folder, if this user may.
    pub(crate) fn mount(setup: &Setup, size: &str) -> Option<Self> {
        let folder = setup.path("data");
        fs::create_dir(&folder).expect("the folder is ours");
        let options = format!("size={size},mode=0777");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&folder).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self { folder });
        }
        lacks(Lack::Mounts);
        None
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.folder).status();
        assert!(status.expect("the machine has mount").success());
    }

    /// Writes a file until there is no room for another byte, while others may be writing too.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.folder.join("ballast");
        let mut ballast = File::create(&path).expect("a full disk has names left");
        for size in [1 << 16, 1 << 12, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }

    fn used(&self, name: &str) -> u64 {
        fs::metadata(self.folder.join(name)).map_or(0, |file| file.len())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the service may still be ending.
        drop(Command::new("umount").arg("-l").arg(&self.folder).status());
    }
}

pub(crate) fn on(setup: Setup, folder: &Path) -> Setup {
    let url = format!("sqlite:///{}", folder.join("app.db").display());
    // The harness looks for the database where it usually is.
    std::os::unix::fs::symlink(folder.join("app.db"), setup.path("app.db")).expect("the folder is ours");
    setup.with("DATABASE_URL", &url)
}

/// Refuses while there is no room, and needs nobody's help when there is some.
#[track_caller]
fn refuses_until(service: &Service, load: &Load, make_room: impl FnOnce()) {
    load.refused_more(20);
    let why = turns_unready(service);
    assert!(why.contains("full"), "{why}");
    tells(service, "degraded");
    // What is there can still be read.
    service.get("/messages").expect(200);
    service.get("/stats").expect(200);
    is_sound(service);
    make_room();
    load.acknowledged_more(50);
    turns_ready(service);
    tells(service, "recovered");
    is_sound(service);
}

#[test]
fn a_disk_that_others_fill_is_survived() {
    let setup = Setup::new();
    // More than the log grows to before it is folded into the file.
    let Some(disk) = Disk::mount(&setup, "200m") else {
        return;
    };
    let service = on(setup, &disk.folder).start();
    let load = Load::start(&service);
    load.acknowledged_more(100);
    for _ in 0..3 {
        let ballast = disk.fill();
        refuses_until(&service, &load, || fs::remove_file(ballast).unwrap());
    }
    load.nothing_was_lost(service);
}

#[test]
fn a_disk_that_the_messages_fill_is_survived() {
    let setup = Setup::new();
    let Some(disk) = Disk::mount(&setup, "4m") else {
        return;
    };
    let service = on(setup, &disk.folder).start();
    let load = Load::with_text(&service, &"long ".repeat(800));
    eventually("the log has filled the disk", || (disk.used("app.db-wal") > 2_000_000).then_some(()));
    refuses_until(&service, &load, || disk.resize("400m"));
    load.nothing_was_lost(service);
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill_on_a_full_disk() {
    let setup = Setup::new();
    let Some(disk) = Disk::mount(&setup, "4m") else {
        return;
    };
    let service = on(setup, &disk.folder).start();
    let load = Load::start(&service);
    load.acknowledged_more(100);
    let ballast = disk.fill();
    load.refused_more(20);
    let told = load.finish();
    let service = service.kill().start();
    crate::load::everything_is_there(&service, &told.acknowledged);
    turns_unready(&service);
    fs::remove_file(ballast).unwrap();
    turns_ready(&service);
    crate::load::everything_is_there(&service, &told.acknowledged);
    service.store(&message("after"));
}

#[test]
fn a_service_that_starts_on_a_disk_nearly_full_refuses_until_there_is_room() {
    let setup = Setup::new();
    let Some(disk) = Disk::mount(&setup, "8m") else {
        return;
    };
    let service = on(setup, &disk.folder).start();
    let setup = service.stop();
    let service = setup.start();
    let ballast = disk.fill();
    eventually("there is no room for a message", || {
        (service.post(&message("a message that fills what is left")).status == 503).then_some(())
    });
    is_refused(&service, "m1");
    turns_unready(&service);
    fs::remove_file(ballast).unwrap();
    turns_ready(&service);
    service.store(&message("m1"));
    is_sound(&service);
}

#[test]
fn a_stop_on_a_full_disk_says_that_the_log_is_left_and_ends_in_order() {
    let setup = Setup::new();
    let Some(disk) = Disk::mount(&setup, "16m") else {
        return;
    };
    let mut service = on(setup, &disk.folder).start();
    let text = "long ".repeat(800);
    for number in 0..200 {
        service.store(&message_with(&format!("m{number}"), &json!({"text": text})));
    }
    let ballast = disk.fill();
    service.signal("TERM");
    assert_eq!(service.wait().code(), Some(0));
    let log = service.stdout.to_the_end();
    let line = log.lines().find(|line| line.contains(r#""event":"log_left""#)).expect("it is said");
    assert!(line.contains("the disk is full"), "{line}");
    fs::remove_file(ballast).expect("the folder is ours");
    let service = service.kill().start();
    assert_eq!(service.get("/stats").json()["total_messages"], 200);
    service.stop();
    assert!(!disk.folder.join("app.db-wal").exists());
}

/// Serves what is there, and is not ready, until there is room.
#[track_caller]
fn serves_what_is_there(case: &str, setup: Setup, disk: &Disk, rows: usize) {
    eprintln!("{case}");
    let ballast = disk.fill();
    let service = setup.start();
    let why = turns_unready(&service);
    assert!(why.contains("full"), "{case}: {why}");
    is_refused(&service, "m1");
    for _ in 0..3 {
        assert_eq!(service.get("/messages").expect(200).json()["total"], rows, "{case}");
        assert_eq!(service.get("/messages?q=hello").expect(200).json()["total"], rows, "{case}");
        assert_eq!(service.get("/stats").expect(200).json()["total_messages"], rows, "{case}");
        service.get("/metrics").expect(200);
        service.get("/health/live").expect(200);
    }
    tells(&service, "degraded");
    fs::remove_file(ballast).expect("it was made");
    turns_ready(&service);
    tells(&service, "recovered");
    service.store(&message("m1"));
    assert_eq!(service.get("/messages").expect(200).json()["total"], rows + 1, "{case}");
    let service = service.restart();
    assert_eq!(service.get("/messages").expect(200).json()["total"], rows + 1, "{case}");
    is_sound(&service);
}

#[test]
fn a_service_that_starts_on_a_full_disk_serves_what_is_there() {
    for case in ["after a stop", "after a kill", "of another program", "of another program, with a log"] {
        let setup = Setup::new();
        let Some(disk) = Disk::mount(&setup, "8m") else {
            return;
        };
        let setup = on(setup, &disk.folder);
        let setup = if case.starts_with("after") {
            let service = setup.start();
            for number in 0..5 {
                service.store(&message(&format!("old {number}")));
            }
            if case == "after a stop" { service.stop() } else { service.kill() }
        } else {
            let old = rusqlite::Connection::open(disk.folder.join("app.db")).unwrap();
            let mode = if case.ends_with("log") { "WAL" } else { "DELETE" };
            old.execute_batch(&format!(
                "PRAGMA journal_mode = {mode};
                CREATE TABLE messages (message_id TEXT PRIMARY KEY, from_msisdn TEXT NOT NULL,
                    to_msisdn TEXT NOT NULL, ts TEXT NOT NULL, text TEXT, created_at TEXT NOT NULL);
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5)
                INSERT INTO messages SELECT 'r' || i, '+1', '+2', '2025-01-15T10:00:00Z', 'Hello', '2025' FROM n;"
            ))
            .unwrap();
            setup
        };
        serves_what_is_there(case, setup, &disk, 5);
    }
}

#[test]
fn a_database_that_there_is_no_room_to_make_is_said_so() {
    let setup = Setup::new();
    let Some(disk) = Disk::mount(&setup, "8m") else {
        return;
    };
    let mut setup = on(setup, &disk.folder);
    let ballast = disk.fill();
    setup.is_refused(69, &["app.db", "No space left", "make room"]);
    fs::remove_file(ballast).unwrap();
    setup.start().store(&message("m1"));
}
