//! The service may be away, refuse, or be another one.

use crate::fake_feed::{FakeFeed, Mood};
use crate::fixtures::eventually;
use crate::follower::{follow, setup};
use crate::setup::free_port;

#[test]
fn a_service_that_is_away_is_waited_for_and_told_of_once() {
    let feed = FakeFeed::start();
    feed.store(1);
    for mood in [Mood::Answering(503, "stopping"), Mood::Answering(429, "slower"), Mood::HangingUp] {
        feed.set_mood(mood);
        let follower = follow(&feed, &[]);
        let asked = feed.asked().len();
        follower.tells("feed_unavailable");
        eventually("it asks again", || (feed.asked().len() > asked + 2).then_some(()));
        feed.set_mood(Mood::Serving);
        follower.writes(&["m1"]);
        follower.tells("feed_recovered");
        assert_eq!((follower.told("feed_unavailable"), follower.told("feed_recovered")), (1, 1));
        follower.stop();
    }
}

#[test]
fn a_stop_ends_every_wait_at_once() {
    let feed = FakeFeed::start();
    let follower = follow(&feed, &[]);
    eventually("it waits for messages", || (!feed.asked().is_empty()).then_some(()));
    follower.stop();
    feed.set_mood(Mood::Answering(503, "stopping"));
    let follower = follow(&feed, &[]);
    follower.tells("feed_unavailable");
    follower.stop();
    let url = format!("http://127.0.0.1:{}", free_port());
    let follower = setup().run_follow(&["follow", "--url", &url]);
    let line = follower.tells("feed_unavailable");
    assert!(line["reason"].as_str().unwrap().contains("nobody listens there"), "{line}");
    follower.stop();
}

#[test]
fn a_service_that_never_answers_this_way_ends_it_with_what_to_do() {
    let feed = FakeFeed::start();
    // Whoever has the token of another day is started again with that of today; the others would end the same way.
    let answers = [(401, 77, "API_TOKEN"), (404, 78, "--url"), (422, 78, "bad"), (421, 78, "--url")];
    for (status, code, said) in answers {
        feed.set_mood(Mood::Answering(status, "bad"));
        follow(&feed, &[]).ends(code, &[&status.to_string(), said]);
    }
}

#[test]
fn a_state_of_another_store_ends_it_and_stays() {
    let feed = FakeFeed::start();
    feed.store(1);
    let follower = follow(&feed, &[]);
    follower.writes(&["m1"]);
    let setup = follower.stop();
    feed.become_another_store();
    let setup =
        setup.follow(&feed, &[]).ends(78, &["410", "another store", "remove the state", "--from now"]);
    let setup = setup.follow(&feed, &[]).ends(78, &["410"]);
    std::fs::remove_file(setup.path("follow.state")).unwrap();
    setup.follow(&feed, &[]).writes(&["m1"]);
}

#[test]
fn what_the_service_says_of_a_cursor_that_does_not_fit_is_passed_on() {
    let feed = FakeFeed::start();
    feed.set_mood(Mood::Answering(410, "the last row number is in use; export them and import them"));
    let said = "410 (\"the last row number is in use; export them and import them\"); to begin again";
    follow(&feed, &[]).ends(78, &[said]);
}

#[test]
fn without_a_url_it_is_the_service_of_this_machine() {
    let feed = FakeFeed::start();
    feed.store(1);
    let listen = feed.url().replace("http://", "");
    let follower = setup().with("LISTEN_ADDR", &listen).run_follow(&["follow"]);
    follower.writes(&["m1"]);
    // What it does not use is not looked at.
    let stopped = follower.stop().with("DATABASE_URL", "nonsense").with("WORKERS", "many");
    feed.store(1);
    let follower = stopped.follow(&feed, &[]);
    follower.writes(&["m2"]);
    follower.stop();
    setup().with("LISTEN_ADDR", "nonsense").run_follow(&["follow"]).ends(78, &["LISTEN_ADDR"]);
    setup().with("API_TOKEN_FILE", "/nowhere").run_follow(&["follow"]).ends(78, &["API_TOKEN_FILE"]);
}

#[test]
fn wrong_arguments_end_it_with_the_usage() {
    for arguments in [&["--batch", "0"][..], &["--post", "https://x"], &["more"], &["--exec"]] {
        let finished = setup().run(&[&["follow"], arguments].concat());
        assert_eq!(finished.code, Some(64), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains("Usage:"), "{finished:?}");
    }
}

#[test]
fn what_whatsapp_sent_is_asked_for_by_who_wants_it() {
    for (arguments, is_wanted) in [(&[][..], false), (&["--original"][..], true)] {
        let feed = FakeFeed::start();
        feed.store(1);
        let follower = follow(&feed, arguments);
        follower.writes(&["m1"]);
        follower.stop();
        let asked = feed.asked();
        assert!(asked.iter().all(|(target, _)| target.contains("&original=1&") == is_wanted), "{asked:?}");
    }
}
