//! The state: where a follower stands, whatever becomes of it.

use std::fs;

use crate::fake_feed::FakeFeed;
use crate::follower::{follow, setup};

#[test]
fn two_followers_do_not_share_a_state() {
    let feed = FakeFeed::start();
    feed.store(1);
    let setup = setup();
    let state = setup.path("shared.state").display().to_string();
    let follower = setup.follow(&feed, &["--state", &state]);
    follower.writes(&["m1"]);
    let other = follow(&feed, &["--state", &state]);
    other.ends(75, &["another follower", "shared.state", "--state"]);
    feed.store(1);
    follower.kill().follow(&feed, &["--state", &state]).writes(&["m2"]);
}

#[test]
fn a_state_that_is_damaged_or_of_the_future_is_said_to_be_and_stays_as_it_is() {
    let feed = FakeFeed::start();
    feed.store(1);
    let setup = follow(&feed, &[]);
    setup.writes(&["m1"]);
    let mut setup = setup.stop();
    let whole = fs::read(setup.path("follow.state")).unwrap();
    let future = String::from_utf8(whole.clone()).unwrap().replace("\"version\":1", "\"version\":2");
    for (content, said) in [
        (&b""[..], "damaged"),
        (b"nonsense", "damaged"),
        (&whole[..whole.len() / 2], "damaged"),
        (&vec![0; whole.len()], "damaged"),
        (future.as_bytes(), "newer version"),
    ] {
        fs::write(setup.path("follow.state"), content).unwrap();
        setup = setup.follow(&feed, &[]).ends(78, &["follow.state", said]);
        assert_eq!(fs::read(setup.path("follow.state")).unwrap(), content);
    }
    fs::write(setup.path("follow.state"), whole).unwrap();
    feed.store(1);
    setup.follow(&feed, &[]).writes(&["m2"]);
}

#[test]
fn a_state_that_cannot_be_had_ends_it_with_the_cause() {
    let feed = FakeFeed::start();
    feed.store(1);
    let setup = setup();
    setup.file("folder/x", "");
    std::os::unix::fs::symlink("elsewhere", setup.path("link")).unwrap();
    let setup = setup.follow(&feed, &["--state", "nowhere/follow.state"]).ends(69, &["no such file"]);
    let setup = setup.follow(&feed, &["--state", "folder"]).ends(69, &["folder"]);
    let setup = setup.follow(&feed, &["--state", "link"]).ends(69, &["symbolic link"]);
    assert!(!setup.path("elsewhere").exists());
}

#[test]
fn a_state_that_was_removed_meanwhile_ends_it() {
    let feed = FakeFeed::start();
    feed.store(1);
    let follower = follow(&feed, &[]);
    follower.writes(&["m1"]);
    fs::remove_file(follower.path("follow.state")).unwrap();
    feed.store(1);
    follower.ends(69, &["follow.state", "no such file"]);
}
