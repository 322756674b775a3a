//! Section 11, `backup`: killed, run twice, run while the log grows, and run to names that are none of a file.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::json;

use crate::fixtures::{eventually, message, message_with, open_database, signal};
use crate::plain::older_file;
use crate::service::Service;
use crate::setup::{Setup, wait};

fn rows(database: &Path) -> Vec<String> {
    let database = open_database(database);
    let check: String =
        database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("it can be checked");
    assert_eq!(check, "ok");
    let mut statement =
        database.prepare("SELECT message_id FROM messages ORDER BY rowid").expect("the table is there");
    let rows = statement.query_map([], |row| row.get(0)).expect("the table can be read");
    rows.map(|id| id.expect("an id is text")).collect()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
}

/// Files that are being made, or that nobody goes on making.
fn unfinished(setup: &Setup) -> Vec<PathBuf> {
    let entries = fs::read_dir(setup.folder.path()).expect("the folder is ours");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    paths.filter(|path| path.display().to_string().contains(".partial-")).collect()
}

#[test]
fn a_backup_that_was_killed_is_known_to_check_and_removed_by_the_next_one() {
    let mut setup = older_file(60_000);
    drop(setup.database().execute_batch("PRAGMA journal_mode = WAL"));
    let mut backup = stopped_backup(&mut setup);
    backup.kill().expect("it has not ended");
    wait(&mut backup);
    assert!(!unfinished(&setup).is_empty());
    assert!(!setup.path("copy.db").exists());
    let left = unfinished(&setup).iter().map(|path| path.display().to_string()).min().unwrap();
    let left = left.trim_end_matches("-journal").to_owned();
    assert!(setup.run(&["check"]).stdout.contains(&left), "{left}");
    let finished = setup.run(&["backup", "copy.db"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(unfinished(&setup), Vec::<PathBuf>::new());
    assert_eq!(rows(&setup.path("copy.db")), rows(&setup.path("app.db")));
}

#[test]
fn two_backups_to_one_name_do_not_meet() {
    let mut setup = older_file(20_000);
    let mut backups: Vec<Child> = (0..4)
        .map(|_| setup.command(&["backup", "copy.db"]).spawn().expect("the executable starts"))
        .collect();
    assert!(backups.iter_mut().all(|backup| wait(backup).success()));
    assert_eq!(rows(&setup.path("copy.db")), rows(&setup.path("app.db")));
    assert_eq!(unfinished(&setup), Vec::<PathBuf>::new());
}

#[test]
fn a_backup_keeps_the_number_of_every_row() {
    let mut setup = older_file(3000);
    setup
        .database()
        .execute_batch(
            "DELETE FROM messages WHERE rowid % 3 = 0 OR rowid > 2900;
             UPDATE messages SET rowid = -7 WHERE rowid = 1",
        )
        .unwrap();
    // Twice, because what is restored is copied once more.
    assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(0));
    let url = format!("sqlite:///{}", setup.path("again.db").display());
    setup.variables.insert("DATABASE_URL".to_owned(), url);
    assert_eq!(setup.run(&["restore", "copy.db"]).code, Some(0));
    let numbered = |name: &str| -> Vec<(i64, String)> {
        let database = open_database(&setup.path(name));
        let mut statement =
            database.prepare("SELECT rowid, message_id FROM messages ORDER BY rowid").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let before = numbered("app.db");
    assert_eq!(before[0].0, -7);
    assert!(numbered("copy.db") == before && numbered("again.db") == before);
}

#[test]
fn a_backup_is_a_private_file_whatever_was_there() {
    let setup = older_file(100);
    setup.file("copy.db", "an older one");
    set_mode(&setup.path("copy.db"), 0o666);
    setup.file("victim", "somebody's");
    symlink("victim", setup.path("copy.db.partial")).unwrap();
    let setup = &mut setup.through_shell("umask 0; exec \"$0\" \"$@\"");
    assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(0));
    assert_eq!(fs::metadata(setup.path("copy.db")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(rows(&setup.path("copy.db")), rows(&setup.path("app.db")));
    assert_eq!(fs::read(setup.path("victim")).unwrap(), b"somebody's");
}

#[test]
fn a_name_that_is_no_regular_files_is_refused_before_any_work() {
    let mut service = Service::start();
    service.store(&message("m1"));
    let setup = service.setup();
    setup.file("victim", "somebody's");
    symlink("victim", setup.path("link")).unwrap();
    symlink("nowhere", setup.path("dangling")).unwrap();
    symlink(setup.path("app.db"), setup.path("database")).unwrap();
    drop(UnixListener::bind(setup.path("socket")).unwrap());
    fs::create_dir(setup.path("folder")).unwrap();
    fs::hard_link(setup.path("app.db"), setup.path("second_name")).unwrap();
    assert!(Command::new("mkfifo").arg(setup.path("pipe")).status().unwrap().success());
    let names = [
        "",
        "/",
        ".",
        "..",
        "folder",
        "new/",
        "socket",
        "pipe",
        "link",
        "dangling",
        "database",
        "second_name",
        "app.db",
        "./app.db",
        "app.db-wal",
        "app.db-shm",
        "app.db-lock",
        "app.db-index",
        "app.db-journal",
    ];
    for name in names {
        let finished = setup.run(&["backup", name]);
        assert_eq!(finished.code, Some(69), "{name}: {finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{name}: {finished:?}");
    }
    assert_eq!(fs::read(setup.path("victim")).unwrap(), b"somebody's");
    assert!(!setup.path("nowhere").exists() && !setup.path("app.db-journal").exists());
    fs::remove_file(setup.path("second_name")).unwrap();
    service.store(&message("m2"));
    assert_eq!(service.get("/messages").json()["total"], 2);
}

#[test]
fn a_database_in_use_is_not_replaced_by_a_backup() {
    let mut source = older_file(10);
    let other = Service::start();
    other.store(&message("m1"));
    let target = other.path("app.db").display().to_string();
    let finished = source.run(&["backup", &target]);
    assert_eq!(finished.code, Some(75), "{finished:?}");
    other.store(&message("m2"));
    // Killed, it has messages in its log, which become part of what is replaced.
    let mut setup = other.kill();
    assert!(fs::metadata(setup.path("app.db-wal")).unwrap().len() > 0);
    assert_eq!(source.run(&["backup", &target]).code, Some(0));
    assert!(!setup.path("app.db-wal").exists());
    assert_eq!(rows(&setup.path("app.db")), rows(&source.path("app.db")));
    assert_eq!(setup.run(&["check"]).code, Some(0));
}

#[test]
fn a_backup_shows_its_progress_on_a_terminal_alone() {
    let mut setup = older_file(20_000);
    let finished = setup.run(&["backup", "copy.db"]);
    assert_eq!((finished.code, finished.stdout, finished.stderr), (Some(0), String::new(), String::new()));
    let mut typed = setup.command(&[]);
    let binary = typed.get_program().to_owned();
    // script(1) gives it a terminal, whose output comes back through a pipe.
    typed = {
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{} backup other.db", binary.display()), "/dev/null"]);
        script.envs(typed.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.current_dir(setup.folder.path());
        script
    };
    let said = typed.output().expect("every Linux has script");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("100 %") && said.contains("other.db written"), "{said:?}");
}

/// Begins to copy, and is stopped in the middle of it.
fn stopped_backup(setup: &mut Setup) -> Child {
    let copied = |setup: &Setup| {
        let lengths =
            unfinished(setup).into_iter().filter_map(|path| fs::metadata(path).ok()).map(|file| file.len());
        lengths.max().unwrap_or(0)
    };
    loop {
        let mut backup = setup.command(&["backup", "copy.db"]).spawn().expect("the executable starts");
        let is_at_work = eventually("it has begun to copy, or ended", || {
            let has_ended = backup.try_wait().expect("a child can be waited for").is_some();
            (copied(setup) > 1 << 20 || has_ended).then_some(!has_ended)
        });
        if is_at_work {
            signal(backup.id(), "STOP");
            let stat = fs::read_to_string(format!("/proc/{}/stat", backup.id()))
                .expect("it has not been waited for");
            // Once all is read the copy is only synced, which holds nobody's log any more.
            if stat.contains(") T ") && copied(setup) < 6 << 20 {
                return backup;
            }
            signal(backup.id(), "CONT");
            wait(&mut backup);
        }
        fs::remove_file(setup.path("copy.db")).expect("it has ended by itself");
    }
}

#[test]
fn a_backup_is_of_one_moment_and_the_log_starts_over_after_it() {
    let service = Service::start();
    let text = "\u{1f600}".repeat(4096);
    let post = |count: usize, name: &str| {
        let mut client = service.connect();
        for number in 0..count {
            client.post(&message_with(&format!("{name} {number:06}"), &json!({ "text": text }))).expect(200);
        }
    };
    post(1500, "before");
    let url = format!("sqlite:///{}", service.path("app.db").display());
    let mut other = Setup::new().with("DATABASE_URL", &url);
    let mut backup = stopped_backup(&mut other);
    // More than the log should hold, were it not for the backup.
    post(5000, "during");
    let log = || fs::metadata(service.path("app.db-wal")).unwrap().len();
    assert!(log() > 96 << 20, "{}", log());
    signal(backup.id(), "CONT");
    assert!(wait(&mut backup).success());
    let (copied, stored) = (rows(&other.path("copy.db")), rows(&service.path("app.db")));
    assert!(copied.len() == 1500 && stored.starts_with(&copied), "{}", copied.len());
    let mut number = 0;
    eventually("the log has started over", || {
        number += 1;
        service.store(&message(&format!("after {number}")));
        (log() <= 96 << 20).then_some(())
    });
}
