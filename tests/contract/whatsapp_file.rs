//! A file that holds items of WhatsApp, whatever becomes of it.

use crate::fixtures::{ids, message, open_database};
use crate::service::Service;
use crate::setup::Setup;

/// What this service makes for the first item.
const ITEMS: &str = include_str!("../../src/store/database/migration_5.sql");
/// Its second half is SHA-256 of what it holds.
const ITEM: &str = "INSERT INTO messages_items VALUES \
     (7, x'0102030405060708', x'8eb95bcbc154530931e15fc418c8b1fe', 'other', NULL, 'none', '2025', x'7b0a7d')";

/// A database with a message and its item.
fn with_an_item() -> Setup {
    let service = Service::start();
    service.store(&message("m1"));
    let setup = service.stop();
    setup
        .database()
        .execute_batch(&format!("{ITEMS} {ITEM}; PRAGMA user_version = 5"))
        .expect("the file is ours");
    setup
}

/// The version of the file and the items in it.
fn found(setup: &Setup) -> (i64, i64) {
    let count = "SELECT (SELECT user_version FROM pragma_user_version), COUNT(*) FROM messages_items \
         WHERE original = x'7b0a7d'";
    setup.database().query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?))).expect("the file is ours")
}

fn version(setup: &Setup) -> i64 {
    setup.database().query_row("PRAGMA user_version", [], |row| row.get(0)).expect("the file is ours")
}

#[test]
fn a_file_that_took_no_item_in_stays_of_version_four() {
    let service = Service::start();
    service.store(&message("m1"));
    let service = service.restart();
    service.store(&message("m2"));
    let setup = service.stop();
    assert_eq!(version(&setup), 4);
}

#[test]
fn items_outlive_what_happens_to_the_rest_of_their_file() {
    for change in [
        "",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = 4",
        "DROP INDEX messages_items_unmapped",
        "DROP TRIGGER messages_deleted",
        "DROP TABLE messages_epochs",
        "VACUUM",
    ] {
        let setup = with_an_item();
        setup.database().execute_batch(change).expect(change);
        let service = setup.start();
        service.store(&message("m2"));
        assert_eq!(ids(&service.get("/messages")), ["m1", "m2"], "{change}");
        let mut setup = service.stop();
        assert_eq!(found(&setup), (5, 1), "{change}");
        let checked = setup.run(&["check"]);
        assert_eq!(checked.code, Some(0), "{change}: {checked:?}");
    }
}

#[test]
fn a_file_that_lost_its_items_takes_messages_in_as_before() {
    let setup = with_an_item();
    setup.database().execute_batch("DROP TABLE messages_items").unwrap();
    let service = setup.start();
    service.store(&message("m2"));
    assert_eq!(version(&service.stop()), 4);
}

#[test]
fn a_backup_brings_items_along_and_takes_the_place_of_one_without() {
    let mut setup = with_an_item();
    assert_eq!(setup.run(&["backup", "five.db"]).code, Some(0));
    let mut setup = {
        setup.database().execute_batch("DROP TABLE messages_items").unwrap();
        setup.start().stop()
    };
    assert_eq!(version(&setup), 4);
    assert_eq!(setup.run(&["backup", "four.db"]).code, Some(0));
    for (backup, expected) in [("five.db", 5), ("four.db", 4), ("five.db", 5)] {
        let finished = setup.run(&["restore", backup]);
        assert_eq!(finished.code, Some(0), "{backup}: {finished:?}");
        let service = setup.start();
        assert_eq!(ids(&service.get("/messages")), ["m1"], "{backup}");
        setup = service.stop();
        assert_eq!(version(&setup), expected, "{backup}");
    }
    assert_eq!(found(&setup), (5, 1));
}

#[test]
fn items_of_another_making_or_of_a_newer_version_are_refused() {
    for (change, words) in [
        ("PRAGMA user_version = 6", ["schema version is 6", "upgrade"]),
        ("ALTER TABLE messages_items ADD COLUMN more", ["table messages_items", "not of this service"]),
        (
            "CREATE INDEX mine ON messages_items (kind)",
            ["index mine on messages_items", "not of this service"],
        ),
    ] {
        let mut setup = with_an_item();
        open_database(&setup.path("app.db")).execute_batch(change).unwrap();
        setup.is_refused(78, &words);
    }
}
