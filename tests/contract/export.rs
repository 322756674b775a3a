//! `export`: what it writes, which messages, and what it holds meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::fixtures::{eventually, ids, message, message_with, open_database};
use crate::plain::older_file;
use crate::service::Service;
use crate::setup::{Setup, wait};

#[track_caller]
fn exported(setup: &mut Setup, arguments: &[&str]) -> String {
    let finished = setup.run(&[&["export"], arguments].concat());
    assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
    assert_eq!(finished.stderr, "");
    finished.stdout
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).expect("a line is an object")).collect()
}

#[test]
fn messages_are_exported_as_the_service_shows_them_in_the_order_they_came() {
    let mut service = Service::start();
    let texts = [
        json!("Hello"),
        json!(null),
        json!(""),
        json!("a,\"b\"\r\nc"),
        json!("\u{0}é😀\u{2028}"),
        json!(" "),
    ];
    for (number, text) in texts.iter().enumerate() {
        let ts = format!("2025-01-15T10:00:{:02}Z", 50 - number);
        service.store(&message_with(&format!("m,\"{number}"), &json!({"text": text, "ts": ts})));
    }
    let mut shown = service.get("/messages").json()["data"].as_array().expect("a list").clone();
    shown.reverse();
    let lines = exported(service.setup(), &[]);
    let created: Vec<String> = objects(&lines)
        .iter()
        .zip(&mut shown)
        .map(|(line, shown)| {
            shown["created_at"] = line["created_at"].clone();
            line["created_at"].as_str().expect("a time").to_owned()
        })
        .collect();
    assert_eq!(objects(&lines), shown);
    let shape = |time: &String| time.replace(|c: char| c.is_ascii_digit(), "0") == "0000-00-00T00:00:00.000Z";
    assert!(created.iter().all(shape), "{created:?}");
    let csv = exported(service.setup(), &["--csv"]);
    let rest = |number: usize| format!("+919876543210,+14155550100,2025-01-15T10:00:{:02}Z", 50 - number);
    let expected = [
        "message_id,from,to,ts,text,created_at\n".to_owned(),
        format!("\"m,\"\"0\",{},Hello,{}\n", rest(0), created[0]),
        format!("\"m,\"\"1\",{},,{}\n", rest(1), created[1]),
        format!("\"m,\"\"2\",{},,{}\n", rest(2), created[2]),
        format!("\"m,\"\"3\",{},\"a,\"\"b\"\"\r\nc\",{}\n", rest(3), created[3]),
        format!("\"m,\"\"4\",{},\u{0}é😀\u{2028},{}\n", rest(4), created[4]),
        format!("\"m,\"\"5\",{}, ,{}\n", rest(5), created[5]),
    ];
    assert_eq!(csv, expected.concat());
}

#[test]
fn a_line_is_one_to_every_reader() {
    let mut service = Service::start();
    let hard = "a\u{85}\u{2028}b\u{2029}\u{b}\u{c}\u{1c}\u{1d}\u{1e}\r\n\\u2028 é\u{84}\u{2027}";
    service.store(&message_with(hard, &json!({"text": hard})));
    service.store(&message_with("plain", &json!({"text": "\u{2028}"})));
    let lines = exported(service.setup(), &[]);
    // What Python's str.splitlines splits at.
    let ends = ['\u{b}', '\u{c}', '\r', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}'];
    assert!(!lines.contains(ends), "{lines:?}");
    assert_eq!(lines.matches('\n').count(), 2);
    assert!(lines.contains(r"\u0085\u2028b\u2029"), "{lines}");
    let found = objects(&lines);
    assert_eq!((&found[0]["message_id"], &found[0]["text"]), (&json!(hard), &json!(hard)));
    assert_eq!(found[1]["text"], "\u{2028}");
    let csv = exported(service.setup(), &["--csv"]);
    assert!(csv.contains(&format!("\"{hard}\",")) && csv.contains(",\u{2028},"), "{csv:?}");
}

#[test]
fn the_filters_are_those_of_the_list() {
    let mut service = older_file(30_000).start();
    let cases: [(&[&str], &str); 7] = [
        (&["--from", "+3"], "from=%2B3"),
        (&["--since", "2025-01-15T10:49:30Z"], "since=2025-01-15T10:49:30Z"),
        (&["--since", "2025-01-15T12:49:30+02:00"], "since=2025-01-15T10:49:30Z"),
        (&["--q", "OF 777"], "q=of+777"),
        (
            &["--q", "7", "--from=+3", "--since", "2025-01-15T10:30:00Z"],
            "q=7&from=%2B3&since=2025-01-15T10:30:00Z",
        ),
        (&["--from", "+nobody"], "from=%2Bnobody"),
        (&["--q", "%"], "q=%25"),
    ];
    for (arguments, query) in cases {
        let lines = objects(&exported(service.setup(), arguments));
        let total = service.get(&format!("/messages?limit=1&{query}")).expect(200).json()["total"].clone();
        assert_eq!(lines.len(), total, "{arguments:?}");
        let found: BTreeSet<String> =
            lines.iter().map(|line| line["message_id"].as_str().expect("an id").to_owned()).collect();
        let page = ids(&service.get(&format!("/messages?limit=100&{query}")));
        assert!(page.iter().all(|id| found.contains(id)), "{arguments:?}");
    }
    assert_eq!(exported(service.setup(), &[]).lines().count(), 30_000);
    let refused = service.setup().run(&["export", "--since", "soon"]);
    assert_eq!(refused.code, Some(64), "{refused:?}");
    assert!(refused.stderr.contains("since must be"), "{refused:?}");
}

#[test]
fn what_is_no_database_is_not_exported() {
    let mut setup = Setup::new();
    assert_eq!(setup.run(&["export"]).code, Some(69));
    assert!(!setup.path("app.db").exists());
    setup.file("app.db", "this is no database ".repeat(500));
    assert_eq!(setup.run(&["export"]).code, Some(78));
}

/// Rows of a few hundred bytes.
fn large_file(rows: usize) -> Setup {
    let setup = older_file(rows);
    setup
        .database()
        .execute_batch("UPDATE messages SET text = text || hex(zeroblob(600))")
        .expect("it is SQL");
    setup
}

/// Has begun, and waits for its reader.
fn begun(setup: &mut Setup) -> (Child, BufReader<ChildStdout>) {
    let mut export = setup.command(&["export"]).stderr(Stdio::null()).spawn().expect("the executable starts");
    let mut lines = BufReader::new(export.stdout.take().expect("stdout is a pipe"));
    let mut first = String::new();
    lines.read_line(&mut first).expect("it writes");
    assert!(first.contains("\"r1\""), "{first}");
    (export, lines)
}

#[test]
fn a_reader_that_is_slow_keeps_no_snapshot_and_gets_what_was_there() {
    let mut service = large_file(15_000).start();
    let (mut export, lines) = begun(service.setup());
    service.store(&message("later"));
    let database = service.database();
    database.execute("DELETE FROM messages WHERE message_id IN ('r1', 'r14000')", []).unwrap();
    // A checkpoint that empties the log cannot do so while somebody reads from it.
    eventually("nobody reads from the log", || {
        let busy: i64 = database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
        (busy == 0).then_some(())
    });
    let rest: Vec<String> = lines.lines().map(Result::unwrap).collect();
    assert!(wait(&mut export).success());
    assert_eq!(rest.len(), 15_000 - 2);
    assert!(!rest.iter().any(|line| line.contains("\"later\"") || line.contains("\"r14000\"")));
}

#[test]
fn memory_does_not_grow_with_what_is_exported() {
    let peak = |rows: usize| {
        let mut setup = large_file(rows);
        let (mut export, mut lines) = begun(&mut setup);
        // All but the last of it: then it still runs, with everything behind it.
        let read: usize = lines.by_ref().lines().take(rows * 9 / 10).map(|line| line.unwrap().len()).sum();
        let status = fs::read_to_string(format!("/proc/{}/status", export.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it still runs");
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        std::io::copy(&mut lines, &mut std::io::sink()).unwrap();
        assert!(wait(&mut export).success());
        (kib, read / 1024)
    };
    let ((small, _), (large, read)) = (peak(5_000), peak(40_000));
    assert!(large < small + 4096 && read > 40 << 10, "{small} and {large} KiB for {read} KiB");
}

#[test]
fn a_reader_that_hangs_up_is_told_of() {
    let mut setup = large_file(5_000);
    let mut export = setup.command(&["export"]).spawn().unwrap();
    drop(export.stdout.take());
    assert_eq!(wait(&mut export).code(), Some(74));
    let mut said = String::new();
    export.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("cannot write"), "{said}");
}

#[test]
fn an_export_of_an_older_file_with_its_own_indexes_is_complete() {
    let mut setup = older_file(25_000);
    open_database(&setup.path("app.db"))
        .execute_batch("CREATE INDEX idx_from_msisdn ON messages (from_msisdn); DELETE FROM messages WHERE rowid % 3 = 0;
            UPDATE messages SET rowid = rowid + 1000000000 WHERE rowid > 20000")
        .unwrap();
    let found = objects(&exported(&mut setup, &["--from", "+3"])).len();
    let counted: i64 = setup
        .database()
        .query_row("SELECT COUNT(*) FROM messages WHERE from_msisdn = '+3'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(found as i64, counted);
}
