//! Section 10: what lies on the disk after a process has ended: the messages in one file, and no log beside it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::fixtures::{SetOnDrop, ids, message, message_with, open_database};
use crate::http_client::Client;
use crate::plain::{files_are_sound, is_indexed, older_file};
use crate::service::Service;
use crate::setup::Setup;

/// How many messages a copy of the file alone has, as somebody makes it with cp.
#[track_caller]
fn messages_in_a_copy(setup: &Setup) -> i64 {
    let copy = setup.path("copied/app.db");
    drop(fs::remove_dir_all(setup.path("copied")));
    fs::create_dir(setup.path("copied")).expect("the folder is ours");
    fs::copy(setup.path("app.db"), &copy).expect("the folder is ours");
    let count = "SELECT COUNT(*) FROM messages";
    open_database(&copy).query_row(count, [], |row| row.get(0)).expect("it is a whole database")
}

/// No log lies beside the database nor beside its index.
#[track_caller]
fn no_log_is_left(setup: &Setup) {
    for name in ["app.db-wal", "app.db-shm", "app.db-index-wal", "app.db-index-shm"] {
        assert!(!setup.path(name).exists(), "{name} is left");
    }
}

/// Whatever opens a connection of its own has been asked.
fn asked_everything(service: &Service) {
    for target in
        ["/messages", "/messages?q=Hello", "/messages?offset=2", "/stats", "/metrics", "/health/ready"]
    {
        service.get(target).expect(200);
    }
}

#[test]
fn after_a_clean_stop_the_messages_are_in_the_one_file() {
    for signal in ["TERM", "INT"] {
        let mut service = Service::start();
        (0..20).for_each(|number| service.store(&message(&format!("m{number}"))));
        asked_everything(&service);
        is_indexed(&service);
        service.signal(signal);
        assert_eq!(service.wait().code(), Some(0), "{signal}");
        let setup = service.kill();
        no_log_is_left(&setup);
        assert_eq!(messages_in_a_copy(&setup), 20, "{signal}");
        files_are_sound(&setup);
    }
}

#[test]
fn after_a_stop_under_load_every_acknowledged_message_is_in_the_one_file() {
    // So many that the index is being built when the stop comes.
    let mut service = older_file(20_000).start();
    let address = service.address.clone();
    let done = AtomicBool::new(false);
    let acknowledged = thread::scope(|scope| {
        let posts: Vec<_> = (0..3)
            .map(|client| {
                let (address, done) = (&address, &done);
                scope.spawn(move || {
                    let mut connection = Client::connect(address);
                    let mut taken = 0;
                    while !done.load(Ordering::Relaxed) {
                        match connection.try_post(&message(&format!("{client} {taken}"))) {
                            Ok(answer) if answer.status == 200 => taken += 1,
                            _ => break,
                        }
                    }
                    taken
                })
            })
            .collect();
        for target in ["/messages?q=text+of+77", "/stats", "/metrics", "/health/ready", "/messages?q=zz"] {
            let (address, done) = (&address, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let Ok(mut connection) = Client::try_connect(address) else { break };
                    if connection.try_request("GET", target, &[], None).is_err() {
                        break;
                    }
                }
            });
        }
        let stop = SetOnDrop(&done);
        for round in 0..15 {
            service.store(&message(&format!("round {round}")));
            asked_everything(&service);
        }
        service.signal("TERM");
        assert_eq!(service.wait().code(), Some(0));
        drop(stop);
        15 + posts.into_iter().map(|client| client.join().expect("no client panics")).sum::<i64>()
    });
    let setup = service.kill();
    no_log_is_left(&setup);
    let stored = messages_in_a_copy(&setup) - 20_000;
    // What was not heard of any more may have been stored as well.
    assert!((acknowledged..=acknowledged + 3).contains(&stored), "{stored} of {acknowledged}");
}

#[test]
fn a_backup_that_is_copied_over_the_file_is_what_the_next_start_serves() {
    let mut service = Service::start();
    service.store(&message("before"));
    let finished = service.setup().run(&["backup", "kept.db"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    service.store(&message("after"));
    asked_everything(&service);
    let setup = service.stop();
    fs::copy(setup.path("kept.db"), setup.path("app.db")).expect("the folder is ours");
    assert_eq!(ids(&setup.start().get("/messages")), ["before"]);
}

#[test]
fn a_file_that_is_moved_away_takes_its_messages_along() {
    let service = Service::start();
    service.store(&message("m1"));
    asked_everything(&service);
    let setup = service.stop();
    fs::rename(setup.path("app.db"), setup.path("archive.db")).expect("the folder is ours");
    let service = setup.start();
    assert!(ids(&service.get("/messages")).is_empty());
    let archive = open_database(&service.path("archive.db"));
    let id = archive.query_row("SELECT message_id FROM messages", [], |row| row.get::<_, String>(0));
    assert_eq!(id.as_deref(), Ok("m1"));
}

#[test]
fn a_log_that_another_process_has_open_is_left_to_it_and_said() {
    let mut service = Service::start();
    service.store(&message("m1"));
    let reader = service.database();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM messages").expect("it is SQL");
    service.store(&message("m2"));
    service.signal("TERM");
    assert_eq!(service.wait().code(), Some(0));
    let log = service.stdout.to_the_end();
    let line = log.lines().find(|line| line.contains(r#""event":"log_left""#)).expect("it is said");
    assert!(line.contains("another process has the database open"), "{line}");
    drop(reader);
    let setup = service.kill();
    // Whoever closes it last has moved it.
    no_log_is_left(&setup);
    assert_eq!(messages_in_a_copy(&setup), 2);
}

#[test]
fn a_reader_at_rest_keeps_no_message_in_the_log() {
    let service = Service::start();
    service.store(&message("m1"));
    let idle = service.database();
    idle.query_row("SELECT COUNT(*) FROM messages", [], |_| Ok(())).expect("it is SQL");
    let log = service.path("app.db-wal");
    let setup = service.stop();
    assert_eq!(fs::metadata(log).map_or(0, |file| file.len()), 0);
    assert_eq!(messages_in_a_copy(&setup), 1);
    drop(idle);
}

/// A service was killed, and everything is in its log.
fn killed() -> Setup {
    let service = Service::start();
    (0..30).for_each(|number| service.store(&message(&format!("m{number}"))));
    service.store(&message_with("other", &json!({"from": "+2"})));
    asked_everything(&service);
    let setup = service.kill();
    assert!(setup.path("app.db-wal").exists() && messages_in_a_copy(&setup) == 0, "it is in the log");
    setup
}

#[test]
fn every_command_leaves_the_messages_in_the_one_file() {
    let another: &Path = &{
        let mut setup = Service::start().stop();
        assert_eq!(setup.run(&["backup", "backup.db"]).code, Some(0));
        let kept = std::env::temp_dir().join(format!("lyftr-webhook-end-{}.db", std::process::id()));
        fs::copy(setup.path("backup.db"), &kept).expect("the folder is ours");
        kept
    };
    let another_name = another.to_str().expect("the name is ours");
    let input = message("imported").to_string();
    for (arguments, stored) in [
        (["import"].as_slice(), 32),
        (&["export"], 31),
        (&["check"], 31),
        (&["backup", "copy.db"], 31),
        (&["erase", "--sender", "+2"], 30),
        (&["restore", another_name], 0),
    ] {
        let mut setup = killed();
        let finished = setup.run_with_input(arguments, input.as_bytes());
        assert_eq!(finished.code, Some(0), "{finished:?}");
        // That of the index is left where a command has no use for the index.
        assert!(!setup.path("app.db-wal").exists(), "{arguments:?}");
        assert_eq!(messages_in_a_copy(&setup), stored, "{arguments:?}");
    }
    fs::remove_file(another).expect("the folder is ours");
}
