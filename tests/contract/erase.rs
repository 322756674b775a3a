//! `erase --sender`: what somebody has sent is gone, to the last byte, and nothing else is.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::fixtures::{SetOnDrop, eventually, message, message_with};
use crate::http_client::Client;
use crate::plain::{
    agrees, agrees_all_the_way, ends_with_a_whole_index, files_are_sound, is_indexed, older_file,
};
use crate::service::Service;
use crate::setup::Setup;

const PERSON: &str = "+4915207777777";
const OTHER: &str = "+4915208888888";

/// Makes every seventh row a person's, 57 of 400 or 572 of 4000: each id and text with a word that nobody else uses. Some
/// texts are longer than a page of the file.
fn with_messages_of(person: &str, setup: &Setup) {
    let sql = format!(
        "UPDATE messages SET from_msisdn = '{person}', message_id = 'Xylo' || rowid || 'phone',
            text = 'Zugzwang ' || rowid || iif(rowid % 35 = 0, replace(hex(zeroblob(2000)), '00', 'Zugz'), '')
         WHERE rowid % 7 = 3"
    );
    setup.database().execute_batch(&sql).expect("it is SQL");
}

/// An older file with rows of the person, and unused places in which copies of them once stood.
fn older_file_with_the_person(rows: usize) -> Setup {
    let setup = older_file(rows);
    with_messages_of(PERSON, &setup);
    setup
}

#[track_caller]
fn erase(setup: &mut Setup, senders: &[&str]) -> String {
    erase_with(setup, &["erase"], senders)
}

/// The file is written anew as well: one of earlier implementations holds copies in unused places.
#[track_caller]
fn erase_to_the_last_byte(setup: &mut Setup, senders: &[&str]) -> String {
    erase_with(setup, &["erase", "--vacuum"], senders)
}

#[track_caller]
fn erase_with(setup: &mut Setup, arguments: &[&str], senders: &[&str]) -> String {
    let mut arguments = arguments.to_vec();
    senders.iter().for_each(|sender| arguments.extend(["--sender", *sender]));
    let finished = setup.run(&arguments);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout
}

/// No file has a byte of it left.
#[track_caller]
fn nothing_is_left(setup: &Setup) {
    for file in fs::read_dir(setup.folder.path()).expect("the folder is ours") {
        let path = file.expect("the folder is ours").path();
        let content = match fs::read(&path) {
            // The service removes a file now and then.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            content => content.expect("the folder is ours").to_ascii_lowercase(),
        };
        for word in [PERSON, "xylo", "phone", "zugz", "gzwang"] {
            let at = content.windows(word.len()).position(|part| part == word.as_bytes());
            assert_eq!(at, None, "{word} in {}", path.display());
        }
    }
}

#[test]
fn of_what_somebody_has_sent_nothing_is_left_in_any_file() {
    let service = older_file_with_the_person(4000).start();
    is_indexed(&service);
    let mut setup = service.stop();
    assert_eq!(erase_to_the_last_byte(&mut setup, &[PERSON]), "572 messages erased\n");
    nothing_is_left(&setup);
    files_are_sound(&setup);
    let service = setup.start();
    assert_eq!(service.get("/stats").json()["total_messages"], 4000 - 572);
    agrees(&service);
    is_indexed(&service);
    agrees_all_the_way(&service);
    nothing_is_left(&ends_with_a_whole_index(service));
}

/// Messages of many, in no order of time or id, as the service stores them.
fn stored_by_the_service(rows: usize) -> Setup {
    let mut setup = Setup::new();
    let line = |number: usize| {
        let scattered = number * 7919 % 100_003;
        let (id, from, text) = match number % 7 {
            3 => (
                format!("xylo{scattered:06}phone"),
                PERSON,
                format!("Zugzwang {}", "zugz".repeat(number % 40)),
            ),
            _ => (format!("m{scattered:06}"), OTHER, format!("Text of {number}")),
        };
        let ts = format!("2025-01-15T10:{:02}:{:02}Z", scattered % 60, scattered / 60 % 60);
        message_with(&id, &json!({"from": from, "text": text, "ts": ts})).to_string() + "\n"
    };
    let lines: String = (0..rows).map(line).collect();
    let finished = setup.run_with_input(&["import"], lines.as_bytes());
    assert_eq!(finished.code, Some(0), "{finished:?}");
    setup
}

#[test]
fn of_what_the_service_has_stored_nothing_is_left_though_the_file_is_not_written_anew() {
    let mut service = stored_by_the_service(2000).start();
    is_indexed(&service);
    for target in ["/messages?q=zugzwang", "/stats", "/messages?from=%2B4915207777777"] {
        service.get(target).expect(200);
    }
    assert_eq!(erase(service.setup(), &[PERSON]), "286 messages erased\n");
    nothing_is_left(service.setup());
    agrees(&service);
    is_indexed(&service);
    let setup = service.stop();
    nothing_is_left(&setup);
    files_are_sound(&setup);
}

#[test]
fn no_text_is_left_where_others_moved_together_because_many_went() {
    let mut lines = String::new();
    for number in 0_usize..3000 {
        let is_theirs = number * number % 7 < 3;
        let (from, text) = match is_theirs {
            true => (PERSON, format!("zugzwang{}", "pad".repeat(number * 31 % 40))),
            false => (OTHER, "fine".to_owned()),
        };
        let message = message_with(&format!("m{number}"), &json!({"from": from, "text": text}));
        lines.push_str(&message.to_string());
        lines.push('\n');
    }
    let mut setup = Setup::new();
    assert_eq!(setup.run_with_input(&["import"], lines.as_bytes()).code, Some(0));
    erase(&mut setup, &[PERSON]);
    let database = fs::read(setup.folder.path().join("app.db")).expect("it is there");
    assert!(!database.windows(8).any(|part| part == b"zugzwang"));
}

#[test]
fn it_is_erased_while_the_service_runs_and_others_send() {
    let mut service = older_file_with_the_person(4000).start();
    is_indexed(&service);
    agrees(&service);
    let address = service.address.clone();
    let done = AtomicBool::new(false);
    let posted = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut connection = Client::connect(&address);
            let mut number = 0;
            while !done.load(Ordering::Relaxed) {
                let answer = connection.post(&message_with(&format!("m{number}"), &json!({"from": OTHER})));
                // A commit may wait in vain for the erasure's, and is asked for again.
                if answer.status != 503 {
                    answer.expect(200);
                    number += 1;
                }
            }
            number
        });
        let stop = SetOnDrop(&done);
        assert_eq!(erase_to_the_last_byte(service.setup(), &[PERSON]), "572 messages erased\n");
        nothing_is_left(service.setup());
        drop(stop);
        sender.join().expect("the client does not panic")
    });
    assert_eq!(service.get("/stats").json()["total_messages"], 4000 - 572 + posted);
    agrees(&service);
    is_indexed(&service);
    agrees(&service);
    agrees_all_the_way(&service);
    nothing_is_left(&ends_with_a_whole_index(service));
}

#[test]
fn what_was_erased_does_not_come_back_when_it_is_sent_again() {
    let mut service = older_file_with_the_person(400).start();
    let exported = service.setup().run(&["export"]).stdout;
    for round in 0..2 {
        erase_to_the_last_byte(service.setup(), &[PERSON]);
        service.store(&message_with("Xylo3phone", &json!({"from": PERSON})));
        service.resulted("duplicate", f64::from(round + 1));
        let finished = service.setup().run_with_input(&["import"], exported.as_bytes());
        assert_eq!(finished.code, Some(0), "{finished:?}");
        nothing_is_left(service.setup());
        assert_eq!(service.get("/stats").json()["total_messages"], 400 - 57);
    }
    // Something new from the same person is a message like any other.
    service.store(&message_with("new", &json!({"from": PERSON})));
    service.resulted("created", 1.0);
    assert_eq!(erase_to_the_last_byte(service.setup(), &[PERSON]), "1 messages erased\n");
    agrees(&service);
}

#[test]
fn what_went_before_is_erased_where_it_was_left_behind() {
    let service = older_file_with_the_person(2000).start();
    is_indexed(&service);
    let mut setup = service.stop();
    // Deleted and changed by somebody with sqlite3, who overwrites nothing.
    let carelessly = "PRAGMA secure_delete = OFF; DELETE FROM messages WHERE rowid % 14 = 3;
        UPDATE messages SET text = 'nothing' WHERE rowid % 28 = 10; DELETE FROM messages WHERE rowid < 600";
    setup.database().execute_batch(carelessly).expect("it is SQL");
    erase_to_the_last_byte(&mut setup, &[PERSON]);
    nothing_is_left(&setup);
    files_are_sound(&setup);
    let service = setup.start();
    agrees(&service);
    is_indexed(&service);
    agrees_all_the_way(&service);
}

#[test]
fn several_are_erased_at_once_and_nobody_who_has_sent_nothing() {
    let mut service = Service::start();
    for (id, from) in [("a", "+1"), ("b", "+2"), ("c", "+3"), ("d", "+1"), ("e", "+11")] {
        service.store(&message_with(id, &json!({"from": from})));
    }
    assert_eq!(erase(service.setup(), &["+4"]), "0 messages erased\n");
    assert_eq!(erase(service.setup(), &["+1", "+2"]), "3 messages erased\n");
    assert_eq!(crate::fixtures::ids(&service.get("/messages")), ["c", "e"]);
    agrees(&service);
}

#[test]
fn a_reader_who_keeps_the_log_is_told_of_and_the_next_run_finishes() {
    let mut service = older_file_with_the_person(400).start();
    let reader = service.database();
    reader.execute_batch("BEGIN; SELECT COUNT(*) FROM messages").expect("it is SQL");
    let finished = service.setup().run(&["erase", "--sender", PERSON]);
    assert_eq!(finished.code, Some(69), "{finished:?}");
    assert!(finished.stderr.contains("another process reads"), "{finished:?}");
    assert_eq!(service.get("/stats").json()["total_messages"], 400 - 57);
    drop(reader);
    assert_eq!(erase_to_the_last_byte(service.setup(), &[PERSON]), "0 messages erased\n");
    nothing_is_left(service.setup());
    agrees(&service);
}

#[test]
fn an_index_is_made_anew_that_knows_nothing_of_it() {
    let mut service = older_file_with_the_person(1000).start();
    is_indexed(&service);
    let before = fs::metadata(service.path("app.db-index")).expect("it is there");
    erase(service.setup(), &[PERSON]);
    eventually("there is another one", || {
        let now = fs::metadata(service.path("app.db-index")).ok()?;
        let changed = now.modified().ok()? > before.modified().ok()?;
        (now.ino() != before.ino() || changed).then_some(())
    });
    is_indexed(&service);
    agrees(&service);
    service.store(&message("m1"));
    agrees(&service);
    is_indexed(&service);
    ends_with_a_whole_index(service);
}

#[test]
fn what_is_not_a_number_or_not_a_database_is_refused() {
    for arguments in [
        ["erase"].as_slice(),
        &["erase", "--sender"],
        &["erase", "--sender", "4915207777777"],
        &["erase", "--sender", "+49 152"],
        &["erase", "--sender", "+1", "--sender", ""],
        &["erase", "+1"],
        &["erase", "--sender", "+1", "now"],
        &["erase", "--vacuum"],
        &["erase", "--sender", "+1", "--vacuum=yes"],
    ] {
        let mut setup = Setup::new();
        let finished = setup.run(arguments);
        assert_eq!(finished.code, Some(64), "{arguments:?}: {finished:?}");
        assert!(!setup.path("app.db").exists(), "{arguments:?}");
    }
    let mut nothing = Setup::new();
    let finished = nothing.run(&["erase", "--sender", "+1"]);
    assert_eq!((finished.code, nothing.path("app.db").exists()), (Some(69), false), "{finished:?}");
    let mut older = older_file(10);
    let finished = older.run(&["erase", "--sender", "+1"]);
    assert_eq!(finished.code, Some(69), "{finished:?}");
    assert!(finished.stderr.contains("earlier version"), "{finished:?}");
    let mut foreign = Setup::new();
    foreign.file("app.db", "this is a text file, long enough to hold a header ".repeat(50));
    assert_eq!(foreign.run(&["erase", "--sender", "+1"]).code, Some(78));
}

#[test]
fn a_table_of_somebody_else_that_refers_to_messages_keeps_none_of_them() {
    let service = Service::start();
    service.store(&message("m1"));
    let mut setup = service.stop();
    setup
        .database()
        .execute_batch(
            "CREATE TABLE child (m TEXT REFERENCES messages (message_id)); INSERT INTO child VALUES ('m1')",
        )
        .unwrap();
    let sender = message("m1")["from"].as_str().unwrap().to_owned();
    let erased = setup.run(&["erase", "--sender", &sender]);
    assert_eq!((erased.code, &*erased.stdout), (Some(0), "1 messages erased\n"), "{erased:?}");
}
