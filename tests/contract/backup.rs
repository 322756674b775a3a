//! Section 11, `backup`: cut short, run again, run twice, and run while the log grows.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::SystemTime;

use serde_json::json;

use crate::fixtures::{SECRET, eventually, message, message_with, open_database, sign, signal};
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

#[test]
fn a_backup_that_was_cut_short_goes_on_when_it_is_run_again() {
    // A file that grows beyond the limit is an error in the middle of a write.
    let mut setup = older_file(60_000).through_shell("ulimit -c 0; ulimit -f 2048; exec \"$0\" \"$@\"");
    assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(69));
    assert!(!setup.path("copy.db").exists());
    let cut_short = fs::metadata(setup.path("copy.db.partial")).unwrap();
    assert!(cut_short.len() > 100_000);
    let mut setup = setup.through_shell("exec \"$0\" \"$@\"");
    let finished = setup.run(&["backup", "copy.db"]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(rows(&setup.path("copy.db")), rows(&setup.path("app.db")));
    let copy = fs::metadata(setup.path("copy.db")).unwrap();
    assert_eq!(copy.ino(), cut_short.ino());
    assert_eq!(copy.mode() & 0o777, 0o600);
    assert!(!setup.path("copy.db.partial").exists());
}

#[test]
fn what_was_copied_already_is_not_written_again() {
    let mut setup = older_file(20_000);
    assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(0));
    let partial = setup.path("copy.db.partial");
    fs::rename(setup.path("copy.db"), &partial).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH;
    File::options()
        .write(true)
        .open(&partial)
        .unwrap()
        .set_times(FileTimes::new().set_modified(long_ago))
        .unwrap();
    assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(0));
    assert_eq!(fs::metadata(setup.path("copy.db")).unwrap().modified().unwrap(), long_ago);
    // Of something else, every page is another one.
    fs::write(&partial, vec![7; 10_000_000]).unwrap();
    assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(0));
    assert_eq!(rows(&setup.path("copy.db")), rows(&setup.path("app.db")));
}

#[test]
fn two_backups_to_one_name_do_not_meet() {
    let mut setup = older_file(100);
    let other = File::create(setup.path("copy.db.partial")).unwrap();
    other.lock().unwrap();
    let finished = setup.run(&["backup", "copy.db"]);
    assert_eq!(finished.code, Some(75), "{finished:?}");
    assert!(finished.stderr.contains("another backup"), "{}", finished.stderr);
    drop(other);
    assert_eq!(setup.run(&["backup", "copy.db"]).code, Some(0));
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
    let copied = |setup: &Setup| fs::metadata(setup.path("copy.db.partial")).map_or(0, |file| file.len());
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
            if stat.contains(") T ") {
                return backup;
            }
            signal(backup.id(), "CONT");
            wait(&mut backup);
        }
        fs::remove_file(setup.path("copy.db")).expect("it has ended by itself");
    }
}

#[test]
fn a_backup_lets_the_log_start_over_and_is_of_one_moment() {
    let service = Service::start();
    let text = "\u{1f600}".repeat(4096);
    let post = |count: usize, name: &str| {
        let mut client = service.connect();
        for number in 0..count {
            let body = message_with(&format!("{name} {number:06}"), &json!({ "text": text })).to_string();
            let signature = sign(SECRET, body.as_bytes());
            client
                .request("POST", "/webhook", &[("X-Signature", &signature)], Some(body.as_bytes()))
                .expect(200);
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
    assert_eq!(rows(&other.path("copy.db")), rows(&service.path("app.db")), "the moment is a later one");
    let mut number = 0;
    eventually("the log has started over", || {
        number += 1;
        service.store(&message(&format!("after {number}")));
        (log() <= 96 << 20).then_some(())
    });
}
