//! Section 12: the feed hands messages on in the order in which they were stored, each exactly once.

use serde_json::{Value, json};

use crate::fixtures::{SENDER, eventually, message, message_with, open_database};
use crate::http_client::{Answer, Client};
use crate::service::Service;
use crate::setup::Setup;

/// The ids on a page, and where to go on.
#[track_caller]
pub(crate) fn page(answer: &Answer) -> (Vec<String>, String, bool) {
    let page = answer.expect(200).json();
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    let ids = page["data"].as_array().expect("a page has rows").iter();
    let ids = ids.map(|row| text(&row["message_id"])).collect();
    (ids, text(&page["cursor"]), page["more"].as_bool().expect("it is true or false"))
}

/// Everything behind a cursor, and the cursor behind everything.
#[track_caller]
pub(crate) fn walk(service: &Service, after: &str, limit: usize) -> (Vec<String>, String) {
    let (mut client, mut all, mut cursor) = (service.connect(), Vec::new(), after.to_owned());
    loop {
        let (ids, next, more) = page(&client.get(&format!("/feed?after={cursor}&limit={limit}")));
        assert!(ids.len() <= limit && (!more || !ids.is_empty()));
        all.extend(ids);
        cursor = next;
        if !more {
            return (all, cursor);
        }
    }
}

pub(crate) fn store_all(service: &Service, ids: &[&str]) {
    ids.iter().for_each(|id| service.store(&message(id)));
}

#[track_caller]
pub(crate) fn is_gone(answer: &Answer, said: &str) {
    let detail = answer.expect(410).json()["detail"].as_str().expect("it says why").to_owned();
    assert!(detail.contains(said), "{said:?} is not in {detail:?}");
}

#[test]
fn messages_come_in_the_order_in_which_they_were_stored_whatever_their_ts() {
    let service = Service::start();
    assert_eq!(walk(&service, "", 10).0, [] as [&str; 0]);
    for (id, ts) in
        [("late", "2025-01-15T10:00:00Z"), ("early", "2020-01-15T10:00:00Z"), ("b", "2030-01-15T10:00:00Z")]
    {
        service.store(&message_with(id, &json!({"ts": ts, "text": null})));
    }
    service.store(&message("late"));
    let first = service.get("/feed?limit=2").expect(200).json();
    let row = &first["data"][0];
    let expected = json!({"message_id": "late", "from": SENDER, "to": "+14155550100", "ts": "2025-01-15T10:00:00Z",
        "text": null, "created_at": row["created_at"], "cursor": row["cursor"]});
    assert_eq!(*row, expected);
    let keys: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["message_id", "from", "to", "ts", "text", "created_at", "cursor"]);
    let created_at = row["created_at"].as_str().unwrap();
    assert!(created_at.ends_with('Z') && created_at.len() == 24, "{created_at}");
    let keys: Vec<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["data", "cursor", "more"]);
    assert_eq!((first["data"][1]["message_id"].as_str(), &first["more"]), (Some("early"), &json!(true)));
    assert_eq!(first["cursor"], first["data"][1]["cursor"]);
    for limit in [1, 2, 3, 1000] {
        assert_eq!(walk(&service, "", limit).0, ["late", "early", "b"], "{limit}");
    }
}

#[test]
fn each_message_has_a_cursor_behind_which_the_next_one_stands() {
    let service = Service::start();
    let ids: Vec<String> = (0..30).map(|number| format!("m{number:02}")).collect();
    ids.iter().for_each(|id| service.store(&message(id)));
    let all = service.get("/feed").expect(200).json();
    for (number, row) in all["data"].as_array().unwrap().iter().enumerate() {
        let cursor = row["cursor"].as_str().unwrap();
        assert_eq!(walk(&service, cursor, 7).0, ids[number + 1..]);
    }
}

#[test]
fn an_empty_page_says_where_to_go_on() {
    let service = Service::start();
    let (_, beginning, more) = page(&service.get("/feed"));
    let (_, end, _) = page(&service.get("/feed?after=now"));
    assert!(!more);
    store_all(&service, &["a", "b"]);
    for cursor in [&beginning, &end] {
        assert_eq!(walk(&service, cursor, 1).0, ["a", "b"]);
    }
    let (ids, end, _) = page(&service.get("/feed?after=now"));
    assert_eq!(ids, [] as [&str; 0]);
    assert_eq!(page(&service.get(&format!("/feed?after={end}"))), (vec![], end.clone(), false));
    store_all(&service, &["c"]);
    assert_eq!(walk(&service, &end, 1).0, ["c"]);
}

#[test]
fn what_cannot_be_asked_is_422_in_fastapis_shape() {
    let service = Service::start();
    let long = "x".repeat(65);
    for (name, value, kind) in [
        ("after", "x", "value_error"),
        ("after", "AAAA", "value_error"),
        ("limit", "0", "greater_than_equal"),
        ("limit", "1001", "less_than_equal"),
        ("limit", "x", "int_parsing"),
        ("wait", "56", "less_than_equal"),
        ("wait", "-1", "greater_than_equal"),
        ("wait", "1.5", "int_parsing"),
        ("consumer", "", "string_too_short"),
        ("consumer", "Name", "string_pattern_mismatch"),
        ("consumer", &long, "string_too_long"),
        ("original", "2", "literal_error"),
    ] {
        let answer = service.get(&format!("/feed?{name}={value}"));
        let error = answer.expect(422).json()["detail"][0].clone();
        assert_eq!(
            (&error["type"], &error["loc"], &error["input"]),
            (&json!(kind), &json!(["query", name]), &json!(value))
        );
    }
    service.get("/feed?limit=1000&wait=0&consumer=a.b_c-1&original=1&unknown=1&limit=7").expect(200);
}

#[test]
fn it_is_guarded_and_known_as_the_other_routes_are() {
    let service = Setup::new().with("API_TOKEN", "t0k3n").start();
    let refused = service.get("/feed?limit=0");
    assert_eq!(refused.expect(401).header("WWW-Authenticate"), Some("Bearer"));
    let authorised = [("Authorization", "Bearer t0k3n")];
    let answer = service.request("GET", "/feed", &authorised);
    assert_eq!(answer.expect(200).header("Cache-Control"), Some("no-store"));
    let head = service.request("HEAD", "/feed", &authorised);
    assert_eq!(head.header("Content-Length"), answer.header("Content-Length"));
    let refused = service.request("POST", "/feed", &authorised);
    assert_eq!(refused.expect(405).header("Allow"), Some("GET, HEAD"));
    let moved = service.get("/feed/?limit=3");
    assert_eq!(moved.expect(307).header("Location"), Some("/feed?limit=3"));
    assert_eq!(service.logged(&answer)["path"], "/feed");
}

#[test]
fn a_number_is_never_given_again_and_a_cursor_outlives_its_message() {
    let mut service = Service::start();
    store_all(&service, &["a", "b"]);
    for id in ["c", "d"] {
        service.store(&message_with(id, &json!({"from": "+7"})));
    }
    let (_, end) = walk(&service, "", 10);
    let last = |service: &Service| -> i64 {
        service.database().query_row("SELECT max(rowid) FROM messages", [], |row| row.get(0)).unwrap()
    };
    let highest = last(&service);
    assert_eq!(service.setup().run(&["erase", "--sender", "+7"]).code, Some(0));
    assert_eq!(page(&service.get(&format!("/feed?after={end}"))), (vec![], end.clone(), false));
    let (_, now, _) = page(&service.get("/feed?after=now"));
    store_all(&service, &["e"]);
    assert_eq!(last(&service), highest + 1);
    for cursor in [&end, &now] {
        assert_eq!(walk(&service, cursor, 10).0, ["e"]);
    }
    assert_eq!(walk(&service, "", 1).0, ["a", "b", "e"]);
    // Also when nothing is left, over a restart, and by whoever deletes.
    service.database().execute("DELETE FROM messages", []).unwrap();
    let (_, end) = walk(&service, "", 10);
    let service = service.restart();
    store_all(&service, &["f", "g"]);
    assert_eq!(last(&service), highest + 3);
    for cursor in [&end, &now] {
        assert_eq!(walk(&service, cursor, 1).0, ["f", "g"]);
    }
}

#[test]
fn cursors_go_on_over_restarts_kills_and_imports() {
    let mut service = Service::start();
    let (mut cursor, mut seen, mut stored) = (String::new(), Vec::new(), Vec::new());
    for round in 0..6 {
        for number in 0..5 {
            let id = format!("m{round}-{number}");
            service.store(&message(&id));
            stored.push(id);
        }
        let (ids, next, _) = page(&service.get(&format!("/feed?after={cursor}&limit=4")));
        seen.extend(ids);
        cursor = next;
        let line = message(&format!("i{round}")).to_string();
        assert_eq!(service.setup().run_with_input(&["import"], line.as_bytes()).code, Some(0));
        stored.push(format!("i{round}"));
        service = if round % 2 == 0 { service.restart() } else { service.kill().start() };
    }
    seen.extend(walk(&service, &cursor, 3).0);
    assert_eq!(seen, stored);
}

#[test]
fn a_restore_makes_all_earlier_cursors_unfit() {
    let mut service = Service::start();
    store_all(&service, &["a", "b"]);
    let (_, early, _) = page(&service.get("/feed?limit=1"));
    assert_eq!(service.setup().run(&["backup", "copy.db"]).code, Some(0));
    let mut setup = service.stop();
    assert_eq!(setup.run(&["restore", "copy.db"]).code, Some(0));
    let service = setup.start();
    is_gone(&service.get(&format!("/feed?after={early}")), "before a restore");
    assert_eq!(walk(&service, "", 1).0, ["a", "b"]);
}

#[test]
fn a_copy_that_is_put_back_takes_cursors_of_what_it_holds_and_no_others() {
    for is_more_than_before in [false, true] {
        let mut service = Service::start();
        store_all(&service, &["a", "b"]);
        let (_, before) = walk(&service, "", 10);
        assert_eq!(service.setup().run(&["backup", "copy.db"]).code, Some(0));
        store_all(&service, &["c", "d"]);
        let (_, after) = walk(&service, "", 10);
        let setup = service.stop();
        std::fs::copy(setup.path("copy.db"), setup.path("app.db")).unwrap();
        let service = setup.start();
        // Nothing was stored since: what it was to go on behind is not there.
        is_gone(&service.get(&format!("/feed?after={after}")), "put back from a copy");
        assert_eq!(walk(&service, &before, 10).0, [] as [&str; 0]);
        store_all(&service, if is_more_than_before { &["x", "y", "z"] } else { &["c"] });
        is_gone(&service.get(&format!("/feed?after={after}")), "put back from a copy");
        let behind = if is_more_than_before { vec!["x", "y", "z"] } else { vec!["c"] };
        assert_eq!(walk(&service, &before, 10).0, behind);
    }
}

#[test]
fn a_copy_in_which_the_same_number_was_given_and_erased_is_told_by_its_epoch() {
    let mut service = Service::start();
    store_all(&service, &["a"]);
    assert_eq!(service.setup().run(&["backup", "copy.db"]).code, Some(0));
    store_all(&service, &["b"]);
    let (_, after) = walk(&service, "", 10);
    let setup = service.stop();
    std::fs::copy(setup.path("copy.db"), setup.path("app.db")).unwrap();
    let service = setup.start();
    store_all(&service, &["other", "more"]);
    service.database().execute("DELETE FROM messages WHERE message_id = 'other'", []).unwrap();
    is_gone(&service.get(&format!("/feed?after={after}")), "put back from a copy");
}

#[test]
fn a_cursor_of_another_store_is_410() {
    let (one, other) = (Service::start(), Service::start());
    for service in [&one, &other] {
        store_all(service, &["a", "b"]);
    }
    let (_, cursor, _) = page(&one.get("/feed?limit=1"));
    is_gone(&other.get(&format!("/feed?after={cursor}")), "another store");
    assert_eq!(one.metric("http_requests_total{path=\"/feed\",status=\"410\"}"), 0.0);
    assert_eq!(other.metric("http_requests_total{path=\"/feed\",status=\"410\"}"), 1.0);
}

#[test]
fn a_dump_has_other_numbers_and_so_is_another_store() {
    let service = Service::start();
    store_all(&service, &["a", "b"]);
    let (_, cursor, _) = page(&service.get("/feed?limit=1"));
    let setup = service.stop();
    // As `.dump` brings the tables along: all but the number of the version.
    setup.database().execute_batch("PRAGMA user_version = 0").unwrap();
    let service = setup.start();
    is_gone(&service.get(&format!("/feed?after={cursor}")), "another store");
    assert_eq!(walk(&service, "", 1).0, ["a", "b"]);
}

#[test]
fn vacuum_keeps_the_numbers_of_rows() {
    let service = Service::start();
    store_all(&service, &["a", "b", "c", "d"]);
    let database = service.database();
    database.execute("DELETE FROM messages WHERE message_id IN ('a', 'c')", []).unwrap();
    let rows = |database: &rusqlite::Connection| -> Vec<(i64, String)> {
        let mut statement =
            database.prepare("SELECT rowid, message_id FROM messages ORDER BY rowid").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    let before = rows(&database);
    assert_eq!(before.len(), 2);
    let into = service.path("into.db").display().to_string();
    database.execute("VACUUM INTO ?1", [&into]).unwrap();
    database.execute_batch("VACUUM").unwrap();
    assert_eq!(rows(&database), before);
    assert_eq!(rows(&open_database(into.as_ref())), before);
    let (_, cursor, _) = page(&service.get("/feed?limit=1"));
    store_all(&service, &["e"]);
    assert_eq!(walk(&service, &cursor, 1).0, ["d", "e"]);
}

#[test]
fn a_file_of_an_earlier_implementation_is_fed_from_its_beginning() {
    let service = crate::plain::older_file(1500).start();
    let (ids, cursor) = walk(&service, "", 1000);
    assert_eq!(ids.len(), 1500);
    store_all(&service, &["new"]);
    assert_eq!(walk(&service, &cursor, 10).0, ["new"]);
}

#[test]
fn a_page_ends_where_it_has_become_large() {
    let service = Service::start();
    let mut client: Client = service.connect();
    let text = "🎉".repeat(4096);
    for number in 0..400 {
        client.post(&message_with(&format!("m{number}"), &json!({"text": text}))).expect(200);
    }
    let (ids, cursor, more) = page(&service.get("/feed?limit=1000"));
    assert!(more && ids.len() > 100 && ids.len() < 400, "{}", ids.len());
    assert_eq!(ids.len() + walk(&service, &cursor, 1000).0.len(), 400);
    eventually("nothing of it is held any more", || {
        (service.metric("http_buffered_bytes") < 1e6).then_some(())
    });
}
