//! What befalls the database's files while the service runs: deleted, moved, replaced, protected, damaged.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::fixtures::{eventually, message};
use crate::load::{Load, is_refused, is_sound, tells, turns_ready, turns_unready};
use crate::service::Service;
use crate::setup::Setup;
use crate::skip::{Lack, is_root, lacks};

const FILES: [&str; 3] = ["app.db", "app.db-wal", "app.db-shm"];

/// A service whose database has a folder to itself.
fn in_a_folder() -> Service {
    let setup = Setup::new();
    fs::create_dir(setup.path("data")).expect("the folder is ours");
    let url = format!("sqlite:///{}", setup.path("data/app.db").display());
    setup.with("DATABASE_URL", &url).start()
}

fn total(service: &Service) -> Value {
    service.get("/messages").expect(200).json()["total"].clone()
}

/// Everything that changes is refused, and the log says since when.
#[track_caller]
fn refuses(service: &Service) {
    eventually("messages are refused", || (service.post(&message("refused")).status == 503).then_some(()));
    is_refused(service, "refused");
    turns_unready(service);
    tells(service, "degraded");
    is_sound(service);
}

/// A query is answered or refused; there is no third way.
#[track_caller]
fn answers_or_refuses(service: &Service) {
    for target in ["/messages", "/messages?q=hello", "/stats"] {
        let status = service.get(target).status;
        assert!(status == 200 || status == 503, "{target}: {status}");
    }
}

#[track_caller]
fn works_again(service: &Service, rows: usize) {
    turns_ready(service);
    eventually("the message is taken", || (service.post(&message("again")).status == 200).then_some(()));
    tells(service, "recovered");
    // A refusal may have come too late for the transaction: sending again is right in either case.
    service.store(&message("refused"));
    assert_eq!(total(service), rows, "what was acknowledged is visible");
    assert_eq!(service.get("/stats").expect(200).json()["total_messages"], rows);
    is_sound(service);
}

#[test]
fn a_database_that_was_moved_away_and_back_is_taken_up_again() {
    let service = in_a_folder();
    service.store(&message("m1"));
    let (here, away) = (service.path("data"), service.path("away"));
    fs::rename(&here, &away).unwrap();
    refuses(&service);
    answers_or_refuses(&service);
    fs::rename(&away, &here).unwrap();
    works_again(&service, 3);
}

#[test]
fn a_file_that_was_moved_away_and_back_is_taken_up_again() {
    let service = in_a_folder();
    service.store(&message("m1"));
    let (here, away) = (service.path("data/app.db"), service.path("away"));
    fs::rename(&here, &away).unwrap();
    refuses(&service);
    // The file that vanished is not replaced by an empty one.
    assert!(!here.exists());
    fs::rename(&away, &here).unwrap();
    works_again(&service, 3);
}

#[test]
fn a_file_that_was_moved_away_under_load_takes_nothing_acknowledged_along() {
    let service = Service::start();
    let load = Load::start(&service);
    for _ in 0..5 {
        load.acknowledged_more(20);
        let (here, away) = (service.path("app.db"), service.path("away"));
        fs::rename(&here, &away).unwrap();
        load.refused_more(4);
        fs::rename(&away, &here).unwrap();
    }
    load.acknowledged_more(20);
    is_sound(&service);
    load.nothing_was_lost(service);
}

#[test]
fn a_database_that_was_deleted_is_refused_and_not_made_anew() {
    let service = in_a_folder();
    service.store(&message("m1"));
    for name in FILES {
        fs::remove_file(service.path("data").join(name)).unwrap();
    }
    refuses(&service);
    answers_or_refuses(&service);
    assert!(!service.path("data/app.db").exists());
}

#[test]
fn a_folder_that_was_deleted_is_refused_and_not_made_anew() {
    let service = in_a_folder();
    service.store(&message("m1"));
    fs::remove_dir_all(service.path("data")).unwrap();
    refuses(&service);
    answers_or_refuses(&service);
    assert!(!service.path("data").exists());
}

/// Another database with three messages in it.
fn other_database() -> Setup {
    let other = Service::start();
    for id in ["o1", "o2", "o3"] {
        other.store(&message(id));
    }
    other.stop()
}

#[test]
fn a_backup_put_in_the_place_of_the_files_is_taken_up() {
    let service = in_a_folder();
    service.store(&message("m1"));
    // Every connection for queries has been used on the old file.
    for _ in 0..8 {
        assert_eq!(total(&service), 1);
    }
    let other = other_database();
    let data = service.path("data");
    for name in FILES {
        drop(fs::remove_file(data.join(name)));
    }
    fs::copy(other.path("app.db"), service.path("new")).unwrap();
    fs::rename(service.path("new"), data.join("app.db")).unwrap();
    eventually("the message is taken", || (service.post(&message("again")).status == 200).then_some(()));
    // Whoever was told that the message is stored finds it, beside those of the file that is there now.
    for _ in 0..8 {
        assert_eq!(total(&service), 4, "the answer is that of a file that is gone");
    }
    works_again(&service, 5);
}

#[test]
fn a_directory_in_the_place_of_the_file_is_refused() {
    let service = in_a_folder();
    service.store(&message("m1"));
    let (here, away) = (service.path("data/app.db"), service.path("away"));
    fs::rename(&here, &away).unwrap();
    fs::create_dir(&here).unwrap();
    refuses(&service);
    answers_or_refuses(&service);
    fs::remove_dir(&here).unwrap();
    fs::rename(&away, &here).unwrap();
    works_again(&service, 3);
}

#[test]
fn a_foreign_file_in_the_place_of_the_file_is_refused_and_untouched() {
    let service = in_a_folder();
    service.store(&message("m1"));
    let data = service.path("data");
    let foreign = Setup::new();
    let statements = "CREATE TABLE accounts (id INTEGER PRIMARY KEY); INSERT INTO accounts VALUES (1);";
    foreign.database().execute_batch(statements).unwrap();
    for name in FILES {
        drop(fs::remove_file(data.join(name)));
    }
    let before = fs::read(foreign.path("app.db")).unwrap();
    fs::write(service.path("new"), &before).unwrap();
    fs::rename(service.path("new"), data.join("app.db")).unwrap();
    refuses(&service);
    answers_or_refuses(&service);
    // Often enough that the file at the path has been opened again.
    for number in 0..50 {
        is_refused(&service, &format!("during {number}"));
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(fs::read(data.join("app.db")).unwrap() == before, "a file that is not ours was changed");
}

/// Takes the log away after a load and some queries, and holds the service to what it says from then on.
fn loses_its_log(queries: usize) {
    let service = in_a_folder();
    let load = Load::start(&service);
    load.acknowledged_more(50);
    let mut acknowledged = load.finish().acknowledged;
    for _ in 0..queries {
        service.get("/messages").expect(200);
    }
    fs::remove_file(service.path("data/app.db-wal")).expect("the log is there");
    is_refused(&service, "refused");
    answers_or_refuses(&service);
    eventually("messages are taken again", || {
        (service.post(&message("refused")).status == 200).then_some(())
    });
    for number in 0..20 {
        let id = format!("later {number}");
        if service.post(&message(&id)).status == 200 {
            acknowledged.push(id);
        }
    }
    is_sound(&service);
    // The log that was deleted is still open, and what it holds was moved to the file before it was let go.
    let visible = total(&service);
    let service = service.kill().start();
    assert_eq!(total(&service), visible);
    for id in &acknowledged {
        service.store(&message(id));
    }
    service.resulted("created", 0.0);
    let database = crate::fixtures::open_database(&service.path("data/app.db"));
    let check = database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0));
    assert_eq!(check.expect("the database can be checked"), "ok");
}

#[test]
fn a_log_that_was_deleted_takes_no_message_along() {
    loses_its_log(0);
}

#[test]
fn a_log_that_was_deleted_after_queries_takes_no_message_along() {
    loses_its_log(8);
}

/// The service run by a user whom permissions bind, if this one can do that.
pub(crate) fn as_nobody() -> Option<Service> {
    const NOBODY: u32 = 65_534;
    is_root().then(|| Setup::new().by_user(NOBODY).start())
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
}

#[test]
fn a_file_whose_permissions_are_taken_away_harms_nothing_open() {
    let Some(service) = as_nobody() else {
        return;
    };
    let load = Load::start(&service);
    load.acknowledged_more(20);
    set_mode(&service.path("app.db"), 0o400);
    set_mode(&service.path("app.db-wal"), 0o400);
    set_mode(service.path(".").as_path(), 0o500);
    // What is open stays writable (open(2)): messages are taken, and lasting.
    load.acknowledged_more(20);
    is_sound(&service);
    set_mode(service.path(".").as_path(), 0o700);
    set_mode(&service.path("app.db"), 0o600);
    set_mode(&service.path("app.db-wal"), 0o600);
    load.nothing_was_lost(service);
}

#[test]
fn a_log_made_immutable_is_refused_until_it_is_not() {
    let service = Service::start();
    let load = Load::start(&service);
    load.acknowledged_more(20);
    let change = |flag: &str| {
        let output = Command::new("chattr").arg(flag).arg(service.path("app.db-wal")).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !change("+i") {
        load.finish();
        return lacks(Lack::ImmutableFiles);
    }
    load.refused_more(10);
    turns_unready(&service);
    is_sound(&service);
    assert!(change("-i"));
    load.acknowledged_more(20);
    turns_ready(&service);
    is_sound(&service);
    load.nothing_was_lost(service);
}
