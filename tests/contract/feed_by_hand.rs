//! Section 12: what others write to the database is handed on, or found out, and never passed over.

use crate::feed::{is_gone, page, store_all, walk};
use crate::fixtures::{message, message_with};
use crate::service::Service;

use serde_json::json;

const ADVICE: &str = "export them and import them into a new file";

/// As somebody does who has the file and `sqlite3`.
fn insert(service: &Service, id: &str) {
    let sql = "INSERT INTO messages VALUES (?1, '+1', '+2', '2025-01-15T10:00:00Z', NULL, '2025')";
    service.database().execute(sql, [id]).expect("it is SQL");
}

fn delete(service: &Service, id: &str) {
    service.database().execute("DELETE FROM messages WHERE message_id = ?1", [id]).expect("it is SQL");
}

fn number(service: &Service, id: &str) -> i64 {
    let sql = "SELECT rowid FROM messages WHERE message_id = ?1";
    service.database().query_row(sql, [id], |row| row.get(0)).expect("it is there")
}

/// A service whose newest messages were erased: cursors behind the one that stayed, behind the erased ones, and behind
/// everything.
fn erased() -> (Service, [String; 3]) {
    let mut service = Service::start();
    store_all(&service, &["a"]);
    let (_, before) = walk(&service, "", 10);
    for id in ["b", "c", "d"] {
        service.store(&message_with(id, &json!({"from": "+7"})));
    }
    let (_, behind) = walk(&service, "", 10);
    assert_eq!(service.setup().run(&["erase", "--sender", "+7"]).code, Some(0));
    let (_, now, _) = page(&service.get("/feed?after=now"));
    (service, [before, behind, now])
}

#[test]
fn a_message_that_is_put_in_under_a_number_that_was_given_before_is_found_or_found_out() {
    let (service, [before, behind, now]) = erased();
    insert(&service, "x");
    assert_eq!(number(&service, "x"), 2, "SQLite gives the number again");
    for cursor in [&behind, &now] {
        is_gone(&service.get(&format!("/feed?after={cursor}")), "written to by hand");
    }
    for cursor in ["", &before] {
        assert_eq!(walk(&service, cursor, 1).0.last().map(String::as_str), Some("x"));
    }
    // Who begins now is not behind what comes next, whoever puts it in.
    let (_, now, _) = page(&service.get("/feed?after=now"));
    insert(&service, "y");
    assert_eq!(walk(&service, &now, 1).0, ["y"]);
    // It stays so when the service goes on behind them, over a restart, and when they have gone.
    store_all(&service, &["z"]);
    assert_eq!(number(&service, "z"), 5);
    let service = service.restart();
    store_all(&service, &["w"]);
    delete(&service, "y");
    is_gone(&service.get(&format!("/feed?after={behind}")), "written to by hand");
    assert_eq!(walk(&service, &before, 1).0, ["x", "z", "w"]);
    let (_, end) = walk(&service, "", 10);
    store_all(&service, &["v"]);
    assert_eq!(walk(&service, &end, 1).0, ["v"]);
}

#[test]
fn it_is_found_out_also_when_others_have_deleted_from_the_end_since() {
    for last in ["y", "v"] {
        let (service, [before, behind, _]) = erased();
        // The last of them is deleted again, under the number up to which all had been erased, or behind it.
        for id in ["x", "y", "z", "w", "v"] {
            insert(&service, id);
            if id == last {
                break;
            }
        }
        delete(&service, last);
        if last == "v" {
            delete(&service, "z");
        }
        for _ in 0..2 {
            is_gone(&service.get(&format!("/feed?after={behind}")), "written to by hand");
            store_all(&service, &["s"]);
        }
        let expected: &[&str] = if last == "v" { &["x", "y", "w", "s"] } else { &["x", "s"] };
        assert_eq!(walk(&service, &before, 1).0, expected, "{last}");
    }
}

#[test]
fn what_is_put_in_where_no_number_was_given_before_is_found() {
    let service = Service::start();
    store_all(&service, &["a"]);
    let (_, end) = walk(&service, "", 10);
    insert(&service, "x");
    store_all(&service, &["b"]);
    insert(&service, "y");
    assert_eq!(walk(&service, &end, 1).0, ["x", "b", "y"]);
}

#[test]
fn where_numbers_have_come_to_their_end_the_feed_says_what_to_do() {
    let mut service = Service::start();
    store_all(&service, &["a"]);
    service.database().execute("UPDATE messages SET rowid = 9223372036854775807", []).unwrap();
    for target in ["/feed", "/feed?after=now"] {
        is_gone(&service.get(target), ADVICE);
    }
    let checked = service.setup().run(&["check"]);
    assert!(checked.stdout.contains(ADVICE), "{checked:?}");
    // The service goes on otherwise.
    store_all(&service, &["b"]);
    assert_eq!(service.get("/messages").json()["total"], 2);
}

#[test]
fn a_row_at_the_end_of_the_numbers_that_has_gone_leaves_the_feed_as_it_was() {
    let mut service = Service::start();
    store_all(&service, &["a"]);
    let (_, end) = walk(&service, "", 10);
    service.store(&message("b"));
    service
        .database()
        .execute("UPDATE messages SET rowid = 9223372036854775807 WHERE message_id = 'b'", [])
        .unwrap();
    delete(&service, "b");
    store_all(&service, &["c", "d"]);
    assert_eq!(walk(&service, &end, 1).0, ["c", "d"]);
    assert_eq!(walk(&service, "", 1).0, ["a", "c", "d"]);
    let checked = service.setup().run(&["check"]);
    assert!(checked.stdout.contains("feed: new messages come behind all others"), "{checked:?}");
}
