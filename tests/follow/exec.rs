//! A command is started for each batch, and says by its end what becomes of it.

use std::path::Path;
use std::time::Instant;

use crate::fake_feed::FakeFeed;
use crate::fixtures::eventually;
use crate::follower::{follow, ids_of, setup};

/// Appends what it is given to `seen`.
const KEEP: &str = "cat >> seen";

fn exec<'a>(more: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [more, &["--exec", "sh", "-c", script]].concat()
}

fn is_running(pid: &str) -> bool {
    // What nobody has waited for yet is a zombie.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_command_is_started_for_each_batch_with_its_messages_on_stdin() {
    let feed = FakeFeed::start();
    feed.store(5);
    let follower = follow(&feed, &exec(&["--batch", "2"], "cat >> seen; echo run >> seen"));
    eventually("five messages in three runs", || (follower.read("seen").lines().count() == 8).then_some(()));
    let text = follower.read("seen");
    let runs: Vec<_> = text.split("run\n").map(ids_of).collect();
    assert_eq!(runs, [vec!["m1", "m2"], vec!["m3", "m4"], vec!["m5"], vec![]]);
    let setup = follower.stop();
    feed.store(1);
    let follower = setup.follow(&feed, &exec(&[], "cat > last"));
    eventually("it goes on", || follower.read("last").contains("\"m6\"").then_some(()));
    assert_eq!(follower.stderr.so_far(), "");
}

#[test]
fn arguments_reach_the_command_as_they_are() {
    let feed = FakeFeed::start();
    feed.store(1);
    let follower =
        follow(&feed, &["--exec", "sh", "-c", r#"printf '%s\n' "$@" > seen"#, "sh", "--url", "a b", "--"]);
    follower.has_lines("seen", &["--url", "a b", "--"]);
}

#[test]
fn a_command_that_writes_much_while_it_is_written_to_blocks_nobody() {
    let feed = FakeFeed::start();
    feed.store_with_text(500, &"long ".repeat(400));
    let script = "tee /dev/stderr; echo whole > seen";
    let follower = follow(&feed, &exec(&["--batch", "500"], script));
    follower.has_lines("seen", &["whole"]);
    let line = follower.tells("command_output");
    assert_eq!((&line["message_id"], &line["messages"]), (&"m1".into(), &500.into()), "{line}");
    assert!(["stdout", "stderr"].contains(&line["stream"].as_str().unwrap()), "{line}");
}

#[test]
fn what_a_command_says_is_told_line_by_line_with_its_batch() {
    let feed = FakeFeed::start();
    feed.store(2);
    let script = r#"read -r line; echo "to stdout"; printf 'héllo\033[31m\nno end' >&2; case $line in *m2*) touch done;; esac"#;
    let follower = follow(&feed, &exec(&[], script));
    eventually("both were handed on", || follower.path("done").exists().then_some(()));
    let output = eventually("all of it is told", || {
        let lines = follower.stderr.json();
        (lines.len() == 6).then_some(lines)
    });
    for (line, (stream, text)) in output[..3].iter().zip([
        ("stdout", "to stdout"),
        ("stderr", "h\u{e9}llo\u{1b}[31m"),
        ("stderr", "no end"),
    ]) {
        assert_eq!(
            (&line["stream"], &line["line"], &line["message_id"]),
            (&stream.into(), &text.into(), &"m1".into())
        );
    }
    assert!(!follower.stderr.so_far().contains('\u{1b}'), "no raw control character");
}

#[test]
fn a_command_that_reads_nothing_may_confirm() {
    let feed = FakeFeed::start();
    feed.store_with_text(100, &"long ".repeat(400));
    let follower = follow(&feed, &exec(&["--batch", "100"], "exec 0<&-; echo done >> seen"));
    follower.has_lines("seen", &["done"]);
    assert_eq!(follower.stderr.so_far(), "");
}

#[test]
fn what_was_not_confirmed_is_tried_again_and_what_follows_waits() {
    let feed = FakeFeed::start();
    feed.store(3);
    let script = "cat >> seen; [ -e ready ] || exit 7";
    let follower = follow(&feed, &exec(&[], script));
    let line = follower.tells("not_confirmed");
    assert_eq!(line["reason"], "the command ended with status 7");
    assert_eq!((&line["message_id"], &line["level"]), (&"m1".into(), &"WARNING".into()));
    let wait = line["retry_in_seconds"].as_f64().unwrap();
    assert!((0.8..=1.2).contains(&wait), "{line}");
    eventually("it is tried again", || (follower.read("seen").lines().count() == 2).then_some(()));
    std::fs::write(follower.path("ready"), "").unwrap();
    eventually("the last is handed on", || follower.read("seen").contains("\"m3\"").then_some(()));
    let ids = ids_of(&follower.read("seen"));
    let (firsts, rest) = ids.split_at(ids.len() - 2);
    assert!(firsts.iter().all(|id| id == "m1") && rest == ["m2", "m3"], "{ids:?}");
    let line = follower.tells("recovered");
    assert_eq!(
        (&line["message_id"], line["attempts"].as_u64()),
        (&"m1".into(), Some(firsts.len() as u64)),
        "{line}"
    );
    assert_eq!((follower.told("not_confirmed"), follower.told("recovered")), (1, 1));
}

#[test]
fn a_signal_and_a_command_that_is_not_there_are_tried_again() {
    let feed = FakeFeed::start();
    feed.store(1);
    let line = follow(&feed, &exec(&[], "kill -9 $$")).tells("not_confirmed");
    assert_eq!(line["reason"], "the command was ended by signal 9");
    let follower = follow(&feed, &["--exec", "./script"]);
    let line = follower.tells("not_confirmed");
    assert!(line["reason"].as_str().unwrap().starts_with("cannot start ./script: No such file"), "{line}");
    for (mode, said) in [("-x", "chmod +x"), ("+x", "#!/bin/sh")] {
        let setup = setup();
        let script = setup.file("script", "cat > seen\n");
        assert!(std::process::Command::new("chmod").arg(mode).arg(&script).status().unwrap().success());
        let line = setup.follow(&feed, &["--exec", "./script"]).tells("not_confirmed");
        assert!(line["reason"].as_str().unwrap().contains(said), "{line}");
    }
    std::fs::write(follower.path("new"), "#!/bin/sh\ncat > seen\n").unwrap();
    assert!(
        std::process::Command::new("chmod").arg("+x").arg(follower.path("new")).status().unwrap().success()
    );
    std::fs::rename(follower.path("new"), follower.path("script")).unwrap();
    eventually("it is handed on", || follower.read("seen").contains("\"m1\"").then_some(()));
}

#[test]
fn a_command_that_hangs_is_ended_with_all_of_its_group() {
    let feed = FakeFeed::start();
    feed.store(1);
    // Neither it nor its child heeds SIGTERM, and both hold its pipes.
    let script = "[ -e pids ] && exec cat > seen; trap '' TERM; sleep 3000 & echo $! >> new; echo $$ >> new; mv new pids; wait; sleep 3000";
    let follower = follow(&feed, &exec(&["--timeout", "1"], script));
    let line = follower.tells("not_confirmed");
    assert_eq!(line["reason"], "it took longer than 1 s, and was ended");
    let pids = follower.read("pids");
    assert_eq!(pids.lines().count(), 2);
    eventually("both are gone", || (!pids.lines().any(is_running)).then_some(()));
    eventually("it is tried again", || follower.read("seen").contains("\"m1\"").then_some(()));
}

#[test]
fn a_command_that_heeds_sigterm_has_time_to_clean_up() {
    let feed = FakeFeed::start();
    feed.store(1);
    let script = "trap 'echo cleaned > seen; exit 0' TERM; sleep 3000 & wait";
    let follower = follow(&feed, &exec(&["--timeout", "1"], script));
    let line = follower.tells("not_confirmed");
    assert_eq!(line["reason"], "it took longer than 1 s, and was ended", "whatever its status");
    follower.has_lines("seen", &["cleaned"]);
}

#[test]
fn what_a_command_leaves_behind_with_its_pipes_open_holds_nobody() {
    let feed = FakeFeed::start();
    feed.store(3);
    let began = Instant::now();
    let follower = follow(&feed, &exec(&["--timeout", "3000"], "sleep 3000 & echo $! >> pids; cat >> seen"));
    eventually("all are handed on", || (follower.read("seen").lines().count() == 3).then_some(()));
    assert!(began.elapsed().as_secs() < 3000);
    for pid in follower.read("pids").lines() {
        // A job that it has started is its own business.
        assert!(is_running(pid));
        crate::fixtures::signal(pid.parse().unwrap(), "KILL");
    }
}

#[test]
fn a_stop_waits_for_the_command_that_is_under_way_and_remembers_it() {
    let feed = FakeFeed::start();
    feed.store(2);
    let script = "cat >> seen; touch begun; while [ ! -e go ]; do sleep 0.01; done";
    let follower = follow(&feed, &exec(&[], script));
    eventually("it has begun", || follower.path("begun").exists().then_some(()));
    follower.signal("TERM");
    std::fs::write(follower.path("go"), "").unwrap();
    let setup = follower.ends(0, &[]);
    let follower = setup.follow(&feed, &exec(&[], KEEP));
    eventually("the second is handed on", || follower.read("seen").contains("\"m2\"").then_some(()));
    assert_eq!(ids_of(&follower.read("seen")), ["m1", "m2"], "each once");
}

#[test]
fn a_second_signal_ends_it_at_once_with_the_group_of_the_command() {
    let feed = FakeFeed::start();
    feed.store(1);
    let follower = follow(&feed, &exec(&[], "sleep 3000 & echo $! > new; echo $$ >> new; mv new pids; wait"));
    eventually("it has begun", || follower.path("pids").exists().then_some(()));
    let pids = follower.read("pids");
    assert_eq!(pids.lines().count(), 2);
    // Two that come at once are one: it is sent again until it is heard a second time.
    eventually("both are gone", || {
        follower.signal("TERM");
        (!pids.lines().any(is_running)).then_some(())
    });
    follower.ends(143, &[]);
}

#[test]
fn a_command_does_not_speak_to_the_supervisor() {
    let feed = FakeFeed::start();
    feed.store(1);
    let setup = setup().with("NOTIFY_SOCKET", "@nobody").with("MORE", "kept");
    let follower = setup.follow(&feed, &exec(&[], "env > new; mv new seen"));
    eventually("it has run", || follower.path("seen").exists().then_some(()));
    let text = follower.read("seen");
    assert!(text.contains("MORE=kept") && !text.contains("NOTIFY_SOCKET"), "{text}");
}

#[test]
fn it_may_be_killed_at_any_instant_and_repeats_no_more_than_the_batch_under_way() {
    const ROUNDS: usize = 25;
    let feed = FakeFeed::start();
    feed.store(4000);
    let mut setup = setup();
    let mut sizes = vec![0];
    for round in 0..ROUNDS {
        let follower = setup.follow(&feed, &exec(&["--batch", "3"], KEEP));
        // At an instant that no clock of ours has chosen: when the command has come so far.
        let before = *sizes.last().unwrap();
        let wanted = before + 1 + (round * 1_237) % 4_000;
        eventually("it goes on", || (size(&follower.path("seen")) >= wanted).then_some(()));
        setup = follower.kill();
        sizes.push(size(&setup.path("seen")));
    }
    let follower = setup.follow(&feed, &exec(&["--batch", "100"], KEEP));
    eventually("the last is handed on", || follower.read("seen").contains("\"m4000\"").then_some(()));
    let text = follower.read("seen");
    // A line may be cut off where the follower was killed while it wrote it.
    let ids: Vec<usize> = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|message| message["message_id"].as_str().unwrap()[1..].parse().unwrap())
        .collect();
    let mut next = 1;
    let mut repeated = 0;
    for id in ids {
        assert!(id <= next, "m{id} came before m{next}");
        if id == next { next += 1 } else { repeated += 1 }
    }
    assert_eq!(next, 4001);
    assert!(repeated <= 3 * ROUNDS, "{repeated} in {ROUNDS} rounds");
}

fn size(path: &Path) -> usize {
    std::fs::metadata(path).map_or(0, |file| file.len() as usize)
}
