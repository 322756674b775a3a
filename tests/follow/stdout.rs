//! Without a target, messages are lines on stdout.

use serde_json::json;

use crate::fake_feed::FakeFeed;
use crate::fixtures::eventually;
use crate::follower::{arguments, follow, ids_of, setup};
use crate::output::parse_lines;

#[test]
fn messages_come_in_the_order_of_the_feed_and_a_restart_goes_on_behind_them() {
    let feed = FakeFeed::start();
    feed.store(2);
    let follower = follow(&feed, &[]);
    follower.writes(&["m1", "m2"]);
    feed.store(1);
    follower.writes(&["m1", "m2", "m3"]);
    let first = &parse_lines(&follower.stdout.so_far())[0];
    assert_eq!(first["text"], "Hello");
    assert_eq!(first["cursor"], "s1-1");
    let setup = follower.stop();
    feed.store(2);
    let follower = setup.follow(&feed, &[]);
    follower.writes(&["m4", "m5"]);
    assert_eq!(follower.stderr.so_far(), "", "nothing went wrong");
}

#[test]
fn from_now_begins_behind_what_is_there_once_and_for_all() {
    let feed = FakeFeed::start();
    feed.store(3);
    let follower = follow(&feed, &["--from", "now"]);
    eventually("where it begins is remembered", || follower.path("follow.state").exists().then_some(()));
    let setup = follower.kill();
    feed.store(2);
    let follower = setup.follow(&feed, &["--from", "now"]);
    follower.writes(&["m4", "m5"]);
    let setup = follower.stop();
    feed.store(1);
    setup.follow(&feed, &["--from", "beginning"]).writes(&["m6"]);
}

#[test]
fn a_reader_that_is_gone_ends_it_and_loses_nothing() {
    let feed = FakeFeed::start();
    feed.store(1);
    let setup = setup().follow_unread(&feed, &[]).ends(74, &["m1", "stdout", "Broken pipe"]);
    setup.follow(&feed, &[]).writes(&["m1"]);
}

#[test]
fn a_stdout_that_was_closed_from_the_start_confirms_nothing() {
    let feed = FakeFeed::start();
    feed.store(1);
    let setup = setup().through_shell(r#"exec "$0" "$@" >&-"#);
    let setup = setup.follow(&feed, &[]).ends(74, &["stdout", "closed"]);
    assert!(!setup.path("follow.state").exists() && feed.asked().is_empty());
    setup.file("letters", "{\"message_id\":\"m1\"}\n");
    let setup = setup.run_follow(&["follow", "--from-file", "letters"]).ends(74, &["stdout", "closed"]);
    // What needs no stdout does without.
    let follower = setup.follow(&feed, &["--exec", "sh", "-c", "cat >> seen"]);
    eventually("it is handed on", || follower.read("seen").contains("\"m1\"").then_some(()));
    // Somebody who wants nothing of it says so.
    let setup = follower.stop().through_shell(r#"exec "$0" "$@" >/dev/null"#);
    let before = feed.asked().len();
    let follower = setup.follow(&feed, &[]);
    eventually("it has begun", || (feed.asked().len() > before).then_some(()));
    follower.stop();
}

#[test]
fn a_stop_before_it_has_begun_is_an_orderly_end() {
    let feed = FakeFeed::start();
    feed.store(1);
    for name in ["TERM", "INT"] {
        // It finds the signal waiting.
        let script =
            format!(r#"exec env --block-signal={name} sh -c 'kill -{name} $$; exec "$0" "$@"' "$0" "$@""#);
        let follower = setup().through_shell(script).follow(&feed, &[]);
        let stdout = follower.stdout.clone();
        follower.ends(0, &[]);
        assert_eq!(stdout.to_the_end(), "");
    }
}

#[test]
fn a_reader_that_hangs_holds_a_stop_no_longer_than_the_timeout() {
    let feed = FakeFeed::start();
    feed.store_with_text(200, &"long ".repeat(800));
    let mut setup = setup();
    let url = feed.url();
    let mut child = setup.command(&arguments(&url, &["--timeout", "1"])).spawn().unwrap();
    // More than a pipe takes, and nobody reads it.
    eventually("it has asked", || (!feed.asked().is_empty()).then_some(()));
    crate::fixtures::signal(child.id(), "TERM");
    assert_eq!(crate::setup::wait(&mut child).code(), Some(0));
}

#[test]
fn half_a_line_that_a_crash_has_left_in_a_file_stays_a_line_of_its_own() {
    let feed = FakeFeed::start();
    feed.store(1);
    let setup = setup();
    setup.file("log", "{\"message_id\":\"m0\"}\n{\"message_id\":\"m1\",\"te");
    let follower = setup.through_shell(r#"exec "$0" "$@" >> log"#).follow(&feed, &[]);
    eventually("the message is written", || follower.read("log").contains("Hello").then_some(()));
    let text = follower.read("log");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(ids_of(lines[2]), ["m1"]);
}

#[test]
fn what_the_supervisor_hears_is_where_it_stands() {
    let feed = FakeFeed::start();
    feed.store(3);
    let setup = setup();
    let path = setup.path("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let follower = setup.with("NOTIFY_SOCKET", path.to_str().unwrap()).follow(&feed, &[]);
    let mut buffer = [0; 4096];
    let mut hear = || {
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    assert!(hear().starts_with("READY=1\nSTATUS="));
    let status = loop {
        let status = hear();
        if status.starts_with("STATUS=Up to date") {
            break status;
        }
        assert!(status.starts_with("STATUS=Behind by "), "{status}");
    };
    assert_eq!(status, "STATUS=Up to date: 3 messages handed on, the last m3 of 2025-01-15T10:00:00.000Z");
    follower.signal("TERM");
    assert!(hear().starts_with("STOPPING=1"));
}

#[test]
fn the_service_is_told_who_asks_and_with_which_token() {
    let feed = FakeFeed::start();
    let setup = setup();
    let token = setup.file("token", "t0ken\n");
    let _follower = setup.with("API_TOKEN_FILE", &token).follow(&feed, &["--state", "orders.state"]);
    let (target, token) = eventually("it asks", || feed.asked().first().cloned());
    assert!(target.contains("&consumer=orders&"), "{target}");
    assert_eq!(json!(token), "Bearer t0ken");
}
