//! `scripts/to-postgres` brings the messages of followers into a real PostgreSQL, each of them once and as it was.

use std::collections::BTreeMap;
use std::process::Child;
use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::fixtures::{eventually, message, message_with, sign};
use crate::output::Lines;
use crate::postgres::Postgres;
use crate::recipes::project_file;
use crate::service::Service;
use crate::setup::Setup;

/// `follow --exec scripts/to-postgres` at work.
pub(crate) struct Follower {
    child: Child,
    pub(crate) stderr: Lines,
    /// Its folder, with its state.
    _setup: Setup,
}

impl Follower {
    pub(crate) fn start(service: &Service, server: &Postgres, receiver: &str, options: &[&str]) -> Self {
        let mut setup = Setup::new().with("RECEIVER", receiver).with("PATH", "/usr/bin:/bin");
        for (name, value) in server.variables() {
            setup = setup.with(name, &value);
        }
        let url = format!("http://{}", service.address.host_and_port());
        let script = project_file("scripts/to-postgres").display().to_string();
        let arguments =
            [&["follow", "--url", &url, "--batch", "500"], options, &["--exec", &script]].concat();
        let mut child = setup.command(&arguments).spawn().expect("the executable starts");
        let stderr = Lines::of(child.stderr.take().expect("stderr is a pipe"));
        Self { child, stderr, _setup: setup }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the service hands on.
fn rows(service: &Service) -> Vec<Value> {
    let page = service.get("/feed?limit=1000").expect(200).json();
    page["data"].as_array().expect("a page has rows").clone()
}

/// A line as `follow` hands it on.
pub(crate) fn line(id: &str, fields: &Value) -> String {
    let mut message = message_with(id, fields);
    message["created_at"] = json!("2025-01-15T10:00:00.123Z");
    message["cursor"] = json!("c");
    format!("{message}\n")
}

#[track_caller]
pub(crate) fn holds(server: &Postgres, count: usize) {
    eventually(&format!("the table has {count} messages"), || {
        let found = server.psql(&["-qAtc", "SELECT count(*) FROM messages"]);
        (String::from_utf8_lossy(&found.stdout).trim() == count.to_string()).then_some(())
    });
}

#[test]
fn the_messages_of_two_receivers_are_in_one_table_once_and_as_they_were_handed_on() {
    let Some(server) = Postgres::start() else { return };
    let (one, two) = (Service::start(), Service::start());
    let texts = [
        json!(null),
        json!(""),
        json!("a,\"b\"\r\nc\n\t\\N \\. \\\\u0000 \u{1}\u{2}\u{7f}"),
        json!("é😀\u{2028}\u{85}\u{feff}\u{ffff}\u{10ffff} مرحبا e\u{301}"),
        json!("😀".repeat(4096)),
    ];
    for (number, text) in texts.iter().enumerate() {
        let fields = json!({"text": text, "ts": format!("2025-01-15T10:00:0{number}.123456789Z")});
        one.store(&message_with(&format!("m\n{number}"), &fields));
    }
    for number in 0..600 {
        one.store(&message(&format!("one {number}")));
        two.store(&message(&format!("two {number}")));
    }
    // Sent to both, as a sender does that had no answer from the first.
    for number in 0..50 {
        one.store(&message(&format!("both {number}")));
        two.store(&message(&format!("both {}", 49 - number)));
    }
    let _followers = [Follower::start(&one, &server, "one", &[]), Follower::start(&two, &server, "two", &[])];
    holds(&server, texts.len() + 1200 + 50);
    // In hexadecimal digits: psql leaves out characters that it does not know.
    let columns = "encode(convert_to(json_build_object('message_id', message_id, 'from', from_msisdn, 'to', to_msisdn, \
                   'ts', ts, 'text', text, 'created_at', created_at)::text, 'UTF8'), 'hex')";
    let found = server.query(&format!("SELECT {columns}, receiver FROM messages"));
    let stored = found.lines().map(|row| {
        let (digits, receiver) = row.rsplit_once('|').expect("two columns");
        let json = hex::decode(digits).expect("they are digits");
        let row: Value = serde_json::from_slice(&json).expect("it is JSON");
        (row["message_id"].to_string(), (row, receiver))
    });
    let stored: BTreeMap<_, _> = stored.collect();
    for (service, receiver) in [(&one, "one"), (&two, "two")] {
        for mut row in rows(service) {
            row.as_object_mut().expect("a row is an object").remove("cursor");
            let (found, by) = &stored[&row["message_id"].to_string()];
            if *by == receiver {
                assert_eq!(*found, row);
            } else {
                assert!(row["message_id"].as_str().expect("an id").starts_with("both "), "{row}: {by}");
            }
        }
    }
    assert_eq!(server.query("SELECT count(*) FROM messages WHERE as_sent IS NOT NULL"), "0");
    assert_eq!(server.query("SELECT count(*) FROM messages_rejected"), "0");
}

#[test]
fn no_two_ids_become_one_and_none_is_too_long() {
    let Some(server) = Postgres::start() else { return };
    // As long as a body, and nothing to be compressed in it.
    let hashes = (0_u32..900).map(|number| hex::encode(Sha256::digest(number.to_be_bytes())));
    let long = hashes.collect::<String>();
    let other = format!("{}x", &long[..long.len() - 1]);
    let hash_of_long = format!("sha256-{}", hex::encode(Sha256::digest(&long)));
    let ids = [
        "a\u{0}b",
        "a\u{fffd}b",
        "a\u{1}\u{2}b",
        "a\u{1}\u{0}b",
        "a\u{1}\u{3}b",
        "a\\u0000b",
        "a\\\u{0}b",
        "\u{0}",
        "\u{0}\u{0}",
        long.as_str(),
        other.as_str(),
        hash_of_long.as_str(),
        "sha256-",
        &"i".repeat(1000),
        &"i".repeat(1001),
    ];
    let lines = ids.map(|id| line(id, &json!({}))).concat();
    server.load(&lines, &[]).quietly();
    server.load(&lines, &[("RECEIVER", "two")]).quietly();
    assert_eq!(server.query("SELECT count(*), min(receiver), max(receiver) FROM messages"), "15|one|one");
    for id in ids {
        let is_kept = id.len() <= 1000 && !id.contains('\0') && !id.starts_with("sha256-");
        let expected = if is_kept {
            format!("{id}|")
        } else {
            let hash = hex::encode(Sha256::digest(id));
            format!("sha256-{hash}|{}", line(id, &json!({})).trim_end())
        };
        let (stored, _) = expected.split_once('|').expect("two columns");
        let sql = format!("SELECT message_id, as_sent FROM messages WHERE message_id = '{stored}'");
        assert_eq!(server.query(&sql), expected);
    }
    // A sender that no telephone has.
    let sender = format!("+{}", "1234567".repeat(8000));
    server.load(&line("sender", &json!({"from": sender})), &[]).quietly();
    let hash = hex::encode(Sha256::digest(&sender));
    let sql = "SELECT from_msisdn, as_sent::json->>'from' FROM messages WHERE message_id = 'sender'";
    assert_eq!(server.query(sql), format!("sha256-{hash}|{sender}"));
}

#[test]
fn what_postgresql_cannot_store_is_mapped_and_kept_beside_it_as_it_came() {
    let Some(server) = Postgres::start() else { return };
    let text = "x\u{0}y\u{0}\u{0} \\u0000 \\\u{0} \\\\u0000 \\\\\u{0}";
    let with_original = |id: &str, original: &str| {
        line(id, &json!({})).replace("}\n", &format!(",\"original\":{original}}}\n"))
    };
    let lines = [
        line("text", &json!({"text": text})),
        with_original(
            "halves",
            r#"{"a":"\ud800 \udc00 \ud83d\ude00 \\ud800 \\\ud800 \udc00\ud800 \uD83D\uDE00 \u0000","b":1e999999}"#,
        ),
        with_original("deep", &format!("{}{}", "[".repeat(200_000), "]".repeat(200_000))),
        with_original("quoted", r#"{"a":",\"original\":","b":"\ud800"}"#),
        with_original("spaced", "{\"a\" :\t[1.0, 1.00] ,\"a\":2}"),
        line("plain", &json!({})),
    ];
    server.load(&lines.concat(), &[]).quietly();
    for (id, column, expected) in [
        ("text", "text", text.replace('\0', "\u{fffd}")),
        (
            "halves",
            "original",
            r#"{"a":"\ufffd \ufffd \ud83d\ude00 \\ud800 \\\ufffd \ufffd\ufffd \uD83D\uDE00 \ufffd","b":1e999999}"#
                .to_owned(),
        ),
        ("deep", "original", String::new()),
        ("quoted", "original", r#"{"a":",\"original\":","b":"\ufffd"}"#.to_owned()),
        ("spaced", "original", "{\"a\" :\t[1.0, 1.00] ,\"a\":2}".to_owned()),
        ("spaced", "as_sent", String::new()),
        ("plain", "as_sent", String::new()),
        ("deep", "as_sent", lines[2].trim_end().to_owned()),
        ("halves", "as_sent", lines[1].trim_end().to_owned()),
        ("deep", "text", "Hello".to_owned()),
    ] {
        let found = server.query(&format!("SELECT {column} FROM messages WHERE message_id = '{id}'"));
        assert_eq!(found, expected, "{column} of {id}");
    }
    // Whatever is there, JSON can be asked of it.
    assert_eq!(
        server.query("SELECT original->>'a' FROM messages WHERE message_id = 'halves'").chars().next(),
        Some('\u{fffd}')
    );
}

#[test]
fn what_whatsapp_sent_comes_along_where_it_is_asked_for() {
    let Some(server) = Postgres::start() else { return };
    let service = Setup::new().with("WHATSAPP_APP_SECRET", "app").start();
    let body = r#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"metadata":{"display_phone_number":"14155550100"},"messages":[{"from":"14155550123","id":"wamid.1","timestamp":"1736935200","type":"text","text":{"body":"Hi \ud83d\ude00"},"x":["\u0000","\ud800"]}]},"field":"messages"}]}]}"#;
    let signature = format!("sha256={}", sign("app", body.as_bytes()));
    let headers = [("X-Hub-Signature-256", signature.as_str())];
    service.connect().request("POST", "/whatsapp", &headers, Some(body.as_bytes())).expect(200);
    let _follower = Follower::start(&service, &server, "one", &["--original"]);
    holds(&server, 1);
    let x = "original->'value'->'messages'->0->'x'";
    let found = server.query(&format!("SELECT message_id, from_msisdn, text, {x}, receiver FROM messages"));
    assert_eq!(found, r#"wamid.1|+14155550123|Hi 😀|["\ufffd","\ufffd"]|one"#);
    let as_sent = server.query("SELECT as_sent FROM messages");
    assert!(as_sent.contains(r#"["\u0000","\ud800"]"#), "{as_sent}");
}

#[test]
fn many_followers_make_the_table_at_once_and_put_the_same_ids_in_different_orders() {
    let Some(server) = Postgres::start() else { return };
    let batch = |follower: usize, round: usize| {
        let mut ids: Vec<_> = (0..1000).collect();
        if follower % 2 == 1 {
            ids.reverse();
        }
        // Of some of them every message has to be mapped, which is another way through.
        let text = if follower.is_multiple_of(3) { "\u{0}" } else { "Hello" };
        ids.iter().map(|id| line(&format!("{round} {id}"), &json!({"text": text}))).collect::<String>()
    };
    for round in 0..5 {
        let together = Barrier::new(6);
        thread::scope(|scope| {
            for follower in 0..6 {
                let (server, together, lines) = (&server, &together, batch(follower, round));
                scope.spawn(move || {
                    together.wait();
                    server.load(&lines, &[("RECEIVER", &follower.to_string())]).quietly();
                });
            }
        });
    }
    assert_eq!(server.query("SELECT count(*) FROM messages"), "5000");
}

#[test]
fn a_time_is_kept_as_it_was_sent_and_is_an_instant_where_it_names_one() {
    let Some(server) = Postgres::start() else { return };
    let times = [
        ("2025-01-15T10:00:00Z", "2025-01-15 10:00:00+00"),
        ("2025-12-31T23:59:59.999999999Z", "2025-12-31 23:59:59.999999+00"),
        ("0001-01-01T00:00:00.1Z", "0001-01-01 00:00:00.1+00"),
        ("9999-12-31T23:59:59Z", "9999-12-31 23:59:59+00"),
    ];
    // As they may stand in the files of other programs.
    let old = [
        ("2025-02-30T10:00:00Z", "2025-03-02 10:00:00+00"),
        ("2025-13-01T10:00:00Z", ""),
        ("0000-01-01T10:00:00Z", ""),
        ("2025-01-15 10:00:00", ""),
        ("now", ""),
    ];
    let load = |times: &[(&str, &str)]| {
        let line = |(ts, _): &(&str, &str)| line(ts, &json!({"ts": ts}));
        server.load(&times.iter().map(line).collect::<String>(), &[("PGTZ", "Asia/Kolkata")]).quietly();
    };
    load(&times);
    load(&old);
    for (ts, instant) in times.iter().chain(&old) {
        let sql = format!("SET timezone = 'UTC'; SELECT ts, sent_at FROM messages WHERE message_id = '{ts}'");
        assert_eq!(server.query(&sql), format!("{ts}|{instant}"));
    }
}

#[test]
fn what_can_never_be_stored_is_put_aside_and_keeps_nothing_waiting() {
    let Some(server) = Postgres::start() else { return };
    server.load("", &[]).quietly();
    server.query("ALTER TABLE messages ADD CHECK (to_msisdn <> '+99')");
    let lines = [
        line("m1", &json!({})),
        line("m2", &json!({"to": "+99"})),
        "{\"message_id\":\"m3\"}\n".to_owned(),
        "[\"Hello\"]\n\n{\"message_id\":\"m4\",\"text\":\"Hello\"\n".to_owned(),
        line("m5", &json!({"text": "\u{0}"})),
    ]
    .concat();
    for _ in 0..2 {
        server.load(&lines, &[]).ends(0, &["messages_rejected took 4 of this batch"]);
        assert_eq!(
            server.query("SELECT string_agg(message_id, ',' ORDER BY message_id) FROM messages"),
            "m1,m5"
        );
        assert_eq!(server.query("SELECT count(*), min(receiver) FROM messages_rejected"), "4|one");
    }
    let reason = server.query("SELECT reason FROM messages_rejected WHERE line LIKE '%m2%'");
    assert!(reason.contains("messages_to_msisdn_check"), "{reason}");
    // The way that the line about them names.
    server.query("ALTER TABLE messages DROP CONSTRAINT messages_to_msisdn_check");
    let rejected = server.query("SELECT line FROM messages_rejected WHERE line LIKE '%m2%'");
    server.load(&format!("{rejected}\n"), &[]).quietly();
    assert_eq!(server.query("SELECT to_msisdn FROM messages WHERE message_id = 'm2'"), "+99");
}

#[test]
fn a_batch_whose_writer_was_killed_in_its_midst_is_not_kept_and_nothing_of_it_is_put_aside() {
    let Some(server) = Postgres::start() else { return };
    let whole = [line("m1", &json!({})), line("m2", &json!({}))].concat();
    server.load(&whole[..whole.len() - 9], &[]).ends(75, &["in the middle of a line"]);
    server.load(&whole, &[]).quietly();
    let counted =
        server.query("SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM messages_rejected)");
    assert_eq!(counted, "2|0");
}
