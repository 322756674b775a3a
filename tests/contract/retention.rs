//! Old messages go after `RETENTION_DAYS`, and nothing else does: whatever the index knows, whatever the clock says.

use std::thread;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::fixtures::{eventually, ids, message, message_with};
use crate::http_client::Client;
use crate::plain::{agrees, agrees_all_the_way, ends_with_a_whole_index, is_indexed, older_file};
use crate::service::Service;
use crate::setup::Setup;

const EXPIRED: &str = "store_messages_expired_total";

/// Messages of an older file, the first of them stored so many days ago and the others yesterday, in which
/// old ones were looked for an hour ago.
fn file_with_old(old: usize, days: usize, young: usize) -> Setup {
    let mut setup = file_never_looked_at(old, days, young);
    // To import nothing brings it up to date.
    assert_eq!(setup.run(&["import"]).code, Some(0));
    last_look(&setup, -3600);
    setup
}

/// As if old messages had been looked for so many seconds from now.
fn last_look(setup: &Setup, seconds: i64) {
    let sql = "UPDATE messages_retention SET believed_clock = strftime('%s', 'now') + ?1";
    setup.database().execute(sql, [seconds]).expect("it is SQL");
}

fn file_never_looked_at(old: usize, days: usize, young: usize) -> Setup {
    let setup = older_file(old + young);
    let dated = format!(
        "UPDATE messages SET created_at =
            strftime('%Y-%m-%dT%H:%M:%fZ', 'now', iif(rowid <= {old}, '-{days} days', '-1 days'))"
    );
    setup.database().execute_batch(&dated).expect("it is SQL");
    setup
}

fn number(database: &Connection, sql: &str) -> i64 {
    database.query_row(sql, [], |row| row.get(0)).expect("it is SQL")
}

#[track_caller]
fn event(service: &Service, name: &str) -> Value {
    eventually(&format!("the log tells of {name}"), || {
        service.stdout.json().into_iter().find(|line| line["event"] == name)
    })
}

/// Waits until the service has looked for old messages: a change by somebody else is removed by the same thread, and
/// at its second look.
#[track_caller]
fn has_looked(service: &Service) {
    let change = "UPDATE messages SET to_msisdn = to_msisdn WHERE rowid = (SELECT max(rowid) FROM messages)";
    let removed = "SELECT changes_removed_through FROM messages_store";
    let before = number(&service.database(), removed);
    service.database().execute(change, []).expect("it is SQL");
    eventually("the service has looked", || (number(&service.database(), removed) > before).then_some(()));
}

#[test]
fn messages_that_are_too_old_go_and_the_others_stay() {
    let service = file_with_old(1500, 31, 400).with("RETENTION_DAYS", "30").start();
    service.counted(EXPIRED, 1500.0);
    assert_eq!(number(&service.database(), "SELECT COUNT(*) FROM messages WHERE rowid <= 1500"), 0);
    assert_eq!(service.get("/stats").json()["total_messages"], 400);
    assert_eq!(event(&service, "expired")["messages"], 1500);
    service.store(&message_with("new", &json!({"from": "+3", "text": "Later of 77"})));
    agrees(&service);
    is_indexed(&service);
    agrees(&service);
    agrees_all_the_way(&service);
    let service = service.restart();
    agrees(&service);
    ends_with_a_whole_index(service);
}

#[test]
fn without_the_setting_and_within_it_nothing_goes() {
    let kept = file_with_old(300, 31, 0).start();
    let within = file_with_old(300, 31, 0).with("RETENTION_DAYS", "32").start();
    for service in [&kept, &within] {
        has_looked(service);
        assert_eq!(service.get("/stats").json()["total_messages"], 300);
        assert_eq!(service.metric(EXPIRED), 0.0);
    }
}

#[test]
fn of_messages_that_have_gone_no_file_holds_text_number_or_id_for_long() {
    let mut setup = Setup::new();
    let line = |number: usize| {
        let scattered = number * 7919 % 100_003;
        let (id, from, text) = match number {
            0..900 => {
                let text = format!("Zugzwang {}", "zugz".repeat(number % 40));
                (format!("xylo{scattered:06}phone"), format!("+4915207{:04}", number % 90), text)
            }
            _ => (format!("m{scattered:06}"), "+3".to_owned(), format!("Text of {number}")),
        };
        message_with(&id, &json!({"from": from, "text": text})).to_string() + "\n"
    };
    let lines: String = (0..1000).map(line).collect();
    assert_eq!(setup.run_with_input(&["import"], lines.as_bytes()).code, Some(0));
    let database = setup.database();
    let dated = "UPDATE messages SET created_at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', iif(rowid <= 900, '-31 days', '-1 days'))";
    database.execute_batch(&format!("PRAGMA secure_delete = ON; {dated}")).expect("it is SQL");
    drop(database);
    last_look(&setup, -3600);
    let service = setup.start();
    is_indexed(&service);
    let setup = service.stop().with("RETENTION_DAYS", "30");
    let service = setup.start();
    service.counted(EXPIRED, 900.0);
    for name in ["app.db", "app.db-wal", "app.db-shm", "app.db-index", "app.db-index-wal", "app.db-index-shm"]
    {
        for word in ["+4915207", "xylo", "phone", "zugzwang", "ugzu"] {
            eventually(&format!("{word} is gone from {name}"), || {
                let content = std::fs::read(service.path(name)).unwrap_or_default().to_ascii_lowercase();
                (!content.windows(word.len()).any(|part| part == word.as_bytes())).then_some(())
            });
        }
    }
    agrees(&service);
    ends_with_a_whole_index(service);
}

#[test]
fn answers_are_exact_while_old_messages_go() {
    let service = file_with_old(12_000, 31, 3000).with("RETENTION_DAYS", "30").start();
    let mut posted = 0;
    while service.metric(EXPIRED) < 12_000.0 {
        // The last page tells both: were they of two states, one of them would be off.
        let page = service.get("/messages?limit=100&offset=2950");
        let total = page.expect(200).json()["total"].as_u64().expect("a number");
        assert_eq!(ids(&page).len() as u64, total.saturating_sub(2950).min(100), "of {total}");
        service.store(&message(&format!("meanwhile {posted}")));
        posted += 1;
    }
    assert_eq!(service.get("/stats").json()["total_messages"], 3000 + posted);
    agrees(&service);
    is_indexed(&service);
    agrees_all_the_way(&service);
    ends_with_a_whole_index(service);
}

#[test]
fn a_message_that_has_gone_is_a_duplicate_when_it_is_sent_again() {
    let service = file_with_old(200, 31, 1).with("RETENTION_DAYS", "30").start();
    service.counted(EXPIRED, 200.0);
    let service = service.restart();
    for id in ["r1", "r77", "r200"] {
        service.store(&message(id));
    }
    service.resulted("duplicate", 3.0);
    service.store(&message("r202"));
    service.resulted("created", 1.0);
    assert_eq!(service.get("/stats").json()["total_messages"], 2);

    // Remembered as what nobody can read. Two bytes of an id would be met in some hash by chance.
    let database = service.database();
    assert_eq!(number(&database, "SELECT COUNT(*) FROM messages_forgotten"), 200);
    let readable =
        "SELECT COUNT(*) FROM messages_forgotten WHERE instr(id, CAST('r200' AS BLOB)) OR length(id) <> 16";
    assert_eq!(number(&database, readable), 0);
    drop(database);

    // After eight days they are forgotten, but not before.
    let setup = service.stop();
    let database = setup.database();
    for days in [7, 9] {
        database
            .execute("UPDATE messages_forgotten SET forgotten_at = forgotten_at - ?1 * 86400", [days / 2 + 1])
            .expect("it is SQL");
    }
    database
        .execute_batch(
            "UPDATE messages_forgotten SET forgotten_at = forgotten_at + 86400 * 2 WHERE id IN (
        SELECT id FROM messages_forgotten LIMIT 50)",
        )
        .expect("it is SQL");
    drop(database);
    let service = setup.start();
    eventually("the others are forgotten", || {
        (number(&service.database(), "SELECT COUNT(*) FROM messages_forgotten") == 50).then_some(())
    });
    (1..=200).for_each(|number| service.store(&message(&format!("r{number}"))));
    service.resulted("duplicate", 50.0);
    assert_eq!(service.get("/stats").json()["total_messages"], 152);
}

#[test]
fn where_everything_goes_what_comes_next_stays() {
    let service = file_with_old(700, 31, 0).with("RETENTION_DAYS", "30").start();
    // Their rows are given to new messages.
    let mut posted = 0;
    while service.metric(EXPIRED) < 700.0 || posted < 20 {
        service.store(&message_with(&format!("new {posted}"), &json!({"from": "+3"})));
        posted += 1;
    }
    assert_eq!(service.get("/stats").json()["total_messages"], posted);
    agrees(&service);
    let service = service.restart();
    is_indexed(&service);
    agrees(&service);
    assert_eq!(service.metric(EXPIRED), 0.0);
    ends_with_a_whole_index(service);
}

#[test]
fn of_messages_that_have_gone_nothing_is_noted_in_the_database() {
    let service = file_with_old(3000, 31, 10).with("RETENTION_DAYS", "30").start();
    service.counted(EXPIRED, 3000.0);
    eventually("their changes are removed", || {
        let noted =
            "SELECT COUNT(*) FROM messages_changes WHERE message_id IS NOT NULL OR from_msisdn IS NOT NULL";
        (number(&service.database(), noted) == 0).then_some(())
    });
    agrees(&service);
    let service = service.restart();
    is_indexed(&service);
    agrees(&service);
    ends_with_a_whole_index(service);
}

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Nothing goes, and the log says for how long: a day from now.
#[track_caller]
fn waits_for_a_day(service: &Service, why: &str) {
    let line = event(service, "expiry_waits");
    assert_eq!((&line["level"], line["detail"].as_str()), (&json!("WARNING"), Some(why)), "{line}");
    has_looked(service);
    assert_eq!(service.metric(EXPIRED), 0.0);
    let kept = "SELECT believed_clock - strftime('%s', 'now') FROM messages_retention";
    let left = number(&service.database(), kept);
    assert!((DAY - 60..=DAY).contains(&left), "{left} seconds");
    let said = service.stdout.json().into_iter().filter(|line| line["event"] == "expiry_waits").count();
    assert_eq!(said, 1, "it is said once");
}

/// It goes on waiting when it is started again, and deletes when the day is over.
#[track_caller]
fn goes_on_after_that_day(service: Service, old: u32) {
    let service = service.restart();
    has_looked(&service);
    assert_eq!(service.metric(EXPIRED), 0.0);
    assert!(!service.stdout.json().iter().any(|line| line["event"] == "expiry_waits"), "it was said");
    let setup = service.stop();
    last_look(&setup, -1);
    let service = setup.start();
    service.counted(EXPIRED, f64::from(old));
}

#[test]
fn where_nobody_has_looked_before_nothing_goes_for_a_day() {
    let service = file_never_looked_at(300, 31, 100).with("RETENTION_DAYS", "30").start();
    waits_for_a_day(&service, "nobody has looked for old messages in this database before");
    goes_on_after_that_day(service, 300);
}

#[test]
fn after_a_run_without_the_setting_a_clock_far_ahead_deletes_nothing() {
    let setup = file_never_looked_at(300, 1, 100);
    let service = setup.start();
    // As if the clock had been a year ahead, and a message had come.
    service.store(&message("ahead"));
    let setup = service.stop();
    let ahead = "UPDATE messages SET created_at = strftime('%Y-%m-%dT%H:%M:%fZ', created_at, '-365 days')
        WHERE message_id <> 'ahead'";
    setup.database().execute_batch(ahead).expect("it is SQL");
    let service = setup.with("RETENTION_DAYS", "30").start();
    waits_for_a_day(&service, "nobody has looked for old messages in this database before");
}

#[test]
fn a_look_of_long_ago_is_no_reason_to_believe_the_clock() {
    let after = |ago: i64| {
        let setup = file_with_old(300, 31, 100).with("RETENTION_DAYS", "30");
        last_look(&setup, -ago);
        let service = setup.start();
        waits_for_a_day(&service, "the clock was set, or the service was off for more than a day");
        goes_on_after_that_day(service, 300);
    };
    // Both wait for the service to look.
    thread::scope(|scope| {
        scope.spawn(|| after(DAY + 60));
        after(365 * DAY);
    });
}

#[test]
fn a_restored_backup_brings_its_last_look_along() {
    let service = file_with_old(300, 31, 100).start();
    let mut setup = service.stop();
    last_look(&setup, -40 * DAY);
    assert_eq!(setup.run(&["backup", "kept.db"]).code, Some(0));
    last_look(&setup, -HOUR);
    assert_eq!(setup.run(&["restore", "kept.db"]).code, Some(0));
    let service = setup.with("RETENTION_DAYS", "30").start();
    waits_for_a_day(&service, "the clock was set, or the service was off for more than a day");
}

#[test]
fn a_clock_that_was_set_back_deletes_nothing_for_a_day() {
    let setup = file_with_old(300, 31, 100).with("RETENTION_DAYS", "30");
    last_look(&setup, 365 * DAY);
    let service = setup.start();
    waits_for_a_day(&service, "the clock was set back by more than a day");
    goes_on_after_that_day(service, 300);
}

#[test]
fn a_message_from_the_future_holds_deletion_up_for_a_day_and_not_for_ever() {
    let setup = file_with_old(300, 31, 100).with("RETENTION_DAYS", "30");
    let future = "UPDATE messages SET created_at = '2099-01-01T00:00:00Z' WHERE rowid = 400";
    setup.database().execute_batch(future).expect("it is SQL");
    let mut service = setup.start();
    waits_for_a_day(&service, "the newest message was stored at a time that has not come yet");
    // As if the day were over in a moment: whoever has waited knows for what.
    last_look(service.setup(), 2);
    service.counted(EXPIRED, 300.0);
}

#[test]
fn a_message_stored_while_the_clock_was_wrong_goes_by_its_neighbours() {
    let setup = file_with_old(500, 31, 100);
    let wrong = "UPDATE messages SET created_at = '1970-01-01T00:00:09Z' WHERE rowid IN (10, 550);
        UPDATE messages SET created_at = '2099-01-01T00:00:00Z' WHERE rowid IN (20, 560);
        UPDATE messages SET created_at = 'whenever' WHERE rowid IN (30, 570)";
    setup.database().execute_batch(wrong).expect("it is SQL");
    let service = setup.with("RETENTION_DAYS", "30").start();
    service.counted(EXPIRED, 500.0);
    has_looked(&service);
    assert_eq!(service.metric(EXPIRED), 500.0);
    assert_eq!(number(&service.database(), "SELECT COUNT(*) FROM messages WHERE rowid > 500"), 100);
}

#[test]
fn webhooks_are_taken_while_old_messages_go_and_all_of_them_stay() {
    let service = file_with_old(6000, 31, 0).with("RETENTION_DAYS", "30").start();
    thread::scope(|scope| {
        for client in 0..4 {
            let address = &service.address;
            scope.spawn(move || {
                let mut connection = Client::connect(address);
                for number in 0..150 {
                    connection.post(&message(&format!("{client} {number}"))).expect(200);
                }
            });
        }
    });
    service.counted(EXPIRED, 6000.0);
    assert_eq!(service.get("/stats").json()["total_messages"], 600);
    agrees(&service);
    is_indexed(&service);
    ends_with_a_whole_index(service);
}
