//! Whatever happens to PostgreSQL, `to-postgres` says what it is, nothing is lost, and what waits goes on by itself.

use serde_json::json;

use crate::fixtures::{eventually, message};
use crate::output::parse_lines;
use crate::postgres::Postgres;
use crate::recipes::project_file;
use crate::service::Service;
use crate::to_postgres::{Follower, holds, line};
use crate::tools::run;

#[test]
fn nothing_is_lost_and_nothing_is_there_twice_when_the_server_is_stopped_at_once_again_and_again() {
    let Some(mut server) = Postgres::start() else { return };
    let service = Service::start();
    let follower = Follower::start(&service, &server, "one", &[]);
    let mut sent = 0;
    let mut store = |count| {
        for _ in 0..count {
            sent += 1;
            service.store(&message(&format!("m{sent}")));
        }
    };
    for _ in 0..5 {
        store(100);
        server.stop_at_once();
        store(20);
        server.run();
    }
    holds(&server, sent);
    assert_eq!(server.query("SELECT count(DISTINCT message_id) FROM messages"), sent.to_string());
    let told = parse_lines(&follower.stderr.so_far());
    assert!(told.iter().any(|line| line["event"] == "recovered"), "{told:?}");
}

#[test]
fn what_is_confirmed_is_on_disk_even_where_the_server_commits_asynchronously() {
    // It would write what was committed only after ten seconds.
    let lazy =
        "synchronous_commit = off\nwal_writer_delay = 10s\nwal_writer_flush_after = 1GB\nautovacuum = off";
    let Some(mut server) = Postgres::with("UTF8", lazy) else { return };
    server.load("", &[]).quietly();
    server.query("CHECKPOINT");
    server.load(&line("m1", &json!({})), &[]).quietly();
    server.stop_at_once();
    server.run();
    assert_eq!(server.query("SELECT count(*) FROM messages"), "1");
}

#[test]
fn a_standby_is_told_from_a_primary_and_its_promotion_is_all_that_is_waited_for() {
    let Some(mut server) = Postgres::start() else { return };
    let service = Service::start();
    let follower = Follower::start(&service, &server, "one", &[]);
    service.store(&message("m1"));
    holds(&server, 1);
    server.stop();
    server.append("data/standby.signal", "");
    server.run();
    assert_eq!(server.query("SELECT pg_is_in_recovery()"), "t");
    let words = ["read-only", "PGTARGETSESSIONATTRS=read-write"];
    server.load(&line("m2", &json!({})), &[]).ends(75, &words);
    let all = [("PGTARGETSESSIONATTRS", "read-write")];
    server.load(&line("m2", &json!({})), &all).ends(75, &["session is read-only"]);
    service.store(&message("m3"));
    eventually("the follower says that it is a standby", || {
        follower.stderr.so_far().contains("that is a standby").then_some(())
    });
    assert_eq!(server.query("SELECT pg_promote()"), "t");
    holds(&server, 2);
}

#[test]
fn each_trouble_is_named_and_ends_with_a_status_that_is_tried_again() {
    let Some(mut server) = Postgres::start() else { return };
    let lines = line("m1", &json!({}));
    server.query("CREATE ROLE locked LOGIN PASSWORD 'right'");
    server.query("CREATE ROLE full LOGIN CONNECTION LIMIT 0");
    server.query("CREATE ROLE weak LOGIN");
    server.query("CREATE SCHEMA other CREATE TABLE messages (id integer)");
    // The first line that fits counts.
    let trust = std::fs::read_to_string(server.path("data/pg_hba.conf")).expect("the folder is ours");
    let locked = format!("local all locked scram-sha-256\n{trust}");
    std::fs::write(server.path("data/pg_hba.conf"), locked).expect("the folder is ours");
    server.query("SELECT pg_reload_conf()");
    for (name, value, code, said) in [
        ("PGDATABASE", "nowhere", 75, &["database \"nowhere\" does not exist"][..]),
        ("PGHOST", "/nowhere", 75, &["No such file or directory"]),
        ("PGUSER", "full", 75, &["too many connections"]),
        ("PGUSER", "weak", 78, &["permission denied for schema public", "--schema", "GRANT"]),
        ("PGOPTIONS", "-c default_transaction_read_only=on", 75, &["read-only", "PGTARGETSESSIONATTRS"]),
        ("PGOPTIONS", "-c search_path=other", 78, &["message_id", "search_path"]),
        ("PGOPTIONS", "-c search_path=missing", 78, &["no schema has been selected", "search_path"]),
        ("PGSERVICE", "missing", 75, &["service \"missing\" not found"]),
        ("PGSSLMODE", "sideways", 75, &["sslmode"]),
        ("PGPORT", "1", 75, &["No such file or directory"]),
    ] {
        server.load(&lines, &[(name, value)]).ends(code, said);
    }
    for password in [None, Some("wrong"), Some("right")] {
        let loaded = match password {
            None => server.load(&lines, &[("PGUSER", "locked")]),
            Some(password) => server.load(&lines, &[("PGUSER", "locked"), ("PGPASSWORD", password)]),
        };
        match password {
            None => loaded.ends(75, &["no password supplied"]),
            Some("wrong") => loaded.ends(75, &["password authentication failed for user \"locked\""]),
            // It has got in.
            _ => loaded.ends(78, &["permission denied for schema public"]),
        }
    }
    assert_eq!(server.query("SELECT to_regclass('messages') IS NULL"), "t");
    server.load(&lines, &[]).quietly();
    server.stop_at_once();
    server.load(&lines, &[]).ends(75, &["connection to server", "failed"]);
    server.run();
    server.load(&lines, &[("PATH", "/nowhere")]).ends(69, &["psql", "apt-get install"]);
}

#[test]
fn a_user_who_may_only_insert_is_enough_where_somebody_else_has_made_the_table() {
    let Some(server) = Postgres::start() else { return };
    let schema = run(&project_file("scripts/to-postgres").display().to_string(), &["--schema"]);
    assert!(schema.status.success(), "{schema:?}");
    let file = server.path("schema.sql");
    std::fs::write(&file, schema.stdout).expect("the folder is ours");
    // Twice is as good.
    for _ in 0..2 {
        assert!(server.psql(&["-q1f", &file.display().to_string()]).status.success());
    }
    server.query("CREATE ROLE weak LOGIN");
    server.query("GRANT SELECT, INSERT ON messages, messages_rejected TO weak");
    let lines = format!("{}{}[]\n", line("m1", &json!({})), line("m2", &json!({"text": "\u{0}"})));
    server.load(&lines, &[("PGUSER", "weak")]).ends(0, &["messages_rejected took 1 of this batch"]);
    assert_eq!(server.query("SELECT count(*) FROM messages"), "2");
}

#[test]
fn without_the_extension_for_trigrams_messages_are_loaded_all_the_same() {
    let Some(server) = Postgres::start() else { return };
    // May make a table, and no extension.
    server.query("CREATE ROLE weak LOGIN");
    server.query("GRANT CREATE ON SCHEMA public TO weak");
    let weak = [("PGUSER", "weak")];
    server.load(&line("m1", &json!({})), &weak).ends(0, &["pg_trgm", "will read every text"]);
    server.load(&line("m2", &json!({})), &weak).quietly();
    let index = "SELECT count(*) FROM pg_indexes WHERE indexname = 'messages_text'";
    assert_eq!(server.query(index), "0");
    // The way that the line about it names.
    let schema = run(&project_file("scripts/to-postgres").display().to_string(), &["--schema"]);
    let schema = String::from_utf8(schema.stdout).expect("it is SQL");
    server.query(&schema);
    assert_eq!(server.query(index), "1");
    assert_eq!(server.query("SELECT count(*) FROM messages"), "2");
}

#[test]
fn a_database_that_cannot_hold_every_text_is_refused() {
    let Some(server) = Postgres::with("LATIN1", "") else { return };
    server.load(&line("m1", &json!({})), &[]).ends(78, &["not in UTF8", "ENCODING"]);
}

#[test]
fn bytes_that_are_no_text_are_for_the_dead_letters() {
    let Some(server) = Postgres::start() else { return };
    // A separator of the way in, which no line of JSON has either.
    server.load("{\"message_id\":\"\u{2}\"}\n", &[]).ends(65, &["not to be tried again"]);
    server.load(&line("m1", &json!({})), &[]).quietly();
}

#[test]
fn wrong_arguments_are_told_the_usage() {
    let script = project_file("scripts/to-postgres").display().to_string();
    for (arguments, code) in [(&["--help"][..], 0), (&["-h"], 0), (&["--bogus"], 64), (&["file"], 64)] {
        let output = run(&script, arguments);
        assert_eq!(output.status.code(), Some(code));
        let said = if code == 0 { output.stdout } else { output.stderr };
        assert!(String::from_utf8_lossy(&said).starts_with("usage: lyftr-webhook follow"));
    }
}

#[test]
fn whatever_is_raised_about_a_row_puts_that_row_aside_and_nothing_waits() {
    let Some(server) = Postgres::start() else { return };
    server.load("", &[]).quietly();
    server.query("CREATE TABLE known (id text PRIMARY KEY)");
    let lines = ["good 1", "bad", "good 2"].map(|id| line(id, &json!({}))).concat();
    let raised = [
        "RAISE 'no' USING ERRCODE = 'ZX001'",
        "ASSERT false",
        "SELECT id INTO STRICT NEW.text FROM known",
        "PERFORM 1 / 0",
        "RAISE insufficient_privilege",
        "RAISE undefined_table",
    ];
    for statement in raised {
        for when in ["TRIGGER odd BEFORE INSERT", "CONSTRAINT TRIGGER odd AFTER INSERT"] {
            let deferred = if when.starts_with('C') { "DEFERRABLE INITIALLY DEFERRED" } else { "" };
            server.query(&format!(
                "CREATE OR REPLACE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN \
                 IF NEW.message_id = 'bad' THEN {statement}; END IF; RETURN NEW; END $f$; \
                 CREATE {when} ON messages {deferred} FOR EACH ROW EXECUTE FUNCTION odd()"
            ));
            server.load(&lines, &[]).ends(0, &["messages_rejected took 1 of this batch"]);
            let found = server.query("SELECT string_agg(message_id, ',' ORDER BY message_id) FROM messages");
            assert_eq!(found, "good 1,good 2", "{statement}, {when}");
            assert_eq!(server.query("SELECT count(*) FROM messages_rejected"), "1", "{statement}, {when}");
            server.query("DROP TRIGGER odd ON messages; TRUNCATE messages, messages_rejected");
        }
    }
    // What is about the server is tried again, with nothing put aside.
    server.query(
        "CREATE OR REPLACE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RAISE disk_full; END $f$; \
         CREATE TRIGGER odd BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION odd()",
    );
    server.load(&lines, &[]).ends(75, &[]);
    assert_eq!(server.query("SELECT count(*) FROM messages_rejected"), "0");
    server
        .query("DROP TRIGGER odd ON messages; ALTER DATABASE postgres SET standard_conforming_strings = off");
    server.load(&lines, &[]).quietly();
    server.load(&lines.replace('\n', "\r\n"), &[]).ends(65, &["a line feed alone"]);
}
