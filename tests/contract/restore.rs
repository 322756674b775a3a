//! `restore`: a backup takes the place of the database, at once, or everything stays as it was.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use crate::fixtures::{ids, message, open_database};
use crate::plain::{agrees, agrees_all_the_way, ends_with_a_whole_index, is_indexed, older_file};
use crate::service::Service;
use crate::setup::Setup;

/// A service that has stored `before`, was backed up as `copy.db`, and has stored `after`.
fn backed_up() -> Service {
    let mut service = Service::start();
    (0..30).for_each(|number| service.store(&message(&format!("before {number:02}"))));
    assert_eq!(service.setup().run(&["backup", "copy.db"]).code, Some(0));
    (0..30).for_each(|number| service.store(&message(&format!("after {number:02}"))));
    service
}

#[test]
fn a_restored_database_is_what_it_was_when_it_was_backed_up() {
    for is_killed in [false, true] {
        let service = backed_up();
        is_indexed(&service);
        let mut setup = if is_killed { service.kill() } else { service.stop() };
        assert_eq!(setup.path("app.db-wal").exists(), is_killed);
        let finished = setup.run(&["restore", "copy.db"]);
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        for beside in ["app.db-wal", "app.db-shm", "app.db-index", "app.db-index-wal", "app.db.partial"] {
            assert!(!setup.path(beside).exists(), "{beside}");
        }
        let service = setup.start();
        let expected: Vec<String> = (0..30).map(|number| format!("before {number:02}")).collect();
        assert_eq!(ids(&service.get("/messages")), expected);
        service.store(&message("again"));
        agrees(&service);
        is_indexed(&service);
        agrees_all_the_way(&service);
        ends_with_a_whole_index(service);
    }
}

#[test]
fn a_backup_of_an_earlier_implementation_is_restored_where_there_was_nothing() {
    let older = older_file(1000);
    let backup = older.path("app.db").display().to_string();
    let mut setup = Setup::new();
    let url = format!("sqlite:///{}", setup.path("new/folder/app.db").display());
    setup.variables.insert("DATABASE_URL".to_owned(), url);
    let finished = setup.run(&["restore", &backup]);
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(fs::metadata(setup.path("new/folder/app.db")).unwrap().mode() & 0o777, 0o600);
    let service = setup.start();
    assert_eq!(service.get("/messages").json()["total"], 1000);
}

#[test]
fn a_database_that_a_service_has_open_is_not_replaced() {
    let mut service = backed_up();
    for is_away in [false, true] {
        if is_away {
            fs::rename(service.path("app.db"), service.path("away.db")).unwrap();
        }
        let finished = service.setup().run(&["restore", "copy.db"]);
        assert_eq!(finished.code, Some(75), "{finished:?}");
        assert!(finished.stderr.contains("stop it first"), "{}", finished.stderr);
        assert_eq!(service.path("app.db").exists(), !is_away);
    }
    fs::rename(service.path("away.db"), service.path("app.db")).unwrap();
    assert_eq!(service.get("/messages").json()["total"], 60);
}

#[test]
fn a_database_that_another_program_has_open_is_not_replaced() {
    let mut setup = backed_up().stop();
    let other = setup.database();
    // Idle, as a shell is between two lines.
    let count: i64 = other.query_row("SELECT COUNT(*) FROM messages", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 60);
    let finished = setup.run(&["restore", "copy.db"]);
    assert_eq!(finished.code, Some(75), "{finished:?}");
    assert!(finished.stderr.contains(&std::process::id().to_string()), "{}", finished.stderr);
    drop(other);
    assert_eq!(setup.run(&["restore", "copy.db"]).code, Some(0));
}

#[test]
fn a_service_does_not_start_while_a_database_is_being_restored() {
    let mut setup = backed_up().stop();
    let restoring = File::open(setup.path("app.db-lock")).unwrap();
    restoring.lock().unwrap();
    setup.is_refused(75, &["being restored", "app.db"]);
    drop(restoring);
    drop(setup.start());
}

#[test]
fn several_services_may_have_one_database_open() {
    let service = Service::start();
    let url = format!("sqlite:///{}", service.path("app.db").display());
    let other = Setup::new().with("DATABASE_URL", &url).start();
    other.store(&message("m1"));
    assert_eq!(ids(&service.get("/messages")), ["m1"]);
}

#[test]
fn what_is_no_sound_backup_is_refused_and_the_database_stays() {
    let mut setup = backed_up().kill();
    let newer = setup.path("newer.db");
    fs::copy(setup.path("copy.db"), &newer).unwrap();
    open_database(&newer).execute_batch("PRAGMA user_version = 9999").unwrap();
    open_database(&setup.path("empty.db")).execute_batch("CREATE TABLE other (x)").unwrap();
    setup.file("text.db", "this is no database ".repeat(500));
    let mut damaged = fs::read(setup.path("copy.db")).unwrap();
    let half = damaged.len() / 2;
    damaged[half - 8192..half].fill(0xff);
    setup.file("damaged.db", &damaged);
    setup.file("cut.db", &damaged[..half / 4096 * 4096]);
    let content = |setup: &Setup| {
        ["app.db", "app.db-wal", "app.db-index"].map(|name| fs::read(setup.path(name)).unwrap())
    };
    let before = content(&setup);
    for bad in ["newer.db", "empty.db", "text.db", "damaged.db", "cut.db", "missing.db", "app.db"] {
        let finished = setup.run(&["restore", bad]);
        assert_eq!(finished.code, Some(69), "{bad}: {finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{bad}: {finished:?}");
        assert!(finished.stderr.contains(bad), "{bad}: {finished:?}");
        assert!(!setup.path("app.db.partial").exists(), "{bad}");
        assert!(content(&setup) == before, "{bad}: nothing was touched");
    }
    assert_eq!(setup.start().get("/messages").json()["total"], 60);
}

#[test]
fn a_restore_that_is_cut_short_leaves_the_database_and_can_be_run_again() {
    let source = older_file(60_000);
    let backup = source.path("app.db").display().to_string();
    let service = Service::start();
    service.store(&message("m1"));
    // A file that grows beyond the limit is an error in the middle of a write.
    let mut setup = service.kill().through_shell("ulimit -c 0; ulimit -f 2048; exec \"$0\" \"$@\"");
    assert_eq!(setup.run(&["restore", &backup]).code, Some(69));
    let entries = fs::read_dir(setup.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(entries.into_iter().all(|name| !name.to_string_lossy().contains("partial")));
    let service = setup.through_shell("exec \"$0\" \"$@\"").start();
    assert_eq!(ids(&service.get("/messages")), ["m1"]);
    let mut setup = service.stop();
    assert_eq!(setup.run(&["restore", &backup]).code, Some(0));
    assert_eq!(setup.start().get("/messages").json()["total"], 60_000);
}

/// What a command that was killed has left, with a message in it.
const LEFT: &str = "app.db.partial-0123456789ab";

#[test]
fn what_a_killed_restore_has_left_is_named_by_check_and_removed_by_erase_and_the_next_restore() {
    let mut setup = backed_up().stop();
    for command in [&["erase", "--sender", "+1"][..], &["restore", "copy.db"], &["backup", "other.db"]] {
        setup.file(LEFT, "people's messages");
        setup.file(&format!("{LEFT}-journal"), "people's messages");
        let checked = setup.run(&["check"]);
        assert!(checked.stdout.contains(LEFT) && checked.stdout.contains("remove it"), "{checked:?}");
        // One that somebody is at work on is none.
        let held = File::open(setup.path(LEFT)).unwrap();
        held.lock().unwrap();
        assert!(!setup.run(&["check"]).stdout.contains(LEFT));
        assert_eq!(setup.run(command).code, Some(0));
        assert!(setup.path(LEFT).exists(), "{command:?}");
        drop(held);
        assert_eq!(setup.run(command).code, Some(0));
        // What another command has left may be another file's.
        let stays = command[0] == "backup";
        assert_eq!(setup.path(LEFT).exists(), stays, "{command:?}");
        assert_eq!(setup.path(&format!("{LEFT}-journal")).exists(), stays, "{command:?}");
    }
}

#[test]
fn a_log_whose_database_is_gone_is_not_given_to_the_one_that_is_restored() {
    let mut setup = backed_up().kill();
    fs::rename(setup.path("app.db"), setup.path("archive.db")).unwrap();
    let log = fs::read(setup.path("app.db-wal")).unwrap();
    let finished = setup.run(&["restore", "copy.db"]);
    assert_eq!(finished.code, Some(78), "{finished:?}");
    assert!(finished.stderr.contains("app.db-wal"), "{finished:?}");
    assert!(!setup.path("app.db").exists() && fs::read(setup.path("app.db-wal")).unwrap() == log);
    fs::rename(setup.path("app.db-wal"), setup.path("archive.db-wal")).unwrap();
    assert_eq!(setup.run(&["restore", "copy.db"]).code, Some(0));
    let count = |name: &str| -> i64 {
        let database = open_database(&setup.path(name));
        database.query_row("SELECT COUNT(*) FROM messages", [], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("app.db"), count("archive.db")), (30, 60));
}

#[test]
fn a_log_that_cannot_be_folded_is_kept() {
    let mut setup = backed_up().kill();
    let log = fs::read(setup.path("app.db-wal")).unwrap();
    fs::rename(setup.path("app.db"), setup.path("away.db")).unwrap();
    fs::create_dir(setup.path("app.db")).unwrap();
    let finished = setup.run(&["restore", "copy.db"]);
    assert_eq!(finished.code, Some(69), "{finished:?}");
    assert!(finished.stderr.contains("move the two away"), "{finished:?}");
    assert!(fs::read(setup.path("app.db-wal")).unwrap() == log);
    ["app.db", "app.db-wal"].iter().for_each(|name| {
        fs::rename(setup.path(name), setup.path(&name.replace("app", "damaged"))).unwrap();
    });
    assert_eq!(setup.run(&["restore", "copy.db"]).code, Some(0));
}

#[test]
fn what_must_not_meet_does_not() {
    let mut setup = backed_up().stop();
    let url = format!("sqlite:///{}", setup.path("app.db").display());
    setup.variables.insert("DATABASE_URL".to_owned(), url);
    let restoring = File::open(setup.path("app.db-lock")).unwrap();
    restoring.lock().unwrap();
    for command in [
        &["restore", "copy.db"][..],
        &["import", "copy.db"],
        &["erase", "--sender", "+1"],
        &["check"],
        &["backup", "other.db"],
        &["export"],
    ] {
        assert_eq!(setup.run(command).code, Some(75), "{command:?}");
    }
}

#[test]
fn a_restored_database_belongs_to_whom_it_belonged_and_is_nobody_elses_business() {
    let mut setup = backed_up().stop();
    let path = setup.path("app.db");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    // Only root can give a file away.
    let owner = if chown(&path, Some(4242), Some(4243)).is_ok() {
        (4242, 4243)
    } else {
        (fs::metadata(&path).unwrap().uid(), fs::metadata(&path).unwrap().gid())
    };
    assert_eq!(setup.run(&["restore", "copy.db"]).code, Some(0));
    let restored = fs::metadata(&path).unwrap();
    assert_eq!((restored.uid(), restored.gid(), restored.mode() & 0o777), (owner.0, owner.1, 0o600));
}

#[test]
fn a_backup_whose_table_has_its_name_in_capitals_is_restored() {
    for name in ["Messages", "MESSAGES"] {
        let setup = Setup::new();
        let table = crate::acceptance::TABLE.replace("TABLE messages", &format!("TABLE {name}"));
        setup.database().execute_batch(&table).unwrap();
        let mut service = setup.start();
        service.store(&message("m1"));
        assert_eq!(service.setup().run(&["backup", "copy.db"]).code, Some(0));
        service.store(&message("m2"));
        let mut setup = service.stop();
        let finished = setup.run(&["restore", "copy.db"]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(ids(&setup.start().get("/messages")), ["m1"]);
    }
}
