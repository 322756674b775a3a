//! `import`: the rules of a webhook for every line, once, whoever is using the database.

use std::fs;
use std::thread;

use serde_json::{Value, json};

use crate::fixtures::{eventually, ids, message, message_with};
use crate::plain::{agrees, ends_with_a_whole_index, is_indexed, older_file};
use crate::service::Service;
use crate::setup::{Finished, Setup, wait};

#[track_caller]
fn tells(finished: &Finished, code: i32, created: u64, duplicate: u64, refused: u64) {
    let said = format!("{created} messages stored, {duplicate} were there already, {refused} refused");
    assert_eq!(finished.code, Some(code), "{finished:?}");
    assert!(finished.stderr.lines().any(|line| line == said), "{said}: {}", finished.stderr);
    assert_eq!(finished.stdout, "");
}

/// A service's messages with everything that is hard to write down.
fn hard_messages() -> Setup {
    let service = Service::start();
    let texts = [
        json!("Hello"),
        json!(null),
        json!(""),
        json!("a,\"b\"\r\nc\n"),
        json!("\u{0}é😀\u{2028}\u{feff}"),
        json!("\u{b}a\u{85}b\u{2029}\u{2028}c\u{1c}\u{c}"),
        json!("\""),
    ];
    for (number, text) in texts.iter().enumerate() {
        let id = format!("m,\"{number}\n");
        service.store(&message_with(&id, &json!({"text": text, "ts": "2025-01-15T10:00:01.120Z"})));
    }
    service.stop()
}

#[test]
fn what_was_exported_is_imported_as_it_was_and_once() {
    let mut source = hard_messages();
    let exported = source.run(&["export"]).stdout;
    let mut target = Setup::new();
    tells(&target.run_with_input(&["import"], exported.as_bytes()), 0, 7, 0, 0);
    tells(&target.run(&["import", &target.file("lines", &exported)]), 0, 0, 7, 0);
    assert_eq!(target.run(&["export"]).stdout, exported);
    let service = target.start();
    assert_eq!(ids(&service.get("/messages?q=HELLO")), ["m,\"0\n"]);
    agrees(&service);
    assert_eq!(service.stop().run(&["export"]).stdout, exported);
}

#[test]
fn a_time_is_kept_whatever_form_it_had_and_so_is_none() {
    let setup = Setup::new();
    let old = setup.database();
    let table = "CREATE TABLE messages (message_id TEXT PRIMARY KEY, from_msisdn TEXT NOT NULL, to_msisdn TEXT NOT NULL, \
                 ts TEXT NOT NULL, text TEXT, created_at TEXT)";
    old.execute_batch(table).expect("it is SQL");
    let times = [
        Some("2025-01-15 10:00:00"),
        Some("2025-01-15T10:00:00.123456+00:00"),
        Some("2025-01-15T10:00:00.123456"),
        Some("2025-01-15T10:00:00.123Z"),
        None,
    ];
    for (number, time) in times.iter().enumerate() {
        let row = (format!("m{number}"), "+1", "+2", "2025-01-15T10:00:00Z", "x", time);
        old.execute("INSERT INTO messages VALUES (?1, ?2, ?3, ?4, ?5, ?6)", row).expect("a row goes in");
    }
    drop(old);
    // The service makes of it what it works with.
    let mut source = setup.start().stop();
    let created = |lines: &str| -> Vec<Value> {
        let object = |line| serde_json::from_str::<Value>(line).expect("a line is JSON");
        lines.lines().map(|line| object(line)["created_at"].clone()).collect()
    };
    let exported = source.run(&["export"]).stdout;
    assert_eq!(json!(created(&exported)), json!(times));
    let mut target = Setup::new();
    tells(&target.run_with_input(&["import"], exported.as_bytes()), 0, 5, 0, 0);
    let kept = created(&target.run(&["export"]).stdout);
    assert_eq!(kept[..4], created(&exported)[..4]);
    assert!(kept[4].is_string(), "stored now: {}", kept[4]);
}

#[test]
fn what_is_there_stays_as_it_is() {
    let service = Service::start();
    service.store(&message("m1"));
    let before = service.get("/messages").json();
    let mut setup = service.stop();
    let other = message_with("m1", &json!({"text": "another", "created_at": "2020-01-01T00:00:00Z"}));
    tells(&setup.run_with_input(&["import"], other.to_string().as_bytes()), 0, 0, 1, 0);
    assert_eq!(setup.start().get("/messages").json(), before);
}

#[test]
fn lines_that_break_a_rule_are_named_and_the_others_stored() {
    let long = "x".repeat(17 << 20);
    let lines = [
        message("m1").to_string(),
        "not JSON, and private".to_owned(),
        message_with("m2", &json!({"from": "private", "ts": "2025-02-30T10:00:00Z"})).to_string(),
        String::new(),
        "[1]".to_owned(),
        message_with("m3", &json!({"created_at": "soon"})).to_string(),
        message_with("m4", &json!({"created_at": null})).to_string(),
        message_with("m5", &json!({"text": long})).to_string(),
        message_with("m6", &json!({"created_at": "2020-01-01T00:00:00.123456+05:30", "extra": [1]}))
            .to_string(),
    ];
    let mut input = lines.join("\n").into_bytes();
    input.extend_from_slice(b"\n{\"message_id\":\"\xff\"}");
    let mut setup = Setup::new();
    let finished = setup.run_with_input(&["import"], &input);
    tells(&finished, 65, 3, 0, 6);
    for said in [
        "line 2: JSON decode error",
        "line 3: from: String should match",
        "; ts: Value error, ts must be",
        "line 5: Input should be a valid dictionary",
        "line 6: created_at",
        "line 8: it is longer",
        "line 10: JSON",
    ] {
        assert!(finished.stderr.contains(said), "{said:?} is not in {}", finished.stderr);
    }
    assert!(!finished.stderr.contains("private"), "{}", finished.stderr);
    let exported = setup.run(&["export"]).stdout;
    let created: Vec<String> = exported
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON")["created_at"].to_string())
        .collect();
    assert_eq!((created.len(), created[2].as_str()), (3, "\"2020-01-01T00:00:00.123456+05:30\""));
    assert!(created[1].ends_with("Z\""), "{exported}");
}

#[test]
fn a_line_is_json_whatever_ends_it_and_comma_separated_values_are_none() {
    let mut setup = Setup::new();
    let (first, last) = (message("m1"), message("m2"));
    let lines =
        format!("\u{feff}{first}\r\n \r\nmessage_id,from,to,ts\r\nm3,+1,+2,2025-01-15T10:00:00Z\n{last}");
    let finished = setup.run_with_input(&["import", "-"], lines.as_bytes());
    tells(&finished, 65, 2, 0, 2);
    assert!(finished.stderr.contains("line 3: JSON") && finished.stderr.contains("line 4: JSON"));
    assert_eq!(ids(&setup.start().get("/messages")), ["m1", "m2"]);
}

/// So many messages, in lines.
fn many(count: usize) -> String {
    let line = |number| {
        message_with(&format!("many {number:06}"), &json!({"text": "Text of 77"})).to_string() + "\n"
    };
    (0..count).map(line).collect()
}

#[test]
fn a_service_answers_exactly_while_messages_are_imported() {
    let mut service = older_file(2000).start();
    let lines = service.setup().file("lines", many(20_000));
    let mut import = service.setup().command(&["import", &lines]).spawn().unwrap();
    let mut posted = 0;
    eventually("it ends", || {
        service.store(&message(&format!("posted {posted}")));
        posted += 1;
        let page = service.get("/messages?q=text+of+77&limit=1").json();
        assert!(page["total"].as_u64() >= Some(11), "{page}");
        import.try_wait().unwrap()
    });
    assert!(wait(&mut import).success());
    assert_eq!(service.get("/stats").json()["total_messages"], 22_000 + posted);
    is_indexed(&service);
    agrees(&service);
    ends_with_a_whole_index(service);
}

#[test]
fn an_import_that_was_killed_is_run_again() {
    let mut setup = Setup::new();
    let lines = setup.file("lines", many(30_000));
    let mut import = setup.command(&["import", &lines]).spawn().unwrap();
    eventually("some are stored", || {
        let stored = setup.path("app.db").exists().then(|| {
            setup
                .database()
                .query_row("SELECT COUNT(*) FROM messages", [], |row| row.get::<_, i64>(0))
                .unwrap()
        });
        (stored > Some(0)).then_some(())
    });
    import.kill().unwrap();
    wait(&mut import);
    let finished = setup.run(&["import", &lines]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let service = setup.start();
    assert_eq!(service.get("/messages").json()["total"], 30_000);
}

#[test]
fn an_import_waits_for_whoever_holds_the_database() {
    let mut setup = hard_messages();
    let database = setup.database();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let lines = setup.file("lines", many(10));
    let mut import = setup.command(&["import", &lines]).spawn().unwrap();
    thread::sleep(std::time::Duration::from_millis(300));
    assert!(import.try_wait().unwrap().is_none());
    database.execute_batch("COMMIT").unwrap();
    assert!(wait(&mut import).success());
    assert_eq!(fs::read_to_string(&lines).unwrap().lines().count(), 10);
}

#[test]
fn what_cannot_be_imported_into_is_said() {
    let mut setup = Setup::new();
    assert_eq!(setup.run(&["import", "missing"]).code, Some(69));
    setup.file("app.db", "this is no database ".repeat(500));
    let finished = setup.run_with_input(&["import"], b"");
    assert_eq!(finished.code, Some(78), "{finished:?}");
}

#[test]
fn the_store_of_another_receiver_is_merged_in_by_ts_and_comes_behind_in_the_feed() {
    let at = |minute: u32| json!({"ts": format!("2025-01-15T10:{minute:02}:00Z")});
    let (one, other) = (Service::start(), Service::start());
    one.store(&message_with("one early", &at(1)));
    one.store(&message_with("both", &at(5)));
    one.store(&message_with("one late", &at(9)));
    other.store(&message_with("other late", &at(8)));
    other.store(&message_with("both", &json!({"text": "of the other"})));
    other.store(&message_with("other early", &at(0)));
    let mut other = other.stop();
    let exported = other.run(&["export"]).stdout;
    // Also while the service runs, and again.
    let mut one = one;
    let lines = one.setup().file("other", &exported);
    tells(&one.setup().run(&["import", &lines]), 0, 2, 1, 0);
    tells(&one.setup().run(&["import", &lines]), 0, 0, 3, 0);
    let page = one.get("/messages");
    assert_eq!(ids(&page), ["other early", "one early", "both", "other late", "one late"]);
    assert_eq!(page.json()["data"][2]["text"], "Hello");
    // What was there keeps its place, and what came is behind it, in the order of its own store, of its own time.
    let feed = one.get("/feed");
    assert_eq!(ids(&feed), ["one early", "both", "one late", "other late", "other early"]);
    let created =
        |line: &str| serde_json::from_str::<Value>(line).expect("a line is JSON")["created_at"].clone();
    let late = exported.lines().next().expect("it has a line");
    assert_eq!(feed.json()["data"][3]["created_at"], created(late));
}

#[test]
fn who_imports_into_a_database_that_was_not_there_is_told_which_was_made() {
    let mut setup = Setup::new();
    setup.file("messages.ndjson", message("m1").to_string());
    let made = format!("there was no database {}: it has been made", setup.path("app.db").display());
    for is_made in [true, false] {
        let finished = setup.run(&["import", "messages.ndjson"]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(finished.stderr.contains(&made), is_made, "{finished:?}");
    }
}
