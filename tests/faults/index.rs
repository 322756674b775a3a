//! What befalls the index, which holds nothing that the database does not: nobody who posts or asks notices.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use serde_json::json;

use crate::files::{as_nobody, set_mode};
use crate::fixtures::{eventually, message_with};
use crate::load::is_sound;
use crate::plain::{agrees, agrees_all_the_way, ends_with_a_whole_index, is_indexed, older_file};
use crate::service::Service;
use crate::setup::Setup;

const INDEX: [&str; 3] = ["app.db-index", "app.db-index-wal", "app.db-index-shm"];
/// Enough for offsets and searches that plain SQL does not answer by the way.
const ROWS: usize = 3000;

/// A service whose messages are all in the index, and the index in its file; nobody has asked anything yet.
fn unasked() -> Service {
    let service = older_file(ROWS).start();
    is_indexed(&service);
    let service = service.restart();
    is_indexed(&service);
    service
}

/// The same, with every file open that queries need.
pub(crate) fn indexed() -> Service {
    let service = unasked();
    agrees(&service);
    service
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|file| file.ino())
}

/// Takes messages, is ready, and answers exactly, whatever has just been done to the index.
#[track_caller]
pub(crate) fn stays_exact(service: &Service, name: &str) {
    for number in 0..4 {
        let ts = format!("2025-01-15T10:{:02}:07Z", number * 15);
        let fields = json!({"from": "+3", "ts": ts, "text": format!("Later of 77 {name}")});
        service.store(&message_with(&format!("{name} {number}"), &fields));
        service.get("/health/ready").expect(200);
        agrees(service);
    }
    is_sound(service);
}

/// The index at the path is another file than before, with all messages in it.
#[track_caller]
fn is_made_anew(service: Service, before: Option<u64>) {
    let path = service.path("app.db-index");
    eventually("the index is made anew", || {
        inode(&path).filter(|now| Some(*now) != before && path.is_file()).map(drop)
    });
    is_indexed(&service);
    stays_exact(&service, "anew");
    is_indexed(&service);
    agrees_all_the_way(&service);
    ends_with_a_whole_index(service);
}

/// Does this to the files of a running service.
fn survives(name: &str, harm: impl FnOnce(&Service)) {
    let service = indexed();
    let before = inode(&service.path("app.db-index"));
    harm(&service);
    stays_exact(&service, name);
    is_made_anew(service, before);
}

#[test]
fn an_index_that_was_deleted_is_made_anew() {
    survives("deleted", |service| {
        // So that another file cannot be given the number of this one.
        fs::hard_link(service.path("app.db-index"), service.path("kept")).unwrap();
        INDEX.iter().for_each(|name| fs::remove_file(service.path(name)).unwrap());
    });
}

#[test]
fn an_index_overwritten_with_garbage_is_made_anew() {
    survives("garbage", |service| {
        let path = service.path("app.db-index");
        fs::hard_link(&path, service.path("kept")).unwrap();
        let size = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&vec![0xff; size], 0).unwrap();
    });
}

#[test]
fn an_index_with_garbage_behind_its_first_pages_is_made_anew() {
    survives("half garbage", |service| {
        let path = service.path("app.db-index");
        fs::hard_link(&path, service.path("kept")).unwrap();
        let size = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&vec![0xff; size - 8 * 4096], 8 * 4096).unwrap();
    });
}

#[test]
fn an_index_that_was_truncated_is_made_anew() {
    for length in [0, 4096 * 12] {
        survives(&format!("truncated to {length}"), |service| {
            let path = service.path("app.db-index");
            fs::hard_link(&path, service.path("kept")).unwrap();
            fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length).unwrap();
        });
    }
}

/// The index of a database with other messages under other names.
fn foreign_index() -> Setup {
    let setup = older_file(500);
    setup
        .database()
        .execute_batch("UPDATE messages SET message_id = 'o' || message_id, from_msisdn = '+3'")
        .expect("it is SQL");
    let service = setup.start();
    is_indexed(&service);
    service.stop()
}

#[test]
fn the_index_of_another_database_is_not_believed_at_the_start() {
    let service = indexed();
    let setup = service.stop();
    fs::hard_link(setup.path("app.db-index"), setup.path("kept")).unwrap();
    fs::copy(foreign_index().path("app.db-index"), setup.path("foreign")).unwrap();
    fs::hard_link(setup.path("foreign"), setup.path("kept as well")).unwrap();
    let before = inode(&setup.path("foreign"));
    fs::rename(setup.path("foreign"), setup.path("app.db-index")).unwrap();
    let service = setup.start();
    stays_exact(&service, "foreign");
    is_made_anew(service, before);
}

#[test]
fn the_index_of_another_database_is_not_believed_while_it_runs() {
    let foreign = foreign_index();
    for (service, with_its_log) in
        [(indexed(), true), (indexed(), false), (unasked(), true), (unasked(), false)]
    {
        fs::hard_link(service.path("app.db-index"), service.path("kept")).unwrap();
        fs::copy(foreign.path("app.db-index"), service.path("foreign")).unwrap();
        fs::hard_link(service.path("foreign"), service.path("kept as well")).unwrap();
        let before = inode(&service.path("foreign"));
        if with_its_log {
            INDEX[1..].iter().for_each(|name| drop(fs::remove_file(service.path(name))));
        }
        fs::rename(service.path("foreign"), service.path("app.db-index")).unwrap();
        stays_exact(&service, "foreign");
        is_made_anew(service, before);
    }
}

#[test]
fn a_directory_in_the_place_of_the_index_is_lived_with_until_it_is_gone() {
    let setup = older_file(ROWS);
    fs::create_dir(setup.path("app.db-index")).unwrap();
    let service = setup.start();
    stays_exact(&service, "directory");
    fs::remove_dir(service.path("app.db-index")).unwrap();
    is_made_anew(service, None);
}

#[test]
fn a_folder_in_which_no_index_can_be_made_is_lived_with_until_one_can() {
    let Some(service) = as_nobody() else {
        return;
    };
    stays_exact(&service, "before");
    is_indexed(&service);
    set_mode(service.path(".").as_path(), 0o700);
    fs::hard_link(service.path("app.db-index"), service.path("kept")).unwrap();
    INDEX.iter().for_each(|name| fs::remove_file(service.path(name)).unwrap());
    set_mode(service.path(".").as_path(), 0o500);
    let before = inode(&service.path("kept"));
    stays_exact(&service, "read-only");
    assert!(!service.path("app.db-index").exists(), "permissions bind the service");
    set_mode(service.path(".").as_path(), 0o700);
    is_made_anew(service, before);
}

#[test]
fn an_index_that_may_only_be_read_is_made_anew() {
    let Some(service) = as_nobody() else {
        return;
    };
    stays_exact(&service, "before");
    is_indexed(&service);
    let setup = service.stop();
    let path = setup.path("app.db-index");
    set_mode(&path, 0o400);
    fs::hard_link(&path, setup.path("kept")).unwrap();
    let service = setup.start();
    stays_exact(&service, "read-only");
    let before = inode(&service.path("kept"));
    is_made_anew(service, before);
}
