//! Dead letters: what a target will not take, kept and handed on again by hand.

use crate::fake_feed::FakeFeed;
use crate::fixtures::eventually;
use crate::follower::{follow, ids_of, setup};

/// Refuses m2 for good.
const PICKY: &str = r#"read -r line; case $line in *'"m2"'*) exit 65;; esac; printf '%s\n' "$line" >> seen"#;

#[test]
fn what_a_command_refuses_for_good_is_a_dead_letter_and_the_rest_goes_on() {
    let feed = FakeFeed::start();
    feed.store(3);
    let follower = follow(&feed, &["--dead-letters", "dead", "--exec", "sh", "-c", PICKY]);
    eventually("the rest is handed on", || follower.read("seen").contains("\"m3\"").then_some(()));
    assert_eq!(ids_of(&follower.read("dead")), ["m2"]);
    assert_eq!(ids_of(&follower.read("seen")), ["m1", "m3"]);
    let line = follower.tells("dead_letter");
    assert_eq!((&line["message_id"], &line["level"]), (&"m2".into(), &"ERROR".into()));
    assert_eq!(
        (&line["reason"], &line["file"]),
        (&"the command ended with status 65".into(), &"dead".into())
    );
    assert_eq!(follower.told("recovered") + follower.told("not_confirmed"), 0);
    use std::os::unix::fs::MetadataExt;
    assert_eq!(std::fs::metadata(follower.path("dead")).unwrap().mode() & 0o777, 0o600);

    // Moved away, and handed on again, while it goes on.
    std::fs::rename(follower.path("dead"), follower.path("again")).unwrap();
    let again = follower.path("again").display().to_string();
    let mut other = setup();
    let finished = other.run(&["follow", "--from-file", &again, "--exec", "sh", "-c", "cat > seen"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(ids_of(&std::fs::read_to_string(other.path("seen")).unwrap()), ["m2"]);
    let said = "1 messages handed on, 0 among the dead letters again, 0 lines refused";
    assert!(finished.stderr.contains(said), "{finished:?}");
    assert!(!other.path("follow.state").exists());
    for more in [&["--batch", "1"][..], &["--attempts", "1"]] {
        let script = if more[0] == "--batch" { "exit 65" } else { "exit 1" };
        let arguments =
            ["follow", "--from-file", &again, "--dead-letters", "dead", "--exec", "sh", "-c", script];
        let finished = other.run(&[&arguments[..3], more, &arguments[3..]].concat());
        assert_eq!(finished.code, Some(65), "{finished:?}");
        let said = "0 messages handed on, 1 among the dead letters again, 0 lines refused";
        assert!(finished.stderr.contains(said), "{finished:?}");
    }
    assert_eq!(ids_of(&std::fs::read_to_string(other.path("dead")).unwrap()), ["m2", "m2"]);
}

#[test]
fn after_so_many_attempts_a_batch_is_a_dead_letter_whole() {
    let feed = FakeFeed::start();
    feed.store(5);
    let script = r#"cat > now; echo >> tries; grep -q '"m4"' now && exit 1; cat now >> seen"#;
    let arguments =
        ["--batch", "2", "--attempts", "2", "--dead-letters", "dead", "--exec", "sh", "-c", script];
    let follower = follow(&feed, &arguments);
    eventually("the last is handed on", || follower.read("seen").contains("\"m5\"").then_some(()));
    assert_eq!(ids_of(&follower.read("dead")), ["m3", "m4"]);
    assert_eq!(ids_of(&follower.read("seen")), ["m1", "m2", "m5"]);
    assert_eq!(follower.read("tries").lines().count(), 4);
    assert_eq!(follower.tells("dead_letter")["attempts"], 2);
}

#[test]
fn without_a_file_for_dead_letters_it_ends_and_the_batch_is_the_next_again() {
    let feed = FakeFeed::start();
    feed.store(3);
    for arguments in [
        &["--exec", "sh", "-c", PICKY][..],
        &["--attempts", "1", "--exec", "sh", "-c", "grep -q m1 || exit 1"],
    ] {
        let follower = follow(&feed, arguments);
        let stderr = follower.stderr.clone();
        let setup = follower.ends(75, &["m2", "after 1 attempt:", "--dead-letters"]);
        let text = stderr.to_the_end();
        let line =
            &crate::output::parse_lines(text.lines().next().expect("the batch has a line of its own"))[0];
        assert_eq!((&line["event"], &line["message_id"]), (&"given_up".into(), &"m2".into()), "{line}");
        assert_eq!((&line["attempts"], text.lines().count()), (&1.into(), 2), "{text}");
        setup.follow(&feed, &[]).writes(&["m2", "m3"]);
    }
}

#[test]
fn dead_letters_that_cannot_be_kept_hold_the_feed_and_lose_nothing() {
    let feed = FakeFeed::start();
    feed.store(3);
    let setup = setup();
    setup.file("dead", "");
    setup.file("dead-folder/x", "");
    setup.follow(&feed, &["--dead-letters", "dead-folder", "--exec", "true"]).ends(69, &["dead-folder"]);
    let follower = follow(&feed, &["--dead-letters", "dead", "--exec", "sh", "-c", PICKY]);
    follower.tells("dead_letter");
    follower.stop();
    // It is no file any more when the second is to be added.
    let script = format!("[ -d dead ] || {{ rm -f dead; mkdir dead; }}; {PICKY}");
    let follower = follow(&feed, &["--dead-letters", "dead", "--exec", "sh", "-c", &script]);
    let line = follower.tells("not_writable");
    assert!(line["reason"].as_str().unwrap().contains("dead"), "{line}");
    assert!(!follower.read("seen").contains("\"m3\""), "nothing overtakes it");
    std::fs::remove_dir(follower.path("dead")).unwrap();
    follower.tells("writable");
    let line = follower.tells("dead_letter");
    assert_eq!(line["message_id"], "m2");
}

#[test]
fn a_crash_while_a_letter_was_written_leaves_nothing_of_it() {
    let feed = FakeFeed::start();
    feed.store(2);
    let setup = setup();
    setup.file("dead", "{\"message_id\":\"m0\"}\n{\"message_id\":\"m2\",\"from\":\"+9");
    let follower = setup.follow(&feed, &["--dead-letters", "dead", "--exec", "sh", "-c", PICKY]);
    follower.tells("dead_letter");
    assert_eq!(ids_of(&follower.read("dead")), ["m0", "m2"]);
}

#[test]
fn lines_that_are_no_messages_are_named_and_the_others_handed_on() {
    let mut setup = setup();
    let file = setup
        .file("letters", "{\"message_id\":\"a\",\"x\":1}\n\nnonsense\r\n{\"message_id\":\"b\"}\r\n{\"mess");
    let finished = setup.run(&["follow", "--from-file", &file, "--batch", "10"]);
    assert_eq!(finished.code, Some(65), "{finished:?}");
    assert_eq!(finished.stdout, "{\"message_id\":\"a\",\"x\":1}\n{\"message_id\":\"b\"}\n");
    assert!(
        finished.stderr.contains(r#""line":3,"#) && finished.stderr.contains(r#""line":5,"#),
        "{finished:?}"
    );
    assert_eq!(setup.run(&["follow", "--from-file", "/nowhere"]).code, Some(74));
    assert_eq!(setup.run(&["follow", "--from-file", &file, "--state", "s"]).code, Some(64));
}

#[test]
fn a_stop_before_the_end_of_the_file_says_that_it_was_one() {
    let setup = setup();
    let file = setup.file("letters", "{\"message_id\":\"1\"}\n{\"message_id\":\"2\"}\n");
    let follower = setup.run_follow(&[
        "follow",
        "--from-file",
        &file,
        "--exec",
        "sh",
        "-c",
        "grep -q 2 && exit 1 || exit 0",
    ]);
    follower.tells("not_confirmed");
    follower.signal("TERM");
    follower.ends(75, &["run it again"]);
}
