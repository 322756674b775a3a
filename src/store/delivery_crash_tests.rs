//! Power cuts in miniature for bodies: `kill -9` while one of a thousand messages is stored by many at once.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::delivery_tests::{Opened, item, number};
use super::*;
use crate::whatsapp::{Item, ItemResult, Kind};

/// Set in the process that is killed: the file, and the first id of the body.
const VICTIM: &str = "DELIVERY_CRASH_VICTIM";
const ITEMS: u16 = 1000;
const CLIENTS: usize = 16;
/// Rounds on one file; the first of them makes the table of items.
const ROUNDS_OF_A_FILE: usize = 3;

fn body(first: u16) -> Vec<Item> {
    (first..first + ITEMS).map(|id| item(id, 0, Kind::Message)).collect()
}

/// Stores one body again and again, and says of each time that it was acknowledged.
fn store_until_killed(victim: &str) {
    let (first, path) = victim.split_once(' ').unwrap();
    let first = first.parse().unwrap();
    let opened = Opened::new(Path::new(path));
    loop {
        (0..CLIENTS).for_each(|client| opened.deliver(client, body(first)));
        for result in opened.heard(CLIENTS) {
            result.unwrap();
            writeln!(std::io::stdout(), "\nacknowledged").unwrap();
        }
    }
}

/// Lets a process store the body until it has acknowledged something, or its log is so long. True if it has.
fn die(path: &Path, first: u16, wal_bytes: u64) -> bool {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::delivery_crash_tests::a_body_is_there_whole_or_not_at_all_after_kill_9"])
        .arg("--nocapture")
        .env(VICTIM, format!("{first} {}", path.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let (said, heard) = crossbeam_channel::unbounded();
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok).filter(|line| line == "acknowledged") {
            said.send(line).unwrap();
        }
    });
    let wal = files::wal_path(path);
    let before = std::fs::metadata(&wal).map_or(0, |file| file.len());
    while heard.is_empty() && std::fs::metadata(&wal).map_or(0, |file| file.len()) <= before + wal_bytes {
        assert!(victim.try_wait().unwrap().is_none(), "it has ended by itself");
        std::thread::yield_now();
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    reader.join().unwrap();
    !heard.is_empty()
}

#[test]
fn a_body_is_there_whole_or_not_at_all_after_kill_9() {
    if let Ok(victim) = std::env::var(VICTIM) {
        return store_until_killed(&victim);
    }
    let rounds: usize = std::env::var("CRASH_ROUNDS").map_or(6, |rounds| rounds.parse().unwrap());
    let (mut acknowledged, mut kept) = (0, 0);
    let mut folder = tempfile::tempdir().unwrap();
    for round in 0..rounds {
        if round % ROUNDS_OF_A_FILE == 0 {
            folder = tempfile::tempdir().unwrap();
        }
        let path = folder.path().join("app.db");
        let first = (round % ROUNDS_OF_A_FILE) as u16 * ITEMS;
        // Some before the first commit, some in the midst of its writing, some behind it.
        let was_acknowledged = die(&path, first, (round as u64 * 97 % 600) << 10);
        let stored = {
            let opened = Opened::new(&path);
            let database = rusqlite::Connection::open(&path).unwrap();
            let stored = number(&database, "SELECT COUNT(*) FROM messages") - i64::from(first);
            let whole = i64::from(ITEMS);
            assert!(stored == whole || stored == 0 && !was_acknowledged, "round {round}: {stored}");
            opened.deliver(0, body(first));
            let Some(Ok(Stored::Delivery(counts))) = opened.heard(1).pop() else {
                panic!("round {round}: the retry was not stored");
            };
            let there = counts.results(ItemResult::Duplicate) as i64;
            assert_eq!((there, counts.results(ItemResult::Created) as i64), (stored, whole - stored));
            for table in ["messages", "messages_items"] {
                let count = number(&database, &format!("SELECT COUNT(*) FROM {table}"));
                assert_eq!(count, i64::from(first) + whole, "round {round}: {table}");
            }
            stored
        };
        acknowledged += usize::from(was_acknowledged);
        kept += usize::from(stored > 0);
    }
    assert!(
        rounds < 6 || (kept > 0 && acknowledged > 0),
        "of {rounds}: {kept} kept, {acknowledged} acknowledged"
    );
}
